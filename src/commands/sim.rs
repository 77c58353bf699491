//! `hitm sim`: the same experiment on a machine model.

use super::dry_run;
use super::explanation::{Explained, Explaining};
use super::options::{Format, Options};
use super::progress::{Progress, interrupted};
use super::verdicts::{self, Said, conclude};
use super::{csv, first_error, json as json_rows};
use crate::backend::arms::Arms;
use crate::backend::cases::CaseArms;
use crate::backend::faults::FaultArms;
use crate::backend::sim::{Sim, counters};
use crate::error::{Error, Result};
use crate::experiment::{Backend, BackendKind, Block, Design, Ending, Limits, drive};
use crate::report::columns::Columns;
use crate::results::{EnvironmentFile, RunFolder, RunSettings, refuse_existing, slug};
use crate::sim::pattern::{self, Pattern};
use crate::sim::{Machine, run};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Arguments of `hitm sim`.
#[derive(clap::Args)]
pub struct Args {
    /// Machine models, separated by commas: names from --list-machines, or files. Of several, each
    /// has a run of its own; with --out, in a folder of its own there
    #[arg(long, value_name = "NAME|FILE,…", value_delimiter = ',')]
    machine: Vec<String>,
    /// List the machine models and exit
    #[arg(long)]
    list_machines: bool,
    /// Print the file of a machine model and exit
    #[arg(long, value_name = "NAME")]
    show_machine: Option<String>,
    #[command(flatten)]
    options: Options,
    /// Add local work to every layout, spread along the path, until a fault of the baseline takes
    /// this long (517ns, 2us) with one thread
    #[arg(
        long,
        value_name = "TIME",
        value_parser = crate::units::parse_duration,
        conflicts_with_all = ["pattern", "case"]
    )]
    fault_time: Option<Duration>,
    /// Of one sample of each layout and design point: per field and role, who took its line from
    /// whom and how long that made a fault wait. Instead of verdicts; with --out the run as well,
    /// and explanation.csv in its folder
    #[arg(long)]
    explain: bool,
    /// Write passes, waits and line transfers of one sample (the last layout, the last design point)
    /// for Perfetto
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Run accesses of a defined order instead of a scenario, to check the coherence model
    #[arg(
        long,
        value_name = "PATTERN",
        requires = "cores",
        conflicts_with = "dry_run"
    )]
    pattern: Option<Pattern>,
    /// Cores that take part in a pattern
    #[arg(
        long,
        value_name = "N",
        requires = "pattern",
        default_value_if("pattern", clap::builder::ArgPredicate::IsPresent, "2")
    )]
    cores: Option<usize>,
    /// Accesses of a pattern, of all cores together
    #[arg(long, value_name = "M", requires = "pattern")]
    accesses: Option<u64>,
}

/// Where neither --blocks nor --budget is given: the model has little noise, and intervals need ten
/// blocks.
const DEFAULT_LIMITS: Limits = Limits {
    budget: None,
    blocks: Some(16),
};
/// Accesses of a pattern where none are given.
const DEFAULT_ACCESSES: u64 = 1_000_000;
/// The machine of pattern mode where none is named.
const PATTERN_MACHINE: &str = "plain-mesi";

/// Run it.
pub fn run(args: Args) -> Result<()> {
    if args.list_machines {
        return super::print(&list()?);
    }
    if let Some(name) = &args.show_machine {
        return super::print(Machine::text(name)?);
    }
    if let Some(pattern) = args.pattern {
        return super::print(&run_pattern(&args, pattern)?);
    }
    let mut explained = Vec::new();
    let done = match &args.machine[..] {
        [] => Err(Error::Input(
            "no machine to simulate; give --machine with a name from --list-machines, or a file"
                .to_owned(),
        )),
        [name] => {
            let said = if args.is_one_document() {
                Said::Nothing
            } else {
                Said::All
            };
            on(&args, name, &args.options, said, &mut explained).map(|_| ())
        }
        names => on_several(&args, names, &mut explained),
    };
    // Of all machines together: one header, one array.
    let printed = match args.options.format {
        _ if explained.is_empty() => Ok(()),
        Format::Table => Ok(()),
        Format::Csv => super::print(&csv(&explained)),
        Format::Json => super::print(&json_rows(&explained)),
    };
    first_error([done, printed])
}

