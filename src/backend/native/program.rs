//! What the workers run: a scenario on a layout, compiled into one loop.

use super::memory::Native;
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario::{self, Cx, Scenario, Thread, WithScenario};
use crate::program::fault::vma::{self, Layout, WithLayout};
use crate::program::fault::world::{Size, World};
use crate::space::arena::Arena;
use std::mem::ManuallyDrop;

/// A loop that threads run side by side.
pub trait Program: Send + Sync {
    /// Run `steps` steps of `thread`.
    fn run(&self, thread: &mut Thread, steps: u32);
    /// Whether `thread` of `threads` faults; the time of the others is not counted.
    fn faults(&self, thread: usize, threads: usize) -> bool;
    /// Called by the thread when it begins a window.
    fn enter(&self, _thread: &mut Thread) {}
    /// Called by the thread when it ends a window.
    fn leave(&self, _thread: &mut Thread) {}
    /// The arena it ran in, for the next program.
    fn into_arena(self: Box<Self>) -> Option<Arena>;
}

/// A scenario on a layout in a world.
struct Faults<S, L> {
    scenario: S,
    layout: L,
    world: World,
    first_slot: usize,
    work: PageWork,
    /// Extra steps that are not counted, in thousandths of a step: a regression of known size.
    handicap_permille: u32,
}

impl<S: Scenario, L: Layout> Faults<S, L> {
    #[inline(always)]
    fn cx(&self) -> Cx<'_, Native<'_>, L> {
        Cx {
            // SAFETY: scenarios and the fault path take every address from this world.
            m: unsafe { Native::new(&self.world) },
            layout: self.layout,
            world: &self.world,
            mm: self.world.mm(),
            first_slot: self.first_slot,
            work: self.work,
        }
    }
}

impl<S: Scenario, L: Layout> Program for Faults<S, L> {
    #[inline(never)]
    fn run(&self, thread: &mut Thread, steps: u32) {
        let cx = self.cx();
        let extra = match self.handicap_permille {
            0 => 0,
            permille => thread.handicap(steps * permille),
        };
        // A copy of its own lets the counts live in registers: a store a fault has to leave the
        // store buffer before the next locked instruction. Were it dropped on a panic, the
        // compiler would have to keep it in memory.
        let mut local = ManuallyDrop::new(std::mem::take(thread));
        let counted = (local.faults, local.fallbacks, local.writes);
        // Extra steps run through the same loop, so that each takes as long as one that counts.
        for steps in [extra, steps] {
            (local.faults, local.fallbacks, local.writes) = counted;
            for _ in 0..steps {
                self.scenario.step(&cx, &mut local);
            }
        }
        *thread = ManuallyDrop::into_inner(local);
    }

    fn faults(&self, thread: usize, threads: usize) -> bool {
        self.scenario.faults(thread, threads)
    }

    fn enter(&self, thread: &mut Thread) {
        self.scenario.enter(&self.cx(), thread);
    }

    fn leave(&self, thread: &mut Thread) {
        self.scenario.leave(&self.cx(), thread);
    }

    fn into_arena(self: Box<Self>) -> Option<Arena> {
        Some(self.world.into_arena())
    }
}

/// Everything that decides a program, but for the memory it is laid out in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// The layout.
    pub layout: vma::BuiltIn,
    /// The scenario.
    pub scenario: scenario::BuiltIn,
    /// Threads that will run it.
    pub threads: usize,
    /// Slab slot of the first VMA in use.
    pub first_slot: usize,
    /// What each fault does beside reading fields.
    pub work: PageWork,
    /// Uncounted extra faults in thousandths.
    pub handicap_permille: u32,
}

impl Spec {
    /// What its world has to hold.
    pub fn size(&self) -> Size {
        struct Sizer(usize, bool);
        impl WithScenario for Sizer {
            type Out = Size;
            fn call<S: Scenario + 'static>(self, scenario: S) -> Self::Out {
                scenario.size(self.0, self.1)
            }
        }
        let pages = self.work == PageWork::ClearPage;
        self.scenario.with(Sizer(self.threads, pages))
    }

    /// The program, in `world`, which was made for this layout and size.
    pub fn program(self, world: World) -> Box<dyn Program> {
        struct OnScenario(Spec, World);
        struct OnLayout<S>(Spec, World, S);
        impl WithScenario for OnScenario {
            type Out = Box<dyn Program>;
            fn call<S: Scenario + 'static>(self, scenario: S) -> Self::Out {
                let OnScenario(spec, world) = self;
                spec.layout.with(OnLayout(spec, world, scenario))
            }
        }
        impl<S: Scenario + 'static> WithLayout for OnLayout<S> {
            type Out = Box<dyn Program>;
            fn call<L: Layout + 'static>(self, layout: L) -> Self::Out {
                let OnLayout(spec, world, scenario) = self;
                Box::new(Faults {
                    scenario,
                    layout,
                    world,
                    first_slot: spec.first_slot,
                    work: spec.work,
                    handicap_permille: spec.handicap_permille,
                })
            }
        }
        self.scenario.with(OnScenario(self, world))
    }
}
