//! What threads do over and over, on whatever memory a backend gives them.
//!
//! Here: what every program promises. Not here: the programs themselves (`fault`: the page-fault
//! fast path), and what executes them (`backend`, `sim`).

pub mod fault;
pub mod steps;
pub mod totals;
pub mod trace;

use crate::error::Result;
use crate::space::arena::Arena;
use crate::space::map::Map;
use crate::space::memory::Memory;
use std::sync::Arc;

/// What one kind of thread does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: Arc<str>,
    /// Whether its operations are the ones that a sample counts.
    pub counted: bool,
}

/// Something that a program counts apart from its operations; a column of the CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Its column.
    pub name: &'static str,
    /// What it says.
    pub means: &'static str,
}

/// A program in memory: objects laid out in an arena, and what each of its threads does with them.
///
/// # Safety
/// Backends access memory without looking at the address. Whatever a program does with a
/// [`Memory`], it does inside its own arena: every address is that of one of its objects, or was
/// loaded from a word that only ever holds such addresses, and is aligned to the word accessed. A
/// page given to [`Memory::clear_page`] belongs to the thread that clears it. A program may rely on
/// thread numbers below [`Program::threads`], each given to one thread alone.
pub unsafe trait Program: Send + Sync + 'static {
    /// What a thread carries from step to step.
    type Thread: Default + Send;
    /// What a thread has done, apart from the rest so that it can live in registers.
    type Counts: Copy + Default + Send;
    /// What it counts apart from operations.
    const TALLIES: &'static [Tally] = &[];

    /// Threads it was made for.
    fn threads(&self) -> usize;

    /// What thread number `thread` does.
    fn role(&self, _thread: usize) -> Role {
        Role {
            name: "all".into(),
            counted: true,
        }
    }

    /// Thread number `thread` at its beginning; everything random in it follows from `seed`.
    fn thread(&self, thread: usize, seed: u64) -> Self::Thread;

    /// `steps` steps of a thread.
    fn run<M: Memory>(
        &self,
        m: &M,
        thread: &mut Self::Thread,
        counts: &mut Self::Counts,
        steps: u32,
    );

    /// Called when a thread begins a window.
    fn enter<M: Memory>(&self, _m: &M, _thread: &mut Self::Thread) {}

    /// Called when a thread ends a window.
    fn leave<M: Memory>(&self, _m: &M, _thread: &mut Self::Thread) {}

    /// Operations among `counts`: faults, for the fault path.
    fn operations(counts: &Self::Counts) -> u64;

    /// Operations among the `counts` of thread number `thread`, by role: one, unless roles share it.
    fn passes(&self, thread: usize, counts: &Self::Counts) -> Vec<(Arc<str>, u64)> {
        vec![(self.role(thread).name, Self::operations(counts))]
    }

    /// The figures of [`Program::TALLIES`], in that order.
    fn tallies(_counts: &Self::Counts) -> Vec<u64> {
        Vec::new()
    }

    /// Where it lies.
    fn arena(&self) -> &Arena;

    /// What lies where.
    fn map(&self) -> Map {
        Map::new(self.arena().base(), Vec::new())
    }

    /// The arena, for the next program.
    fn into_arena(self) -> Arena;
}

/// What decides a program, before it lies in memory.
pub trait Blueprint {
    /// Whether such a program exists, and if not, why.
    fn check(&self) -> Result<()>;

    /// Threads that run it.
    fn threads(&self) -> usize;

    /// Bytes of arena it takes.
    fn bytes(&self) -> usize;

    /// Lay the program out in `arena`, which is empty and large enough, and call `with` with it as
    /// a type of its own.
    fn with<W: WithProgram>(&self, arena: Arena, with: W) -> Result<W::Out>;

    /// The same, where a layout may be read at run time: slower and much less code, for backends
    /// whose own cost hides that.
    fn with_layout_at_run_time<W: WithProgram>(&self, arena: Arena, with: W) -> Result<W::Out> {
        self.with(arena, with)
    }
}

/// What is done with a program whose type is known only once its description has been read.
pub trait WithProgram {
    /// What comes of it.
    type Out;
    /// Called with the program.
    fn call<P: Program>(self, program: P) -> Self::Out;
}