impl Args {
    /// Whether stdout is an explanation for a program to read, and nothing else.
    fn is_one_document(&self) -> bool {
        self.explain && self.options.format != Format::Table
    }
}

/// A run on each of several models, in a folder of its own; their verdicts together.
fn on_several(args: &Args, names: &[String], explained: &mut Vec<Explained>) -> Result<()> {
    if args.timeline.is_some() {
        return Err(Error::Input(
            "--timeline is of one sample; give one --machine".to_owned(),
        ));
    }
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(Error::Input(format!("machine '{name}' is named twice")));
        }
        Machine::load(name)?;
    }
    let mut folders = Vec::new();
    let mut failed = Vec::new();
    for name in names {
        let mut options = args.options.clone();
        options.out = options.out.map(|dir| dir.join(slug(name)));
        if !args.is_one_document() {
            options.fail_on.clear();
        }
        match on(args, name, &options, Said::Nothing, explained) {
            Ok(folder) => folders.extend(folder),
            // Verdicts that are not printed together are those of each run.
            Err(error @ Error::Found(_)) => failed.push(Err(error)),
            Err(error) => return Err(error),
        }
    }
    if folders.is_empty() || args.is_one_document() {
        return first_error(failed);
    }
    verdicts::run(verdicts::Args {
        files: folders,
        format: args.options.format,
        margin: None,
        baseline: None,
        fail_on: args.options.fail_on.clone(),
    })
}

/// What is asked, on the model called `name`; the folder of the run, if there is one.
fn on(
    args: &Args,
    name: &str,
    options: &Options,
    said: Said,
    explained: &mut Vec<Explained>,
) -> Result<Option<PathBuf>> {
    let machine = Machine::load(name)?;
    // Deterministic where no seed is given: the model has no mood.
    let room = machine.shape.cpus();
    let design = options.design(BackendKind::Sim, &machine.name, room, || 1)?;
    let asked = Asked {
        args,
        options,
        name,
        said,
    };
    if design.case.is_some() {
        let arms = CaseArms::of(&design)?;
        return simulate(
            &asked,
            &design,
            Sim::new(machine, arms, &design)?,
            explained,
        );
    }
    let mut sim = Sim::new(machine, FaultArms::of(&design)?, &design)?;
    if let Some(time) = args.fault_time {
        sim.set_fault_time(time, &design)?;
    }
    simulate(&asked, &design, sim, explained)
}

/// What is asked of one model.
struct Asked<'a> {
    args: &'a Args,
    /// With the folder of this model.
    options: &'a Options,
    /// The model.
    name: &'a str,
    said: Said,
}

/// An explanation, or a run; the folder of the run.
fn simulate<A: Arms>(
    asked: &Asked,
    design: &Design,
    mut sim: Sim<A>,
    explained: &mut Vec<Explained>,
) -> Result<Option<PathBuf>> {
    let Asked {
        args,
        options,
        name,
        said,
    } = *asked;
    if options.dry_run {
        dry_run(design, &sim, options)?;
        return Ok(None);
    }
    args.timeline.as_deref().map_or(Ok(()), refuse_existing)?;
    let interrupted = interrupted()?;
    let explaining = Explaining {
        design,
        sim: &sim,
        machine: name,
        explain: args.explain,
        timeline: args.timeline.as_deref(),
        as_table: options.format == Format::Table,
    };
    let looks_inside = args.explain || args.timeline.is_some();
    if looks_inside && options.out.is_none() {
        explained.extend(explaining.look(&interrupted)?);
        return Ok(None);
    }
    let settings = RunSettings {
        fault_time_ns: args.fault_time.map(|time| time.as_secs_f64() * 1e9),
        ..options.settings(DEFAULT_LIMITS)
    };
    settings.check()?;
    let limits = settings.limits();
    let model = json!({ "model": name, "file": Machine::source(name)? });
    let mut environment = EnvironmentFile::begin(design.clone(), settings, model);
    // Before anything is simulated: a folder that is taken is found out at once.
    let folder = RunFolder::create(options.out.as_deref(), &design.run, &counters::<A>())?;
    if looks_inside {
        let rows = match explaining.look(&interrupted) {
            Ok(rows) => rows,
            Err(error) => {
                folder.discard();
                return Err(error);
            }
        };
        if args.explain {
            folder.write("explanation.csv", csv(&rows).as_bytes())?;
        }
        explained.extend(rows);
    }
    folder.write_environment(&environment)?;
    let mut progress = Progress::new(design, folder, &[], options.quiet);
    let mut taken = vec![0; design.points.len()];
    let ended = drive(
        design,
        limits,
        &mut taken,
        &mut sim,
        &mut progress,
        &interrupted,
    );
    let ending = *ended.as_ref().unwrap_or(&Ending::Interrupted);
    environment.run.end(ending, sim.remarks());
    let folder = progress.finish();
    let path = folder.path().to_owned();
    let concluded = conclude(folder, &environment, design, ending, options, said);
    first_error([ended.and_then(Ending::finished), concluded])?;
    Ok(Some(path))
}

