//! What executes samples, as the loop sees it, and what it finds out in one of them.

use super::plan::{Block, PlannedSample};
use super::sample::{Invalid, Pace};
use crate::error::{Error, Result};
use crate::program::totals::ThreadFaults;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// What executes samples.
pub trait Backend {
    /// Take one sample: for the first time, or again because it could not be used.
    fn measure(&mut self, planned: &PlannedSample) -> Result<Measured>;

    /// Take all samples of a block, in its order. A backend whose samples cannot disturb each
    /// other may take them at once.
    fn measure_block(&mut self, block: &Block, stop: &AtomicBool) -> Result<Vec<Measured>> {
        let samples = block.samples.iter();
        samples
            .map(|planned| match stop.load(Ordering::Relaxed) {
                true => Err(Error::Interrupted),
                false => self.measure(planned),
            })
            .collect()
    }

    /// What the counters of all samples so far have to be read with.
    fn remarks(&self) -> Remarks {
        Remarks::default()
    }
}

/// A figure that is absent, and why.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Unmeasured {
    /// The figure: a counter role, a probe, a part of the environment.
    pub what: String,
    /// Why, and what would help.
    pub why: String,
}

/// What a reader of the counters has to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remarks {
    /// Counters that have no value, and why.
    pub unmeasured: Vec<Unmeasured>,
    /// Roles of which some value was scaled up, because the counter shared its hardware.
    pub scaled: Vec<String>,
}

/// What a backend found out in one sample.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Every thread that faults.
    pub threads: Vec<ThreadFaults>,
    /// One-way line-transfer latency between the threads, in nanoseconds.
    pub probe_ns: Option<f64>,
    /// The machine code that was executed, but for displacements; see
    /// [`Sample::code`](super::Sample::code).
    pub code: String,
    /// Pace of the cores, if it is known.
    pub pace: Option<Pace>,
    /// Why the sample may not be used, whatever the others of its block are like; empty if it may.
    pub invalid: Vec<Invalid>,
    /// Counters by role: totals over all threads.
    pub counters: BTreeMap<String, f64>,
    /// Simulator: accesses charged to the model in the window.
    pub accesses: Option<u64>,
    /// Simulator: host seconds that the window took.
    pub wall_seconds: Option<f64>,
}
