//! How fast a core gets through instructions at this moment.
//!
//! Here: one short loop that is bound by how many instructions a core takes per cycle, not by their
//! latency. An SMT sibling takes a share of just that, and it may be one that this system does not
//! know: a hypervisor can show siblings as cores, and lend the other half of ours to someone else.
//! Not here: what follows from a slow reading.

use crate::space::LINE;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Loads in a line.
const WORDS: usize = LINE / 8;
/// Lines' worth of loads in one reading: about 10 µs, a thousand readings of the clock.
const TURNS: usize = 3_000;
/// A reading above the fastest mode by more than this factor was taken beside a working sibling.
/// On Zen 4 a sibling makes it 1.8 times as long, and readings without one differ by 1.1.
const DISTURBED: f64 = 1.3;

#[repr(align(64))]
struct PaceLine([AtomicU64; WORDS]);

/// Nanoseconds of a load that hits L1, the comparison of its value and a branch that is not taken:
/// one of many that do not wait for each other.
pub fn pace_ns() -> f64 {
    let line = PaceLine(Default::default());
    let line = black_box(&line);
    let start = Instant::now();
    for _ in 0..TURNS {
        for word in &line.0 {
            if word.load(Relaxed) == u64::MAX {
                never();
            }
        }
    }
    start.elapsed().as_nanos() as f64 / (TURNS * WORDS) as f64
}

/// Where a branch leads that is not taken: out of the way.
#[cold]
#[inline(never)]
pub(crate) fn never() {
    black_box(());
}

/// The slowest reading that a core makes when it has all of itself, from many readings: those up
/// to it lie in the fastest mode.
pub fn undisturbed_ns(readings: &[f64]) -> Option<f64> {
    let modes = super::transfer::modes(readings);
    let fastest = modes.iter().find(|mode| mode.is_notable());
    fastest.or(modes.first()).map(|mode| mode.ns * DISTURBED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_mode_that_is_not_a_straggler_counts() {
        let mut readings = vec![0.40; 400];
        readings.extend([0.74; 590]);
        readings.extend([0.01; 3]);
        let limit = undisturbed_ns(&readings).unwrap();
        assert!((0.45..0.70).contains(&limit), "{limit}");
        assert_eq!(undisturbed_ns(&[]), None);
    }
}
