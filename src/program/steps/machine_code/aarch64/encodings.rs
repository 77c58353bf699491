//! How each access, and what stands between accesses, is encoded.
//!
//! Orders are those of the kernel: plain accesses and counters relaxed, locks acquire and release,
//! and sequence counters with the barriers of `include/linux/seqlock.h`.

use super::super::super::lowered::{At, Base, DRAWS, Frame, MOST_SHARED, Slot, Width};
use super::super::assembler::{Assembler, Tallied};
use super::super::context::{Context, expired};
use super::words::{self, Condition, Order, Pair, Reference, ZERO};
use super::{
    ANY, ARENA, AT, Aarch64, BEFORE, CONTEXT, DRAW, DRAWN, FACTOR, FRESH, Item, KEPT, LEFT, LOADED,
    Label, OTHER, PASSES, SLOTS, WORK, base_of, counter_at, in_frame,
};
use crate::case::LockKind;
use std::mem::{offset_of, replace, take};

/// Loads between two looks at the clock.
const POLLS: u32 = 256;
/// Bytes of the stack for [`KEPT`].
const STACK: u32 = 16 * KEPT.len() as u32;
/// Numbers that the code keeps in registers, and where they are from and go to.
const CARRIED: [(words::R, usize); 2] = [
    (DRAWN, offset_of!(Frame, drawn)),
    (FRESH, offset_of!(Frame, fresh)),
];

