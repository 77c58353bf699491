//! `samples.csv` and `verdicts.csv`: rows to cells and back.
//!
//! Here: the order and meaning of the columns. Not here: CSV itself (`cells`), the folder the
//! files lie in (`folder`).

use super::cells::{self, CsvFile, Row, number, or_empty};
use super::row::{SAMPLE_COLUMNS, SAMPLE_FURTHER_COLUMNS, Sample, VERDICT_COLUMNS, VerdictRow};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// What a `samples.csv` holds.
#[derive(Debug)]
pub struct SamplesFile {
    /// The rows, in the order of the file.
    pub samples: Vec<Sample>,
    /// The roles of the counter columns, in the order of the file.
    pub counters: Vec<String>,
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
    let file = CsvFile::read(path, &SAMPLE_COLUMNS)?;
    let rest = &file.header[SAMPLE_COLUMNS.len()..];
    let mut further = SAMPLE_FURTHER_COLUMNS.iter();
    let counters: Vec<String> = rest
        .iter()
        .skip_while(|name| further.any(|column| column == name))
        .cloned()
        .collect();
    if let Some(stray) = counters
        .iter()
        .find(|name| SAMPLE_FURTHER_COLUMNS.contains(&name.as_str()))
    {
        return Err(Error::Input(format!(
            "{}: the column '{stray}' stands among the counters; after {} come {}, then counters",
            path.display(),
            SAMPLE_COLUMNS[SAMPLE_COLUMNS.len() - 1],
            SAMPLE_FURTHER_COLUMNS.join(",")
        )));
    }
    let samples = file
        .rows()
        .map(|row| sample(&row, &counters))
        .collect::<Result<_>>()?;
    Ok(SamplesFile {
        samples,
        counters,
        warnings: file.warning.into_iter().collect(),
        whole_bytes: file.whole_bytes,
    })
}

fn sample(row: &Row, counters: &[String]) -> Result<Sample> {
    let threads = row.whole("threads")?;
    if threads == 0 {
        return Err(row.wrong("threads", "at least 1"));
    }
    let seconds = row.number("seconds")?;
    if seconds < 0.0 {
        return Err(row.wrong("seconds", "at least 0"));
    }
    Ok(Sample {
        run: row.text("run")?,
        backend: row.text("backend")?,
        machine: row.text("machine")?,
        layout: row.text("layout")?,
        scenario: row.text("scenario")?,
        placement: row.text("placement")?,
        threads,
        prefetch: row.text("prefetch")?,
        block: row.whole("block")?,
        order: row.whole("order")?,
        faults: row.whole("faults")?,
        seconds,
        faults_per_second: row
            .number_or_empty("faults_per_second")?
            .unwrap_or(f64::NAN),
        ns_per_fault: row.number_or_empty("ns_per_fault")?.unwrap_or(f64::NAN),
        slowest_thread_faults: row.whole("slowest_thread_faults")?,
        fastest_thread_faults: row.whole("fastest_thread_faults")?,
        probe_ns: row.number_or_empty("probe_ns")?,
        valid: row.truth("valid")?,
        invalid_reason: row.text("invalid_reason")?,
        accesses: row.whole_or_empty("accesses")?,
        wall_seconds: row.number_or_empty("wall_seconds")?,
        first_slot: row.whole_or_empty("first_slot")?,
        counters: counters
            .iter()
            .filter_map(|role| match row.number_or_empty(role) {
                Ok(value) => value.map(|value| Ok((role.clone(), value))),
                Err(error) => Some(Err(error)),
            })
            .collect::<Result<_>>()?,
    })
}

/// The header line of a `samples.csv` with these counters.
pub(super) fn samples_header(counters: &[String]) -> Vec<u8> {
    let columns = SAMPLE_COLUMNS.iter().chain(&SAMPLE_FURTHER_COLUMNS);
    cells::lines([columns
        .map(|name| name.to_string())
        .chain(counters.iter().cloned())])
}

/// The lines of `samples`, without the header.
pub(super) fn samples_lines(samples: &[Sample], counters: &[String]) -> Vec<u8> {
    cells::lines(samples.iter().map(|s| {
        let mut cells = vec![
            s.run.clone(),
            s.backend.clone(),
            s.machine.clone(),
            s.layout.clone(),
            s.scenario.clone(),
            s.placement.clone(),
            s.threads.to_string(),
            s.prefetch.clone(),
            s.block.to_string(),
            s.order.to_string(),
            s.faults.to_string(),
            number(s.seconds),
            number(s.faults_per_second),
            number(s.ns_per_fault),
            s.slowest_thread_faults.to_string(),
            s.fastest_thread_faults.to_string(),
            or_empty(s.probe_ns, number),
            s.valid.to_string(),
            s.invalid_reason.clone(),
            or_empty(s.accesses, |n| n.to_string()),
            or_empty(s.wall_seconds, number),
            or_empty(s.first_slot, |n| n.to_string()),
        ];
        cells.extend(
            counters
                .iter()
                .map(|role| or_empty(s.counters.get(role).copied(), number)),
        );
        cells
    }))
}

/// Read a `verdicts.csv`; columns after those of the contract are passed over.
pub fn read_verdicts(path: &Path) -> Result<Vec<VerdictRow>> {
    let file = CsvFile::read(path, &VERDICT_COLUMNS)?;
    file.rows()
        .map(|row| {
            Ok(VerdictRow {
                backend: row.text("backend")?,
                machine: row.text("machine")?,
                scenario: row.text("scenario")?,
                placement: row.text("placement")?,
                threads: row.whole("threads")?,
                prefetch: row.text("prefetch")?,
                baseline: row.text("baseline")?,
                layout: row.text("layout")?,
                ratio: row.number_or_empty("ratio")?,
                ratio_low: row.number_or_empty("ratio_low")?,
                ratio_high: row.number_or_empty("ratio_high")?,
                verdict: row.text("verdict")?,
                blocks: row.whole("blocks")?,
                blocks_invalid: row.whole("blocks_invalid")?,
            })
        })
        .collect()
}

/// The cells of one verdict, in the order of [`VERDICT_COLUMNS`].
fn verdict_cells(v: &VerdictRow) -> Vec<String> {
    vec![
        v.backend.clone(),
        v.machine.clone(),
        v.scenario.clone(),
        v.placement.clone(),
        v.threads.to_string(),
        v.prefetch.clone(),
        v.baseline.clone(),
        v.layout.clone(),
        or_empty(v.ratio, number),
        or_empty(v.ratio_low, number),
        or_empty(v.ratio_high, number),
        v.verdict.clone(),
        v.blocks.to_string(),
        v.blocks_invalid.to_string(),
    ]
}

/// A `verdicts.csv`. `further` names columns to put after those of the contract, and gives their
/// figure for a row; empty where there is none.
pub fn verdicts_csv(
    rows: &[VerdictRow],
    further: &[&str],
    figure: impl Fn(&VerdictRow, &str) -> Option<f64>,
) -> String {
    let header: Vec<String> = VERDICT_COLUMNS
        .iter()
        .chain(further)
        .map(|name| name.to_string())
        .collect();
    let body = rows.iter().map(|row| {
        let mut cells = verdict_cells(row);
        cells.extend(
            further
                .iter()
                .map(|name| or_empty(figure(row, name), number)),
        );
        cells
    });
    let bytes = cells::lines(std::iter::once(header).chain(body));
    String::from_utf8(bytes).expect("cells are strings")
}
