//! The roles of a case on real memory, as machine code that is made for each sample.
//!
//! Here: the code's surroundings, and its threads as seats of the pool. Not here: how code is made
//! (`program::steps::machine_code`), and the programs that the compiler makes (`loaded`).

use super::Build;
use super::loaded::{Loaded, LoopShape, Placing, Seat};
use super::memory::NativeMemory;
use crate::backend::arms::Arms;
use crate::backend::cases::CaseArms;
use crate::error::Result;
use crate::experiment::{Arm, Design, Permille, PlannedSample, content_hash};
use crate::program::steps::lock::{self, Waiter};
use crate::program::steps::lowered::{DRAWS, Frame, Instr, Pass};
use crate::program::steps::machine_code::{
    Context, Executable, SlowPaths, Surroundings, assemble, assemble_unrolled, synchronize,
};
use crate::program::steps::{Steps, StepsCounts, StepsSpec};
use crate::program::{Program, Role, Tally};
use crate::space::arena::Arena;
use crate::space::map::Map;
use crate::space::memory::Addr;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Every layout of a case at every design point, as machine code.
pub struct MadeArms {
    arms: CaseArms,
    /// Number of the placebo, if it is among them.
    recompiled: Option<usize>,
    maker: Maker,
    /// What the code of each arm is, by design point and arm, once it was asked for: the same in
    /// every block.
    codes: Mutex<BTreeMap<(usize, usize), String>>,
}

impl MadeArms {
    /// The programs of a design that has a case.
    pub fn of(design: &Design) -> Result<MadeArms> {
        Ok(MadeArms {
            arms: CaseArms::of(design)?,
            recompiled: design.arms.iter().position(|arm| *arm == Arm::Recompiled),
            maker: Maker::new()?,
            codes: Mutex::default(),
        })
    }
}

impl Arms for MadeArms {
    type Blueprint = StepsSpec;
    const TALLIES: &'static [Tally] = CaseArms::TALLIES;

    fn blueprint(&self, planned: &PlannedSample) -> StepsSpec {
        self.arms.blueprint(planned)
    }

    fn handicap(&self, arm: usize) -> Permille {
        self.arms.handicap(arm)
    }
}

impl Build for MadeArms {
    fn bytes(&self) -> usize {
        self.arms.most_bytes()
    }

    const IS_COMPILED: bool = false;

    fn build(
        &self,
        planned: &PlannedSample,
        arena: Arena,
        _placing: &Arc<Placing>,
    ) -> Result<Box<dyn Loaded>> {
        let steps = self.blueprint(planned).steps(arena)?;
        let handicap_permille = self.handicap(planned.arm).get();
        let shape = match self.recompiled == Some(planned.arm) {
            true => LoopShape::Unrolled,
            false => LoopShape::Plain,
        };
        let code = {
            let mut codes = lock_of(&self.codes);
            let known = codes.entry((planned.point, planned.arm));
            known.or_insert_with(|| code_of(&steps, shape)).clone()
        };
        let made = self
            .maker
            .make(steps, planned.seed, handicap_permille, shape)?;
        Ok(Box::new(Made { code, ..made }))
    }
}

/// Makes machine code of the programs of a run; all their samples share the memory that it is
/// executed in, so that the arms of a block find the same place.
pub struct Maker {
    executable: Arc<Mutex<Executable>>,
    /// Turns of the loop of [`Instr::Work`] in a microsecond.
    turns_per_microsecond: u64,
}

impl Maker {
    /// Refused where this machine, or a policy on it, does not allow machine code that is made at
    /// run time.
    pub fn new() -> Result<Maker> {
        Ok(Maker {
            executable: Arc::default(),
            turns_per_microsecond: turns_per_microsecond()?,
        })
    }

    /// `steps` as machine code, with so many uncounted extra passes in thousandths. The place of
    /// the code follows from `seed`.
    pub fn load(&self, steps: Steps, seed: u64, handicap_permille: u32) -> Result<Box<dyn Loaded>> {
        self.load_shaped(steps, seed, handicap_permille, LoopShape::Plain)
    }

    /// The same with a loop of that shape.
    pub fn load_shaped(
        &self,
        steps: Steps,
        seed: u64,
        handicap_permille: u32,
        shape: LoopShape,
    ) -> Result<Box<dyn Loaded>> {
        Ok(Box::new(self.make(
            steps,
            seed,
            handicap_permille,
            shape,
        )?))
    }

    fn make(
        &self,
        steps: Steps,
        seed: u64,
        handicap_permille: u32,
        shape: LoopShape,
    ) -> Result<Made> {
        let surroundings = Surroundings {
            tables: steps.tables(),
            slow: SLOW,
            turns_per_microsecond: self.turns_per_microsecond,
        };
        let times = match shape {
            LoopShape::Plain => 1,
            LoopShape::Unrolled => 2,
        };
        let passes = (0..steps.threads()).map(|thread| steps.pass(thread));
        let codes = passes.map(|pass| assemble_unrolled(pass, &surroundings, times));
        let codes = codes.collect::<Result<Vec<_>>>()?;
        let mut executable = std::mem::take(&mut *lock_of(&self.executable));
        executable.fill(&codes, seed)?;
        let threads = 0..steps.threads();
        Ok(Made {
            seated: threads.map(|_| AtomicBool::new(false)).collect(),
            code: String::new(),
            steps,
            executable,
            home: Arc::clone(&self.executable),
            handicap_permille,
        })
    }
}

