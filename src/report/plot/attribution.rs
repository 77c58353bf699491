//! Attribution: the effect of each layout with the prefetcher on, with it off, and what it adds.

use super::canvas::colour;
use super::rows::{PlotRow, Rows, Section};
use crate::judge::{Compared, VerdictRow};
use crate::report::table::{ATTRIBUTION, effect};
use crate::report::units;

/// Title and SVG of the plot of these attribution rows, which differ in threads and layout only;
/// `verdicts` are all there are.
pub fn draw(
    scenario: &str,
    caption: &str,
    rows: &[&VerdictRow],
    verdicts: &[VerdictRow],
    margin: Option<f64>,
) -> Option<(String, String)> {
    let baseline = &rows.first()?.baseline;
    let title = format!("{scenario}; {ATTRIBUTION}");
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.point.threads);
    let section = |(at, row): (usize, &&VerdictRow)| Section {
        heading: format!("{}, {}", row.arm, units::count(row.point.threads, "thread")),
        rows: vec![
            of(
                "prefetcher on",
                at,
                row,
                effect(row, Compared::On, verdicts),
            ),
            of(
                "prefetcher off",
                at,
                row,
                effect(row, Compared::Off, verdicts),
            ),
            of("on over off", at, row, Some(row)),
        ],
    };
    let band = match margin {
        Some(margin) => format!("; shaded: equal within {} %", margin * 100.0),
        None => String::new(),
    };
    let drawn = Rows {
        title: &title,
        caption,
        axis: &format!("time per fault over that of {baseline}, and on over off{band}"),
        tick: |ratio| format!("{}", (ratio * 1e6).round() / 1e6),
        log_from: 2.0,
        ends: None,
        mark: Some(1.0),
        band: margin.map(|margin| (1.0 / (1.0 + margin), 1.0 + margin)),
        sections: rows.iter().enumerate().map(section).collect(),
    };
    let svg = drawn.svg();
    Some((title, svg))
}

/// One of the three rows of a layout; the one that attributes has a full dot.
fn of(label: &str, at: usize, attribution: &VerdictRow, row: Option<&VerdictRow>) -> PlotRow {
    let interval = row.and_then(|row| row.ratio_low.zip(row.ratio_high));
    let width = interval.map_or(f64::INFINITY, |(low, high)| high - low);
    let ratio = row.and_then(|row| row.ratio);
    PlotRow {
        label: label.to_owned(),
        colour: colour(&attribution.arm, at),
        value: ratio.map(|ratio| (ratio, interval)),
        full: row.is_some_and(|row| std::ptr::eq(row, attribution)),
        figure: ratio.map_or("not measured".to_owned(), |ratio| {
            units::change(ratio, width)
        }),
        word: row.map_or(String::new(), |row| row.verdict.to_string()),
    }
}
