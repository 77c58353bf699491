//! The positive control: a known case of false sharing, through the harness and by hand. The
//! harness must neither hide it nor make it.

use super::by_hand::plain;
use super::conduct::{Either, cpus, design};
use super::ratios::{Args, Ratios};
use crate::backend::native::Native;
use crate::backend::native::pool::Timing;
use crate::backend::native::two_words::TwoWords;
use crate::error::Result;
use crate::experiment::{Arm, PlannedSample};
use crate::space::{LINE, PAIR};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const ARMS: [&str; 3] = ["64-bytes-apart", Arm::AGAIN, "8-bytes-apart"];
/// Bytes from the counter of the first thread to that of the second, by arm.
const APART: [usize; 3] = [LINE, LINE, 8];

/// Design points: who runs the loop.
const HARNESS: &str = "harness";
const BY_HAND: &str = "by-hand";

/// Two counters 8 bytes apart over two 64 bytes apart, added to by two threads.
pub fn study(args: &Args) -> Result<Ratios> {
    let cpus = cpus(2)?;
    let mut backend = Either {
        first: Native::new(
            TwoWords::apart(&APART),
            vec![cpus.clone()],
            Timing::default(),
        )?,
        first_takes: |planned| (planned.point == 0).then_some(*planned),
        second: |planned: &PlannedSample| {
            let pair = Pair::default();
            let apart = APART[planned.arm] / size_of::<AtomicU64>();
            plain(&cpus, |thread| by_hand(&pair.0[thread * apart]))
        },
    };
    args.ratios(
        design(&ARMS, &[(HARNESS, 2), (BY_HAND, 2)])?,
        &mut backend,
        false,
    )
}

/// Adds between two readings of the clock: 10 µs of them where nothing is shared.
const ADDS: u64 = 5000;

/// As long a warm-up and a window as the harness takes.
fn by_hand(counter: &AtomicU64) -> (u64, Duration) {
    let Timing {
        warm_up, window, ..
    } = Timing::default();
    add_for(counter, warm_up);
    add_for(counter, window)
}

#[inline(never)]
fn add_for(counter: &AtomicU64, time: Duration) -> (u64, Duration) {
    let start = Instant::now();
    let mut added = 0;
    loop {
        for _ in 0..ADDS {
            counter.fetch_add(1, Relaxed);
        }
        added += ADDS;
        let elapsed = start.elapsed();
        if elapsed >= time {
            return (added, elapsed);
        }
    }
}

#[derive(Default)]
#[repr(align(128))]
struct Pair([AtomicU64; PAIR / size_of::<AtomicU64>()]);
