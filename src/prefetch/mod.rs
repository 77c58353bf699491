//! Hardware prefetchers: which are on, switching them per CPU, and putting every register back.
//!
//! In `control`: what can be switched and how it stands. In `guard`: changing registers. In
//! `catalogue`: which bit is what; in `cpus`: which CPU has which. A register is changed only after
//! a journal of its value is on disk, and only in the bits of the prefetchers asked for.

pub mod catalogue;
mod control;
mod cpus;
mod guard;
mod journal;
mod place;
mod registers;
mod signals;
#[cfg(test)]
mod tests;

pub use catalogue::{Microarchitecture, Prefetcher, Which};
pub use control::{Control, Selected, Setting, Switch, check};
pub use cpus::Cpus;
pub use guard::{Applied, Drift, Guard, Restored, restore};
pub use journal::{leftover, notice_leftover};
pub use place::Place;
pub use registers::{Access, Fault, MsrFiles, Registers};
