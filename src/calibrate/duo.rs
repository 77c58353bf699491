//! What two CPUs do to each other's lines: transfers, upgrades, a contended line, its neighbours.
//!
//! Here: one window of each quantity a round, by two threads in step. Not here: which pairs and
//! how often (`calibrate`), and the ring (`machine::transfer`).

use super::chain::{Chain, Visit};
use super::solo::clock_ns;
use crate::backend::native::memory::spin;
use crate::error::Result;
use crate::machine::Distance;
use crate::machine::pace::pace_ns;
use crate::machine::pairs::Pair;
use crate::machine::pin::pin_current_thread;
use crate::machine::threads::join;
use crate::machine::transfer::Ring;
use crate::stats::median;
use crossbeam_utils::CachePadded;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

/// Window of the ring, and of every other quantity.
const WINDOW: Duration = Duration::from_micros(150);
/// Lines handed over in a batch: fit L1, and take some microseconds, many readings of the clock.
const LINES: usize = 128;
/// Batches of a window.
const BATCHES: usize = 8;
/// Bytes between a contended line and the private one beside it. The first two are the other line
/// of its 128-byte pair and the line on its other side; the last is far away from it.
pub const NEIGHBOURS: [isize; 4] = [64, -64, 128, 1024];
/// Operations between two looks at the clock or at the flag that ends a window.
const OPS: u64 = 32;

/// One round of a pair, times in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// One way of the ring, as `hitm probe` shows it.
    pub ring: f64,
    /// Lines from one to the other.
    pub lines: HandOver,
    /// Between two of all `fetch_add`s that both make on one line.
    pub add: f64,
    /// How many of them one CPU makes before the other gets the line.
    pub run: f64,
    /// A `fetch_add` on the contended line and one on a private line beside it, by [`NEIGHBOURS`].
    pub beside: [f64; NEIGHBOURS.len()],
    /// SMT siblings: local work while the other works too, over the same alone.
    pub both_work: Option<f64>,
}

/// What a line costs, by what the other has done with it; each access waits for the one before.
#[derive(Clone, Copy, Debug)]
pub struct HandOver {
    /// A load; the other has modified it.
    pub dirty_read: f64,
    /// The same, by loads that do not wait for each other.
    pub dirty_read_of_many: f64,
    /// A read-modify-write right after such a load.
    pub own_after_read: f64,
    /// A read-modify-write; the other has modified it.
    pub dirty_own: f64,
    /// A load by the one who modified it; the other has loaded it since.
    pub reread: f64,
    /// A load; the other alone holds it, clean. x86 only, which lets a program flush lines.
    pub clean_read: Option<f64>,
    /// A read-modify-write right after such a load: both hold it clean.
    pub upgrade: Option<f64>,
}

/// What a pair of threads works on.
pub struct Stage {
    pair: Pair,
    lines: Chain,
    page: Chain,
    arrivals: CachePadded<AtomicU64>,
    stop: CachePadded<AtomicBool>,
    ring: Ring,
    clock_ns: f64,
}

impl Stage {
    /// For these two CPUs.
    pub fn new(pair: Pair) -> Result<Stage> {
        Ok(Stage {
            pair,
            // One line of four: the prefetchers that complete pairs or follow a stream find
            // nothing that is wanted.
            lines: Chain::new(4 * LINES * crate::space::LINE, Visit::OneOfFour)?,
            page: Chain::new(4096, Visit::All)?,
            arrivals: CachePadded::new(AtomicU64::new(0)),
            stop: CachePadded::new(AtomicBool::new(false)),
            ring: Ring::new(2, false),
            clock_ns: clock_ns(),
        })
    }

    /// The line at `distance` bytes from the first line of the second pair of the page.
    fn word(&self, distance: isize) -> &AtomicU64 {
        let at = 2 + distance / crate::space::LINE as isize;
        &self.page.line(at as usize).words[0]
    }

    /// One round, and the pace of the cores before and after it, the slowest; `None` if a thread was
    /// kept from its CPU for seconds.
    pub fn round(&mut self) -> Result<Option<(Round, f64)>> {
        self.arrivals.store(0, Relaxed);
        self.ring.reset();
        let stage = &*self;
        // New threads every time: a pin outlives the measurement.
        std::thread::scope(|scope| {
            let threads = [0, 1].map(|side| {
                scope.spawn(move || {
                    let pinned = pin_current_thread(stage.pair.cpus[side]);
                    if pinned.is_err() {
                        stage.ring.abandon();
                    }
                    pinned.map(|_| {
                        let side = Side {
                            stage,
                            side,
                            met: 0,
                        };
                        let before = pace_ns();
                        let round = side.round();
                        (before.max(pace_ns()), round)
                    })
                })
            });
            let [first, second] = threads.map(join);
            let ((first, measured), (second, _)) = (first?, second?);
            Ok(measured.map(|round| (round, first.max(second))))
        })
    }
}

/// One of the two threads: 0 measures, 1 helps.
struct Side<'s> {
    stage: &'s Stage,
    side: usize,
    /// Arrivals of both that this thread has waited for.
    met: u64,
}

/// Empty looks before a waiting thread gives its CPU away.
const SPINS: u32 = 4096;

impl<'s> Side<'s> {
    fn round(mut self) -> Option<Round> {
        // The ring waits for the other's pin, and ends for both if that failed.
        let ring = self.stage.ring.run(self.side, WINDOW);
        if self.stage.ring.is_abandoned() {
            return None;
        }
        let lines = self.hand_over();
        let (add, run) = self.contend();
        let beside = NEIGHBOURS.map(|distance| self.beside(distance));
        let siblings = self.stage.pair.distance == Distance::SmtSibling;
        let both_work = siblings.then(|| self.both_work());
        Some(Round {
            ring: ring?,
            lines,
            add,
            run,
            beside,
            both_work,
        })
    }

