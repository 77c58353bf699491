//! Why: counters per fault by design point and layout, and the figures derived from them.
//!
//! Here: which counters are shown, and which of them move with the layout. Not here: how they are
//! shown (`table`, `html`, `plot::why`).

use super::Record;
use super::arms::{Site, baseline, in_order, sites};
use crate::backend;
use crate::counters::{Metric, metrics, role};
use crate::experiment::{Arm, BackendKind, Sample};
use crate::stats::Summary;
use crate::units;
use std::collections::BTreeMap;

/// Rarer than this per fault, a transfer of 100 ns costs a tenth of a nanosecond: it explains
/// nothing.
const RARE: f64 = 0.001;
/// Counts are compared with so much added to both, lest the step from one event in a thousand
/// faults to two come before that from one a fault to two.
const FLOOR: f64 = 0.05;
/// A counter moves where it differs from the baseline by more than this factor...
const MOVED: f64 = 1.05;
/// ... and by more than the baseline differs from itself, so many times.
const ABOVE_NOISE: f64 = 2.0;

/// This moves with the time whatever the cause: it is the time in another unit.
const TIME_AGAIN: &str = "cycles";

/// What was counted at one design point.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// Where.
    pub site: Site,
    /// The arms; the first is the one that others are compared with.
    pub arms: Vec<Arm>,
    /// The counters that count something, those that move with the layout first.
    pub rows: Vec<CounterRow>,
    /// Counters that were measured and found next to nothing.
    pub silent: Vec<String>,
}

/// A counter, or a figure derived from several, for each layout.
#[derive(Clone, Debug, PartialEq)]
pub struct CounterRow {
    /// The role, or the name of the derived figure.
    pub name: String,
    /// Unit of the values.
    pub unit: String,
    /// What it says and does not say; a derived figure has its formula here.
    pub means: String,
    /// Whether some value was scaled up, having been counted during a part of the window.
    pub scaled: bool,
    /// Median over valid samples, by layout; a derived figure is that of the medians.
    pub values: Vec<Option<f64>>,
    /// How far the layouts lie from the baseline: the logarithm of the largest factor, 0 where
    /// that is no more than noise.
    pub moved: f64,
}

impl CounterRow {
    /// Whether the values are parts of a whole rather than counts.
    pub fn is_share(&self) -> bool {
        self.unit == "share"
    }

    /// A value as a person reads it.
    pub fn figure(&self, value: Option<f64>) -> String {
        match value {
            None => "-".to_owned(),
            Some(share) if self.is_share() => format!("{:.0} %", share * 100.0),
            Some(count) => units::per_fault(count),
        }
    }

    /// What a layout has more or less of than the baseline; empty where that cannot be said.
    pub fn change(&self, layout: usize) -> String {
        match (self.values[0], self.values[layout]) {
            (Some(base), Some(value)) if self.is_share() => {
                match ((value - base) * 100.0).round() {
                    0.0 => "0 pt".to_owned(),
                    points => format!("{points:+} pt"),
                }
            }
            (Some(base), Some(value)) if base >= RARE => match value / base {
                factor if factor >= 99.5 => format!("x{factor:.0}"),
                ratio => units::change(ratio, 1.0),
            },
            _ => String::new(),
        }
    }

    /// The name, marked where a value was scaled.
    pub fn marked(&self) -> String {
        format!("{}{}", self.name, if self.scaled { "*" } else { "" })
    }
}

/// What the mark on a name says.
pub const SCALED: &str = "* counted during a part of some windows and scaled up";

impl Counted {
    /// The rows that move with the layout.
    pub fn moving(&self) -> impl Iterator<Item = &CounterRow> {
        self.rows.iter().filter(|row| row.moved > 0.0)
    }
}

/// What was counted at every design point of `record`, in its order. A point without counters
/// that count something is not among them.
pub fn counted(record: &Record) -> Vec<Counted> {
    let sites = sites(&record.samples).into_iter();
    let sites = sites.map(|site| at(record, site));
    sites.filter(|counted| !counted.rows.is_empty()).collect()
}

