//! Machine code made of a thread's pass at run time: one instruction an access, nothing between.
//!
//! Here: the way from a pass to bytes (`assembler`, and a module for each instruction set, to
//! `code`), what code works on (`context`), and memory that it can be executed in (`executable`).
//! Not here: which pass a thread has (`lower`), and when it runs (`backend`).

mod assembler;
mod code;
mod context;
mod executable;
mod listing;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use code::{Code, Surroundings};
pub use context::{Context, SlowPaths};
pub use executable::{Executable, synchronize};
pub use listing::listing;

use super::lowered::Pass;
use crate::error::Result;

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
