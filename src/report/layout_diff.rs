//! The difference between two layouts as a terminal shows it.
//!
//! Not here: finding it (`layout::diff`).

use super::columns::Columns;
use super::layout_map::{IDLE, READ, WRITTEN};
use crate::layout::diff::{ConflictDiff, FieldDiff, FieldPlace, LayoutDiff};
use crate::layout::interference::{Between, Clash};
use crate::layout::subject::{Packing, Subject};
use crate::space::LINE;
use anstyle::Style;
use std::fmt::Write as _;

/// Most conflicts, and most names in a cell, that a terminal is shown.
const MOST_SHOWN: usize = 20;
const MOST_NAMES: usize = 6;

/// The difference as text.
pub fn text(before: &Subject, after: &Subject, diff: &LayoutDiff) -> String {
    let mut text = format!("{} to {}\n\n", before.layout, after.layout);
    text.push_str(&footprint(before, after));
    text.push_str(&fields(diff));
    if !before.actors.is_empty() && !after.actors.is_empty() {
        text.push_str(&conflicts(&diff.conflicts));
    }
    text
}

/// Memory, beside each other.
fn footprint(before: &Subject, after: &Subject) -> String {
    let mut table = Columns::new("<>>");
    table.row(["", "before", "after"]);
    let rows: [(&str, fn(&Subject) -> String); 4] = [
        ("bytes", |subject| {
            let own = subject.regions.iter().filter(|region| region.of_struct);
            let bytes: Vec<String> = own.map(|region| region.bytes.to_string()).collect();
            bytes.join(" + ")
        }),
        ("bytes from slot to slot", |subject| {
            let own = subject.regions.iter().filter(|region| region.of_struct);
            let slots = own.map(|region| match region.packing.slot() {
                Some(slot) => slot.to_string(),
                None => "own pages".to_owned(),
            });
            slots.collect::<Vec<_>>().join(" + ")
        }),
        ("objects in a slab", |subject| {
            match subject.regions.first().map(|region| region.packing) {
                Some(Packing::Slab(cache)) => cache.objects().to_string(),
                _ => "-".to_owned(),
            }
        }),
        ("pages for 1000 objects", |subject| {
            subject.pages_per_1000().to_string()
        }),
    ];
    for (what, of) in rows {
        table.row([what.to_owned(), of(before), of(after)]);
    }
    format!("{table}\n")
}

fn fields(diff: &LayoutDiff) -> String {
    if diff.fields.is_empty() {
        return format!("All {} fields lie as they did.\n", diff.same);
    }
    let mut table = Columns::new("<>>><");
    table.row(["field", "offset", "bytes", "line", "beside it"]);
    for field in &diff.fields {
        let style = match (&field.before, &field.after) {
            (None, _) => READ,
            (_, None) => WRITTEN,
            _ => Style::new(),
        };
        let of = |get: fn(&FieldPlace) -> String| {
            let (before, after) = (
                field.before.as_ref().map(get),
                field.after.as_ref().map(get),
            );
            match (before, after) {
                (Some(before), Some(after)) if before == after => after,
                (Some(before), Some(after)) => format!("{before} to {after}"),
                (None, Some(after)) => after,
                (before, None) => before.unwrap_or_default(),
            }
        };
        table.styled(
            style,
            [
                field.name.clone(),
                of(|p| match p.in_part {
                    true => format!("{} of {}", p.offset, p.object),
                    false => p.offset.to_string(),
                }),
                of(|p| p.bytes.to_string()),
                of(|p| p.line.to_string()),
                beside(field),
            ],
        );
    }
    let same = match diff.same {
        0 => String::new(),
        1 => format!("{IDLE}1 field lies as it did, beside the same ones{IDLE:#}\n"),
        n => format!("{IDLE}{n} fields lie as they did, beside the same ones{IDLE:#}\n"),
    };
    format!("{table}{same}\n")
}

fn beside(field: &FieldDiff) -> String {
    match (&field.before, &field.after) {
        (None, _) => return "new".to_owned(),
        (_, None) => return "gone".to_owned(),
        _ => {}
    }
    let mut parts = Vec::new();
    // Who leaves the line leaves the pair too, as a rule: said once.
    let only_pair = |pair: &[String], line: &[String]| -> Vec<String> {
        pair.iter()
            .filter(|name| !line.contains(name))
            .cloned()
            .collect()
    };
    let left_pair = only_pair(&field.left_pair, &field.left_line);
    let joined_pair = only_pair(&field.joined_pair, &field.joined_line);
    for (what, names) in [
        ("line: leaves", &field.left_line),
        ("line: joins", &field.joined_line),
        ("pair: leaves", &left_pair),
        ("pair: joins", &joined_pair),
    ] {
        if names.is_empty() {
            continue;
        }
        let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
        let mut part = format!("{what} {}", shown.join(" "));
        if names.len() > MOST_NAMES {
            let _ = write!(part, " +{}", names.len() - MOST_NAMES);
        }
        parts.push(part);
    }
    parts.join("; ")
}

fn conflicts(all: &[ConflictDiff]) -> String {
    if all.is_empty() {
        return "The same uses get in each other's way as before.\n".to_owned();
    }
    let mut table = Columns::new(">><<");
    table.row(["before", "after", "where", "what gets in each other's way"]);
    // The list begins with what grows most and ends with what shrinks most.
    let half = MOST_SHOWN / 2;
    let skipped = all.len().saturating_sub(MOST_SHOWN);
    for (number, diff) in all.iter().enumerate() {
        if skipped > 0 && number >= half && number < half + skipped {
            if number == half {
                table.text(format!("… {skipped} more, which --format json has\n"));
            }
            continue;
        }
        let style = if diff.after > diff.before {
            WRITTEN
        } else {
            READ
        };
        let verb = if diff.clash == Clash::WriterReader {
            "r"
        } else {
            "w"
        };
        let place = match (diff.clash, diff.between, diff.within) {
            (Clash::TrueSharing, ..) => "same bytes",
            (_, Between::Object, LINE) => "line",
            (_, Between::Object, _) => "pair",
            (_, Between::Neighbour, LINE) => "line, next slot",
            (_, Between::Neighbour, _) => "pair, next slot",
        };
        let weight = |weight: f64| match weight {
            w if w == 0.0 => "-".to_owned(),
            w => format!("{w:.2}"),
        };
        table.styled(
            style,
            [
                weight(diff.before),
                weight(diff.after),
                place.to_owned(),
                format!(
                    "{} (w {}) and {} ({verb} {})",
                    diff.a.0, diff.a.1, diff.b.0, diff.b.1
                ),
            ],
        );
    }
    format!("Who meets whom\n{table}")
}
