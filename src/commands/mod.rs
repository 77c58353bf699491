//! The subcommands, one file each. Here: their registration.

use crate::error::Result;
use clap::Subcommand;

mod layout;

/// A subcommand of `hitm`.
#[derive(Subcommand)]
pub enum Command {
    /// Show the layouts: offsets, lines, pairs, and how the fault path uses each field
    Layout(layout::Args),
}

impl Command {
    /// Run it.
    pub fn run(self) -> Result<()> {
        match self {
            Command::Layout(args) => layout::run(args),
        }
    }
}