/// What would be simulated, and how long it takes here: a sample of each design point is taken.
fn dry_run<A: Arms>(design: &Design, sim: &Sim<A>, options: &Options) -> Result<()> {
    let samples = design.samples_per_block();
    let at_once = rayon::current_num_threads().max(1);
    let block = |point| {
        let first = &Block::of(design, point, 0).samples[0];
        let start = Instant::now();
        run::run(sim.machine(first.prefetch), &sim.spec(first))?;
        Ok(start.elapsed().as_secs_f64() * samples.div_ceil(at_once) as f64)
    };
    let blocks: Vec<f64> = (0..design.points.len()).map(block).collect::<Result<_>>()?;
    super::print(&dry_run::text(
        design,
        options.settings(DEFAULT_LIMITS).limits(),
        &blocks,
        "The time depends on this computer: it is that of one sample of each design point, \
         multiplied.",
        options.format,
    ))
}

fn list() -> Result<String> {
    let mut table = Columns::new("<<");
    for name in Machine::names() {
        table.row([name, &Machine::load(name)?.description]);
    }
    Ok(table.to_string())
}

fn run_pattern(args: &Args, pattern: Pattern) -> Result<String> {
    let machine = Machine::load(args.machine.first().map_or(PATTERN_MACHINE, String::as_str))?;
    let name = machine.name.clone();
    let cores = args.cores.unwrap_or(2);
    let accesses = args.accesses.unwrap_or(DEFAULT_ACCESSES);
    let report = pattern::run(
        machine,
        pattern,
        cores,
        accesses,
        args.options.seed.unwrap_or(1),
    )?;
    let counts = report.counts;
    let rate = counts.accesses as f64 / report.wall_seconds / 1e6;
    Ok(match args.options.format {
        Format::Json => {
            let object = json!({
                "machine": name,
                "cores": cores,
                "accesses": counts.accesses,
                "hits": counts.hits,
                "invalidations": counts.invalidations,
                "write_backs": counts.write_backs,
                "simulated_ns": report.simulated_ns,
                "wall_seconds": report.wall_seconds,
            });
            format!("{object}\n")
        }
        Format::Csv => format!(
            "machine,cores,accesses,hits,invalidations,write_backs,simulated_ns,wall_seconds\n\
             {name},{cores},{},{},{},{},{},{}\n",
            counts.accesses,
            counts.hits,
            counts.invalidations,
            counts.write_backs,
            report.simulated_ns,
            report.wall_seconds
        ),
        Format::Table => {
            let mut table = Columns::new("<><");
            for (what, value, unit) in [
                ("accesses", counts.accesses.to_string(), ""),
                ("hits", counts.hits.to_string(), ""),
                ("invalidations", counts.invalidations.to_string(), ""),
                ("write-backs", counts.write_backs.to_string(), ""),
                ("simulated", format!("{:.0}", report.simulated_ns), "ns"),
                (
                    "wall",
                    format!("{:.4}", report.wall_seconds),
                    &format!("s ({rate:.1} M accesses/s)"),
                ),
            ] {
                table.row([what, &value, unit]);
            }
            table.to_string()
        }
    })
}
