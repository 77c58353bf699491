//! The subcommands, one file each. Here: their registration.

use crate::error::Result;
use clap::Subcommand;

mod layout;
mod prefetch;

/// A subcommand of `hitm`.
#[derive(Subcommand)]
pub enum Command {
    /// Show the layouts: offsets, lines, pairs, and how the fault path uses each field
    Layout(layout::Args),
    /// Hardware prefetchers: how they stand; switch them off or on; put them back
    Prefetch(prefetch::Args),
}

impl Command {
    /// Run it.
    pub fn run(self) -> Result<()> {
        match self {
            Command::Layout(args) => layout::run(args),
            Command::Prefetch(args) => prefetch::run(args),
        }
    }
}
