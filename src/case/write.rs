//! Case files are written: a layout, and roles from recorded profiles or to be filled in.
//!
//! What the profiles do not say stands in the file as a comment, beside the assumption made for it.
//! Not here: reading case files, and reading profiles (`perf`).

use super::CaseField;
use super::perf::{
    CountUnit, FieldCover, GroupedBy, Passed, ProfileFormat, RecordedRole, RecordedUse, Usage,
    UseCounts,
};
use crate::error::{Error, Result};
use crate::layout::StructLayout;
use crate::space::LINE;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Most steps of a role: what is used less is named in a comment.
const STEPS: usize = 256;
/// Most bytes of the objects of a written case.
const OBJECT_BYTES: u64 = 64 << 20;

/// A profile that was read, for the head of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadProfile {
    /// Its file.
    pub name: String,
    /// Its format.
    pub format: ProfileFormat,
    /// What it does not say, or what was passed over.
    pub remarks: Vec<String>,
}

/// A case file of `layout`, with one role for a person to fill in.
pub fn skeleton(layout: &StructLayout) -> Result<String> {
    let cover = FieldCover::of(layout, &BTreeSet::new())?;
    let align = align(layout, &cover);
    let mut text = Text::default();
    text.comment("Written by hitm case new: the layout is filled in, who accesses it is not.");
    text.comment(&format!("Layout: {}", layout.source));
    text.top(
        layout,
        "who accesses what is to be filled in",
        &layout.source,
    );
    text.line("");
    text.line("[objects]");
    text.line("count = 1                 # N, or \"threads\": one for each");
    text.line("place = \"slab\"            # or \"array\": back to back");
    text.line("");
    text.comment(
        "What one kind of thread does over and over; a pass through its steps is one operation.",
    );
    text.line("[[role]]");
    text.line("name = \"to-fill-in\"");
    text.line("threads = \"rest\"          # or a number; one [[role]] for each kind of thread");
    text.line("steps = [");
    let word = cover
        .fields()
        .iter()
        .find(|field| field.count == 1 && is_word(field, align));
    if let Some(any) = cover.fields().iter().find(|field| field.count == 1) {
        text.line(&format!("  # {{ read = [{}] }},", quoted(&any.name)));
    }
    if let Some(word) = word {
        text.line(&format!("  # {{ write = {} }},", quoted(&word.name)));
        text.line(&format!(
            "  # {{ rmw = {} }},          # a locked add, as of a reference count",
            quoted(&word.name)
        ));
    }
    text.line("]");
    text.layout(layout, &cover, align);
    Ok(text.0)
}

/// A case file of `layout` with the roles that `usage` tells apart. It is an error if nothing was
/// recorded of the struct.
pub fn recorded(
    layout: &StructLayout,
    usage: Usage<'_, '_>,
    profiles: &[ReadProfile],
) -> Result<String> {
    let unit = usage.unit();
    let passed = usage.passed.clone();
    let whole: Vec<String> = usage
        .whole()
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let inside: Vec<String> = usage
        .found_inside()
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let (cover, by, roles) = usage.roles()?;
    let Some(unit) = unit.filter(|_| !roles.is_empty()) else {
        return Err(nothing(layout, &passed, profiles));
    };
    let mut text = Text::default();
    text.comment(
        "Written by hitm case new from recorded uses. Look it over before you believe it.",
    );
    text.comment(&format!("Layout: {}", layout.source));
    for profile in profiles {
        text.comment(&format!("Profile: {} ({})", profile.name, profile.format));
        for remark in &profile.remarks {
            text.comment(&format!("  {remark}"));
        }
    }
    for line in not_counted(&passed, &roles, unit) {
        text.comment(&line);
    }
    text.line("#");
    text.comment("Profiles do not say what follows; it is assumed:");
    for line in assumptions(unit, by, &roles, profiles, &whole, &inside) {
        text.comment(&format!("- {line}"));
    }
    let sources: Vec<String> = profiles
        .iter()
        .map(|p| format!("{} ({})", p.name, p.format))
        .collect();
    text.top(
        layout,
        "accesses as they were recorded",
        &sources.join("; "),
    );
    let seats = Seats::of(layout, &roles);
    text.objects(&seats);
    let align = align(layout, &cover);
    let threads = threads(&roles, by, unit);
    let mut names = BTreeSet::new();
    for (role, threads) in roles.iter().zip(threads) {
        text.role(role, &threads, &mut names);
        text.steps(role, &cover, align, unit, &seats);
    }
    text.layout(layout, &cover, align);
    Ok(text.0)
}

