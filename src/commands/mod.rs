//! The subcommands, one file each. Here: their registration.

use crate::error::Result;
use clap::Subcommand;

mod counters;
mod layout;

/// A subcommand of `hitm`.
#[derive(Subcommand)]
pub enum Command {
    /// Show the hardware counters: which exist, what they do not mean, whether they count here
    Counters(counters::Args),
    /// Show the layouts: offsets, lines, pairs, and how the fault path uses each field
    Layout(layout::Args),
}

impl Command {
    /// Run it.
    pub fn run(self) -> Result<()> {
        match self {
            Command::Counters(args) => counters::run(args),
            Command::Layout(args) => layout::run(args),
        }
    }
}
