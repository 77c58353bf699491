//! Studies of many independent experiments: how often a verdict is wrong, how often it is right.

use super::conduct::{Conducted, Disturbed, conduct, design};
use crate::backend::faults::FaultArms;
use crate::backend::native::made::MadeArms;
use crate::backend::native::pool::Timing;
use crate::backend::native::{Build, Native};
use crate::case::Case;
use crate::error::Result;
use crate::experiment::{
    Arm, BackendKind, CaseFile, DEFAULT_MARGIN, Design, Limits, Point, Scenario, Stratum,
    check_margin,
};
use crate::judge::VerdictRow;
use crate::machine::{Placement, Topology, real_time};
use crate::report::columns::Columns;
use crate::stats::{Summary, Verdict};
use crate::units::parse_duration;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many experiments, and how long each.
#[derive(clap::Args)]
pub struct Args {
    /// Experiments, each with a seed of its own
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    trials: u64,
    /// Budget of an experiment (2s, 500ms)
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    budget: Duration,
    /// Equivalence margin in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0 * DEFAULT_MARGIN, value_parser = percent)]
    margin: f64,
    /// Thread counts, in turn [default: 2,1; 1 where there is one CPU]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=8192))]
    threads: Vec<u16>,
    /// Seed of the first experiment; the next has the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// What is compared in experiments on page faults.
#[derive(clap::Args)]
pub struct FaultArgs {
    /// The layout
    #[arg(long, value_name = "NAME", default_value = "split-packed")]
    layout: String,
    /// Scenarios, in turn
    #[arg(
        long,
        value_name = "S,…",
        value_delimiter = ',',
        default_value = "vma-per-thread,one-vma"
    )]
    scenario: Vec<String>,
    #[command(flatten)]
    trials: Args,
}

/// Per cent from 0 to 100.
fn percent(text: &str) -> std::result::Result<f64, String> {
    let wrong = || format!("'{text}' is not a percentage from 0 to 100");
    let percent: f64 = text.parse().map_err(|_| wrong())?;
    check_margin(percent / 100.0).map_err(|_| wrong())?;
    Ok(percent)
}

/// One experiment: its last arm over its first.
#[derive(Serialize)]
pub struct Trial {
    seed: u64,
    scenario: String,
    threads: usize,
    baseline: String,
    arm: String,
    margin_percent: f64,
    /// Empty: too few undisturbed blocks.
    verdict: Option<Verdict>,
    ratio: Option<f64>,
    ratio_low: Option<f64>,
    ratio_high: Option<f64>,
    blocks: u64,
    blocks_invalid: u64,
}

/// What came of the experiments.
pub struct Trials {
    /// One an experiment.
    pub rows: Vec<Trial>,
    /// How much of them was disturbed.
    pub disturbed: Disturbed,
    /// Which of them are counted, in words.
    what: String,
    counted: fn(Verdict) -> bool,
    /// Whether those counted are the ones that should not be; else the others are.
    counted_is_wrong: bool,
}

/// A/A comparisons: those called anything but equivalent or inconclusive are false alarms.
pub fn false_alarms(args: &FaultArgs) -> Result<Trials> {
    Ok(Trials {
        what: "A/A comparisons called anything but equivalent or inconclusive".to_owned(),
        counted: |verdict| !matches!(verdict, Verdict::Equivalent | Verdict::Inconclusive),
        counted_is_wrong: true,
        ..args.take(&[&args.layout, Arm::AGAIN])?
    })
}

/// Comparisons of `NAME+P%` with `NAME`: those called a regression are right.
pub fn power(percent: f64, args: &FaultArgs) -> Result<Trials> {
    let slower = format!("{}+{percent}%", args.layout);
    Ok(Trials {
        what: format!("{slower} called regression"),
        counted: |verdict| verdict == Verdict::Regression,
        counted_is_wrong: false,
        ..args.take(&[&args.layout, Arm::AGAIN, &slower])?
    })
}

/// Two layouts of a case that are touched alike: those called equivalent are right.
pub fn null(args: &Args) -> Result<Trials> {
    let case = Case::parse("null", include_str!("null.toml"))?;
    let arms = case.layouts.iter().map(|layout| layout.name.parse());
    let arms = Design::with_again(arms.collect::<Result<Vec<Arm>>>()?);
    let of = |threads| Design {
        case: Some(CaseFile::new(case.clone())),
        ..Design::new(
            BackendKind::Native,
            "this",
            arms.clone(),
            vec![Point {
                scenario: Scenario::Case(case.name.clone()),
                placement: Placement::Compact,
                threads,
            }],
        )
    };
    let designs: Vec<Design> = args.thread_counts()?.into_iter().map(of).collect();
    Ok(Trials {
        what: "layouts that are touched alike called equivalent".to_owned(),
        counted: |verdict| verdict == Verdict::Equivalent,
        counted_is_wrong: false,
        ..args.take(&designs, MadeArms::of)?
    })
}

