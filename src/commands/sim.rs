//! `hitm sim`: the same experiment on a machine model.

use crate::error::{Error, Result};
use crate::sim::Machine;
use crate::sim::pattern::{self, Pattern};
use serde_json::json;

/// Arguments of `hitm sim`.
#[derive(clap::Args)]
pub struct Args {
    /// Machine model: a name from --list-machines, or a file
    #[arg(long, value_name = "NAME|FILE")]
    machine: Option<String>,
    /// List the machine models and exit
    #[arg(long)]
    list_machines: bool,
    /// Print the file of a machine model and exit
    #[arg(long, value_name = "NAME")]
    show_machine: Option<String>,
    /// Run accesses of a defined order instead of a scenario, to check the coherence model
    #[arg(long, value_name = "PATTERN")]
    pattern: Option<Pattern>,
    /// Cores that take part in a pattern
    #[arg(long, default_value_t = 2, requires = "pattern")]
    cores: usize,
    /// Accesses of a pattern, of all cores together
    #[arg(long, default_value_t = 1_000_000, requires = "pattern")]
    accesses: u64,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How to print
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    format: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

/// The machine of pattern mode where none is named.
const PATTERN_MACHINE: &str = "plain-mesi";

/// Run it.
pub fn run(args: Args) -> Result<()> {
    if args.list_machines {
        return list();
    }
    if let Some(name) = &args.show_machine {
        print!("{}", Machine::text(name)?);
        return Ok(());
    }
    if let Some(pattern) = args.pattern {
        return run_pattern(&args, pattern);
    }
    Err(Error::Input(
        "nothing to simulate: give --pattern, --list-machines or --show-machine".to_owned(),
    ))
}

fn list() -> Result<()> {
    for name in Machine::names() {
        let machine = Machine::load(name)?;
        println!("{name:<16} {}", machine.description);
    }
    Ok(())
}

fn run_pattern(args: &Args, pattern: Pattern) -> Result<()> {
    let machine = Machine::load(args.machine.as_deref().unwrap_or(PATTERN_MACHINE))?;
    let name = machine.name.clone();
    let report = pattern::run(machine, pattern, args.cores, args.accesses, args.seed)?;
    let counts = report.counts;
    let rate = counts.accesses as f64 / report.wall_seconds / 1e6;
    match args.format {
        Format::Json => println!(
            "{}",
            json!({
                "machine": name,
                "cores": args.cores,
                "accesses": counts.accesses,
                "hits": counts.hits,
                "invalidations": counts.invalidations,
                "write_backs": counts.write_backs,
                "simulated_ns": report.simulated_ns,
                "wall_seconds": report.wall_seconds,
            })
        ),
        Format::Csv => {
            println!(
                "machine,cores,accesses,hits,invalidations,write_backs,simulated_ns,wall_seconds"
            );
            println!(
                "{name},{},{},{},{},{},{},{}",
                args.cores,
                counts.accesses,
                counts.hits,
                counts.invalidations,
                counts.write_backs,
                report.simulated_ns,
                report.wall_seconds
            );
        }
        Format::Table => {
            for (what, value) in [
                ("accesses", counts.accesses),
                ("hits", counts.hits),
                ("invalidations", counts.invalidations),
                ("write-backs", counts.write_backs),
            ] {
                println!("{what:<16}{value:>14}");
            }
            println!("{:<16}{:>14.0} ns", "simulated", report.simulated_ns);
            println!(
                "{:<16}{:>14.4} s ({rate:.1} M accesses/s)",
                "wall", report.wall_seconds
            );
        }
    }
    Ok(())
}
