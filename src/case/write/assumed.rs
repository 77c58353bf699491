//! What is said in a written case beside its steps: what was counted, what was not, and what is
//! assumed because profiles do not say it.

use crate::case::perf::{
    CountUnit, GroupedBy, Passed, ProfileFormat, RecordedRole, RecordedUse, UseCounts,
};
use crate::error::Error;
use crate::layout::StructLayout;
use std::fmt::Write as _;

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

/// Why there is nothing to write.
pub(super) fn nothing(layout: &StructLayout, passed: &Passed, profiles: &[ReadProfile]) -> Error {
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
pub(super) fn not_counted(passed: &Passed, roles: &[RecordedRole], unit: CountUnit) -> Vec<String> {
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
pub(super) fn assumptions(
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
pub(super) fn amount(count: u64, unit: CountUnit) -> String {
    match unit {
        CountUnit::Shares => format!("{}.{:02} %", count / 100, count % 100),
        CountUnit::Stated => format!("{count} uses"),
        _ => format!("{count} {unit}"),
    }
}

/// What is said of a use behind its step.
pub(super) fn shown(counts: &UseCounts, unit: CountUnit) -> String {
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
