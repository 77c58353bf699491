//! Which program each arm is at each design point, whatever executes it.

use crate::experiment::{Permille, PlannedSample};
use crate::program::{Blueprint, Tally};
use crate::sim::local_work::LocalWork;

/// Every arm at every design point.
pub trait Arms: Sync {
    /// What decides a program.
    type Blueprint: Blueprint + Clone + Sync;
    /// What its programs count apart from operations.
    const TALLIES: &'static [Tally];

    /// The program of a sample.
    fn blueprint(&self, planned: &PlannedSample) -> Self::Blueprint;

    /// The handicap of arm number `arm`.
    fn handicap(&self, arm: usize) -> Permille;

    /// Local work that the simulator adds at that design point.
    fn local(&self, _point: usize) -> Option<LocalWork> {
        None
    }
}
