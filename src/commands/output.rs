//! What every command prints through: finished text, rows as CSV, values as JSON.

use super::options::Format;
use crate::error::{Error, Result, say};
use std::io::{ErrorKind, Write};

/// Write a finished text to stdout, its colours only where they are wanted: on a terminal, with
/// `NO_COLOR` not set. A reader that has gone (`| head`) is no failure.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Refused(format!(
            "cannot write to standard output: {error}; is the disk full?"
        ))),
        _ => Ok(()),
    }
}

/// Rows as CSV with a header.
pub fn csv<T: serde::Serialize>(rows: &[T]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        // Writing plain fields to memory cannot fail.
        let _ = writer.serialize(row);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// A value, or rows as an array, as JSON.
pub fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Rows in the form asked for; `table` makes the table of them.
pub fn rows<T: serde::Serialize>(
    format: Format,
    rows: &[T],
    table: impl FnOnce(&[T]) -> String,
) -> String {
    match format {
        Format::Csv => csv(rows),
        Format::Json => json(&rows),
        Format::Table => table(rows),
    }
}

/// The first error of several steps, in their order. Of the others, those that say something else
/// are said on stderr.
pub fn first_error(steps: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let mut errors = steps.into_iter().filter_map(Result::err);
    let Some(first) = errors.next() else {
        return Ok(());
    };
    let mut said = vec![first.to_string()];
    for error in errors.map(|error| error.to_string()) {
        if !said.contains(&error) {
            say(&error);
            said.push(error);
        }
    }
    Err(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn the_first_error_is_the_one_reported() {
        let refused = || Err(Error::Refused("no".to_owned()));
        let found = first_error([Ok(()), Err(Error::Interrupted), refused(), refused()]);
        assert!(matches!(found, Err(Error::Interrupted)));
        assert!(matches!(first_error([refused()]), Err(Error::Refused(_))));
        assert!(first_error([Ok(()), Ok(())]).is_ok());
    }
}
