//! `hitm run`: measure on this machine.

use super::conduct::{EnvironmentFile, Folder, Run, conduct, read_environment, run_record};
use super::options::Options;
use super::prefetch::RegisterArgs;
use crate::backend::native::{Arm, Faults, Native, OWN_COUNTERS, pool::Timing, unmeasured};
use crate::counters::{self, Missing, Pmu, Rotation, Scope, preflight};
use crate::error::{Error, Result};
use crate::experiment::{BASELINE_AGAIN, Design};
use crate::machine::{CpuId, Placement, Topology, environment::Environment};
use crate::prefetch::{Control, Which};
use crate::program::fault::scenario;
use crate::results::{Unmeasured, run_id};
use std::collections::BTreeSet;
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
    /// Write where every VMA, lock and field lies, for `layout resolve`; each arm then keeps its place
    #[arg(long, value_name = "FILE")]
    address_map: Option<PathBuf>,
    /// Counter roles to read in every window (see `hitm counters list`), `all` or `none`
    #[arg(
        long,
        value_name = "ROLE,…",
        value_delimiter = ',',
        default_value = "all"
    )]
    counters: Vec<String>,
    /// With --prefetch ab: the prefetcher to switch (see `hitm prefetch status`) [default: the one
    /// that completes pairs: adjacent on Intel, up-down on AMD]
    #[arg(long, value_name = "PREFETCHER")]
    which: Option<Which>,
    #[command(flatten)]
    registers: RegisterArgs,
    /// Go on with the run in this folder, with its layouts, scenarios and seed
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "layouts", "scenario", "threads", "placement", "prefetch", "seed", "shard", "out", "margin",
        "page_work", "first_slot", "counters", "address_map",
    ])]
    resume: Option<PathBuf>,
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let topology = Topology::here()?;
    let machine = Environment::record(&topology, args.options.seed);
    let name = machine.name();
    let (mut environment, folder) = match &args.resume {
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
    let used: BTreeSet<CpuId> = cpus.iter().flatten().copied().collect();
    // Declared before the backend, which puts the registers back when it is dropped.
    let control = match design.prefetch.len() > 1 {
        true => Some(control(&args, used, design.prefetcher.as_deref())?),
        false => None,
    };
    let mut backend = Native::new(build, cpus, Timing::default())?;
    if let Some((control, which)) = &control {
        backend.switch(control.guard(*which)?);
        environment.design.prefetcher = Some(which.to_string());
    }
    let (plan, missing) = counters(&args.counters)?;
    let own = OWN_COUNTERS.into_iter().map(|(name, _)| name);
    let columns: Vec<String> = own.chain(plan.roles()).map(str::to_owned).collect();
    backend.count(plan);
    environment.run.note_unmeasured(missing);
    let address_map = args.address_map.clone();
    let address_map = address_map.map(|path| (path, backend.fix_places(&environment.design)));
    let run = Run {
        address_map,
        counters: columns,
        limits: args.options.limits(),
        environment,
        folder,
    };
    let conducted = conduct(run, &mut backend, &args.options);
    let back = backend.switch_back();
    if let (Err(error), Err(_)) = (&conducted, &back) {
        eprintln!("hitm: {error}");
    }
    // Registers that are not as they were matter more than how the run ended.
    back.and(conducted)
}

/// The registers of `used` CPUs, and which prefetcher to switch: the one asked for, or that of the
/// run that goes on, or the one that completes pairs.
fn control(args: &Args, used: BTreeSet<CpuId>, before: Option<&str>) -> Result<(Control, Which)> {
    let mut options = args.registers.options()?;
    if options.cpus.is_none() {
        options.cpus = Some(used);
    }
    let control = Control::open(&options)?;
    let which = match (args.which, before) {
        (Some(which), _) => which,
        (None, Some(name)) => name.parse()?,
        (None, None) => Which::One(control.pair_completer()),
    };
    Ok((control, which))
}

/// What to count, tried out where there is a PMU; and what cannot be counted, each reason once.
fn counters(asked: &[String]) -> Result<(Rotation, Vec<Unmeasured>)> {
    let pmu = Pmu::here();
    let roles: Vec<&str> = match asked {
        [one] if one == "none" => return Ok((Rotation::default(), Vec::new())),
        // Context switches are counted anyway, by kind.
        [one] if one == "all" => counters::roles()
            .iter()
            .map(|role| role.name.as_str())
            .filter(|role| *role != "context_switches")
            .collect(),
        roles => roles.iter().map(String::as_str).collect(),
    };
    let mut plan = Rotation::new(&pmu, &roles, Scope::User)?;
    let mut missing = plan.missing.clone();
    if pmu.number.is_some() {
        let dead: Vec<Missing> = preflight::check(&pmu, Scope::User)?
            .into_iter()
            .filter(|one| {
                matches!(
                    one.status,
                    preflight::Status::Dead | preflight::Status::Missing
                )
            })
            .filter(|one| roles.contains(&one.role) && !missing.iter().any(|m| m.role == one.role))
            .map(|one| Missing {
                role: one.role,
                reason: one.reason,
            })
            .collect();
        let alive = plan
            .roles()
            .into_iter()
            .filter(|role| !dead.iter().any(|one| one.role == *role));
        let alive: Vec<&str> = alive.collect();
        plan = Rotation::new(&pmu, &alive, Scope::User)?;
        missing.extend(dead);
    }
    Ok((plan, unmeasured(&missing)))
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
        prefetcher: None,
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
