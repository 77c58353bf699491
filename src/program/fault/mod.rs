//! The page-fault fast path as a program: scenarios of faults on layouts of the VMA.
//!
//! Here: what decides such a program, and the step from that to code (the only place where a
//! layout and a scenario become types). Not here: the path itself (`path`), the objects in memory
//! (`world`), who faults where (`scenario`), and what executes it (`backend`, `sim`).

pub mod layouts;
pub mod lock;
pub mod mapped;
pub mod path;
pub mod scenario;
pub mod tree;
pub mod uses;
pub mod vma;
pub mod world;

use self::layouts::{AtRunTime, VmaLayout, with_layout, with_lock};
use self::lock::Layout;
use self::path::PageWork;
use self::scenario::script::{Cx, FaultCounts, FaultThread, Script};
use self::scenario::{BuiltIn, with_scenario};
use self::vma::Field;
use self::world::{Size, World};
use super::{Blueprint, Program, Role, Tally, WithProgram};
use crate::error::{Error, Result};
use crate::space::arena::Arena;
use crate::space::map::Map;
use crate::space::memory::Memory;

/// Slab slots that the first VMA in use may lie in: one of each parity.
pub const FIRST_SLOTS: std::ops::Range<usize> = 0..2;
/// More threads than this no Linux has: `PID_MAX_LIMIT` of 64-bit kernels.
pub const MOST_THREADS: usize = 1 << 22;

/// What a fault counts apart from faults.
pub const TALLIES: &[Tally] = &[Tally {
    name: "fallbacks",
    means: "Faults that went to mmap_lock because a writer was in the way.",
}];

/// Everything that decides a program, but for the memory it is laid out in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// The layout.
    pub layout: VmaLayout,
    /// The scenario.
    pub scenario: BuiltIn,
    /// Threads that will run it.
    pub threads: usize,
    /// Slab slot of the first VMA in use, in [`FIRST_SLOTS`].
    pub first_slot: usize,
    /// What each fault does apart from reading fields.
    pub work: PageWork,
}

/// Whether a scenario runs with so many threads.
pub fn check_threads(scenario: BuiltIn, threads: usize) -> Result<()> {
    let (least, name) = (scenario.min_threads(), scenario.name());
    let why = match threads {
        0 => "0 threads cannot fault; give thread counts from 1 on".to_owned(),
        _ if threads < least => format!("{name} needs {least} threads at least, not {threads}"),
        _ if threads > MOST_THREADS => {
            format!("{threads} threads are more than {MOST_THREADS}; give fewer")
        }
        _ => return Ok(()),
    };
    Err(Error::Input(why))
}

/// Whether the layout `name`, which `has` some fields, has those that a scenario accesses beside
/// those of every fault.
pub fn check_fields(scenario: BuiltIn, name: &str, has: impl Fn(Field) -> bool) -> Result<()> {
    // A kernel without CONFIG_SWAP has no such field.
    let field = Field::swap_readahead_info;
    match scenario == BuiltIn::SwapIn && !has(field) {
        false => Ok(()),
        true => Err(Error::Input(format!(
            "{} stores {field}, which '{}' does not have; leave one of them out",
            scenario.name(),
            name
        ))),
    }
}

/// Whether the first VMA in use may lie in that slab slot.
pub fn check_first_slot(slot: usize) -> Result<()> {
    match FIRST_SLOTS.contains(&slot) {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "the first slot is {slot}; give --first-slot 0 or 1"
        ))),
    }
}

impl Spec {
    /// Faults that do nothing apart from reading fields, from slab slot 0.
    pub fn new(layout: VmaLayout, scenario: BuiltIn, threads: usize) -> Spec {
        Spec {
            layout,
            scenario,
            threads,
            first_slot: 0,
            work: PageWork::None,
        }
    }

    /// What its world has to hold.
    pub fn size(&self) -> Size {
        let pages = self.work == PageWork::ClearPage;
        with_scenario!(self.scenario, |scenario| scenario.size(self.threads, pages))
    }
}

