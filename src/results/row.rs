//! One row of `samples.csv` and one of `verdicts.csv`, with their columns.

use std::collections::BTreeMap;

/// The columns that every `samples.csv` begins with.
pub const SAMPLE_COLUMNS: [&str; 19] = [
    "run",
    "backend",
    "machine",
    "layout",
    "scenario",
    "placement",
    "threads",
    "prefetch",
    "block",
    "order",
    "faults",
    "seconds",
    "faults_per_second",
    "ns_per_fault",
    "slowest_thread_faults",
    "fastest_thread_faults",
    "probe_ns",
    "valid",
    "invalid_reason",
];

/// The columns that follow [`SAMPLE_COLUMNS`]; `hitm` writes them all, a foreign file may lack
/// them. Whatever stands after them is a counter.
pub const SAMPLE_FURTHER_COLUMNS: [&str; 3] = ["accesses", "wall_seconds", "first_slot"];

/// The columns of `verdicts.csv`.
pub const VERDICT_COLUMNS: [&str; 14] = [
    "backend",
    "machine",
    "scenario",
    "placement",
    "threads",
    "prefetch",
    "baseline",
    "layout",
    "ratio",
    "ratio_low",
    "ratio_high",
    "verdict",
    "blocks",
    "blocks_invalid",
];

/// One measured arm in one block.
///
/// A figure that could not be measured is `None` and an empty cell, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Identifier of the run.
    pub run: String,
    /// `native`, `sim` or `kernel`.
    pub backend: String,
    /// The machine: CPU model, or the name of a machine file.
    pub machine: String,
    /// The arm: a layout, or `baseline-again`.
    pub layout: String,
    /// Who faults where.
    pub scenario: String,
    /// How threads were placed.
    pub placement: String,
    /// Threads that took part.
    pub threads: usize,
    /// `as-is`, `on` or `off`.
    pub prefetch: String,
    /// Number of the block, from 0, within its design point.
    pub block: u64,
    /// Position of the arm in its block, from 0.
    pub order: usize,
    /// Faults completed by all threads in the window.
    pub faults: u64,
    /// Length of the window in seconds: the mean over threads of their own elapsed time.
    pub seconds: f64,
    /// `faults / seconds`; not a number, and an empty cell, where it was not measured.
    pub faults_per_second: f64,
    /// Time one thread spends on one fault: `threads x seconds / faults`, in nanoseconds; not a
    /// number, and an empty cell, where it was not measured.
    pub ns_per_fault: f64,
    /// Faults of the thread that completed most / fewest.
    pub slowest_thread_faults: u64,
    /// See `slowest_thread_faults`.
    pub fastest_thread_faults: u64,
    /// Line-transfer latency between the threads just before the window, one way, in ns.
    pub probe_ns: Option<f64>,
    /// Whether the sample may be used for a verdict.
    pub valid: bool,
    /// Why not, if not; several reasons are joined with `; `.
    pub invalid_reason: String,
    /// Simulator: memory accesses charged to the model, in the measured window like the faults.
    pub accesses: Option<u64>,
    /// Simulator: seconds of host time in which the model ran that window. Over these, `accesses`
    /// are its speed; the warm-up and the laying out of the world are in neither.
    pub wall_seconds: Option<f64>,
    /// Slab slot of the first VMA in use: its parity decides the 128-byte neighbours. `None` where
    /// it cannot be known, as in the running kernel.
    pub first_slot: Option<usize>,
    /// Counters by role, totals over all threads in the window.
    pub counters: BTreeMap<String, f64>,
}

/// One row of `verdicts.csv`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct VerdictRow {
    /// `native`, `sim` or `kernel`.
    pub backend: String,
    /// The machine.
    pub machine: String,
    /// Who faults where.
    pub scenario: String,
    /// How threads were placed.
    pub placement: String,
    /// Threads that took part.
    pub threads: usize,
    /// `as-is`, `on`, `off`, or `on-off` for an attribution row.
    pub prefetch: String,
    /// The layout compared against.
    pub baseline: String,
    /// The layout compared.
    pub layout: String,
    /// Time per fault over the baseline's; above 1 is slower.
    pub ratio: Option<f64>,
    /// Lower end of the interval.
    pub ratio_low: Option<f64>,
    /// Upper end of the interval.
    pub ratio_high: Option<f64>,
    /// `regression`, `improvement`, `equivalent` or `inconclusive`.
    pub verdict: String,
    /// Valid blocks that entered the comparison.
    pub blocks: u64,
    /// Blocks set aside as invalid.
    pub blocks_invalid: u64,
}
