//! `hitm reproduce`: a published table beside the simulator's own numbers.

use super::options::Format;
use crate::error::{Error, Result};
use crate::fault::path::PageWork;
use crate::results::published::{Cell, Published};
use crate::sim::{Machine, run};
use rayon::prelude::*;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Instant;

/// Arguments of `hitm reproduce`.
#[derive(clap::Args)]
pub struct Args {
    /// The table; without a name, all tables are listed
    name: Option<String>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How the table is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A row of the CSV.
#[derive(Serialize)]
struct Row {
    threads: usize,
    prefetch: String,
    layout: &'static str,
    published: f64,
    simulated: f64,
    #[serde(skip)]
    calibrated: bool,
}

/// Run it.
pub fn run(args: &Args) -> Result<()> {
    let Some(name) = &args.name else {
        let mut text = String::new();
        for table in Published::all()? {
            let _ = writeln!(text, "{:<16} {}", table.name, table.how.title);
        }
        return super::print(&text);
    };
    let table = Published::find(name)?;
    let start = Instant::now();
    let (rows, accesses) = simulate(&table, args.seed)?;
    let seconds = start.elapsed().as_secs_f64();
    super::print(&match args.format {
        Format::Csv => super::csv(&rows),
        Format::Json => super::json(&rows),
        Format::Table => {
            let mut text = render(&table, &rows);
            let _ = writeln!(
                text,
                "\n{} cells in {seconds:.1} s, {:.0} million accesses",
                rows.len(),
                accesses as f64 / 1e6
            );
            text
        }
    })
}

/// Every cell, at both slot parities; and the accesses that took.
fn simulate(table: &Published, seed: u64) -> Result<(Vec<Row>, u64)> {
    let on = Machine::load(&table.how.machine)?;
    let off = on.clone().without_prefetchers();
    let (scenario, placement) = (table.scenario()?, table.placement()?);
    let simulated = |cell: &Cell| -> Result<(Row, u64)> {
        let machine = match cell.prefetch.as_str() {
            "on" => &on,
            "off" => &off,
            other => {
                return Err(Error::Input(format!(
                    "published table {}: prefetch is '{other}', not on or off",
                    table.name
                )));
            }
        };
        let mut rates = 0.0;
        let mut accesses = 0;
        for first_slot in [0, 1] {
            let spec = run::Spec {
                layout: cell.layout,
                scenario,
                threads: cell.threads,
                placement: placement.clone(),
                first_slot,
                work: PageWork::Nanos(table.how.work_inside_ns),
                access_ns: table.how.work_per_access_ns,
                between_ns: table.how.work_outside_ns,
                seed: seed + first_slot as u64,
                faults_per_thread: table.how.faults_per_thread,
                explain: false,
                timeline: false,
                check: false,
            };
            let sample = run::run(machine, &spec)?.sample;
            rates += sample.faults_per_second / 2.0;
            accesses += sample.accesses.unwrap_or(0);
        }
        let row = Row {
            threads: cell.threads,
            prefetch: cell.prefetch.clone(),
            layout: cell.layout.name(),
            published: cell.published,
            simulated: rates,
            calibrated: table.is_calibrated(cell),
        };
        Ok((row, accesses))
    };
    let done: Vec<(Row, u64)> = table
        .cells
        .par_iter()
        .map(simulated)
        .collect::<Result<_>>()?;
    let accesses = done.iter().map(|(_, accesses)| accesses).sum();
    Ok((done.into_iter().map(|(row, _)| row).collect(), accesses))
}

fn render(table: &Published, rows: &[Row]) -> String {
    let how = &table.how;
    let mut text = format!("{}\n{}, in {}\n", how.title, how.machine, how.unit);
    let (baseline, others) = how
        .layouts
        .split_first()
        .map_or(("", &[][..]), |(b, o)| (b, o));
    let find = |prefetch: &str, threads: usize, layout: &str| {
        rows.iter()
            .find(|row| row.prefetch == prefetch && row.threads == threads && row.layout == layout)
    };
    let mut threads: Vec<usize> = rows.iter().map(|row| row.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    for prefetch in ["off", "on"] {
        for other in others {
            let _ = writeln!(
                text,
                "\nprefetch {prefetch}\n{:>7} | {:^30} | {:^30} | change, points\n{:>7} | {:>9} {:>9}  {:>7}   | {:>9} {:>9}  {:>7}   | {:>6} {:>6} {:>6}",
                "",
                baseline,
                other,
                "threads",
                "published",
                "simulated",
                "error",
                "published",
                "simulated",
                "error",
                "publ.",
                "sim.",
                "error"
            );
            let (mut errors, mut points, mut signs) = (Vec::new(), Vec::new(), (0, 0));
            for &threads in &threads {
                let (Some(b), Some(o)) = (
                    find(prefetch, threads, baseline),
                    find(prefetch, threads, other),
                ) else {
                    continue;
                };
                let column = |row: &Row| {
                    format!(
                        "{:>9.0} {:>9.0} {:>+7.1} %{}",
                        row.published,
                        row.simulated,
                        100.0 * (row.simulated / row.published - 1.0),
                        if row.calibrated { '*' } else { ' ' }
                    )
                };
                let published = 100.0 * (o.published / b.published - 1.0);
                let simulated = 100.0 * (o.simulated / b.simulated - 1.0);
                errors.push((b.simulated / b.published - 1.0).abs());
                points.push((simulated - published).abs());
                if threads >= 4 {
                    signs.1 += 1;
                    signs.0 += usize::from(published.signum() == simulated.signum());
                }
                let _ = writeln!(
                    text,
                    "{threads:>7} | {} | {} | {published:>+6.1} {simulated:>+6.1} {:>+6.1}",
                    column(b),
                    column(o),
                    simulated - published
                );
            }
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
            let _ = writeln!(
                text,
                "{:>7}   {baseline}: mean absolute error {:.1} %; change: {:.1} points, sign right at {} of {} from 4 threads on",
                "",
                100.0 * mean(&errors),
                mean(&points),
                signs.0,
                signs.1
            );
        }
    }
    let _ = writeln!(
        text,
        "\n* used for calibration; every other cell, and every change, is predicted\n{}",
        table.source
    );
    text
}
