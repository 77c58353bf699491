//! One experiment from design to verdicts, and how much of it was disturbed.

use hitm::backend::native::{Build, Native};
use hitm::error::{Error, Result};
use hitm::experiment::{
    Backend, Cell, Design, Limits, Measured, Point, Prefetch, Verdicts, Watch, drive,
};
use hitm::machine::{CpuId, Placement, Topology};
use hitm::program::fault::path::PageWork;
use hitm::results::{Sample, VerdictRow};
use hitm::stats::{Block, Look, Parity, Rule, Summary};
use std::fmt;
use std::sync::atomic::AtomicBool;

/// Arguments of a figure that is one experiment of a fixed length.
#[derive(clap::Args)]
pub struct Args {
    /// Blocks at each design point
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    blocks: u64,
    /// Seed of the order
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Args {
    /// Take the blocks of `design`. Refused where too few were undisturbed for an interval.
    pub fn conduct(&self, design: Design, backend: &mut dyn Backend) -> Result<Figure> {
        let design = Design {
            seed: self.seed,
            ..design
        };
        let limits = Limits {
            budget: None,
            blocks: Some(self.blocks),
        };
        let (rows, samples) = conduct(&design, limits, backend)?;
        let mut disturbed = Disturbed::default();
        disturbed.add(&samples);
        match rows.iter().find(|row| row.ratio.is_none()) {
            Some(row) => Err(disturbed.refuse(&format!(
                "too few undisturbed blocks for an interval: {} ({})",
                row.layout, row.scenario
            ))),
            None => Ok(Figure {
                rows,
                samples,
                disturbed,
            }),
        }
    }
}

/// An experiment that was taken.
pub struct Figure {
    pub rows: Vec<VerdictRow>,
    pub samples: Vec<Sample>,
    pub disturbed: Disturbed,
}

impl Figure {
    /// Ratio and interval of an arm.
    pub fn ratio(&self, point: &str, arm: &str) -> String {
        let row = self
            .rows
            .iter()
            .find(|row| row.scenario == point && row.layout == arm);
        row.map_or_else(|| "not measured".to_owned(), ratio)
    }

    /// Ratio of two arms in the blocks of the only point that begin at `slot`, with its interval.
    pub fn ratio_in_slot(&self, slot: usize, arm: &str, baseline: &str) -> String {
        let of = |arm: &str| {
            let samples = self.samples.iter();
            let of = samples.filter(|s| s.layout == arm && s.first_slot == Some(slot));
            of.collect::<Vec<_>>()
        };
        let pairs = of(arm).into_iter().zip(of(baseline)).enumerate();
        // All are of one parity: neighbours in time form the units.
        let blocks = pairs.map(|(number, (arm, baseline))| Block {
            parity: Parity::of(number as u64),
            log_ratio: (arm.ns_per_fault / baseline.ns_per_fault).ln(),
            valid: arm.valid && baseline.valid,
        });
        match Look::once(blocks, Rule::default(), 1) {
            Some(Look { interval, .. }) => format!(
                "{:.4} [{:.4} to {:.4}]",
                interval.ratio(),
                interval.ratio_low(),
                interval.ratio_high()
            ),
            None => "not measured (too few undisturbed blocks)".to_owned(),
        }
    }

    /// Median time of an arm.
    pub fn nanos(&self, point: &str, arm: &str) -> String {
        let of = |s: &&Sample| s.valid && s.scenario == point && s.layout == arm;
        let nanos: Vec<f64> = self
            .samples
            .iter()
            .filter(of)
            .map(|s| s.ns_per_fault)
            .collect();
        Summary::of(&nanos).map_or_else(
            || "not measured".to_owned(),
            |summary| format!("{:.2} ns", summary.median),
        )
    }
}

/// Ratio and interval of a row.
pub fn ratio(row: &VerdictRow) -> String {
    match (row.ratio, row.ratio_low, row.ratio_high) {
        (Some(ratio), Some(low), Some(high)) => format!("{ratio:.4} [{low:.4} to {high:.4}]"),
        _ => "not measured".to_owned(),
    }
}

/// A design of these arms, at points of these names with their threads.
pub fn design(arms: &[&str], points: &[(&str, usize)]) -> Design {
    let point = |&(scenario, threads): &(&str, usize)| Point {
        scenario: scenario.to_owned(),
        placement: Placement::Compact.to_string(),
        threads,
    };
    Design {
        run: "figures".to_owned(),
        backend: "native".to_owned(),
        machine: "this".to_owned(),
        points: points.iter().map(point).collect(),
        arms: arms.iter().map(|arm| (*arm).to_owned()).collect(),
        prefetch: vec![Prefetch::AsIs],
        prefetcher: None,
        first_slot: None,
        seed: 1,
        page_work: PageWork::None,
        margin: 0.02,
    }
}

/// CPUs for `threads` threads, one each.
pub fn cpus(threads: usize) -> Result<Vec<CpuId>> {
    let plan = Placement::Compact.plan(&Topology::here()?, threads, false)?;
    Ok(plan.cpus)
}

/// Run the experiment: the verdicts, and every sample.
pub fn conduct(
    design: &Design,
    limits: Limits,
    backend: &mut dyn Backend,
) -> Result<(Vec<VerdictRow>, Vec<Sample>)> {
    let mut verdicts = Verdicts::new(design);
    let mut samples = Samples(Vec::new());
    // Ctrl-C just ends the process: there is nothing to keep.
    let never = AtomicBool::new(false);
    let ending = drive(design, limits, backend, &mut verdicts, &mut samples, &never)?;
    Ok((verdicts.rows(design, ending), samples.0))
}

struct Samples(Vec<Sample>);

impl Watch for Samples {
    fn block(&mut self, samples: &[Sample]) -> Result<()> {
        self.0.extend_from_slice(samples);
        Ok(())
    }

    fn progress(&mut self, _done: f64, _decided: usize, _verdicts: usize) {}
}

/// How many samples were disturbed.
#[derive(Default)]
pub struct Disturbed {
    samples: usize,
    invalid: usize,
    /// Why, in one case.
    such_as: String,
}

impl Disturbed {
    pub fn add(&mut self, samples: &[Sample]) {
        let invalid = || samples.iter().filter(|sample| !sample.valid);
        self.samples += samples.len();
        self.invalid += invalid().count();
        if let Some(sample) = invalid().next_back() {
            self.such_as.clone_from(&sample.invalid_reason);
        }
    }

    /// There is no figure, and this is why.
    pub fn refuse(&self, what: &str) -> Error {
        let such_as = match self.such_as.as_str() {
            "" => "take more of them".to_owned(),
            such_as => format!("such as: {such_as}; stop what else runs on this machine"),
        };
        Error::Refused(format!("{what}; {self}, {such_as}"))
    }
}

impl fmt::Display for Disturbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} samples disturbed", self.invalid, self.samples)
    }
}

/// Two ways to measure, each for some of the cells.
pub struct Either<B, M> {
    pub first: Native<'static, B>,
    /// The cell as `first` is to have it; none for one that is for `second`.
    pub first_takes: fn(&Cell) -> Option<Cell>,
    pub second: M,
}

impl<B: Build, M: FnMut(&Cell) -> Result<Measured>> Backend for Either<B, M> {
    fn measure(&mut self, cell: &Cell) -> Result<Measured> {
        match (self.first_takes)(cell) {
            Some(cell) => self.first.measure(&cell),
            None => (self.second)(cell),
        }
    }
}
