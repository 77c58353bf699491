//! What a search for a better layout brought, as a terminal shows it.
//!
//! Here: the layouts, what moves, what else would help, what hangs on guesses. Not here: the
//! declaration in C (`c_struct`), and the search (`suggest`).

use super::c_struct::{Asserts, declaration};
use super::columns::{Columns, wrap};
use crate::case::Case;
use crate::space::LINE;
use crate::suggest::access::{Change, Way};
use crate::suggest::score::Cost;
use crate::suggest::{Found, LEAST_GAIN, Suggestions};
use std::fmt::Write as _;

/// Everything.
pub fn text(case: &Case, suggestions: &Suggestions, asserts: Option<Asserts>) -> String {
    let mut text = head(case, suggestions);
    match suggestions.best() {
        None => text.push_str(&wrap(&nothing(suggestions), "")),
        Some(best) => {
            let (from, to) = extremes(&best.cost);
            let says = format!(
                "The best, {}, takes {} of the time of '{}' ({} to {} over machines and thread \
                 counts).",
                best.layout.name,
                times(best.cost.ratio),
                suggestions.baseline.name,
                times(from),
                times(to)
            );
            text.push_str(&wrap(&says, ""));
        }
    }
    text.push_str(&guesses(suggestions));
    text.push_str(&accesses(suggestions));
    for found in &suggestions.front {
        let _ = writeln!(text, "\n{}", found.layout.name);
        text.push_str(&moves(suggestions, found));
        text.push('\n');
        let imported = suggestions.baseline.imported.as_ref();
        text.push_str(&declaration(&case.struct_name, found, imported, asserts));
    }
    text
}

fn times(ratio: f64) -> String {
    format!("{ratio:.3}")
}

fn extremes(cost: &Cost) -> (f64, f64) {
    let each = cost.each.iter().copied();
    (
        each.clone().fold(f64::INFINITY, f64::min),
        each.fold(0.0, f64::max),
    )
}

fn head(case: &Case, suggestions: &Suggestions) -> String {
    let mut threads: Vec<usize> = suggestions
        .points
        .iter()
        .map(|(_, threads)| *threads)
        .collect();
    threads.sort_unstable();
    threads.dedup();
    let threads: Vec<String> = threads.iter().map(usize::to_string).collect();
    let says = format!(
        "{}, struct {}: {} orders of its members proposed and {} layouts simulated, of at most {} \
         bytes, on {} with {} threads. Time is beside that of '{}'; below 1 is faster.",
        case.name,
        case.struct_name,
        suggestions.looked.0,
        suggestions.looked.1,
        suggestions.max_bytes,
        suggestions.machines.join(", "),
        threads.join(" and "),
        suggestions.baseline.name
    );
    let mut text = wrap(&says, "");
    text.push('\n');
    let mut table = Columns::new("<>>>>");
    table.row(["layout", "bytes", "time", "least", "most"]);
    let mut row = |name: &str, bytes: usize, cost: &Cost| {
        let (from, to) = extremes(cost);
        table.row([
            name.to_owned(),
            bytes.to_string(),
            times(cost.ratio),
            times(from),
            times(to),
        ]);
    };
    for known in &suggestions.known {
        row(&known.name, known.footprint, &known.cost);
    }
    for found in &suggestions.front {
        row(&found.layout.name, found.footprint, &found.cost);
    }
    let _ = writeln!(text, "{table}");
    if suggestions.unlisted > 0 {
        let says = format!(
            "{} bytes of the struct are not listed in the case: they are taken for members that \
             nobody accesses, may lie anywhere, and keep their size.",
            suggestions.unlisted
        );
        text.push_str(&wrap(&says, ""));
    }
    for rule in &suggestions.broken {
        let says = format!(
            "The baseline breaks a rule of the case, which every suggestion keeps: {rule}."
        );
        text.push_str(&wrap(&says, ""));
    }
    text
}

fn nothing(suggestions: &Suggestions) -> String {
    let mut says = format!(
        "{}: no order of the members within {} bytes is faster than '{}' by {:.0} % or \
         more and by more than noise.",
        match suggestions.front.is_empty() {
            true => "Nothing helps",
            false => "Nothing is gained but bytes",
        },
        suggestions.max_bytes,
        suggestions.baseline.name,
        100.0 * LEAST_GAIN
    );
    if !suggestions.shared.is_empty() {
        let _ = write!(
            says,
            " What its threads share truly, the same bytes, no layout parts: {}.",
            suggestions.shared.join(", ")
        );
    }
    if !suggestions.front.is_empty() {
        says.push_str(" The suggestions below are smaller, and no slower.");
    }
    says
}

