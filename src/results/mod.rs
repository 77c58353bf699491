//! Results: the rows every backend produces and every other command reads.
//!
//! Here: the CSV schema and run folders. Not here: how a sample is taken (`experiment`,
//! `backend`) and what is concluded from it (`stats`).

pub mod address_map;
mod cells;
mod files;
mod folder;
mod record;
mod row;

pub use files::{SamplesFile, read_samples, read_verdicts, samples_path, verdicts_csv};
pub use folder::{RunFolder, run_id, write_whole};
pub(crate) use folder::{slug, unwritable};
pub use record::{RunRecord, Unmeasured};
pub use row::{SAMPLE_COLUMNS, SAMPLE_FURTHER_COLUMNS, Sample, VERDICT_COLUMNS, VerdictRow};

/// The arm that is the baseline measured once more: the A/A line.
pub const BASELINE_AGAIN: &str = "baseline-again";

/// What the prefetcher column of an attribution row says: the effect with the prefetcher on over
/// the effect with it off.
pub const ON_OVER_OFF: &str = "on-off";
