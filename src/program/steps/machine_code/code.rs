//! What an assembler is given beside the pass, and what it gives back.

use super::super::lowered::At;
use super::context::SlowPaths;

/// What a pass is made into code with; the same for all arms of a block.
#[derive(Clone, Copy)]
pub struct Surroundings<'t> {
    /// The tables of [`Instr::PickRandom`](super::super::lowered::Instr::PickRandom): offsets of objects
    /// from the first byte of the arena. Code holds their addresses.
    pub tables: &'t [Vec<u32>],
    /// What is called where a thread has to wait.
    pub slow: SlowPaths,
    /// Turns of the loop of [`Instr::Work`](super::super::lowered::Instr::Work) in a microsecond.
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
