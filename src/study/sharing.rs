//! What it costs that the locks of neighbouring VMAs share a line: `split-packed` over
//! `split-aligned`, each thread in a VMA of its own.
//!
//! Locks of 40 bytes: those in slots 0 and 1 share a line, those in slots 1 and 2 do not.

use super::conduct::{cpus, design};
use super::ratios::{Args, Ratios};
use crate::backend::faults::FaultArms;
use crate::backend::native::Native;
use crate::backend::native::pool::Timing;
use crate::error::Result;
use crate::experiment::Arm;
use crate::machine::real_time;

const POINT: &str = "vma-per-thread";
const ARMS: [&str; 3] = ["split-aligned", Arm::AGAIN, "split-packed"];

/// Locks of neighbouring VMAs packed over aligned.
pub fn study(args: &Args) -> Result<Ratios> {
    let design = design(&ARMS, &[(POINT, 2)])?;
    let faults = FaultArms::of(&design)?;
    let mut native = Native::new(faults, vec![cpus(2)?], Timing::default())?;
    native.may_use_real_time(&real_time::permission());
    args.ratios(design, &mut native, true)
}
