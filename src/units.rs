//! Figures as a person reads and writes them: times in a unit fit for the size, sizes, ratios as a
//! change in per cent. CSV and JSON carry the bare numbers instead.

use std::time::Duration;

/// Longest duration that can be asked for: 100 days, in seconds.
pub const LONGEST_SECONDS: f64 = 100.0 * 86_400.0;

/// The duration that a person wrote: a number and its unit, as in `60s`, `2m`, `500ms`, `200ns`,
/// `1us`; seconds where there is no unit. Above 0 and up to [`LONGEST_SECONDS`].
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a time; write 60s, 2m or 500ms");
    let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim_end().parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    } * number;
    if !seconds.is_finite() || seconds <= 0.0 || seconds > LONGEST_SECONDS {
        return Err(format!("'{text}' must be above 0 and at most 100 days"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A time in a unit fit for its size, with three significant digits: `41.2 ns`, `1.31 µs`.
pub fn time(ns: f64) -> String {
    // The steps lie where three digits would round up to the next unit.
    let (value, unit) = match ns.abs() {
        size if size < 999.5 => (ns, "ns"),
        size if size < 999.5e3 => (ns / 1e3, "µs"),
        size if size < 999.5e6 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let decimals = match value.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A round time on an axis: `50 ns`, `1.5 µs`.
pub fn tick(ns: f64) -> String {
    let text = time(ns);
    match text.split_once(' ') {
        Some((digits, unit)) if digits.contains('.') => {
            format!(
                "{} {unit}",
                digits.trim_end_matches('0').trim_end_matches('.')
            )
        }
        _ => text,
    }
}

/// A ratio as a change: 1.25 is `+25.0 %`. `width` is that of the interval it stands beside, as a
/// ratio; it decides the decimals, so that an interval never shrinks to a point in print.
pub fn change(ratio: f64, width: f64) -> String {
    let decimals = match width {
        width if width >= 0.1 => 0,
        width if width >= 0.002 => 1,
        width if width >= 0.0002 => 2,
        _ => 3,
    };
    let text = format!("{:+.decimals$} %", (ratio - 1.0) * 100.0);
    // A zero has no side.
    if text.contains(|digit: char| ('1'..='9').contains(&digit)) {
        text
    } else {
        text.trim_start_matches(['+', '-']).to_owned()
    }
}

/// The interval of a change.
pub fn change_interval(low: f64, high: f64) -> String {
    let width = high - low;
    format!(
        "{} to {}",
        change(low, width).trim_end_matches(" %"),
        change(high, width)
    )
}

/// Events per fault, with three digits: `0.034`, `1.20`, `57.3`, `4210`.
pub fn per_fault(count: f64) -> String {
    let decimals = match count.abs() {
        0.0 => 0,
        size if size < 0.9995 => 3,
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{count:.decimals$}")
}

/// A size in whole KiB or MiB.
pub fn bytes(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mib => format!("{mib} MiB"),
    }
}

/// `1 thread`, `2 threads`.
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_and_the_unit_that_fits() {
        let cases = [
            (0.5, "0.50 ns"),
            (9.996, "10.0 ns"),
            (41.23, "41.2 ns"),
            (999.4, "999 ns"),
            (999.6, "1.00 µs"),
            (1310.0, "1.31 µs"),
            (162_074.5, "162 µs"),
            (2.5e6, "2.50 ms"),
            (3e9, "3.00 s"),
        ];
        for (ns, expected) in cases {
            assert_eq!(time(ns), expected);
        }
    }

    #[test]
    fn a_time_is_read_in_every_unit_it_is_printed_in() {
        let read = |text: &str| parse_duration(text).map(|time| time.as_nanos());
        let texts = [
            "517ns", "1us", "1.5µs", "500ms", "2", "60s", "2m", "1min", "1h",
        ];
        let seconds = [517e-9, 1e-6, 1.5e-6, 0.5, 2.0, 60.0, 120.0, 60.0, 3600.0];
        for (text, seconds) in texts.into_iter().zip(seconds) {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs_f64(seconds)));
        }
        for ns in [41.2, 1.31e3, 162e3, 2.5e6, 3e9] {
            assert_eq!(read(&time(ns)), Ok((ns + 0.5) as u128), "{ns}");
        }
        for text in [
            "",
            "s",
            "-1s",
            "0",
            "nan",
            "inf",
            "1e9",
            "1d",
            "1e3s",
            "11574000s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_count_per_fault_has_three_digits() {
        let cases = [
            (0.0, "0"),
            (0.0004, "0.000"),
            (0.034, "0.034"),
            (1.2, "1.20"),
            (57.31, "57.3"),
            (4210.4, "4210"),
        ];
        for (count, expected) in cases {
            assert_eq!(per_fault(count), expected);
        }
    }

    #[test]
    fn a_tick_has_no_idle_zeros() {
        assert_eq!(tick(50.0), "50 ns");
        assert_eq!(tick(1500.0), "1.5 µs");
        assert_eq!(tick(100.0), "100 ns");
    }

    #[test]
    fn a_change_shows_as_many_decimals_as_its_interval_needs() {
        assert_eq!(change(1.25, 0.02), "+25.0 %");
        assert_eq!(change(54.832, 1.2), "+5383 %");
        assert_eq!(change(0.9998, 0.02), "0.0 %");
        assert_eq!(change_interval(0.996, 1.008), "-0.4 to +0.8 %");
        assert_eq!(change_interval(1.0004, 1.0009), "+0.04 to +0.09 %");
        assert_eq!(change_interval(1.00004, 1.00009), "+0.004 to +0.009 %");
    }
}
