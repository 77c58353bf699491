//! What one CPU does by itself: cache latencies, and what accesses cost that hit L1.
//!
//! Here: one short window of each quantity a round, all of them in every round. Not here: what
//! becomes of the figures (`file`).

use super::chain::{Chain, ChainLine, Visit};
use super::geometry::{CacheGeometry, Geometry};
use crate::backend::native::memory::{NativeMemory, spin};
use crate::error::Result;
use crate::machine::accounting::ThreadWatch;
use crate::machine::pace::{never, pace_ns};
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::tree;
use crate::program::fault::uses::FOOTPRINT_SIZE;
use crate::program::fault::world::{World, start_of};
use crate::space::arena::Arena;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::time::Instant;

/// Where hwloc knows no cache: the sizes that most servers of the last ten years have or exceed.
pub const USUAL_L1: usize = 32 << 10;
/// See [`USUAL_L1`].
pub const USUAL_L2: usize = 1 << 20;
/// See [`USUAL_L1`].
pub const USUAL_LLC: usize = 32 << 20;
/// More memory than this is not taken for one chain.
const MOST_MEMORY: usize = 512 << 20;

/// Working sets in bytes, one for every place a line can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets {
    /// Half of L1.
    pub l1: usize,
    /// Half of L2: a walk in circles hits L1 only for the share of it that L1 holds.
    pub l2: usize,
    /// Four times L2, or half of the last-level cache if that is less.
    pub llc: usize,
    /// Four times the last-level cache, 512 MiB at most.
    pub memory: usize,
}

impl Sets {
    /// The working sets for a machine.
    pub fn of(geometry: &Geometry) -> Sets {
        let bytes = |cache: &Option<CacheGeometry>, usual| cache.map_or(usual, |cache| cache.bytes);
        let l2 = bytes(&geometry.l2, USUAL_L2);
        let llc = bytes(&geometry.llc, USUAL_LLC);
        Sets {
            l1: bytes(&geometry.l1, USUAL_L1) / 2,
            l2: l2 / 2,
            llc: (4 * l2).min(llc / 2).max(l2),
            memory: llc.saturating_mul(4).clamp(1 << 20, MOST_MEMORY),
        }
    }
}

/// One window of a quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// What was measured, in nanoseconds.
    pub ns: f64,
    /// Pace of the core right before and right after, the slower of the two.
    pub pace_ns: f64,
}

/// The windows of every round, by quantity.
#[derive(Clone, Debug, Default)]
pub struct Solo {
    /// A load that waits for the one before, in L1.
    pub l1: Vec<Window>,
    /// The same, in L2.
    pub l2: Vec<Window>,
    /// The same, in the last-level cache.
    pub llc: Vec<Window>,
    /// The same, in DRAM.
    pub memory: Vec<Window>,
    /// The second line of a 128-byte pair right after the first, both from DRAM.
    pub pair: Vec<Window>,
    /// A load of many that do not wait for each other, in L1, with a comparison and a branch that
    /// is not taken: three instructions, as a fault has for each of its accesses.
    pub issue: Vec<Window>,
    /// The same between locked read-modify-writes: what it adds to the time of these.
    pub issue_between: Vec<Window>,
    /// A walk through a tree like that of a fault, to each of [`REGIONS`], in L1.
    pub walks: [Vec<Window>; REGIONS.len()],
    /// `fetch_add` on a private line, one after the other.
    pub rmw: Vec<Window>,
    /// A compare-and-swap that succeeds on a private line, on a value loaded just before.
    pub cas: Vec<Window>,
    /// Full fence, empty store buffer.
    pub fence: Vec<Window>,
    /// `spin_loop`.
    pub pause: Vec<Window>,
    /// A plain store to a private line, one of many.
    pub store: Vec<Window>,
    /// A store and the load that reads it back, each waiting for the other.
    pub forward: Vec<Window>,
    /// A branch on a random bit, beyond one that always goes the same way: half are missed.
    pub branch: Vec<Window>,
    /// A piece of local work of about a microsecond.
    pub work: Vec<Window>,
}

impl Window {
    /// A quantity made of two windows.
    fn with(self, other: Window, of: impl Fn(f64, f64) -> f64) -> Window {
        Window {
            ns: of(self.ns, other.ns),
            pace_ns: self.pace_ns.max(other.pace_ns),
        }
    }
}

/// Everything one CPU measures on.
pub struct Bench {
    l1: Chain,
    l2: Chain,
    llc: Chain,
    memory: Chain,
    pairs: Chain,
    own: ChainLine,
    other: ChainLine,
    world: World,
    /// What reading the clock twice takes, to be taken off every window.
    clock_ns: f64,
}

/// Loads between two read-modify-writes: about as many as between those of a fault.
const BETWEEN: usize = 32;
/// The regions walked to: one that few steps lead to, one with many.
pub const REGIONS: [usize; 2] = [0, FOOTPRINT_SIZE.vmas - 1];

/// The world whose tree is walked.
pub fn world() -> Result<World> {
    let table = VmaLayout::SplitPacked.table();
    let arena = Arena::new(World::bytes_for(table, FOOTPRINT_SIZE))?;
    Ok(World::new(arena, table, FOOTPRINT_SIZE))
}

/// Turns of a chain of multiplications that take about a microsecond.
const WORK_TURNS: u64 = 1000;

