//! Backends: what executes a sample. `native`: real atomics on slab memory, pinned threads of this
//! machine. `sim`: a machine model.

pub mod arms;
pub mod cases;
pub mod faults;
pub mod native;
pub mod sim;

use crate::experiment::BackendKind;
use crate::program::{fault, steps};

/// What a counter says that this backend counts by itself; `None` for the others,
/// which have a [`role`](crate::counters::role).
pub fn means(backend: BackendKind, counter: &str) -> Option<&'static str> {
    let own = |(name, means): (&str, &'static str)| (name == counter).then_some(means);
    let mut tallies = fault::TALLIES.iter().chain(steps::TALLIES);
    let tally = tallies.find(|tally| tally.name == counter);
    tally.map(|tally| tally.means).or_else(|| match backend {
        BackendKind::Sim => crate::sim::Counts::means(counter),
        BackendKind::Native | BackendKind::Kernel => native::OWN_COUNTERS.into_iter().find_map(own),
    })
}
