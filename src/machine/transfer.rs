//! How long a modified cache line takes from one thread to the next, and its modes over time.
//!
//! Here: the ring that threads pass a token round, and the search for modes. Not here: who runs
//! the ring and when (`backend`, `commands::probe`).

use crate::stats::median;
use crossbeam_utils::CachePadded;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Transfers in one hop: ownership of the line to the sender, whose store invalidates the copy the
/// receiver polls, then the modified line to the receiver. Half a hop is therefore what a
/// compare-and-swap ping-pong, as in core-to-core-latency, shows as one way: interleaved with one
/// on a Zen 4 guest, 1.00 to 1.09 of it, with the two vCPUs 27 ns and with them 110 ns apart.
const TRANSFERS_PER_HOP: usize = 2;
/// Hops between two reads of the clock: at 25 ns per read, that adds 0.1 ns to a transfer.
const HOPS_PER_BATCH: usize = 128;
/// Empty looks at a line before a member begins to yield; a few microseconds.
const SPINS: u32 = 4096;
/// The same where members share CPUs, and the one waited for may need ours.
const SPINS_OVERSUBSCRIBED: u32 = 64;
/// How long a member waits for one lap before the ring is abandoned. A member that is only
/// switched out comes back sooner.
const PATIENCE: Duration = Duration::from_secs(2);

/// A ring of threads that pass a token round.
///
/// Member `i` waits on a line of its own, with acquire loads, and passes the token on with a
/// release store to the line of member `i + 1`. Member 0 ends a run by marking the token, so that
/// all members make the same number of laps and none is left waiting.
pub struct Ring {
    seats: Box<[RingSeat]>,
    abandoned: CachePadded<AtomicBool>,
    spins: u32,
}

/// The lines of one member.
struct RingSeat {
    /// Written by the member before: number of the lap, shifted left by one, and [`LAST_LAP`].
    token: CachePadded<AtomicU64>,
    /// Laps this member has made; touched by nobody else.
    laps: CachePadded<AtomicU64>,
}

const LAST_LAP: u64 = 1;

impl Ring {
    /// A ring of `members` threads; `oversubscribed` if some of them share a CPU.
    pub fn new(members: usize, oversubscribed: bool) -> Ring {
        Ring {
            seats: (0..members)
                .map(|_| RingSeat {
                    token: CachePadded::new(AtomicU64::new(0)),
                    laps: CachePadded::new(AtomicU64::new(0)),
                })
                .collect(),
            abandoned: CachePadded::new(AtomicBool::new(false)),
            spins: match oversubscribed {
                true => SPINS_OVERSUBSCRIBED,
                // A member is served once a lap.
                false => SPINS.saturating_mul(members.try_into().unwrap_or(u32::MAX)),
            },
        }
    }

    /// Pass the token round for about `window`; every member calls it, member 0 decides the end.
    ///
    /// Returns to member 0 the time of one line transfer, half a hop, in ns: the median of batches
    /// of about 128 hops, taken once all members had arrived, so that one interruption does not
    /// show. `None` to the other members, in a ring of one, and when the ring was abandoned: a
    /// member did not pass the token on for two seconds, or [`Ring::abandon`] was called.
    pub fn run(&self, member: usize, window: Duration) -> Option<f64> {
        if self.seats.len() < 2 {
            return None;
        }
        if member == 0 {
            self.lead(window)
        } else {
            self.follow(member);
            None
        }
    }

    /// Let every member return from `run` at once, and from every later run; for a member that
    /// cannot take part any more.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Whether the ring was abandoned.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Make an abandoned ring usable again. Call it while no member is in `run`.
    pub fn reset(&self) {
        for seat in &self.seats {
            seat.token.store(0, Ordering::Relaxed);
            seat.laps.store(0, Ordering::Relaxed);
        }
        self.abandoned.store(false, Ordering::Release);
    }

    fn lead(&self, window: Duration) -> Option<f64> {
        let seat = &self.seats[0];
        let first = seat.laps.load(Ordering::Relaxed);
        let laps_per_batch = (HOPS_PER_BATCH / self.seats.len()).max(1);
        let mut lap = first;
        let mut go_round = |mark: u64| {
            lap += 1;
            self.pass(0, (lap << 1) | mark);
            self.wait(0, lap)
        };
        // The first lap ends when the last member has arrived.
        go_round(0)?;
        let mut batches_ns = Vec::with_capacity(1024);
        let start = Instant::now();
        let mut before = start;
        loop {
            for _ in 0..laps_per_batch {
                go_round(0)?;
            }
            let now = Instant::now();
            let transfers = TRANSFERS_PER_HOP * laps_per_batch * self.seats.len();
            batches_ns.push((now - before).as_nanos() as f64 / transfers as f64);
            before = now;
            if now - start >= window {
                break;
            }
        }
        go_round(LAST_LAP)?;
        seat.laps.store(lap, Ordering::Relaxed);
        batches_ns.sort_unstable_by(f64::total_cmp);
        Some(median(&batches_ns))
    }

