//! A null of cases: how often two layouts that are touched alike are called equal.

use crate::conduct::{Disturbed, conduct};
use hitm::backend::native::made::MadeArms;
use hitm::backend::native::{Native, pool::Timing};
use hitm::case::Case;
use hitm::error::Result;
use hitm::experiment::{Arm, BackendKind, CaseFile, Design, Limits, Point, Scenario};
use hitm::machine::{Placement, Topology};
use hitm::stats::Verdict;
use std::time::Duration;

/// How often, and how long.
#[derive(clap::Args)]
pub struct Args {
    /// Runs
    #[arg(long, default_value_t = 20)]
    runs: u64,
    /// Longest run, in seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Threads, in turn
    #[arg(long, value_delimiter = ',', default_value = "2,1")]
    threads: Vec<usize>,
    /// Everything random follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The figure.
pub fn figure(args: &Args) -> Result<String> {
    let topology = Topology::here()?;
    let case = Case::parse("null", include_str!("null.toml"))?;
    let limits = Limits {
        budget: Some(Duration::from_secs_f64(args.seconds.max(0.1))),
        blocks: None,
    };
    let mut verdicts = Vec::new();
    let mut ratios = Vec::new();
    let mut disturbed = Disturbed::default();
    for (run, &threads) in (0..args.runs).zip(args.threads.iter().cycle()) {
        let point = Point {
            scenario: Scenario::Case(case.name.clone()),
            placement: Placement::Compact,
            threads,
        };
        let arms: Vec<Arm> = ["before", "after"]
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_>>()?;
        let design = Design {
            case: Some(CaseFile::new(case.clone())),
            seed: args.seed + run,
            ..Design::new(
                BackendKind::Native,
                "",
                Design::with_again(arms),
                vec![point],
            )
        };
        design.check()?;
        let cpus = Placement::Compact.plan(&topology, threads, false)?.cpus;
        let mut native = Native::new(MadeArms::of(&design)?, vec![cpus], Timing::default())?;
        let (rows, samples) = conduct(&design, limits, &mut native)?;
        disturbed.add(&samples);
        let row = rows.into_iter().find(|row| row.arm == design.arms[2]);
        verdicts.extend(row.as_ref().map(|row| row.verdict));
        ratios.extend(row.and_then(|row| row.ratio));
    }
    let of = |verdict: Verdict| verdicts.iter().filter(|v| **v == verdict).count();
    let furthest = ratios.iter().map(|ratio| (ratio - 1.0).abs());
    Ok(format!(
        "null: {} of {} runs equivalent, {} inconclusive, {} regression, {} improvement; the \
         furthest ratio is {:.2} % from 1; {disturbed}",
        of(Verdict::Equivalent),
        verdicts.len(),
        of(Verdict::Inconclusive),
        of(Verdict::Regression),
        of(Verdict::Improvement),
        100.0 * furthest.fold(0.0, f64::max),
    ))
}
