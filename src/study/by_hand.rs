//! The fault path of `split-packed` once more, written out by hand for one thread in one plain
//! loop, and what runs such loops: nothing but `std::thread`, a pin and two readings of the clock.
//!
//! This is what the harness is held against: the same accesses in the same order and memory,
//! without `Memory`, `Layout`, `Scenario`, programs, pool and batches.

use crate::backend::native::pool::Timing;
use crate::error::{Error, Result};
use crate::experiment::{Backend, Invalid, Measured, PlannedSample};
use crate::machine::accounting::{StealClock, ThreadWatch};
use crate::machine::{CpuId, pin};
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::path::PageWork;
use crate::program::fault::vma::Pointer;
use crate::program::fault::world::{VMA_SPAN, World, start_of};
use crate::program::fault::{Spec, scenario};
use crate::program::totals::ThreadFaults;
use crate::space::arena::Arena;
use std::sync::Barrier;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

#[repr(C)]
struct Mm {
    _0: [u8; 72],
    ma_root: AtomicU64,
    _80: [u8; 168],
    mm_lock_seq: AtomicU32,
}

#[repr(C)]
struct VmAreaStruct {
    vm_start: AtomicU64,
    vm_end: AtomicU64,
    vm_mm: AtomicU64,
    vm_page_prot: AtomicU64,
    vm_flags: AtomicU64,
    detached: AtomicU8,
    vm_lock_seq: AtomicU32,
    vm_lock: AtomicU64,
    _56: [u8; 48],
    anon_vma: AtomicU64,
    vm_ops: AtomicU64,
    vm_pgoff: AtomicU64,
    vm_file: AtomicU64,
    _136: [u8; 16],
    vm_policy: AtomicU64,
}

#[repr(C)]
struct RwSemaphore {
    count: AtomicU64,
    owner: AtomicU64,
}

/// A node of the maple tree, seen as a leaf and as an inner node.
#[repr(C)]
struct Node {
    parent: AtomicU64,
    words: [AtomicU64; 31],
}

const NODE_MASK: u64 = !255;
/// Word of a leaf: its last pivot; its first slot.
const LEAF_LAST_PIVOT: usize = 14;
const LEAF_SLOTS: usize = 15;
/// Word of an inner node: its first slot.
const INNER_SLOTS: usize = 9;

/// The object of type `T` that a pointer to a VMA or to a lock leads to, as memory holds it.
///
/// # Safety
/// Such an object is there, as long as the reference is used.
#[inline(always)]
unsafe fn object<'w, T>(pointer: u64) -> &'w T {
    // SAFETY: promised.
    unsafe { &*(Pointer::held(pointer).at(0).0 as *const T) }
}

/// One fault by task 64 at `address`; `false` where it would have to fall back or try again.
///
/// # Safety
/// `mm` is that of a living world of `split-packed`.
#[inline(always)]
unsafe fn fault(mm: *const Mm, address: u64) -> bool {
    // SAFETY: all pointers below come from the world (see above), whose memory is atomic words.
    unsafe {
        // The tree.
        let mut entry = (*mm).ma_root.load(Acquire);
        let vma = loop {
            let at = entry & NODE_MASK;
            let node = &*(at as *const Node);
            let is_leaf = (entry >> 3) & 15 == 1;
            if node.parent.load(Relaxed) & NODE_MASK == at {
                return false;
            }
            let bytes = node.words.as_ptr().cast::<AtomicU8>();
            let (slots, end) = if !is_leaf {
                (INNER_SLOTS, (*bytes.add(232)).load(Relaxed) as usize)
            } else if node.words[LEAF_LAST_PIVOT].load(Relaxed) == 0 {
                (LEAF_SLOTS, (*bytes.add(240)).load(Relaxed) as usize)
            } else {
                (LEAF_SLOTS, 15)
            };
            let mut slot = 0;
            while slot < end && (*node.words.as_ptr().add(slot)).load(Relaxed) < address {
                slot += 1;
            }
            entry = (*node.words.as_ptr().add(slots + slot)).load(Acquire);
            if node.parent.load(Relaxed) & NODE_MASK == at {
                return false;
            }
            if is_leaf {
                break object::<VmAreaStruct>(entry);
            }
        };

        // Into the VMA.
        let vm_mm = &*(vma.vm_mm.load(Relaxed) as *const Mm);
        if vma.vm_lock_seq.load(Relaxed) == vm_mm.mm_lock_seq.load(Relaxed) {
            return false;
        }
        let lock = object::<RwSemaphore>(vma.vm_lock.load(Relaxed));
        let mut count = lock.count.load(Relaxed);
        loop {
            if count & (1 << 63 | 7) != 0 {
                return false;
            }
            match lock
                .count
                .compare_exchange(count, count + 256, Acquire, Relaxed)
            {
                Ok(_) => break,
                Err(found) => count = found,
            }
        }
        let owner = lock.owner.load(Relaxed);
        lock.owner.store(64 | 1 | (owner & 2), Relaxed);
        let left = vma.vm_lock_seq.load(Relaxed) == vm_mm.mm_lock_seq.load(Acquire)
            || vma.detached.load(Relaxed) != 0
            || address < vma.vm_start.load(Relaxed)
            || address >= vma.vm_end.load(Relaxed);
        if left {
            lock.count.fetch_sub(256, Release);
            return false;
        }

        // What an anonymous write fault reads.
        for field in [
            &vma.vm_flags,
            &vma.vm_mm,
            &vma.vm_flags,
            &vma.vm_file,
            &vma.vm_start,
            &vma.vm_pgoff,
            &vma.vm_file,
            &vma.vm_mm,
            &vma.vm_flags,
            &vma.vm_ops,
            &vma.vm_end,
            &vma.vm_ops,
            &vma.vm_flags,
            &vma.vm_mm,
            &vma.anon_vma,
            &vma.vm_ops,
            &vma.vm_policy,
            &vma.vm_pgoff,
            &vma.vm_start,
            &vma.vm_page_prot,
            &vma.vm_flags,
            &vma.anon_vma,
            &vma.vm_start,
            &vma.vm_pgoff,
            &vma.vm_flags,
        ] {
            field.load(Relaxed);
        }

        // Out of it.
        object::<RwSemaphore>(vma.vm_lock.load(Relaxed))
            .count
            .fetch_sub(256, Release);
    }
    true
}