impl Blueprint for Spec {
    fn check(&self) -> Result<()> {
        check_threads(self.scenario, self.threads)?;
        let table = self.layout.table();
        check_fields(self.scenario, table.name, |field| table.has(field))?;
        check_first_slot(self.first_slot)
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn bytes(&self) -> usize {
        World::bytes_for(self.layout.table(), self.size())
    }

    /// Every offset is a constant in the code of the program, unless the layout is imported.
    fn with<W: WithProgram>(&self, arena: Arena, with: W) -> Result<W::Out> {
        self.check()?;
        Ok(with_layout!(
            self.layout,
            |layout| with_scenario!(self.scenario, |scenario| with
                .call(Faults::new(self, scenario, layout, arena))),
            |_table| return self.with_layout_at_run_time(arena, with),
        ))
    }

    /// Offsets are read from the table: a tenth of the code.
    fn with_layout_at_run_time<W: WithProgram>(&self, arena: Arena, with: W) -> Result<W::Out> {
        self.check()?;
        let table = self.layout.table();
        Ok(with_lock!(table.protocol, |K| with_scenario!(
            self.scenario,
            |scenario| {
                let layout = AtRunTime::<K>::new(table);
                with.call(Faults::new(self, scenario, layout, arena))
            }
        )))
    }
}

/// A scenario on a layout in a world.
pub struct Faults<S, L> {
    scenario: S,
    layout: L,
    world: World,
    first_slot: usize,
    work: PageWork,
}

impl<S: Script, L: Layout> Faults<S, L> {
    /// `spec` is checked, and `scenario` and `layout` are its own.
    fn new(spec: &Spec, scenario: S, layout: L, arena: Arena) -> Faults<S, L> {
        Faults {
            scenario,
            layout,
            world: World::new(arena, layout.table(), spec.size()),
            first_slot: spec.first_slot,
            work: spec.work,
        }
    }

    #[inline(always)]
    fn cx<'a, M: Memory>(&'a self, m: &'a M) -> Cx<'a, M, L> {
        Cx {
            m,
            layout: self.layout,
            world: &self.world,
            mm: self.world.mm(),
            first_slot: self.first_slot,
            work: self.work,
        }
    }
}

// SAFETY: only `Faults::new` makes one, of a checked spec and its own scenario and layout. These and
// the fault path take every address from the world, which was made for them and their threads.
// Pointers in memory (tree, `vm_mm`, `vm_lock`) are written when the world is made and by map and
// unmap, which store VMAs of the world.
unsafe impl<S: Script, L: Layout> Program for Faults<S, L> {
    type Thread = FaultThread;
    type Counts = FaultCounts;
    const TALLIES: &'static [Tally] = TALLIES;

    fn threads(&self) -> usize {
        self.world.size().threads
    }

    fn role(&self, thread: usize) -> Role {
        match self.scenario.faults(thread, self.threads()) {
            true => Role {
                name: "fault".into(),
                counted: true,
            },
            false => Role {
                name: "writer".into(),
                counted: false,
            },
        }
    }

    fn thread(&self, thread: usize, seed: u64) -> FaultThread {
        FaultThread::new(thread, seed)
    }

    #[inline(always)]
    fn run<M: Memory>(
        &self,
        m: &M,
        thread: &mut FaultThread,
        counts: &mut FaultCounts,
        steps: u32,
    ) {
        let cx = self.cx(m);
        for _ in 0..steps {
            self.scenario.step(&cx, thread, counts);
        }
    }

    fn enter<M: Memory>(&self, m: &M, thread: &mut FaultThread) {
        self.scenario.enter(&self.cx(m), thread);
    }

    fn leave<M: Memory>(&self, m: &M, thread: &mut FaultThread) {
        self.scenario.leave(&self.cx(m), thread);
    }

    fn operations(counts: &FaultCounts) -> u64 {
        counts.faults
    }

    fn tallies(counts: &FaultCounts) -> Vec<u64> {
        vec![counts.fallbacks]
    }

    fn arena(&self) -> &Arena {
        self.world.arena()
    }

    fn map(&self) -> Map {
        self.world.map()
    }

    fn into_arena(self) -> Arena {
        self.world.into_arena()
    }
}
