//! Whether a case may run: what could make a thread leave its objects, or wait for ever.
//!
//! Here: fields that lie in their objects, and bytes that hold pointers, locks and sequence
//! counters, which no plain write may reach. The file's reader says most of it first, with the line
//! it stands in; a case that was made otherwise is held to it here. Not here: whether locks are
//! given back, which the reader alone checks.

use super::lower::each;
use super::places::field;
use crate::case::{Case, CaseField, CaseLayout, LockKind, ObjectOf, Place, Step};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// What bytes are used for, reads apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// An address of an object of that struct.
    Pointer(ObjectOf),
    /// An address of an object of that part.
    Part(usize),
    /// A lock.
    Lock(LockKind),
    /// A sequence counter.
    Seq,
    /// Any value.
    Value,
    /// Swapped, which leaves a lock in the low half as it is.
    Swapped,
}

impl Use {
    fn in_words(self) -> &'static str {
        match self {
            Use::Pointer(_) | Use::Part(_) => "a pointer that is followed",
            Use::Lock(_) => "a lock",
            Use::Seq => "a sequence counter",
            Use::Value | Use::Swapped => "written",
        }
    }

    /// How many it takes, where only one number will do.
    fn bytes(self) -> Option<usize> {
        match self {
            Use::Pointer(_) | Use::Part(_) => Some(8),
            Use::Lock(kind) => Some(kind.bytes()),
            Use::Seq | Use::Value | Use::Swapped => None,
        }
    }

    fn goes_with(self, other: Use) -> bool {
        let plain = |what| matches!(what, Use::Value | Use::Swapped);
        self == other || plain(self) && plain(other)
    }
}

/// Bytes of an object and what they are used for.
struct Used<'a> {
    /// The struct, and the part of it if any.
    of: (ObjectOf, Option<usize>),
    from: usize,
    to: usize,
    what: Use,
    name: &'a str,
}

/// Err: a field beyond its object, or two uses of the same bytes that could end in a wild pointer or
/// a lock that nobody frees.
pub fn check(case: &Case, layout: &CaseLayout) -> Result<()> {
    inside(case, layout)?;
    // Each once: there are far fewer than steps, and an array has an entry for each element below.
    let mut named = BTreeSet::new();
    for (number, part) in layout.parts.iter().enumerate() {
        named.insert((ObjectOf::Struct, part.via.as_str(), Use::Part(number)));
    }
    let companions = case.companions.iter().enumerate();
    let companions = companions.map(|(i, c)| (ObjectOf::Companion(i), &c.objects));
    let chains = std::iter::once((ObjectOf::Struct, &case.objects)).chain(companions);
    for (of, objects) in chains {
        if let Place::Chain { link, .. } = &objects.place {
            named.insert((of, link.as_str(), Use::Pointer(of)));
        }
    }
    for steps in &layout.steps {
        each(steps, &mut |step| named.extend(uses(step)));
    }
    let mut all = Vec::new();
    for (of, name, what) in named {
        add(case, layout, of, name, what, &mut all);
    }
    all.sort_by_key(|used| (used.of, used.from, used.to, used.what));
    for (i, a) in all.iter().enumerate() {
        if a.what.bytes().is_some_and(|bytes| bytes != a.to - a.from) {
            return Err(Error::Input(format!(
                "case {}, layout '{}': '{}' is {}, and {} bytes are not what that takes; name \
                 another field",
                case.name,
                layout.name,
                a.name,
                a.what.in_words(),
                a.to - a.from
            )));
        }
        let later = all[i + 1..].iter();
        let mut overlapping = later.take_while(|b| b.of == a.of && b.from < a.to);
        if let Some(b) = overlapping.find(|b| !a.what.goes_with(b.what)) {
            return Err(Error::Input(format!(
                "case {}, layout '{}': '{}' is {}, and '{}', which has bytes in common with it, is \
                 {}: a thread could be led astray or wait for ever; name other fields",
                case.name,
                layout.name,
                a.name,
                a.what.in_words(),
                b.name,
                b.what.in_words()
            )));
        }
    }
    Ok(())
}

