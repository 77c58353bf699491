//! `hitm run`: measure on this machine.

use super::dry_run;
use super::first_error;
use super::import::READ_AT_RUN_TIME;
use super::options::Options;
use super::prefetch::selected;
use super::progress::{Progress, interrupted};
use super::verdicts::{Said, conclude};
use crate::backend::arms::Arms;
use crate::backend::faults::FaultArms;
use crate::backend::native::made::MadeArms;
use crate::backend::native::paces::Paces;
use crate::backend::native::{Build, Native, OWN_COUNTERS, PACE, pool::Timing, unmeasured};
use crate::counters::preflight::{self, Status};
use crate::counters::{self, Missing, Pmu, Rotation, Scope};
use crate::error::{Error, Result, say};
use crate::experiment::{Backend, BackendKind, Design, Ending, Limits, Sample, Unmeasured, drive};
use crate::machine::environment::{Environment, boot_id};
use crate::machine::real_time::{self, Permission, RealTime};
use crate::machine::{CpuId, Topology};
use crate::prefetch::{Control, Which};
use crate::results::address_map::{self, AddressMap, Mapped};
use crate::results::{EnvironmentFile, RegisterSettings, RunFolder, RunSettings, refuse_existing};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Arguments of `hitm run`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Allow more threads than CPUs
    #[arg(long)]
    oversubscribe: bool,
    /// Never give threads a real-time policy. Without this, where it is permitted, they have
    /// SCHED_FIFO for the few milliseconds of each sample once one of them was switched out
    #[arg(long)]
    no_realtime: bool,
    /// Write where every VMA, lock and field lies, for `layout resolve`; layouts are then not moved
    /// between blocks
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
    registers: RegisterSettings,
    /// Go on with the run in this folder, with everything that was asked for there; --budget and
    /// --blocks may be given anew
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "layouts", "import", "case", "scenario", "threads", "placement", "prefetch", "seed", "shard", "out", "margin",
        "page_work", "first_slot", "counters", "address_map", "label", "oversubscribe", "which",
        "no_realtime",
        "cpus", "unsafe_msr", "msr_root", "dry_run",
    ])]
    resume: Option<PathBuf>,
}

impl Args {
    /// Those of a command line without the name of the command.
    pub fn of_line(line: impl IntoIterator<Item = OsString>) -> Result<Args> {
        #[derive(clap::Parser)]
        #[command(no_binary_name = true)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let line = <Line as clap::Parser>::try_parse_from(line);
        line.map(|line| line.args)
            .map_err(|error| Error::Input(error.to_string().replace('\n', " ")))
    }
}

/// Where neither --budget nor --blocks is given.
const DEFAULT_LIMITS: Limits = Limits {
    budget: Some(Duration::from_secs(60)),
    blocks: None,
};

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let topology = Topology::here()?;
    let machine = Environment::record(&topology);
    let (environment, mut design, settings) = match &args.resume {
        Some(dir) => resumed(&args, dir, &machine.name())?,
        None => new(&args, &topology, &machine)?,
    };
    if args.options.dry_run {
        return dry_run(&args, &design, &settings, &topology);
    }
    (design.host, design.boot_id) = (host(), boot_id().unwrap_or_default());
    if !design.imported.is_empty() {
        say(READ_AT_RUN_TIME);
    }
    let request = (environment, design, settings);
    match request.1.case.is_some() {
        true => measure(&args, &topology, MadeArms::of(&request.1)?, request),
        false => measure(&args, &topology, FaultArms::of(&request.1)?, request),
    }
}

/// What would be measured, and how long it takes.
fn dry_run(
    args: &Args,
    design: &Design,
    settings: &RunSettings,
    topology: &Topology,
) -> Result<()> {
    // Refused here as there.
    cpus(design, topology, settings.oversubscribe)?;
    let timing = Timing::default();
    let sample = (timing.warm_up + timing.probe + timing.window).as_secs_f64();
    let block = sample * design.samples_per_block() as f64;
    super::print(&dry_run::text(
        design,
        settings.limits(),
        &vec![block; design.points.len()],
        "A sample warms up, probes and measures for as long as that; laying out memory comes on top.",
        args.options.format,
    ))
}

