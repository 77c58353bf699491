//! What the harness adds to a fault: all of it, from the pool to the generic fault path, against
//! the same accesses in one plain loop between two readings of the clock.
//!
//! Slot by slot: on Zen 4 the loop by hand takes a tenth longer in slot 0 than in slot 1, and the
//! harness does not. Why is not known.

use crate::by_hand::ByHand;
use crate::conduct::{Args, Either, cpus, design};
use hitm::backend::faults::FaultArms;
use hitm::backend::native::Native;
use hitm::backend::native::pool::Timing;
use hitm::error::Result;
use hitm::experiment::{Arm, Backend, PlannedSample};
use hitm::program::fault::path::PageWork;
use hitm::program::fault::scenario;

const POINT: &str = "one-vma";
const ARMS: [&str; 3] = ["by-hand", Arm::AGAIN, "harness"];

/// The figure.
pub fn figure(args: &Args) -> Result<String> {
    let cpus = cpus(1)?;
    let faults = FaultArms::new(
        &["split-packed".parse()?],
        vec![(scenario::BuiltIn::OneVma, 1)],
        PageWork::None,
    )?;
    let mut by_hand = ByHand::new(cpus.clone())?;
    let mut backend = Either {
        first: Native::new(faults, vec![cpus], Timing::default())?,
        first_takes: |planned| (planned.arm == 2).then_some(PlannedSample { arm: 0, ..*planned }),
        second: |planned: &PlannedSample| by_hand.measure(planned),
    };
    let figure = args.conduct(design(&ARMS, &[(POINT, 1)])?, &mut backend)?;
    Ok(format!(
        "overhead: harness over by hand, split-packed, 1 thread: {} ({} over {}; A/A {}); \
         in slot 0 {}; in slot 1 {}; {}",
        figure.ratio(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[0]),
        figure.ratio(POINT, Arm::AGAIN),
        figure.ratio_in_slot(0, ARMS[2], ARMS[0]),
        figure.ratio_in_slot(1, ARMS[2], ARMS[0]),
        figure.disturbed
    ))
}
