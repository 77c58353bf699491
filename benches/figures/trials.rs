//! Figures of many independent experiments: how often a verdict is wrong, how often it is right.

use crate::conduct::{Disturbed, conduct, design, ratio};
use hitm::backend::faults::FaultArms;
use hitm::backend::native::Native;
use hitm::backend::native::pool::Timing;
use hitm::error::{Error, Result};
use hitm::experiment::{Arm, Design, Limits, Scenario};
use hitm::judge::VerdictRow;
use hitm::machine::{Placement, Topology};
use hitm::stats::Verdict;
use indicatif::{ProgressBar, ProgressStyle};
use statrs::distribution::{Beta, ContinuousCDF};
use std::time::Duration;

/// What the experiments are, and how many.
#[derive(clap::Args)]
pub struct Args {
    /// Experiments, each with a seed of its own
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..))]
    trials: u64,
    /// Budget of an experiment in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Equivalence margin in per cent
    #[arg(long, default_value_t = 2.0)]
    margin: f64,
    /// The layout
    #[arg(long, default_value = "split-packed")]
    layout: String,
    /// Scenarios, in turn
    #[arg(long, value_delimiter = ',', default_value = "vma-per-thread,one-vma")]
    scenario: Vec<String>,
    /// Thread counts, in turn [default: 2,1; 1 where there is one CPU]
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Seed of the first experiment; the next has the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A/A comparisons that are called anything but equivalent or inconclusive.
pub fn false_alarms(args: &Args) -> Result<String> {
    let tally = Tally::take(args, &[&args.layout, Arm::AGAIN])?;
    let alarm =
        |row: &VerdictRow| matches!(row.verdict, Verdict::Regression | Verdict::Improvement);
    let what = "A/A comparisons called regression or improvement";
    tally.rate(&format!("false alarms: {what}"), alarm, true)
}

/// Comparisons of `NAME+P%` with `NAME` that are called a regression.
pub fn power(percent: f64, args: &Args) -> Result<String> {
    let slower = format!("{}+{percent}%", args.layout);
    let tally = Tally::take(args, &[&args.layout, Arm::AGAIN, &slower])?;
    let what = format!("power: {slower} called regression");
    tally.rate(&what, |row| row.verdict == Verdict::Regression, false)
}

/// What became of the experiments.
struct Tally<'a> {
    args: &'a Args,
    /// The row of the last arm of each experiment that has an interval.
    rows: Vec<VerdictRow>,
    disturbed: Disturbed,
}

impl Tally<'_> {
    /// Take the experiments one after another, scenarios and thread counts in turn.
    fn take<'a>(args: &'a Args, arms: &[&str]) -> Result<Tally<'a>> {
        let topology = Topology::here()?;
        let room = Placement::Compact.order(&topology)?.len();
        let counts = match args.threads.as_slice() {
            [] if room == 1 => vec![1],
            [] => vec![2, 1],
            counts => counts.to_vec(),
        };
        let mut points = Vec::new();
        for &threads in &counts {
            for name in &args.scenario {
                for scenario in Scenario::named(name)? {
                    points.push((scenario, threads));
                }
            }
        }
        if !(args.seconds > 0.0 && args.seconds < 1e6) {
            return Err(Error::Input("--seconds must be above 0".to_owned()));
        }
        let limits = Limits {
            budget: Some(Duration::from_secs_f64(args.seconds)),
            blocks: None,
        };
        let mut tally = Tally {
            args,
            rows: Vec::new(),
            disturbed: Disturbed::default(),
        };
        let bar = bar(args.trials);
        for (trial, &(scenario, threads)) in (0..args.trials).zip(points.iter().cycle()) {
            let cpus = Placement::Compact.plan(&topology, threads, false)?.cpus;
            let design = Design {
                seed: args.seed + trial,
                margin: args.margin / 100.0,
                ..design(arms, &[(scenario.name(), threads)])?
            };
            let faults = FaultArms::of(&design)?;
            let mut native = Native::new(faults, vec![cpus], Timing::default())?;
            let (rows, samples) = conduct(&design, limits, &mut native)?;
            tally.disturbed.add(&samples);
            let last = rows.into_iter().last().filter(|row| row.ratio.is_some());
            tally.rows.extend(last);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(tally)
    }

    /// The share of rows that are `counted`, and a line for each row that should not be as it is.
    /// Refused where half of the experiments or more say nothing.
    fn rate(
        &self,
        what: &str,
        counted: fn(&VerdictRow) -> bool,
        counted_is_wrong: bool,
    ) -> Result<String> {
        let Args { trials, margin, .. } = self.args;
        let judged = self.rows.len() as u64;
        if judged * 2 <= *trials {
            return Err(self.disturbed.refuse(&format!(
                "{} of {trials} experiments had too few undisturbed blocks for an interval",
                trials - judged
            )));
        }
        let count = self.rows.iter().filter(|row| counted(row)).count() as u64;
        let (low, high) = clopper_pearson(count, judged);
        let of = |verdict: Verdict| self.rows.iter().filter(|r| r.verdict == verdict).count();
        let width = |row: &VerdictRow| Some((row.ratio_high? / row.ratio_low?).sqrt() - 1.0);
        let mut line = format!(
            "{what}: {count} of {judged}, {:.1} % (95 % interval {:.1} to {:.1} %); margin {margin} %; \
             {} regression, {} improvement, {} equivalent, {} inconclusive, {} not judged; \
             median {:.0} blocks, ratio {:.4} ± {:.2} %; {}",
            100.0 * count as f64 / judged as f64,
            100.0 * low,
            100.0 * high,
            of(Verdict::Regression),
            of(Verdict::Improvement),
            of(Verdict::Equivalent),
            of(Verdict::Inconclusive),
            trials - judged,
            self.median(|row| Some(row.blocks as f64)),
            self.median(|row| row.ratio),
            100.0 * self.median(width),
            self.disturbed,
        );
        for row in self.rows.iter().filter(|r| counted(r) == counted_is_wrong) {
            line += &format!(
                "\n  {}, {} threads: {} {} in {} blocks",
                row.point.scenario,
                row.point.threads,
                row.verdict,
                ratio(row),
                row.blocks
            );
        }
        Ok(line)
    }

    fn median(&self, of: impl Fn(&VerdictRow) -> Option<f64>) -> f64 {
        let values: Vec<f64> = self.rows.iter().filter_map(of).collect();
        hitm::stats::Summary::of(&values).map_or(f64::NAN, |summary| summary.median)
    }
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
