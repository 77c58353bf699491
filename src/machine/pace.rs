//! How fast a core gets through instructions at this moment.
//!
//! Here: one short loop that is bound by how many instructions a core takes per cycle, not by their
//! latency. An SMT sibling takes a share of just that, and it may be one that this system does not
//! know: a hypervisor can show siblings as cores, and lend the other half of ours to someone else.
//! And up to which reading a core had all of itself. Not here: what follows from a slow reading.

use super::{CpuId, pin};
use crate::error::Result;
use crate::space::LINE;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Loads in a line.
const WORDS: usize = LINE / 8;
/// Lines' worth of loads in a third of a reading: about 3 µs, more than a hundred readings of the
/// clock.
const TURNS: usize = 1_000;
/// A reading above the fastest mode by more than this factor was taken beside a working sibling.
/// On Zen 4 a sibling makes it 1.8 times as long, and readings without one differ by 1.1.
const DISTURBED: f64 = 1.3;

#[repr(align(64))]
struct PaceLine([AtomicU64; WORDS]);

/// Nanoseconds of a load that hits L1, the comparison of its value and a branch that is not taken:
/// one of many that do not wait for each other. The middle one of three, which takes about 10 µs:
/// an interrupt in one of them does not show, a sibling works for longer.
pub fn pace_ns() -> f64 {
    let mut thirds = [(); 3].map(|()| third_ns());
    thirds.sort_by(f64::total_cmp);
    thirds[1]
}

fn third_ns() -> f64 {
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

/// Readings that a [`Reference`] remembers: a second of samples of 5 ms.
const REMEMBERED: usize = 400;
/// The mode is sought again after so many new ones.
const EVERY: usize = 50;

/// Up to which reading a core has all of itself, as far as it has been seen.
#[derive(Clone, Debug)]
pub struct Reference {
    undisturbed_ns: f64,
    recent: VecDeque<f64>,
    new: usize,
}

impl Reference {
    /// Of the core of `cpu`, from readings for about `time`. Nothing else of ours may run on its
    /// siblings meanwhile.
    pub fn take(cpu: CpuId, time: Duration) -> Result<Reference> {
        let readings = pin::on(cpu, || {
            let start = Instant::now();
            let mut readings = vec![pace_ns()];
            while start.elapsed() < time {
                readings.push(pace_ns());
            }
            readings
        })?;
        let mut reference = Reference::default();
        reference.lower(&readings);
        Ok(reference)
    }

    /// Whether a reading was taken beside a working sibling.
    pub fn is_shared(&self, pace_ns: f64) -> bool {
        pace_ns > self.undisturbed_ns
    }

    /// Take note of a reading: a core that was never seen with all of itself may get it later.
    pub fn note(&mut self, pace_ns: f64) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(pace_ns);
        self.new += 1;
        if self.new >= EVERY {
            self.new = 0;
            let recent: Vec<f64> = self.recent.iter().copied().collect();
            self.lower(&recent);
        }
    }

    /// Lower it, if these readings have a faster mode.
    pub fn lower(&mut self, readings: &[f64]) {
        if let Some(ns) = undisturbed_ns(readings) {
            self.undisturbed_ns = self.undisturbed_ns.min(ns);
        }
    }
}

/// Of a core that has not been seen: no reading is too slow.
impl Default for Reference {
    fn default() -> Reference {
        Reference {
            undisturbed_ns: f64::INFINITY,
            recent: VecDeque::new(),
            new: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_lowered_by_a_faster_mode_and_never_raised() {
        let mut reference = Reference::default();
        assert!(!reference.is_shared(1e9));
        reference.lower(&[0.74; 100]);
        assert!(!reference.is_shared(0.74) && reference.is_shared(1.0));
        // Single fast readings are no mode.
        reference.note(0.40);
        (0..2 * EVERY).for_each(|_| reference.note(0.74));
        assert!(!reference.is_shared(0.74));
        (0..EVERY).for_each(|_| reference.note(0.40));
        assert!(reference.is_shared(0.74) && !reference.is_shared(0.42));
        (0..10 * REMEMBERED).for_each(|_| reference.note(0.74));
        assert!(reference.is_shared(0.74));
        assert!(reference.recent.len() <= REMEMBERED);
    }

    #[test]
    fn a_reference_is_taken_on_the_cpu_that_it_is_of() {
        let cpu = crate::machine::Topology::here().unwrap().cpus[0].id;
        let reference = Reference::take(cpu, Duration::from_millis(1)).unwrap();
        assert!(!reference.is_shared(0.0) && reference.is_shared(f64::INFINITY));
    }

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
