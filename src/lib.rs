//! What the placement of a lock inside (or outside) its struct costs, and which part of the
//! hardware causes the cost.

#![warn(missing_docs)]

pub mod backend;
pub mod calibrate;
pub mod case;
pub mod commands;
pub mod counters;
pub mod error;
pub mod experiment;
pub mod judge;
pub mod layout;
pub mod machine;
pub mod prefetch;
pub mod program;
pub mod report;
pub mod results;
pub mod sim;
pub mod space;
pub mod stats;
pub mod study;
pub mod suggest;
mod text;
pub mod units;
