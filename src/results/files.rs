//! `samples.csv` and `verdicts.csv`: rows to cells and back.
//!
//! Here: the order and meaning of the columns. Not here: CSV itself (`cells`), the folder the
//! files lie in (`folder`).

use super::cells::{self, CsvFile, CsvLine, number, or_empty};
use crate::error::{Error, Result};
use crate::experiment::{Code, Point, Sample, Stratum};
use crate::judge::VerdictRow;
use std::path::{Path, PathBuf};

/// Version of `samples.csv`, in its column `schema`. A file without that column is of version 1,
/// and ends its fixed columns with `first_slot`. A new column, or a new word in one that has fixed
/// words, makes a new version.
pub const SCHEMA: u32 = 2;

/// The columns that every `samples.csv` begins with.
pub const SAMPLE_COLUMNS: [&str; 19] = [
    "run",
    "backend",
    "machine",
    "layout",
    "scenario",
    "placement",
    "threads",
    "prefetch",
    "block",
    "order",
    "faults",
    "seconds",
    "faults_per_second",
    "ns_per_fault",
    "slowest_thread_faults",
    "fastest_thread_faults",
    "probe_ns",
    "valid",
    "invalid_reason",
];

/// The columns that follow [`SAMPLE_COLUMNS`]; `hitm` writes them all, a file from elsewhere may
/// lack them. Whatever stands after them is a counter.
pub const SAMPLE_FURTHER_COLUMNS: [&str; 14] = [
    "accesses",
    "wall_seconds",
    "first_slot",
    "schema",
    "host",
    "label",
    "boot_id",
    "baseline",
    "blocks_planned",
    "slot",
    "transfer_ns",
    "pace",
    "role",
    "invalid_code",
];

/// The columns of `verdicts.csv`. Files of version 1 end with `blocks_invalid`.
pub const VERDICT_COLUMNS: [&str; 18] = [
    "backend",
    "machine",
    "scenario",
    "placement",
    "threads",
    "prefetch",
    "baseline",
    "layout",
    "ratio",
    "ratio_low",
    "ratio_high",
    "verdict",
    "blocks",
    "blocks_invalid",
    "slot",
    "transfer_ns",
    "pace",
    "role",
];

/// What a `samples.csv` holds.
#[derive(Debug)]
pub struct SamplesFile {
    /// The rows, in the order of the file.
    pub samples: Vec<Sample>,
    /// The roles of the counter columns, in the order of the file.
    pub counters: Vec<String>,
    /// Version of the file, as its column `schema` says.
    pub schema: u32,
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
    for row in file.rows() {
        match row.whole_or_empty::<u32>("schema")?.unwrap_or(1) {
            1..=SCHEMA => {}
            0 => return Err(row.wrong("schema", "at least 1")),
            _ => {
                return Err(Error::Input(format!(
                    "{}: written by a later version of hitm, which has schema {SCHEMA} at most here",
                    path.display()
                )));
            }
        }
    }
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
        schema: match file.header.iter().any(|name| name == "schema") {
            true => SCHEMA,
            false => 1,
        },
        warnings: file.warning.into_iter().collect(),
        whole_bytes: file.whole_bytes,
    })
}

fn sample(row: &CsvLine, counters: &[String]) -> Result<Sample> {
    let seconds = row.number("seconds")?;
    if seconds < 0.0 {
        return Err(row.wrong("seconds", "at least 0"));
    }
    let codes = row.text("invalid_code")?;
    let codes = codes.split(';').filter(|code| !code.is_empty());
    Ok(Sample {
        run: row.text("run")?,
        backend: row.parsed("backend")?,
        machine: row.text("machine")?,
        arm: row.parsed("layout")?,
        point: point(row)?,
        prefetch: row.parsed("prefetch")?,
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
        invalid_code: codes
            .map(|code| code.parse::<Code>())
            .collect::<Result<_>>()
            .map_err(|_| {
                let known: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
                row.wrong("invalid_code", &format!("some of {}", known.join(";")))
            })?,
        accesses: row.whole_or_empty("accesses")?,
        wall_seconds: row.number_or_empty("wall_seconds")?,
        first_slot: row.whole_or_empty("first_slot")?,
        host: row.text("host")?,
        label: row.text("label")?,
        boot_id: row.text("boot_id")?,
        baseline: row.parsed_or_empty("baseline")?,
        blocks_planned: row.whole_or_empty("blocks_planned")?,
        stratum: stratum(row)?,
        role: row.text("role")?,
        counters: counters
            .iter()
            .filter_map(|role| match row.number_or_empty(role) {
                Ok(value) => value.map(|value| Ok((role.clone(), value))),
                Err(error) => Some(Err(error)),
            })
            .collect::<Result<_>>()?,
    })
}

