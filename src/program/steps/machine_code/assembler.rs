//! What an instruction set has to offer, and how a pass is made of it.
//!
//! Here: the order of things, branches and loops. Not here: how an access is encoded.

use super::super::lowered::{At, Base, Instr, MOST_COUNTERS, MOST_SLOTS, Pass, Slot, Width};
use crate::case::LockKind;

/// Accesses of a pass from which on runs of loads become loops: code that is longer is not read
/// from the first cache for instructions any more.
const MOST_IN_LINE: usize = 1000;
/// Loads that are worth a loop.
const LEAST_LOOP: usize = 16;

/// An assembler for one instruction set, at one place of the code.
///
/// There is a register for each slot, one for the number stored last, one for the number drawn
/// last, and one for the value loaded last. Branches are taken to labels, which may be bound later.
pub trait Assembler {
    /// A place in the code.
    type Label: Copy;

    /// A place that is not known yet.
    fn label(&mut self) -> Self::Label;
    /// It is here.
    fn bind(&mut self, label: Self::Label);
    /// Go there.
    fn jump(&mut self, to: Self::Label);
    /// Put what `emit` emits behind everything else: it is rarely executed.
    fn aside(&mut self, emit: impl FnOnce(&mut Self));

    /// Begin the function; the first pass begins where `top` is bound.
    fn enter(&mut self, top: Self::Label);
    /// A pass is done: go to `top` if there is another one to do, else return.
    fn leave(&mut self, top: Self::Label);

    /// [`Instr::Load`].
    fn load(&mut self, at: At, width: Width);
    /// Loads from these places of the arena.
    fn load_each(&mut self, offsets: &[u32], width: Width);
    /// [`Instr::Store`].
    fn store(&mut self, at: At, width: Width);
    /// Store that value into an 8-byte word.
    fn store_value(&mut self, at: At, value: u64);
    /// [`Instr::Add`].
    fn add(&mut self, at: At, width: Width);
    /// [`Instr::Bump`].
    fn bump(&mut self, at: At, width: Width);
    /// The same for an 8-byte word; go to `zero` where that makes it 0.
    fn bump_to_zero(&mut self, at: At, zero: Self::Label);

    /// Load a sequence counter before what it guards is read.
    fn read_begin(&mut self, at: At, width: Width) {
        self.load(at, width);
    }
    /// Load it again after that.
    fn read_retry(&mut self, at: At, width: Width) {
        self.load(at, width);
    }
    /// Bump a sequence counter before what it guards is written.
    fn write_begin(&mut self, at: At, width: Width) {
        self.bump(at, width);
    }
    /// Bump it again after that.
    fn write_end(&mut self, at: At, width: Width) {
        self.bump(at, width);
    }

    /// The core pauses, as in loops that wait.
    fn pause(&mut self);
    /// Begin to count `tries`.
    fn tries(&mut self, tries: u32);
    /// One is lost: go to `none` if that was the last.
    fn try_lost(&mut self, none: Self::Label);
    /// Go to `held` if the value loaded last has a bit of `mask` set.
    fn if_any(&mut self, mask: u64, held: Self::Label);
    /// Compare-and-swap the word, from the value loaded last to that plus `add`; go to `failed`,
    /// with the value found as the one loaded last, if it was another one.
    fn compare_swap(&mut self, at: At, width: Width, add: u64, failed: Self::Label);

    /// [`Instr::Lock`].
    fn lock(&mut self, at: At, kind: LockKind);
    /// [`Instr::Unlock`].
    fn unlock(&mut self, at: At, kind: LockKind);

    /// Put the value loaded last into a slot.
    fn save(&mut self, to: Slot);
    /// Go to `other` if the value loaded last is not the one in the slot.
    fn if_not_saved(&mut self, slot: Slot, other: Self::Label);

    /// [`Instr::LoadPointer`].
    fn load_pointer(&mut self, at: At, to: Slot);
    /// [`Instr::SetPointer`].
    fn set_pointer(&mut self, offset: u32, to: Slot);
    /// [`Instr::CopyPointer`].
    fn copy_pointer(&mut self, from: Slot, to: Slot);
    /// Go to `other` unless the slot holds the address of that byte of the arena.
    fn if_not_at(&mut self, slot: Slot, offset: u32, other: Self::Label);

