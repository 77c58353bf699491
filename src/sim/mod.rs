//! The simulator: machines nobody here owns, and what a fault costs on them.
//!
//! Here: machine models, caches and coherence, prefetchers, and an engine that runs the same
//! programs as the native backend. Not here: the programs (`program`), and what is concluded
//! from the results (`judge`).

mod arbiter;
mod cache;
mod check;
pub mod coherence;
pub mod counts;
pub mod engine;
pub mod explain;
pub mod local_work;
pub mod machine;
pub mod pattern;
mod prefetch;
pub mod published;
pub mod request;
pub mod run;
pub mod state;
pub mod timeline;
mod value;

pub use counts::Counts;
pub use engine::{SimMemory, Simulation};
pub use machine::{Machine, Picos};
