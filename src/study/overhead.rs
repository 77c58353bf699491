//! What the harness adds to a fault: all of it, from the pool to the generic fault path, against
//! the same accesses in one plain loop between two readings of the clock.
//!
//! Slot by slot: on Zen 4 the loop by hand takes a tenth longer in slot 0 than in slot 1, and the
//! harness does not. Why is not known.

use super::by_hand::ByHand;
use super::conduct::{Either, cpus, design};
use super::ratios::{Args, Ratios};
use crate::backend::faults::FaultArms;
use crate::backend::native::Native;
use crate::backend::native::pool::Timing;
use crate::error::Result;
use crate::experiment::{Arm, Backend, PlannedSample};
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario;

const POINT: &str = "one-vma";
const ARMS: [&str; 3] = ["by-hand", Arm::AGAIN, "harness"];

/// The fault loop of the harness over the same accesses written by hand, one thread.
pub fn study(args: &Args) -> Result<Ratios> {
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
    args.ratios(design(&ARMS, &[(POINT, 1)])?, &mut backend, true)
}