    /// Draw a number.
    fn draw(&mut self);
    /// [`Instr::PickRandom`], with the number drawn last.
    fn pick(&mut self, table: usize, to: Slot);
    /// [`Instr::RandomElement`], with the number drawn last.
    fn element(&mut self, at: At, count: u32, stride: u32, to: Slot);
    /// Go to `other` unless the number drawn last is below `limit`.
    fn if_not_below(&mut self, limit: u32, other: Self::Label);

    /// Set a private counter.
    fn set_counter(&mut self, counter: usize, value: u64);
    /// Count it down and go there if it is 0 now.
    fn if_counted(&mut self, counter: usize, zero: Self::Label);
    /// Count it down and go there unless it is 0 now.
    fn if_not_counted(&mut self, counter: usize, more: Self::Label);
    /// Count that up.
    fn count(&mut self, what: Tallied);

    /// [`Instr::Work`].
    fn work(&mut self, nanos: u32);
    /// Put the value loaded last into the counter; go to `same` instead if it is there already.
    fn if_seen(&mut self, seen: usize, same: Self::Label);
    /// Load the word with pauses in between until its value differs from the counter, and go to
    /// `new` then; where the time is over first, this pass becomes the last one.
    fn poll(&mut self, at: At, width: Width, seen: usize, new: Self::Label);
}

/// What is counted in the frame.
#[derive(Clone, Copy)]
pub enum Tallied {
    /// `Frame::lost`.
    Lost,
    /// `Frame::retries`.
    Retries,
    /// `Frame::passes` of that role.
    Passes(usize),
}

/// Emit a function that does `pass` over and over, with `times` of it in a turn of its loop.
pub fn pass<A: Assembler>(a: &mut A, pass: &Pass, times: usize) {
    assert!(pass.slots <= MOST_SLOTS && pass.counters.len() <= MOST_COUNTERS);
    let top = a.label();
    a.enter(top);
    let loops = accesses(&pass.instrs) > MOST_IN_LINE;
    for _ in 1..times {
        let next = a.label();
        list(a, &pass.instrs, loops);
        a.leave(next);
        a.bind(next);
    }
    list(a, &pass.instrs, loops);
    a.leave(top);
}

/// Accesses that stand in a list and the lists in it.
fn accesses(instrs: &[Instr]) -> usize {
    let one = |instr: &Instr| match instr {
        Instr::Percpu { spill: body, .. } | Instr::Cas { then: body, .. } => 2 + accesses(body),
        Instr::SeqRead { body, .. } | Instr::SeqWrite { body, .. } => 2 + accesses(body),
        Instr::Every { body, .. } | Instr::Repeat { body, .. } | Instr::ToRoot { body, .. } => {
            accesses(body)
        }
        Instr::Choose(lists) => lists.iter().map(|(_, body)| accesses(body)).sum(),
        _ => 1,
    };
    instrs.iter().map(one).sum()
}

/// The load from the arena that an instruction is, if it is one.
fn arena_load(instr: &Instr) -> Option<(u32, Width)> {
    match instr {
        Instr::Load { at, width } if at.base == Base::Arena => Some((at.offset, *width)),
        _ => None,
    }
}

fn list<A: Assembler>(a: &mut A, instrs: &[Instr], loops: bool) {
    let mut rest = instrs;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if let Some((offset, width)) = arena_load(first).filter(|_| loops) {
            let same = others.iter().map_while(arena_load);
            let same = same.take_while(|(_, other)| *other == width);
            let mut run = vec![offset];
            run.extend(same.map(|(offset, _)| offset));
            if run.len() >= LEAST_LOOP {
                a.load_each(&run, width);
                rest = &others[run.len() - 1..];
                continue;
            }
        }
        one(a, first, loops);
    }
}

