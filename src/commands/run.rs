//! `hitm run`: measure on this machine.

use super::options::{FailOn, Options};
use crate::backend::native::{Arm, Faults, Native, SOFTWARE_COUNTERS, pool::Timing};
use crate::error::{Error, Result};
use crate::experiment::{self, Design, Ending, Verdicts};
use crate::machine::{Placement, Topology};
use crate::results::{RunFolder, Sample};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Arguments of `hitm run`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Allow more threads than CPUs
    #[arg(long)]
    oversubscribe: bool,
    /// Go on with the run in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
}

struct Watch {
    folder: RunFolder,
    samples: Vec<Sample>,
}

impl experiment::Watch for Watch {
    fn block(&mut self, samples: &[Sample]) -> Result<()> {
        self.samples.extend_from_slice(samples);
        self.folder.append_block(samples)
    }
    fn progress(&mut self, _done: f64, _decided: usize, _verdicts: usize) {}
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let options = &args.options;
    let (names, arms) = options.arms(|name| name.parse::<Arm>())?;
    let scenarios = options.scenarios()?;
    let topology = Topology::here()?;
    let placement: Placement = options.placement.parse()?;
    let most = placement.order(&topology)?.len();
    let counts = options.thread_counts(most)?;
    let points = options.points(&scenarios, &counts)?;
    let cpus = points
        .iter()
        .map(|(_, p)| {
            Ok(placement
                .plan(&topology, p.threads, args.oversubscribe)?
                .cpus)
        })
        .collect::<Result<Vec<_>>>()?;
    let design = Design {
        run: crate::results::run_id(std::time::SystemTime::now(), "x"),
        backend: "native".into(),
        machine: "x".into(),
        points: points.iter().map(|(_, p)| p.clone()).collect(),
        arms: names,
        prefetch: options.prefetch_states(),
        first_slot: options.first_slot.map(|s| s as usize),
        seed: options.seed.unwrap_or(1),
        margin: options.margin / 100.0,
    };
    let build = Faults {
        arms,
        points: points.iter().map(|(s, p)| (*s, p.threads)).collect(),
        work: options.page_work,
    };
    let mut backend = Native::new(build, cpus, Timing::default())?;
    let counters: Vec<String> = SOFTWARE_COUNTERS.iter().map(|s| s.to_string()).collect();
    let folder = RunFolder::create(options.out.as_deref(), &design.run, &counters)?;
    let mut watch = Watch {
        folder,
        samples: vec![],
    };
    let mut verdicts = Verdicts::new(&design);
    let flag = Arc::new(AtomicBool::new(false));
    let ending = experiment::drive(
        &design,
        options.limits(),
        &mut backend,
        &mut verdicts,
        &mut watch,
        &flag,
    )?;
    let rows = verdicts.finish(&design);
    for r in &rows {
        println!(
            "{:16} {} {:24} {:?} [{:?} {:?}] {} {}/{}",
            r.scenario,
            r.threads,
            r.layout,
            r.ratio,
            r.ratio_low,
            r.ratio_high,
            r.verdict,
            r.blocks,
            r.blocks_invalid
        );
    }
    println!("{ending:?}");
    let _ = (Ending::Decided, FailOn::Regression, Error::Interrupted);
    Ok(())
}
