//! Ratios to the baseline with their intervals, the band that counts as equal, and the line at 1.

use super::frame::{Drawn, Frame};
use super::rows::{PlotRow, Rows, Section};
use crate::experiment::Stratum;
use crate::judge::VerdictRow;
use crate::report::arms::state;
use crate::stats::Verdict;
use crate::units;
use plotters::style::RGBColor;
use std::collections::BTreeSet;

/// Ratios beyond this factor leave the axis, unless most do: one layout that is ten times slower
/// would press all others into a line.
const FAR: f64 = 1.6;

/// The plot of these verdicts, which differ in threads and layout only.
pub fn draw(frame: &Frame, verdicts: &[&VerdictRow]) -> Option<Drawn> {
    let baseline = &verdicts.first()?.baseline;
    let title = format!("{}: time per fault over that of {baseline}", frame.scenario);
    let threads: BTreeSet<usize> = verdicts.iter().map(|row| row.point.threads).collect();
    let section = |n: &usize| Section {
        heading: units::count(*n, "thread"),
        rows: verdicts
            .iter()
            .filter(|verdict| verdict.point.threads == *n)
            .map(|verdict| PlotRow {
                full: verdict.verdict != Verdict::Inconclusive,
                ..row(
                    match verdict.is_whole() {
                        true => verdict.arm.to_string(),
                        false => label(&verdict.stratum),
                    },
                    frame.colours.colour(&verdict.arm),
                    Some(verdict),
                )
            })
            .collect(),
    };
    let ratios = verdicts.iter().filter_map(|verdict| verdict.ratio);
    let far = ratios
        .filter(|ratio| !(1.0 / FAR..=FAR).contains(ratio))
        .count();
    let ends = (far > 0 && far * 2 <= verdicts.len()).then_some((1.0 / FAR, FAR));
    let sections = threads.iter().map(section).collect();
    let axis = "ratio with its interval, above 1 is slower";
    Some(ratio_rows(frame, title, axis, ends, sections))
}

/// A state as it fits beside a row.
fn label(stratum: &Stratum) -> String {
    let state = state(stratum);
    match state.chars().count() > 22 {
        true => state.replace(" slots", ""),
        false => state,
    }
}

/// Rows of ratios on an axis that may end.
pub(super) fn ratio_rows(
    frame: &Frame,
    title: String,
    axis: &str,
    ends: Option<(f64, f64)>,
    sections: Vec<Section>,
) -> Drawn {
    let band = match frame.margin {
        Some(margin) => format!("; shaded: equal within {} %", margin * 100.0),
        None => String::new(),
    };
    let arrow = match ends {
        Some(_) => "; an arrow lies beyond the axis",
        None => "",
    };
    let rows = Rows {
        title: &title,
        caption: &frame.caption,
        axis: &format!("{axis}{band}{arrow}"),
        tick: |ratio| format!("{}", (ratio * 1e6).round() / 1e6),
        log_from: 2.0,
        ends,
        mark: Some(1.0),
        band: frame
            .margin
            .map(|margin| (1.0 / (1.0 + margin), 1.0 + margin)),
        sections,
    };
    let svg = rows.svg();
    (title, svg)
}

/// The ratio of a verdict, if there is one, as a ring.
pub(super) fn row(label: String, colour: RGBColor, verdict: Option<&VerdictRow>) -> PlotRow {
    let ratio = verdict.and_then(|row| row.ratio);
    let interval = verdict.and_then(|row| row.ratio_low.zip(row.ratio_high));
    let width = interval.map_or(f64::INFINITY, |(low, high)| high - low);
    PlotRow {
        label,
        colour,
        value: ratio.map(|ratio| (ratio, interval)),
        full: false,
        figure: match (verdict, ratio) {
            (_, Some(ratio)) => units::change(ratio, width),
            (Some(row), None) if row.verdict == Verdict::Depends => String::new(),
            (Some(_), None) => "no interval".to_owned(),
            (None, None) => "not measured".to_owned(),
        },
        word: verdict.map_or(String::new(), |row| row.verdict.to_string()),
    }
}
