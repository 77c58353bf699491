//! Published tables, and how each is simulated: a CSV of facts and a TOML beside it.
//!
//! Not here: the simulation (`sim`) and the comparison that a person reads
//! (`commands::reproduce`).

use crate::error::{Error, Result};
use crate::layout;
use crate::machine::Placement;
use crate::scenario;
use serde::Deserialize;

/// One cell: what was measured, elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Threads.
    pub threads: usize,
    /// `on` or `off`.
    pub prefetch: String,
    /// The layout.
    pub layout: layout::BuiltIn,
    /// The figure, in the table's unit.
    pub published: f64,
}

/// A published table and how it is simulated.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its name.
    pub name: &'static str,
    /// Its cells.
    pub cells: Vec<Cell>,
    /// How it is simulated.
    pub how: How,
    /// Its source: the comment at the head of its CSV.
    pub source: String,
}

/// How a table is simulated.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct How {
    /// What it shows, in one line.
    pub title: String,
    /// What its figures are in.
    pub unit: String,
    /// Name of the machine model.
    pub machine: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Placement of the threads.
    pub placement: String,
    /// The layouts, the baseline first.
    pub layouts: Vec<String>,
    /// Local work while the VMA is locked, in nanoseconds.
    pub work_inside_ns: u32,
    /// Local work between two faults, in nanoseconds.
    pub work_outside_ns: u32,
    /// Local work before every access of the path, in nanoseconds.
    pub work_per_access_ns: f64,
    /// Faults of one thread, on average, that a cell is simulated for.
    pub faults_per_thread: u64,
    /// Which cells were used for calibration; all others are predicted.
    pub calibrated: Vec<Calibrated>,
}

/// A column that was used for calibration, or one cell of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibrated {
    /// `on` or `off`.
    pub prefetch: String,
    /// Name of the layout.
    pub layout: String,
    /// The cell; the whole column if absent.
    pub threads: Option<usize>,
}

macro_rules! published {
    ($($name:literal),* $(,)?) => {
        const TABLES: &[(&str, &str, &str)] = &[$((
            $name,
            include_str!(concat!($name, ".csv")),
            include_str!(concat!($name, ".toml")),
        )),*];
    };
}

// One line a table; its files are in this folder.
published! {
    "broadwell-pft",
}

impl Published {
    /// All tables.
    pub fn all() -> Result<Vec<Published>> {
        TABLES
            .iter()
            .map(|(name, csv, toml)| Published::read(name, csv, toml))
            .collect()
    }

    /// The table of that name.
    pub fn find(name: &str) -> Result<Published> {
        let names = || TABLES.iter().map(|(name, _, _)| *name);
        let found = TABLES.iter().find(|(table, _, _)| *table == name);
        let (name, csv, toml) =
            found.ok_or_else(|| Error::unknown("published table", name, names()))?;
        Published::read(name, csv, toml)
    }

    fn read(name: &'static str, text: &str, how: &str) -> Result<Published> {
        let wrong = |what: String| Error::Input(format!("published table {name}: {what}"));
        let how: How = toml::from_str(how).map_err(|e| wrong(e.to_string()))?;
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        let header = reader.headers().map_err(|e| wrong(e.to_string()))?.clone();
        let mut cells = Vec::new();
        for row in reader.records() {
            let row = row.map_err(|e| wrong(e.to_string()))?;
            let number = |i: usize| {
                row[i]
                    .parse::<f64>()
                    .map_err(|e| wrong(format!("{}: {e}", &row[i])))
            };
            for column in 2..header.len() {
                cells.push(Cell {
                    threads: number(0)? as usize,
                    prefetch: row[1].to_owned(),
                    layout: layout::BuiltIn::parse(&header[column])?,
                    published: number(column)?,
                });
            }
        }
        let comment = text.lines().filter_map(|line| line.strip_prefix("# "));
        Ok(Published {
            name,
            cells,
            how,
            source: comment.collect::<Vec<_>>().join(" "),
        })
    }

    /// Whether a cell was used for calibration.
    pub fn is_calibrated(&self, cell: &Cell) -> bool {
        self.how.calibrated.iter().any(|used| {
            used.prefetch == cell.prefetch
                && used.layout == cell.layout.name()
                && used.threads.is_none_or(|threads| threads == cell.threads)
        })
    }

    /// The scenario.
    pub fn scenario(&self) -> Result<scenario::BuiltIn> {
        Ok(scenario::BuiltIn::parse(&self.how.scenario)?[0])
    }

    /// The placement.
    pub fn placement(&self) -> Result<Placement> {
        self.how.placement.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_can_be_read_and_names_what_exists() {
        for table in Published::all().unwrap() {
            assert!(!table.cells.is_empty() && table.source.contains("Source:"));
            table.scenario().unwrap();
            table.placement().unwrap();
            let layouts = table
                .how
                .layouts
                .iter()
                .map(|l| layout::BuiltIn::parse(l).unwrap());
            for layout in layouts {
                assert!(table.cells.iter().any(|cell| cell.layout == layout));
            }
        }
    }

    #[test]
    fn broadwell_is_calibrated_on_one_column_and_one_cell() {
        let table = Published::find("broadwell-pft").unwrap();
        let used = table.cells.iter().filter(|cell| table.is_calibrated(cell));
        assert_eq!(used.count(), 8 + 1);
        assert_eq!(table.cells.len(), 32);
    }
}
