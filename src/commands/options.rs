//! Arguments that `run`, `sim` and `faults` share, and how they are read.

use super::import::Import;
use crate::case::Case;
use crate::error::{Error, Result};
use crate::experiment::{
    Arm, BackendKind, CaseFile, DEFAULT_MARGIN, Design, Limits, Point, Prefetch, Scenario,
    check_margin,
};
use crate::machine::Placement;
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario;
use crate::program::steps::roles;
pub use crate::report::table::Format;
use crate::results::{RunSettings, run_id};
use crate::units::parse_duration;
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What is compared, where, and for how long.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Layouts to compare, separated by commas; the first is the baseline (see `hitm layout list
    /// --all`) [default: all built-in layouts and those imported, or all of the case]
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub layouts: Vec<String>,

    /// Read the struct vm_area_struct of SOURCE as the layout NAME; may be given more than once.
    /// SOURCE is btf (the running kernel), btf:FILE, dwarf:FILE, or pahole:FILE (where the lock is
    /// split, of `pahole -C vm_area_struct,vma_lock`). The lock protocol follows from the members;
    /// slabs are those of the running kernel with `btf` alone and root, else as SLUB would choose
    /// them. `run` then reads every layout from a table at run time, which costs the fault path
    /// about a third at one thread: compare with no other run
    #[arg(long, value_name = "NAME=SOURCE", conflicts_with = "case")]
    pub import: Vec<Import>,

    /// Measure the layouts and roles of a case instead of page faults: a name from `hitm case list`,
    /// or a file
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["scenario", "page_work"])]
    pub case: Option<String>,

    /// Scenarios, separated by commas; `all` for every one
    #[arg(
        long,
        value_name = "S,…",
        value_delimiter = ',',
        default_value = "one-vma,vma-per-thread"
    )]
    pub scenario: Vec<String>,

    /// Thread counts, separated by commas, and ranges of them (1,2,4-8) [default: powers of two up
    /// to the CPUs of the placement]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub threads: Vec<CountRange>,

    /// Where threads run: compact, scatter, smt, one-llc, cross-llc, cross-socket, or a list of CPUs
    #[arg(long, value_name = "P", default_value = "compact")]
    pub placement: String,

    /// Prefetcher state: leave it as it is, or measure with it on and off in every block
    #[arg(long, value_enum, default_value = "as-is")]
    pub prefetch: PrefetchMode,

    /// Stop after so long (60s, 2m, 500ms) [default: `run` stops after 60s, `sim` after 16 blocks]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub budget: Option<Duration>,

    /// Take exactly N blocks at every design point, decided or not; an interval needs 10
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub blocks: Option<u64>,

    /// Everything random follows from this number [default: drawn, and recorded]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Take only every N-th design point, beginning with number I (1/4, 2/4, …). With the
    /// same --seed the shards hold the rows of the whole; concatenate their samples.csv, or give all
    /// of them to `hitm verdicts`
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<(usize, usize)>,

    /// Run folder to write [default: results/<date>-<machine>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// What to call the run, in the column `label` of its rows
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub label: String,

    /// How the verdicts are printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,

    /// Equivalence margin in per cent: smaller differences do not matter
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0 * DEFAULT_MARGIN, value_parser = percent)]
    pub margin: f64,

    /// What a fault does beside reading fields: none, a time (200ns, 1us), or clear-page
    #[arg(long, value_name = "WORK", default_value = "none", value_parser = page_work)]
    pub page_work: PageWork,

    /// Slab slot of the first VMA in use, 0 or 1 [default: slots 0 and 1 in turn]
    #[arg(long, value_name = "SLOT")]
    pub first_slot: Option<usize>,

    /// Say nothing of how a run gets on: only errors, results, and what is to be known of them
    #[arg(long, short)]
    pub quiet: bool,

    /// Say what would be measured and how long it would take, and write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Exit with status 1 if this is among the results: regression, undecided (inconclusive, depends
    /// or code-noise), or both; or if the A/A arm or the placebo fails
    #[arg(long, value_enum, value_name = "VERDICT,…", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,
}

/// `--prefetch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrefetchMode {
    /// Nothing is switched.
    AsIs,
    /// On and off, in every block.
    Ab,
}

/// `--fail-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A regression.
    Regression,
    /// A comparison without one answer.
    Undecided,
}

