//! Ratios to the baseline with their intervals, the band that counts as equal, and the line at 1.

use super::canvas::colour;
use super::rows::{PlotRow, Rows, Section};
use crate::judge::VerdictRow;
use crate::report::units;
use crate::stats::Verdict;

/// Ratios beyond this factor leave the axis, unless most do: one layout that is ten times slower
/// would press all others into a line.
const FAR: f64 = 1.6;

/// Title and SVG of the plot of these verdicts, which differ in threads and layout only. `margin`
/// is the equivalence margin, where it is known.
pub fn draw(
    scenario: &str,
    caption: &str,
    verdicts: &[&VerdictRow],
    margin: Option<f64>,
) -> Option<(String, String)> {
    let baseline = &verdicts.first()?.baseline;
    let title = format!("{scenario}: time per fault over that of {baseline}");
    let mut threads: Vec<usize> = verdicts.iter().map(|row| row.point.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let section = |n: &usize| Section {
        heading: units::count(*n, "thread"),
        rows: verdicts
            .iter()
            .filter(|verdict| verdict.point.threads == *n)
            .enumerate()
            .map(|(at, verdict)| row(at, verdict))
            .collect(),
    };
    let band = match margin {
        Some(margin) => format!("; shaded: equal within {} %", margin * 100.0),
        None => String::new(),
    };
    let ratios = verdicts.iter().filter_map(|verdict| verdict.ratio);
    let far = ratios
        .filter(|ratio| !(1.0 / FAR..=FAR).contains(ratio))
        .count();
    let ends = (far > 0 && far * 2 <= verdicts.len()).then_some((1.0 / FAR, FAR));
    let arrow = if ends.is_some() {
        "; an arrow lies beyond the axis"
    } else {
        ""
    };
    let rows = Rows {
        title: &title,
        caption,
        axis: &format!("ratio with its interval, above 1 is slower{band}{arrow}"),
        tick: |ratio| format!("{}", (ratio * 1e6).round() / 1e6),
        log_from: 2.0,
        ends,
        mark: Some(1.0),
        band: margin.map(|margin| (1.0 / (1.0 + margin), 1.0 + margin)),
        sections: threads.iter().map(section).collect(),
    };
    let svg = rows.svg();
    Some((title, svg))
}

fn row(at: usize, verdict: &VerdictRow) -> PlotRow {
    let interval = verdict.ratio_low.zip(verdict.ratio_high);
    let width = interval.map_or(f64::INFINITY, |(low, high)| high - low);
    PlotRow {
        label: verdict.arm.to_string(),
        colour: colour(&verdict.arm, at),
        value: verdict.ratio.map(|ratio| (ratio, interval)),
        full: verdict.verdict != Verdict::Inconclusive,
        figure: verdict
            .ratio
            .map_or("not measured".to_owned(), |r| units::change(r, width)),
        word: verdict.verdict.to_string(),
    }
}
