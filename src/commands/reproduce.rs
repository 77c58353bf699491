//! `hitm reproduce`: a published table beside the simulator's own numbers.

use super::options::Format;
use crate::error::Result;
use crate::sim::published::{self, PublishedFigure, PublishedTable, TABLES};
use std::fmt::Write as _;

/// Arguments of `hitm reproduce`.
#[derive(clap::Args)]
pub struct Args {
    /// The table; without one, the tables are listed
    name: Option<String>,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let Some(name) = &args.name else {
        let list: String = TABLES
            .iter()
            .map(|table| format!("{:<18} {}\n", table.name, table.about))
            .collect();
        return super::print(&list);
    };
    let table = published::find(name)?;
    let cells = table.reproduce()?;
    super::print(&super::rows(args.format, &cells, |cells| {
        beside(table, cells)
    }))
}

/// Published beside simulated, with residuals.
fn beside(table: &PublishedTable, cells: &[PublishedFigure]) -> String {
    let mut out = format!("{}\n{}, {}\n\n", table.about, table.name, table.unit);
    let _ = writeln!(
        out,
        "{:>7} {:>8}  {:<20} {:>12} {:>12} {:>8}",
        "threads", "prefetch", "layout", "published", "simulated", "error"
    );
    for cell in cells {
        let digits = if cell.published < 1000.0 { 1 } else { 0 };
        let _ = writeln!(
            out,
            "{:>7} {:>8}  {:<20} {:>12.digits$} {:>12.digits$} {:>+7.1}%",
            cell.threads,
            cell.prefetch,
            cell.layout,
            cell.published,
            cell.simulated,
            100.0 * cell.error()
        );
    }
    let _ = writeln!(out, "\nmean absolute error");
    let mut series: Vec<(&str, &str)> = cells.iter().map(|c| (c.prefetch, c.layout)).collect();
    series.sort();
    series.dedup();
    for (prefetch, layout) in series {
        let errors: Vec<f64> = cells
            .iter()
            .filter(|c| (c.prefetch, c.layout) == (prefetch, layout))
            .map(|c| c.error().abs())
            .collect();
        let _ = writeln!(
            out,
            "  {layout}, prefetch {prefetch}: {:.1} %",
            100.0 * mean(&errors)
        );
    }
    if let Some((from, to)) = table.change {
        out += &changes(cells, from, to);
    }
    let _ = writeln!(out, "\ncalibrated on: {}", table.calibrated);
    out
}

/// The change from one layout to another, published and simulated.
fn changes(cells: &[PublishedFigure], from: &str, to: &str) -> String {
    let mut out = format!("\nchange from {from} to {to}\n");
    let _ = writeln!(
        out,
        "{:>7} {:>8} {:>10} {:>10} {:>10}",
        "threads", "prefetch", "published", "simulated", "residual"
    );
    for prefetch in ["on", "off"] {
        let mut residuals = Vec::new();
        for before in cells
            .iter()
            .filter(|c| c.layout == from && c.prefetch == prefetch)
        {
            let Some(after) = cells
                .iter()
                .find(|c| c.layout == to && c.prefetch == prefetch && c.threads == before.threads)
            else {
                continue;
            };
            let published = 100.0 * (after.published / before.published - 1.0);
            let simulated = 100.0 * (after.simulated / before.simulated - 1.0);
            residuals.push((simulated - published).abs());
            let _ = writeln!(
                out,
                "{:>7} {:>8} {:>+9.1}% {:>+9.1}% {:>+10.1}",
                before.threads,
                prefetch,
                published,
                simulated,
                simulated - published
            );
        }
        let _ = writeln!(
            out,
            "  prefetch {prefetch}: mean absolute residual {:.2} points",
            mean(&residuals)
        );
    }
    out
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}
