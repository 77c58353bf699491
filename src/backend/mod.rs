//! Backends: what executes a sample. `native`: real atomics on slab memory, pinned threads of this
//! machine. `sim`: a machine model.

pub mod native;
pub mod sim;

use crate::error::Result;
use crate::experiment::{BackendKind, LayoutName};
use crate::program::fault::TALLIES;
use crate::program::fault::layouts::VmaLayout;

/// The layout of that name, as both backends make programs of it.
pub fn layout(name: &LayoutName) -> Result<VmaLayout> {
    VmaLayout::parse(name.as_str())
}

/// What a counter says that this backend counts by itself; `None` for the others,
/// which have a [`role`](crate::counters::role).
pub fn means(backend: BackendKind, counter: &str) -> Option<&'static str> {
    let own = |(name, means): (&str, &'static str)| (name == counter).then_some(means);
    let tally = TALLIES.iter().find(|tally| tally.name == counter);
    tally.map(|tally| tally.means).or_else(|| match backend {
        BackendKind::Sim => crate::sim::Counts::means(counter),
        BackendKind::Native | BackendKind::Kernel => native::OWN_COUNTERS.into_iter().find_map(own),
    })
}
