//! What it costs that the locks of neighbouring VMAs share a line: `split-packed` over
//! `split-aligned`, each thread in a VMA of its own.
//!
//! Locks of 40 bytes: those in slots 0 and 1 share a line, those in slots 1 and 2 do not.

use crate::conduct::{Args, cpus, design};
use hitm::backend::faults::FaultArms;
use hitm::backend::native::Native;
use hitm::backend::native::pool::Timing;
use hitm::error::Result;
use hitm::experiment::Arm;

const POINT: &str = "vma-per-thread";
const ARMS: [&str; 3] = ["split-aligned", Arm::AGAIN, "split-packed"];

/// The figure.
pub fn figure(args: &Args) -> Result<String> {
    let design = design(&ARMS, &[(POINT, 2)])?;
    let faults = FaultArms::of(&design)?;
    let mut native = Native::new(faults, vec![cpus(2)?], Timing::default())?;
    let figure = args.conduct(design, &mut native)?;
    Ok(format!(
        "sharing: split-packed over split-aligned, {POINT}, 2 threads: {} ({} over {}; A/A {}); \
         from an even slot {}; from an odd slot {}; {}",
        figure.ratio(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[0]),
        figure.ratio(POINT, Arm::AGAIN),
        figure.ratio_in_slot(0, ARMS[2], ARMS[0]),
        figure.ratio_in_slot(1, ARMS[2], ARMS[0]),
        figure.disturbed
    ))
}
