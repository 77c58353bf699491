//! Executes passes on any memory: what the simulator runs, and what machine code is held against.

use super::lock::{self, Waiter};
use super::lowered::{At, Base, DRAWS, Frame, Instr, MOST_SLOTS, Width, scaled};
use crate::space::memory::{Addr, Memory};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What a thread carries from pass to pass.
#[derive(Clone, Debug, Default)]
pub struct StepsThread {
    /// Its number.
    pub number: usize,
    /// Its private words.
    pub frame: Frame,
    /// The numbers that it draws, over and over; a power of two of them.
    pub draws: Arc<[u32]>,
    slots: [u64; MOST_SLOTS as usize],
}

impl StepsThread {
    /// Thread number `number` at its beginning.
    pub fn new(number: usize, frame: Frame, draws: Arc<[u32]>) -> StepsThread {
        StepsThread {
            number,
            frame,
            draws,
            slots: Default::default(),
        }
    }
}

/// What instructions refer to beside their own thread.
pub struct Interpreter<'a, M> {
    /// The memory.
    pub m: &'a M,
    /// First byte of the arena.
    pub arena: Addr,
    /// The tables of objects, as offsets from there.
    pub tables: &'a [Vec<u32>],
    /// The thread as a taker of locks.
    pub waiter: Waiter,
}