    fn measures(&self) -> bool {
        self.side == 0
    }

    /// Wait until both are here.
    fn meet(&mut self) {
        self.met += 2;
        self.stage.arrivals.fetch_add(1, AcqRel);
        let mut looks = 0;
        while self.stage.arrivals.load(Acquire) < self.met {
            looks += 1;
            if looks > SPINS {
                if self.stage.ring.is_abandoned() {
                    return;
                }
                std::thread::yield_now();
            }
        }
    }

    /// `what` by one of the two while the other waits: nanoseconds a line.
    fn step(&mut self, side: usize, what: impl FnOnce(&Chain)) -> f64 {
        let lines = &self.stage.lines;
        let start = Instant::now();
        if self.side == side {
            what(lines);
        }
        let elapsed = start.elapsed().as_nanos() as f64 - self.stage.clock_ns;
        self.meet();
        elapsed.max(0.0) / lines.len() as f64
    }

    /// Lines from one to the other, the medians of some batches.
    fn hand_over(&mut self) -> HandOver {
        let dirty = |lines: &Chain| {
            for line in lines.visited() {
                line.words[0].store(1, Release);
            }
        };
        let load = |lines: &Chain| lines.load(lines.len());
        let load_all = |lines: &Chain| {
            for line in lines.visited() {
                let _: u64 = line.words[0].load(Relaxed);
            }
        };
        let modify = |lines: &Chain| lines.modify(lines.len());
        let flush = |lines: &Chain| lines.visited().for_each(flush);
        const MEASURES: usize = 0;
        const HELPS: usize = 1;
        let mut seen: [Vec<f64>; 7] = Default::default();
        for _ in 0..BATCHES {
            self.step(HELPS, dirty);
            seen[0].push(self.step(MEASURES, load));
            seen[1].push(self.step(MEASURES, modify));
            self.step(HELPS, dirty);
            seen[2].push(self.step(MEASURES, modify));
            self.step(HELPS, load);
            seen[3].push(self.step(MEASURES, load));
            self.step(MEASURES, flush);
            self.step(HELPS, load);
            seen[4].push(self.step(MEASURES, load));
            seen[5].push(self.step(MEASURES, modify));
            self.step(HELPS, dirty);
            seen[6].push(self.step(MEASURES, load_all));
        }
        let [read, own_after_read, own, reread, clean, upgrade, of_many] =
            seen.map(|mut batches| {
                batches.sort_unstable_by(f64::total_cmp);
                median(&batches)
            });
        let can_flush = cfg!(target_arch = "x86_64");
        HandOver {
            dirty_read: read,
            dirty_read_of_many: of_many,
            own_after_read,
            dirty_own: own,
            reread,
            clean_read: can_flush.then_some(clean),
            upgrade: can_flush.then_some(upgrade),
        }
    }

    /// Both add to one line: time between two additions, and additions in a run.
    fn contend(&mut self) -> (f64, f64) {
        let word = self.stage.word(0);
        let (mut ops, mut runs, mut last) = (0u64, 0u64, u64::MAX);
        let mut first = None;
        let elapsed = self.until_time_is_up(|| {
            let found = word.fetch_add(1, AcqRel);
            runs += u64::from(found != last.wrapping_add(1));
            first.get_or_insert(found);
            last = found;
            ops += 1;
        });
        let all = last.wrapping_sub(first.unwrap_or(last)) + 1;
        (elapsed / all as f64, ops as f64 / runs.max(1) as f64)
    }

    /// Both add to one line, the measuring one also to a line of its own.
    fn beside(&mut self, distance: isize) -> f64 {
        let (contended, own) = (self.stage.word(0), self.stage.word(distance));
        let measures = self.measures();
        let mut ops = 0u64;
        let elapsed = self.until_time_is_up(|| {
            contended.fetch_add(1, AcqRel);
            if measures {
                own.fetch_add(1, AcqRel);
                ops += 1;
            }
        });
        elapsed / ops.max(1) as f64
    }

    /// Both do `op` until the measuring one's window is over: its length in nanoseconds.
    fn until_time_is_up(&mut self, mut op: impl FnMut()) -> f64 {
        if self.measures() {
            self.stage.stop.store(false, Relaxed);
        }
        self.meet();
        let start = Instant::now();
        loop {
            (0..OPS).for_each(|_| op());
            if self.measures() {
                let elapsed = start.elapsed();
                if elapsed >= WINDOW {
                    self.stage.stop.store(true, Release);
                    break;
                }
            } else if self.stage.stop.load(Acquire) || self.stage.ring.is_abandoned() {
                break;
            }
        }
        let elapsed = start.elapsed().as_nanos() as f64;
        self.meet();
        elapsed
    }

    fn both_work(&mut self) -> f64 {
        const TURNS: u64 = 5000;
        let timed = |side: &Self| {
            let start = Instant::now();
            spin(TURNS);
            start.elapsed().as_nanos() as f64 - side.stage.clock_ns
        };
        // The helper waits in a system call meanwhile, so that it leaves the core alone.
        let mut alone = 1.0;
        if self.measures() {
            alone = timed(self);
        } else {
            std::thread::sleep(WINDOW);
        }
        self.meet();
        let both = timed(self);
        self.meet();
        both / f64::max(alone, 1.0)
    }
}

/// Take the line out of every cache.
fn flush(line: &super::chain::ChainLine) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: CLFLUSH (SSE2, in every x86-64 CPU) on a line we hold a reference to.
    unsafe {
        std::arch::x86_64::_mm_clflush((&raw const *line).cast());
        std::arch::x86_64::_mm_mfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
