//! Code for x86-64 in the making: registers, labels, and what several encodings share.
//!
//! Every displacement is 32 bits wide, whatever its value: the code of two layouts is equally long
//! and differs in displacements only.

mod encodings;

use super::super::lowered::{At, Base, Frame, MOST_COUNTERS, Width};
use super::assembler::Assembler;
use super::code::{Code, Surroundings};
use super::context::Context;
use iced_x86::Code as Op;
use iced_x86::Register::{
    self, CL, CX, EAX, ECX, R8, R9, R10, R11, R12, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX, RSI,
};
use iced_x86::{
    BlockEncoder, BlockEncoderOptions, IcedError, Instruction, InstructionBlock, MemoryOperand,
    OpKind,
};
use std::mem::{offset_of, take};

/// The first byte of the arena. Neither RBP nor R12: those take a longer encoding.
const ARENA: Register = RBX;
/// Passes left to do.
const PASSES: Register = R12;
/// The [`Context`].
const CONTEXT: Register = R13;
/// Numbers drawn so far.
const DRAWN: Register = RBP;
/// The number stored last.
const FRESH: Register = RDI;
/// The product that [`Assembler::work`] goes on with.
const WORK: Register = RSI;
/// The slots.
const SLOTS: [Register; 6] = [R14, R15, R8, R9, R10, R11];
/// What a function gives back as it found it.
const KEPT: [Register; 6] = [RBX, RBP, R12, R13, R14, R15];
/// What a function called may lose; with these and [`KEPT`] on it the stack is aligned.
const LOST: [Register; 5] = [RDI, R8, R9, R10, R11];
// RAX is the value loaded last. RDX is the number drawn last, or tries left. RCX is for anything.

/// Displacements of this size are encoded in 32 bits.
const WIDE: u32 = 8;

/// Code in the making.
pub struct X86<'t> {
    surroundings: &'t Surroundings<'t>,
    line: Vec<Item>,
    /// What stands behind it.
    aside: Vec<Item>,
    /// Offsets of loops, in the order of the labels they are found by.
    offsets: Vec<(Label, Vec<u32>)>,
    labels: u64,
    /// Where the value loaded last is.
    last: Register,
}

/// A place in the code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Label(u64);

#[derive(Clone, Copy)]
enum Item {
    Label(Label),
    /// What it accesses is none of the thread's own words.
    Instruction(Instruction, Option<At>),
}

