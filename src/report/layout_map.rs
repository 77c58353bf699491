//! The interference map of a layout as a terminal shows it.
//!
//! Here: lines with their fields and who uses these, conflicts, true sharing, footprint. Not here:
//! finding them (`layout::interference`), the picture (`layout_picture`).

use super::columns::{Columns, WIDTH, wrap};
use crate::case::check::Checked;
use crate::error::{Error, Result};
use crate::layout::interference::{Between, Clash, Conflict, FieldUse, Interference};
use crate::layout::subject::{Packing, Region, Subject};
use crate::space::map::HOLE;
use crate::space::{LINE, PAIR};
use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;

/// Bytes of a written field.
pub const WRITTEN: Style = AnsiColor::Red.on_default().bold();
/// Of one that is only read.
pub const READ: Style = AnsiColor::Green.on_default();
/// Of one that nobody touches.
pub const IDLE: Style = Style::new().dimmed();

/// Most conflicts that a terminal is shown.
const MOST_SHOWN: usize = 20;
/// Most bytes of a struct whose lines are shown one by one.
const MOST_BYTES: usize = 1 << 20;
/// Most times that fields are shown, one that lies in several lines in each.
const MOST_PIECES: usize = 200_000;

/// What is done to a piece of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Somebody writes it.
    Written,
    /// It is read, and nobody writes it.
    Read,
    /// Nobody touches it.
    Idle,
    /// It is no field.
    Hole,
}

/// A field, or the part of it that lies in one line, or a hole.
pub struct Piece {
    /// The field's name, after `…` where it began in an earlier line.
    pub name: String,
    /// First byte, from the start of the object.
    pub start: usize,
    /// First byte behind it.
    pub end: usize,
    /// What is done to it.
    pub done: Use,
    /// Who does it: `w stat, r open`.
    pub who: String,
}

/// A line of an object in the first slot, and what lies in it.
pub struct LineOf {
    /// Its number, from the line that the object starts in.
    pub line: usize,
    /// The number of its pair, from the one that the object starts in.
    pub pair: usize,
    /// What lies in it, by offset.
    pub pieces: Vec<Piece>,
}

/// The lines of an object of `region` in the first slot.
pub fn lines(subject: &Subject, region: &Region) -> Result<Vec<LineOf>> {
    if region.bytes > MOST_BYTES {
        return Err(Error::Input(format!(
            "'{}' has {} bytes; lines are mapped up to {MOST_BYTES}",
            region.name.escape_debug(),
            region.bytes
        )));
    }
    let base = region.first_phase();
    let first = base / LINE;
    let count = (base + region.bytes)
        .div_ceil(LINE)
        .saturating_sub(first)
        .max(1);
    let mut lines: Vec<LineOf> = (first..first + count)
        .map(|line| LineOf {
            line: line - first,
            pair: line * LINE / PAIR,
            pieces: Vec::new(),
        })
        .collect();
    // Touches by field, so that a field finds its own.
    let mut touches: Vec<usize> = (0..region.touches.len()).collect();
    touches.sort_by_key(|number| region.touches.get(*number).map(|touch| touch.field));
    let field_of = |number: &usize| region.touches.get(*number).map_or(0, |touch| touch.field);
    let mut order: Vec<usize> = (0..region.fields.len()).collect();
    order.sort_by_key(|number| region.fields.get(*number).map(|spot| spot.offset));
    let mut pieces = 0usize;
    let mut end = 0;
    for number in order {
        let Some(spot) = region.fields.get(number) else {
            continue;
        };
        if spot.offset > end {
            add(
                &mut lines,
                base,
                end,
                spot.offset,
                |_, _| (Use::Hole, String::new()),
                HOLE,
            );
        }
        end = end.max(spot.end());
        pieces = pieces.saturating_add(spot.bytes / LINE + 2);
        if pieces > MOST_PIECES {
            return Err(Error::Input(format!(
                "'{}': its fields lie in more than {MOST_PIECES} lines together; are they those \
                 of a union?",
                region.name.escape_debug()
            )));
        }
        let from = touches.partition_point(|touch| field_of(touch) < number);
        let to = touches.partition_point(|touch| field_of(touch) <= number);
        let own = touches.get(from..to).unwrap_or_default();
        let done = |from: usize, to: usize| {
            let here = own.iter().filter_map(|touch| region.touches.get(*touch));
            let here = here.filter(|touch| touch.start < to && from < touch.end);
            let (mut writers, mut readers) = (Vec::new(), Vec::new());
            for touch in here {
                let who = subject.actor_name(touch.actor);
                let list = match touch.stores > 0.0 {
                    true => &mut writers,
                    false => &mut readers,
                };
                if !list.contains(&who) {
                    list.push(who);
                }
            }
            readers.retain(|who| !writers.contains(who));
            let done = match (writers.is_empty(), readers.is_empty()) {
                (false, _) => Use::Written,
                (true, false) => Use::Read,
                (true, true) => Use::Idle,
            };
            let mut who = Vec::new();
            for (mark, list) in [("w", writers), ("r", readers)] {
                if !list.is_empty() {
                    who.push(format!("{mark} {}", few(&list)));
                }
            }
            (done, who.join(", "))
        };
        add(&mut lines, base, spot.offset, spot.end(), done, &spot.name);
    }
    if region.bytes > end {
        add(
            &mut lines,
            base,
            end,
            region.bytes,
            |_, _| (Use::Hole, String::new()),
            HOLE,
        );
    }
    Ok(lines)
}

