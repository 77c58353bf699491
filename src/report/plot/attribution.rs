//! Attribution: the effect of each layout with the prefetcher on, with it off, and what it adds.

use super::frame::{Drawn, Frame};
use super::ratios::{ratio_rows, row};
use super::rows::{PlotRow, Section};
use crate::judge::{Compared, VerdictRow};
use crate::report::table::{ATTRIBUTION, effect};
use crate::units;

/// The plot of these attribution rows, which differ in threads and layout only; `verdicts` are all
/// there are. The row that attributes has a full dot.
pub fn draw(frame: &Frame, rows: &[&VerdictRow], verdicts: &[VerdictRow]) -> Option<Drawn> {
    let baseline = &rows.first()?.baseline;
    let title = format!("{}; {ATTRIBUTION}", frame.scenario);
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.point.threads);
    let section = |adds: &&VerdictRow| {
        let threads = units::count(adds.point.threads, "thread");
        let row =
            |label: &str, verdict| row(label.to_owned(), frame.colours.colour(&adds.arm), verdict);
        Section {
            heading: format!("{}, {threads}", adds.arm),
            rows: vec![
                row("prefetcher on", effect(adds, Compared::On, verdicts)),
                row("prefetcher off", effect(adds, Compared::Off, verdicts)),
                PlotRow {
                    full: true,
                    ..row("on over off", Some(adds))
                },
            ],
        }
    };
    let sections = rows.iter().map(section).collect();
    let axis = format!("time per fault over that of {baseline}, and on over off");
    Some(ratio_rows(frame, title, &axis, None, sections))
}