/// Why there is nothing to write.
fn nothing(layout: &StructLayout, passed: &Passed, profiles: &[ReadProfile]) -> Error {
    let name = layout.name.escape_debug();
    let what = match passed {
        Passed { outside: 1.., .. } => {
            format!(
                "none of {} recorded uses lies in the objects that --at names",
                passed.outside
            )
        }
        Passed {
            other_types: 1.., ..
        } => "what is recorded is of other types".to_owned(),
        Passed { differing, .. } if !differing.is_empty() => {
            format!("{}: another build?", differing.join("; "))
        }
        _ => match profiles.iter().flat_map(|profile| &profile.remarks).next() {
            Some(remark) => remark.clone(),
            None => "the profiles are empty".to_owned(),
        },
    };
    Error::Input(format!("no use of a field of struct '{name}': {what}"))
}

/// What was recorded and is not in the file.
fn not_counted(passed: &Passed, roles: &[RecordedRole], unit: CountUnit) -> Vec<String> {
    let holes = roles
        .iter()
        .fold(0u64, |sum, role| sum.saturating_add(role.holes));
    let mut lines = Vec::new();
    for (count, what) in [
        (passed.outside, "outside the objects of --at"),
        (passed.unplaced, "at addresses, without --at"),
        (passed.other_types, "of other types"),
        (passed.beyond, "beyond the struct's end: another build?"),
        (holes, "in holes of the struct"),
    ] {
        if count > 0 {
            lines.push(format!("Not counted: {} {what}", amount(count, unit)));
        }
    }
    for what in &passed.differing {
        lines.push(format!("Another build? {what}"));
    }
    lines
}

/// What the profiles do not say, and what is assumed instead.
fn assumptions(
    unit: CountUnit,
    by: GroupedBy,
    roles: &[RecordedRole],
    profiles: &[ReadProfile],
    whole: &[String],
    inside: &[String],
) -> Vec<String> {
    let mut lines = vec![match unit {
        CountUnit::Stated => {
            "order and number of the accesses in a pass: by offset, each once".to_owned()
        }
        _ => "order and number of the accesses in a pass: the most frequent first, each once"
            .to_owned(),
    }];
    let known = !roles.iter().any(|role| role.threads.is_empty());
    lines.push(match by {
        GroupedBy::Comm => "a role for each name of threads".to_owned(),
        GroupedBy::Symbol if unit == CountUnit::Stated => "a role for each path; any thread takes either, equally often".to_owned(),
        GroupedBy::Symbol => "a role for each function; any thread calls each of them, by its share of what was recorded".to_owned(),
        GroupedBy::Nothing => "one role for all threads: nothing tells a few kinds of them apart".to_owned(),
    });
    if !known {
        lines.push("which threads did it, and how many there were".to_owned());
    }
    let of = |format| profiles.iter().any(|profile| profile.format == format);
    if of(ProfileFormat::C2c) {
        lines.push("lines that no other CPU had modified: perf c2c leaves them out".to_owned());
    }
    if unit != CountUnit::Stated {
        lines.push("loads that hit the L1, or took less than the event's threshold: they may not be recorded".to_owned());
        lines.push("time between the accesses: there is no work step".to_owned());
    }
    let both =
        |one: &RecordedUse| one.counts.locked == 0 && one.counts.loads > 0 && one.counts.stores > 0;
    if roles.iter().flat_map(|role| &role.uses).any(both) {
        lines.push("whether a field that is read and written is changed by one locked instruction: then it is { rmw = … }".to_owned());
    }
    let unclear =
        |one: &RecordedUse| one.counts.all > one.counts.loads.saturating_add(one.counts.stores);
    if roles.iter().flat_map(|role| &role.uses).any(unclear) {
        lines.push("whether uses marked «?» are loads or stores: they stand as reads".to_owned());
    }
    if !inside.is_empty() {
        lines.push(format!(
            "in which struct within the struct a field is: taken as {}",
            some(inside.iter().map(String::as_str), inside.len())
        ));
    }
    if !whole.is_empty() {
        lines.push(format!(
            "which of their members is used in {}: the first stands for it",
            some(whole.iter().map(String::as_str), whole.len())
        ));
    }
    lines
}

/// A few names, and how many more there are.
fn some<'n>(names: impl Iterator<Item = &'n str>, count: usize) -> String {
    const SHOWN: usize = 8;
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if count > SHOWN {
        let _ = write!(text, " and {} more", count - SHOWN);
    }
    text
}

/// A count in its unit.
fn amount(count: u64, unit: CountUnit) -> String {
    match unit {
        CountUnit::Shares => format!("{}.{:02} %", count / 100, count % 100),
        CountUnit::Stated => format!("{count} uses"),
        _ => format!("{count} {unit}"),
    }
}

