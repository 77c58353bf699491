//! Experiments: arms, design points, blocks, and the loop that drives a backend through them.
//!
//! Here: what is measured in which order, when to stop, how rows and verdicts come of it. Not
//! here: how one sample is taken (`backend`, `sim`) and what an interval is (`stats`).

mod drive;
mod plan;
mod verdicts;

pub use drive::{Ending, Limits, Watch, drive};
pub use plan::{Block, Cell};
pub use verdicts::Verdicts;

use crate::error::{Error, Result};
use crate::prefetch;
use crate::program::fault::path::PageWork;
use crate::results::Unmeasured;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::results::BASELINE_AGAIN;

/// Where in the design space a comparison is made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Point {
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the placement.
    pub placement: String,
    /// Threads that take part.
    pub threads: usize,
}

/// State of the prefetcher during a sample.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Prefetch {
    /// As the machine has it; nothing is switched.
    AsIs,
    /// Switched on.
    On,
    /// Switched off.
    Off,
}

impl Prefetch {
    /// Its name in the CSV.
    pub fn name(self) -> &'static str {
        match self {
            Prefetch::AsIs => "as-is",
            Prefetch::On => "on",
            Prefetch::Off => "off",
        }
    }

    /// What the prefetcher is switched to, if anything.
    pub fn state(self) -> Option<prefetch::Switch> {
        match self {
            Prefetch::AsIs => None,
            Prefetch::On => Some(prefetch::Switch::On),
            Prefetch::Off => Some(prefetch::Switch::Off),
        }
    }
}

/// What is compared with what, and where. Written to `environment.json`, so that a run can go on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Design {
    /// Identifier of the run.
    pub run: String,
    /// `native`, `sim` or `kernel`.
    pub backend: String,
    /// The machine.
    pub machine: String,
    /// The design points.
    pub points: Vec<Point>,
    /// Names of the arms. The first is the baseline; [`BASELINE_AGAIN`] is among them.
    pub arms: Vec<String>,
    /// Prefetcher states each arm is measured in: one, or on and off.
    pub prefetch: Vec<Prefetch>,
    /// The prefetcher that is switched, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefetcher: Option<String>,
    /// Slab slot of the first VMA in every block, or none for slots 0 and 1 in turn.
    pub first_slot: Option<usize>,
    /// Everything random follows from it.
    pub seed: u64,
    /// What each fault does beside reading fields.
    pub page_work: PageWork,
    /// Equivalence margin: 0.02 makes ratios from 1/1.02 to 1.02 equivalent.
    pub margin: f64,
}

/// What executes samples.
pub trait Backend {
    /// Take one sample.
    fn measure(&mut self, cell: &Cell) -> Result<Measured>;

    /// Take all samples of a block, in its order. A backend whose samples cannot disturb each
    /// other may take them at once.
    fn measure_block(&mut self, block: &Block, stop: &AtomicBool) -> Result<Vec<Measured>> {
        let cells = block.cells.iter();
        cells
            .map(|cell| match stop.load(Ordering::Relaxed) {
                true => Err(Error::Interrupted),
                false => self.measure(cell),
            })
            .collect()
    }

    /// What the counters of all samples so far have to be read with.
    fn remarks(&self) -> Remarks {
        Remarks::default()
    }
}

/// What a reader of the counters has to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remarks {
    /// Counters that have no value, and why.
    pub unmeasured: Vec<Unmeasured>,
    /// Roles of which some value was scaled up, because the counter shared its hardware.
    pub scaled: Vec<String>,
}

/// One thread's share of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreadFaults {
    /// Faults it completed.
    pub faults: u64,
    /// Its own length of the window in seconds.
    pub seconds: f64,
}

/// The threads of a sample together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// Faults of all threads.
    pub faults: u64,
    /// Length of the window in seconds: the mean over threads of their own elapsed time.
    pub seconds: f64,
    /// `faults / seconds`.
    pub faults_per_second: f64,
    /// Time one thread spends on one fault, in nanoseconds.
    pub ns_per_fault: f64,
}

impl Totals {
    /// Of these threads.
    pub fn of(threads: &[ThreadFaults]) -> Totals {
        let count = threads.len() as f64;
        let faults: u64 = threads.iter().map(|t| t.faults).sum();
        let seconds = threads.iter().map(|t| t.seconds).sum::<f64>() / count;
        Totals {
            faults,
            seconds,
            faults_per_second: faults as f64 / seconds,
            ns_per_fault: count * seconds * 1e9 / faults as f64,
        }
    }
}

/// What a backend found out in one sample.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Every thread that faults.
    pub threads: Vec<ThreadFaults>,
    /// One-way line-transfer latency between the threads, in nanoseconds.
    pub probe_ns: Option<f64>,
    /// Why the sample may not be used; empty if it may.
    pub invalid: Vec<String>,
    /// Counters by role: totals over all threads.
    pub counters: BTreeMap<String, f64>,
    /// Simulator: accesses charged to the model in the window.
    pub accesses: Option<u64>,
    /// Simulator: host seconds that the window took.
    pub wall_seconds: Option<f64>,
}
