//! The text of a written case, part by part.

use super::assumed::{amount, shown};
use super::seats::Seats;
use crate::case::CaseField;
use crate::case::perf::{CountUnit, FieldCover, RecordedRole, UseCounts};
use crate::layout::StructLayout;
use crate::space::LINE;
use std::collections::BTreeSet;

/// Most steps of a role: what is used less is named in a comment.
const STEPS: usize = 256;

/// The alignment of objects: at least that of the words in them, which a compiler keeps.
pub(super) fn align(layout: &StructLayout, cover: &FieldCover) -> usize {
    if layout.align > 1 && layout.align.is_power_of_two() && layout.align <= crate::space::PAGE {
        return layout.align;
    }
    let words = cover.fields().iter().map(|field| field.bytes);
    words
        .filter(|bytes| matches!(bytes, 1 | 2 | 4 | 8))
        .max()
        .unwrap_or(1)
}

/// Whether a step may store to a field, or to an element of it.
pub(super) fn is_word(field: &CaseField, align: usize) -> bool {
    matches!(field.bytes, 1 | 2 | 4 | 8)
        && field.offset.is_multiple_of(field.bytes)
        && align >= field.bytes
}

/// `text` as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A text that grows by lines.
#[derive(Default)]
pub(super) struct Text(pub String);

impl Text {
    pub fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// A comment of one line, whatever is in `text`.
    pub fn comment(&mut self, text: &str) {
        const MOST: usize = 600;
        let mut line = String::from("# ");
        for c in text.chars().take(MOST) {
            match c.is_control() {
                true => line.extend(c.escape_default()),
                false => line.push(c),
            }
        }
        self.line(&line);
    }

    pub fn top(&mut self, layout: &StructLayout, about: &str, source: &str) {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-<> ".contains(c);
        let name = layout
            .name
            .chars()
            .take(64)
            .map(|c| if fits(c) { c } else { '_' });
        let name: String = name.collect();
        self.line("");
        self.line("case = 1");
        self.line(&format!("struct = {}", quoted(&name)));
        self.line(&format!("about = {}", quoted(&format!("{name}: {about}"))));
        self.line(&format!("source = {}", quoted(source)));
    }

    pub fn objects(&mut self, seats: &Seats) {
        self.line("");
        match seats.count {
            0 => self
                .comment("Which object was used, the profile does not say: all uses are in one."),
            1 => self.comment("One object was touched."),
            _ if seats.in_place => self.comment(&format!(
                "{} objects were touched, between these.",
                seats.seats.len()
            )),
            _ => self.comment(&format!(
                "{} objects were touched; they lay farther apart than these.",
                seats.seats.len()
            )),
        }
        self.line("[objects]");
        self.line(&format!("count = {}", seats.count.max(1)));
        let place = if seats.count > 1 { "array" } else { "slab" };
        self.line(&format!("place = \"{place}\""));
    }