/// What the code of all threads is, apart from displacements.
fn code_of(steps: &Steps, shape: LoopShape) -> String {
    let passes = (0..steps.threads()).map(|thread| steps.pass(thread));
    let content: Vec<String> = passes.map(Pass::but_for_displacements).collect();
    let recompiled = match shape {
        LoopShape::Plain => "",
        LoopShape::Unrolled => "-recompiled",
    };
    format!("{:016x}{recompiled}", content_hash(&content.join("; ")))
}

/// Turns of the loop of [`Instr::Work`] in a microsecond: the fastest of several short tries.
fn turns_per_microsecond() -> Result<u64> {
    const TURNS: u32 = 100_000;
    let pass = Pass {
        instrs: vec![Instr::Work { nanos: TURNS }],
        slots: 0,
        counters: Vec::new(),
    };
    let surroundings = Surroundings {
        tables: &[],
        slow: SLOW,
        // One turn a nanosecond.
        turns_per_microsecond: 1000,
    };
    let mut executable = Executable::default();
    executable.fill(&[assemble(&pass, &surroundings)?], 0)?;
    synchronize();
    let nobody = Waiter {
        nodes: Addr::NULL,
        thread: 0,
    };
    let mut context = Context::new(Frame::default(), nobody, &[0; DRAWS]);
    let mut fastest_ns = u64::MAX;
    for _ in 0..9 {
        let start = Instant::now();
        // SAFETY: the pass accesses no memory, and this thread has just synchronized.
        unsafe { executable.run(0, &mut context, Addr::NULL, 1) };
        fastest_ns = fastest_ns.min(start.elapsed().as_nanos() as u64);
    }
    Ok(u64::from(TURNS) * 1000 / fastest_ns.max(1))
}

fn lock_of<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Slow paths of the locks over [`NativeMemory`].
pub const SLOW: SlowPaths = SlowPaths {
    tas: {
        extern "C" fn tas(at: Addr) {
            lock::tas_slow(&memory(), at);
        }
        tas
    },
    ticket: {
        extern "C" fn ticket(at: Addr, ticket: u32) {
            lock::ticket_slow(&memory(), at, ticket);
        }
        ticket
    },
    queued: {
        extern "C" fn queued(at: Addr, nodes: Addr, thread: usize) {
            lock::queued_slow(&memory(), at, Waiter { nodes, thread });
        }
        queued
    },
    read: {
        extern "C" fn read(at: Addr) {
            lock::read_slow(&memory(), at);
        }
        read
    },
    write: {
        extern "C" fn write(at: Addr) {
            lock::write_slow(&memory(), at);
        }
        write
    },
};

/// The memory that slow paths are called on.
fn memory() -> NativeMemory<'static> {
    // SAFETY: slow paths are only called by code, with addresses in the arena of its `Made`, which
    // is there as long as the code runs.
    unsafe { NativeMemory::unbound() }
}

struct Made {
    steps: Steps,
    executable: Executable,
    /// Where that goes when the sample is over.
    home: Arc<Mutex<Executable>>,
    /// Threads that have a seat.
    seated: Vec<AtomicBool>,
    handicap_permille: u32,
    code: String,
}

impl Loaded for Made {
    fn seat(&self, thread: usize, seed: u64) -> Box<dyn Seat + '_> {
        let seated = self.seated[thread].swap(true, Ordering::Relaxed);
        assert!(!seated, "thread {thread} has a seat already");
        let begins = self.steps.thread(thread, seed);
        synchronize();
        Box::new(MadeSeat {
            made: self,
            thread,
            context: Context::new(begins.frame, self.steps.waiter(thread), &begins.draws),
            counts: StepsCounts::default(),
            due: 0,
        })
    }

    fn role(&self, thread: usize) -> Role {
        self.steps.role(thread)
    }

    fn map(&self) -> Map {
        self.steps.map()
    }

    fn code(&self) -> String {
        self.code.clone()
    }

    fn into_arena(self: Box<Self>) -> Arena {
        *lock_of(&self.home) = self.executable;
        self.steps.into_arena()
    }
}

struct MadeSeat<'p> {
    made: &'p Made,
    thread: usize,
    context: Box<Context>,
    counts: StepsCounts,
    /// Thousandths of an uncounted pass that have fallen due.
    due: u64,
}

impl MadeSeat<'_> {
    /// Do `passes` passes, or those up to the end of the window; how many were done.
    fn passes_done(&mut self, passes: u32) -> u64 {
        let Made {
            steps, executable, ..
        } = self.made;
        // SAFETY: made of the pass of this thread, whose addresses are in the arena of `steps`;
        // `seat` gave the thread to one caller, and has synchronized.
        unsafe { executable.run(self.thread, &mut self.context, steps.base(), passes) };
        u64::from(passes) - self.context.take_left()
    }
}

impl Seat for MadeSeat<'_> {
    fn enter(&mut self) {}

    fn until(&mut self, deadline: Instant) {
        self.context.until(deadline);
    }

    fn run(&mut self, steps: u32) {
        self.due += u64::from(steps) * u64::from(self.made.handicap_permille);
        // At most `steps`: a handicap is at most a whole step.
        let extra = (self.due / 1000) as u32;
        self.due %= 1000;
        self.passes_done(extra);
        let before = self.context.frame.clone();
        let done = self.passes_done(steps);
        let frame = &self.context.frame;
        self.made
            .steps
            .count(self.thread, &mut self.counts, [&before, frame], done);
    }

    fn leave(&mut self) {}

    fn passes(&self) -> Vec<(Arc<str>, u64)> {
        self.made.steps.passes(self.thread, &self.counts)
    }

    fn tallies(&self) -> Vec<(&'static str, u64)> {
        let names = Steps::TALLIES.iter().map(|tally| tally.name);
        names.zip(Steps::tallies(&self.counts)).collect()
    }
}
