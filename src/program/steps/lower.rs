//! From the steps of a role to the instructions of a thread.
//!
//! Here: which object a step means, which of its addresses are known beforehand, and how accesses
//! are cut into words. Not here: where objects lie (`places`), and what an instruction does
//! (`lowered`).

use super::lowered::{At, Base, Instr, MOST_COUNTERS, MOST_SHARED, MOST_SLOTS, Pass, Slot, Width};
use super::places::{Places, field, gcd, granule, pieces};
use super::roles::{self, Duty};
use crate::case::{
    Case, CaseField, CaseLayout, Element, FieldRef, ObjectOf, Pick, Place, Step, Times,
};
use crate::error::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Everything that a pass is made of.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The case.
    pub case: &'a Case,
    /// The layout.
    pub layout: &'a CaseLayout,
    /// Where its objects lie.
    pub places: &'a Places,
    /// Threads that take part.
    pub threads: usize,
    /// Draws the work that is a guess: the same for all arms of a block.
    pub seed: u64,
}

/// The tables of objects that threads draw from: for the struct, then for each companion.
pub fn tables(places: &Places) -> Vec<Vec<u32>> {
    let all = std::iter::once(&places.objects).chain(&places.companions);
    all.cloned().collect()
}

/// The pass of thread number `thread`, which has that duty.
///
/// # Errors
/// When it needs more slots or counters than there are.
pub fn pass(cx: Context, thread: usize, duty: Duty) -> Result<Pass> {
    let mut lowerer = Lowerer {
        cx,
        thread,
        role: 0,
        works: 0,
        counters: Vec::new(),
        slots: 0,
    };
    let mut instrs = Vec::new();
    match duty {
        Duty::Role(role) => {
            lowerer.role(role)?;
            instrs = lowerer.list(&cx.layout.steps[role], &lowerer.start())?;
        }
        Duty::Shared => {
            let shares = roles::shares(cx.case);
            let mut lists = Vec::new();
            for (role, share) in shares {
                lowerer.role(role)?;
                let mut list = lowerer.list(&cx.layout.steps[role], &lowerer.start())?;
                list.push(Instr::Passed(role));
                lists.push((share, list));
            }
            match lists.len() {
                1 => instrs.extend(lists.remove(0).1),
                _ => instrs.push(choose(lists)),
            }
        }
    }
    Ok(Pass {
        instrs,
        slots: lowerer.slots,
        counters: lowerer.counters,
    })
}

/// Lists with limits for a number drawn.
fn choose(lists: Vec<(f64, Vec<Instr>)>) -> Instr {
    let last = lists.len() - 1;
    let mut sum = 0.0;
    let limits = lists.into_iter().enumerate().map(|(i, (share, list))| {
        sum += share;
        let limit = match i == last {
            true => 1 << 32,
            false => (sum * (1u64 << 32) as f64) as u64,
        };
        (limit, list)
    });
    Instr::Choose(limits.collect())
}

struct Lowerer<'a> {
    cx: Context<'a>,
    thread: usize,
    role: usize,
    /// Work steps of the role so far.
    works: u64,
    counters: Vec<u64>,
    /// Slots used by any list so far.
    slots: Slot,
}

/// Which object of a struct steps mean.
#[derive(Clone, Copy)]
enum Current {
    /// The one of that number.
    Known(usize),
    /// The one whose address is in a slot.
    In(Slot),
}

/// What steps mean at some point of a list; a list inside begins with what is meant there.
#[derive(Clone)]
struct Scope {
    /// Of the struct, then of each companion.
    current: Vec<Current>,
    /// Structs whose current object this list moves on in its own slot: from round to round.
    kept: Vec<bool>,
    /// The first slot that nobody holds a value in.
    free: Slot,
}

fn index(of: ObjectOf) -> usize {
    match of {
        ObjectOf::Struct => 0,
        ObjectOf::Companion(number) => number + 1,
    }
}

impl<'a> Lowerer<'a> {
    fn role(&mut self, role: usize) -> Result<()> {
        (self.role, self.works) = (role, 0);
        match role < MOST_SHARED {
            true => Ok(()),
            false => Err(self.too_much("roles", MOST_SHARED)),
        }
    }

    fn too_much(&self, what: &str, most: usize) -> Error {
        Error::Input(format!(
            "case {}, layout '{}', role '{}': more than {most} {what} are in use at once; make \
             its steps simpler",
            self.cx.case.name, self.cx.layout.name, self.cx.case.roles[self.role].name
        ))
    }

