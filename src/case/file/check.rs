//! What the steps of all roles may not do together in one layout: more than a pass may hold, wait
//! for each other for ever, break a lock, a counter or a pointer.
//!
//! Here: the walk over the steps, and what is wrong with a step where it stands. Not here: what is
//! wrong between roles (`conflicts`).

use super::conflicts::{Among, Claim, Claims, Lock, SeqWrite, Use, Waiting};
use super::cost::Cost;
use super::objects::{ASSUMED_THREADS, Index, most, pieces};
use super::source::{Source, clip};
use super::steps::Steps;
use crate::case::{
    Case, CaseField, CaseLayout, Count, Element, FieldRef, LockKind, ObjectOf, Objects, Pick,
    Place, Step, Times,
};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// Most accesses of a pass.
const ACCESSES: u64 = 4096;

/// Most work of a pass, in nanoseconds: a window ends when the passes that have begun have.
const WORK_NS: u64 = 100_000_000;

/// Most locks that a thread holds at a time.
const HELD: usize = 8;

/// What is checked: all roles of a case in one layout.
pub struct Checked<'c> {
    pub source: &'c Source<'c>,
    pub case: &'c Case,
    /// Without its steps.
    pub layout: &'c CaseLayout,
    /// Where it stands.
    pub line: usize,
    pub fields: &'c Index<'c>,
    pub companion_fields: &'c [Index<'c>],
    /// Those of each role.
    pub steps: &'c [Steps],
}

/// Check it; returns the fields that steps name.
pub fn check(checked: &Checked<'_>) -> Result<BTreeSet<(ObjectOf, String)>> {
    let mut claims = Claims::default();
    let case = checked.case;
    for part in &checked.layout.parts {
        let to = Use::Pointer(format!("part '{}'", part.name));
        preset(checked, ObjectOf::Struct, &part.via, to, &mut claims);
    }
    let chains = std::iter::once((ObjectOf::Struct, &case.objects));
    let beside = case.companions.iter().enumerate();
    let beside = beside.map(|(n, one)| (ObjectOf::Companion(n), &one.objects));
    for (of, objects) in chains.chain(beside) {
        if let Place::Chain { link, .. } = &objects.place {
            preset(
                checked,
                of,
                link,
                Use::Pointer(target(case, of)),
                &mut claims,
            );
        }
    }
    let mut used = BTreeSet::new();
    for (role, steps) in checked.steps.iter().enumerate() {
        let mut walk = Walk {
            checked,
            role,
            lines: steps.lines.iter().copied(),
            held: Vec::new(),
            reading: Vec::new(),
            context: vec![Where::Fixed(0); case.companions.len() + 1],
            drawn: 0,
            claims: &mut claims,
            used: &mut used,
        };
        let cost = walk.list(&steps.steps)?;
        let line = steps.lines.first().copied().unwrap_or(checked.line);
        let (name, layout) = (checked.role(role), &checked.layout.name);
        if cost.accesses > ACCESSES {
            return Err(checked.source.wrong(
                line,
                format_args!(
                    "role '{name}' makes up to {} accesses in a pass in layout '{layout}'; \
                     {ACCESSES} are the most",
                    cost.accesses
                ),
            ));
        }
        if cost.work_ns > WORK_NS {
            return Err(checked.source.wrong(
                line,
                format_args!(
                    "role '{name}' works for up to {} ms in a pass in layout '{layout}'; {} ms \
                     are the most",
                    cost.work_ns / 1_000_000,
                    WORK_NS / 1_000_000
                ),
            ));
        }
    }
    let among = Among {
        source: checked.source,
        case,
        layout: &checked.layout.name,
    };
    among.check(&claims)?;
    Ok(used)
}

impl<'c> Checked<'c> {
    /// Name of a role.
    pub fn role(&self, role: usize) -> &'c str {
        self.case.roles.get(role).map_or("", |role| &role.name)
    }

    /// The part that a field lies in, and the field.
    pub fn field(&self, of: ObjectOf, name: &str) -> Option<(Option<usize>, &'c CaseField)> {
        match of {
            ObjectOf::Struct => self.fields.get(name).copied(),
            ObjectOf::Companion(n) => self.companion_fields.get(n)?.get(name).copied(),
        }
    }

    fn objects(&self, of: ObjectOf) -> &'c Objects {
        let companion = match of {
            ObjectOf::Struct => None,
            ObjectOf::Companion(n) => self.case.companions.get(n),
        };
        companion.map_or(&self.case.objects, |one| &one.objects)
    }
}

