//! Studies: how often the statistics err, how well the model predicts this machine, what the harness
//! adds. They say how good `hitm` is; `commands::study` runs them.
//!
//! Experiments in them are conducted as `hitm run` conducts its own: the same loop, backend and
//! verdicts, without a run folder. They need a quiet machine. All is seeded.

pub mod by_hand;
pub mod calibration;
pub mod code_place;
pub mod conduct;
pub mod control;
pub mod counting;
#[cfg(target_arch = "x86_64")]
pub mod machine_code;
pub mod noise;
pub mod overhead;
pub mod prediction;
pub mod ratios;
pub mod sharing;
pub mod trials;
