//! What executes samples, as the loop sees it, and what it finds out in one of them.

use super::plan::{Block, PlannedSample};
use super::sample::Invalid;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// What executes samples.
pub trait Backend {
    /// Take one sample.
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
    pub invalid: Vec<Invalid>,
    /// Counters by role: totals over all threads.
    pub counters: BTreeMap<String, f64>,
    /// Simulator: accesses charged to the model in the window.
    pub accesses: Option<u64>,
    /// Simulator: host seconds that the window took.
    pub wall_seconds: Option<f64>,
}
