//! Line-transfer latency between two CPUs, as `hitm probe` measures it.
//!
//! Here: which pairs, and a ring of two pinned threads. Not here: the ring and the modes
//! (`transfer`), the probe before a sample, which workers run themselves (`backend`).

use super::pin::pin_current_thread;
use super::threads::{in_scope, join};
use super::topology::{CpuId, Distance, Topology};
use super::transfer::Ring;
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Two CPUs and what lies between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The two.
    pub cpus: [CpuId; 2],
    /// How far they are apart.
    pub distance: Distance,
}

/// Up to this many CPUs, all pairs are measured: 28 of them.
const FEW_CPUS: usize = 8;

/// The pairs of usable CPUs to measure, nearest first: all of them if there are at most 8 CPUs,
/// else the first of each distance.
pub fn pairs(topology: &Topology) -> Vec<Pair> {
    let usable: Vec<_> = topology.allowed().collect();
    let few = usable.len() <= FEW_CPUS;
    let mut pairs: Vec<Pair> = Vec::new();
    for (i, a) in usable.iter().enumerate() {
        for b in &usable[i + 1..] {
            let distance = a.distance(b);
            if few || pairs.iter().all(|pair| pair.distance != distance) {
                pairs.push(Pair {
                    cpus: [a.id, b.id],
                    distance,
                });
            }
        }
    }
    pairs.sort_by_key(|pair| pair.distance);
    pairs
}

/// One-way latencies in ns between the two CPUs, one per `window`, for `duration` in all.
///
/// Fewer than asked for, or none, if a thread is kept from its CPU for seconds.
pub fn measure(pair: Pair, duration: Duration, window: Duration) -> Result<Vec<f64>> {
    let ring = Ring::new(2, false);
    // Number of the run that is the last; the follower must not begin another.
    let last_run = AtomicU64::new(u64::MAX);
    let lead = || -> Result<Vec<f64>> {
        pin_or_abandon(&ring, pair.cpus[0])?;
        let start = Instant::now();
        let mut latencies_ns = Vec::new();
        for run in 0.. {
            let is_last = start.elapsed() + window >= duration;
            if is_last {
                last_run.store(run, Ordering::Relaxed);
            }
            latencies_ns.extend(ring.run(0, window));
            if is_last || ring.is_abandoned() {
                break;
            }
        }
        Ok(latencies_ns)
    };
    let follow = || -> Result<()> {
        pin_or_abandon(&ring, pair.cpus[1])?;
        for run in 0.. {
            ring.run(1, window);
            // Written before the token of that run was passed on, which we have received.
            if run >= last_run.load(Ordering::Relaxed) || ring.is_abandoned() {
                break;
            }
        }
        Ok(())
    };
    // Both on threads of their own: a pin outlives the measurement.
    std::thread::scope(|scope| {
        let leader = in_scope(scope, lead)?;
        let follower = in_scope(scope, follow).inspect_err(|_| ring.abandon())?;
        let (led, followed) = (join(leader), join(follower));
        followed.and(led)
    })
}

fn pin_or_abandon(ring: &Ring, cpu: CpuId) -> Result<()> {
    pin_current_thread(cpu).inspect_err(|_: &Error| ring.abandon())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cpus_are_paired_each_with_each_nearest_first() {
        let topology = Topology::from_synthetic("pack:2 l3:1 core:2 pu:2").unwrap();
        let pairs = pairs(&topology);
        assert_eq!(pairs.len(), 28);
        assert!(pairs.is_sorted_by_key(|pair| pair.distance));
    }

    #[test]
    fn many_cpus_are_represented_by_one_pair_a_distance() {
        let topology = Topology::from_synthetic("pack:2 l3:2 core:8 pu:2").unwrap();
        let found: Vec<_> = pairs(&topology)
            .into_iter()
            .map(|pair| (pair.distance, pair.cpus.map(|cpu| cpu.0)))
            .collect();
        let expected = [
            (Distance::SmtSibling, [0, 1]),
            (Distance::SameLlc, [0, 2]),
            (Distance::OtherLlc, [0, 16]),
            (Distance::OtherPackage, [0, 32]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pair_is_measured_in_windows_until_its_time_is_up() {
        let topology = Topology::here().unwrap();
        for pair in pairs(&topology).into_iter().take(1) {
            let (duration, window) = (Duration::from_millis(20), Duration::from_micros(200));
            let latencies = measure(pair, duration, window).unwrap();
            assert!(!latencies.is_empty());
            assert!(latencies.len() <= 101, "{}", latencies.len());
            assert!(latencies.iter().all(|ns| *ns > 0.0));
        }
    }

    #[test]
    fn a_cpu_that_cannot_be_pinned_to_ends_the_measurement_with_the_reason() {
        let topology = Topology::here().unwrap();
        let here = topology.allowed().next().unwrap().id;
        let nowhere = CpuId(rustix::thread::CpuSet::MAX_CPU);
        for cpus in [[here, nowhere], [nowhere, here]] {
            let pair = Pair {
                cpus,
                distance: Distance::OtherPackage,
            };
            let result = measure(pair, Duration::from_millis(20), Duration::from_micros(200));
            assert!(matches!(result, Err(Error::Refused(_))), "{result:?}");
        }
    }
}
