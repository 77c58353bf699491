//! The plots of a record, as SVG.
//!
//! Here: which plots there are, and their names. One file a kind of plot; drawing on a canvas is
//! `canvas`, axes `axis`.

mod attribution;
mod axis;
mod blocks;
mod canvas;
mod ratios;
mod rows;
mod times;
mod why;

use super::Record;
use super::arms::{Arm, Point};
use super::why::Counted;
use crate::results::{ON_OVER_OFF, VerdictRow, slug};
use std::collections::BTreeSet;

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Name of its file, without `.svg`.
    pub name: String,
    /// What it shows, in one line.
    pub title: String,
    /// The SVG document.
    pub svg: String,
    /// Whether a page folds it away: it shows how the figures came about, not the result.
    pub folded: bool,
}

/// All plots that `record` allows: time per fault by threads, ratios to the baseline, the counters
/// that move, what the prefetcher adds, and block by block.
pub fn plots(record: &Record) -> Vec<Plot> {
    let arms = record.arms();
    let mut points: Vec<Point> = record.samples.iter().map(Point::from).collect();
    points.sort();
    points.dedup();
    let facets: BTreeSet<Point> = points.iter().map(facet).collect();
    let names = Names::of(&points);
    let counted = super::why::counted(record);
    let mut plots = Vec::new();
    for facet in &facets {
        let arms: Vec<&Arm> = arms
            .iter()
            .filter(|arm| self::facet(&arm.point) == *facet)
            .collect();
        let rows = record
            .verdicts
            .iter()
            .filter(|row| self::facet(&Point::from(*row)) == *facet);
        let rows: Vec<_> = rows.collect();
        let caption = caption(facet, record);
        if let Some((title, svg)) = times::draw(&facet.scenario, &caption, &arms) {
            plots.push(Plot {
                name: names.name("time", facet),
                title,
                svg,
                folded: false,
            });
        }
        if let Some((title, svg)) =
            ratios::draw(&facet.scenario, &caption, &rows, record.run.margin)
        {
            plots.push(Plot {
                name: names.name("ratio", facet),
                title,
                svg,
                folded: false,
            });
        }
        let counted: Vec<&Counted> = counted
            .iter()
            .filter(|counted| self::facet(&counted.point) == *facet)
            .collect();
        if let Some((title, svg)) = why::draw(&facet.scenario, &caption, &counted, &arms) {
            plots.push(Plot {
                name: names.name("counters", facet),
                title,
                svg,
                folded: false,
            });
        }
    }
    plots.extend(attributions(record, &names));
    for point in &points {
        let samples: Vec<_> = record
            .samples
            .iter()
            .filter(|sample| Point::from(*sample) == *point)
            .collect();
        let baseline = super::arms::baseline(point, &record.verdicts);
        let (title, svg) = blocks::draw(point, &caption(point, record), &samples, baseline);
        let name = names.name("blocks", point);
        plots.push(Plot {
            name: format!("{name}-{}", point.threads),
            title,
            svg,
            folded: true,
        });
    }
    // Names that differ in signs only, which file names do not carry.
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for plot in &mut plots {
        while !taken.insert(plot.name.clone()) {
            plot.name.push_str("-again");
        }
    }
    plots
}

/// The plots of the attribution rows.
fn attributions(record: &Record, names: &Names) -> Vec<Plot> {
    let rows = || {
        let verdicts = record.verdicts.iter();
        verdicts.filter(|row| row.prefetch == ON_OVER_OFF)
    };
    let facets: BTreeSet<Point> = rows().map(|row| facet(&row.into())).collect();
    let mut plots = Vec::new();
    for at in &facets {
        let rows: Vec<&VerdictRow> = rows().filter(|row| facet(&(*row).into()) == *at).collect();
        let caption = caption(at, record);
        let margin = record.run.margin;
        if let Some((title, svg)) =
            attribution::draw(&at.scenario, &caption, &rows, &record.verdicts, margin)
        {
            plots.push(Plot {
                name: names.name("attribution", at),
                title,
                svg,
                folded: false,
            });
        }
    }
    plots
}

/// The points that share a plot: those that differ in threads only.
fn facet(point: &Point) -> Point {
    Point {
        threads: 0,
        ..point.clone()
    }
}

/// The second line of a plot: where and when.
fn caption(point: &Point, record: &Record) -> String {
    let mut parts = vec![
        point.machine.clone(),
        point.backend.clone(),
        point.placement.clone(),
        format!("prefetch {}", point.prefetch),
    ];
    parts.extend(record.run.started.clone());
    parts.extend(
        record
            .run
            .version
            .as_ref()
            .map(|version| format!("hitm {version}")),
    );
    parts.retain(|part| !part.is_empty());
    parts.join("  ·  ")
}

/// File names: the scenario, and whatever else differs between the points.
struct Names {
    differ: [bool; 4],
}

impl Names {
    fn factors(point: &Point) -> [&str; 4] {
        [
            &point.placement,
            &point.prefetch,
            &point.backend,
            &point.machine,
        ]
    }

    fn of(points: &[Point]) -> Names {
        let mut differ = [false; 4];
        for pair in points.windows(2) {
            let (a, b) = (Names::factors(&pair[0]), Names::factors(&pair[1]));
            for (differ, (a, b)) in differ.iter_mut().zip(a.iter().zip(b)) {
                *differ |= *a != b;
            }
        }
        Names { differ }
    }

    fn name(&self, kind: &str, point: &Point) -> String {
        let mut name = format!("{kind}-{}", slug(&point.scenario));
        for (part, differs) in Names::factors(point).iter().zip(self.differ) {
            if differs {
                name.push('-');
                name.push_str(&slug(part));
            }
        }
        name
    }
}