/// What a pointer to an object of that struct leads to.
fn target(case: &Case, of: ObjectOf) -> String {
    let companion = match of {
        ObjectOf::Struct => None,
        ObjectOf::Companion(n) => case.companions.get(n),
    };
    companion.map_or(&case.struct_name, |one| &one.name).clone()
}

/// A pointer that the arena presets whatever steps do.
fn preset(checked: &Checked<'_>, of: ObjectOf, name: &str, r#use: Use, claims: &mut Claims) {
    if let Some((part, field)) = checked.field(of, name) {
        claims.add(Claim {
            of,
            part,
            from: field.offset,
            to: field.end(),
            element: field.bytes,
            field: name.to_owned(),
            r#use,
            role: None,
            line: checked.line,
        });
    }
}

/// Which object of a struct steps mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// That one.
    Fixed(usize),
    /// That of the thread.
    Own,
    /// Whichever one the step of that number has led to.
    Led(usize),
}

struct Held {
    field: FieldRef,
    /// None for a sequence counter that is being written.
    kind: Option<LockKind>,
    at: Where,
}

struct Walk<'c, 'w, L> {
    checked: &'w Checked<'c>,
    role: usize,
    /// Lines of the steps that are still to come.
    lines: L,
    held: Vec<Held>,
    /// Counters that the steps around are repeated for when they have changed.
    reading: Vec<FieldRef>,
    /// Of the struct, then of each companion.
    context: Vec<Where>,
    /// Objects that steps have led to so far.
    drawn: usize,
    claims: &'w mut Claims,
    used: &'w mut BTreeSet<(ObjectOf, String)>,
}

impl<L: Iterator<Item = usize>> Walk<'_, '_, L> {
    fn wrong(&self, line: usize, what: impl std::fmt::Display) -> Error {
        let role = self.checked.role(self.role);
        let layout = &self.checked.layout.name;
        let what = format!("role '{role}', layout '{layout}': {what}");
        self.checked.source.wrong(line, what)
    }

    /// What a list takes.
    fn list(&mut self, steps: &[Step]) -> Result<Cost> {
        let context = self.context.clone();
        let mut cost = Cost::default();
        for step in steps {
            let line = self.lines.next().unwrap_or(self.checked.line);
            cost = cost.and(self.step(step, line)?.at_least_one());
        }
        self.context = context;
        Ok(cost)
    }

    /// What a round of a list takes. It begins in the object that the round before has led to.
    fn round(&mut self, steps: &[Step]) -> Result<Cost> {
        let context = self.context.clone();
        for step in steps {
            if let Step::Pick { of, .. } | Step::Follow { to: of, .. } = step {
                self.drawn += 1;
                self.lead(*of, Where::Led(self.drawn));
            }
        }
        let cost = self.list(steps)?;
        self.context = context;
        Ok(cost.at_least_one())
    }