impl<M: Memory> Interpreter<'_, M> {
    /// Execute `instrs` for `thread`.
    pub fn run(&self, instrs: &[Instr], thread: &mut StepsThread) {
        for instr in instrs {
            self.one(instr, thread);
        }
    }

    fn one(&self, instr: &Instr, t: &mut StepsThread) {
        let m = self.m;
        match instr {
            Instr::Load { at, width } => {
                self.load(self.at(*at, t), *width);
            }
            Instr::Store { at, width } => {
                t.frame.fresh = t.frame.fresh.wrapping_add(1);
                self.store(self.at(*at, t), *width, t.frame.fresh);
            }
            Instr::Add { at, width } => self.add(self.at(*at, t), *width),
            Instr::Bump { at, width } => self.bump(self.at(*at, t), *width),
            Instr::Percpu { at, batch, spill } => {
                let at = self.at(*at, t);
                let value: u64 = m.load(at, Relaxed);
                let value = value.wrapping_add(1);
                m.store(at, value, Relaxed);
                if value == 0 {
                    m.store(at, batch.wrapping_neg(), Relaxed);
                    self.run(spill, t);
                }
            }
            Instr::Cas {
                at,
                width,
                add,
                held,
                tries,
                then,
            } => {
                let at = self.at(*at, t);
                if !self.cas(at, *width, *add, *held, *tries) {
                    match then.is_empty() {
                        true => t.frame.lost += 1,
                        false => self.run(then, t),
                    }
                }
            }
            Instr::Lock { at, kind } => lock::lock(m, self.at(*at, t), *kind, self.waiter),
            Instr::Unlock { at, kind } => lock::unlock(m, self.at(*at, t), *kind),
            Instr::SeqRead {
                at,
                width,
                saved,
                body,
            } => {
                let at = self.at(*at, t);
                loop {
                    let mut before = self.load(at, *width);
                    while before & 1 != 0 {
                        m.pause();
                        before = self.load(at, *width);
                    }
                    t.slots[usize::from(*saved)] = before;
                    self.run(body, t);
                    if self.load(at, *width) == before {
                        break;
                    }
                    t.frame.retries += 1;
                }
            }
            Instr::SeqWrite { at, width, body } => {
                let at = self.at(*at, t);
                self.bump(at, *width);
                self.run(body, t);
                self.bump(at, *width);
            }
            Instr::LoadPointer { at, to } => {
                t.slots[usize::from(*to)] = m.load(self.at(*at, t), Relaxed);
            }
            Instr::SetPointer { offset, to } => {
                t.slots[usize::from(*to)] = self.arena.at(*offset as usize).0;
            }
            Instr::CopyPointer { from, to } => {
                t.slots[usize::from(*to)] = t.slots[usize::from(*from)];
            }
            Instr::PickRandom { table, to } => {
                let table = &self.tables[*table];
                let number = scaled(draw(t), table.len() as u32);
                let object = table[number as usize] as usize;
                t.slots[usize::from(*to)] = self.arena.at(object).0;
            }
            Instr::RandomElement {
                at,
                count,
                stride,
                to,
            } => {
                let first = self.at(*at, t);
                let number = scaled(draw(t), *count);
                t.slots[usize::from(*to)] = first.at((number * stride) as usize).0;
            }
            Instr::Choose(lists) => {
                let drawn = u64::from(draw(t));
                if let Some((_, list)) = lists.iter().find(|(limit, _)| drawn < *limit) {
                    self.run(list, t);
                }
            }
            Instr::Every {
                counter,
                passes,
                body,
            } => {
                let left = &mut t.frame.counters[*counter];
                *left = left.wrapping_sub(1);
                if *left == 0 {
                    *left = *passes;
                    self.run(body, t);
                }
            }
            Instr::Repeat { times, body, .. } => {
                for _ in 0..*times {
                    self.run(body, t);
                }
            }
            Instr::ToRoot {
                walker,
                before,
                root,
                body,
            } => {
                let root = self.arena.at(*root as usize).0;
                loop {
                    t.slots[usize::from(*before)] = t.slots[usize::from(*walker)];
                    self.run(body, t);
                    if t.slots[usize::from(*before)] == root {
                        break;
                    }
                }
            }
            Instr::Work { nanos } => m.compute(*nanos),
            Instr::Wait { at, width, seen } => {
                let at = self.at(*at, t);
                let seen = &mut t.frame.counters[*seen];
                let mut value = self.load(at, *width);
                while value == *seen {
                    m.pause();
                    value = self.load(at, *width);
                }
                *seen = value;
            }
            Instr::Passed(role) => t.frame.passes[*role] += 1,
        }
    }

    #[inline(always)]
    fn at(&self, at: At, t: &StepsThread) -> Addr {
        let base = match at.base {
            Base::Arena => self.arena,
            Base::Slot(slot) => Addr(t.slots[usize::from(slot)]),
        };
        base.at(at.offset as usize)
    }

    fn load(&self, at: Addr, width: Width) -> u64 {
        match width {
            Width::B1 => self.m.load::<u8>(at, Acquire).into(),
            Width::B2 => self.m.load::<u16>(at, Acquire).into(),
            Width::B4 => self.m.load::<u32>(at, Acquire).into(),
            Width::B8 => self.m.load::<u64>(at, Acquire),
        }
    }

    fn store(&self, at: Addr, width: Width, value: u64) {
        match width {
            Width::B1 => self.m.store(at, value as u8, Release),
            Width::B2 => self.m.store(at, value as u16, Release),
            Width::B4 => self.m.store(at, value as u32, Release),
            Width::B8 => self.m.store(at, value, Release),
        }
    }

    fn bump(&self, at: Addr, width: Width) {
        let value = self.load(at, width);
        self.store(at, width, value.wrapping_add(1));
    }

    fn add(&self, at: Addr, width: Width) {
        match width {
            Width::B1 => drop(self.m.fetch_add(at, 1u8, Relaxed)),
            Width::B2 => drop(self.m.fetch_add(at, 1u16, Relaxed)),
            Width::B4 => drop(self.m.fetch_add(at, 1u32, Relaxed)),
            Width::B8 => drop(self.m.fetch_add(at, 1u64, Relaxed)),
        }
    }

    /// Whether a compare-and-swap succeeded: `Err` carries the value found.
    fn compare_exchange(&self, at: Addr, width: Width, old: u64, new: u64) -> Result<(), u64> {
        macro_rules! exchange {
            ($word:ty) => {
                self.m
                    .compare_exchange(at, old as $word, new as $word, Acquire)
                    .map(|_| ())
                    .map_err(u64::from)
            };
        }
        match width {
            Width::B1 => exchange!(u8),
            Width::B2 => exchange!(u16),
            Width::B4 => exchange!(u32),
            Width::B8 => exchange!(u64),
        }
    }

    fn cas(&self, at: Addr, width: Width, add: u64, held: u64, tries: Option<u32>) -> bool {
        let mut left = tries;
        let mut value = self.load(at, width);
        loop {
            let lost = if value & held != 0 {
                true
            } else {
                match self.compare_exchange(at, width, value, value.wrapping_add(add)) {
                    Ok(()) => return true,
                    Err(found) => {
                        value = found;
                        false
                    }
                }
            };
            if let Some(left) = &mut left {
                *left -= 1;
                if *left == 0 {
                    return false;
                }
            }
            if lost {
                self.m.pause();
                value = self.load(at, width);
            }
        }
    }
}

fn draw(t: &mut StepsThread) -> u32 {
    let drawn = t.draws[t.frame.drawn as usize % DRAWS];
    t.frame.drawn = t.frame.drawn.wrapping_add(1);
    drawn
}
