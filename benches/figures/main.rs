//! The figures that say how good `hitm` is, one a subcommand, one line of result each:
//! `cargo bench --bench figures -- false-alarms --trials 200 --seconds 2`.
//!
//! They need a quiet machine. All is seeded, and conducted as `hitm run` conducts it: the same
//! loop, backend and verdicts, without a run folder.

#[path = "../support/by_hand.rs"]
mod by_hand;
mod conduct;
mod control;
mod counting;
mod null;
mod overhead;
mod sharing;
mod trials;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "figures",
    bin_name = "cargo bench --bench figures --",
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    figure: Figure,
    /// What cargo adds.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Figure {
    /// Share of A/A comparisons called regression or improvement
    FalseAlarms(trials::Args),
    /// Share of comparisons in which a regression of known size is called regression
    ///
    /// Under a margin of 2 % a true 1 % is equivalent, and rightly so: to see it, the margin must
    /// be below it (--percent 1 --margin 0.5).
    Power {
        /// Uncounted extra faults, in per cent, in steps of 0.1
        #[arg(long, default_value_t = 5.0)]
        percent: f64,
        #[command(flatten)]
        trials: trials::Args,
    },
    /// Two counters 8 bytes apart over two 64 bytes apart, added to by two threads
    Control(conduct::Args),
    /// A fault with the counters of `hitm run` open over one with them closed, one thread
    Counting(conduct::Args),
    /// Two layouts of a case that are touched alike: how often they are called equivalent
    Null(null::Args),
    /// The fault loop of the harness over the same accesses written by hand, one thread
    Overhead(conduct::Args),
    /// Locks of neighbouring VMAs packed over aligned (vma-per-thread, two threads)
    Sharing(conduct::Args),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test` runs benches, and does so without it.
        return ExitCode::SUCCESS;
    }
    let figures = Cli::command();
    let names: Vec<&str> = figures.get_subcommands().map(|f| f.get_name()).collect();
    let first = arguments[0].as_str();
    if !names.contains(&first) && !["--help", "-h", "help"].contains(&first) {
        // `cargo bench` and `cargo bench -- FILTER` mean the benches that know filters.
        eprintln!(
            "figures: none asked for; cargo bench --bench figures -- {}",
            names.join("|")
        );
        return ExitCode::SUCCESS;
    }
    let figure = match Cli::parse().figure {
        Figure::FalseAlarms(trials) => trials::false_alarms(&trials),
        Figure::Power { percent, trials } => trials::power(percent, &trials),
        Figure::Control(blocks) => control::figure(&blocks),
        Figure::Counting(blocks) => counting::figure(&blocks),
        Figure::Null(args) => null::figure(&args),
        Figure::Overhead(blocks) => overhead::figure(&blocks),
        Figure::Sharing(blocks) => sharing::figure(&blocks),
    };
    match figure {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hitm: {error}");
            error.exit_code()
        }
    }
}
