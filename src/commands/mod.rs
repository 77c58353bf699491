//! The subcommands, one file each. Here: their registration.

use crate::error::Result;
use clap::Subcommand;
use output::{csv, first_error, json, print, rows};

mod case;
mod case_asm;
mod case_new;
mod case_show;
mod case_trace;
mod counters;
mod dry_run;
mod explanation;
mod import;
mod layout;
mod layout_check;
mod layout_cost;
mod layout_diff;
mod layout_map;
mod layout_named;
mod layout_source;
mod layout_suggest;
mod options;
mod output;
mod plot;
mod predict;
mod prefetch;
mod probe;
mod progress;
mod reproduce;
mod reproduce_case;
mod resolve;
mod run;
mod show_struct;
mod sim;
mod study;
mod verdicts;

/// A subcommand of `hitm`.
#[derive(Subcommand)]
pub enum Command {
    /// Show and check cases: one question about one struct, with its layouts and who accesses what
    Case(case::Args),
    /// Show the hardware counters: which exist, what they do not mean, whether they count here
    Counters(counters::Args),
    /// Show the layouts: offsets, lines, pairs, and how the fault path uses each field
    Layout(layout::Args),
    /// Show the hardware prefetchers' state; switch them off or on; restore them
    Prefetch(prefetch::Args),
    /// Show what this machine is and allows: topology, placements, latencies, permissions
    Probe(probe::Args),
    /// Measure on this machine: what each layout costs, with verdicts
    #[command(
        after_help = "NAME+5% in --layouts is layout NAME with 5 % more faults than are \
        counted: a regression of known size, to see what this machine can resolve."
    )]
    Run(Box<run::Args>),
    /// Draw samples.csv as SVG plots and an HTML report
    Plot(plot::Args),
    /// Print published figures beside the simulator's own: a table, or the changes of a case
    Reproduce(reproduce::Args),
    /// Run the same experiment on a machine model
    Sim(Box<sim::Args>),
    /// How often the statistics err, how well the simulator predicts this machine, what the harness
    /// adds: the studies behind METHODOLOGY.md
    Study(study::Args),
    /// Compute the verdicts of finished runs again, from their rows
    Verdicts(verdicts::Args),
}

impl Command {
    /// Run it.
    pub fn run(self) -> Result<()> {
        match self {
            Command::Case(args) => case::run(args),
            Command::Counters(args) => counters::run(args),
            Command::Layout(args) => layout::run(args),
            Command::Prefetch(args) => prefetch::run(args),
            Command::Probe(args) => probe::run(args),
            Command::Run(args) => run::run(*args),
            Command::Plot(args) => plot::run(args),
            Command::Reproduce(args) => reproduce::run(args),
            Command::Sim(args) => sim::run(*args),
            Command::Study(args) => study::run(args),
            Command::Verdicts(args) => verdicts::run(args),
        }
    }
}