impl FaultArgs {
    fn take(&self, arms: &[&str]) -> Result<Trials> {
        let mut designs = Vec::new();
        for threads in self.trials.thread_counts()? {
            for name in &self.scenario {
                for scenario in Scenario::named(name.trim())? {
                    designs.push(design(arms, &[(scenario.name(), threads)])?);
                }
            }
        }
        self.trials.take(&designs, FaultArms::of)
    }
}

impl Args {
    fn thread_counts(&self) -> Result<Vec<usize>> {
        let room = Placement::Compact.order(&Topology::here()?)?.len();
        Ok(match self.threads.as_slice() {
            [] if room == 1 => vec![1],
            [] => vec![2, 1],
            counts => counts.iter().copied().map(usize::from).collect(),
        })
    }

    /// Take the experiments one after another, designs in turn. Refused where half of them or more
    /// say nothing.
    fn take<B: Build + 'static>(
        &self,
        designs: &[Design],
        build: fn(&Design) -> Result<B>,
    ) -> Result<Trials> {
        let (topology, permission) = (Topology::here()?, real_time::permission());
        let limits = Limits {
            budget: Some(self.budget),
            blocks: None,
        };
        let (mut rows, mut disturbed) = (Vec::new(), Disturbed::default());
        let bar = bar(self.trials);
        for (trial, design) in (0..self.trials).zip(designs.iter().cycle()) {
            let design = Design {
                seed: self.seed.wrapping_add(trial),
                margin: self.margin / 100.0,
                ..design.clone()
            };
            design.check()?;
            let threads = design.points[0].threads;
            let cpus = Placement::Compact.plan(&topology, threads, false)?.cpus;
            let mut native = Native::new(build(&design)?, vec![cpus], Timing::default())?;
            native.may_use_real_time(&permission);
            let Conducted { verdicts, samples } = conduct(&design, limits, &mut native)?;
            disturbed.add(&samples);
            let last = design.arms.last();
            let whole = |row: &&VerdictRow| {
                Some(&row.arm) == last && row.role.is_none() && row.stratum == Stratum::default()
            };
            let row = verdicts.iter().find(whole);
            rows.extend(row.map(|row| Trial::of(&design, row)));
            bar.inc(1);
        }
        bar.finish_and_clear();
        let silent = rows.iter().filter(|row| row.verdict.is_none()).count() as u64;
        let silent = silent + self.trials - rows.len() as u64;
        if silent * 2 >= self.trials {
            return Err(disturbed.refuse(&format!(
                "{silent} of {} experiments had too few undisturbed blocks for an interval",
                self.trials
            )));
        }
        Ok(Trials {
            rows,
            disturbed,
            what: String::new(),
            counted: |_| false,
            counted_is_wrong: false,
        })
    }
}

impl Trial {
    fn of(design: &Design, row: &VerdictRow) -> Trial {
        // Without an interval, "inconclusive" says nothing; another verdict says something.
        let says = row.ratio.is_some() || row.verdict != Verdict::Inconclusive;
        Trial {
            seed: design.seed,
            scenario: row.point.scenario.to_string(),
            threads: row.point.threads,
            baseline: row.baseline.to_string(),
            arm: row.arm.to_string(),
            margin_percent: 100.0 * design.margin,
            verdict: says.then_some(row.verdict),
            ratio: row.ratio,
            ratio_low: row.ratio_low,
            ratio_high: row.ratio_high,
            blocks: row.blocks,
            blocks_invalid: row.blocks_invalid,
        }
    }
}

