//! Code for aarch64 in the making: registers, labels, and what several encodings share.
//!
//! An offset is put into a register by two instructions, whatever its value: the code of two
//! layouts is equally long and differs in immediates only. It is made on every architecture, so
//! that tests see it, and executed on its own.

mod encodings;
mod words;

use self::words::{Condition, Order, Pair, R, Reference, ZERO};
use super::super::lowered::{At, Base, Frame, MOST_COUNTERS, Width};
use super::assembler::Assembler;
use super::code::{Code, Surroundings};
use super::context::Context;
use crate::error::{Error, Result};
use std::mem::{offset_of, take};

/// The value loaded last; the first argument and the result of a call.
const LOADED: R = R(0);
/// The number drawn last, or tries left; the second argument of a call.
const DRAW: R = R(1);
/// For anything; the third argument of a call.
const ANY: R = R(2);
/// For anything.
const OTHER: R = R(3);
/// Whether an exclusive store failed, or polls left.
const LEFT: R = R(4);
/// The factor of [`Assembler::work`].
const FACTOR: R = R(5);
/// A value from before an addition that nobody looks at.
const BEFORE: R = R(6);
/// An offset, or an address.
const AT: R = R(16);
/// The first byte of the arena.
const ARENA: R = R(19);
/// The [`Context`].
const CONTEXT: R = R(20);
/// Passes left to do.
const PASSES: R = R(21);
/// Numbers drawn so far.
const DRAWN: R = R(22);
/// The number stored last.
const FRESH: R = R(23);
/// The product that [`Assembler::work`] goes on with.
const WORK: R = R(24);
/// The slots; a function called may lose the last two.
const SLOTS: [R; 6] = [R(25), R(26), R(27), R(28), R(9), R(10)];
/// What a function gives back as it found it, in pairs: the frame pointer and the return address
/// first.
const KEPT: [[R; 2]; 6] = [
    [R(29), R(30)],
    [R(19), R(20)],
    [R(21), R(22)],
    [R(23), R(24)],
    [R(25), R(26)],
    [R(27), R(28)],
];

/// Code in the making.
pub struct Aarch64<'t> {
    surroundings: &'t Surroundings<'t>,
    /// Whether there are the atomic instructions of Armv8.1 (LSE); else there are loops of
    /// exclusive loads and stores.
    lse: bool,
    line: Vec<Item>,
    /// What stands behind it.
    aside: Vec<Item>,
    /// Offsets of loops, in the order of the labels they are found by.
    offsets: Vec<(Label, Vec<u32>)>,
    labels: usize,
    /// Where the value loaded last is.
    last: R,
}

/// A place in the code.
#[derive(Clone, Copy, Debug)]
pub struct Label(usize);

#[derive(Clone, Copy)]
enum Item {
    Label(Label),
    /// What it accesses is none of the thread's own words.
    Word(u32, Option<At>),
    Reference(Reference, Label),
}