    fn follow(&self, member: usize) {
        let seat = &self.seats[member];
        let mut lap = seat.laps.load(Ordering::Relaxed);
        loop {
            lap += 1;
            let Some(token) = self.wait(member, lap) else {
                return;
            };
            if token & LAST_LAP != 0 {
                // Before the token goes on: the next run may begin as soon as it has.
                seat.laps.store(lap, Ordering::Relaxed);
                self.pass(member, token);
                return;
            }
            self.pass(member, token);
        }
    }

    #[inline(always)]
    fn pass(&self, member: usize, token: u64) {
        let next = if member + 1 == self.seats.len() {
            0
        } else {
            member + 1
        };
        self.seats[next].token.store(token, Ordering::Release);
    }

    /// Wait for the token of `lap`. No `pause` while spinning: its length (140 cycles since
    /// Skylake) would be measured as latency.
    #[inline(always)]
    fn wait(&self, member: usize, lap: u64) -> Option<u64> {
        let line = &self.seats[member].token;
        for _ in 0..self.spins {
            let token = line.load(Ordering::Acquire);
            if token >> 1 == lap {
                return Some(token);
            }
        }
        self.wait_politely(member, lap)
    }

    #[cold]
    fn wait_politely(&self, member: usize, lap: u64) -> Option<u64> {
        let line = &self.seats[member].token;
        let since = Instant::now();
        loop {
            let token = line.load(Ordering::Acquire);
            if token >> 1 == lap {
                return Some(token);
            }
            if self.is_abandoned() {
                return None;
            }
            if since.elapsed() > PATIENCE {
                self.abandon();
                return None;
            }
            std::thread::yield_now();
        }
    }
}

/// A value that latencies gather around.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mode {
    /// Median of the latencies in this mode, in ns.
    pub ns: f64,
    /// Share of all latencies that lie in this mode, 0 to 1.
    pub share: f64,
}

/// A mode with less than this share is taken for interruptions, not for a state of the machine.
pub const NOTABLE_SHARE: f64 = 0.05;

impl Mode {
    /// Whether it is a state of the machine.
    pub fn is_notable(&self) -> bool {
        self.share >= NOTABLE_SHARE
    }
}

/// Width of a bin of the histogram in which modes are sought: 5 %.
const BIN: f64 = 0.05;
/// A mode holds at least this share of the latencies.
const SMALLEST_SHARE: f64 = 0.01;

