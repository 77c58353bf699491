//! A program on real memory with its type erased: what the pool drives, a batch at a time.
//!
//! Here: the loop that is measured. Not here: what a step does (`program`), and when it is timed
//! (`pool`).

use super::memory::NativeMemory;
use super::placed::{Placed, Placer};
use crate::program::steps::machine_code::synchronize;
use crate::program::{Program, Role, WithProgram};
use crate::space::arena::Arena;
use crate::space::map::Map;
use std::mem::{ManuallyDrop, take};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A program that threads of this machine run side by side.
pub trait Loaded: Send + Sync {
    /// Thread number `thread` of it; everything random follows from `seed`.
    ///
    /// # Panics
    /// When it has fewer threads, or this one has a seat already: each thread has words of its own.
    fn seat(&self, thread: usize, seed: u64) -> Box<dyn Seat + '_>;
    /// What thread number `thread` does.
    fn role(&self, thread: usize) -> Role;
    /// What lies where.
    fn map(&self) -> Map;
    /// Its machine code but for displacements; see [`Sample::code`](crate::experiment::Sample::code).
    fn code(&self) -> String {
        String::new()
    }
    /// Why its code is executed where the linker put it, if it was to lie elsewhere.
    fn unplaced(&self) -> Option<&str> {
        None
    }
    /// The arena, for the next program.
    fn into_arena(self: Box<Self>) -> Arena;
}

/// One thread of a program, on the thread that calls.
pub trait Seat {
    /// The thread begins a window.
    fn enter(&mut self);
    /// From now on waiting for another thread ends at `deadline`: that one may have stopped.
    fn until(&mut self, _deadline: Instant) {}
    /// Run `steps` steps.
    fn run(&mut self, steps: u32);
    /// The thread ends a window.
    fn leave(&mut self);
    /// Operations since the beginning, by role: one, unless roles share the thread.
    fn passes(&self) -> Vec<(Arc<str>, u64)>;
    /// The program's tallies since the beginning, by name.
    fn tallies(&self) -> Vec<(&'static str, u64)>;
}

/// Makes a [`Loaded`] of a program, executed where the linker put it.
pub struct Load {
    /// Extra steps that are not counted, in thousandths of a step: a regression of known size.
    pub handicap_permille: u32,
}

impl WithProgram for Load {
    type Out = Box<dyn Loaded>;

    fn call<P: Program>(self, program: P) -> Box<dyn Loaded> {
        Box::new(Typed::new(program, self.handicap_permille))
    }
}

/// Makes a [`Loaded`] of a program, executed at a place that is drawn.
pub struct LoadPlaced {
    /// As in [`Load`].
    pub handicap_permille: u32,
    /// What the machine code is called, beside what it is.
    pub code: String,
    /// The shape of the loop.
    pub shape: LoopShape,
    /// What places it, if anything does.
    pub placing: Arc<Placing>,
    /// What the place follows from.
    pub seed: u64,
}

/// How the loop is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopShape {
    /// A step in each turn.
    Plain,
    /// Two steps in each turn: other machine code, the same accesses.
    Unrolled,
}

/// What places the code of a run; a program that is executed has it meanwhile.
#[derive(Default)]
pub struct Placing(Mutex<Option<Placer>>);

impl Placing {
    /// What places it, if anything does and no program has it.
    pub fn take(&self) -> Option<Placer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Code is placed by `placer` from now on.
    pub fn give_back(&self, placer: Placer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(placer);
    }
}

impl WithProgram for LoadPlaced {
    type Out = Box<dyn Loaded>;

    fn call<P: Program>(self, program: P) -> Box<dyn Loaded> {
        let mut typed = Typed::new(program, self.handicap_permille);
        if self.shape == LoopShape::Unrolled {
            typed.batch = batch::<P, true>;
        }
        typed.code = self.code;
        if let Some(mut placer) = self.placing.take() {
            match placer.place(typed.batch as usize, self.seed) {
                Ok(placed) => typed.execute(placed),
                Err(why) => typed.unplaced = Some(why.to_string()),
            }
            typed.placer = Some((placer, self.placing));
        }
        Box::new(typed)
    }
}

/// See [`batch`].
type Batch<P> = fn(&P, &mut <P as Program>::Thread, &mut <P as Program>::Counts, u32, u32);

struct Typed<P: Program> {
    program: P,
    /// Threads that have a seat.
    seated: Vec<AtomicBool>,
    handicap_permille: u32,
    /// What is measured.
    batch: Batch<P>,
    code: String,
    unplaced: Option<String>,
    /// What `batch` was placed by, and where that goes when the sample is over.
    placer: Option<(Placer, Arc<Placing>)>,
}