fn at(record: &Record, site: Site) -> Counted {
    let usable = |s: &&Sample| s.valid && s.faults > 0 && Site::from(*s) == site;
    let samples: Vec<&Sample> = record.samples.iter().filter(usable).collect();
    let arms = samples.iter().map(|s| s.arm.clone());
    let arms = in_order(arms, baseline(&site, &record.verdicts));
    // Times are in the tables of verdicts.
    let roles = record.counters.iter().filter(|name| !name.ends_with("_ns"));
    let roles: Vec<&str> = roles.map(String::as_str).collect();
    let medians: Vec<BTreeMap<String, f64>> = arms
        .iter()
        .map(|arm| {
            let samples = samples.iter().filter(|s| s.arm == *arm);
            let samples: Vec<&Sample> = samples.copied().collect();
            medians(&samples, &roles)
        })
        .collect();
    let counters = roles.iter().map(|name| {
        let values = medians.iter().map(|of| of.get(*name).copied());
        let scaled = record.run.scaled.iter().any(|scaled| scaled == name);
        row_of_role(name, site.backend, values.collect(), scaled)
    });
    let derived = metrics().iter().filter(|metric| !is_one_role(metric));
    let derived = derived.map(|metric| {
        // Roles that are counted in different blocks never meet in a sample, but their medians do.
        let values = medians.iter().map(|of| metric.value(of, 1));
        let parts = || metric.of.iter().chain(&metric.over);
        CounterRow {
            name: metric.name.clone(),
            unit: metric.unit.clone(),
            means: format!("{} {}", metric.formula(), metric.means),
            scaled: parts().any(|part| record.run.scaled.contains(part)),
            values: values.collect(),
            moved: 0.0,
        }
    });
    let measured = |row: &CounterRow| row.values.iter().any(Option::is_some);
    let (mut rows, silent): (Vec<CounterRow>, Vec<CounterRow>) = counters
        .chain(derived)
        .filter(measured)
        .partition(|row| row.values.iter().flatten().any(|value| *value >= RARE));
    for row in &mut rows {
        if row.name != TIME_AGAIN {
            row.moved = moved(&row.values, &arms);
        }
    }
    rows.sort_by(|a, b| b.moved.total_cmp(&a.moved));
    Counted {
        site,
        arms,
        rows,
        silent: silent.into_iter().map(|row| row.name).collect(),
    }
}

/// Whether a derived figure is one counter per fault, which has a row of its own.
fn is_one_role(metric: &Metric) -> bool {
    metric.of.len() == 1 && metric.over == ["faults"]
}

fn row_of_role(
    name: &str,
    backend: BackendKind,
    values: Vec<Option<f64>>,
    scaled: bool,
) -> CounterRow {
    // A model has none of the hardware's blind spots, so its own words go first.
    let mut means = match (backend::means(backend, name), role(name)) {
        (Some(own), _) => own.to_owned(),
        (None, Ok(role)) => match &role.not {
            Some(not) => format!("{}; {not}.", role.counts),
            None => format!("{}.", role.counts),
        },
        (None, Err(_)) => String::new(),
    };
    let metric = metrics().iter().find(|m| is_one_role(m) && m.of[0] == name);
    if let Some(metric) = metric {
        means = format!("{means} {}", metric.means);
    }
    CounterRow {
        name: name.to_owned(),
        unit: role(name).map_or("events/fault".into(), |role| format!("{}/fault", role.unit)),
        means,
        scaled,
        values,
        moved: 0.0,
    }
}

/// Each role per fault, where it was measured: the median over the samples that carry it.
fn medians(samples: &[&Sample], roles: &[&str]) -> BTreeMap<String, f64> {
    let mut medians = BTreeMap::new();
    for role in roles {
        let per_fault = |s: &&Sample| Some(s.counters.get(*role)? / s.faults as f64);
        let values: Vec<f64> = samples.iter().filter_map(per_fault).collect();
        if let Some(summary) = Summary::of(&values) {
            medians.insert((*role).to_owned(), summary.median);
        }
    }
    medians
}

fn moved(values: &[Option<f64>], arms: &[Arm]) -> f64 {
    let Some(base) = values[0] else {
        return 0.0;
    };
    let far = |value: &f64| ((value + FLOOR) / (base + FLOOR)).ln().abs();
    let (again, others): (Vec<_>, Vec<_>) = values
        .iter()
        .zip(arms)
        .skip(1)
        .filter_map(|(value, arm)| Some((far(value.as_ref()?), arm)))
        .partition(|(_, arm)| !matches!(arm, Arm::Layout { .. }));
    let most = |of: Vec<(f64, _)>| {
        of.into_iter()
            .fold(0.0, |most, (far, _)| f64::max(most, far))
    };
    let (noise, moved) = (most(again), most(others));
    if moved > MOVED.ln() && moved > noise * ABOVE_NOISE {
        moved
    } else {
        0.0
    }
}