/// The modes of a set of latencies in ns, lowest first.
///
/// A histogram of the logarithms, in bins of 5 %, smoothed over neighbours (1-2-1), is cut at
/// every valley less than half as high as the lower of the peaks beside it. What lies between two
/// cuts is a mode, if it holds 1 % of the latencies; stragglers belong to none, so that the
/// shares may add up to less than 1. Latencies that are not above 0 are left out.
pub fn modes(latencies_ns: &[f64]) -> Vec<Mode> {
    let mut sorted: Vec<f64> = latencies_ns
        .iter()
        .copied()
        .filter(|ns| ns.is_finite() && *ns > 0.0)
        .collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(&lowest), Some(&highest)) = (sorted.first(), sorted.last()) else {
        return Vec::new();
    };
    let bin = |ns: f64| (ns / lowest).ln().div_euclid(BIN.ln_1p()) as usize;
    let mut histogram = vec![0.0; bin(highest) + 1];
    for &ns in &sorted {
        histogram[bin(ns)] += 1.0;
    }
    let at = |index: Option<usize>| index.and_then(|i| histogram.get(i)).copied().unwrap_or(0.0);
    let smooth: Vec<f64> = (0..histogram.len())
        .map(|i| (at(i.checked_sub(1)) + 2.0 * at(Some(i)) + at(Some(i + 1))) / 4.0)
        .collect();
    // A peak has to rise above what a few stragglers make.
    let noise = SMALLEST_SHARE * sorted.len() as f64 / 4.0;
    let mut starts = vec![0];
    let mut peak: f64 = 0.0;
    let (mut valley, mut valley_at) = (f64::INFINITY, 0);
    for (i, &height) in smooth.iter().enumerate() {
        if peak.min(height) > 2.0 * valley + noise {
            starts.push(valley_at);
            (peak, valley) = (height, f64::INFINITY);
        } else if height > peak {
            (peak, valley) = (height, f64::INFINITY);
        } else if height < valley {
            (valley, valley_at) = (height, i);
        }
    }
    starts.push(histogram.len());
    starts
        .windows(2)
        .filter_map(|range| {
            let low = sorted.partition_point(|&ns| bin(ns) < range[0]);
            let high = sorted.partition_point(|&ns| bin(ns) < range[1]);
            let mode = &sorted[low..high];
            let share = mode.len() as f64 / sorted.len() as f64;
            (share >= SMALLEST_SHARE).then(|| Mode {
                ns: median(mode),
                share,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// Latencies around each centre, spread by 4 %.
    fn around(centres: &[(f64, usize)]) -> Vec<f64> {
        let mut random = rand_pcg::Pcg64::seed_from_u64(7);
        centres
            .iter()
            .flat_map(|&(ns, count)| std::iter::repeat_n(ns, count))
            .map(|ns| {
                let spread: f64 = (0..4).map(|_| random.random::<f64>() - 0.5).sum();
                ns * (1.0 + 0.07 * spread)
            })
            .collect()
    }

    fn assert_modes(latencies: &[f64], expected: &[(f64, f64)]) {
        let found = modes(latencies);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (mode, (ns, share)) in found.iter().zip(expected) {
            assert!((mode.ns / ns - 1.0).abs() < 0.05, "{found:?}");
            assert!((mode.share - share).abs() < 0.02, "{found:?}");
        }
    }

    #[test]
    fn latencies_of_a_moved_virtual_machine_show_as_separate_modes() {
        assert_modes(
            &around(&[(11.0, 300), (27.0, 500), (120.0, 200)]),
            &[(11.0, 0.3), (27.0, 0.5), (120.0, 0.2)],
        );
    }

    #[test]
    fn one_cloud_is_one_mode_however_many_latencies_it_has() {
        for count in [1, 2, 10, 100, 10_000] {
            assert_eq!(
                modes(&around(&[(50.0, count)])).len(),
                1,
                "{count} latencies"
            );
        }
        assert_eq!(
            modes(&[42.0; 100]),
            [Mode {
                ns: 42.0,
                share: 1.0
            }]
        );
    }

    #[test]
    fn stragglers_are_no_mode() {
        let mut latencies = around(&[(50.0, 1000)]);
        latencies.extend([900.0, 1500.0, 40_000.0]);
        assert_modes(&latencies, &[(50.0, 1.0)]);
    }

    #[test]
    fn nothing_measured_has_no_modes() {
        assert_eq!(modes(&[]), []);
        assert_eq!(modes(&[0.0, -1.0, f64::NAN, f64::INFINITY]), []);
    }

    fn run_all(ring: &Ring, window: Duration) -> Vec<Option<f64>> {
        std::thread::scope(|scope| {
            let members: Vec<_> = (0..ring.seats.len())
                .map(|member| scope.spawn(move || ring.run(member, window)))
                .collect();
            members.into_iter().map(|m| m.join().unwrap()).collect()
        })
    }

    #[test]
    fn all_members_leave_and_member_0_knows_the_latency_run_after_run() {
        for members in [2, 3, 8] {
            let ring = Ring::new(members, true);
            for _ in 0..20 {
                let outcome = run_all(&ring, Duration::from_micros(200));
                assert!(outcome[0].is_some_and(|ns| ns > 0.0), "{outcome:?}");
                assert!(outcome[1..].iter().all(Option::is_none), "{outcome:?}");
            }
            assert!(!ring.is_abandoned());
        }
    }

    #[test]
    fn a_ring_of_one_measures_nothing() {
        assert_eq!(Ring::new(1, false).run(0, Duration::from_micros(200)), None);
    }

    #[test]
    fn members_leave_when_one_never_comes_and_the_ring_works_again_after_a_reset() {
        let ring = Ring::new(3, true);
        std::thread::scope(|scope| {
            let ring = &ring;
            let present: Vec<_> = (0..2)
                .map(|member| scope.spawn(move || ring.run(member, Duration::from_micros(200))))
                .collect();
            ring.abandon();
            for member in present {
                assert_eq!(member.join().unwrap(), None);
            }
        });
        ring.reset();
        assert!(run_all(&ring, Duration::from_micros(200))[0].is_some());
    }
}