fn default_layouts() -> Vec<String> {
    // The layout that was shipped longest, and the one all others were measured against.
    let baseline = VmaLayout::SplitPacked;
    let others = VmaLayout::ALL.iter().filter(|l| **l != baseline);
    std::iter::once(&baseline)
        .chain(others)
        .map(|l| l.name().to_owned())
        .collect()
}

impl Options {
    /// The design that is asked for of `backend` on `machine`, which has room for so many threads
    /// in that placement; `seed` where none is given. Err: one that cannot be measured.
    pub fn design(
        &self,
        backend: BackendKind,
        machine: &str,
        room: usize,
        seed: impl FnOnce() -> u64,
    ) -> Result<Design> {
        let case = match &self.case {
            Some(case) => Some(CaseFile::new(Case::load(case)?)),
            None => None,
        };
        let imported = self.import.iter().map(Import::read);
        let imported = imported.collect::<Result<_>>()?;
        let points = match &case {
            Some(case) => self.points_of_case(case.get(), room)?,
            None => self.points_of_faults(&self.thread_counts(room)?)?,
        };
        let design = Design {
            run: run_id(SystemTime::now(), machine),
            label: self.label.clone(),
            prefetch: self.prefetch_states(),
            first_slot: self.first_slot,
            seed: self.seed.unwrap_or_else(seed),
            page_work: self.page_work,
            margin: self.margin / 100.0,
            ..Design::new(
                backend,
                machine,
                self.arms(backend, case.as_ref())?,
                self.of_shard(points)?,
            )
        };
        let design = Design {
            case,
            imported,
            ..design
        };
        design.check()?;
        Ok(design)
    }

    /// Where threads run.
    pub fn placement(&self) -> Result<Placement> {
        self.placement.trim().parse()
    }

    /// The arms: the baseline, its controls, the others.
    fn arms(&self, backend: BackendKind, case: Option<&CaseFile>) -> Result<Vec<Arm>> {
        let names = match (&self.layouts[..], case) {
            ([], Some(case)) => {
                let layouts = case.get().layouts.iter();
                layouts.map(|layout| layout.name.clone()).collect()
            }
            ([], None) => {
                let imported = self.import.iter().map(|import| import.name().to_owned());
                default_layouts().into_iter().chain(imported).collect()
            }
            (names, _) => names.to_vec(),
        };
        let arms = names.iter().map(|name| name.trim().parse());
        Ok(Design::with_controls(backend, arms.collect::<Result<_>>()?))
    }

    /// The scenarios asked for, `churn` and `all` spelled out.
    fn scenarios(&self) -> Result<Vec<scenario::BuiltIn>> {
        let mut scenarios = Vec::new();
        for name in &self.scenario {
            for scenario in Scenario::named(name.trim())? {
                if !scenarios.contains(&scenario) {
                    scenarios.push(scenario);
                }
            }
        }
        Ok(scenarios)
    }

    /// Thread counts: those asked for, or powers of two up to `most` and `most` itself.
    fn thread_counts(&self, most: usize) -> Result<Vec<usize>> {
        let mut counts: Vec<usize> = self.threads.iter().flat_map(|of| of.0.clone()).collect();
        if counts.is_empty() {
            counts = (0..).map(|i| 1 << i).take_while(|n| *n < most).collect();
            counts.push(most);
        }
        if counts.contains(&0) {
            return Err(Error::Input(
                "0 threads cannot fault; give thread counts from 1 on".to_owned(),
            ));
        }
        let mut seen = Vec::new();
        counts.retain(|n| {
            !seen.contains(n) && {
                seen.push(*n);
                true
            }
        });
        Ok(counts)
    }

    /// The design points of a case: every thread count that its roles run with.
    fn points_of_case(&self, case: &Case, room: usize) -> Result<Vec<Point>> {
        let least = case.least_threads();
        let counts = match (&self.threads[..], roles::has_rest(case)) {
            ([], false) => vec![least],
            ([], true) => {
                let mut counts = self.thread_counts(room)?;
                counts.retain(|count| *count >= least);
                if counts.is_empty() {
                    counts.push(least);
                }
                counts
            }
            _ => self.thread_counts(room)?,
        };
        let placement = self.placement()?;
        let point = |threads| Point {
            scenario: Scenario::Case(case.name.clone()),
            placement: placement.clone(),
            threads,
        };
        Ok(counts.into_iter().map(point).collect())
    }

