//! The plots of a record, as SVG.
//!
//! Here: which plots there are, and their names. One file per kind of plot; drawing on a canvas is
//! `canvas`, axes `axis`.

mod attribution;
mod axis;
mod blocks;
mod canvas;
mod frame;
mod ratios;
mod rows;
mod times;
mod why;

use self::frame::{Colours, Drawn, Frame};
use super::Record;
use super::arms::{ArmTime, Site};
use super::why::Counted;
use crate::experiment::Point;
use crate::judge::{Compared, VerdictRow, shown};
use crate::results::slug;
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
    let sites = super::arms::sites(&record.samples);
    let names = Names::of(&sites);
    let colours = Colours::of(record.samples.iter().map(|s| s.arm.clone()));
    let counted = super::why::counted(record);
    let mut plots = Vec::new();
    let mut push = |kind: &str, site: &Site, drawn: Option<Drawn>| {
        plots.extend(drawn.map(|(title, svg)| Plot {
            name: names.name(kind, site),
            title,
            svg,
            folded: kind == "blocks",
        }));
    };
    let frame = |site| Frame::of(site, record, &colours);
    let verdicts_at = |at: &Site| -> Vec<&VerdictRow> {
        let verdicts = shown(&record.verdicts);
        verdicts
            .filter(|row| facet(&(*row).into()) == *at)
            .collect()
    };
    let facets: BTreeSet<Site> = sites.iter().map(facet).collect();
    for at in &facets {
        let frame = frame(at);
        let arms: Vec<&ArmTime> = arms.iter().filter(|a| facet(&a.site) == *at).collect();
        let counted: Vec<&Counted> = counted.iter().filter(|c| facet(&c.site) == *at).collect();
        push("time", at, times::draw(&frame, &arms));
        push("ratio", at, ratios::draw(&frame, &verdicts_at(at)));
        push("counters", at, why::draw(&frame, &counted, &arms));
    }
    let attributes = |row: &&VerdictRow| row.prefetch == Compared::OnOverOff;
    let rows = shown(&record.verdicts).filter(attributes);
    let facets: BTreeSet<Site> = rows.map(|row| facet(&row.into())).collect();
    for at in &facets {
        let drawn = attribution::draw(&frame(at), &verdicts_at(at), &record.verdicts);
        push("attribution", at, drawn);
    }
    for site in &sites {
        let samples = record.samples.iter();
        let samples: Vec<_> = samples.filter(|s| Site::from(*s) == *site).collect();
        let arms: Vec<&ArmTime> = arms.iter().filter(|arm| arm.site == *site).collect();
        let baseline = super::arms::baseline(site, &record.verdicts);
        let drawn = blocks::draw(&frame(site), &samples, &arms, baseline);
        push("blocks", site, drawn);
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

/// The sites that share a plot: those that differ in threads only, of which it has none.
fn facet(site: &Site) -> Site {
    Site {
        point: Point {
            threads: 0,
            ..site.point.clone()
        },
        ..site.clone()
    }
}

/// File names: the scenario, whatever else differs between the sites, and the threads of a site
/// that is no facet.
struct Names {
    differ: [bool; 4],
}

impl Names {
    fn factors(site: &Site) -> [String; 4] {
        [
            site.point.placement.to_string(),
            site.prefetch.to_string(),
            site.backend.to_string(),
            site.machine.clone(),
        ]
    }

    fn of(sites: &[Site]) -> Names {
        let mut differ = [false; 4];
        for pair in sites.windows(2) {
            let (a, b) = (Names::factors(&pair[0]), Names::factors(&pair[1]));
            for (differ, (a, b)) in differ.iter_mut().zip(a.iter().zip(b)) {
                *differ |= *a != b;
            }
        }
        Names { differ }
    }

    fn name(&self, kind: &str, site: &Site) -> String {
        let mut name = format!("{kind}-{}", slug(site.point.scenario.name()));
        for (part, differs) in Names::factors(site).iter().zip(self.differ) {
            if differs {
                name.push('-');
                name.push_str(&slug(part));
            }
        }
        match site.point.threads {
            0 => name,
            threads => format!("{name}-{threads}"),
        }
    }
}
