//! One experiment from design to verdicts, without a run folder, and how much of it was disturbed.

use crate::backend::native::{Build, Native};
use crate::error::{Error, Result};
use crate::experiment::{
    Backend, BackendKind, Design, Limits, Measured, PlannedSample, Point, Sample, Watch, drive,
};
use crate::judge::{self, Judge, Terms, VerdictRow};
use crate::machine::{CpuId, Placement, Topology};
use std::fmt;
use std::sync::atomic::AtomicBool;

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
        run: "study".to_owned(),
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

/// What came of an experiment.
pub struct Conducted {
    /// As at the end of `hitm run`.
    pub verdicts: Vec<VerdictRow>,
    /// Every sample.
    pub samples: Vec<Sample>,
}

/// Run the experiment. Ctrl-C just ends the process: there is nothing to keep.
pub fn conduct(design: &Design, limits: Limits, backend: &mut dyn Backend) -> Result<Conducted> {
    conduct_unless(&AtomicBool::new(false), design, limits, backend)
}

/// Run the experiment, but give it up with [`Error::Interrupted`] once `stop` is set.
pub fn conduct_unless(
    stop: &AtomicBool,
    design: &Design,
    limits: Limits,
    backend: &mut dyn Backend,
) -> Result<Conducted> {
    let baseline = design.arms[0].clone();
    let mut watch = Samples {
        all: Vec::new(),
        judge: Judge::new(baseline.clone(), design.margin, design.first_slot.is_some()),
    };
    let mut taken = vec![0; design.points.len()];
    let ending = drive(design, limits, &mut taken, backend, &mut watch, stop)?;
    ending.finished()?;
    let terms = Terms {
        baseline,
        margin: design.margin,
        ending,
    };
    Ok(Conducted {
        verdicts: judge::verdicts(&watch.all, &terms),
        samples: watch.all,
    })
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
    /// Count these as well.
    pub fn add(&mut self, samples: &[Sample]) {
        let invalid = || samples.iter().filter(|sample| !sample.valid);
        self.samples += samples.len();
        self.invalid += invalid().count();
        if let Some(sample) = invalid().next_back() {
            self.such_as.clone_from(&sample.invalid_reason);
        }
    }

    /// Why there is no figure.
    pub fn refuse(&self, what: &str) -> Error {
        let such_as = match self.such_as.as_str() {
            "" => "take more of them".to_owned(),
            such_as => format!(
                "such as: {such_as}; stop what else runs on this machine, or run it under chrt -f 10"
            ),
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
    /// One way.
    pub first: Native<'static, B>,
    /// The sample as `first` is to have it; none for one that is for `second`.
    pub first_takes: fn(&PlannedSample) -> Option<PlannedSample>,
    /// The other.
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