/// Measure the programs of `arms`.
fn measure<A: Arms + Build>(
    args: &Args,
    topology: &Topology,
    arms: A,
    (mut environment, mut design, settings): Request,
) -> Result<()> {
    let cpus = cpus(&design, topology, settings.oversubscribe)?;
    let used: BTreeSet<CpuId> = cpus.iter().flatten().copied().collect();
    // Declared before the backend, which puts the registers back when it is dropped.
    let control = match &settings.registers {
        Some(registers) => Some(control(registers, used, design.prefetcher)?),
        None => None,
    };
    let mut paces = Paces::take(&cpus, topology)?;
    let mut backend = Native::new(arms, cpus, Timing::default())?;
    let permission = real_time::permission();
    if permission == Permission::FromOutside {
        environment.run.real_time = Some(RealTime::FromOutside);
    }
    let in_samples = match settings.no_realtime {
        true => Arc::default(),
        false => backend.may_use_real_time(&permission),
    };
    for why in backend.unplaced() {
        say(why);
    }
    if let Some((control, which)) = &control {
        backend.switch(control.guard(*which)?);
        design.prefetcher = Some(*which);
    }
    let (plan, missing) = counters(&settings.counters)?;
    environment.run.note_unmeasured(missing);
    let own = OWN_COUNTERS.into_iter().map(|(name, _)| name);
    let own = A::TALLIES.iter().map(|tally| tally.name).chain(own);
    let columns: Vec<String> = own.chain(plan.roles()).map(str::to_owned).collect();
    backend.count(plan);
    let places = match settings.address_map.as_deref() {
        Some(path) => Some((path, backend.fix_places(&design)?)),
        None => None,
    };

    let interrupted = interrupted()?;
    let (folder, there, mut taken) = folder(args, &design, &columns, places)?;
    environment.design = Some(design.clone());
    // At once, so that a run that is killed can go on.
    folder.write_environment(&environment)?;
    for (point, at) in design.points.iter().enumerate() {
        let there = there.iter().filter(|sample| sample.point == *at);
        let readings = there.filter_map(|sample| sample.counters.get(PACE).copied());
        paces.lower(point, &readings.collect::<Vec<_>>());
    }
    backend.judge_pace(paces);
    let mut progress = Progress::new(&design, folder, &there, args.options.quiet);
    progress.watch_real_time(
        Arc::clone(&in_samples),
        match permission {
            Permission::Denied(why) if !settings.no_realtime => Some(why),
            _ => None,
        },
    );
    drop(there);
    let ended = drive(
        &design,
        settings.limits(),
        &mut taken,
        &mut backend,
        &mut progress,
        &interrupted,
    );
    // Before anything is judged, printed or drawn: a reader of our output may take his time.
    let back = backend.switch_back();
    // What was measured before an error is judged and kept as after Ctrl-C.
    let ending = *ended.as_ref().unwrap_or(&Ending::Interrupted);
    let remarks = backend.remarks();
    // Its threads hold files open, of which there may be none left to read and write.
    drop(backend);
    if !remarks.scaled.is_empty() {
        say(format_args!(
            "counted during a part of some windows and scaled up: {}; another user of the \
             counters had them meanwhile: stop other perf sessions",
            remarks.scaled.join(", ")
        ));
    }
    if in_samples.load(Ordering::Relaxed) {
        environment.run.real_time = Some(RealTime::InSamples);
    }
    environment.run.end(ending, remarks);
    let concluded = conclude(
        progress.finish(),
        &environment,
        &design,
        ending,
        &args.options,
        Said::All,
    );
    first_error([ended.and_then(Ending::finished), back, concluded])
}

/// The folder to write, with the rows that are there and the blocks that they make at each design
/// point; and the address map, where one is asked for.
fn folder(
    args: &Args,
    design: &Design,
    columns: &[String],
    places: Option<(&Path, Vec<Mapped>)>,
) -> Result<(RunFolder, Vec<Sample>, Vec<u64>)> {
    // Not before there is a folder, which may be refused, and may be where the map goes.
    let map = || places.map_or(Ok(()), |(path, places)| address_map::write(path, &places));
    if let Some(dir) = &args.resume {
        let (mut folder, mut there) = RunFolder::open_for_resume(dir)?;
        for warning in &there.warnings {
            say(warning);
        }
        let taken = folder.go_on(design, &mut there)?;
        map()?;
        return Ok((folder, there.samples, taken));
    }
    let folder = RunFolder::create(args.options.out.as_deref(), &design.run, columns)?;
    let free = args.address_map.as_deref().map_or(Ok(()), |path| {
        folder.refuse_own(path)?;
        refuse_existing(path)
    });
    if let Err(error) = free.and_then(|()| map()) {
        folder.discard();
        return Err(error);
    }
    Ok((folder, Vec::new(), vec![0; design.points.len()]))
}

/// The registers of `used` CPUs, and which prefetcher to switch: that of the design, or the one
/// that completes pairs.
fn control(
    registers: &RegisterSettings,
    used: BTreeSet<CpuId>,
    prefetcher: Option<Which>,
) -> Result<(Control, Which)> {
    let mut options = selected(registers)?;
    if options.cpus.is_none() {
        options.cpus = Some(used);
    }
    let control = Control::open(&options)?;
    let pairs = Which::One(control.pair_completer());
    Ok((control, prefetcher.unwrap_or(pairs)))
}

/// The roles that are meant by names of roles, `all` or `none`. Err: a name that is none of them.
fn counted_roles(asked: &[String]) -> Result<Vec<&str>> {
    match asked {
        [one] if one == "none" => Ok(Vec::new()),
        // Context switches are counted anyway, by kind.
        [one] if one == "all" => Ok(counters::roles()
            .iter()
            .map(|role| role.name.as_str())
            .filter(|role| *role != "context_switches")
            .collect()),
        roles => roles
            .iter()
            .map(|name| Ok(counters::role(name)?.name.as_str()))
            .collect(),
    }
}