/// The first names of a list, and how many there are beside them.
fn few(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).copied().collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(" "),
        more => format!("{} +{more}", shown.join(" ")),
    }
}

/// Add a field to every line that it lies in.
fn add(
    lines: &mut [LineOf],
    base: usize,
    start: usize,
    end: usize,
    done: impl Fn(usize, usize) -> (Use, String),
    name: &str,
) {
    let first = base / LINE;
    if start >= end {
        return;
    }
    for line in (base + start) / LINE..=(base + end - 1) / LINE {
        let Some(to) = lines.get_mut(line - first) else {
            return;
        };
        let from = (line * LINE).saturating_sub(base).max(start);
        let until = ((line + 1) * LINE - base).min(end);
        let (done, who) = done(from, until);
        to.pieces.push(Piece {
            name: match from > start && done != Use::Hole {
                true => format!("…{name}"),
                false => name.to_owned(),
            },
            start: from,
            end: until,
            done,
            who,
        });
    }
}

/// The map as text.
pub fn text(subject: &Subject, map: &Interference) -> Result<String> {
    let mut text = format!("{}\n", subject.layout);
    for (number, region) in subject.regions.iter().enumerate() {
        // Of what is not the struct itself only what somebody touches.
        if number > 0 && region.touches.is_empty() {
            continue;
        }
        text.push_str(&heading(region));
        text.push_str(&line_rows(subject, region)?);
        if let Some(crowded) = map.crowded.get(number).filter(|crowded| crowded.pairs > 0) {
            let _ = writeln!(
                text,
                "  With all slots in use, {} of {} objects share a line with another one, {} a pair.",
                crowded.lines, crowded.of, crowded.pairs
            );
        }
        if let Some(crossing) = crossing(region) {
            text.push_str(&wrap(&crossing, "  "));
        }
        text.push('\n');
    }
    if subject.actors.is_empty() {
        text.push_str(&wrap(
            "Nothing is known of who reads and writes these fields: a case says it (see hitm case \
             new), and then the map shows who meets whom.",
            "",
        ));
        return Ok(text);
    }
    text.push_str(&conflicts(subject, map));
    text.push_str(&true_sharing(subject, map));
    Ok(text)
}

fn heading(region: &Region) -> String {
    let mut text = format!("\n{}: {} bytes", region.name, region.bytes);
    match region.packing {
        Packing::Slab(cache) => {
            let _ = write!(
                text,
                ", slots of {}, {} in a slab of {} page{}; {} pages for 1000",
                cache.slot,
                cache.objects(),
                cache.pages,
                if cache.pages == 1 { "" } else { "s" },
                region.pages_for(1000)
            );
        }
        Packing::Array { slot, objects } => {
            let _ = write!(
                text,
                ", {objects} one behind the other, {slot} bytes apart; {} pages for 1000",
                region.pages_for(1000)
            );
        }
        Packing::Pages => {
            let _ = write!(text, ", on pages of its own");
        }
    }
    text.push('\n');
    if !region.is_line_aligned() {
        text.push_str(
            "  Objects float: the lines below are those of the first slot, and neighbours share lines.\n",
        );
    } else if region.phases().len() > 1 {
        text.push_str(
            "  Pairs below are those of even slots; in odd slots every line is in the other half of its pair.\n",
        );
    }
    text
}

fn line_rows(subject: &Subject, region: &Region) -> Result<String> {
    const MARGIN: usize = 18;
    let mut text = String::from("  pair  line  byte\n");
    let mut last_pair = None;
    for LineOf { line, pair, pieces } in lines(subject, region)? {
        let pair_text = match last_pair == Some(pair) {
            true => String::new(),
            false => pair.to_string(),
        };
        last_pair = Some(pair);
        let from = pieces
            .first()
            .map_or(String::new(), |piece| piece.start.to_string());
        let _ = write!(text, "  {pair_text:>4}  {line:>4}  {from:>4}");
        let mut column = MARGIN - 2;
        for (number, piece) in pieces.iter().enumerate() {
            let mut name = piece.name.clone();
            if piece.done == Use::Hole {
                name = format!("({} free)", piece.end - piece.start);
            }
            if !piece.who.is_empty() {
                let _ = write!(name, " ({})", piece.who);
            }
            let wide = name.chars().count();
            if column + 2 + wide > WIDTH && number > 0 {
                let _ = write!(text, "\n{:MARGIN$}", "");
                column = MARGIN;
            } else {
                text.push_str("  ");
                column += 2;
            }
            let style = match piece.done {
                Use::Written => WRITTEN,
                Use::Read => READ,
                Use::Idle | Use::Hole => IDLE,
            };
            let _ = write!(text, "{style}{name}{style:#}");
            column += wide;
        }
        text.push('\n');
    }
    Ok(text)
}

