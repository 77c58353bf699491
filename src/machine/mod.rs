//! The machine: what it is, which CPU each thread runs on, and what it does around a sample.
//!
//! Here: topology, placement, pinning, accounting around a sample, line-transfer latency, the
//! environment record, what is permitted. Not here: hardware counters (`counters`) and
//! prefetchers (`prefetch`).

pub mod accounting;
pub mod environment;
pub mod pace;
pub mod pairs;
pub mod pin;
mod placement;
pub mod preflight;
mod topology;
pub mod transfer;

pub use placement::{Placement, Plan, cpu_list, possible};
pub use topology::{Cpu, CpuId, Distance, Llc, Topology};