fn one<A: Assembler>(a: &mut A, instr: &Instr, loops: bool) {
    match instr {
        Instr::Load { at, width } => a.load(*at, *width),
        Instr::Store { at, width } => a.store(*at, *width),
        Instr::Add { at, width } => a.add(*at, *width),
        Instr::Bump { at, width } => a.bump(*at, *width),
        Instr::Percpu { at, batch, spill } => {
            let (zero, on) = (a.label(), a.label());
            a.bump_to_zero(*at, zero);
            a.bind(on);
            a.aside(|a| {
                a.bind(zero);
                a.store_value(*at, batch.wrapping_neg());
                list(a, spill, loops);
                a.jump(on);
            });
        }
        Instr::Cas { .. } => compare_and_swap(a, instr, loops),
        Instr::Lock { at, kind } => a.lock(*at, *kind),
        Instr::Unlock { at, kind } => a.unlock(*at, *kind),
        Instr::SeqRead {
            at,
            width,
            saved,
            body,
        } => {
            let (again, odd, changed) = (a.label(), a.label(), a.label());
            a.bind(again);
            a.read_begin(*at, *width);
            a.if_any(1, odd);
            a.save(*saved);
            list(a, body, loops);
            a.read_retry(*at, *width);
            a.if_not_saved(*saved, changed);
            a.aside(|a| {
                a.bind(odd);
                a.pause();
                a.jump(again);
                a.bind(changed);
                a.count(Tallied::Retries);
                a.jump(again);
            });
        }
        Instr::SeqWrite { at, width, body } => {
            a.write_begin(*at, *width);
            list(a, body, loops);
            a.write_end(*at, *width);
        }
        Instr::LoadPointer { at, to } => a.load_pointer(*at, *to),
        Instr::SetPointer { offset, to } => a.set_pointer(*offset, *to),
        Instr::CopyPointer { from, to } => a.copy_pointer(*from, *to),
        Instr::PickRandom { table, to } => {
            a.draw();
            a.pick(*table, *to);
        }
        Instr::RandomElement {
            at,
            count,
            stride,
            to,
        } => {
            a.draw();
            a.element(*at, *count, *stride, *to);
        }
        Instr::Choose(lists) => choose(a, lists, loops),
        Instr::Every {
            counter,
            passes,
            body,
        } => {
            let (zero, on) = (a.label(), a.label());
            a.if_counted(*counter, zero);
            a.bind(on);
            a.aside(|a| {
                a.bind(zero);
                a.set_counter(*counter, *passes);
                list(a, body, loops);
                a.jump(on);
            });
        }
        Instr::Repeat {
            times,
            counter,
            body,
        } => {
            let again = a.label();
            a.set_counter(*counter, *times);
            a.bind(again);
            list(a, body, loops);
            a.if_not_counted(*counter, again);
        }
        Instr::ToRoot {
            walker,
            before,
            root,
            body,
        } => {
            let again = a.label();
            a.bind(again);
            a.copy_pointer(*walker, *before);
            list(a, body, loops);
            a.if_not_at(*before, *root, again);
        }
        Instr::Work { nanos } => a.work(*nanos),
        Instr::Wait { at, width, seen } => {
            let (same, new, on) = (a.label(), a.label(), a.label());
            a.load(*at, *width);
            a.bind(new);
            a.if_seen(*seen, same);
            a.bind(on);
            a.aside(|a| {
                a.bind(same);
                a.poll(*at, *width, *seen, new);
                a.jump(on);
            });
        }
        Instr::Passed(role) => a.count(Tallied::Passes(*role)),
    }
}

fn choose<A: Assembler>(a: &mut A, lists: &[(u64, Vec<Instr>)], loops: bool) {
    let end = a.label();
    a.draw();
    let mut rest = lists;
    while let Some(((limit, body), others)) = rest.split_first() {
        rest = others;
        let Ok(limit) = u32::try_from(*limit) else {
            // Every number drawn is below this limit.
            list(a, body, loops);
            break;
        };
        let next = a.label();
        a.if_not_below(limit, next);
        list(a, body, loops);
        if others.iter().any(|(_, body)| !body.is_empty()) {
            a.jump(end);
        }
        a.bind(next);
    }
    a.bind(end);
}

fn compare_and_swap<A: Assembler>(a: &mut A, instr: &Instr, loops: bool) {
    let Instr::Cas {
        at,
        width,
        add,
        held,
        tries,
        then,
    } = instr
    else {
        unreachable!("only asked for Cas");
    };
    let (again, is_held) = (a.label(), a.label());
    let (none, on) = (a.label(), a.label());
    let failed = match tries {
        Some(_) => a.label(),
        None => again,
    };
    a.load(*at, *width);
    if let Some(tries) = tries {
        a.tries(*tries);
    }
    a.bind(again);
    if *held != 0 {
        a.if_any(*held, is_held);
    }
    a.compare_swap(*at, *width, *add, failed);
    a.bind(on);
    a.aside(|a| {
        if tries.is_some() {
            a.bind(failed);
            a.try_lost(none);
            a.jump(again);
        }
        if *held != 0 {
            a.bind(is_held);
            if tries.is_some() {
                a.try_lost(none);
            }
            a.pause();
            a.load(*at, *width);
            a.jump(again);
        }
        if tries.is_some() {
            a.bind(none);
            match then.is_empty() {
                true => a.count(Tallied::Lost),
                false => list(a, then, loops),
            }
            a.jump(on);
        }
    });
}
