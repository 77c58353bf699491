//! `hitm run`: measure on this machine.

use super::conduct::{EnvironmentFile, Folder, Run, conduct, read_environment, run_record};
use super::options::Options;
use crate::backend::native::{Arm, Faults, Native, SOFTWARE_COUNTERS, pool::Timing};
use crate::error::{Error, Result};
use crate::experiment::{BASELINE_AGAIN, Design};
use crate::machine::{CpuId, Placement, Topology, environment::Environment};
use crate::results::{Unmeasured, run_id};
use crate::scenario;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Arguments of `hitm run`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Allow more threads than CPUs
    #[arg(long)]
    oversubscribe: bool,
    /// Go on with the run in this folder, with its layouts, scenarios and seed
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "shard", "seed", "threads"])]
    resume: Option<PathBuf>,
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let topology = Topology::here()?;
    let machine = Environment::record(&topology, args.options.seed);
    let name = machine.name();
    let (environment, folder) = match &args.resume {
        Some(dir) => (resumed(dir, &name)?, Folder::Resumed(dir.clone())),
        None => (
            new(&args.options, &topology, &machine, name)?,
            Folder::New(args.options.out.clone()),
        ),
    };
    let design = &environment.design;
    let scenarios = design
        .points
        .iter()
        .map(|point| Ok((scenario::BuiltIn::parse(&point.scenario)?[0], point.threads)))
        .collect::<Result<Vec<_>>>()?;
    let build = Faults {
        arms: arms(&design.arms)?,
        points: scenarios,
        work: design.page_work,
    };
    let cpus = cpus(design, &topology, args.oversubscribe)?;
    let mut backend = Native::new(build, cpus, Timing::default())?;
    let run = Run {
        counters: SOFTWARE_COUNTERS.map(str::to_owned).to_vec(),
        limits: args.options.limits(),
        environment,
        folder,
    };
    conduct(run, &mut backend, &args.options)
}

/// The design that the arguments ask for.
fn new(
    options: &Options,
    topology: &Topology,
    machine: &Environment,
    name: String,
) -> Result<EnvironmentFile> {
    let names = options.arms()?;
    arms(&names)?;
    let scenarios = options.scenarios()?;
    let placement: Placement = options.placement.parse()?;
    let counts = options.thread_counts(placement.order(topology)?.len())?;
    let design = Design {
        run: run_id(SystemTime::now(), &name),
        backend: "native".to_owned(),
        machine: name,
        points: options.points(&scenarios, &counts)?,
        arms: names,
        prefetch: options.prefetch_states(),
        first_slot: options.first_slot.map(|slot| slot as usize),
        seed: options.seed(),
        page_work: options.page_work,
        margin: options.margin / 100.0,
    };
    let unmeasured = machine
        .unavailable
        .iter()
        .map(|(what, why)| Unmeasured {
            what: what.clone(),
            why: why.clone(),
        })
        .collect();
    Ok(EnvironmentFile {
        run: run_record(&design, unmeasured),
        machine: serde_json::to_value(machine)
            .map_err(|e| Error::Input(format!("the environment cannot be written as JSON: {e}")))?,
        design,
    })
}

/// The design of the run in `dir`, if it can go on here.
fn resumed(dir: &Path, name: &str) -> Result<EnvironmentFile> {
    let environment = read_environment(dir)?;
    let design = &environment.design;
    if design.backend != "native" || design.machine != name {
        return Err(Error::Input(format!(
            "{} holds a {} run of '{}', and this is '{name}'; resume it where it was begun",
            dir.display(),
            design.backend,
            design.machine
        )));
    }
    Ok(environment)
}

/// The arms behind the names; the A/A arm is the baseline.
fn arms(names: &[String]) -> Result<Vec<Arm>> {
    names
        .iter()
        .map(|name| {
            if name == BASELINE_AGAIN {
                &names[0]
            } else {
                name
            }
        })
        .map(|name| name.parse())
        .collect()
}

/// CPUs of each design point; what a reader has to know about them is said once.
fn cpus(design: &Design, topology: &Topology, oversubscribe: bool) -> Result<Vec<Vec<CpuId>>> {
    let mut said: Vec<String> = Vec::new();
    let mut plans = Vec::new();
    for point in &design.points {
        let placement: Placement = point.placement.parse()?;
        let plan = placement.plan(topology, point.threads, oversubscribe)?;
        for warning in plan.warnings {
            if !said.contains(&warning) {
                eprintln!("hitm: {warning}");
                said.push(warning);
            }
        }
        plans.push(plan.cpus);
    }
    Ok(plans)
}