impl Trials {
    /// For reading: the share of those counted, all verdicts, and the experiments that came out
    /// wrong.
    pub fn table(&self) -> String {
        let judged: Vec<(&Trial, Verdict)> = self
            .rows
            .iter()
            .filter_map(|row| Some((row, row.verdict?)))
            .collect();
        let of = judged.len() as u64;
        let is_counted = |(_, verdict): &&(&Trial, Verdict)| (self.counted)(*verdict);
        let count = judged.iter().filter(is_counted).count() as u64;
        let (low, high) = clopper_pearson(count, of);
        let mut verdicts = BTreeMap::new();
        for row in &self.rows {
            let called = row
                .verdict
                .map_or("not judged".to_owned(), |v| v.to_string());
            *verdicts.entry(called).or_insert(0) += 1;
        }
        let verdicts = verdicts.iter().map(|(verdict, n)| format!("{n} {verdict}"));
        let median = |of: fn(&Trial) -> Option<f64>| {
            let values: Vec<f64> = self.rows.iter().filter_map(of).collect();
            Summary::of(&values).map_or(f64::NAN, |summary| summary.median)
        };
        let furthest = self.rows.iter().filter_map(|row| row.ratio);
        let furthest = furthest
            .map(|ratio| (ratio - 1.0).abs())
            .fold(0.0, f64::max);
        let mut columns = Columns::new("<<");
        columns.row(["counted", &self.what]);
        let share = format!(
            "{count} of {of}, {:.1} % (95 % interval {:.1} to {:.1} %)",
            100.0 * count as f64 / of as f64,
            100.0 * low,
            100.0 * high
        );
        columns.row(["share", &share]);
        columns.row(["verdicts", &verdicts.collect::<Vec<_>>().join(", ")]);
        let margin = self.rows.first().map_or(f64::NAN, |row| row.margin_percent);
        columns.row(["margin", &format!("{margin} %")]);
        let ratio = format!(
            "{:.4} ± {:.2} %, the furthest {:.2} % from 1",
            median(|row| row.ratio),
            median(|row| Some(100.0 * ((row.ratio_high? / row.ratio_low?).sqrt() - 1.0))),
            100.0 * furthest
        );
        columns.row(["median ratio", &ratio]);
        let blocks = format!("{:.0}", median(|row| Some(row.blocks as f64)));
        columns.row(["median blocks", &blocks]);
        let wrong: Vec<_> = judged
            .iter()
            .filter(|trial| is_counted(trial) == self.counted_is_wrong)
            .collect();
        let mut out = columns.to_string();
        if !wrong.is_empty() {
            out += &format!("\nnot as it should be\n{}", wrong_rows(&wrong));
        }
        out
    }
}

fn wrong_rows(wrong: &[&(&Trial, Verdict)]) -> Columns {
    let mut columns = Columns::new(">><<>>>");
    columns.row([
        "seed", "threads", "scenario", "verdict", "ratio", "interval", "blocks",
    ]);
    let figure = |figure: Option<f64>| figure.map_or(String::new(), |f| format!("{f:.4}"));
    for (row, verdict) in wrong {
        columns.row([
            row.seed.to_string(),
            row.threads.to_string(),
            row.scenario.clone(),
            verdict.to_string(),
            figure(row.ratio),
            format!("{} to {}", figure(row.ratio_low), figure(row.ratio_high)),
            row.blocks.to_string(),
        ]);
    }
    columns
}

/// The interval of a share that covers with 95 % at least (Clopper and Pearson 1934).
fn clopper_pearson(count: u64, of: u64) -> (f64, f64) {
    let quantile = |a: u64, b: u64, at: f64| {
        Beta::new(a as f64, b as f64).map_or(f64::NAN, |beta| beta.inverse_cdf(at))
    };
    let low = match count {
        0 => 0.0,
        _ => quantile(count, of - count + 1, 0.025),
    };
    let high = match of - count {
        0 => 1.0,
        rest => quantile(count + 1, rest, 0.975),
    };
    (low, high)
}

/// On stderr if that is a terminal, nothing otherwise.
fn bar(trials: u64) -> ProgressBar {
    let bar = ProgressBar::new(trials);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos} of {len}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(verdicts: &[Option<Verdict>]) -> Trials {
        let row = |(seed, verdict): (usize, &Option<Verdict>)| Trial {
            seed: seed as u64,
            scenario: "one-vma".to_owned(),
            threads: 1,
            baseline: "a".to_owned(),
            arm: "b".to_owned(),
            margin_percent: 2.0,
            verdict: *verdict,
            ratio: verdict.map(|_| 1.05),
            ratio_low: verdict.map(|_| 1.04),
            ratio_high: verdict.map(|_| 1.06),
            blocks: 30,
            blocks_invalid: 0,
        };
        Trials {
            rows: verdicts.iter().enumerate().map(row).collect(),
            disturbed: Disturbed::default(),
            what: "called regression".to_owned(),
            counted: |verdict| verdict == Verdict::Regression,
            counted_is_wrong: false,
        }
    }

    #[test]
    fn trials_that_say_nothing_are_no_part_of_the_share() {
        let regression = Some(Verdict::Regression);
        let table = trials(&[regression, regression, Some(Verdict::Inconclusive), None]).table();
        assert!(table.contains("2 of 3, 66.7 %"), "{table}");
        assert!(
            table.contains("1 inconclusive, 1 not judged, 2 regression"),
            "{table}"
        );
        assert!(table.contains("not as it should be"), "{table}");
    }

    #[test]
    fn the_interval_of_a_share_covers() {
        // The rule of three, and symmetry.
        let (low, high) = clopper_pearson(0, 100);
        assert!(low == 0.0 && (high - 0.0362).abs() < 1e-3, "{high}");
        let (low, high) = clopper_pearson(50, 100);
        assert!((low + high - 1.0).abs() < 1e-6);
    }
}
