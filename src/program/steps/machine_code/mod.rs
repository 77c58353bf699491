//! Machine code made of a thread's pass at run time: one instruction an access, nothing between;
//! aarch64 has two instructions for an offset before each, and loads and stores for what it counts.
//!
//! Here: the way from a pass to bytes (`assembler`, and a module for each instruction set, to
//! `code`), what code works on (`context`), and memory that it can be executed in (`executable`,
//! `pages`).
//! Not here: which pass a thread has (`lower`), and when it runs (`backend`).

mod aarch64;
mod assembler;
mod code;
mod context;
mod executable;
mod listing;
mod pages;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use code::{Code, Surroundings};
pub use context::{Context, SlowPaths};
pub use executable::Executable;
pub use listing::listing;
pub use pages::{CodePages, policy, synchronize};

use super::lowered::Pass;
use crate::error::Result;

/// Make code of `pass`, which is to be done over and over.
///
/// # Panics
/// When `pass` has a slot, counter, table or offset that it may not have.
#[cfg(target_arch = "x86_64")]
pub fn assemble(pass: &Pass, surroundings: &Surroundings) -> Result<Code> {
    assemble_unrolled(pass, surroundings, 1)
}

/// The same with the pass written so many times one behind the other, above 0: other code, which does
/// the same.
#[cfg(target_arch = "x86_64")]
pub fn assemble_unrolled(pass: &Pass, surroundings: &Surroundings, times: usize) -> Result<Code> {
    let mut x86 = x86_64::X86::new(surroundings);
    assembler::pass(&mut x86, pass, times);
    Ok(x86.code())
}

/// As above.
#[cfg(target_arch = "aarch64")]
pub fn assemble(pass: &Pass, surroundings: &Surroundings) -> Result<Code> {
    assemble_unrolled(pass, surroundings, 1)
}

/// As above.
#[cfg(target_arch = "aarch64")]
pub fn assemble_unrolled(pass: &Pass, surroundings: &Surroundings, times: usize) -> Result<Code> {
    let mut aarch64 = aarch64::Aarch64::new(surroundings, has_lse());
    assembler::pass(&mut aarch64, pass, times);
    aarch64.code()
}

/// As above.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn assemble(pass: &Pass, surroundings: &Surroundings) -> Result<Code> {
    assemble_unrolled(pass, surroundings, 1)
}

/// As above.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn assemble_unrolled(_: &Pass, _: &Surroundings, _: usize) -> Result<Code> {
    Err(crate::error::Error::Refused(format!(
        "no machine code is made for {} yet, only for x86_64 and aarch64; hitm sim --case runs the \
         same steps on a machine model",
        std::env::consts::ARCH
    )))
}

/// Make code of `pass` for aarch64, with the atomic instructions of Armv8.1 (`lse`) or with loops
/// of exclusive loads and stores. It can be made anywhere, to look at it.
///
/// # Panics
/// As [`assemble`].
pub fn assemble_aarch64(pass: &Pass, surroundings: &Surroundings, lse: bool) -> Result<Code> {
    let mut aarch64 = aarch64::Aarch64::new(surroundings, lse);
    assembler::pass(&mut aarch64, pass, 1);
    aarch64.code()
}

/// Whether the kernel says (`HWCAP_ATOMICS`) that this machine has the atomic instructions of
/// Armv8.1.
#[cfg(target_arch = "aarch64")]
fn has_lse() -> bool {
    std::arch::is_aarch64_feature_detected!("lse")
}

/// The instructions that atomic steps are made of on this machine, where it has a choice.
pub fn atomics() -> Option<&'static str> {
    #[cfg(target_arch = "aarch64")]
    return Some(match has_lse() {
        true => "LSE",
        false => "LL/SC",
    });
    #[cfg(not(target_arch = "aarch64"))]
    None
}