/// What is said of a use behind its step.
fn shown(counts: &UseCounts, unit: CountUnit) -> String {
    if unit == CountUnit::Stated {
        return match (counts.loads > 0, counts.stores > 0) {
            (true, true) => "read_write".to_owned(),
            (false, true) => "write_mostly".to_owned(),
            _ => "read_mostly".to_owned(),
        };
    }
    let either = counts
        .all
        .saturating_sub(counts.loads.saturating_add(counts.stores));
    let mut parts = Vec::new();
    // Shares of different events have no sum.
    if unit != CountUnit::Shares || either > 0 {
        let count = if unit == CountUnit::Shares {
            either
        } else {
            counts.all
        };
        parts.push(amount(count, unit));
    }
    for (count, what) in [
        (counts.loads, "loads"),
        (counts.stores, "stores"),
        (either, "?"),
        (counts.locked, "locked"),
        (counts.hitm_local, "HITM local"),
        (counts.hitm_remote, "HITM remote"),
        (counts.peer, "peer"),
    ] {
        match unit {
            _ if count == 0 => {}
            CountUnit::Shares if what == "?" => parts.push("?".to_owned()),
            CountUnit::Shares => parts.push(format!("{} of the {what}", amount(count, unit))),
            _ => parts.push(format!("{count} {what}")),
        }
    }
    parts.join(", ")
}

/// How threads are given to roles, as lines of the file.
fn threads(roles: &[RecordedRole], by: GroupedBy, unit: CountUnit) -> Vec<String> {
    if roles.len() == 1 {
        return vec!["threads = \"rest\"".to_owned()];
    }
    if by == GroupedBy::Comm && roles.iter().all(|role| !role.threads.is_empty()) {
        let most = (0..roles.len()).max_by_key(|&i| roles.get(i).map(|role| role.threads.len()));
        let line = |(i, role): (usize, &RecordedRole)| match Some(i) == most {
            true => format!(
                "threads = \"rest\"          # {} recorded",
                role.threads.len()
            ),
            false => format!("threads = {}", role.threads.len()),
        };
        return roles.iter().enumerate().map(line).collect();
    }
    // Thousandths, the most used role what the others leave.
    let weight = |role: &RecordedRole| match unit {
        CountUnit::Stated => 1,
        _ => u128::from(role.all().max(1)),
    };
    let all: u128 = roles.iter().map(weight).sum();
    let others: Vec<u128> = roles
        .iter()
        .skip(1)
        .map(|role| (weight(role) * 1000 / all).max(1))
        .collect();
    let first = 1000 - others.iter().sum::<u128>();
    let shares = std::iter::once(first).chain(others);
    shares
        .map(|share| format!("share = {}.{:03}", share / 1000, share % 1000))
        .collect()
}

/// Which objects of the case stand for those that were touched.
struct Seats {
    /// Objects of the case; 0 where the profiles do not say which object was touched.
    count: u64,
    /// The number in the case of each that was touched.
    seats: BTreeMap<u64, u64>,
    /// Whether the distances between them are those recorded.
    in_place: bool,
}

impl Seats {
    fn of(layout: &StructLayout, roles: &[RecordedRole]) -> Seats {
        let touched: BTreeSet<u64> = roles
            .iter()
            .flat_map(|role| role.objects.keys().copied())
            .collect();
        let most =
            OBJECT_BYTES / (layout.bytes.next_multiple_of(layout.align.max(1)) as u64).max(1);
        let (first, last) = (
            touched.first().copied().unwrap_or(0),
            touched.last().copied().unwrap_or(0),
        );
        let span = last - first;
        let in_place = span < most.min(touched.len() as u64 * 64);
        let seat = |(rank, object): (usize, &u64)| {
            (
                *object,
                if in_place {
                    object - first
                } else {
                    (rank as u64).min(most - 1)
                },
            )
        };
        let seats: BTreeMap<u64, u64> = touched.iter().enumerate().map(seat).collect();
        Seats {
            count: seats.values().last().map_or(0, |last| last + 1),
            seats,
            in_place,
        }
    }

    /// Which object a role's passes go to; `None` where there is only one.
    fn pick(&self, role: &RecordedRole) -> Option<String> {
        if self.count < 2 {
            return None;
        }
        if let (1, Some(object)) = (role.objects.len(), role.objects.keys().next()) {
            return self.seats.get(object).map(u64::to_string);
        }
        let alone: BTreeSet<u32> = role.objects.values().flatten().copied().collect();
        let own = alone.len() == role.objects.len() && role.threads.len() == alone.len();
        Some(if own {
            "\"own\"".to_owned()
        } else {
            "\"random\"".to_owned()
        })
    }
}

/// The alignment of objects: at least that of the words in them, which a compiler keeps.
fn align(layout: &StructLayout, cover: &FieldCover) -> usize {
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
fn is_word(field: &CaseField, align: usize) -> bool {
    matches!(field.bytes, 1 | 2 | 4 | 8)
        && field.offset.is_multiple_of(field.bytes)
        && align >= field.bytes
}

/// `text` as a string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A text that grows by lines.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// A comment of one line, whatever is in `text`.
    fn comment(&mut self, text: &str) {
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

    fn top(&mut self, layout: &StructLayout, about: &str, source: &str) {
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

    fn objects(&mut self, seats: &Seats) {
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

    fn role(&mut self, role: &RecordedRole, threads: &str, names: &mut BTreeSet<String>) {
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

    fn steps(
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

    fn layout(&mut self, layout: &StructLayout, cover: &FieldCover, align: usize) {
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