impl<'t> X86<'t> {
    /// No code yet.
    pub fn new(surroundings: &'t Surroundings<'t>) -> X86<'t> {
        X86 {
            surroundings,
            line: Vec::new(),
            aside: Vec::new(),
            offsets: Vec::new(),
            labels: 0,
            last: RAX,
        }
    }

    /// What came of it.
    pub fn code(mut self) -> Code {
        let mut items = take(&mut self.line);
        items.append(&mut self.aside);
        // A label is known by the number of the instruction behind it: 1 for the first.
        let mut places = vec![0; self.labels as usize + 1];
        let mut number = 1;
        for item in &items {
            match item {
                Item::Label(label) => places[label.0 as usize] = number,
                Item::Instruction(..) => number += 1,
            }
        }
        let mut instructions = Vec::with_capacity(number as usize);
        let mut accesses = Vec::new();
        for item in items {
            if let Item::Instruction(instruction, at) = item {
                accesses.extend(at.map(|at| (instructions.len(), at)));
                instructions.push(instruction);
            }
        }
        let own = instructions.len();
        for (label, offsets) in &self.offsets {
            places[label.0 as usize] = instructions.len() as u64 + 1;
            let data = offsets.chunks(4).map(Instruction::with_declare_dword);
            instructions.extend(data.map(fits));
        }
        for (instruction, number) in instructions.iter_mut().zip(1..) {
            instruction.set_ip(number);
            if instruction.op0_kind() == OpKind::NearBranch64 {
                instruction.set_near_branch64(places[instruction.near_branch64() as usize]);
            } else if instruction.is_ip_rel_memory_operand() {
                let label = instruction.memory_displacement64();
                instruction.set_memory_displacement64(places[label as usize]);
            }
        }
        let block = InstructionBlock::new(&instructions, 0);
        let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
        let encoded = BlockEncoder::encode(64, block, options).expect("branches reach 2 GiB far");
        let start = |n: usize| {
            encoded
                .new_instruction_offsets
                .get(n)
                .map(|at| *at as usize)
        };
        Code {
            instructions: start(own).unwrap_or(encoded.code_buffer.len()),
            accesses: accesses
                .into_iter()
                .filter_map(|(n, at)| Some((start(n)?, at)))
                .collect(),
            bytes: encoded.code_buffer,
        }
    }

    fn put(&mut self, instruction: Result<Instruction, IcedError>) {
        self.line.push(Item::Instruction(fits(instruction), None));
    }

    /// An instruction that accesses memory which is not the thread's own.
    fn access(&mut self, at: At, instruction: Result<Instruction, IcedError>) {
        let item = Item::Instruction(fits(instruction), Some(at));
        self.line.push(item);
    }

    fn locked(&mut self, at: At, instruction: Result<Instruction, IcedError>) {
        let mut instruction = fits(instruction);
        instruction.set_has_lock_prefix(true);
        self.access(at, Ok(instruction));
    }

    fn branch(&mut self, op: Op, to: Label) {
        self.put(Instruction::with_branch(op, to.0));
    }

    /// Load a word into RAX, with zeroes before it.
    fn load_from(&mut self, from: MemoryOperand, width: Width) -> Result<Instruction, IcedError> {
        self.last = RAX;
        match width {
            Width::B1 => Instruction::with2(Op::Movzx_r32_rm8, EAX, from),
            Width::B2 => Instruction::with2(Op::Movzx_r32_rm16, EAX, from),
            Width::B4 => Instruction::with2(Op::Mov_r32_rm32, EAX, from),
            Width::B8 => Instruction::with2(Op::Mov_r64_rm64, RAX, from),
        }
    }

    fn plus_one(at: At, width: Width) -> Result<Instruction, IcedError> {
        let op = match width {
            Width::B1 => Op::Add_rm8_imm8,
            Width::B2 => Op::Add_rm16_imm8,
            Width::B4 => Op::Add_rm32_imm8,
            Width::B8 => Op::Add_rm64_imm8,
        };
        Instruction::with2(op, memory(at), 1)
    }

    /// Put a number into a register.
    fn number(&mut self, register: Register, value: u64) {
        self.put(match u32::try_from(value) {
            Ok(value) => Instruction::with2(Op::Mov_r32_imm32, register.full_register32(), value),
            Err(_) => Instruction::with2(Op::Mov_r64_imm64, register, value),
        });
    }

    /// Compare-and-swap of `[at]` from the 0 that is put into RAX to 1; go to `failed` if it was
    /// something else.
    fn take_if_free(&mut self, at: At, width: Width, failed: Label) {
        self.put(Instruction::with2(Op::Xor_r32_rm32, EAX, EAX));
        self.put(Instruction::with2(Op::Mov_r32_imm32, ECX, 1));
        self.swap(at, width, failed);
    }

    /// Compare-and-swap of `[at]` from RAX to RCX.
    fn swap(&mut self, at: At, width: Width, failed: Label) {
        let (op, new) = match width {
            Width::B1 => (Op::Cmpxchg_rm8_r8, CL),
            Width::B2 => (Op::Cmpxchg_rm16_r16, CX),
            Width::B4 => (Op::Cmpxchg_rm32_r32, ECX),
            Width::B8 => (Op::Cmpxchg_rm64_r64, RCX),
        };
        self.locked(at, Instruction::with2(op, memory(at), new));
        self.branch(Op::Jne_rel32_64, failed);
        self.last = RAX;
    }

    /// At `from`: call `function` with the address of `at` and what `more` puts into registers
    /// behind the first, and go on where this is called.
    fn call_aside(
        &mut self,
        from: Label,
        at: At,
        function: usize,
        more: impl FnOnce(&mut X86<'t>),
    ) {
        let on = self.label();
        self.bind(on);
        self.aside(|a| {
            a.bind(from);
            a.call(function, |a| {
                a.put(Instruction::with2(Op::Lea_r64_m, RDI, memory(at)));
                more(a);
            });
            a.jump(on);
        });
    }

    /// Call `function` with what `arguments` puts into registers.
    fn call(&mut self, function: usize, arguments: impl FnOnce(&mut X86<'t>)) {
        for register in LOST {
            self.put(Instruction::with1(Op::Push_r64, register));
        }
        arguments(self);
        self.put(Instruction::with2(Op::Mov_r64_imm64, RAX, function as u64));
        self.put(Instruction::with1(Op::Call_rm64, RAX));
        for register in LOST.into_iter().rev() {
            self.put(Instruction::with1(Op::Pop_r64, register));
        }
    }

    /// Scale the number drawn last to 0 up to `count`.
    fn scale(&mut self, count: u64) {
        match i32::try_from(count) {
            Ok(count) => self.put(Instruction::with3(Op::Imul_r64_rm64_imm32, RDX, RDX, count)),
            Err(_) => {
                self.number(RCX, count);
                self.put(Instruction::with2(Op::Imul_r64_rm64, RDX, RCX));
            }
        }
        self.put(Instruction::with2(Op::Shr_rm64_imm8, RDX, 32));
    }

    /// Count down the private counter.
    fn down(&mut self, counter: usize) {
        let counter = own(counter_at(counter));
        self.put(Instruction::with1(Op::Dec_rm64, counter));
    }
}

/// Operands are of the kind that their instruction takes: anything else is a bug.
fn fits(instruction: Result<Instruction, IcedError>) -> Instruction {
    instruction.expect("operands fit their instruction")
}

/// The word at `displacement` from `base`.
fn based(base: Register, displacement: usize) -> MemoryOperand {
    MemoryOperand::with_base_displ_size(base, displacement as i64, WIDE)
}

/// A word of a pass.
fn memory(at: At) -> MemoryOperand {
    let base = match at.base {
        Base::Arena => ARENA,
        Base::Slot(slot) => SLOTS[usize::from(slot)],
    };
    based(base, at.offset as usize)
}

/// A word of the thread's own.
fn own(offset: usize) -> MemoryOperand {
    based(CONTEXT, offset)
}

/// Where a word of the frame is in the context.
fn in_frame(offset: usize) -> MemoryOperand {
    own(offset_of!(Context, frame) + offset)
}

fn counter_at(counter: usize) -> usize {
    assert!(counter < MOST_COUNTERS);
    offset_of!(Context, frame) + offset_of!(Frame, counters) + 8 * counter
}
