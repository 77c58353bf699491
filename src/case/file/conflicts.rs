//! What the roles of a case may not do to each other in one layout.
//!
//! Here: locks in a circle, locks, counters and pointers that are written over, counters with
//! several writers, waits that nobody ends. Not here: the walk that finds out who does what
//! (`check`).

use super::source::{Source, clip};
use crate::case::{Case, LockKind, ObjectOf, Threads};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// A lock or a counter by its struct and name.
pub type Named = (ObjectOf, String);

/// What a step does to bytes that has to fit what others do to them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Changed by that step.
    Write(&'static str),
    /// Changed by a compare-and-swap, which a lock in the low half may share.
    Cas,
    /// Locked.
    Lock(LockKind),
    /// A sequence counter.
    Seq,
    /// A pointer to what is called so, preset and never changed.
    Pointer(String),
}

impl Use {
    fn name(&self) -> String {
        match self {
            Use::Write(step) => format!("changed by '{step}'"),
            Use::Cas => "changed by 'cas'".to_owned(),
            Use::Lock(kind) => format!("a {kind} lock"),
            Use::Seq => "a sequence counter".to_owned(),
            Use::Pointer(to) => format!("a pointer to {}", clip(to)),
        }
    }

    /// Whether the same field, of elements of so many bytes, may be used in both ways.
    fn goes_with(&self, other: &Use, element: usize) -> bool {
        use LockKind::{RwRead, RwWrite};
        match (self, other) {
            (Use::Write(_) | Use::Cas, Use::Write(_) | Use::Cas) => true,
            (Use::Lock(RwRead | RwWrite), Use::Lock(RwRead | RwWrite)) => true,
            (Use::Lock(kind), Use::Cas) | (Use::Cas, Use::Lock(kind)) => {
                kind.bytes() == 4 && element == 8
            }
            (one, other) => one == other,
        }
    }
}

/// Bytes that a step uses in a way that has to fit the ways of others.
#[derive(Clone, Debug)]
pub struct Claim {
    pub of: ObjectOf,
    pub part: Option<usize>,
    /// First byte.
    pub from: usize,
    /// First byte behind.
    pub to: usize,
    /// Bytes of the field, or of an element of it.
    pub element: usize,
    pub field: String,
    pub r#use: Use,
    /// None where the arena does it.
    pub role: Option<usize>,
    pub line: usize,
}

/// What keeps writers of a counter apart: which object the lock lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lock {
    /// In that of the counter.
    SameObject,
    /// In that one, whichever the counter lies in.
    Object(usize),
}

/// A sequence counter that is written.
#[derive(Debug)]
pub struct SeqWrite {
    pub of: ObjectOf,
    pub field: String,
    pub role: usize,
    pub line: usize,
    /// Whether every thread has an object, and this is its own.
    pub own: bool,
    /// Locks that are held meanwhile, with the element of an array.
    pub locks: BTreeSet<(Named, Option<usize>, Lock)>,
}

/// A field that is waited for.
#[derive(Debug)]
pub struct Waiting {
    pub of: ObjectOf,
    pub part: Option<usize>,
    /// First byte, and first byte behind.
    pub bytes: (usize, usize),
    pub field: String,
    pub role: usize,
    pub line: usize,
}

/// Struct and part, first byte, field, use and role of a claim.
type ClaimKey = (ObjectOf, Option<usize>, usize, String, Use, Option<usize>);

/// What all roles do, as far as it has to fit.
#[derive(Debug, Default)]
pub struct Claims {
    /// Each once.
    claims: BTreeMap<ClaimKey, Claim>,
    /// The second is waited for while the first is held; and where.
    pub orders: BTreeMap<(Named, Named), usize>,
    pub seq_writes: Vec<SeqWrite>,
    pub waits: Vec<Waiting>,
}

