//! A CSV file as a header and rows of cells, with errors that name file, line and column.
//!
//! Here: comment lines, torn last lines, cells to values and back. Not here: which columns there
//! are (`files`).

use crate::error::{Error, Result};
use crate::experiment::{Arm, BackendKind, Code, Pace, Prefetch, Scenario, TransferBin};
use crate::judge::Compared;
use crate::machine::Placement;
use crate::stats::Verdict;
use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use std::path::{Path, PathBuf};

/// A CSV file in memory.
pub(super) struct CsvFile {
    path: PathBuf,
    pub header: Vec<String>,
    rows: Vec<Row>,
    /// Length in bytes of the part that ends with a whole line.
    pub whole_bytes: u64,
    /// Said when the last line was cut off.
    pub warning: Option<String>,
}

struct Row {
    /// Number of the line it begins in, from 1.
    line: usize,
    /// The byte of the file that it begins at.
    start: u64,
    record: StringRecord,
}

impl CsvFile {
    /// Read `path`, whose header must begin with `columns`.
    pub fn read(path: &Path, columns: &[&str]) -> Result<CsvFile> {
        let bytes = std::fs::read(path)
            .map_err(|e| Error::Input(format!("cannot read {}: {e}", path.display())))?;
        let whole = bytes
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let (text, torn) = bytes.split_at(whole);
        let warning = (!torn.is_empty()).then(|| {
            format!(
                "{}, line {}: the line has no end, as after a crash; it is dropped",
                path.display(),
                newlines(text) + 1
            )
        });
        let mut reader = ReaderBuilder::new()
            .comment(Some(b'#'))
            .has_headers(false)
            .from_reader(text);
        let mut rows = Vec::new();
        let mut header: Option<Vec<String>> = None;
        let (mut line, mut counted) = (1, 0);
        loop {
            let start = record_start(text, reader.position().byte() as usize);
            line += newlines(&text[counted..start]);
            counted = start;
            let mut record = StringRecord::new();
            match reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {}
                Err(error) => return Err(damaged(path, line, &error)),
            }
            match &header {
                None => header = Some(checked_header(path, columns, &record)?),
                // Files that were put one behind the other.
                Some(header) if record.iter().eq(header) => {}
                Some(_) => rows.push(Row {
                    line,
                    start: start as u64,
                    record,
                }),
            }
        }
        let header = header.ok_or_else(|| {
            Error::Input(format!(
                "{}: no line with the names of the columns; is this a CSV file of hitm?",
                path.display()
            ))
        })?;
        Ok(CsvFile {
            path: path.to_owned(),
            header,
            rows,
            whole_bytes: whole as u64,
            warning,
        })
    }

    pub fn rows(&self) -> impl Iterator<Item = CsvLine<'_>> {
        self.rows.iter().map(|row| CsvLine {
            file: self,
            line: row.line,
            start: row.start,
            record: &row.record,
        })
    }
}

/// The names in `record`, which must begin with `columns` and be distinct.
fn checked_header(path: &Path, columns: &[&str], record: &StringRecord) -> Result<Vec<String>> {
    let header: Vec<String> = record.iter().map(str::to_owned).collect();
    for (at, expected) in columns.iter().enumerate() {
        let problem = match header.get(at) {
            Some(found) if found == expected => continue,
            Some(found) if header.iter().any(|name| name == expected) => {
                format!("column {} is '{found}', expected '{expected}'", at + 1)
            }
            _ => format!("the column '{expected}' is missing"),
        };
        return Err(Error::Input(format!(
            "{}: {problem}; the header begins with {}",
            path.display(),
            columns.join(",")
        )));
    }
    for (at, name) in header.iter().enumerate() {
        if name.is_empty() || header[..at].contains(name) {
            return Err(Error::Input(format!(
                "{}: column {} of the header is {}; every column needs a name of its own",
                path.display(),
                at + 1,
                if name.is_empty() {
                    "empty".to_owned()
                } else {
                    format!("a second '{name}'")
                }
            )));
        }
    }
    Ok(header)
}

/// One line of a [`CsvFile`].
pub(super) struct CsvLine<'a> {
    file: &'a CsvFile,
    /// Its number in the file, from 1.
    pub line: usize,
    /// The byte of the file that it begins at.
    pub start: u64,
    record: &'a StringRecord,
}

impl<'a> CsvLine<'a> {
    fn cell(&self, column: &str) -> Option<&'a str> {
        let at = self.file.header.iter().position(|name| name == column)?;
        self.record.get(at)
    }

    /// The error of a cell that does not hold what it should.
    pub fn wrong(&self, column: &str, expected: &str) -> Error {
        Error::Input(format!(
            "{}, line {}, column {column}: '{}' found, {expected} expected",
            self.file.path.display(),
            self.line,
            self.cell(column).unwrap_or_default().escape_debug()
        ))
    }
}

/// What a cell holds: how it is printed, and read with an error that says where.
pub(super) trait CellValue: Sized {
    fn print(&self) -> String;
    fn read(line: &CsvLine, column: &str) -> Result<Self>;
}