    /// Object 0 of every struct.
    fn start(&self) -> Scope {
        let structs = 1 + self.cx.case.companions.len();
        Scope {
            current: vec![Current::Known(0); structs],
            kept: vec![false; structs],
            free: 0,
        }
    }

    fn slot(&mut self, scope: &mut Scope) -> Result<Slot> {
        let slot = scope.free;
        if slot >= MOST_SLOTS {
            return Err(self.too_much("objects", MOST_SLOTS.into()));
        }
        scope.free += 1;
        self.slots = self.slots.max(scope.free);
        Ok(slot)
    }

    fn counter(&mut self, begins: u64) -> Result<usize> {
        if self.counters.len() >= MOST_COUNTERS {
            return Err(self.too_much("counters", MOST_COUNTERS));
        }
        self.counters.push(begins);
        Ok(self.counters.len() - 1)
    }

    /// A list that stands in another: what it picks ends with it.
    fn list(&mut self, steps: &[Step], outer: &Scope) -> Result<Vec<Instr>> {
        let mut scope = outer.clone();
        scope.kept.fill(false);
        self.steps(steps, &mut scope)
    }

    fn steps(&mut self, steps: &[Step], scope: &mut Scope) -> Result<Vec<Instr>> {
        let mut out = Vec::new();
        for step in steps {
            let free = scope.free;
            self.step(step, scope, &mut out)?;
            // Only a pick or a follow leaves something behind.
            if !matches!(step, Step::Pick { .. } | Step::Follow { .. }) {
                scope.free = free;
            }
        }
        Ok(out)
    }

    fn step(&mut self, step: &Step, scope: &mut Scope, out: &mut Vec<Instr>) -> Result<()> {
        match step {
            Step::Read { fields, bytes } => {
                for field in fields {
                    let free = scope.free;
                    let place = self.place(field, scope, out)?;
                    let bytes = bytes.unwrap_or(usize::MAX).min(place.bytes);
                    out.extend(place.loads(bytes));
                    scope.free = free;
                }
            }
            Step::Write { field, if_changed } => {
                let (at, width) = self.word(field, scope, out)?;
                let store = Instr::Store { at, width };
                match if_changed {
                    None => out.push(store),
                    Some(share) => {
                        out.push(Instr::Load { at, width });
                        let lists = vec![(*share, vec![store]), (1.0 - share, Vec::new())];
                        out.push(choose(lists));
                    }
                }
            }
            Step::Rmw(field) => {
                let (at, width) = self.word(field, scope, out)?;
                out.push(Instr::Add { at, width });
            }
            Step::Cas {
                field,
                add,
                tries,
                then,
            } => {
                let (at, width) = self.word(field, scope, out)?;
                let (add, held) = match self.is_lockref(field) {
                    true => (add << 32, u64::from(u32::MAX)),
                    false => (*add, 0),
                };
                let then = self.list(then, scope)?;
                out.push(Instr::Cas {
                    at,
                    width,
                    add,
                    held,
                    tries: *tries,
                    then,
                });
            }
            Step::Lock { field, kind } => {
                let (at, kind) = (self.word(field, scope, out)?.0, *kind);
                out.push(Instr::Lock { at, kind });
            }
            Step::Unlock { field, kind } => {
                let (at, kind) = (self.word(field, scope, out)?.0, *kind);
                out.push(Instr::Unlock { at, kind });
            }
            Step::SeqRead { field, body } => {
                let (at, width) = self.word(field, scope, out)?;
                let saved = self.slot(scope)?;
                let body = self.list(body, scope)?;
                out.push(Instr::SeqRead {
                    at,
                    width,
                    saved,
                    body,
                });
            }
            Step::SeqWrite { field, body } => {
                let (at, width) = self.word(field, scope, out)?;
                let body = self.list(body, scope)?;
                out.push(Instr::SeqWrite { at, width, body });
            }
            Step::Percpu { name, batch, spill } => {
                let words = self.percpu(name);
                let at = At {
                    base: Base::Arena,
                    offset: words[self.thread],
                };
                let spill = self.list(spill, scope)?;
                out.push(Instr::Percpu {
                    at,
                    batch: *batch,
                    spill,
                });
            }
            Step::Sum(field) => {
                for object in 0..self.cx.places.of_struct(field.of).len() {
                    let mut one = scope.clone();
                    one.current[index(field.of)] = Current::Known(object);
                    let place = self.place(field, &mut one, out)?;
                    out.extend(place.loads(place.bytes));
                }
            }
            Step::SumPercpu(name) => {
                let loads = self.percpu(name).iter().map(|&offset| Instr::Load {
                    at: At {
                        base: Base::Arena,
                        offset,
                    },
                    width: Width::B8,
                });
                out.extend(loads);
            }
            Step::Follow { field, to } => {
                let free = scope.free;
                let (at, _) = self.word(field, scope, out)?;
                scope.free = free;
                let to = match (scope.current[index(*to)], scope.kept[index(*to)]) {
                    (Current::In(slot), true) => slot,
                    _ => {
                        let slot = self.slot(scope)?;
                        scope.current[index(*to)] = Current::In(slot);
                        slot
                    }
                };
                out.push(Instr::LoadPointer { at, to });
            }
            Step::Pick { which, of } => self.pick(*which, *of, scope, out)?,
            Step::Choose(lists) => {
                let lists = lists
                    .iter()
                    .map(|(share, steps)| Ok((*share, self.list(steps, scope)?)));
                out.push(choose(lists.collect::<Result<_>>()?));
            }
            Step::Every { passes, steps } => {
                let phase = roles::phase(self.thread, self.cx.threads, *passes);
                let counter = self.counter(passes - phase)?;
                let body = self.list(steps, scope)?;
                out.push(Instr::Every {
                    counter,
                    passes: *passes,
                    body,
                });
            }
            Step::Repeat { times, steps } => self.repeat(*times, steps, scope, out)?,
            Step::Work { from_ns, to_ns } => {
                self.works += 1;
                let nanos = drawn_work(self.cx.seed, self.role, self.works, *from_ns, *to_ns);
                if nanos > 0 {
                    out.push(Instr::Work { nanos });
                }
            }
            Step::Wait(field) => {
                let (at, width) = self.word(field, scope, out)?;
                let seen = self.counter(0)?;
                out.push(Instr::Wait { at, width, seen });
            }
        }
        Ok(())
    }

