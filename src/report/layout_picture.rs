//! The interference map of a layout as a picture: a row of 64 bytes for each line, two to a pair,
//! fields coloured by what is done to them, and the heaviest conflicts below.
//!
//! Not here: what is shown in it (`layout_map`, `layout::interference`).

use super::layout_map::{LineOf, Use, lines, which_slots};
use crate::error::{Error, Result};
use crate::layout::interference::{Between, Clash, FieldUse, Interference};
use crate::layout::subject::{Region, Subject};
use crate::space::{LINE, PAIR};
use maud::{Markup, html};

/// Width of a byte.
const BYTE: usize = 14;
/// Height of a line.
const ROW: usize = 34;
/// Left of the lines.
const LEFT: usize = 70;
/// Between pairs.
const GAP: usize = 8;
const WIDTH: usize = LEFT + LINE * BYTE + 20;
/// Lines that a picture has at most.
const MOST_LINES: usize = 400;
/// Conflicts that are listed.
const LISTED: usize = 12;

/// The picture as SVG.
pub fn svg(subject: &Subject, map: &Interference) -> Result<String> {
    let mut shown: Vec<(&Region, Vec<LineOf>)> = Vec::new();
    for (number, region) in subject.regions.iter().enumerate() {
        if number == 0 || !region.touches.is_empty() {
            let mut lines = lines(subject, region)?;
            if number > 0 {
                // Of a large companion only the lines that somebody touches.
                lines.retain(|line| {
                    let mut pieces = line.pieces.iter();
                    pieces.any(|piece| matches!(piece.done, Use::Written | Use::Read))
                });
            }
            shown.push((region, lines));
        }
    }
    let count: usize = shown.iter().map(|(_, lines)| lines.len()).sum();
    if count > MOST_LINES {
        return Err(Error::Input(format!(
            "'{}' has {count} lines; a picture has room for {MOST_LINES}",
            subject.layout.escape_debug()
        )));
    }
    let mut y = 50;
    let mut body = Vec::new();
    for (region, lines) in &shown {
        body.push(html! { text class="title" x=(LEFT) y=(y) { (region.name) ": " (region.bytes) " bytes" } });
        y += 12;
        let mut pair = None;
        for line in lines {
            if pair.is_some_and(|pair| pair != line.pair) {
                y += GAP;
            }
            pair = Some(line.pair);
            body.push(row(region, line, y));
            y += ROW;
        }
        y += 44;
    }
    let listed = list(subject, map);
    for (number, line) in listed.iter().enumerate() {
        body.push(html! { text class="note" x=(LEFT) y=(y + number * 18) { (line) } });
    }
    y += listed.len() * 18 + 10;
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(y) viewBox=(format!("0 0 {WIDTH} {y}")) font-family="sans-serif" {
            style {
                "text{fill:#222;font-size:11px}.title{font-size:14px;font-weight:bold}"
                ".note{font-size:12px}.line{fill:#666;text-anchor:end}"
                "rect{stroke:#fff;stroke-width:1}.w{fill:#e4704d}.r{fill:#8fbf6f}.i{fill:#d5d9de}.h{fill:#f3f4f6}"
            }
            rect width="100%" height="100%" fill="#fff" {}
            text class="title" x=(LEFT) y="22" { (subject.layout) }
            (legend())
            @for part in &body { (part) }
        }
    };
    Ok(picture.into_string())
}

fn legend() -> Markup {
    let items = [("w", "written"), ("r", "only read"), ("i", "not touched")];
    html! {
        @for (number, (class, text)) in items.into_iter().enumerate() {
            rect class=(class) x=(WIDTH - 330 + number * 105) y="11" width="14" height="14" {}
            text x=(WIDTH - 311 + number * 105) y="22" { (text) }
        }
    }
}

fn row(region: &Region, line: &LineOf, y: usize) -> Markup {
    // Bytes of the line before the object's first one.
    let shift = match line.line {
        0 => region.first_phase() % LINE,
        _ => 0,
    };
    let first = line.pieces.first().map_or(0, |piece| piece.start);
    let room = |bytes: usize| bytes * BYTE;
    html! {
        text class="line" x=(LEFT - 8) y=(y + ROW / 2) { "line " (line.line) }
        text class="line" x=(LEFT - 8) y=(y + ROW / 2 + 12) { "pair " (line.pair) }
        @for piece in &line.pieces {
            @let (x, wide) = (LEFT + room(piece.start - first + shift), room(piece.end - piece.start));
            @let class = match piece.done {
                Use::Written => "w",
                Use::Read => "r",
                Use::Idle => "i",
                Use::Hole => "h",
            };
            rect class=(class) x=(x) y=(y) width=(wide) height=(ROW - 2) {
                title { (piece.name) " " (piece.start) " to " (piece.end - 1) " " (piece.who) }
            }
            @if piece.done != Use::Hole {
                text x=(x + 3) y=(y + 14) { (clipped(&piece.name, wide)) }
                text x=(x + 3) y=(y + 27) { (clipped(&piece.who, wide)) }
            }
        }
    }
}

/// As much of a text as there is room for.
fn clipped(text: &str, wide: usize) -> String {
    // A character of 11 pixels is about 6 wide.
    let room = wide.saturating_sub(4) / 6;
    match text.chars().count() {
        count if count <= room => text.to_owned(),
        _ if room < 3 => String::new(),
        _ => text.chars().take(room - 1).chain(['…']).collect(),
    }
}

fn list(subject: &Subject, map: &Interference) -> Vec<String> {
    let mut listed = Vec::new();
    for conflict in map.conflicts.iter().take(LISTED) {
        let Some(region) = subject.regions.get(conflict.region) else {
            continue;
        };
        let side = |of: FieldUse| subject.field_name(conflict.region, of.field);
        let (a, b) = (side(conflict.a), side(conflict.b));
        let place = match (conflict.clash, conflict.between, conflict.within) {
            (Clash::TrueSharing, ..) => "the same bytes",
            (_, Between::Object, PAIR) => "only in one pair",
            (_, Between::Object, _) => "in one line",
            (_, _, PAIR) => "in one pair with the next slot",
            _ => "in one line with the next slot",
        };
        let slots = match which_slots(region, conflict) {
            slots if slots.is_empty() => slots,
            slots => format!(" ({slots})"),
        };
        let actor = |number| subject.actor_name(number);
        listed.push(format!(
            "{:.2}  {a} ({}) and {b} ({}): {place}{slots}",
            conflict.weight,
            actor(conflict.a.actor),
            actor(conflict.b.actor)
        ));
    }
    let more = map.conflicts.len().saturating_sub(LISTED);
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed
}