/// What to count, tried out where there is a PMU; and what cannot be counted, each reason once.
fn counters(asked: &[String]) -> Result<(Rotation, Vec<Unmeasured>)> {
    let roles = counted_roles(asked)?;
    if roles.is_empty() {
        return Ok((Rotation::default(), Vec::new()));
    }
    let pmu = Pmu::here();
    let mut plan = Rotation::new(&pmu, &roles, Scope::User)?;
    let mut missing = plan.missing.clone();
    if pmu.number.is_some() {
        for one in preflight::check(&pmu, Scope::User)? {
            let dead = matches!(one.status, Status::Dead | Status::Missing);
            let known = missing.iter().any(|known| known.role == one.role);
            if dead && !known && roles.contains(&one.role) {
                missing.push(Missing {
                    role: one.role,
                    reason: one.reason,
                });
            }
        }
        let mut alive = plan.roles();
        alive.retain(|role| !missing.iter().any(|one| one.role == *role));
        plan = Rotation::new(&pmu, &alive, Scope::User)?;
    }
    Ok((plan, unmeasured(&missing)))
}

/// What is asked of a run: the file that says so, and its parts.
type Request = (EnvironmentFile, Design, RunSettings);

/// Everything that the arguments ask for.
fn new(args: &Args, topology: &Topology, machine: &Environment) -> Result<Request> {
    let options = &args.options;
    let room = options.placement()?.order(topology)?.len();
    let mut design = options.design(
        BackendKind::Native,
        &machine.name(),
        room,
        seed_of_the_clock,
    )?;
    design.prefetcher = args.which;
    let mut settings = options.settings(DEFAULT_LIMITS);
    settings.counters = args.counters.clone();
    settings.address_map = args.address_map.clone();
    settings.oversubscribe = args.oversubscribe;
    settings.no_realtime = args.no_realtime;
    settings.registers = (design.prefetch.len() > 1).then(|| args.registers.clone());
    settings.check()?;
    let recorded = serde_json::to_value(machine)
        .map_err(|e| Error::Input(format!("the environment cannot be written as JSON: {e}")))?;
    let mut environment = EnvironmentFile::begin(design.clone(), settings.clone(), recorded);
    let unavailable = machine.unavailable.iter();
    environment
        .run
        .note_unmeasured(unavailable.map(|(what, why)| Unmeasured {
            what: what.clone(),
            why: why.clone(),
        }));
    Ok((environment, design, settings))
}

/// Nanoseconds of the day: enough, and short enough to type.
fn seed_of_the_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |time| time.as_nanos() as u64 % 86_400_000_000_000)
}

/// Name of this host.
fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// What was asked of the run in `dir`, if it can go on here; a new budget or number of blocks
/// takes the place of the old one.
fn resumed(args: &Args, dir: &Path, machine: &str) -> Result<Request> {
    let path = dir.join("environment.json");
    let mut environment = EnvironmentFile::read(&path)?;
    let (design, mut settings) = environment.resumable(&path)?;
    if design.machine != machine {
        return Err(Error::Input(format!(
            "{}, design.machine: the run is of '{}', and this is '{machine}'; resume it where it \
             was begun",
            path.display(),
            design.machine
        )));
    }
    let wrong =
        |key: &str, why: Error| Error::Input(format!("{}, settings.{key}: {why}", path.display()));
    counted_roles(&settings.counters).map_err(|why| wrong("counters", why))?;
    if let Some(registers) = &settings.registers {
        selected(registers).map_err(|why| wrong("registers", why))?;
    }
    if (design.prefetch.len() > 1) != settings.registers.is_some() {
        let why = "there are registers exactly if the prefetcher is switched";
        return Err(wrong("registers", Error::Input(why.to_owned())));
    }
    if let Some(path) = settings.address_map.as_deref().filter(|path| path.exists()) {
        // Its addresses are those of the process that ended; no other file is replaced.
        AddressMap::read(path).map_err(|why| wrong("address_map", why))?;
        say(format_args!(
            "{} is replaced: it will hold for the part that begins now",
            path.display()
        ));
    }
    let asked = args.options.settings(settings.limits());
    (settings.budget_seconds, settings.blocks) = (asked.budget_seconds, asked.blocks);
    environment.settings = Some(settings.clone());
    environment.run.ended = None;
    Ok((environment, design, settings))
}

/// CPUs of each design point; what a reader has to know about them is said once.
fn cpus(design: &Design, topology: &Topology, oversubscribe: bool) -> Result<Vec<Vec<CpuId>>> {
    let mut said: Vec<String> = Vec::new();
    let mut plans = Vec::new();
    for point in &design.points {
        let plan = point
            .placement
            .plan(topology, point.threads, oversubscribe)?;
        for warning in plan.warnings {
            if !said.contains(&warning) {
                say(&warning);
                said.push(warning);
            }
        }
        plans.push(plan.cpus);
    }
    Ok(plans)
}