/// `faults` faults in the VMA of slab slot `slot`, one after another, beginning with number
/// `first`.
#[inline(never)]
fn faults(world: &World, slot: usize, first: u64, faults: u64) {
    let mm = world.mm().0 as *const Mm;
    for number in first..first + faults {
        let page = number % (VMA_SPAN >> 12);
        // SAFETY: the world was made for `split-packed` and outlives the loop.
        let handled = unsafe { fault(mm, start_of(slot) + (page << 12)) };
        assert!(handled, "nobody else is in the way of a single thread");
    }
}

/// Faults after which caches and predictors know the loop: a few hundred microseconds.
const WARM_UP: u64 = 20_000;

/// The loop as a backend: one thread that starts, warms up, reads the clock, faults, reads the
/// clock and ends.
pub struct ByHand {
    cpus: Vec<CpuId>,
    /// Faults that take about as long as a window of the harness.
    window: u64,
}

impl ByHand {
    /// On the one CPU of `cpus`.
    pub fn new(cpus: Vec<CpuId>) -> Result<ByHand> {
        let mut by_hand = ByHand {
            cpus,
            window: WARM_UP,
        };
        let mut fastest = f64::INFINITY;
        for _ in 0..5 {
            fastest = fastest.min(by_hand.sample(0)?.threads[0].seconds);
        }
        by_hand.window = (WARM_UP as f64 * Timing::default().window.as_secs_f64() / fastest) as u64;
        Ok(by_hand)
    }

    fn sample(&self, first_slot: usize) -> Result<Measured> {
        let spec = Spec {
            layout: VmaLayout::SplitPacked,
            scenario: scenario::BuiltIn::OneVma,
            threads: 1,
            first_slot,
            work: PageWork::None,
        };
        let (table, size) = (spec.layout.table(), spec.size());
        let world = World::new(
            Arena::new(World::bytes_for(table, size)).unwrap(),
            table,
            size,
        );
        plain(&self.cpus, |_| {
            faults(&world, first_slot, 0, WARM_UP);
            let start = Instant::now();
            faults(&world, first_slot, WARM_UP, self.window);
            (self.window, start.elapsed())
        })
    }
}

impl Backend for ByHand {
    fn measure(&mut self, planned: &PlannedSample) -> Result<Measured> {
        self.sample(planned.first_slot)
    }
}

/// Run `work(thread)` on a new thread on each of `cpus`, all at once. It returns what it counted
/// and how long that took; what it does before it reads the clock is its warm-up.
pub fn plain(cpus: &[CpuId], work: impl Fn(usize) -> (u64, Duration) + Sync) -> Result<Measured> {
    let start = Barrier::new(cpus.len());
    let mut steal = StealClock::open(cpus)?;
    let before: u64 = steal.stolen_ns()?.iter().sum();
    let on = |thread: usize, cpu: CpuId| {
        pin::pin_current_thread(cpu)?;
        start.wait();
        let watch = ThreadWatch::start();
        let (count, time) = work(thread);
        Ok((count, time, watch.counts().involuntary_switches))
    };
    let ended: Vec<Result<(u64, Duration, u64)>> = std::thread::scope(|scope| {
        let on = &on;
        let threads: Vec<_> = cpus
            .iter()
            .enumerate()
            .map(|(thread, &cpu)| scope.spawn(move || on(thread, cpu)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                let gone = || Error::Refused("a thread of a plain loop panicked".to_owned());
                thread.join().map_err(|_| gone())?
            })
            .collect()
    });
    let mut measured = Measured::default();
    let mut switches = 0;
    for thread in ended {
        let (faults, time, switched_out) = thread?;
        let seconds = time.as_secs_f64();
        measured.threads.push(ThreadFaults {
            role: "fault".into(),
            faults,
            seconds,
        });
        switches += switched_out;
    }
    if switches > 0 {
        measured.invalid.push(Invalid::Switched(switches));
    }
    let stolen = steal.stolen_ns()?.iter().sum::<u64>();
    if stolen > before {
        measured.invalid.push(Invalid::Stolen(stolen - before));
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Topology;

    #[test]
    fn faults_by_hand_end_where_they_began() {
        let cpu = Topology::here().unwrap().allowed().next().unwrap().id;
        let by_hand = ByHand {
            cpus: vec![cpu],
            window: 100,
        };
        for first_slot in [0, 1] {
            // A fault that cannot be handled is a panic.
            let measured = by_hand.sample(first_slot).unwrap();
            assert_eq!(measured.threads[0].faults, 100);
        }
    }
}