    fn step(&mut self, step: &Step, line: usize) -> Result<Cost> {
        Ok(match step {
            Step::Read { fields, bytes } => {
                let reads = fields.iter();
                let mut accesses = 0u64;
                for field in reads {
                    self.use_it(field);
                    accesses = accesses.saturating_add(self.loads(field, *bytes));
                }
                Cost::of(accesses)
            }
            Step::Write { field, if_changed } => {
                self.claim(field, Use::Write("write"), line);
                Cost::of(1 + u64::from(if_changed.is_some()))
            }
            Step::Rmw(field) => {
                self.claim(field, Use::Write("rmw"), line);
                Cost::of(1)
            }
            Step::Cas {
                field, tries, then, ..
            } => {
                if self.holds(field) {
                    let what = format_args!(
                        "'{}' is swapped while its own lock is held, which can never succeed",
                        clip(&field.name)
                    );
                    return Err(self.wrong(line, what));
                }
                if tries.is_none() {
                    self.order(field, line);
                }
                self.claim(field, Use::Cas, line);
                Cost::of(2).and(self.list(then)?)
            }
            Step::Lock { field, kind } => self.lock(field, *kind, line)?,
            Step::Unlock { field, .. } => self.unlock(field, line)?,
            Step::SeqRead { field, body } => {
                self.seq(field, line)?;
                self.order(field, line);
                self.reading.push(field.clone());
                let body = self.list(body)?;
                self.reading.pop();
                Cost::of(2).and(body)
            }
            Step::SeqWrite { field, body } => {
                self.seq(field, line)?;
                self.order(field, line);
                self.retried(field, line)?;
                let guarded = self.guarded(field, line);
                self.claims.seq_writes.push(guarded);
                let at = self.at(field.of);
                self.held.push(Held {
                    field: field.clone(),
                    kind: None,
                    at,
                });
                let body = self.list(body)?;
                self.held.pop();
                Cost::of(4).and(body)
            }
            Step::Percpu { spill, .. } => Cost::of(2).and(self.list(spill)?),
            Step::Sum(field) => {
                self.use_it(field);
                let objects = most(self.checked.objects(field.of).count) as u64;
                Cost::of(objects.saturating_mul(self.loads(field, None)))
            }
            Step::SumPercpu(_) => Cost::of(ASSUMED_THREADS as u64),
            Step::Follow { field, to } => {
                let pointer = Use::Pointer(target(self.checked.case, *to));
                self.claim(field, pointer, line);
                self.drawn += 1;
                self.lead(*to, Where::Led(self.drawn));
                Cost::of(1)
            }
            Step::Pick { which, of } => {
                self.drawn += 1;
                let at = match which {
                    Pick::Own => Where::Own,
                    Pick::At(at) => Where::Fixed(*at),
                    Pick::Neighbour | Pick::Random | Pick::Leaf => Where::Led(self.drawn),
                };
                self.lead(*of, at);
                Cost::of(1)
            }
            Step::Choose(branches) => {
                let mut most = Cost::default();
                for (_, steps) in branches {
                    most = most.or(self.list(steps)?);
                }
                most
            }
            Step::Every { steps, .. } => self.list(steps)?,
            Step::Repeat { times, steps } => {
                let times = match times {
                    Times::Of(times) => *times,
                    Times::ToRoot => most(self.checked.case.objects.count),
                };
                self.round(steps)?.times(times as u64)
            }
            Step::Work { to_ns, .. } => Cost {
                accesses: 1,
                work_ns: u64::from(*to_ns),
            },
            Step::Wait(field) => {
                if let Some(held) = self.held.first() {
                    let what = format_args!(
                        "waits for '{}' while '{}' is held, which who writes it may need; unlock \
                         first",
                        clip(&field.name),
                        clip(&held.field.name)
                    );
                    return Err(self.wrong(line, what));
                }
                self.use_it(field);
                if let Some((part, found)) = self.checked.field(field.of, &field.name) {
                    self.claims.waits.push(Waiting {
                        of: field.of,
                        part,
                        bytes: (found.offset, found.end()),
                        field: field.name.clone(),
                        role: self.role,
                        line,
                    });
                }
                Cost::of(1)
            }
        })
    }

    fn use_it(&mut self, field: &FieldRef) {
        self.used.insert((field.of, field.name.clone()));
    }

    fn claim(&mut self, field: &FieldRef, r#use: Use, line: usize) {
        self.use_it(field);
        if let Some((part, found)) = self.checked.field(field.of, &field.name) {
            self.claims.add(Claim {
                of: field.of,
                part,
                from: found.offset,
                to: found.end(),
                element: found.bytes,
                field: field.name.clone(),
                r#use,
                role: Some(self.role),
                line,
            });
        }
    }

    /// Loads of all of it, or of its first bytes.
    fn loads(&self, field: &FieldRef, bytes: Option<usize>) -> u64 {
        let Some((_, found)) = self.checked.field(field.of, &field.name) else {
            return 0;
        };
        let whole = match field.element {
            Some(_) => found.bytes,
            None => found.bytes * found.count,
        };
        pieces(found.offset, bytes.map_or(whole, |bytes| bytes.min(whole))) as u64
    }

    fn context_of(&mut self, of: ObjectOf) -> Option<&mut Where> {
        self.context.get_mut(match of {
            ObjectOf::Struct => 0,
            ObjectOf::Companion(n) => n + 1,
        })
    }

