//! The interference maps of the layouts of a case, as pictures beside the plots of its run.

use super::Record;
use super::layout_picture::svg;
use super::plot::Plot;
use crate::layout::interference::Interference;
use crate::results::slug;

/// Threads that a map is of at least: one thread gets in nobody's way.
const FEWEST_THREADS: usize = 2;

/// A picture of every layout that was compared, where `record` is of a case. One that is too large
/// to draw is left out: `hitm layout map` says why.
pub fn maps(record: &Record) -> Vec<Plot> {
    let Some(design) = &record.design else {
        return Vec::new();
    };
    let Some(case) = &design.case else {
        return Vec::new();
    };
    let case = case.get();
    let threads = design.points.iter().map(|point| point.threads).max();
    let threads = threads.unwrap_or(0).max(FEWEST_THREADS);
    let compared = |name: &str| {
        let mut arms = design.arms.iter().filter_map(|arm| arm.measured(arm));
        arms.any(|(layout, _)| layout.as_str() == name)
    };
    let layouts = case.layouts.iter();
    let drawn = layouts.filter(|layout| compared(&layout.name));
    let drawn = drawn.filter_map(|layout| {
        let subject = case.subject(layout, threads).ok()?;
        let map = Interference::of(&subject).ok()?;
        Some(Plot {
            name: format!("map-{}-{}", slug(&case.name), slug(&layout.name)),
            title: format!(
                "Who gets in whose way in {}: lines of 64 bytes, with {threads} threads",
                layout.name
            ),
            svg: svg(&subject, &map).ok()?,
            folded: false,
        })
    });
    drawn.collect()
}
