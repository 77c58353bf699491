//! A program on real memory with its type erased: what the pool drives, a batch at a time.
//!
//! Here: the loop that is measured. Not here: what a step does (`program`), and when it is timed
//! (`pool`).

use super::memory::NativeMemory;
use crate::program::{Program, Role, WithProgram};
use crate::space::arena::Arena;
use crate::space::map::Map;
use std::mem::{ManuallyDrop, take};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Makes a [`Loaded`] of a program.
pub struct Load {
    /// Extra steps that are not counted, in thousandths of a step: a regression of known size.
    pub handicap_permille: u32,
}

impl WithProgram for Load {
    type Out = Box<dyn Loaded>;

    fn call<P: Program>(self, program: P) -> Box<dyn Loaded> {
        Box::new(Typed {
            seated: (0..program.threads())
                .map(|_| AtomicBool::new(false))
                .collect(),
            program,
            handicap_permille: self.handicap_permille,
        })
    }
}

struct Typed<P> {
    program: P,
    /// Threads that have a seat.
    seated: Vec<AtomicBool>,
    handicap_permille: u32,
}

impl<P: Program> Loaded for Typed<P> {
    fn seat(&self, thread: usize, seed: u64) -> Box<dyn Seat + '_> {
        let seated = self.seated[thread].swap(true, Ordering::Relaxed);
        assert!(!seated, "thread {thread} has a seat already");
        Box::new(TypedSeat {
            program: &self.program,
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

    fn into_arena(self: Box<Self>) -> Arena {
        self.program.into_arena()
    }
}

struct TypedSeat<'p, P: Program> {
    program: &'p P,
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

/// What is measured: `extra` steps that are not counted, then `steps` that are.
#[inline(never)]
fn batch<P: Program>(
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
        program.run(&m, &mut local, &mut done, steps);
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
        batch(
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
