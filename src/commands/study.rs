//! `hitm study`: how good the statistics, the simulator and the harness are, a study a subcommand.

use super::options::Format;
use super::{csv, json, print, rows};
use crate::error::{Result, say};
use crate::report::columns::Columns;
#[cfg(target_arch = "x86_64")]
use crate::study::machine_code;
use crate::study::ratios::{self, Ratios};
use crate::study::trials::{self, Trials};
use crate::study::{calibration, code_place, control, counting, overhead, prediction, sharing};
use clap::{CommandFactory, Parser, Subcommand};

/// Arguments of `hitm study`.
#[derive(clap::Args)]
pub struct Args {
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table", global = true)]
    format: Format,
    #[command(subcommand)]
    study: Option<Study>,
}

/// A study; the times are those of its defaults.
#[derive(Subcommand)]
enum Study {
    /// How often comparisons err, and how soon they decide, on simulated noise (1 min)
    Calibration(calibration::Args),
    /// How often one look at so many units errs, by estimator, on simulated noise (10 s)
    Estimators(calibration::Args),
    /// How often A/A comparisons are called anything but equivalent or inconclusive (2 min)
    FalseAlarms(trials::FaultArgs),
    /// How often a regression of known size is called regression (2 min)
    ///
    /// Under a margin of 2 % a true 1 % is equivalent, and rightly so: to see it, the margin must be
    /// below it (--percent 1 --margin 0.5).
    Power {
        /// Uncounted extra faults, in per cent, in steps of 0.1
        #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
        percent: f64,
        #[command(flatten)]
        trials: trials::FaultArgs,
    },
    /// How often two layouts that are touched alike are called equivalent (2 min)
    Null(trials::Args),
    /// How well the simulator, calibrated here, predicts this machine (5 min)
    Prediction(prediction::Args),
    /// Counters 8 over 64 bytes apart, two threads: the harness, and by hand (20 s)
    Control(ratios::Args),
    /// Locks of neighbouring VMAs packed over aligned, two threads (10 s)
    Sharing(ratios::Args),
    /// A fault in the harness over the same accesses written by hand (10 s)
    Overhead(ratios::Args),
    /// A fault with the counters of `hitm run` open over one with them closed (10 s)
    Counting(ratios::Args),
    /// What the place of the compiled fault path is worth, and which layouts share their code (20 s)
    CodePlace(code_place::Args),
    /// Machine code made of a pass over the same accesses written by hand (5 s)
    #[cfg(target_arch = "x86_64")]
    MachineCode(machine_code::Args),
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let format = args.format;
    let Some(study) = args.study else {
        return print(&list());
    };
    let text = match study {
        Study::Calibration(args) => {
            let found = calibration::sequential(&args);
            rows(format, &found, calibration::sequential_table)
        }
        Study::Estimators(args) => {
            let found = calibration::estimators(&args);
            rows(format, &found, calibration::estimator_table)
        }
        Study::FalseAlarms(args) => of_trials(format, &trials::false_alarms(&args)?),
        Study::Power { percent, trials } => of_trials(format, &trials::power(percent, &trials)?),
        Study::Null(args) => of_trials(format, &trials::null(&args)?),
        Study::Prediction(args) => {
            let found = prediction::study(&args)?;
            rows(format, &found.rows, |_| found.table())
        }
        Study::Control(args) => of_ratios(format, &control::study(&args)?),
        Study::Sharing(args) => of_ratios(format, &sharing::study(&args)?),
        Study::Overhead(args) => of_ratios(format, &overhead::study(&args)?),
        Study::Counting(args) => {
            let (found, counted) = counting::study(&args)?;
            say(format!("counted: {counted}"));
            of_ratios(format, &found)
        }
        Study::CodePlace(args) => {
            let found = code_place::study(&args)?;
            let text = match format {
                Format::Table => found.table(),
                Format::Json => json(&found),
                Format::Csv => csv(&found.times),
            };
            print(&text)?;
            return found.apart();
        }
        #[cfg(target_arch = "x86_64")]
        Study::MachineCode(args) => rows(format, &machine_code::study(&args)?, machine_code::table),
    };
    print(&text)
}

fn of_ratios(format: Format, found: &Ratios) -> String {
    say(&found.disturbed);
    rows(format, &found.rows, ratios::table)
}

fn of_trials(format: Format, found: &Trials) -> String {
    say(&found.disturbed);
    rows(format, &found.rows, |_| found.table())
}

/// The studies with a line each.
fn list() -> String {
    #[derive(Parser)]
    struct Studies {
        #[command(subcommand)]
        _study: Study,
    }
    let mut columns = Columns::new("<<");
    for study in Studies::command().get_subcommands() {
        let about = study.get_about().map(ToString::to_string);
        columns.row([study.get_name().to_owned(), about.unwrap_or_default()]);
    }
    format!("{columns}\n`hitm study NAME` runs one; `hitm study NAME --help` lists its options.\n")
}
