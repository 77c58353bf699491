//! How each access, and what stands between accesses, is encoded.

use super::super::super::lowered::{At, Base, DRAWS, Frame, MOST_SHARED, Slot, Width};
use super::super::assembler::{Assembler, Tallied};
use super::super::context::{Context, expired};
use super::{
    ARENA, CONTEXT, DRAWN, FRESH, Item, KEPT, Label, PASSES, SLOTS, WIDE, WORK, X86, based,
    counter_at, in_frame, memory, own,
};
use crate::case::LockKind;
use iced_x86::Code as Op;
use iced_x86::Register::{AX, DI, DIL, EAX, EBP, ECX, EDI, EDX, ESI, RAX, RCX, RDI, RDX, RIP, RSI};
use iced_x86::{Encoder, Instruction, MemoryOperand};
use std::mem::{offset_of, take};

/// Loads between two looks at the clock.
const POLLS: u32 = 256;

impl Assembler for X86<'_> {
    type Label = Label;

    fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels)
    }

    fn bind(&mut self, label: Label) {
        self.line.push(Item::Label(label));
    }

    fn jump(&mut self, to: Label) {
        self.branch(Op::Jmp_rel32_64, to);
    }

    fn aside(&mut self, emit: impl FnOnce(&mut Self)) {
        let line = take(&mut self.line);
        let last = self.last;
        emit(self);
        self.last = last;
        let mut emitted = std::mem::replace(&mut self.line, line);
        self.aside.append(&mut emitted);
    }

    fn enter(&mut self, top: Label) {
        for register in KEPT {
            self.put(Instruction::with1(Op::Push_r64, register));
        }
        // Context, first byte of the arena, passes.
        for (to, from) in [(CONTEXT, RDI), (ARENA, RSI), (PASSES, RDX)] {
            self.put(Instruction::with2(Op::Mov_r64_rm64, to, from));
        }
        let frame = [
            (DRAWN, in_frame(offset_of!(Frame, drawn))),
            (FRESH, in_frame(offset_of!(Frame, fresh))),
        ];
        for (to, from) in frame {
            self.put(Instruction::with2(Op::Mov_r64_rm64, to, from));
        }
        self.put(Instruction::with2(Op::Xor_r32_rm32, EAX, EAX));
        self.number(WORK, 1);
        // The loop begins at a multiple of 16.
        let mut encoder = Encoder::new(64);
        let bytes: usize = (self.line.iter())
            .map(|item| match item {
                Item::Instruction(instruction, _) => encoder.encode(instruction, 0).unwrap_or(0),
                Item::Label(_) => 0,
            })
            .sum();
        for _ in bytes..bytes.next_multiple_of(16) {
            self.put(Ok(Instruction::with(Op::Nopd)));
        }
        self.bind(top);
    }

    fn leave(&mut self, top: Label) {
        self.put(Instruction::with1(Op::Dec_rm64, PASSES));
        self.branch(Op::Jne_rel32_64, top);
        let frame = [
            (DRAWN, in_frame(offset_of!(Frame, drawn))),
            (FRESH, in_frame(offset_of!(Frame, fresh))),
        ];
        for (from, to) in frame {
            self.put(Instruction::with2(Op::Mov_rm64_r64, to, from));
        }
        for register in KEPT.into_iter().rev() {
            self.put(Instruction::with1(Op::Pop_r64, register));
        }
        self.put(Ok(Instruction::with(Op::Retnq)));
    }

    fn load(&mut self, at: At, width: Width) {
        let load = self.load_from(memory(at), width);
        self.access(at, load);
    }

    fn load_each(&mut self, offsets: &[u32], width: Width) {
        let (table, again) = (self.label(), self.label());
        let at = MemoryOperand::with_base_displ(RIP, table.0 as i64);
        self.put(Instruction::with2(Op::Lea_r64_m, RDX, at));
        self.offsets.push((table, offsets.to_vec()));
        // The end of the table.
        let bytes = 4 * offsets.len();
        let end = based(RDX, bytes);
        self.put(Instruction::with2(Op::Lea_r64_m, RDX, end));
        self.put(Instruction::with2(
            Op::Mov_rm64_imm32,
            RCX,
            -(bytes as i32 / 4),
        ));
        self.bind(again);
        let next = MemoryOperand::with_base_index_scale(RDX, RCX, 4);
        self.put(Instruction::with2(Op::Mov_r32_rm32, EAX, next));
        let word = MemoryOperand::with_base_index(ARENA, RAX);
        let load = self.load_from(word, width);
        let any = At {
            base: Base::Arena,
            offset: offsets[0],
        };
        self.access(any, load);
        self.put(Instruction::with1(Op::Inc_rm64, RCX));
        self.branch(Op::Jne_rel32_64, again);
    }

    fn store(&mut self, at: At, width: Width) {
        self.put(Instruction::with1(Op::Inc_rm64, FRESH));
        let to = memory(at);
        let store = match width {
            Width::B1 => Instruction::with2(Op::Mov_rm8_r8, to, DIL),
            Width::B2 => Instruction::with2(Op::Mov_rm16_r16, to, DI),
            Width::B4 => Instruction::with2(Op::Mov_rm32_r32, to, EDI),
            Width::B8 => Instruction::with2(Op::Mov_rm64_r64, to, RDI),
        };
        self.access(at, store);
    }

    fn store_value(&mut self, at: At, value: u64) {
        self.number(RCX, value);
        self.access(at, Instruction::with2(Op::Mov_rm64_r64, memory(at), RCX));
    }

    fn add(&mut self, at: At, width: Width) {
        self.locked(at, Self::plus_one(at, width));
    }

    fn bump(&mut self, at: At, width: Width) {
        self.access(at, Self::plus_one(at, width));
    }

    fn bump_to_zero(&mut self, at: At, zero: Label) {
        self.bump(at, Width::B8);
        self.branch(Op::Je_rel32_64, zero);
    }

    fn pause(&mut self) {
        self.put(Ok(Instruction::with(Op::Pause)));
    }

    fn tries(&mut self, tries: u32) {
        self.number(RDX, u64::from(tries));
    }

    fn try_lost(&mut self, none: Label) {
        self.put(Instruction::with1(Op::Dec_rm32, EDX));
        self.branch(Op::Je_rel32_64, none);
    }

    fn if_any(&mut self, mask: u64, held: Label) {
        match u32::try_from(mask) {
            Ok(mask) => self.put(Instruction::with2(Op::Test_rm32_imm32, EAX, mask)),
            Err(_) => {
                self.number(RCX, mask);
                self.put(Instruction::with2(Op::Test_rm64_r64, RAX, RCX));
            }
        }
        self.branch(Op::Jne_rel32_64, held);
    }

    fn compare_swap(&mut self, at: At, width: Width, add: u64, failed: Label) {
        if let Ok(add) = i32::try_from(add as i64) {
            let sum = MemoryOperand::with_base_displ_size(RAX, i64::from(add), WIDE);
            self.put(Instruction::with2(Op::Lea_r64_m, RCX, sum));
        } else {
            self.number(RCX, add);
            self.put(Instruction::with2(Op::Add_r64_rm64, RCX, RAX));
        }
        self.swap(at, width, failed);
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
                self.number(RAX, 1 << 16);
                self.locked(at, Instruction::with2(Op::Xadd_rm32_r32, memory(at), EAX));
                self.put(Instruction::with2(Op::Mov_r32_rm32, ECX, EAX));
                self.put(Instruction::with2(Op::Shr_rm32_imm8, ECX, 16));
                self.put(Instruction::with2(Op::Movzx_r32_rm16, EDX, AX));
                self.put(Instruction::with2(Op::Cmp_r32_rm32, ECX, EDX));
                self.branch(Op::Jne_rel32_64, wait);
                self.last = RAX;
                self.call_aside(wait, at, slow.ticket as usize, |a| {
                    a.put(Instruction::with2(Op::Mov_r32_rm32, ESI, ECX));
                });
            }
            LockKind::Queued => {
                self.take_if_free(at, Width::B4, wait);
                self.call_aside(wait, at, slow.queued as usize, |a| {
                    let waiter = [
                        (RSI, offset_of!(Context, nodes)),
                        (RDX, offset_of!(Context, thread)),
                    ];
                    for (to, from) in waiter {
                        a.put(Instruction::with2(Op::Mov_r64_rm64, to, own(from)));
                    }
                });
            }
            LockKind::RwRead => {
                self.load(at, Width::B8);
                // A writer, or one who waits.
                self.if_any(1 | 1 << 8, wait);
                self.compare_swap(at, Width::B8, 1 << 16, wait);
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
                self.access(at, Instruction::with2(Op::Mov_rm8_imm8, memory(at), 0));
            }
            LockKind::Ticket => {
                self.load(at, Width::B2);
                self.put(Instruction::with1(Op::Inc_rm32, EAX));
                self.access(at, Instruction::with2(Op::Mov_rm16_r16, memory(at), AX));
            }
            LockKind::RwRead => self.locked(
                at,
                Instruction::with2(Op::Sub_rm64_imm32, memory(at), 1 << 16),
            ),
        }
    }

    fn save(&mut self, to: Slot) {
        let to = SLOTS[usize::from(to)];
        self.put(Instruction::with2(Op::Mov_r64_rm64, to, RAX));
    }

    fn if_not_saved(&mut self, slot: Slot, other: Label) {
        let slot = SLOTS[usize::from(slot)];
        self.put(Instruction::with2(Op::Cmp_r64_rm64, RAX, slot));
        self.branch(Op::Jne_rel32_64, other);
    }

    fn load_pointer(&mut self, at: At, to: Slot) {
        let to = SLOTS[usize::from(to)];
        self.access(at, Instruction::with2(Op::Mov_r64_rm64, to, memory(at)));
        self.last = to;
    }

    fn set_pointer(&mut self, offset: u32, to: Slot) {
        let (to, at) = (SLOTS[usize::from(to)], based(ARENA, offset as usize));
        self.put(Instruction::with2(Op::Lea_r64_m, to, at));
    }

    fn copy_pointer(&mut self, from: Slot, to: Slot) {
        let (from, to) = (SLOTS[usize::from(from)], SLOTS[usize::from(to)]);
        self.put(Instruction::with2(Op::Mov_r64_rm64, to, from));
    }

    fn if_not_at(&mut self, slot: Slot, offset: u32, other: Label) {
        let at = based(ARENA, offset as usize);
        self.put(Instruction::with2(Op::Lea_r64_m, RCX, at));
        let slot = SLOTS[usize::from(slot)];
        self.put(Instruction::with2(Op::Cmp_r64_rm64, slot, RCX));
        self.branch(Op::Jne_rel32_64, other);
    }

    fn draw(&mut self) {
        self.put(Instruction::with2(Op::Mov_r32_rm32, ECX, EBP));
        let mask = DRAWS as u32 - 1;
        self.put(Instruction::with2(Op::And_rm32_imm32, ECX, mask));
        self.put(Instruction::with1(Op::Inc_rm64, DRAWN));
        let draws = offset_of!(Context, draws) as i64;
        let drawn = MemoryOperand::with_base_index_scale_displ_size(CONTEXT, RCX, 4, draws, WIDE);
        self.put(Instruction::with2(Op::Mov_r32_rm32, EDX, drawn));
    }

    fn pick(&mut self, table: usize, to: Slot) {
        let table = &self.surroundings.tables[table];
        self.scale(table.len() as u64);
        let address = table.as_ptr() as u64;
        self.put(Instruction::with2(Op::Mov_r64_imm64, RCX, address));
        let offset = MemoryOperand::with_base_index_scale(RCX, RDX, 4);
        self.put(Instruction::with2(Op::Mov_r32_rm32, ECX, offset));
        let (to, at) = (
            SLOTS[usize::from(to)],
            MemoryOperand::with_base_index(ARENA, RCX),
        );
        self.put(Instruction::with2(Op::Lea_r64_m, to, at));
    }

    fn element(&mut self, at: At, count: u32, stride: u32, to: Slot) {
        self.scale(u64::from(count));
        let stride = i32::try_from(stride).expect("elements lie within an object");
        self.put(Instruction::with3(
            Op::Imul_r64_rm64_imm32,
            RDX,
            RDX,
            stride,
        ));
        let base = memory(at).base;
        let element = MemoryOperand::with_base_index_scale_displ_size(
            base,
            RDX,
            1,
            i64::from(at.offset),
            WIDE,
        );
        let to = SLOTS[usize::from(to)];
        self.put(Instruction::with2(Op::Lea_r64_m, to, element));
    }

    fn if_not_below(&mut self, limit: u32, other: Label) {
        self.put(Instruction::with2(Op::Cmp_rm32_imm32, EDX, limit));
        self.branch(Op::Jae_rel32_64, other);
    }

    fn set_counter(&mut self, counter: usize, value: u64) {
        self.number(RCX, value);
        let counter = own(counter_at(counter));
        self.put(Instruction::with2(Op::Mov_rm64_r64, counter, RCX));
    }

    fn if_counted(&mut self, counter: usize, zero: Label) {
        self.down(counter);
        self.branch(Op::Je_rel32_64, zero);
    }

    fn if_not_counted(&mut self, counter: usize, more: Label) {
        self.down(counter);
        self.branch(Op::Jne_rel32_64, more);
    }

    fn count(&mut self, what: Tallied) {
        let offset = match what {
            Tallied::Lost => offset_of!(Frame, lost),
            Tallied::Retries => offset_of!(Frame, retries),
            Tallied::Passes(role) => {
                assert!(role < MOST_SHARED);
                offset_of!(Frame, passes) + 8 * role
            }
        };
        self.put(Instruction::with1(Op::Inc_rm64, in_frame(offset)));
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
        let last = self.last.full_register32();
        self.put(Instruction::with2(Op::Mov_r32_rm32, ECX, last));
        self.put(Instruction::with2(Op::And_rm32_imm8, ECX, 0));
        self.put(Instruction::with2(Op::Add_r64_rm64, WORK, RCX));
        self.put(Instruction::with2(Op::Add_rm32_imm32, ECX, turns));
        let again = self.label();
        self.bind(again);
        // The constant of `spin`, as far as it fits: odd, so that no product is 0.
        self.put(Instruction::with3(
            Op::Imul_r64_rm64_imm32,
            WORK,
            WORK,
            0x7f4a_7c15,
        ));
        self.put(Instruction::with1(Op::Dec_rm32, ECX));
        self.branch(Op::Jne_rel32_64, again);
    }

    fn if_seen(&mut self, seen: usize, same: Label) {
        let seen = counter_at(seen);
        self.put(Instruction::with2(Op::Cmp_r64_rm64, RAX, own(seen)));
        self.branch(Op::Je_rel32_64, same);
        self.put(Instruction::with2(Op::Mov_rm64_r64, own(seen), RAX));
    }

    fn poll(&mut self, at: At, width: Width, seen: usize, new: Label) {
        let (polls, again, over) = (self.label(), self.label(), self.label());
        let flag = own(offset_of!(Context, over));
        self.put(Instruction::with2(Op::Cmp_rm64_imm8, flag, 0));
        self.branch(Op::Jne_rel32_64, over);
        self.bind(polls);
        self.number(RCX, u64::from(POLLS));
        self.bind(again);
        self.pause();
        self.load(at, width);
        let seen = own(counter_at(seen));
        self.put(Instruction::with2(Op::Cmp_r64_rm64, RAX, seen));
        self.branch(Op::Jne_rel32_64, new);
        self.put(Instruction::with1(Op::Dec_rm32, ECX));
        self.branch(Op::Jne_rel32_64, again);
        self.call(expired as *const () as usize, |a| {
            a.put(Instruction::with2(Op::Mov_r64_rm64, RDI, CONTEXT));
        });
        self.put(Instruction::with2(Op::Test_rm64_r64, RAX, RAX));
        self.branch(Op::Je_rel32_64, polls);
        self.bind(over);
        // What a call was to do beyond this pass is left undone.
        let left = own(offset_of!(Context, left));
        self.put(Instruction::with1(Op::Dec_rm64, PASSES));
        self.put(Instruction::with2(Op::Add_rm64_r64, left, PASSES));
        self.number(PASSES, 1);
    }
}