    fn pick(
        &mut self,
        which: Pick,
        of: ObjectOf,
        scope: &mut Scope,
        out: &mut Vec<Instr>,
    ) -> Result<()> {
        let places = self.cx.places;
        let count = places.of_struct(of).len();
        let known = match which {
            Pick::Own => self.thread % count,
            Pick::Neighbour => (self.thread + 1) % count,
            Pick::Leaf => count - 1,
            Pick::At(number) => number % count,
            Pick::Random if count == 1 => 0,
            Pick::Random => {
                let to = match (scope.current[index(of)], scope.kept[index(of)]) {
                    (Current::In(slot), true) => slot,
                    _ => self.slot(scope)?,
                };
                scope.current[index(of)] = Current::In(to);
                out.push(Instr::PickRandom {
                    table: index(of),
                    to,
                });
                return Ok(());
            }
        };
        match (scope.current[index(of)], scope.kept[index(of)]) {
            (Current::In(to), true) => out.push(Instr::SetPointer {
                offset: places.of_struct(of)[known],
                to,
            }),
            _ => scope.current[index(of)] = Current::Known(known),
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        times: Times,
        steps: &[Step],
        scope: &mut Scope,
        out: &mut Vec<Instr>,
    ) -> Result<()> {
        let mut inner = scope.clone();
        inner.kept.fill(false);
        // What the body moves on is kept from round to round, in a slot of its own.
        for step in steps {
            let of = match step {
                Step::Pick { of, .. } | Step::Follow { to: of, .. } => *of,
                _ => continue,
            };
            if inner.kept[index(of)] {
                continue;
            }
            let to = self.slot(&mut inner)?;
            match inner.current[index(of)] {
                Current::Known(number) => out.push(Instr::SetPointer {
                    offset: self.cx.places.of_struct(of)[number],
                    to,
                }),
                Current::In(from) => out.push(Instr::CopyPointer { from, to }),
            }
            inner.current[index(of)] = Current::In(to);
            inner.kept[index(of)] = true;
        }
        match times {
            Times::Of(times) => {
                let counter = self.counter(0)?;
                let body = self.steps(steps, &mut inner)?;
                out.push(Instr::Repeat {
                    times: times as u64,
                    counter,
                    body,
                });
            }
            Times::ToRoot => {
                let chain = self.chain_of(steps);
                let walker = match inner.current[index(chain)] {
                    Current::In(slot) if inner.kept[index(chain)] => slot,
                    _ => return Err(self.no_walker()),
                };
                let before = self.slot(&mut inner)?;
                let body = self.steps(steps, &mut inner)?;
                out.push(Instr::ToRoot {
                    walker,
                    before,
                    root: self.cx.places.of_struct(chain)[0],
                    body,
                });
            }
        }
        Ok(())
    }

    /// The chain that `steps` move along.
    fn chain_of(&self, steps: &[Step]) -> ObjectOf {
        let followed = steps.iter().find_map(|step| match step {
            Step::Follow { field, to } if field.of == *to && self.is_chain(*to) => Some(*to),
            _ => None,
        });
        followed.unwrap_or(ObjectOf::Struct)
    }

    fn is_chain(&self, of: ObjectOf) -> bool {
        let objects = match of {
            ObjectOf::Struct => &self.cx.case.objects,
            ObjectOf::Companion(number) => &self.cx.case.companions[number].objects,
        };
        matches!(objects.place, Place::Chain { .. })
    }

    fn no_walker(&self) -> Error {
        Error::Input(format!(
            "case {}, role '{}': steps repeated \"to-root\" follow no link of a chain, so that they \
             would never end; add a follow step",
            self.cx.case.name, self.cx.case.roles[self.role].name
        ))
    }

    fn percpu(&self, name: &str) -> &'a [u32] {
        let words = self.cx.places.percpu.iter().find(|(one, _)| one == name);
        words.map_or(&[], |(_, words)| words)
    }

