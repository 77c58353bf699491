//! `perf annotate --data-type --stdio`: the members of a type, each with its samples.
//!
//! One value column for each event of a group: per cent, samples or periods. Offsets are decimal in
//! perf's first versions, then hexadecimal, where zero is a bare `0`.

use super::profile::{
    CountUnit, FieldUse, ProfileText, UseCounts, UsePlace, UsedBy, decimal, hundredths, number,
};
use crate::error::Result;

/// What the first line of each type begins with.
const TITLE: &str = "Annotate type: '";

/// Deepest nesting that is read: C's own limit is 63.
const DEPTH: usize = 64;

/// The type whose members are being read.
struct Annotated<'t> {
    type_name: &'t str,
    events: Vec<&'t str>,
    unit: Option<CountUnit>,
    /// Names of the structs that are open, the type itself first.
    open: Vec<&'t str>,
    /// Where the last member that was given ends: what begins before it is another member of the
    /// same union, or another bit-field of the same unit, and has the same samples.
    end: u64,
}

/// Whether a line is of such a text.
pub(super) fn is_it(line: &str) -> bool {
    line.trim_start().starts_with(TITLE)
}

/// Read it.
pub(super) fn read<'t>(
    text: ProfileText<'t>,
    found: &mut dyn FnMut(FieldUse<'t>),
) -> Result<Vec<String>> {
    let mut remarks = Vec::new();
    let mut current: Option<Annotated<'t>> = None;
    for line in text.lines() {
        let (line_number, line) = line?;
        let trimmed = line.trim();
        if let Some(title) = trimmed.strip_prefix(TITLE) {
            let Some((type_name, rest)) = title.split_once('\'') else {
                return Err(text.wrong(line_number, "the type has no closing quote"));
            };
            if remarks.len() < 16 {
                let samples = rest.rsplit_once('(').map_or("", |(_, samples)| samples);
                let samples = samples.trim_end_matches([':', ')']);
                remarks.push(format!("{type_name}: {samples}"));
            }
            current = Some(Annotated {
                type_name,
                events: Vec::new(),
                unit: None,
                open: Vec::new(),
                end: 0,
            });
            continue;
        }
        let Some(current) = &mut current else {
            continue;
        };
        if let Some((_, event)) = trimmed
            .strip_prefix("event[")
            .and_then(|e| e.split_once("= "))
        {
            current.events.push(event.trim());
        } else if trimmed.ends_with("field") && trimmed.contains("offset") {
            let word = trimmed.split_ascii_whitespace().next().unwrap_or("");
            current.unit = Some(match word.to_ascii_lowercase().as_str() {
                "percent" => CountUnit::Shares,
                "samples" => CountUnit::Records,
                "period" => CountUnit::Periods,
                _ => {
                    return Err(text.wrong(
                        line_number,
                        format_args!("column '{word}' is none of Percent, Samples, Period"),
                    ));
                }
            });
            if current.events.is_empty() {
                current.events.push("");
            }
        } else if trimmed.starts_with('}') {
            current.open.pop();
        } else if !trimmed.is_empty() && !trimmed.starts_with('=') {
            match current.unit {
                Some(unit) => {
                    let read = current.member(trimmed, unit, found);
                    read.map_err(|what| text.wrong(line_number, what))?;
                }
                // Lines between the title and the heading say nothing that is needed.
                None if trimmed.contains(['{', ';']) => {
                    return Err(text.wrong(line_number, "a member, but no heading above it"));
                }
                None => {}
            }
        }
    }
    if let Some(current) = current
        && !(current.open.is_empty() && current.unit.is_some())
    {
        let lines = text.text.lines().count();
        return Err(text.wrong(lines, "the text ends within a type"));
    }
    Ok(remarks)
}

impl<'t> Annotated<'t> {
    /// A member, or the beginning of a struct.
    fn member(
        &mut self,
        row: &'t str,
        unit: CountUnit,
        found: &mut dyn FnMut(FieldUse<'t>),
    ) -> std::result::Result<(), String> {
        let mut rest = row;
        let mut word = || {
            let (word, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
            rest = after.trim_start();
            word
        };
        let mut values = Vec::new();
        for _ in &self.events {
            let value = word();
            let value = match unit {
                CountUnit::Shares => hundredths(value),
                _ => decimal(value),
            };
            values.push(value.ok_or("a member without a value for each event")?);
        }
        let offset = number(word()).ok_or("a member without an offset")?;
        let bytes = number(word()).ok_or("a member without a size")?;
        let (declared, opens) = match rest.strip_suffix('{') {
            Some(declared) => (declared, true),
            None => (
                rest.strip_suffix(';')
                    .ok_or("neither a member nor the beginning of a struct")?,
                false,
            ),
        };
        // Type, TAB, name; of a struct without a name, only the type.
        let name = match declared.rsplit_once('\t') {
            Some((_, name)) => name.trim(),
            None => "",
        };
        if opens {
            if self.open.len() == DEPTH {
                return Err(format!("more than {DEPTH} structs within each other"));
            }
            self.open.push(if self.open.is_empty() { "" } else { name });
            return Ok(());
        }
        let end = offset
            .checked_add(bytes)
            .ok_or("a member beyond all addresses")?;
        if offset < self.end || bytes == 0 {
            return Ok(());
        }
        self.end = end;
        if values.iter().all(|value| *value == 0) {
            return Ok(());
        }
        let path = self
            .open
            .iter()
            .copied()
            .chain([name])
            .filter(|name| !name.is_empty());
        let field = path.collect::<Vec<_>>().join(".");
        for (event, value) in self
            .events
            .iter()
            .zip(values)
            .filter(|(_, value)| *value > 0)
        {
            found(FieldUse {
                place: UsePlace::Typed {
                    type_name: self.type_name,
                    offset: Some(offset),
                    field: field.clone(),
                },
                event,
                by: UsedBy::default(),
                counts: UseCounts::of_event(event, value),
                unit,
            });
        }
        Ok(())
    }
}