fn point(row: &CsvLine) -> Result<Point> {
    let threads = row.whole("threads")?;
    if threads == 0 {
        return Err(row.wrong("threads", "at least 1"));
    }
    Ok(Point {
        scenario: row.parsed("scenario")?,
        placement: row.parsed("placement")?,
        threads,
    })
}

/// Three cells of samples and verdicts alike.
fn stratum(row: &CsvLine) -> Result<Stratum> {
    Ok(Stratum {
        slot: row.whole_or_empty("slot")?,
        transfer_ns: row.parsed_or_empty("transfer_ns")?,
        pace: row.text("pace")?,
    })
}

fn stratum_cells(stratum: &Stratum) -> [String; 3] {
    [
        or_empty(stratum.slot, |slot| slot.to_string()),
        or_empty(stratum.transfer_ns, |bin| bin.to_string()),
        stratum.pace.clone(),
    ]
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
            s.backend.to_string(),
            s.machine.clone(),
            s.arm.to_string(),
            s.point.scenario.to_string(),
            s.point.placement.to_string(),
            s.point.threads.to_string(),
            s.prefetch.to_string(),
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
            SCHEMA.to_string(),
            s.host.clone(),
            s.label.clone(),
            s.boot_id.clone(),
            or_empty(s.baseline.as_ref(), |arm| arm.to_string()),
            or_empty(s.blocks_planned, |n| n.to_string()),
        ];
        cells.extend(stratum_cells(&s.stratum));
        cells.push(s.role.clone());
        let codes: Vec<&str> = s.invalid_code.iter().map(|code| code.name()).collect();
        cells.push(codes.join(";"));
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
    // What follows `blocks_invalid` came with version 2.
    let file = CsvFile::read(path, &VERDICT_COLUMNS[..14])?;
    file.rows()
        .map(|row| {
            Ok(VerdictRow {
                backend: row.parsed("backend")?,
                machine: row.text("machine")?,
                point: point(&row)?,
                prefetch: row.parsed("prefetch")?,
                baseline: row.parsed("baseline")?,
                arm: row.parsed("layout")?,
                ratio: row.number_or_empty("ratio")?,
                ratio_low: row.number_or_empty("ratio_low")?,
                ratio_high: row.number_or_empty("ratio_high")?,
                verdict: row.parsed("verdict")?,
                blocks: row.whole("blocks")?,
                blocks_invalid: row.whole("blocks_invalid")?,
                stratum: stratum(&row)?,
                role: row.text("role")?,
            })
        })
        .collect()
}

/// The cells of one verdict, in the order of [`VERDICT_COLUMNS`].
fn verdict_cells(v: &VerdictRow) -> Vec<String> {
    let mut cells = vec![
        v.backend.to_string(),
        v.machine.clone(),
        v.point.scenario.to_string(),
        v.point.placement.to_string(),
        v.point.threads.to_string(),
        v.prefetch.to_string(),
        v.baseline.to_string(),
        v.arm.to_string(),
        or_empty(v.ratio, number),
        or_empty(v.ratio_low, number),
        or_empty(v.ratio_high, number),
        v.verdict.to_string(),
        v.blocks.to_string(),
        v.blocks_invalid.to_string(),
    ];
    cells.extend(stratum_cells(&v.stratum));
    cells.push(v.role.clone());
    cells
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
