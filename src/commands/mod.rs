//! The subcommands, one file each. Here: their registration.

use crate::error::Result;
use clap::Subcommand;

mod layout;
mod plot;

/// A subcommand of `hitm`.
#[derive(Subcommand)]
pub enum Command {
    /// Show the layouts: offsets, lines, pairs, and how the fault path uses each field
    Layout(layout::Args),
    /// Draw samples.csv as SVG plots and an HTML report
    Plot(plot::Args),
}

impl Command {
    /// Run it.
    pub fn run(self) -> Result<()> {
        match self {
            Command::Layout(args) => layout::run(args),
            Command::Plot(args) => plot::run(args),
        }
    }
}