impl CellValue for String {
    fn print(&self) -> String {
        self.clone()
    }

    fn read(line: &CsvLine, column: &str) -> Result<String> {
        let text = line.cell(column).unwrap_or_default();
        if text.contains(char::is_control) {
            return Err(line.wrong(column, "text without control characters"));
        }
        Ok(text.to_owned())
    }
}

impl CellValue for bool {
    fn print(&self) -> String {
        self.to_string()
    }

    fn read(line: &CsvLine, column: &str) -> Result<bool> {
        match line.cell(column) {
            // Spreadsheets write them in capitals.
            Some("true" | "TRUE") => Ok(true),
            Some("false" | "FALSE") => Ok(false),
            _ => Err(line.wrong(column, "true or false")),
        }
    }
}

/// A number that may not have been measured: not a number, and an empty cell.
impl CellValue for f64 {
    /// The shortest digits that read back as the same number.
    fn print(&self) -> String {
        match self.abs() {
            size if !size.is_finite() => String::new(),
            size if size != 0.0 && !(1e-5..1e17).contains(&size) => format!("{self:e}"),
            _ => self.to_string(),
        }
    }

    fn read(line: &CsvLine, column: &str) -> Result<f64> {
        match line.cell(column).unwrap_or_default() {
            "" => Ok(f64::NAN),
            text => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(value),
                _ => Err(line.wrong(column, "a number or an empty cell")),
            },
        }
    }
}

/// An empty cell is none.
impl<T: CellValue> CellValue for Option<T> {
    fn print(&self) -> String {
        self.as_ref().map(T::print).unwrap_or_default()
    }

    fn read(line: &CsvLine, column: &str) -> Result<Option<T>> {
        match line.cell(column).unwrap_or_default() {
            "" => Ok(None),
            _ => T::read(line, column).map(Some),
        }
    }
}

impl CellValue for Vec<Code> {
    fn print(&self) -> String {
        let codes: Vec<&str> = self.iter().map(|code| code.name()).collect();
        codes.join(";")
    }

    fn read(line: &CsvLine, column: &str) -> Result<Vec<Code>> {
        let codes = String::read(line, column)?;
        let codes = codes.split(';').filter(|code| !code.is_empty());
        let codes: Result<Vec<Code>> = codes.map(str::parse).collect();
        codes.map_err(|_| {
            let known: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
            line.wrong(column, &format!("some of {}", known.join(";")))
        })
    }
}

/// Types that are printed and parsed, and the error of a cell that cannot be.
macro_rules! parsed {
    ($wrong:expr; $($type:ty),*) => {
        $(impl CellValue for $type {
            fn print(&self) -> String {
                self.to_string()
            }

            fn read(line: &CsvLine, column: &str) -> Result<$type> {
                let text = String::read(line, column)?;
                text.parse().map_err(|why| $wrong(line, column, why))
            }
        })*
    };
}

parsed!(|line: &CsvLine, column, _| line.wrong(column, "a whole number"); u32, u64, usize);

// These say themselves what is wrong with a text.
parsed!(
    |line: &CsvLine, column, why: Error| {
        let (file, line) = (line.file.path.display(), line.line);
        Error::Input(format!("{file}, line {line}, column {column}: {why}"))
    };
    Arm, BackendKind, Compared, Pace, Placement, Prefetch, Scenario, TransferBin, Verdict
);

/// The bytes of CSV lines.
pub(super) fn lines<R, C>(rows: R) -> Vec<u8>
where
    R: IntoIterator<Item = C>,
    C: IntoIterator<Item = String>,
{
    let mut writer = WriterBuilder::new()
        .comment(Some(b'#'))
        .flexible(true)
        .from_writer(Vec::new());
    for row in rows {
        writer
            .write_record(row.into_iter().map(one_line))
            .expect("a write to memory does not fail");
    }
    writer
        .into_inner()
        .expect("a write to memory does not fail")
}

/// A row is one line, so that a torn file is torn in its last line only.
fn one_line(text: String) -> String {
    if text.contains(char::is_control) {
        text.replace(char::is_control, " ")
    } else {
        text
    }
}

fn damaged(path: &Path, line: usize, error: &csv::Error) -> Error {
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("{len} cells found, {expected_len} expected as in the header")
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            format!("cell {} is not UTF-8 text", err.field() + 1)
        }
        _ => error.to_string().replace('\n', " "),
    };
    Error::Input(format!("{}, line {line}: {what}", path.display()))
}

/// Where the record that is read from byte `at` on begins: comments and empty lines before it are
/// passed over, as the reader does.
fn record_start(text: &[u8], mut at: usize) -> usize {
    while let Some(b'#' | b'\n' | b'\r') = text.get(at) {
        match text[at..].iter().position(|b| *b == b'\n') {
            Some(end) => at += end + 1,
            None => break,
        }
    }
    at
}

fn newlines(text: &[u8]) -> usize {
    text.iter().filter(|b| **b == b'\n').count()
}
