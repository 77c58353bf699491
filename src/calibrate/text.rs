//! The lines of a machine file: a key, its value, and a comment that says where it comes from.

use crate::stats::Spread;
use std::fmt::{Display, Write as _};

/// Latencies that a machine file may hold, in ns.
pub const LATENCY: [f64; 2] = [0.001, 100_000.0];

/// A constant and how it came about.
pub struct Figure {
    /// Its value, in the unit of its key.
    pub value: f64,
    /// What the comment says.
    pub how: String,
}

impl Figure {
    /// The median, if there was a window at all.
    pub fn measured(estimate: Option<Spread>, what: &str) -> Option<Figure> {
        let estimate = estimate?;
        Some(Figure {
            value: estimate.median,
            how: format!("measured: {what}; {}", spread(&estimate)),
        })
    }

    /// What stands in for a measurement, and from where.
    pub fn assumed(value: f64, how: impl Into<String>) -> Figure {
        let how = how.into();
        Figure {
            value,
            how: format!("not measured: {how}"),
        }
    }

    /// As [`Figure::measured`], or `usual` where there was no window, with `how` that is known.
    pub fn measured_or(estimate: Option<Spread>, what: &str, usual: f64, how: &str) -> Figure {
        Figure::measured(estimate, what).unwrap_or_else(|| Figure::assumed(usual, how))
    }

    /// A time as the model has it: [`LATENCY`] at most, and not below 0, as a difference of two
    /// medians may be.
    pub fn not_negative(self) -> Figure {
        self.within(0.0, LATENCY[1], "no time is negative")
    }

    /// The model knows nothing outside these bounds; what was moved there says so.
    pub fn within(self, low: f64, high: f64, why: &str) -> Figure {
        let value = self.value.clamp(low, high.max(low));
        if value == self.value {
            return self;
        }
        Figure {
            how: format!(
                "{} before it was moved: {why}; {}",
                ns(self.value),
                self.how
            ),
            value,
        }
    }
}

/// To the picosecond, as the simulator reads it.
pub fn ns(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The interval of an estimate, for a comment.
pub fn spread(e: &Spread) -> String {
    format!(
        "5 to 95 % of {} windows: {} to {}",
        e.count,
        ns(e.low),
        ns(e.high)
    )
}

/// The text of the file, as it grows.
pub struct Text(pub String);

impl Text {
    pub fn line(&mut self, line: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    pub fn table(&mut self, name: &str) {
        self.line(format_args!("\n[{name}]"));
    }

    pub fn key(&mut self, key: &str, value: impl Display, how: impl Display) {
        self.line(format_args!("{key} = {value} # {how}"));
    }

    pub fn figure(&mut self, key: &str, figure: &Figure) {
        self.key(key, format_args!("{:?}", ns(figure.value)), &figure.how);
    }

    /// What the model has no constant for.
    pub fn note(&mut self, what: &str, estimate: Option<Spread>) {
        if let Some(e) = estimate {
            self.line(format_args!(
                "# {what}: {} ns; {}",
                ns(e.median),
                spread(&e)
            ));
        }
    }
}

pub fn quoted(text: &str) -> toml::Value {
    toml::Value::String(text.replace(char::is_control, " "))
}
