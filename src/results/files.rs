//! `samples.csv` and `verdicts.csv`: rows to cells and back.
//!
//! Here: the order and meaning of the columns. Not here: CSV itself (`cells`), the folder the
//! files lie in (`folder`).

use super::cells::{self, CellValue, CsvFile, CsvLine};
use crate::error::{Error, Result};
use crate::experiment::{Arm, BackendKind, Point, Sample, Scenario, Stratum, check_margin};
use crate::judge::{Compared, VerdictRow};
use crate::machine::Placement;
use crate::stats::Verdict;
use std::path::{Path, PathBuf};

/// Version of `samples.csv`, in its column `schema`. A file without that column is of version 1,
/// and ends its fixed columns with `first_slot`. A new column, or a new word in one that has fixed
/// words, makes a new version.
pub const SCHEMA: u32 = 3;

/// Columns in their order, each with the field that it shows: names, cells, and cells read.
macro_rules! columns {
    ($(#[$meta:meta])* $names:ident, $print:ident, $read:ident: $row:ty {
        $($name:literal $($field:ident).+,)*
    }) => {
        $(#[$meta])*
        pub const $names: &[&str] = &[$($name),*];

        fn $print(row: &$row) -> Vec<String> {
            vec![$(row.$($field).+.print()),*]
        }

        fn $read(line: &CsvLine, row: &mut $row) -> Result<()> {
            $(row.$($field).+ = CellValue::read(line, $name)?;)*
            Ok(())
        }
    };
}

columns! {
    /// The columns that every `samples.csv` begins with.
    SAMPLE_COLUMNS, print_sample, read_sample: Sample {
        "run" run,
        "backend" backend,
        "machine" machine,
        "layout" arm,
        "scenario" point.scenario,
        "placement" point.placement,
        "threads" point.threads,
        "prefetch" prefetch,
        "block" block,
        "order" order,
        "faults" faults,
        "seconds" seconds,
        "faults_per_second" faults_per_second,
        "ns_per_fault" ns_per_fault,
        "slowest_thread_faults" slowest_thread_faults,
        "fastest_thread_faults" fastest_thread_faults,
        "probe_ns" probe_ns,
        "valid" valid,
        "invalid_reason" invalid_reason,
    }
}

columns! {
    /// The columns that follow [`SAMPLE_COLUMNS`] in version 1.
    SAMPLE_COLUMNS_1, print_sample_1, read_sample_1: Sample {
        "accesses" accesses,
        "wall_seconds" wall_seconds,
        "first_slot" first_slot,
    }
}

/// The column that tells versions apart; it follows those of version 1.
const VERSION: &str = "schema";

columns! {
    /// The columns that follow `schema`.
    SAMPLE_COLUMNS_2, print_sample_2, read_sample_2: Sample {
        "host" host,
        "label" label,
        "boot_id" boot_id,
        "baseline" baseline,
        "margin" margin,
        "blocks_planned" blocks_planned,
        "slot" stratum.slot,
        "transfer_ns" stratum.transfer_ns,
        "pace" stratum.pace,
        "attempts" attempts,
        "role" role,
        "invalid_code" invalid_code,
        "code" code,
    }
}

columns! {
    /// The columns that every `verdicts.csv` begins with.
    VERDICT_COLUMNS, print_verdict, read_verdict: VerdictRow {
        "backend" backend,
        "machine" machine,
        "scenario" point.scenario,
        "placement" point.placement,
        "threads" point.threads,
        "prefetch" prefetch,
        "baseline" baseline,
        "layout" arm,
        "ratio" ratio,
        "ratio_low" ratio_low,
        "ratio_high" ratio_high,
        "verdict" verdict,
        "blocks" blocks,
        "blocks_invalid" blocks_invalid,
    }
}

columns! {
    /// The columns that follow them since version 2.
    VERDICT_COLUMNS_2, print_verdict_2, read_verdict_2: VerdictRow {
        "slot" stratum.slot,
        "transfer_ns" stratum.transfer_ns,
        "pace" stratum.pace,
        "role" role,
        "run" run,
        "label" label,
        "depends_on" depends_on,
        "tail_share" tail_share,
        "tail_ratio" tail_ratio,
    }
}

/// The columns between those that every `samples.csv` begins with and the counters. `hitm` writes
/// them all, a file from elsewhere may lack some.
pub fn further_sample_columns() -> impl Iterator<Item = &'static str> {
    let (first, second) = (SAMPLE_COLUMNS_1.iter(), SAMPLE_COLUMNS_2.iter());
    first.chain([&VERSION]).chain(second).copied()
}

/// What a `samples.csv` holds.
#[derive(Debug)]
pub struct SamplesFile {
    /// The rows, in the order of the file.
    pub samples: Vec<Sample>,
    /// The line that each row begins at, from 1.
    pub(super) lines: Vec<usize>,
    /// The byte that each row begins at.
    pub(super) starts: Vec<u64>,
    /// The roles of the counter columns, in the order of the file.
    pub counters: Vec<String>,
    /// Whether it has every column that this version of `hitm` writes.
    pub(super) complete: bool,
    /// What was passed over while reading, a sentence each.
    pub warnings: Vec<String>,
    /// Bytes up to the end of the last whole line.
    pub(super) whole_bytes: u64,
}

/// The `samples.csv` that `path` names: the file itself, or the one in the run folder `path`.
pub fn samples_path(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join("samples.csv")
    } else {
        path.to_owned()
    }
}

