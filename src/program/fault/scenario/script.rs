//! What a scenario is: what its threads carry along, and what each does over and over.

use crate::program::fault::lock::Layout;
use crate::program::fault::path::{Fault, FaultOutcome, PageWork};
use crate::program::fault::vma::Field;
use crate::program::fault::world::{Size, VMA_SPAN, World, start_of};
use crate::space::memory::{Addr, Memory};
use std::collections::VecDeque;

/// What one thread of a scenario works on.
pub struct Cx<'a, M, L> {
    /// The memory, as this thread sees it.
    pub m: &'a M,
    /// The layout.
    pub layout: L,
    /// The address space.
    pub world: &'a World,
    /// Its `mm_struct`, kept at hand: the loop must not look it up.
    pub mm: Addr,
    /// Slab slot of the first VMA in use; its parity is a factor of the experiment.
    pub first_slot: usize,
    /// What each fault does apart from reading fields.
    pub work: PageWork,
}

/// The VMAs a thread may allocate, and those that wait for a grace period.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    pub(super) stocked: bool,
    pub(super) free: Vec<usize>,
    pub(super) waiting: Vec<usize>,
    /// Freed slots with the quiescent counts of all threads at that time.
    pub(super) grace: VecDeque<(Vec<usize>, Vec<u64>)>,
}

/// What one thread carries from step to step.
#[derive(Clone, Debug, Default)]
pub struct FaultThread {
    /// Number of the thread, from 0.
    pub id: usize,
    rng: u64,
    pub(super) shelf: Shelf,
}

/// What one thread has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Faults handled, the fall-backs among them.
    pub faults: u64,
    /// Faults handled under `mmap_lock` because a writer was in the way.
    pub fallbacks: u64,
    /// Steps that faulted nothing: maps, unmaps, other writes.
    pub writes: u64,
}

impl FaultThread {
    /// Thread number `id`, with its own stream of random numbers.
    pub fn new(id: usize, seed: u64) -> FaultThread {
        let mixed = seed ^ (id as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        FaultThread {
            id,
            rng: mixed.max(1),
            shelf: Shelf::default(),
        }
    }

    /// What the kernel would store as the lock's owner: a pointer to the task, low bits clear.
    #[inline(always)]
    pub fn task(&self) -> u64 {
        (self.id as u64 + 1) << 6
    }

    /// A number below `bound`, for choosing a VMA (xorshift64*, Vigna 2016).
    #[inline(always)]
    pub fn random(&mut self, bound: usize) -> usize {
        self.rng ^= self.rng >> 12;
        self.rng ^= self.rng << 25;
        self.rng ^= self.rng >> 27;
        (((self.rng.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) * bound as u64) >> 32) as usize
    }
}

impl<M: Memory, L: Layout> Cx<'_, M, L> {
    /// One fault of `thread` in the region of slab slot `slot`, at the thread's next page.
    #[inline(always)]
    pub fn fault(&self, thread: &FaultThread, counts: &mut FaultCounts, slot: usize) {
        let page = counts.faults % (VMA_SPAN >> 12);
        let fault = Fault {
            m: self.m,
            layout: &self.layout,
            mm: self.mm,
            task: thread.task(),
            address: start_of(slot) + (page << 12),
            work: self.work,
            page: self.world.page(thread.id, counts.faults),
        };
        let outcome = fault.handle();
        counts.faults += 1;
        match outcome {
            FaultOutcome::Handled => {}
            FaultOutcome::FellBack => counts.fallbacks += 1,
            FaultOutcome::NoVma => no_vma(slot),
        }
    }

    /// A word of the VMA object in slab slot `slot`.
    #[inline(always)]
    pub fn field(&self, slot: usize, field: Field) -> Addr {
        self.world.vma_pointer(slot).at(self.layout.offset(field))
    }
}

#[cold]
fn no_vma(slot: usize) -> ! {
    panic!("a scenario faulted where no VMA is: slot {slot}")
}

/// A scenario.
///
/// `step` is what one thread does over and over: a fault, or a write beside the faults of others.
pub trait Script: Copy + Send + Sync + 'static {
    /// Its name on the command line and in the CSV.
    const NAME: &'static str;
    /// One line: who does what.
    const ABOUT: &'static str;
    /// The fewest threads it makes sense with.
    const MIN_THREADS: usize = 1;

    /// What the address space has to hold for `threads` threads.
    fn size(&self, threads: usize, pages: bool) -> Size {
        Size {
            vmas: FEWEST_VMAS.max(threads + 2),
            spare_slots: 0,
            threads,
            pages,
        }
    }

    /// Whether `thread` of `threads` faults; the others write beside it.
    fn faults(&self, _thread: usize, _threads: usize) -> bool {
        true
    }

    /// One step of `thread`, of `threads`.
    fn step(
        &self,
        cx: &Cx<impl Memory, impl Layout>,
        thread: &mut FaultThread,
        counts: &mut FaultCounts,
    );

    /// Called when the thread begins and ends a window.
    fn enter(&self, _cx: &Cx<impl Memory, impl Layout>, _thread: &mut FaultThread) {}
    /// See [`Script::enter`].
    fn leave(&self, _cx: &Cx<impl Memory, impl Layout>, _thread: &mut FaultThread) {}
}

/// VMAs in the address space at least: a tree of two levels, as a small process has (a shell maps
/// about 30, a threaded server 100 and more).
pub const FEWEST_VMAS: usize = 64;