    pub fn role(&mut self, role: &RecordedRole, threads: &str, names: &mut BTreeSet<String>) {
        self.line("");
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let name = role
            .name
            .chars()
            .take(56)
            .map(|c| if fits(c) { c } else { '-' });
        let mut name: String = name.collect();
        if name.is_empty() {
            name = if names.is_empty() && role.name.is_empty() {
                "recorded".to_owned()
            } else {
                "unknown".to_owned()
            };
        }
        let mut number = 1;
        let mut unique = name.clone();
        while !names.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}-{number}");
        }
        if unique != role.name && !role.name.is_empty() {
            self.comment(&role.name);
        }
        self.line("[[role]]");
        self.line(&format!("name = {}", quoted(&unique)));
        self.line(threads);
    }

    pub fn steps(
        &mut self,
        role: &RecordedRole,
        cover: &FieldCover,
        align: usize,
        unit: CountUnit,
        seats: &Seats,
    ) {
        self.line("steps = [");
        if let Some(pick) = seats.pick(role) {
            let said = match role.objects.len() {
                1 => "it touched this one alone".to_owned(),
                touched => format!("it touched {touched} objects"),
            };
            self.step(&format!("{{ pick = {pick} }},"), &said);
        }
        let (mut steps, mut left_out) = (0, 0u64);
        for one in &role.uses {
            let Some(field) = cover.fields().get(one.field) else {
                continue;
            };
            if steps >= STEPS {
                left_out = left_out.saturating_add(one.counts.all);
                continue;
            }
            steps += 2;
            let mut said = shown(&one.counts, unit);
            for (does, why) in does(&one.counts) {
                if does != "read" && !is_word(field, align) {
                    self.comment(&format!(
                        "  {does} of {} ({said}): no step can; it takes 1, 2, 4 or 8 bytes, naturally aligned",
                        field.name
                    ));
                    continue;
                }
                let at = one
                    .element
                    .map_or(String::new(), |at| format!(", at = {at}"));
                let name = quoted(&field.name);
                let step = match does {
                    "read" if field.count == 1 && field.bytes > 8 => {
                        format!("{{ read = [{name}], bytes = 8 }},")
                    }
                    "read" => format!("{{ read = [{name}]{at} }},"),
                    // A bit-field is read, changed and stored.
                    "write" if cover.is_bit_field(one.field) => {
                        format!("{{ write = {name}, if_changed = 1.0 }},")
                    }
                    _ => format!("{{ {does} = {name}{at} }},"),
                };
                self.step(&step, &format!("{said}{why}"));
                "of the same".clone_into(&mut said);
            }
        }
        if left_out > 0 {
            self.comment(&format!(
                "  Fields that are used less are left out: {}",
                amount(left_out, unit)
            ));
        }
        self.line("]");
    }

    fn step(&mut self, step: &str, said: &str) {
        self.line(&format!("  {step:<38} # {said}"));
    }

    pub fn layout(&mut self, layout: &StructLayout, cover: &FieldCover, align: usize) {
        self.line("");
        self.comment(&format!(
            "From {}. Add others below: base = \"as-built\", move = {{ FIELD = OFFSET }}",
            layout.source
        ));
        if cover.left_out > 0 {
            self.comment(&format!(
                "{} members are left out: no names for fields, or too many",
                cover.left_out
            ));
        }
        self.line("[[layout]]");
        self.line("name = \"as-built\"");
        self.line(&format!("size = {}", layout.bytes));
        self.line(&format!("align = {align}"));
        self.line("fields = {");
        let mut line = None;
        for field in cover.fields() {
            if line != Some(field.offset / LINE) {
                line = Some(field.offset / LINE);
                self.line(&format!("  # line {}", field.offset / LINE));
            }
            let bare = field
                .name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            let name = if bare {
                field.name.clone()
            } else {
                quoted(&field.name)
            };
            let count = if field.count > 1 {
                format!(", {}", field.count)
            } else {
                String::new()
            };
            self.line(&format!(
                "  {name} = [{}, {}{count}],",
                field.offset, field.bytes
            ));
        }
        self.line("}");
    }
}

/// The steps that one use becomes, each with what is to be said of it.
fn does(counts: &UseCounts) -> Vec<(&'static str, &'static str)> {
    let mut steps = Vec::new();
    let either = counts.all > counts.loads.saturating_add(counts.stores);
    if counts.loads > counts.locked || either {
        steps.push(("read", ""));
    }
    match (counts.locked > 0, counts.stores > 0) {
        // The store of a locked instruction is sampled as well, often without saying so.
        (true, true) => steps.push(("rmw", "; the stores are taken as its own")),
        (true, false) => steps.push(("rmw", "")),
        (false, true) => steps.push(("write", "")),
        (false, false) => {}
    }
    if steps.is_empty() {
        steps.push(("read", ""));
    }
    steps
}