impl Claims {
    pub fn add(&mut self, claim: Claim) {
        let (field, r#use) = (claim.field.clone(), claim.r#use.clone());
        let key = (claim.of, claim.part, claim.from, field, r#use, claim.role);
        self.claims.entry(key).or_insert(claim);
    }
}

/// The layout in which roles are held against each other.
pub struct Among<'c> {
    pub source: &'c Source<'c>,
    pub case: &'c Case,
    /// Name of the layout.
    pub layout: &'c str,
}

impl Among<'_> {
    /// Nothing that roles do to each other is wrong.
    pub fn check(&self, claims: &Claims) -> Result<()> {
        self.overwritten(claims)?;
        self.halves(claims)?;
        self.circles(&claims.orders)?;
        self.seq_writers(&claims.seq_writes)?;
        claims
            .waits
            .iter()
            .try_for_each(|wait| self.ends(wait, claims))
    }

    fn wrong(&self, line: usize, what: impl std::fmt::Display) -> Error {
        let what = format!("layout '{}': {what}", self.layout);
        self.source.wrong(line, what)
    }

    fn role(&self, role: Option<usize>) -> String {
        let role = role.and_then(|role| self.case.roles.get(role));
        role.map_or_else(String::new, |role| format!(" in role '{}'", role.name))
    }

