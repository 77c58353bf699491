//! Cache lines linked into a ring in random order, walked by loads or by read-modify-writes.
//!
//! Here: the memory and the walks. Not here: who walks, when, and what the times mean.

use crate::error::{Error, Result};
use crate::space::{LINE, PAGE};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::hint::black_box;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

/// One line: where the walk goes on, and words to store to.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct ChainLine {
    next: AtomicPtr<ChainLine>,
    /// The rest of the line.
    pub words: [AtomicU64; 7],
}

const PAGE_LINES: usize = PAGE / LINE;

/// Lines from a page boundary on, so that a pair of lines is a pair to the hardware.
#[repr(align(4096))]
struct Page([ChainLine; PAGE_LINES]);

/// A ring of lines.
pub struct Chain {
    pages: Pages,
    /// Positions in the order of the walk.
    order: Vec<u32>,
    /// Where the walk stands.
    at: AtomicPtr<ChainLine>,
}

/// Which lines of its memory a chain visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Every line, in random order.
    All,
    /// One line of every four, the order and the line random: no prefetch of a neighbour helps.
    OneOfFour,
    /// One line of every 128-byte pair.
    OneOfPair,
    /// Both lines of every pair, one right after the other; pairs in random order.
    Pairs,
}

impl Chain {
    /// A chain through `bytes` bytes of memory. The same `bytes` and `visit` give the same order.
    pub fn new(bytes: usize, visit: Visit) -> Result<Chain> {
        let count = bytes.max(1).next_multiple_of(PAGE) / LINE;
        let mut rng = Pcg64Mcg::seed_from_u64(bytes as u64);
        let group = match visit {
            Visit::All => 1,
            Visit::OneOfFour => 4,
            Visit::OneOfPair | Visit::Pairs => 2,
        };
        let mut groups: Vec<u32> = (0..(count / group) as u32).collect();
        groups.shuffle(&mut rng);
        let mut order = Vec::with_capacity(count);
        for at in groups {
            let first = at * group as u32;
            let chosen = first + rng.next_u32() % group as u32;
            order.push(chosen);
            if visit == Visit::Pairs {
                order.push(chosen ^ 1);
            }
        }
        let pages = Pages::new(count / PAGE_LINES)?;
        let line = |at: u32| &pages[at as usize / PAGE_LINES].0[at as usize % PAGE_LINES];
        for (i, &from) in order.iter().enumerate() {
            let to = order[(i + 1) % order.len()];
            let to = (&raw const *line(to)).cast_mut();
            line(from).next.store(to, Relaxed);
        }
        let at = AtomicPtr::new((&raw const *line(order[0])).cast_mut());
        Ok(Chain { pages, order, at })
    }

    /// Lines visited in a lap.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The lines visited, in the order of the walk.
    pub fn visited(&self) -> impl Iterator<Item = &ChainLine> {
        self.order.iter().map(|at| self.line(*at as usize))
    }

    /// The line at that position of the memory, visited or not.
    pub fn line(&self, at: usize) -> &ChainLine {
        &self.pages[at / PAGE_LINES].0[at % PAGE_LINES]
    }

    /// Walk `steps` lines further: each load has to wait for the one before.
    #[inline(never)]
    pub fn load(&self, steps: usize) {
        self.walk(steps, |line| line.next.load(Relaxed));
    }

    /// Walk `steps` lines further: each read-modify-write has to wait for the one before.
    #[inline(never)]
    pub fn modify(&self, steps: usize) {
        // A constant 0 would be compiled into a fence and a load.
        let nothing = black_box(0);
        self.walk(steps, |line| line.next.fetch_byte_add(nothing, Relaxed));
    }

    #[inline(always)]
    fn walk(&self, steps: usize, next: impl Fn(&ChainLine) -> *mut ChainLine) {
        let mut at = self.at.load(Relaxed);
        for _ in 0..steps {
            // SAFETY: `at` and every `next` on the ring point into `self.pages`, set in `new`.
            at = next(unsafe { &*at });
        }
        self.at.store(at, Relaxed);
    }
}

/// Zeroed pages of a mapping of its own.
struct Pages {
    first: NonNull<Page>,
    count: usize,
}

impl Pages {
    /// `count` pages, huge ones where the kernel gives them: a miss in the TLB would count as
    /// latency of the cache.
    fn new(count: usize) -> Result<Pages> {
        let bytes = count * PAGE;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: an anonymous mapping where the kernel chooses touches nothing that exists.
        let mapped = unsafe { mmap_anonymous(null_mut(), bytes, protection, flags) };
        let refused = |why: &dyn std::fmt::Display| {
            Error::Refused(format!(
                "{} MiB to measure caches in cannot be had: {why}; free some memory",
                bytes >> 20
            ))
        };
        let at = mapped.map_err(|why| refused(&why))?;
        let first = NonNull::new(at.cast()).ok_or_else(|| refused(&"mapped at 0"))?;
        // SAFETY: our own mapping, and the advice changes no contents. Where it is refused, only
        // accuracy is lost.
        let _ = unsafe { madvise(at, bytes, Advice::LinuxHugepage) };
        Ok(Pages { first, count })
    }
}

impl std::ops::Deref for Pages {
    type Target = [Page];

    fn deref(&self) -> &[Page] {
        // SAFETY: the mapping holds `count` pages as long as `self` lives, and all-zero memory is
        // a valid `Page`: null pointers and zeros.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and no reference outlives `self`. Failure
        // would leave the memory mapped.
        let _ = unsafe { munmap(self.first.as_ptr().cast(), self.count * PAGE) };
    }
}

// SAFETY: a `Page` is made of atomics, and `Pages` owns its mapping as a box would.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn lap(chain: &Chain, step: impl Fn(&Chain)) -> Vec<usize> {
        (0..chain.len())
            .map(|_| {
                let at = chain.at.load(Relaxed) as usize;
                step(chain);
                at
            })
            .collect()
    }

    #[test]
    fn a_lap_visits_every_line_of_the_ring_once_and_ends_where_it_began() {
        for (visit, share) in [
            (Visit::All, 1),
            (Visit::OneOfFour, 4),
            (Visit::OneOfPair, 2),
            (Visit::Pairs, 1),
        ] {
            let chain = Chain::new(64 * 1024, visit).unwrap();
            assert_eq!(chain.len(), 1024 / share);
            let begin = chain.at.load(Relaxed);
            let seen = lap(&chain, |c| c.load(1));
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), chain.len());
            assert_eq!(chain.at.load(Relaxed), begin);
            assert_eq!(lap(&chain, |c| c.modify(1)), seen);
        }
    }

    #[test]
    fn pairs_are_visited_one_line_right_after_the_other() {
        let chain = Chain::new(64 * 1024, Visit::Pairs).unwrap();
        for pair in chain.order.chunks(2) {
            assert_eq!(pair[0] ^ 1, pair[1]);
        }
    }
}