impl<P: Program> Typed<P> {
    fn new(program: P, handicap_permille: u32) -> Typed<P> {
        Typed {
            seated: (0..program.threads())
                .map(|_| AtomicBool::new(false))
                .collect(),
            program,
            handicap_permille,
            batch: batch::<P, false>,
            code: String::new(),
            unplaced: None,
            placer: None,
        }
    }

    /// Execute the copy of `batch`, and call its code by what it is.
    fn execute(&mut self, placed: Placed) {
        // SAFETY: a whole copy of this very function begins there, in memory that may be executed
        // and that stays as it is as long as `self` has its placer.
        self.batch = unsafe { std::mem::transmute::<usize, Batch<P>>(placed.at) };
        self.code
            .push_str(&format!("-{:08x}", placed.content as u32));
    }
}

impl<P: Program> Loaded for Typed<P> {
    fn seat(&self, thread: usize, seed: u64) -> Box<dyn Seat + '_> {
        let seated = self.seated[thread].swap(true, Ordering::Relaxed);
        assert!(!seated, "thread {thread} has a seat already");
        // Another thread has written the code.
        synchronize();
        Box::new(TypedSeat {
            program: &self.program,
            batch: self.batch,
            number: thread,
            thread: self.program.thread(thread, seed),
            counts: P::Counts::default(),
            handicap_permille: self.handicap_permille,
            due: 0,
        })
    }

    fn role(&self, thread: usize) -> Role {
        self.program.role(thread)
    }

    fn map(&self) -> Map {
        self.program.map()
    }

    fn code(&self) -> String {
        self.code.clone()
    }

    fn unplaced(&self) -> Option<&str> {
        self.unplaced.as_deref()
    }

    fn into_arena(self: Box<Self>) -> Arena {
        if let Some((placer, home)) = self.placer {
            home.give_back(placer);
        }
        self.program.into_arena()
    }
}

struct TypedSeat<'p, P: Program> {
    program: &'p P,
    batch: Batch<P>,
    number: usize,
    thread: P::Thread,
    counts: P::Counts,
    handicap_permille: u32,
    /// Thousandths of an uncounted step that have fallen due.
    due: u64,
}

/// A view of the program's arena, for the program alone.
#[inline(always)]
fn memory<P: Program>(program: &P) -> NativeMemory<'_> {
    // SAFETY: only the program uses it, which keeps to its arena; `seat` gives each of its threads
    // to one caller.
    unsafe { NativeMemory::new(program.arena()) }
}

/// What is measured: `extra` steps that are not counted, then `steps` that are. Where it is
/// `UNROLLED`, its loop has two steps in a turn.
#[inline(never)]
fn batch<P: Program, const UNROLLED: bool>(
    program: &P,
    thread: &mut P::Thread,
    counts: &mut P::Counts,
    extra: u32,
    steps: u32,
) {
    let m = memory(program);
    // Copies let the counts live in registers: a store a fault has to leave the store buffer before
    // the next locked instruction. Were they dropped on a panic, the compiler would have to keep
    // them in memory.
    let mut local = ManuallyDrop::new(take(thread));
    let mut done = *counts;
    // Extra steps run through the same loop, so that each takes as long as one that counts.
    for steps in [extra, steps] {
        done = *counts;
        if !UNROLLED {
            program.run(&m, &mut local, &mut done, steps);
            continue;
        }
        for turn in 0..steps.div_ceil(2) {
            program.run(&m, &mut local, &mut done, 1);
            if 2 * turn + 1 < steps {
                program.run(&m, &mut local, &mut done, 1);
            }
        }
    }
    *counts = done;
    *thread = ManuallyDrop::into_inner(local);
}

impl<P: Program> Seat for TypedSeat<'_, P> {
    fn enter(&mut self) {
        self.program.enter(&memory(self.program), &mut self.thread);
    }

    fn run(&mut self, steps: u32) {
        self.due += u64::from(steps) * u64::from(self.handicap_permille);
        // At most `steps`: a handicap is at most a whole step.
        let extra = (self.due / 1000) as u32;
        self.due %= 1000;
        (self.batch)(
            self.program,
            &mut self.thread,
            &mut self.counts,
            extra,
            steps,
        );
    }

    fn leave(&mut self) {
        self.program.leave(&memory(self.program), &mut self.thread);
    }

    fn passes(&self) -> Vec<(Arc<str>, u64)> {
        self.program.passes(self.number, &self.counts)
    }

    fn tallies(&self) -> Vec<(&'static str, u64)> {
        let names = P::TALLIES.iter().map(|tally| tally.name);
        names.zip(P::tallies(&self.counts)).collect()
    }
}
