//! What it costs that the locks of neighbouring VMAs share a line: `split-packed` over
//! `split-aligned`, each thread in a VMA of its own.
//!
//! Locks of 40 bytes: those in slots 0 and 1 share a line, those in slots 1 and 2 do not.

use crate::conduct::{Args, Figure, cpus, design};
use hitm::backend::native::pool::Timing;
use hitm::backend::native::{Faults, Native};
use hitm::error::Result;
use hitm::experiment::BASELINE_AGAIN;
use hitm::fault::path::PageWork;
use hitm::results::Sample;
use hitm::scenario;
use hitm::stats::{Block, Look, Parity, Rule};

const POINT: &str = "vma-per-thread";
const ARMS: [&str; 3] = ["split-aligned", BASELINE_AGAIN, "split-packed"];

/// The figure.
pub fn figure(args: &Args) -> Result<String> {
    let faults = Faults {
        arms: vec![ARMS[0].parse()?, ARMS[0].parse()?, ARMS[2].parse()?],
        points: vec![(scenario::BuiltIn::VmaPerThread, 2)],
        work: PageWork::None,
    };
    let mut native = Native::new(faults, vec![cpus(2)?], Timing::default())?;
    let figure = args.conduct(design(&ARMS, &[(POINT, 2)]), &mut native)?;
    Ok(format!(
        "sharing: split-packed over split-aligned, {POINT}, 2 threads: {} ({} over {}; A/A {}); \
         from an even slot {}; from an odd slot {}; {}",
        figure.ratio(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[0]),
        figure.ratio(POINT, BASELINE_AGAIN),
        from_slot(&figure, 0),
        from_slot(&figure, 1),
        figure.disturbed
    ))
}

/// Ratio and interval in the blocks that begin at `slot`.
fn from_slot(figure: &Figure, slot: usize) -> String {
    let of = |arm: &'static str| {
        let is_of = move |s: &&Sample| s.layout == arm && s.first_slot == Some(slot);
        figure.samples.iter().filter(is_of)
    };
    let pairs = of(ARMS[2]).zip(of(ARMS[0])).enumerate();
    // All are of one parity: neighbours in time form the units.
    let blocks = pairs.map(|(number, (arm, baseline))| Block {
        parity: Parity::of(number as u64),
        log_ratio: (arm.ns_per_fault / baseline.ns_per_fault).ln(),
        valid: arm.valid && baseline.valid,
    });
    match Look::once(blocks, Rule::default(), 1) {
        Some(Look { interval, .. }) => format!(
            "{:.4} [{:.4} to {:.4}]",
            interval.ratio(),
            interval.ratio_low(),
            interval.ratio_high()
        ),
        None => "not measured (too few undisturbed blocks)".to_owned(),
    }
}
