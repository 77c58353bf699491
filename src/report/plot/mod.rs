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
use super::arms::{ArmTime, Site};
use super::why::Counted;
use crate::experiment::Point;
use crate::judge::{Compared, VerdictRow};
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
    let facets: BTreeSet<Site> = sites.iter().map(facet).collect();
    let names = Names::of(&sites);
    let counted = super::why::counted(record);
    let mut plots = Vec::new();
    for facet in &facets {
        let arms: Vec<&ArmTime> = arms
            .iter()
            .filter(|arm| self::facet(&arm.site) == *facet)
            .collect();
        let rows = record
            .verdicts
            .iter()
            .filter(|row| self::facet(&Site::from(*row)) == *facet);
        let rows: Vec<_> = rows.collect();
        let caption = caption(facet, record);
        let scenario = facet.point.scenario.name();
        if let Some((title, svg)) = times::draw(scenario, &caption, &arms) {
            plots.push(Plot {
                name: names.name("time", facet),
                title,
                svg,
                folded: false,
            });
        }
        if let Some((title, svg)) = ratios::draw(scenario, &caption, &rows, record.margin()) {
            plots.push(Plot {
                name: names.name("ratio", facet),
                title,
                svg,
                folded: false,
            });
        }
        let counted: Vec<&Counted> = counted
            .iter()
            .filter(|counted| self::facet(&counted.site) == *facet)
            .collect();
        if let Some((title, svg)) = why::draw(scenario, &caption, &counted, &arms) {
            plots.push(Plot {
                name: names.name("counters", facet),
                title,
                svg,
                folded: false,
            });
        }
    }
    plots.extend(attributions(record, &names));
    for site in &sites {
        let samples: Vec<_> = record
            .samples
            .iter()
            .filter(|sample| Site::from(*sample) == *site)
            .collect();
        let baseline = super::arms::baseline(site, &record.verdicts);
        let (title, svg) = blocks::draw(&site.point, &caption(site, record), &samples, baseline);
        let name = names.name("blocks", site);
        plots.push(Plot {
            name: format!("{name}-{}", site.point.threads),
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
        verdicts.filter(|row| row.prefetch == Compared::OnOverOff)
    };
    let facets: BTreeSet<Site> = rows().map(|row| facet(&row.into())).collect();
    let mut plots = Vec::new();
    for at in &facets {
        let rows: Vec<&VerdictRow> = rows().filter(|row| facet(&(*row).into()) == *at).collect();
        let caption = caption(at, record);
        let margin = record.margin();
        if let Some((title, svg)) = attribution::draw(
            at.point.scenario.name(),
            &caption,
            &rows,
            &record.verdicts,
            margin,
        ) {
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

/// The sites that share a plot: those that differ in threads only.
fn facet(site: &Site) -> Site {
    Site {
        point: Point {
            threads: 0,
            ..site.point.clone()
        },
        ..site.clone()
    }
}

/// The second line of a plot: where and when.
fn caption(site: &Site, record: &Record) -> String {
    let mut parts = vec![
        site.machine.clone(),
        site.backend.to_string(),
        site.point.placement.to_string(),
        format!("prefetch {}", site.prefetch),
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

/// File names: the scenario, and whatever else differs between the sites.
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
        name
    }
}