impl Bench {
    /// Memory laid out and touched.
    pub fn new(sets: &Sets) -> Result<Bench> {
        Ok(Bench {
            l1: Chain::new(sets.l1, Visit::All)?,
            l2: Chain::new(sets.l2, Visit::All)?,
            llc: Chain::new(sets.llc, Visit::All)?,
            memory: Chain::new(sets.memory, Visit::OneOfPair)?,
            pairs: Chain::new(sets.memory / 2, Visit::Pairs)?,
            own: ChainLine::default(),
            other: ChainLine::default(),
            world: world()?,
            clock_ns: clock_ns(),
        })
    }

    /// One window of every quantity; a window in which the thread was switched out is left out.
    pub fn round(&self, solo: &mut Solo) {
        let rmw = self.each(10_000, || {
            self.own.words[0].fetch_add(1, AcqRel);
        });
        solo.rmw.extend(rmw);
        solo.l1.extend(self.chase(&self.l1, 10_000));
        solo.l2.extend(self.chase(&self.l2, 5_000));
        solo.llc.extend(self.chase(&self.llc, 3_000));
        // No lap first: everything else has been through the cache since.
        let single = self.time(1000, |n| self.memory.load(n));
        solo.memory.extend(single);
        let both = self.time(1000, |n| self.pairs.load(2 * n));
        solo.pair.extend(
            both.zip(single)
                .map(|(both, single)| both.with(single, |b, s| b - s)),
        );
        solo.issue.extend(self.time(100_000, |n| {
            for _ in 0..n / BETWEEN {
                self.loads();
            }
        }));
        let with_loads = self.each(10_000, || {
            self.own.words[0].fetch_add(1, AcqRel);
            self.loads();
        });
        // Below 0 where the loads cost nothing at all, beside noise.
        let beside = |with: f64, without: f64| ((with - without) / BETWEEN as f64).max(0.0);
        solo.issue_between.extend(
            with_loads
                .zip(rmw)
                .map(|(with, without)| with.with(without, beside)),
        );
        for (walks, region) in solo.walks.iter_mut().zip(REGIONS) {
            walks.extend(self.each(3000, || self.walk(region)));
        }
        solo.cas.extend(self.each(10_000, || {
            let word = &self.own.words[1];
            let value = word.load(Relaxed);
            let _ = word.compare_exchange(value, value + 1, Acquire, Relaxed);
        }));
        solo.fence.extend(self.each(2000, || {
            // Fences with nothing between them are merged by the compiler.
            self.own.words[0].load(Relaxed);
            fence(SeqCst);
        }));
        solo.pause.extend(self.each(1000, spin_loop));
        solo.store.extend(self.time(50_000, |n| {
            for i in 0..n as u64 {
                self.own.words[2].store(i, Release);
            }
        }));
        let word = &self.own.words[3];
        solo.forward.extend(self.each(10_000, || {
            word.store(black_box(word.load(Relaxed)) + 1, Relaxed);
        }));
        let seed = solo.branch.len() as u64;
        let [same, random] = [0, 1].map(|mask| self.time(10_000, |n| branches(n, seed, mask)));
        solo.branch
            .extend(random.zip(same).map(|(r, s)| r.with(s, |r, s| r - s)));
        solo.work.extend(self.time(1, |_| spin(WORK_TURNS)));
    }

    /// A step of the chain, after a lap that brings it back into the cache.
    fn chase(&self, chain: &Chain, steps: usize) -> Option<Window> {
        chain.load(chain.len());
        self.time(steps, |n| chain.load(n))
    }

    /// [`BETWEEN`] loads that do not wait for each other, all in L1, each looked at.
    #[inline(always)]
    fn loads(&self) {
        for _ in 0..BETWEEN / 4 {
            for word in [
                &self.own.words[4],
                &self.own.words[5],
                &self.other.words[0],
                &self.other.words[1],
            ] {
                if AtomicU64::load(word, Relaxed) == u64::MAX {
                    never();
                }
            }
        }
    }

    #[inline(always)]
    fn walk(&self, region: usize) {
        // SAFETY: a walk takes every address from this world.
        let memory = unsafe { NativeMemory::new(self.world.arena()) };
        black_box(tree::walk(
            &memory,
            self.world.mm(),
            black_box(start_of(region)),
        ));
    }

    /// Nanoseconds of one of `count` calls of `body`.
    #[inline(always)]
    fn each(&self, count: usize, body: impl Fn()) -> Option<Window> {
        self.time(count, |n| (0..n).for_each(|_| body()))
    }

    /// Nanoseconds of one of `count` repetitions.
    fn time(&self, count: usize, body: impl FnOnce(usize)) -> Option<Window> {
        let before = pace_ns();
        let watch = ThreadWatch::start();
        let start = Instant::now();
        body(count);
        let elapsed = start.elapsed().as_nanos() as f64 - self.clock_ns;
        let undisturbed = watch.counts().involuntary_switches == 0;
        undisturbed.then(|| Window {
            ns: elapsed.max(0.0) / count as f64,
            pace_ns: before.max(pace_ns()),
        })
    }
}

/// Branches on the bits of `mask` of a random number; with a mask of 0 the same work without the
/// chance. Predictors learn a series of some thousand bits by heart: every call takes another seed.
#[inline(never)]
fn branches(count: usize, seed: u64, mask: u64) {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    for _ in 0..count {
        if random.next_u64() & mask != 0 {
            // Something that cannot be done without a branch.
            black_box(mask);
        }
    }
}

/// The shortest time between two readings of the clock.
pub fn clock_ns() -> f64 {
    let readings = (0..100).map(|_| Instant::now().elapsed().as_nanos());
    readings.min().unwrap_or(0) as f64
}