fn guesses(suggestions: &Suggestions) -> String {
    let Some(costs) = suggestions.guesses else {
        return String::new();
    };
    let least = costs.into_iter().fold(f64::INFINITY, f64::min);
    let most = costs.into_iter().fold(0.0, f64::max);
    let hangs = if least < 1.0 - LEAST_GAIN && most > 1.0 - LEAST_GAIN {
        "Whether there is any gain hangs on it."
    } else if (most - least) > 0.05 {
        "How much is gained hangs on it; that there is a gain does not."
    } else {
        "The result does not hang on it."
    };
    let says = format!(
        "The time between accesses (work) is a guess of the case: with its low end, middle and high \
         end the best layout takes {}, {} and {} of the baseline's time. {hangs}",
        times(costs[0]),
        times(costs[1]),
        times(costs[2])
    );
    wrap(&says, "")
}

fn accesses(suggestions: &Suggestions) -> String {
    let mut text = String::new();
    for Change {
        way,
        alone,
        with_best,
    } in &suggestions.accesses
    {
        let what = match way {
            Way::IfChanged(field) => {
                format!("a store to {field} only if the value changes, where it does not")
            }
            Way::Batch { name, from, to } => {
                format!("a batch of {to} instead of {from} in '{name}'")
            }
            Way::PerCpu(field) => format!(
                "a counter for each CPU in place of {field}, if nobody needs the exact value at once"
            ),
        };
        let both = match with_best {
            Some(ratio) => format!(", with the best layout {}", times(*ratio)),
            None => String::new(),
        };
        let says = format!(
            "Changing the access would help: {what}: at best {} of the time in the old \
             layout{both}.",
            times(*alone)
        );
        text.push_str(&wrap(&says, ""));
    }
    text
}

/// What has to be done to get from the baseline to a layout.
fn moves(suggestions: &Suggestions, found: &Found) -> String {
    let mut text = String::new();
    let baseline = &suggestions.baseline;
    let packed = found.order.pack(&found.lumps);
    let moved = found.order.moved();
    for name in &found.lumps.dissolved {
        let _ = writeln!(text, "- part {name}: its fields go into the struct");
    }
    for name in &found.lumps.dropped {
        let _ = writeln!(
            text,
            "- {name}: dropped, there is no part that it would point to"
        );
    }
    let name = |number: usize| -> String {
        let lump = &found.lumps.all[number];
        let fields = lump.outermost().map(|field| field.name.as_str());
        let fields: Vec<&str> = fields.collect();
        match (&fields[..], lump.is_unlisted()) {
            (_, true) => format!("{} unlisted bytes", lump.bytes),
            ([one], _) => (*one).to_owned(),
            ([first, .., last], _) => format!("{first} to {last}"),
            ([], _) => String::new(),
        }
    };
    let mut unlisted = 0;
    for (at, (number, on_line)) in found.order.sequence.iter().enumerate() {
        let lump = &found.lumps.all[*number];
        let is_moved = moved.contains(number) || lump.from.is_none();
        if lump.is_unlisted() {
            unlisted += if is_moved { lump.bytes } else { 0 };
            continue;
        }
        if !is_moved && *on_line == lump.on_line {
            continue;
        }
        let to = packed.offsets[*number];
        let from = match lump.from {
            Some(from) => format!("from {from} "),
            None => "from the part ".to_owned(),
        };
        let behind = match at
            .checked_sub(1)
            .map(|before| found.order.sequence[before].0)
        {
            Some(before) => format!("behind {}", name(before)),
            None => "to the front".to_owned(),
        };
        let line = match (on_line, is_moved) {
            (true, _) => ", beginning a line",
            (false, true) => "",
            (false, false) => ", no longer beginning a line",
        };
        let what = if is_moved { "move" } else { "leave in order" };
        let _ = writeln!(
            text,
            "- {what} {} {from}to {to}, line {} ({behind}{line})",
            name(*number),
            to / LINE
        );
    }
    if unlisted > 0 {
        let _ = writeln!(
            text,
            "- {unlisted} bytes of members that the case does not list fill what is free"
        );
    }
    if found.layout.align != baseline.align {
        let _ = writeln!(
            text,
            "- align the struct to {} instead of {}",
            found.layout.align, baseline.align
        );
    }
    if found.layout.bytes != baseline.bytes {
        let _ = writeln!(
            text,
            "- {} bytes instead of {}",
            found.layout.bytes, baseline.bytes
        );
    }
    text
}