    /// Whether the field is locked as well, in its low half, by any role.
    fn is_lockref(&self, field: &FieldRef) -> bool {
        let mut found = false;
        for steps in &self.cx.layout.steps {
            each(steps, &mut |step| {
                if let Step::Lock { field: locked, .. } = step {
                    found |= (locked.of, &locked.name) == (field.of, &field.name);
                }
            });
        }
        found
    }

    /// A field that is one word.
    fn word(
        &mut self,
        field: &FieldRef,
        scope: &mut Scope,
        out: &mut Vec<Instr>,
    ) -> Result<(At, Width)> {
        let place = self.place(field, scope, out)?;
        let mut pieces = pieces(place.within, place.bytes, place.granule);
        match (pieces.next(), Width::of(place.bytes)) {
            (Some((_, bytes)), Some(width)) if bytes == place.bytes => Ok((place.at, width)),
            _ => Err(Error::Input(format!(
                "case {}, layout '{}': '{}' is written, locked or followed as one word, and its {} \
                 bytes are not one of 1, 2, 4 or 8, aligned to itself",
                self.cx.case.name, self.cx.layout.name, field.name, place.bytes
            ))),
        }
    }

    /// Where the field of the current object is, after the loads that lead there.
    fn place(
        &mut self,
        field_ref: &FieldRef,
        scope: &mut Scope,
        out: &mut Vec<Instr>,
    ) -> Result<Run> {
        let Context {
            case,
            layout,
            places,
            ..
        } = self.cx;
        let of = field_ref.of;
        let (fields, name) = match of {
            ObjectOf::Struct => (&layout.fields, &field_ref.name),
            ObjectOf::Companion(number) => (&case.companions[number].fields, &field_ref.name),
        };
        let missing = || {
            Error::Input(format!(
                "case {}, layout '{}': there is no field '{name}'",
                case.name, layout.name
            ))
        };
        let current = scope.current[index(of)];
        let (base, found, granule) = match field(fields, name) {
            Some(found) => {
                let granule = granule(places.of_struct(of));
                (self.base(of, current), found, granule)
            }
            None if of == ObjectOf::Struct => {
                let parts = layout.parts.iter().enumerate();
                let mut parts =
                    parts.filter_map(|(i, part)| Some((i, part, field(&part.fields, name)?)));
                let (number, part, found) = parts.next().ok_or_else(missing)?;
                let via = field(fields, &part.via).ok_or_else(missing)?;
                let from = self.base(of, current);
                let to = self.slot(scope)?;
                out.push(Instr::LoadPointer {
                    at: from.at(via.offset),
                    to,
                });
                let base = At {
                    base: Base::Slot(to),
                    offset: 0,
                };
                (base, found, granule(&places.parts[number]))
            }
            None => return Err(missing()),
        };
        let whole = Run {
            at: base.at(found.offset),
            within: found.offset,
            bytes: found.bytes * found.count,
            granule,
        };
        match field_ref.element {
            None => Ok(whole),
            Some(element) => self.element(found, element, whole, scope, out),
        }
    }