/// Fields that lie in more lines than they have to, in the first slot.
fn crossing(region: &Region) -> Option<String> {
    const SHOWN: usize = 12;
    let phase = region.first_phase();
    let spots = region.fields.iter().filter(|spot| spot.straddles(phase));
    let names: Vec<String> = spots
        .map(|spot| format!("{} ({} to {})", spot.name, spot.offset, spot.end() - 1))
        .collect();
    let shown = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len() {
        0 => None,
        count if count > SHOWN => Some(format!(
            "Fields that cross a line: {shown} and {} more.",
            count - SHOWN
        )),
        _ => Some(format!("Fields that cross a line: {shown}.")),
    }
}

/// In which of a region's slots a conflict is: nothing if in all.
pub fn which_slots(region: &Region, conflict: &Conflict) -> String {
    let all = region.phases();
    let phases: Vec<usize> = conflict.phases.iter().map(|(phase, _)| *phase).collect();
    let at = region.first_phase();
    match (all.len(), phases.as_slice()) {
        (all, some) if some.len() == all => String::new(),
        (2, [phase]) if *phase == at => "even slots".to_owned(),
        (2, [_]) => "odd slots".to_owned(),
        (all, some) => format!("{} of {all} phases", some.len()),
    }
}

fn conflicts(subject: &Subject, map: &Interference) -> String {
    let all: Vec<&Conflict> = map.false_sharing().collect();
    if all.is_empty() {
        return "No field that one thread writes lies in a line or a pair with another one that \
                another thread uses.\n"
            .to_owned();
    }
    let mut table = Columns::new("><<<");
    table.row(["weight", "where", "slots", "what gets in each other's way"]);
    for conflict in all.iter().take(MOST_SHOWN) {
        let Some(region) = subject.regions.get(conflict.region) else {
            continue;
        };
        let place = match (conflict.between, conflict.within) {
            (Between::Object, LINE) => "line",
            (Between::Object, _) => "pair",
            (Between::Neighbour, LINE) => "line, next slot",
            (Between::Neighbour, _) => "pair, next slot",
        };
        table.row([
            weight(conflict.weight),
            place.to_owned(),
            which_slots(region, conflict),
            what(subject, conflict),
        ]);
    }
    let more = all.len().saturating_sub(MOST_SHOWN);
    if more > 0 {
        table.text(format!("and {more} more, which --format csv has\n"));
    }
    format!("False sharing\n{table}\n")
}

fn what(subject: &Subject, conflict: &Conflict) -> String {
    let side = |of: FieldUse, verb| {
        let field = subject.field_name(conflict.region, of.field);
        format!("{field} ({verb} {})", subject.actor_name(of.actor))
    };
    let verb = match conflict.clash {
        Clash::WriterReader => "r",
        _ => "w",
    };
    format!("{} and {}", side(conflict.a, "w"), side(conflict.b, verb))
}

fn true_sharing(subject: &Subject, map: &Interference) -> String {
    let all: Vec<&Conflict> = map.true_sharing().collect();
    if all.is_empty() {
        return "No bytes are used by several threads of which one writes.\n".to_owned();
    }
    let mut table = Columns::new("><");
    for conflict in all.iter().take(MOST_SHOWN) {
        let name = |of: FieldUse| subject.field_name(conflict.region, of.field);
        let (a, b) = (
            subject.actor_name(conflict.a.actor),
            subject.actor_name(conflict.b.actor),
        );
        let who = match a == b {
            true => format!("by threads of {a}"),
            false => format!("by {a} and {b}"),
        };
        let field = match conflict.a.field == conflict.b.field {
            true => name(conflict.a),
            false => format!("{} and {}", name(conflict.a), name(conflict.b)),
        };
        table.row([weight(conflict.weight), format!("{field}, {who}")]);
    }
    let more = all.len().saturating_sub(MOST_SHOWN);
    if more > 0 {
        table.text(format!("and {more} more, which --format csv has\n"));
    }
    format!("True sharing, which no layout removes: only to access it less often does\n{table}")
}

/// A weight in three digits or so.
fn weight(weight: f64) -> String {
    match weight {
        w if w >= 100.0 => format!("{w:.0}"),
        w if w >= 10.0 => format!("{w:.1}"),
        w if w >= 0.01 => format!("{w:.2}"),
        w => format!("{w:.4}"),
    }
}

/// A line about a rule of a case: that it holds, or what breaks it.
pub fn rule(layout: &str, checked: &Checked) -> String {
    let rule = &checked.rule;
    match &checked.breach {
        None => format!("{READ}holds{READ:#}   {layout}: {rule}\n"),
        Some(breach) => {
            format!("{WRITTEN}broken{WRITTEN:#}  {layout}: {rule}: {breach}\n")
        }
    }
}
