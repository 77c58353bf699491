//! The subcommands, one file each. Here: their registration.

use crate::error::Result;
use clap::Subcommand;

mod layout;
mod options;
mod probe;
mod run;

/// A subcommand of `hitm`.
#[derive(Subcommand)]
pub enum Command {
    /// Show the layouts: offsets, lines, pairs, and how the fault path uses each field
    Layout(layout::Args),
    /// Show what this machine is and allows: topology, placements, latencies, permissions
    Probe(probe::Args),
    /// Measure on this machine: what each layout costs, with verdicts
    Run(Box<run::Args>),
}

impl Command {
    /// Run it.
    pub fn run(self) -> Result<()> {
        match self {
            Command::Layout(args) => layout::run(args),
            Command::Probe(args) => probe::run(args),
            Command::Run(args) => run::run(*args),
        }
    }
}