/// Err: a field that does not lie in its object, or an object that does not in its enclosing one.
fn inside(case: &Case, layout: &CaseLayout) -> Result<()> {
    let own = (&layout.name, &layout.fields, layout.bytes);
    let parts = layout.parts.iter().map(|p| (&p.name, &p.fields, p.bytes));
    let companions = case.companions.iter();
    let companions = companions.map(|c| (&c.name, &c.fields, c.bytes));
    for (name, fields, bytes) in std::iter::once(own).chain(parts).chain(companions) {
        if let Some(field) = fields.iter().find(|field| field.end() > bytes) {
            return Err(Error::Input(format!(
                "case {}: '{}' of {name} ends at byte {}, and {name} has {bytes}",
                case.name,
                field.name,
                field.end()
            )));
        }
    }
    let end = case.objects.at + layout.bytes;
    match case.objects.enclosing_bytes.is_none_or(|all| end <= all) {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "case {}, layout '{}': its objects end at byte {end} of the enclosing ones, behind them",
            case.name, layout.name
        ))),
    }
}

/// What a step uses its field for.
fn uses(step: &Step) -> Option<(ObjectOf, &str, Use)> {
    let (field, what) = match step {
        Step::Write { field, .. } | Step::Rmw(field) => (field, Use::Value),
        Step::Cas { field, .. } => (field, Use::Swapped),
        Step::Lock { field, kind } => match kind {
            LockKind::RwRead => (field, Use::Lock(LockKind::RwWrite)),
            kind => (field, Use::Lock(*kind)),
        },
        Step::SeqRead { field, .. } | Step::SeqWrite { field, .. } => (field, Use::Seq),
        Step::Follow { field, to } => (field, Use::Pointer(*to)),
        _ => return None,
    };
    Some((field.of, field.name.as_str(), what))
}

fn add<'a>(
    case: &'a Case,
    layout: &'a CaseLayout,
    of: ObjectOf,
    name: &'a str,
    what: Use,
    all: &mut Vec<Used<'a>>,
) {
    let mut one = |part: Option<usize>, field: &CaseField| {
        // Of a lockref, the low half is the lock and the high half counts.
        let half = field.bytes / 2;
        let lockref = match what {
            Use::Lock(kind) => kind.bytes() == half,
            Use::Swapped => locked_low_half(layout, of, name, half),
            _ => false,
        };
        for element in 0..field.count {
            let start = field.offset + element * field.bytes;
            let (from, to) = match (lockref, what) {
                (true, Use::Lock(_)) => (start, start + half),
                (true, _) => (start + half, start + field.bytes),
                (false, _) => (start, start + field.bytes),
            };
            all.push(Used {
                of: (of, part),
                from,
                to,
                what,
                name,
            });
        }
    };
    match of {
        ObjectOf::Companion(number) => {
            if let Some(field) = field(&case.companions[number].fields, name) {
                one(None, field);
            }
        }
        ObjectOf::Struct => {
            if let Some(field) = field(&layout.fields, name) {
                one(None, field);
            }
            for (number, part) in layout.parts.iter().enumerate() {
                if let Some(field) = field(&part.fields, name) {
                    one(Some(number), field);
                }
            }
        }
    }
}

fn locked_low_half(layout: &CaseLayout, of: ObjectOf, name: &str, half: usize) -> bool {
    let mut found = false;
    for steps in &layout.steps {
        each(steps, &mut |step| {
            if let Step::Lock { field, kind } = step {
                found |= field.of == of && field.name == name && kind.bytes() == half;
            }
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Threads;

    /// A lock in the low half of `f`, which is swapped as well; beside it a plain word.
    fn case() -> Case {
        let text = r#"
            case = 1
            struct = "node"
            about = "a lockref"
            source = "none"
            [[role]]
            name = "all"
            threads = "rest"
            steps = [
              { cas = "f", tries = 2 },
              { lock = "f", kind = "queued" },
              { write = "g" },
              { unlock = "f" },
            ]
            [[layout]]
            name = "only"
            size = 64
            fields = { f = [0, 8], g = [8, 8] }
        "#;
        let case = Case::parse("node", text).unwrap();
        assert!(matches!(case.roles[0].threads, Threads::Rest));
        case
    }

    fn refused(case: &Case) -> bool {
        check(case, &case.layouts[0]).is_err()
    }

    #[test]
    fn a_lock_that_shares_its_word_with_a_swap_is_written_by_nothing_else() {
        let mut case = case();
        assert!(!refused(&case));
        let Step::Lock { field, .. } = case.layouts[0].steps[0][1].clone() else {
            panic!("the second step locks");
        };
        case.layouts[0].steps[0].push(Step::Rmw(field));
        assert!(refused(&case));
    }

    #[test]
    fn a_field_behind_its_object_is_refused() {
        let mut case = case();
        case.layouts[0].bytes = 8;
        assert!(refused(&case));
    }
}