impl<'t> Aarch64<'t> {
    /// No code yet.
    pub fn new(surroundings: &'t Surroundings<'t>, lse: bool) -> Aarch64<'t> {
        Aarch64 {
            surroundings,
            lse,
            line: Vec::new(),
            aside: Vec::new(),
            offsets: Vec::new(),
            labels: 0,
            last: LOADED,
        }
    }

    /// What came of it; refused where a branch would be too far.
    pub fn code(mut self) -> Result<Code> {
        let mut items = take(&mut self.line);
        items.append(&mut self.aside);
        let mut places = vec![0; self.labels];
        let mut end = 0;
        for item in &items {
            match item {
                Item::Label(label) => places[label.0] = end,
                Item::Word(..) | Item::Reference(..) => end += 1,
            }
        }
        let instructions = end as usize;
        for (label, offsets) in &self.offsets {
            places[label.0] = end;
            end += offsets.len() as i64;
        }
        let mut words = Vec::with_capacity(end as usize);
        let mut accesses = Vec::new();
        for item in items {
            match item {
                Item::Label(_) => {}
                Item::Word(word, at) => {
                    accesses.extend(at.map(|at| (4 * words.len(), at)));
                    words.push(word);
                }
                Item::Reference(reference, label) => {
                    let far = places[label.0] - words.len() as i64;
                    words.push(reference.word(far).ok_or_else(|| {
                        Error::Refused(format!(
                            "a pass of {instructions} machine instructions is too long for a branch \
                             of aarch64, which reaches 1 MiB; let the case do fewer steps in a pass"
                        ))
                    })?);
                }
            }
        }
        words.extend(self.offsets.iter().flat_map(|(_, offsets)| offsets));
        Ok(Code {
            bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            instructions: 4 * instructions,
            accesses,
        })
    }

    fn put(&mut self, word: u32) {
        self.line.push(Item::Word(word, None));
    }

    /// An instruction that accesses memory which is not the thread's own.
    fn access(&mut self, at: At, word: u32) {
        self.line.push(Item::Word(word, Some(at)));
    }

    fn refer(&mut self, reference: Reference, to: Label) {
        self.line.push(Item::Reference(reference, to));
    }

    fn branch(&mut self, condition: Condition, to: Label) {
        self.refer(Reference::If(condition), to);
    }

    /// Put a number into a register: two instructions below 2^32, else four.
    fn number(&mut self, register: R, value: u64) {
        match u32::try_from(value) {
            Ok(value) => {
                self.put(words::movz(register, value as u16, 0));
                self.put(words::movk(register, (value >> 16) as u16, 1));
            }
            Err(_) => self.address(register, value),
        }
    }

    /// Put an address of this process into a register: four instructions.
    fn address(&mut self, register: R, value: u64) {
        self.put(words::movz(register, value as u16, 0));
        for half in 1..4 {
            self.put(words::movk(register, (value >> (16 * half)) as u16, half));
        }
    }

    /// Put the offset of a word into [`AT`]; the register that it counts from.
    fn offset(&mut self, at: At) -> R {
        self.number(AT, u64::from(at.offset));
        base_of(at)
    }

    /// Put the address of a word into a register.
    fn address_of(&mut self, at: At, to: R) {
        let base = self.offset(at);
        self.put(words::add(to, base, AT));
    }

    fn load_into(&mut self, at: At, width: Width, to: R) {
        let base = self.offset(at);
        self.access(at, words::ldr(width, to, base, AT));
    }

    fn store_from(&mut self, at: At, width: Width, from: R) {
        let base = self.offset(at);
        self.access(at, words::str(width, from, base, AT));
    }

    /// Load the word into [`ANY`], add 1, store it.
    fn plus_one(&mut self, at: At, width: Width) {
        let base = self.offset(at);
        self.access(at, words::ldr(width, ANY, base, AT));
        self.put(words::add_imm(ANY, ANY, 1));
        self.access(at, words::str(width, ANY, base, AT));
    }

    /// Add [`ANY`] to the word, at once; `to` becomes its value from before.
    fn fetch_add(&mut self, at: At, width: Width, order: Order, to: R) {
        self.address_of(at, AT);
        if self.lse {
            self.access(at, words::ldadd(width, order, ANY, to, AT));
            return;
        }
        let again = self.label();
        self.put(words::prfm_store(AT));
        self.bind(again);
        self.access(at, words::ldxr(width, order, to, AT));
        self.put(words::add(OTHER, to, ANY));
        self.access(at, words::stxr(width, order, LEFT, OTHER, AT));
        self.refer(Reference::IfNotZeroW(LEFT), again);
    }

    /// Compare-and-swap of the word from [`LOADED`] to [`ANY`]; go to `failed`, with the value
    /// found in [`LOADED`], if it was something else.
    fn swap(&mut self, at: At, width: Width, order: Order, failed: Label) {
        self.address_of(at, AT);
        if self.lse {
            self.put(words::mov(OTHER, LOADED));
            self.access(at, words::cas(width, order, OTHER, ANY, AT));
            self.put(words::cmp(OTHER, LOADED));
        } else {
            let (again, other) = (self.label(), self.label());
            self.put(words::prfm_store(AT));
            self.bind(again);
            self.access(at, words::ldxr(width, order, OTHER, AT));
            self.put(words::cmp(OTHER, LOADED));
            self.branch(Condition::Ne, other);
            self.access(at, words::stxr(width, order, LEFT, ANY, AT));
            self.refer(Reference::IfNotZeroW(LEFT), again);
            self.bind(other);
        }
        // Leaves the flags as they are.
        self.put(words::mov(LOADED, OTHER));
        self.branch(Condition::Ne, failed);
        self.last = LOADED;
    }

    /// Compare-and-swap of the word from 0 to 1, acquiring.
    fn take_if_free(&mut self, at: At, width: Width, failed: Label) {
        self.put(words::mov(LOADED, ZERO));
        self.put(words::movz(ANY, 1, 0));
        self.swap(at, width, Order::Acquire, failed);
    }

    /// At `from`: call `function` with the address of `at` and what `more` puts into registers
    /// behind the first, and go on where this is called.
    fn call_aside(&mut self, from: Label, at: At, function: usize, more: impl FnOnce(&mut Self)) {
        let on = self.label();
        self.bind(on);
        self.aside(|a| {
            a.bind(from);
            a.call(function, |a| {
                a.address_of(at, LOADED);
                more(a);
            });
            a.jump(on);
        });
    }

    /// Call `function` with what `arguments` puts into registers.
    fn call(&mut self, function: usize, arguments: impl FnOnce(&mut Self)) {
        let [.., one, two] = SLOTS;
        self.put(words::pair(Pair::Push(16), one, two));
        arguments(self);
        self.address(AT, function as u64);
        self.put(words::blr(AT));
        self.put(words::pair(Pair::Pop(16), one, two));
        self.factor();
    }

    /// The constant of `spin`, as far as x86 has it: odd, so that no product is 0.
    fn factor(&mut self) {
        self.number(FACTOR, 0x7f4a_7c15);
    }

    /// Scale the number drawn last to 0 up to `count`.
    fn scale(&mut self, count: u64) {
        self.number(ANY, count);
        self.put(words::mul(DRAW, DRAW, ANY));
        self.put(words::high_half(DRAW, DRAW));
    }

    /// Count down the private counter; the flags tell whether it is 0.
    fn down(&mut self, counter: usize) {
        let counter = counter_at(counter);
        self.put(words::ldr_at(ANY, CONTEXT, counter));
        self.put(words::subs_imm(ANY, ANY, 1));
        self.put(words::str_at(ANY, CONTEXT, counter));
    }
}

fn base_of(at: At) -> R {
    match at.base {
        Base::Arena => ARENA,
        Base::Slot(slot) => SLOTS[usize::from(slot)],
    }
}

/// Where a word of the frame is in the context.
fn in_frame(offset: usize) -> usize {
    offset_of!(Context, frame) + offset
}

fn counter_at(counter: usize) -> usize {
    assert!(counter < MOST_COUNTERS);
    in_frame(offset_of!(Frame, counters) + 8 * counter)
}