/// Read a `samples.csv`. A last line that was cut off is dropped and a warning says so; anything
/// else that is not as the contract has it is an [`Error::Input`] with file, line and column.
pub fn read_samples(path: &Path) -> Result<SamplesFile> {
    let file = CsvFile::read(path, SAMPLE_COLUMNS)?;
    for row in file.rows() {
        match Option::<u32>::read(&row, VERSION)?.unwrap_or(1) {
            1..=SCHEMA => {}
            0 => return Err(row.wrong(VERSION, "at least 1")),
            _ => {
                return Err(Error::Input(format!(
                    "{}: written by a later version of hitm, which has schema {SCHEMA} at most here",
                    path.display()
                )));
            }
        }
    }
    let rest = &file.header[SAMPLE_COLUMNS.len()..];
    let mut further = further_sample_columns();
    let counters: Vec<String> = rest
        .iter()
        .skip_while(|name| further.any(|column| column == name.as_str()))
        .cloned()
        .collect();
    if let Some(stray) = counters
        .iter()
        .find(|name| further_sample_columns().any(|column| column == *name))
    {
        return Err(Error::Input(format!(
            "{}: the column '{stray}' stands among the counters; after {} come {}, then counters",
            path.display(),
            SAMPLE_COLUMNS[SAMPLE_COLUMNS.len() - 1],
            further_sample_columns().collect::<Vec<_>>().join(",")
        )));
    }
    let samples = file
        .rows()
        .map(|row| sample(&row, &counters))
        .collect::<Result<_>>()?;
    Ok(SamplesFile {
        samples,
        lines: file.rows().map(|row| row.line).collect(),
        starts: file.rows().map(|row| row.start).collect(),
        counters,
        complete: further_sample_columns().all(|name| rest.iter().any(|there| there == name)),
        warnings: file.warning.into_iter().collect(),
        whole_bytes: file.whole_bytes,
    })
}

fn sample(row: &CsvLine, counters: &[String]) -> Result<Sample> {
    let mut sample = Sample::new(Arm::Again, nowhere());
    read_sample(row, &mut sample)?;
    read_sample_1(row, &mut sample)?;
    read_sample_2(row, &mut sample)?;
    check_threads(row, &sample.point)?;
    if sample
        .margin
        .is_some_and(|margin| check_margin(margin).is_err())
    {
        return Err(row.wrong("margin", "a fraction from 0 to 1"));
    }
    if sample.seconds.is_nan() || sample.seconds < 0.0 {
        return Err(row.wrong("seconds", "at least 0"));
    }
    if sample.ns_per_fault <= 0.0 {
        return Err(row.wrong("ns_per_fault", "a time above 0"));
    }
    for role in counters {
        if let Some(value) = Option::read(row, role)? {
            sample.counters.insert(role.clone(), value);
        }
    }
    Ok(sample)
}

/// A point that cells are still to be read into.
fn nowhere() -> Point {
    Point {
        scenario: Scenario::Case(String::new()),
        placement: Placement::Compact,
        threads: 0,
    }
}

fn check_threads(row: &CsvLine, point: &Point) -> Result<()> {
    match point.threads {
        0 => Err(row.wrong("threads", "at least 1")),
        _ => Ok(()),
    }
}

/// The header line of a `samples.csv` with these counters.
pub(super) fn samples_header(counters: &[String]) -> Vec<u8> {
    let columns = SAMPLE_COLUMNS.iter().copied();
    let columns = columns.chain(further_sample_columns()).map(str::to_owned);
    cells::lines([columns.chain(counters.iter().cloned())])
}

/// The lines of `samples`, without the header.
pub(super) fn samples_lines<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
    counters: &[String],
) -> Vec<u8> {
    cells::lines(samples.into_iter().map(|sample| {
        let counters = counters.iter();
        let counters = counters.map(|role| sample.counters.get(role).copied().print());
        print_sample(sample)
            .into_iter()
            .chain(print_sample_1(sample))
            .chain([SCHEMA.to_string()])
            .chain(print_sample_2(sample))
            .chain(counters)
    }))
}

/// Read a `verdicts.csv`; columns after those of the contract are passed over.
pub fn read_verdicts(path: &Path) -> Result<Vec<VerdictRow>> {
    let file = CsvFile::read(path, VERDICT_COLUMNS)?;
    let read = |row: CsvLine| {
        let mut verdict = VerdictRow {
            backend: BackendKind::Native,
            machine: String::new(),
            point: nowhere(),
            prefetch: Compared::AsIs,
            baseline: Arm::Again,
            arm: Arm::Again,
            ratio: None,
            ratio_low: None,
            ratio_high: None,
            verdict: Verdict::Inconclusive,
            depends_on: String::new(),
            tail_share: None,
            tail_ratio: None,
            blocks: 0,
            blocks_invalid: 0,
            stratum: Stratum::default(),
            role: None,
            run: String::new(),
            label: String::new(),
        };
        read_verdict(&row, &mut verdict)?;
        read_verdict_2(&row, &mut verdict)?;
        check_threads(&row, &verdict.point)?;
        Ok(verdict)
    };
    file.rows().map(read).collect()
}

/// A `verdicts.csv`. `further` names columns to put after those of the contract, and gives their
/// figure for a row; empty where there is none.
pub fn verdicts_csv(
    rows: &[VerdictRow],
    further: &[&str],
    figure: impl Fn(&VerdictRow, &str) -> Option<f64>,
) -> String {
    let columns = VERDICT_COLUMNS.iter().chain(VERDICT_COLUMNS_2);
    let header = columns.chain(further).map(|name| name.to_string());
    let body = rows.iter().map(|row| {
        let figures = further.iter().map(|name| figure(row, name).print());
        let cells = print_verdict(row).into_iter().chain(print_verdict_2(row));
        cells.chain(figures).collect()
    });
    let lines: Vec<Vec<String>> = std::iter::once(header.collect()).chain(body).collect();
    String::from_utf8(cells::lines(lines)).expect("cells are strings")
}
