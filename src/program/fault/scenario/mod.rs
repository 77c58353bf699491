//! Scenarios: which thread faults in which VMA, and who writes what meanwhile.
//!
//! Here: the trait, what a thread carries along, the registry. Each scenario is a file of its own
//! that reads top to bottom as what its threads do. Not here: how the threads are driven
//! (`backend`, `sim`).

mod churn;
mod one_vma;
mod random_vma;
mod readers_writer;
mod rmap_neighbour;
mod swap_in;
mod vma_per_thread;

use crate::program::fault::path::{self, Outcome, PageWork};
use crate::program::fault::vma::Layout;
use crate::program::fault::world::{Size, VMA_SPAN, World, start_of};
use crate::space::memory::{Addr, Memory};

/// What one thread of a scenario works on.
pub struct Cx<'w, M, L> {
    /// The memory, as this thread sees it.
    pub m: M,
    /// The layout.
    pub layout: L,
    /// The address space.
    pub world: &'w World,
    /// Its `mm_struct`, kept at hand: the loop must not look it up.
    pub mm: Addr,
    /// Slab slot of the first VMA in use; its parity is a factor of the experiment.
    pub first_slot: usize,
    /// What each fault does beside reading fields.
    pub work: PageWork,
}

/// What one thread carries from step to step.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    /// Number of the thread, from 0.
    pub id: usize,
    /// Faults handled, the fall-backs among them.
    pub faults: u64,
    /// Faults handled under `mmap_lock` because a writer was in the way.
    pub fallbacks: u64,
    /// Steps that faulted nothing: maps, unmaps, other writes.
    pub writes: u64,
    rng: u64,
    handicap: u32,
    shelf: churn::Shelf,
}

impl Thread {
    /// Thread number `id`, with its own stream of random numbers.
    pub fn new(id: usize, seed: u64) -> Thread {
        let mixed = seed ^ (id as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Thread {
            id,
            faults: 0,
            fallbacks: 0,
            writes: 0,
            rng: mixed.max(1),
            handicap: 0,
            shelf: churn::Shelf::default(),
        }
    }

    /// What the kernel would store as the lock's owner: a pointer to the task, low bits clear.
    #[inline(always)]
    pub fn task(&self) -> u64 {
        (self.id as u64 + 1) << 6
    }

    /// Whole uncounted steps due after `permille` thousandths more have fallen due.
    pub fn handicap(&mut self, permille: u32) -> u32 {
        self.handicap += permille;
        let due = self.handicap / 1000;
        self.handicap %= 1000;
        due
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
    pub fn fault(&self, thread: &mut Thread, slot: usize) {
        let page = thread.faults % (VMA_SPAN >> 12);
        let outcome = path::fault(
            &self.m,
            &self.layout,
            self.mm,
            thread.task(),
            start_of(slot) + (page << 12),
            self.work,
            self.world.page(thread.id, thread.faults),
        );
        thread.faults += 1;
        match outcome {
            Outcome::Handled => {}
            Outcome::FellBack => thread.fallbacks += 1,
            Outcome::NoVma => no_vma(slot),
        }
    }

    /// A word of the VMA object in slab slot `slot`.
    #[inline(always)]
    fn field(&self, slot: usize, field: crate::program::fault::vma::Field) -> Addr {
        self.world.vma(slot).at(self.layout.table().offset(field))
    }
}

#[cold]
fn no_vma(slot: usize) -> ! {
    panic!("a scenario faulted where no VMA is: slot {slot}")
}

/// A scenario.
///
/// `step` is what one thread does over and over: a fault, or a write beside the faults of others.
pub trait Scenario: Copy + Send + Sync {
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
    fn step<M: Memory, L: Layout>(&self, cx: &Cx<'_, M, L>, thread: &mut Thread);

    /// Called when the thread begins and ends a window.
    fn enter<M: Memory, L: Layout>(&self, _cx: &Cx<'_, M, L>, _thread: &mut Thread) {}
    /// See [`Scenario::enter`].
    fn leave<M: Memory, L: Layout>(&self, _cx: &Cx<'_, M, L>, _thread: &mut Thread) {}
}

/// VMAs in the address space at least: a tree of two levels, as a small process has (a shell maps
/// about 30, a threaded server 100 and more).
pub const FEWEST_VMAS: usize = 64;

/// What [`BuiltIn::with`] calls with the scenario as a type of its own.
pub trait WithScenario {
    /// What the call returns.
    type Out;
    /// Called with the scenario.
    fn call<S: Scenario + 'static>(self, scenario: S) -> Self::Out;
}

macro_rules! built_in {
    ($($variant:ident = $value:expr => $ty:ty),* $(,)?) => {
        /// A scenario that comes with `hitm`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum BuiltIn {
            $($variant),*
        }

        impl BuiltIn {
            /// All built-in scenarios.
            pub const ALL: &[BuiltIn] = &[$(BuiltIn::$variant),*];

            /// Its name on the command line and in the CSV.
            pub fn name(self) -> &'static str {
                match self {
                    $(BuiltIn::$variant => <$ty as Scenario>::NAME),*
                }
            }

            /// One line: who does what.
            pub fn about(self) -> &'static str {
                match self {
                    $(BuiltIn::$variant => <$ty as Scenario>::ABOUT),*
                }
            }

            /// The fewest threads it makes sense with.
            pub fn min_threads(self) -> usize {
                match self {
                    $(BuiltIn::$variant => <$ty as Scenario>::MIN_THREADS),*
                }
            }

            /// Call `f` with the scenario as a type.
            pub fn with<F: WithScenario>(self, f: F) -> F::Out {
                match self {
                    $(BuiltIn::$variant => f.call($value)),*
                }
            }
        }
    };
}

// One line a scenario: its name here, its value, its type.
built_in! {
    OneVma = one_vma::OneVma => one_vma::OneVma,
    VmaPerThread = vma_per_thread::VmaPerThread => vma_per_thread::VmaPerThread,
    RandomVma = random_vma::RandomVma => random_vma::RandomVma,
    ReadersWriter = readers_writer::ReadersWriter => readers_writer::ReadersWriter,
    RmapNeighbour = rmap_neighbour::RmapNeighbour => rmap_neighbour::RmapNeighbour,
    SwapIn = swap_in::SwapIn => swap_in::SwapIn,
    ChurnCallRcu = churn::CallRcu => churn::CallRcu,
    ChurnTypesafe = churn::Typesafe => churn::Typesafe,
}
