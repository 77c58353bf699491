//! The subcommands, one file each. Here: their registration.

use crate::error::Result;
use clap::Subcommand;

mod layout;
mod sim;

/// A subcommand of `hitm`.
#[derive(Subcommand)]
pub enum Command {
    /// Show the layouts: offsets, lines, pairs, and how the fault path uses each field
    Layout(layout::Args),
    /// Run the same experiment on a machine model
    Sim(sim::Args),
}

impl Command {
    /// Run it.
    pub fn run(self) -> Result<()> {
        match self {
            Command::Layout(args) => layout::run(args),
            Command::Sim(args) => sim::run(args),
        }
    }
}
