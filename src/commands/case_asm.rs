//! `hitm case show --asm`: the machine code that is made for a thread of each role.
//!
//! Here: what each access is called. Not here: how code is made (`program::steps::machine_code`).

use super::case_trace::of_each_role;
use crate::backend::native::made::SLOW;
use crate::case::Case;
use crate::error::Result;
use crate::program::steps::lowered::{At, Base, Instr, MOST_SLOTS, Pass, Slot};
use crate::program::steps::machine_code::{Surroundings, assemble, listing};
use crate::program::steps::{Steps, StepsSpec};
use crate::program::{Blueprint, Program};
use crate::space::arena::Arena;
use crate::space::map::Map;
use crate::space::memory::Addr;
use std::collections::{BTreeMap, BTreeSet};

/// The code for the first thread of every role under the layout of that name, of the fewest that
/// the case runs with; under every layout if none is named.
pub fn listings(case: Case, layout: Option<&str>) -> Result<String> {
    of_each_role(case, layout, listing_of)
}

fn listing_of(spec: &StepsSpec, thread: usize) -> Result<String> {
    let steps = spec.steps(Arena::new(spec.bytes())?)?;
    let surroundings = Surroundings {
        tables: steps.tables(),
        slow: SLOW,
        // Nothing is executed here: a turn of the loop of `work` is taken for a nanosecond.
        turns_per_microsecond: 1000,
    };
    let pass = steps.pass(thread);
    let code = assemble(pass, &surroundings)?;
    let names = AccessNames::of(&steps, pass);
    Ok(listing(&code, |at| names.name(at)))
}

/// What lies where the accesses of a pass go.
struct AccessNames<'s> {
    steps: &'s Steps,
    map: Map,
    /// An address that each slot may hold, at the instruction that is looked at.
    slots: [Option<Addr>; MOST_SLOTS as usize],
    /// What is accessed through slots: a slot may be used for one thing after another.
    through: BTreeMap<(Slot, u32), BTreeSet<String>>,
}

impl AccessNames<'_> {
    fn of<'s>(steps: &'s Steps, pass: &Pass) -> AccessNames<'s> {
        let mut names = AccessNames {
            steps,
            map: steps.map(),
            slots: [None; MOST_SLOTS as usize],
            through: BTreeMap::new(),
        };
        names.list(&pass.instrs);
        names
    }

    fn name(&self, at: At) -> String {
        match at.base {
            Base::Arena => self.map.name(self.steps.base().at(at.offset as usize)),
            Base::Slot(slot) => match self.through.get(&(slot, at.offset)) {
                Some(names) => {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    format!("slot {slot}: {}", names.join(" or "))
                }
                None => format!("slot {slot} + {}", at.offset),
            },
        }
    }

    fn address(&self, at: At) -> Option<Addr> {
        let base = match at.base {
            Base::Arena => self.steps.base(),
            Base::Slot(slot) => self.slots[usize::from(slot)]?,
        };
        Some(base.at(at.offset as usize))
    }

    /// The access of an instruction. Of an object that is one of several, the number is left out.
    fn note(&mut self, at: At) {
        let (Base::Slot(slot), Some(address)) = (at.base, self.address(at)) else {
            return;
        };
        let Some((object, _)) = self.map.at(address) else {
            return;
        };
        let name = self.map.name(address);
        let field = name.strip_prefix(&object.title()).unwrap_or(&name);
        let name = format!("{}{field}", object.name);
        self.through
            .entry((slot, at.offset))
            .or_default()
            .insert(name);
    }

    /// The pointer in that word: all are written when the world is made.
    fn pointer(&self, at: At) -> Option<Addr> {
        let (address, arena) = (self.address(at)?, self.steps.arena());
        let end = arena.base().at(arena.bytes());
        let is_word = address >= arena.base() && address.at(8) <= end && address.0 % 8 == 0;
        let pointer = Addr(is_word.then(|| arena.read::<u64>(address))?);
        (pointer >= arena.base() && pointer < end).then_some(pointer)
    }

    fn set(&mut self, slot: Slot, address: Option<Addr>) {
        self.slots[usize::from(slot)] = address;
    }

    fn list(&mut self, instrs: &[Instr]) {
        instrs.iter().for_each(|instr| self.one(instr));
    }

    fn one(&mut self, instr: &Instr) {
        match instr {
            Instr::Load { at, .. }
            | Instr::Store { at, .. }
            | Instr::Add { at, .. }
            | Instr::Bump { at, .. }
            | Instr::Lock { at, .. }
            | Instr::Unlock { at, .. }
            | Instr::Wait { at, .. } => self.note(*at),
            Instr::Percpu {
                at, spill: then, ..
            }
            | Instr::Cas { at, then, .. }
            | Instr::SeqRead { at, body: then, .. }
            | Instr::SeqWrite { at, body: then, .. } => {
                self.note(*at);
                self.list(then);
            }
            Instr::LoadPointer { at, to } => {
                self.note(*at);
                self.set(*to, self.pointer(*at));
            }
            Instr::SetPointer { offset, to } => {
                self.set(*to, Some(self.steps.base().at(*offset as usize)));
            }
            Instr::CopyPointer { from, to } => self.set(*to, self.slots[usize::from(*from)]),
            Instr::PickRandom { table, to } => {
                let first = self.steps.tables().get(*table).and_then(|of| of.first());
                let first = first.map(|offset| self.steps.base().at(*offset as usize));
                self.set(*to, first);
            }
            Instr::RandomElement { at, to, .. } => self.set(*to, self.address(*at)),
            Instr::Choose(lists) => lists.iter().for_each(|(_, list)| self.list(list)),
            Instr::Every { body, .. } | Instr::Repeat { body, .. } => self.list(body),
            Instr::ToRoot {
                walker,
                before,
                body,
                ..
            } => {
                self.set(*before, self.slots[usize::from(*walker)]);
                self.list(body);
            }
            Instr::Work { .. } | Instr::Passed(_) => {}
        }
    }
}