    fn base(&self, of: ObjectOf, current: Current) -> At {
        match current {
            Current::Known(number) => At {
                base: Base::Arena,
                offset: self.cx.places.of_struct(of)[number],
            },
            Current::In(slot) => At {
                base: Base::Slot(slot),
                offset: 0,
            },
        }
    }

    /// The element that is asked for, of the field whose bytes are `whole`.
    fn element(
        &mut self,
        field: &CaseField,
        element: Element,
        whole: Run,
        scope: &mut Scope,
        out: &mut Vec<Instr>,
    ) -> Result<Run> {
        let number = match element {
            Element::At(number) => number % field.count,
            Element::Own => self.thread % field.count,
            Element::Random if field.count == 1 => 0,
            Element::Random => {
                let to = self.slot(scope)?;
                out.push(Instr::RandomElement {
                    at: whole.at,
                    count: field.count as u32,
                    stride: field.bytes as u32,
                    to,
                });
                return Ok(Run {
                    at: At {
                        base: Base::Slot(to),
                        offset: 0,
                    },
                    within: field.offset,
                    bytes: field.bytes,
                    granule: gcd(whole.granule, field.bytes),
                });
            }
        };
        let before = number * field.bytes;
        Ok(Run {
            at: whole.at.at(before),
            within: whole.within + before,
            bytes: field.bytes,
            ..whole
        })
    }
}

/// The nanoseconds of work step number `number` of a role in the block of that seed.
fn drawn_work(seed: u64, role: usize, number: u64, from_ns: u32, to_ns: u32) -> u32 {
    if from_ns == to_ns {
        return from_ns;
    }
    let stream = (role as u64) << 32 | number;
    let mixed = seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let drawn = Pcg64Mcg::seed_from_u64(mixed).next_u32();
    from_ns + ((u64::from(drawn) * u64::from(to_ns - from_ns)) >> 32) as u32
}

/// A work step that is a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Number of the role.
    pub role: usize,
    /// At least so many nanoseconds.
    pub from_ns: u32,
    /// At most so many.
    pub to_ns: u32,
    /// Those of the block.
    pub drawn_ns: u32,
}

/// The guesses of `layout` as they are drawn for the block of that seed.
pub fn guesses(layout: &CaseLayout, seed: u64) -> Vec<Guess> {
    let mut guesses = Vec::new();
    for (role, steps) in layout.steps.iter().enumerate() {
        let mut number = 0;
        each(steps, &mut |step| {
            if let Step::Work { from_ns, to_ns } = *step {
                number += 1;
                if from_ns < to_ns {
                    guesses.push(Guess {
                        role,
                        from_ns,
                        to_ns,
                        drawn_ns: drawn_work(seed, role, number, from_ns, to_ns),
                    });
                }
            }
        });
    }
    guesses
}

impl At {
    /// So many bytes further on.
    pub fn at(self, bytes: usize) -> At {
        At {
            offset: self.offset + bytes as u32,
            ..self
        }
    }
}

/// Bytes one behind the other.
struct Run {
    at: At,
    /// Offset in the object.
    within: usize,
    bytes: usize,
    /// What objects are aligned to.
    granule: usize,
}

impl Run {
    /// Loads of the first `bytes` bytes.
    fn loads(&self, bytes: usize) -> impl Iterator<Item = Instr> {
        let (at, within) = (self.at, self.within);
        pieces(within, bytes, self.granule).map(move |(offset, bytes)| Instr::Load {
            at: at.at(offset - within),
            width: Width::of(bytes).expect("pieces are words"),
        })
    }
}

/// Every step of a list, those inside others too.
pub fn each<'s>(steps: &'s [Step], found: &mut impl FnMut(&'s Step)) {
    for step in steps {
        found(step);
        match step {
            Step::Cas { then: inside, .. }
            | Step::SeqRead { body: inside, .. }
            | Step::SeqWrite { body: inside, .. }
            | Step::Percpu { spill: inside, .. }
            | Step::Every { steps: inside, .. }
            | Step::Repeat { steps: inside, .. } => each(inside, found),
            Step::Choose(lists) => lists.iter().for_each(|(_, inside)| each(inside, found)),
            _ => {}
        }
    }
}
