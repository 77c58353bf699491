//! `hitm reproduce`: a published table beside the simulator's own numbers.

use super::options::Format;
use super::reproduce_case;
use crate::case::Case;
use crate::error::{Error, Result};
use crate::report::columns::Columns;
use crate::sim::published::{self, PublishedFigure, PublishedTable, TABLES};
use std::fmt::Write as _;

/// Arguments of `hitm reproduce`.
#[derive(clap::Args)]
pub struct Args {
    /// A table, a case, or the file of a case; without one, tables and cases are listed
    #[arg(value_name = "NAME|FILE")]
    name: Option<String>,
    /// Every case that comes with hitm
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    if args.all {
        let mut rows = Vec::new();
        for name in Case::names() {
            rows.extend(reproduce_case::reproduce(Case::load(name)?)?);
        }
        return super::print(&reproduce_case::render(args.format, &rows));
    }
    let Some(name) = &args.name else {
        let mut list = Columns::new("<<");
        TABLES
            .iter()
            .for_each(|table| list.row([table.name, table.about]));
        for name in Case::names() {
            let case = Case::load(name)?;
            if !case.published.is_empty() {
                list.row([name, &case.about]);
            }
        }
        return super::print(&list.to_string());
    };
    if TABLES.iter().all(|table| table.name != name) {
        let case = find(name)?;
        if case.published.is_empty() {
            return Err(Error::Input(format!(
                "case '{}' has no published changes to reproduce; add [[published]] to it",
                case.name
            )));
        }
        let rows = reproduce_case::reproduce(case)?;
        return super::print(&reproduce_case::render(args.format, &rows));
    }
    let table = published::find(name)?;
    let cells = table.reproduce()?;
    super::print(&super::rows(args.format, &cells, |cells| {
        beside(table, cells)
    }))
}

/// The case of that name or in that file; an unknown name is that of no table either.
fn find(name: &str) -> Result<Case> {
    let is_file = name.ends_with(".toml") || name.contains('/');
    if !is_file && Case::names().all(|case| case != name) {
        let tables = TABLES.iter().map(|table| table.name);
        return Err(Error::unknown(
            "table or case",
            name,
            tables.chain(Case::names()),
        ));
    }
    Case::load(name)
}

/// Published beside simulated, with residuals.
fn beside(table: &PublishedTable, cells: &[PublishedFigure]) -> String {
    let mut rows = Columns::new(">><>>>");
    rows.row([
        "threads",
        "prefetch",
        "layout",
        "published",
        "simulated",
        "error",
    ]);
    for cell in cells {
        let digits = if cell.published < 1000.0 { 1 } else { 0 };
        rows.row([
            cell.threads.to_string(),
            cell.prefetch.to_owned(),
            cell.layout.to_owned(),
            format!("{:.digits$}", cell.published),
            format!("{:.digits$}", cell.simulated),
            format!("{:+.1}%", 100.0 * cell.error()),
        ]);
    }
    let PublishedTable {
        about, name, unit, ..
    } = table;
    let mut out = format!("{about}\n{name}, {unit}\n\n{rows}\nmean absolute error\n");
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
    let mut rows = Columns::new(">>>>>");
    rows.row(["threads", "prefetch", "published", "simulated", "residual"]);
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
            rows.row([
                before.threads.to_string(),
                prefetch.to_owned(),
                format!("{published:+.1}%"),
                format!("{simulated:+.1}%"),
                format!("{:+.1}", simulated - published),
            ]);
        }
        rows.text(format!(
            "  prefetch {prefetch}: mean absolute residual {:.2} points\n",
            mean(&residuals)
        ));
    }
    format!("\nchange from {from} to {to}\n{rows}")
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}
