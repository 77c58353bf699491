//! `perf report -s type,typeoff`: a type, an offset and a field a row.
//!
//! Rows of `typecln` name a line of 64 bytes instead of a field and are passed over.

use super::profile::{
    CountUnit, FieldUse, ProfileText, UseCounts, UsePlace, UsedBy, decimal, hundredths, number,
};
use crate::error::Result;

/// A row by its parts.
struct TypeRow<'t> {
    /// Hundredths of a per cent.
    share: u64,
    /// Samples, where they were asked for.
    samples: Option<u64>,
    /// What stands behind the numbers.
    rest: &'t str,
}

/// Whether a line is of such a text.
pub(super) fn is_it(line: &str) -> bool {
    row(line).is_some_and(|row| offset(row.rest).is_some() || is_line(row.rest))
}

/// Read it.
pub(super) fn read<'t>(
    text: ProfileText<'t>,
    found: &mut dyn FnMut(FieldUse<'t>),
) -> Result<Vec<String>> {
    let mut event = "";
    let (mut lines, mut untyped) = (0, 0);
    for line in text.lines() {
        let (line_number, line) = line?;
        if line.starts_with('#') {
            if let Some((_, named)) = line.split_once("of event '") {
                event = named.split('\'').next().unwrap_or("");
            }
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        let Some(row) = row(line) else {
            return Err(text.wrong(line_number, "not a row of perf report -s type,typeoff"));
        };
        let Some((before, offset, field, behind)) = offset(row.rest) else {
            if is_line(row.rest) {
                lines += 1;
                continue;
            }
            return Err(text.wrong(
                line_number,
                "no offset into a type; write the text with: perf report -s type,typeoff --stdio",
            ));
        };
        let type_name = type_of(before);
        if type_name.starts_with('(') {
            untyped += row.share;
            continue;
        }
        let (count, unit) = match row.samples {
            Some(samples) => (samples, CountUnit::Records),
            None => (row.share, CountUnit::Shares),
        };
        found(FieldUse {
            place: UsePlace::Typed {
                type_name,
                offset: Some(offset),
                field: if field == "no field" {
                    String::new()
                } else {
                    field.to_owned()
                },
            },
            event,
            by: UsedBy {
                symbol: symbol(behind),
                ..UsedBy::default()
            },
            counts: UseCounts::of_event(event, count),
            unit,
        });
    }
    let mut remarks = Vec::new();
    if lines > 0 {
        remarks.push(format!(
            "{lines} rows of typecln name a line of 64 bytes, which is too coarse for a field: they were passed over; write the text with: perf report -s type,typeoff"
        ));
    }
    if untyped > 0 {
        remarks.push(format!(
            "perf found no type for {}.{:02} % of the samples",
            untyped / 100,
            untyped % 100
        ));
    }
    Ok(remarks)
}

/// Shares, and samples if they are there.
fn row(line: &str) -> Option<TypeRow<'_>> {
    let mut rest = line.trim();
    let mut share = None;
    while let Some((word, after)) = rest.split_once(' ').filter(|(word, _)| word.ends_with('%')) {
        // Of several (children, groups), the first is the row's own.
        share = share.or(Some(hundredths(word)?));
        rest = after.trim_start();
    }
    let mut samples = None;
    if let Some((word, after)) = rest.split_once(' ')
        && let Some(count) = decimal(word)
    {
        samples = Some(count);
        rest = after.trim_start();
    }
    Some(TypeRow {
        share: share?,
        samples,
        rest,
    })
}

/// `struct conn +0x4 (flags)`: what is before the sign, the offset, the field, and what is behind.
fn offset(text: &str) -> Option<(&str, u64, &str, &str)> {
    let (before, after) = text.rsplit_once(" +")?;
    let (digits, after) = after.split_once(" (")?;
    let (field, behind) = after.split_once(')')?;
    Some((before, number(digits)?, field, behind))
}

fn is_line(text: &str) -> bool {
    let line = text.split_once(": cache-line ");
    line.is_some_and(|(_, number)| {
        number
            .trim_start()
            .starts_with(|c: char| c.is_ascii_digit())
    })
}

/// The type before an offset: the last column, or the second half where `type` and `typeoff` say
/// the same with a blank between.
fn type_of(before: &str) -> &str {
    let last = before.rsplit("  ").next().unwrap_or(before).trim();
    let half = last.len() / 2;
    match (last.get(..half), last.get(half + 1..)) {
        (Some(one), Some(other)) if one == other => other,
        _ => last,
    }
}

/// The function of a column behind.
fn symbol(behind: &str) -> &str {
    let name = behind
        .split_once("] ")
        .filter(|(bracket, _)| bracket.trim_start().starts_with('['));
    name.map_or("", |(_, name)| {
        name.trim().split("  ").next().unwrap_or("").trim()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_whether_both_columns_are_there_or_one() {
        for before in [
            "struct conn",
            "struct conn  struct conn",
            "struct conn struct conn",
        ] {
            assert_eq!(type_of(before), "struct conn");
        }
        assert_eq!(type_of("demo2  int"), "int");
        assert_eq!(type_of(""), "");
    }
}