    /// The design points of page faults: every scenario at every thread count that it makes sense
    /// with.
    fn points_of_faults(&self, counts: &[usize]) -> Result<Vec<Point>> {
        let (placement, scenarios) = (self.placement()?, self.scenarios()?);
        let mut points = Vec::new();
        for &scenario in &scenarios {
            for &threads in counts.iter().filter(|n| **n >= scenario.min_threads()) {
                points.push(Point {
                    scenario: Scenario::BuiltIn(scenario),
                    placement: placement.clone(),
                    threads,
                });
            }
        }
        if points.is_empty() {
            let names: Vec<&str> = scenarios.iter().map(|s| s.name()).collect();
            return Err(Error::Input(format!(
                "{} needs 2 threads at least; give --threads 2 or more",
                names.join(", ")
            )));
        }
        Ok(points)
    }

    /// Those of the points that belong to this shard.
    fn of_shard(&self, mut points: Vec<Point>) -> Result<Vec<Point>> {
        if let Some((this, of)) = self.shard {
            let all = points.len();
            points = points.into_iter().skip(this - 1).step_by(of).collect();
            if points.is_empty() {
                return Err(Error::Input(format!(
                    "shard {this}/{of} is empty: there {}; give N of at most {all}",
                    match all {
                        1 => "is 1 design point".to_owned(),
                        all => format!("are {all} design points"),
                    }
                )));
            }
        }
        Ok(points)
    }

    /// The prefetcher states of every block.
    fn prefetch_states(&self) -> Vec<Prefetch> {
        match self.prefetch {
            PrefetchMode::AsIs => vec![Prefetch::AsIs],
            PrefetchMode::Ab => vec![Prefetch::On, Prefetch::Off],
        }
    }

    /// When to stop, as settings of a run; `default` where nothing is said.
    pub fn settings(&self, default: Limits) -> RunSettings {
        let limits = match (self.budget, self.blocks) {
            (None, None) => default,
            (budget, blocks) => Limits { budget, blocks },
        };
        RunSettings {
            budget_seconds: limits.budget.map(|budget| budget.as_secs_f64()),
            blocks: limits.blocks,
            ..RunSettings::default()
        }
    }
}

/// A thread count, or a range of them.
#[derive(Clone, Debug)]
pub struct CountRange(std::ops::RangeInclusive<usize>);

impl CountRange {
    /// Every count in it.
    pub fn counts(&self) -> impl Iterator<Item = usize> + use<> {
        self.0.clone()
    }
}

/// The widest range of thread counts: `CONFIG_NR_CPUS` of x86-64 ends at 8192.
const WIDEST: usize = 8192;

impl std::str::FromStr for CountRange {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<CountRange, String> {
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last && last - first < WIDEST => {
                Ok(CountRange(first..=last))
            }
            _ => Err(format!(
                "'{text}' is neither a number of threads nor a range such as 2-4"
            )),
        }
    }
}

fn page_work(text: &str) -> std::result::Result<PageWork, String> {
    match text {
        "none" => Ok(PageWork::None),
        "clear-page" => Ok(PageWork::ClearPage),
        number if number.parse::<f64>().is_ok() => Err(format!(
            "'{number}' has no unit; write {number}ns or {number}us"
        )),
        time => {
            let time = parse_duration(time).map_err(|_| {
                format!("'{time}' is neither none, clear-page, nor a time such as 200ns")
            })?;
            u32::try_from(time.as_nanos())
                .map(PageWork::Nanos)
                .map_err(|_| format!("'{text}' is longer than 4 seconds"))
        }
    }
}

/// Per cent from 0 to 100, with or without the sign.
pub fn percent(text: &str) -> std::result::Result<f64, String> {
    let wrong = || format!("'{text}' is not a percentage from 0 to 100");
    let percent: f64 = text.trim_end_matches('%').parse().map_err(|_| wrong())?;
    check_margin(percent / 100.0).map_err(|_| wrong())?;
    Ok(percent)
}

fn shard(text: &str) -> std::result::Result<(usize, usize), String> {
    let parsed = text.split_once('/').and_then(|(i, n)| {
        let (i, n): (usize, usize) = (i.parse().ok()?, n.parse().ok()?);
        (1..=n).contains(&i).then_some((i, n))
    });
    parsed.ok_or_else(|| format!("'{text}' is not a shard; write I/N with I from 1 to N"))
}
