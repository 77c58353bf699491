//! Results: the rows every backend produces and every other command reads.
//!
//! Here: the CSV schema and run folders. Not here: how a sample is taken (`experiment`,
//! `backend`) and what is concluded from it (`stats`).

mod row;

pub use row::{Sample, VerdictRow};