    fn at(&mut self, of: ObjectOf) -> Where {
        self.context_of(of).map_or(Where::Fixed(0), |at| *at)
    }

    fn lead(&mut self, of: ObjectOf, to: Where) {
        if let Some(at) = self.context_of(of) {
            *at = to;
        }
    }

    /// Whether the field is locked, or a counter that is being written, in whichever object.
    fn holds(&self, field: &FieldRef) -> bool {
        let same = |held: &Held| held.field.of == field.of && held.field.name == field.name;
        self.held.iter().any(same)
    }

    /// The field is waited for while others are held.
    fn order(&mut self, field: &FieldRef, line: usize) {
        let lock = |field: &FieldRef| (field.of, field.name.clone());
        for held in &self.held {
            let pair = (lock(&held.field), lock(field));
            self.claims.orders.entry(pair).or_insert(line);
        }
    }

    fn lock(&mut self, field: &FieldRef, kind: LockKind, line: usize) -> Result<Cost> {
        if self.holds(field) {
            let what = format_args!(
                "'{}' is locked while it is held, of this object or of another: threads would \
                 wait for each other for ever",
                clip(&field.name)
            );
            return Err(self.wrong(line, what));
        }
        if self.held.len() >= HELD {
            let what = format_args!("more than {HELD} locks and counters are held at a time");
            return Err(self.wrong(line, what));
        }
        self.order(field, line);
        self.claim(field, Use::Lock(kind), line);
        let at = self.at(field.of);
        self.held.push(Held {
            field: field.clone(),
            kind: Some(kind),
            at,
        });
        Ok(Cost::of(2))
    }

    fn unlock(&mut self, field: &FieldRef, line: usize) -> Result<Cost> {
        let at = self.at(field.of);
        let found = self.held.iter().rposition(|held| held.field == *field);
        match found.map(|n| self.held.remove(n)) {
            Some(held) if held.at == at => Ok(Cost::of(1)),
            _ => {
                let what = format_args!(
                    "'{}' is unlocked in another object than it was locked in: there is a pick or \
                     follow in between; put that and what belongs to it into a list of its own",
                    clip(&field.name)
                );
                Err(self.wrong(line, what))
            }
        }
    }

    fn seq(&mut self, field: &FieldRef, line: usize) -> Result<()> {
        if self.holds(field) {
            let what = format_args!(
                "the counter '{}' is used inside its own seq_write, which would never end",
                clip(&field.name)
            );
            return Err(self.wrong(line, what));
        }
        self.claim(field, Use::Seq, line);
        Ok(())
    }

    /// The counter is written in steps that are repeated when others have changed: two threads that
    /// change each other's would repeat for ever.
    fn retried(&mut self, field: &FieldRef, line: usize) -> Result<()> {
        let same = |one: &&FieldRef| one.of == field.of && one.name == field.name;
        if self.reading.iter().any(|one| same(&one)) {
            let what = format_args!(
                "the counter '{}' is written inside its own seq_read, which would never end",
                clip(&field.name)
            );
            return Err(self.wrong(line, what));
        }
        for one in &self.reading {
            let pair = ((one.of, one.name.clone()), (field.of, field.name.clone()));
            self.claims.orders.entry(pair).or_insert(line);
        }
        Ok(())
    }

    /// A sequence counter that is written, and by which locks it is kept from other writers.
    fn guarded(&mut self, field: &FieldRef, line: usize) -> SeqWrite {
        let at = self.at(field.of);
        let mut locks = BTreeSet::new();
        for held in &self.held {
            if matches!(held.kind, None | Some(LockKind::RwRead)) {
                continue;
            }
            let element = match held.field.element {
                None => None,
                Some(Element::At(at)) => Some(at),
                // Every thread has another.
                Some(Element::Own | Element::Random) => continue,
            };
            let lock = (held.field.of, held.field.name.clone());
            if held.field.of == field.of && held.at == at {
                locks.insert((lock.clone(), element, Lock::SameObject));
            }
            if let Where::Fixed(object) = held.at {
                locks.insert((lock, element, Lock::Object(object)));
            }
        }
        let own = at == Where::Own && self.checked.objects(field.of).count == Count::Threads;
        SeqWrite {
            of: field.of,
            field: field.name.clone(),
            role: self.role,
            line,
            own,
            locks,
        }
    }
}