impl Assembler for Aarch64<'_> {
    type Label = Label;

    fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    fn bind(&mut self, label: Label) {
        self.line.push(Item::Label(label));
    }

    fn jump(&mut self, to: Label) {
        self.refer(Reference::Jump, to);
    }

    fn aside(&mut self, emit: impl FnOnce(&mut Self)) {
        let line = take(&mut self.line);
        let last = self.last;
        emit(self);
        self.last = last;
        let mut emitted = replace(&mut self.line, line);
        self.aside.append(&mut emitted);
    }

    fn enter(&mut self, top: Label) {
        for (n, [one, two]) in (0..KEPT.len() as u32).zip(KEPT) {
            let how = match n {
                0 => Pair::Push(STACK),
                _ => Pair::Store(16 * n),
            };
            self.put(words::pair(how, one, two));
        }
        // Context, first byte of the arena, passes.
        for (to, from) in [
            (CONTEXT, words::R(0)),
            (ARENA, words::R(1)),
            (PASSES, words::R(2)),
        ] {
            self.put(words::mov(to, from));
        }
        for (register, offset) in CARRIED {
            self.put(words::ldr_at(register, CONTEXT, in_frame(offset)));
        }
        self.put(words::mov(LOADED, ZERO));
        self.number(WORK, 1);
        self.factor();
        // The loop begins at a multiple of 16.
        while !self.line.len().is_multiple_of(4) {
            self.put(words::NOP);
        }
        self.bind(top);
    }

    fn leave(&mut self, top: Label) {
        self.put(words::subs_imm(PASSES, PASSES, 1));
        self.branch(Condition::Ne, top);
        for (register, offset) in CARRIED {
            self.put(words::str_at(register, CONTEXT, in_frame(offset)));
        }
        for (n, [one, two]) in (0..KEPT.len() as u32).zip(KEPT).rev() {
            let how = match n {
                0 => Pair::Pop(STACK),
                _ => Pair::Load(16 * n),
            };
            self.put(words::pair(how, one, two));
        }
        self.put(words::RET);
    }

    fn load(&mut self, at: At, width: Width) {
        self.load_into(at, width, LOADED);
        self.last = LOADED;
    }

    fn load_each(&mut self, offsets: &[u32], width: Width) {
        let (table, again) = (self.label(), self.label());
        self.refer(Reference::Address(DRAW), table);
        self.offsets.push((table, offsets.to_vec()));
        self.number(ANY, offsets.len() as u64);
        self.bind(again);
        self.put(words::ldr_next(OTHER, DRAW));
        let any = At {
            base: Base::Arena,
            offset: offsets[0],
        };
        self.access(any, words::ldr(width, LOADED, ARENA, OTHER));
        self.last = LOADED;
        self.put(words::subs_imm(ANY, ANY, 1));
        self.branch(Condition::Ne, again);
    }

    fn store(&mut self, at: At, width: Width) {
        self.put(words::add_imm(FRESH, FRESH, 1));
        self.store_from(at, width, FRESH);
    }

    fn store_value(&mut self, at: At, value: u64) {
        self.number(ANY, value);
        self.store_from(at, Width::B8, ANY);
    }

    fn add(&mut self, at: At, width: Width) {
        self.put(words::movz(ANY, 1, 0));
        self.fetch_add(at, width, Order::Relaxed, BEFORE);
    }

    /// A load, an addition and a store: there is no single instruction that is not atomic.
    fn bump(&mut self, at: At, width: Width) {
        self.plus_one(at, width);
    }

    fn bump_to_zero(&mut self, at: At, zero: Label) {
        self.plus_one(at, Width::B8);
        self.refer(Reference::IfZero(ANY), zero);
    }

    fn read_begin(&mut self, at: At, width: Width) {
        self.address_of(at, AT);
        self.access(at, words::ldar(width, LOADED, AT));
        self.last = LOADED;
    }

    fn read_retry(&mut self, at: At, width: Width) {
        self.put(words::DMB_ISHLD);
        self.load(at, width);
    }

    fn write_begin(&mut self, at: At, width: Width) {
        self.plus_one(at, width);
        self.put(words::DMB_ISHST);
    }

    fn write_end(&mut self, at: At, width: Width) {
        self.put(words::DMB_ISHST);
        self.plus_one(at, width);
    }

    /// As `cpu_relax` of the kernel.
    fn pause(&mut self) {
        self.put(words::YIELD);
    }

    fn tries(&mut self, tries: u32) {
        self.number(DRAW, u64::from(tries));
    }

    fn try_lost(&mut self, none: Label) {
        self.put(words::subs_imm_w(DRAW, DRAW, 1));
        self.branch(Condition::Eq, none);
    }

    fn if_any(&mut self, mask: u64, held: Label) {
        self.number(ANY, mask);
        self.put(words::tst(LOADED, ANY));
        self.branch(Condition::Ne, held);
    }

    fn compare_swap(&mut self, at: At, width: Width, add: u64, failed: Label) {
        self.number(ANY, add);
        self.put(words::add(ANY, ANY, LOADED));
        self.swap(at, width, Order::Relaxed, failed);
    }

    fn lock(&mut self, at: At, kind: LockKind) {
        let slow = self.surroundings.slow;
        let wait = self.label();
        match kind {
            LockKind::Tas => {
                self.take_if_free(at, Width::B1, wait);
                self.call_aside(wait, at, slow.tas as usize, |_| {});
            }
            LockKind::Ticket => {
                self.number(ANY, 1 << 16);
                self.fetch_add(at, Width::B4, Order::Acquire, LOADED);
                self.last = LOADED;
                self.put(words::high_half_w(DRAW, LOADED));
                self.put(words::low_bits_w(ANY, LOADED, 16));
                self.put(words::cmp_w(DRAW, ANY));
                self.branch(Condition::Ne, wait);
                // The ticket is in the register of the second argument.
                self.call_aside(wait, at, slow.ticket as usize, |_| {});
            }
            LockKind::Queued => {
                self.take_if_free(at, Width::B4, wait);
                self.call_aside(wait, at, slow.queued as usize, |a| {
                    a.put(words::ldr_at(DRAW, CONTEXT, offset_of!(Context, nodes)));
                    a.put(words::ldr_at(ANY, CONTEXT, offset_of!(Context, thread)));
                });
            }
            LockKind::RwRead => {
                self.load(at, Width::B8);
                // A writer, or one who waits.
                self.if_any(1 | 1 << 8, wait);
                self.number(ANY, 1 << 16);
                self.put(words::add(ANY, ANY, LOADED));
                self.swap(at, Width::B8, Order::Acquire, wait);
                self.call_aside(wait, at, slow.read as usize, |_| {});
            }
            LockKind::RwWrite => {
                self.take_if_free(at, Width::B8, wait);
                self.call_aside(wait, at, slow.write as usize, |_| {});
            }
        }
    }

    fn unlock(&mut self, at: At, kind: LockKind) {
        match kind {
            LockKind::Tas | LockKind::Queued | LockKind::RwWrite => {
                self.address_of(at, AT);
                self.access(at, words::stlr(Width::B1, ZERO, AT));
            }
            LockKind::Ticket => {
                self.load(at, Width::B2);
                self.put(words::add_imm(ANY, LOADED, 1));
                self.put(words::add(AT, base_of(at), AT));
                self.access(at, words::stlr(Width::B2, ANY, AT));
            }
            LockKind::RwRead => {
                self.number(ANY, (1_u64 << 16).wrapping_neg());
                self.fetch_add(at, Width::B8, Order::Release, BEFORE);
            }
        }
    }

    fn save(&mut self, to: Slot) {
        self.put(words::mov(SLOTS[usize::from(to)], LOADED));
    }

    fn if_not_saved(&mut self, slot: Slot, other: Label) {
        self.put(words::cmp(LOADED, SLOTS[usize::from(slot)]));
        self.branch(Condition::Ne, other);
    }

    fn load_pointer(&mut self, at: At, to: Slot) {
        let to = SLOTS[usize::from(to)];
        self.load_into(at, Width::B8, to);
        self.last = to;
    }

    fn set_pointer(&mut self, offset: u32, to: Slot) {
        self.number(AT, u64::from(offset));
        self.put(words::add(SLOTS[usize::from(to)], ARENA, AT));
    }

    fn copy_pointer(&mut self, from: Slot, to: Slot) {
        let (from, to) = (SLOTS[usize::from(from)], SLOTS[usize::from(to)]);
        self.put(words::mov(to, from));
    }

    fn if_not_at(&mut self, slot: Slot, offset: u32, other: Label) {
        self.number(AT, u64::from(offset));
        self.put(words::add(AT, ARENA, AT));
        self.put(words::cmp(SLOTS[usize::from(slot)], AT));
        self.branch(Condition::Ne, other);
    }

    fn draw(&mut self) {
        self.put(words::low_bits_w(ANY, DRAWN, DRAWS.ilog2()));
        self.put(words::add_imm(DRAWN, DRAWN, 1));
        let draws = offset_of!(Context, draws) as u32;
        self.put(words::add_imm(OTHER, CONTEXT, draws));
        self.put(words::ldr_element(DRAW, OTHER, ANY));
    }

    fn pick(&mut self, table: usize, to: Slot) {
        let table = &self.surroundings.tables[table];
        self.scale(table.len() as u64);
        self.address(ANY, table.as_ptr() as u64);
        self.put(words::ldr_element(ANY, ANY, DRAW));
        self.put(words::add(SLOTS[usize::from(to)], ARENA, ANY));
    }

    fn element(&mut self, at: At, count: u32, stride: u32, to: Slot) {
        self.scale(u64::from(count));
        self.number(ANY, u64::from(stride));
        self.put(words::mul(DRAW, DRAW, ANY));
        self.address_of(at, AT);
        self.put(words::add(SLOTS[usize::from(to)], AT, DRAW));
    }

    fn if_not_below(&mut self, limit: u32, other: Label) {
        self.number(ANY, u64::from(limit));
        self.put(words::cmp_w(DRAW, ANY));
        self.branch(Condition::Hs, other);
    }

    fn set_counter(&mut self, counter: usize, value: u64) {
        self.number(ANY, value);
        self.put(words::str_at(ANY, CONTEXT, counter_at(counter)));
    }

    fn if_counted(&mut self, counter: usize, zero: Label) {
        self.down(counter);
        self.branch(Condition::Eq, zero);
    }

    fn if_not_counted(&mut self, counter: usize, more: Label) {
        self.down(counter);
        self.branch(Condition::Ne, more);
    }

    fn count(&mut self, what: Tallied) {
        let offset = in_frame(match what {
            Tallied::Lost => offset_of!(Frame, lost),
            Tallied::Retries => offset_of!(Frame, retries),
            Tallied::Passes(role) => {
                assert!(role < MOST_SHARED);
                offset_of!(Frame, passes) + 8 * role
            }
        });
        self.put(words::ldr_at(ANY, CONTEXT, offset));
        self.put(words::add_imm(ANY, ANY, 1));
        self.put(words::str_at(ANY, CONTEXT, offset));
    }

    fn work(&mut self, nanos: u32) {
        let turns = u64::from(nanos) * self.surroundings.turns_per_microsecond / 1000;
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        if turns == 0 {
            return;
        }
        // Neither the product nor the number of turns is known before the value is loaded; both
        // are the same whatever it is. One product goes through all passes, so that those of two
        // passes do not overlap.
        self.put(words::eor_w(ANY, self.last, self.last));
        self.put(words::add(WORK, WORK, ANY));
        self.number(OTHER, u64::from(turns));
        self.put(words::add_w(ANY, ANY, OTHER));
        let again = self.label();
        self.bind(again);
        self.put(words::mul(WORK, WORK, FACTOR));
        self.put(words::subs_imm_w(ANY, ANY, 1));
        self.branch(Condition::Ne, again);
    }

    fn if_seen(&mut self, seen: usize, same: Label) {
        let seen = counter_at(seen);
        self.put(words::ldr_at(ANY, CONTEXT, seen));
        self.put(words::cmp(LOADED, ANY));
        self.branch(Condition::Eq, same);
        self.put(words::str_at(LOADED, CONTEXT, seen));
    }

    fn poll(&mut self, at: At, width: Width, seen: usize, new: Label) {
        let (polls, again, over) = (self.label(), self.label(), self.label());
        self.put(words::ldr_at(ANY, CONTEXT, offset_of!(Context, over)));
        self.refer(Reference::IfNotZero(ANY), over);
        self.bind(polls);
        self.number(LEFT, u64::from(POLLS));
        self.bind(again);
        self.pause();
        self.load(at, width);
        self.put(words::ldr_at(ANY, CONTEXT, counter_at(seen)));
        self.put(words::cmp(LOADED, ANY));
        self.branch(Condition::Ne, new);
        self.put(words::subs_imm_w(LEFT, LEFT, 1));
        self.branch(Condition::Ne, again);
        self.call(expired as *const () as usize, |a| {
            a.put(words::mov(LOADED, CONTEXT));
        });
        self.refer(Reference::IfZero(LOADED), polls);
        self.bind(over);
        // What a call was to do beyond this pass is left undone.
        let left = offset_of!(Context, left);
        self.put(words::sub_imm(PASSES, PASSES, 1));
        self.put(words::ldr_at(ANY, CONTEXT, left));
        self.put(words::add(ANY, ANY, PASSES));
        self.put(words::str_at(ANY, CONTEXT, left));
        self.number(PASSES, 1);
    }
}