    /// No lock, counter or pointer has bytes in common with what is used in another way: a wild
    /// pointer or a lock that nobody holds would crash the measurement or stop it.
    fn overwritten(&self, claims: &Claims) -> Result<()> {
        let mut open: Vec<&Claim> = Vec::new();
        // In the order of their bytes, those of one object together.
        for claim in claims.claims.values() {
            let beside =
                |one: &&Claim| (one.of, one.part) == (claim.of, claim.part) && one.to > claim.from;
            open.retain(beside);
            let plain = |one: &Claim| matches!(one.r#use, Use::Write(_) | Use::Cas);
            let fits = |one: &Claim| match one.field == claim.field {
                true => one.r#use.goes_with(&claim.r#use, claim.element),
                false => plain(one) && plain(claim),
            };
            if let Some(one) = open.iter().find(|one| !fits(one)) {
                return Err(self.wrong(
                    claim.line.max(one.line),
                    format_args!(
                        "'{}' is {}{} and '{}', in the same bytes, is {}{}; a lock, a counter or \
                         a pointer that something else writes to would stop or crash the \
                         measurement",
                        clip(&one.field),
                        one.r#use.name(),
                        self.role(one.role),
                        clip(&claim.field),
                        claim.r#use.name(),
                        self.role(claim.role)
                    ),
                ));
            }
            // One claim of each kind says as much as several.
            let same = |one: &&Claim| one.field == claim.field && one.r#use == claim.r#use;
            if !open.iter().any(same) {
                open.push(claim);
            }
        }
        Ok(())
    }

    /// A lock of 4 bytes in a field of 8 is the low half of a lockref: something swaps the field.
    fn halves(&self, claims: &Claims) -> Result<()> {
        let fields = claims.claims.values();
        let swapped: BTreeSet<(ObjectOf, &str)> = fields
            .filter(|claim| claim.r#use == Use::Cas)
            .map(|claim| (claim.of, claim.field.as_str()))
            .collect();
        for claim in claims.claims.values() {
            if let Use::Lock(kind) = claim.r#use
                && kind.bytes() == 4
                && claim.element == 8
                && !swapped.contains(&(claim.of, claim.field.as_str()))
            {
                return Err(self.wrong(
                    claim.line,
                    format_args!(
                        "a {kind} lock has 4 bytes and '{}' has 8; only a field that is also \
                         swapped (cas) has a lock in its low half",
                        clip(&claim.field)
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Locks are taken in one order by all, or two threads could wait for each other for ever.
    fn circles(&self, orders: &BTreeMap<(Named, Named), usize>) -> Result<()> {
        let mut left: BTreeMap<&Named, BTreeSet<&Named>> = BTreeMap::new();
        let mut into: BTreeMap<&Named, usize> = BTreeMap::new();
        for (first, second) in orders.keys() {
            left.entry(first).or_default().insert(second);
            into.entry(first).or_default();
            *into.entry(second).or_default() += 1;
        }
        let mut free: Vec<&Named> = into
            .iter()
            .filter(|(_, n)| **n == 0)
            .map(|(l, _)| *l)
            .collect();
        while let Some(lock) = free.pop() {
            for second in left.remove(lock).unwrap_or_default() {
                if let Some(n) = into.get_mut(second) {
                    *n -= 1;
                    if *n == 0 {
                        free.push(second);
                    }
                }
            }
        }
        // What is left is in a circle or behind one: the way back from it leads into the circle.
        let Some(mut lock) = left.keys().next().copied() else {
            return Ok(());
        };
        let mut before: BTreeMap<&Named, &Named> = BTreeMap::new();
        for (first, second) in orders.keys().filter(|(first, _)| left.contains_key(first)) {
            before.insert(second, first);
        }
        let mut way: Vec<&Named> = Vec::new();
        let mut met: BTreeSet<&Named> = BTreeSet::new();
        while met.insert(lock) {
            way.push(lock);
            lock = before.get(lock).copied().unwrap_or(lock);
        }
        let mut circle: Vec<&Named> = way.into_iter().skip_while(|one| *one != lock).collect();
        circle.push(lock);
        circle.reverse();
        let pairs = circle.iter().zip(circle.iter().skip(1));
        let lines = pairs.filter_map(|(a, b)| orders.get(&((*a).clone(), (*b).clone())));
        let line = lines.max().copied().unwrap_or(1);
        let names: Vec<String> = circle
            .iter()
            .map(|(_, name)| format!("'{}'", clip(name)))
            .collect();
        Err(self.wrong(
            line,
            format_args!(
                "locks and counters are waited for in a circle, {}: two threads could wait for each other for ever; \
                 take them in one order",
                names.join(" then ")
            ),
        ))
    }

    /// Whether a role may have more than one thread.
    fn many(&self, role: usize) -> bool {
        let role = self.case.roles.get(role);
        role.is_none_or(|role| role.threads != Threads::Of(1))
    }

    /// A counter has one writer at a time: two at once would leave it odd, and its readers waiting.
    fn seq_writers(&self, writes: &[SeqWrite]) -> Result<()> {
        let mut of: BTreeMap<(ObjectOf, &str), Vec<&SeqWrite>> = BTreeMap::new();
        for write in writes {
            of.entry((write.of, &write.field)).or_default().push(write);
        }
        for writes in of.values() {
            let Some(first) = writes.first() else {
                continue;
            };
            let alone = writes.iter().all(|one| one.role == first.role) && !self.many(first.role);
            let own = writes.iter().all(|one| one.own);
            let mut common = first.locks.clone();
            for write in writes {
                common.retain(|lock| write.locks.contains(lock));
            }
            if !alone && !own && common.is_empty() {
                return Err(self.wrong(
                    first.line,
                    format_args!(
                        "'{}' may have several writers at once, and would stay odd; put one lock \
                         (not rw-read) around every seq_write of it, or give it to a role with \
                         threads = 1",
                        clip(&first.field)
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Another thread writes what is waited for.
    fn ends(&self, wait: &Waiting, claims: &Claims) -> Result<()> {
        let role = |role: usize| self.case.roles.get(role).map(|role| role.threads);
        let of_its_own = |threads: Option<Threads>| matches!(threads, Some(Threads::Of(_)));
        let (from, to) = wait.bytes;
        let written = |claim: &&Claim| {
            (claim.of, claim.part) == (wait.of, wait.part) && claim.from < to && from < claim.to
        };
        let other = |writer: usize| match (role(writer), role(wait.role)) {
            (Some(Threads::Of(threads)), _) if writer == wait.role => threads > 1,
            // The rest and shares are one pool of threads, which may be a single one.
            (writer, waiter) => of_its_own(writer) || of_its_own(waiter),
        };
        let mut writers = claims.claims.values().filter(written);
        match writers.any(|claim| claim.role.is_some_and(other)) {
            true => Ok(()),
            false => Err(self.wrong(
                wait.line,
                format_args!(
                    "role '{}' waits for '{}', and no other thread is sure to write it: another \
                     role must, or its own with threads = 2 or more; at least one of the two needs \
                     threads = N, as those with the rest or a share may be one thread",
                    self.role_name(wait.role),
                    clip(&wait.field)
                ),
            )),
        }
    }

    fn role_name(&self, role: usize) -> &str {
        self.case.roles.get(role).map_or("", |role| &role.name)
    }
}
