//! Machine code made of a thread's pass at run time: one instruction an access, nothing between.
//!
//! Here: the way from a pass to bytes (`assembler`, and an instruction set each), what code works
//! on (`context`), and memory that it can be executed in (`executable`). Not here: which pass a
//! thread has (`lower`), and when it runs (`backend`).

mod assembler;
mod context;
mod executable;
mod listing;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use context::{Context, SlowPaths};
pub use executable::{Executable, synchronize};
pub use listing::listing;

use super::lowered::{At, Pass};
use crate::error::Result;

/// What a pass is made into code with; the same for all arms of a block.
#[derive(Clone, Copy)]
pub struct Surroundings<'t> {
    /// The tables of [`Instr::PickRandom`](super::lowered::Instr::PickRandom): offsets of objects
    /// from the first byte of the arena. Code holds their addresses.
    pub tables: &'t [Vec<u32>],
    /// What is called where a thread has to wait.
    pub slow: SlowPaths,
    /// Turns of the loop of [`Instr::Work`](super::lowered::Instr::Work) in a microsecond.
    pub turns_per_microsecond: u64,
}

/// A function made of a pass. It may lie anywhere: it refers to itself relatively only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Its instructions, and behind them what they read of its own.
    pub bytes: Vec<u8>,
    /// How much of it is instructions.
    pub instructions: usize,
    /// Where in it instructions begin that access memory for the pass, and what they access.
    pub accesses: Vec<(usize, At)>,
}

/// Make code of `pass`, which is to be done over and over.
///
/// # Panics
/// When `pass` has a slot, counter, table or offset that it may not have.
#[cfg(target_arch = "x86_64")]
pub fn assemble(pass: &Pass, surroundings: &Surroundings) -> Result<Code> {
    let mut x86 = x86_64::X86::new(surroundings);
    assembler::pass(&mut x86, pass);
    Ok(x86.code())
}

/// As above.
#[cfg(not(target_arch = "x86_64"))]
pub fn assemble(_: &Pass, _: &Surroundings) -> Result<Code> {
    Err(crate::error::Error::Refused(format!(
        "no machine code is made for {} yet, only for x86_64; hitm sim --case runs the same steps on \
         a machine model",
        std::env::consts::ARCH
    )))
}
