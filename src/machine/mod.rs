//! The machine: what it is, which CPU each thread runs on, and what it does around a sample.
//!
//! Here: processor, topology, placement, pinning, accounting around a sample, line-transfer
//! latency, the environment record, what is permitted. Not here: hardware counters (`counters`) and
//! prefetchers (`prefetch`).

pub mod accounting;
pub mod cpu;
pub mod cpu_list;
pub mod environment;
pub(crate) mod files;
pub mod pace;
pub mod pairs;
pub mod pin;
mod placement;
pub mod preflight;
pub mod real_time;
pub mod threads;
mod topology;
pub mod transfer;

pub use cpu::{CpuModel, Vendor};
pub use placement::{Placement, Plan, possible};
pub(crate) use topology::hwloc_of;
pub use topology::{Cpu, CpuId, Distance, Llc, Topology};
