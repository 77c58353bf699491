//! What the harness adds to a fault: all of it, from the pool to the generic fault path, against
//! the same accesses in one plain loop between two readings of the clock.

use crate::by_hand::ByHand;
use crate::conduct::{Args, Either, cpus, design};
use hitm::backend::native::pool::Timing;
use hitm::backend::native::{Faults, Native};
use hitm::error::Result;
use hitm::experiment::{BASELINE_AGAIN, Backend, Cell};
use hitm::fault::path::PageWork;
use hitm::scenario;

const POINT: &str = "one-vma";
const ARMS: [&str; 3] = ["by-hand", BASELINE_AGAIN, "harness"];

/// The figure.
pub fn figure(args: &Args) -> Result<String> {
    let cpus = cpus(1)?;
    let faults = Faults {
        arms: vec!["split-packed".parse()?],
        points: vec![(scenario::BuiltIn::OneVma, 1)],
        work: PageWork::None,
    };
    let mut by_hand = ByHand::new(cpus.clone())?;
    let mut backend = Either {
        harness: Native::new(faults, vec![cpus], Timing::default())?,
        through_harness: |cell| (cell.arm == 2).then_some(Cell { arm: 0, ..*cell }),
        by_hand: |cell: &Cell| by_hand.measure(cell),
    };
    let figure = args.conduct(design(&ARMS, &[(POINT, 1)]), &mut backend)?;
    Ok(format!(
        "overhead: harness over by hand, split-packed, 1 thread: {} ({} over {}; A/A {}); {}",
        figure.ratio(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[0]),
        figure.ratio(POINT, BASELINE_AGAIN),
        figure.disturbed
    ))
}
