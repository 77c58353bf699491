//! One experiment from design to verdicts, and how much of it was disturbed.

use hitm::backend::native::{Build, Native};
use hitm::error::{Error, Result};
use hitm::experiment::{
    Backend, BackendKind, Design, Limits, Measured, PlannedSample, Point, Sample, Watch, drive,
};
use hitm::judge::{self, Judge, Terms, VerdictRow};
use hitm::machine::{CpuId, Placement, Topology};
use hitm::stats::{Effect, Look, Pairing, Parity, Rule, Summary};
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
                row.arm, row.point.scenario
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
            .find(|row| row.point.scenario.name() == point && row.arm.to_string() == arm);
        row.map_or_else(|| "not measured".to_owned(), ratio)
    }

    /// Ratio of two arms in the blocks of the only point that begin at `slot`, with its interval.
    pub fn ratio_in_slot(&self, slot: usize, arm: &str, baseline: &str) -> String {
        let of = |arm: &str| {
            let samples = self.samples.iter();
            let of = samples.filter(|s| s.arm.to_string() == arm && s.first_slot == Some(slot));
            of.collect::<Vec<_>>()
        };
        let pairs = of(arm).into_iter().zip(of(baseline)).enumerate();
        // All are of one parity: neighbours in time form the units.
        let blocks = pairs.map(|(number, (arm, baseline))| Effect {
            parity: Parity::of(number as u64),
            log_ratio: (arm.ns_per_fault / baseline.ns_per_fault).ln(),
            valid: arm.valid && baseline.valid,
        });
        match Look::once(blocks, Pairing::Slots, Rule::default()) {
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
        let of =
            |s: &&Sample| s.valid && s.point.scenario.name() == point && s.arm.to_string() == arm;
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
pub fn design(arms: &[&str], points: &[(&str, usize)]) -> Result<Design> {
    let arms = arms.iter().map(|arm| arm.parse());
    let point = |&(scenario, threads): &(&str, usize)| {
        Ok(Point {
            scenario: scenario.parse()?,
            placement: Placement::Compact,
            threads,
        })
    };
    let points = points.iter().map(point);
    Ok(Design {
        run: "figures".to_owned(),
        ..Design::new(
            BackendKind::Native,
            "this",
            arms.collect::<Result<_>>()?,
            points.collect::<Result<_>>()?,
        )
    })
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
    let baseline = design.arms[0].clone();
    let mut watch = Samples {
        all: Vec::new(),
        judge: Judge::new(baseline.clone(), design.margin, design.first_slot.is_some()),
    };
    let mut taken = vec![0; design.points.len()];
    // Ctrl-C just ends the process: there is nothing to keep.
    let never = AtomicBool::new(false);
    let ending = drive(design, limits, &mut taken, backend, &mut watch, &never)?;
    let terms = Terms {
        baseline,
        margin: design.margin,
        ending,
    };
    let rows = judge::verdicts(&watch.all, &terms);
    Ok((rows, watch.all))
}

struct Samples {
    all: Vec<Sample>,
    judge: Judge,
}

impl Watch for Samples {
    fn block(&mut self, samples: Vec<Sample>, _roles: Vec<Sample>) -> Result<()> {
        self.judge.push_block(&samples);
        self.all.extend(samples);
        Ok(())
    }

    fn is_decided(&self, point: &Point) -> bool {
        self.judge.is_decided(point)
    }
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

/// Two ways to measure, each for some of the samples.
pub struct Either<B, M> {
    pub first: Native<'static, B>,
    /// The sample as `first` is to have it; none for one that is for `second`.
    pub first_takes: fn(&PlannedSample) -> Option<PlannedSample>,
    pub second: M,
}

impl<B: Build, M: FnMut(&PlannedSample) -> Result<Measured>> Backend for Either<B, M> {
    fn measure(&mut self, planned: &PlannedSample) -> Result<Measured> {
        match (self.first_takes)(planned) {
            Some(planned) => self.first.measure(&planned),
            None => (self.second)(planned),
        }
    }
}
