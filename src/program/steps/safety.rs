//! Whether a case may run: what could make a thread leave its objects, or wait for ever.
//!
//! Here: bytes that hold pointers, locks and sequence counters, which no plain write may reach.
//! Not here: whether locks are given back, which the file's reader checks.

use super::lower::each;
use super::places::field;
use crate::case::{Case, CaseField, CaseLayout, FieldRef, LockKind, ObjectOf, Place, Step};
use crate::error::{Error, Result};

/// What bytes are used for, reads apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Use {
    fn in_words(self) -> &'static str {
        match self {
            Use::Pointer(_) | Use::Part(_) => "a pointer that is followed",
            Use::Lock(_) => "a lock",
            Use::Seq => "a sequence counter",
            Use::Value => "written",
        }
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

/// Err: two uses of the same bytes that could end in a wild pointer or a lock that nobody frees.
pub fn check(case: &Case, layout: &CaseLayout) -> Result<()> {
    let mut all = Vec::new();
    for (number, part) in layout.parts.iter().enumerate() {
        add(
            case,
            layout,
            ObjectOf::Struct,
            &part.via,
            Use::Part(number),
            &mut all,
        );
    }
    let companions = case.companions.iter().enumerate();
    let companions = companions.map(|(i, c)| (ObjectOf::Companion(i), &c.objects));
    let chains = std::iter::once((ObjectOf::Struct, &case.objects)).chain(companions);
    for (of, objects) in chains {
        if let Place::Chain { link, .. } = &objects.place {
            add(case, layout, of, link, Use::Pointer(of), &mut all);
        }
    }
    for steps in &layout.steps {
        each(steps, &mut |step| uses(case, layout, step, &mut all));
    }
    // Small: one entry for each field that steps name, at most.
    all.sort_by_key(|used| (used.of, used.from));
    all.dedup_by(|a, b| (a.of, a.from, a.to, a.what) == (b.of, b.from, b.to, b.what));
    for (i, a) in all.iter().enumerate() {
        let later = all[i + 1..].iter();
        let overlapping = later.take_while(|b| b.of == a.of && b.from < a.to);
        if let Some(b) = overlapping.into_iter().find(|b| b.what != a.what) {
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

fn uses<'a>(case: &'a Case, layout: &'a CaseLayout, step: &'a Step, all: &mut Vec<Used<'a>>) {
    let mut add = |field: &'a FieldRef, what| add(case, layout, field.of, &field.name, what, all);
    match step {
        Step::Write { field, .. } | Step::Rmw(field) | Step::Cas { field, .. } => {
            add(field, Use::Value);
        }
        Step::Lock { field, kind } => match kind {
            LockKind::RwRead => add(field, Use::Lock(LockKind::RwWrite)),
            kind => add(field, Use::Lock(*kind)),
        },
        Step::SeqRead { field, .. } | Step::SeqWrite { field, .. } => add(field, Use::Seq),
        Step::Follow { field, to } => add(field, Use::Pointer(*to)),
        _ => {}
    }
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
            Use::Value => locked_low_half(layout, of, name, half),
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
