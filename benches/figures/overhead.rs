//! What the harness adds to a fault: all of it, from the pool to the generic fault path, against
//! the same accesses in one plain loop between two readings of the clock.

use crate::by_hand::{self, plain, timed};
use crate::conduct::{Args, Either, cpus, design};
use hitm::backend::native::pool::Timing;
use hitm::backend::native::{Faults, Native};
use hitm::error::Result;
use hitm::experiment::{BASELINE_AGAIN, Cell};
use hitm::fault::path::PageWork;
use hitm::scenario;

const POINT: &str = "one-vma";
const ARMS: [&str; 3] = ["by-hand", BASELINE_AGAIN, "harness"];
/// Faults after which caches and predictors know the loop: about 300 µs.
const WARM_UP: u64 = 5_000;

/// The figure.
pub fn figure(args: &Args) -> Result<String> {
    let cpus = cpus(1)?;
    let faults = Faults {
        arms: vec!["split-packed".parse()?],
        points: vec![(scenario::BuiltIn::OneVma, 1)],
        work: PageWork::None,
    };
    // As many faults as take about a window.
    let world = by_hand::world();
    let tried = plain(&cpus, |_| {
        by_hand::faults(&world, 0, 0, WARM_UP);
        (WARM_UP, timed(|| by_hand::faults(&world, 0, 0, WARM_UP)))
    })?;
    let seconds_each = tried.threads[0].seconds / WARM_UP as f64;
    let window = (Timing::default().window.as_secs_f64() / seconds_each) as u64;
    let mut backend = Either {
        harness: Native::new(faults, vec![cpus.clone()], Timing::default())?,
        through_harness: |cell| (cell.arm == 2).then_some(Cell { arm: 0, ..*cell }),
        by_hand: |cell: &Cell| {
            let world = by_hand::world();
            plain(&cpus, |_| {
                by_hand::faults(&world, cell.first_slot, 0, WARM_UP);
                let run = || by_hand::faults(&world, cell.first_slot, WARM_UP, window);
                (window, timed(run))
            })
        },
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
