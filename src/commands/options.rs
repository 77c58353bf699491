//! Arguments that `run`, `sim` and `faults` share, and how they are read.

use crate::error::{Error, Result};
use crate::experiment::{BASELINE_AGAIN, Limits, Point, Prefetch};
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario;
use crate::program::fault::vma;
pub use crate::report::table::Format;
use crate::units::parse_duration;
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;

/// What is compared, where, and for how long.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Layouts to compare, separated by commas; the first is the baseline. `NAME+5%` is the layout
    /// with 5 % more faults than are counted: a regression of known size
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', default_values_t = default_layouts())]
    pub layouts: Vec<String>,

    /// Scenarios, separated by commas; `all` for every one
    #[arg(
        long,
        value_name = "S,…",
        value_delimiter = ',',
        default_value = "one-vma,vma-per-thread"
    )]
    pub scenario: Vec<String>,

    /// Thread counts, separated by commas [default: powers of two up to the CPUs of the placement]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub threads: Vec<usize>,

    /// Where threads run: compact, scatter, smt, one-llc, cross-llc, cross-socket, or a list of CPUs
    #[arg(long, value_name = "P", default_value = "compact")]
    pub placement: String,

    /// Prefetcher state: leave it as it is, or measure with it on and off in every block
    #[arg(long, value_enum, default_value = "as-is")]
    pub prefetch: PrefetchMode,

    /// Stop after so long (60s, 2m, 500ms) [default: 60s, none with --blocks]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub budget: Option<Duration>,

    /// Take exactly N blocks at every design point, decided or not
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub blocks: Option<u64>,

    /// Everything random follows from this number [default: drawn, and recorded]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Take only every N-th design point, beginning with number I (1/4, 2/4, …); `merge` joins them
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<(usize, usize)>,

    /// Run folder to write [default: results/<date>-<machine>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// How the verdicts are printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,

    /// Equivalence margin in per cent: smaller differences do not matter
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = margin)]
    pub margin: f64,

    /// What a fault does beside reading fields: none, a time (200ns, 1us), or clear-page
    #[arg(long, value_name = "WORK", default_value = "none", value_parser = page_work)]
    pub page_work: PageWork,

    /// Slab slot of the first VMA in use [default: slots 0 and 1 in turn]
    #[arg(long, value_name = "SLOT", value_parser = clap::value_parser!(u64).range(0..=1))]
    pub first_slot: Option<u64>,

    /// Exit with status 1 if this verdict is among the results
    #[arg(long, value_enum, value_name = "VERDICT")]
    pub fail_on: Option<FailOn>,
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
}

/// The budget where none is given.
pub const DEFAULT_BUDGET: Duration = Duration::from_secs(60);

fn default_layouts() -> Vec<String> {
    // The layout that was shipped longest, and the one all others were measured against.
    let baseline = vma::BuiltIn::SplitPacked;
    let others = vma::BuiltIn::ALL.iter().filter(|l| **l != baseline);
    std::iter::once(&baseline)
        .chain(others)
        .map(|l| l.name().to_owned())
        .collect()
}

impl Options {
    /// The names of the arms: the baseline, the A/A arm, the others.
    pub fn arms(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for name in &self.layouts {
            if names.contains(name) {
                return Err(Error::Input(format!(
                    "layout '{name}' is named twice; the baseline is measured twice anyway, as {BASELINE_AGAIN}"
                )));
            }
            names.push(name.clone());
        }
        names.insert(1, BASELINE_AGAIN.to_owned());
        Ok(names)
    }

    /// The seed: the one given, or one drawn from the clock.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            // Nanoseconds of the day: enough, and short enough to type.
            since.map_or(1, |time| time.as_nanos() as u64 % 86_400_000_000_000)
        })
    }

    /// The scenarios asked for, `churn` and `all` spelled out.
    pub fn scenarios(&self) -> Result<Vec<scenario::BuiltIn>> {
        let mut scenarios = Vec::new();
        for name in &self.scenario {
            let found = match name.as_str() {
                "all" => scenario::BuiltIn::ALL.to_vec(),
                name => scenario::BuiltIn::parse(name)?,
            };
            for scenario in found {
                if !scenarios.contains(&scenario) {
                    scenarios.push(scenario);
                }
            }
        }
        Ok(scenarios)
    }

    /// Thread counts: those asked for, or powers of two up to `most` and `most` itself.
    pub fn thread_counts(&self, most: usize) -> Result<Vec<usize>> {
        let mut counts = self.threads.clone();
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

    /// The design points of this shard: every scenario at every thread count that it makes sense
    /// with.
    pub fn points(&self, scenarios: &[scenario::BuiltIn], counts: &[usize]) -> Result<Vec<Point>> {
        let mut points = Vec::new();
        for &scenario in scenarios {
            for &threads in counts.iter().filter(|n| **n >= scenario.min_threads()) {
                points.push(Point {
                    scenario: scenario.name().to_owned(),
                    placement: self.placement.clone(),
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
        if let Some((this, of)) = self.shard {
            let all = points.len();
            points = points.into_iter().skip(this - 1).step_by(of).collect();
            if points.is_empty() {
                return Err(Error::Input(format!(
                    "shard {this}/{of} is empty: there are {all} design points"
                )));
            }
        }
        Ok(points)
    }

    /// The prefetcher states of every block.
    pub fn prefetch_states(&self) -> Vec<Prefetch> {
        match self.prefetch {
            PrefetchMode::AsIs => vec![Prefetch::AsIs],
            PrefetchMode::Ab => vec![Prefetch::On, Prefetch::Off],
        }
    }

    /// When to stop.
    pub fn limits(&self) -> Limits {
        let default = self.blocks.is_none().then_some(DEFAULT_BUDGET);
        Limits {
            budget: self.budget.or(default),
            blocks: self.blocks,
        }
    }
}

fn page_work(text: &str) -> std::result::Result<PageWork, String> {
    match text {
        "none" => Ok(PageWork::None),
        "clear-page" => Ok(PageWork::ClearPage),
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

fn margin(text: &str) -> std::result::Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(margin) if (0.0..=100.0).contains(&margin) => Ok(margin),
        _ => Err(format!("'{text}' is no percentage from 0 to 100")),
    }
}

fn shard(text: &str) -> std::result::Result<(usize, usize), String> {
    let parsed = text.split_once('/').and_then(|(i, n)| {
        let (i, n): (usize, usize) = (i.parse().ok()?, n.parse().ok()?);
        (1..=n).contains(&i).then_some((i, n))
    });
    parsed.ok_or_else(|| format!("'{text}' is no shard; write I/N with I from 1 to N"))
}
