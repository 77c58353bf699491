//! The roles of a case as a program.
//!
//! Here: what decides such a program, and the program. Not here: what a case is (`case`), and what
//! executes it: the interpreter on any memory (`interpret`), or machine code on real memory.

pub mod interpret;
pub mod lock;
pub mod lower;
pub mod lowered;
pub mod machine_code;
pub mod places;
pub mod roles;
mod safety;
mod world;

use self::interpret::{Interpreter, StepsThread};
use self::lock::Waiter;
use self::lower::{Context, each};
use self::lowered::{DRAWS, Frame, MOST_SHARED, Pass};
use self::places::Places;
use self::roles::Duty;
use self::world::World;
use super::{Blueprint, Program, Role, Tally, WithProgram};
use crate::case::{Case, CaseLayout, Step};
use crate::error::{Error, Result};
use crate::space::arena::Arena;
use crate::space::map::Map;
use crate::space::memory::Memory;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::sync::Arc;

/// What a case counts apart from passes.
pub const TALLIES: &[Tally] = &[
    Tally {
        name: "lost_cas",
        means: "Compare-and-swap steps that lost all their tries and had nothing to fall back to.",
    },
    Tally {
        name: "seq_retries",
        means: "Reads under a sequence counter that a writer made be done over again.",
    },
];

/// The most threads that a case runs with: the tail of a queued lock has 16 bits.
pub const MOST_THREADS: usize = 1 << 15;

/// Everything that decides a program, but for the memory it is laid out in.
#[derive(Clone, Debug)]
pub struct StepsSpec {
    /// The case.
    pub case: Arc<Case>,
    /// Number of the layout.
    pub layout: usize,
    /// Threads that will run it.
    pub threads: usize,
    /// Slab slot of the first object, where a slab is swept.
    pub first_slot: usize,
    /// Draws everything that is random, the work that is a guess too; the same for all arms of a
    /// block, so that they do the same.
    pub seed: u64,
}

impl StepsSpec {
    /// Where its objects lie.
    pub fn places(&self) -> Result<Places> {
        let layout = self.layout();
        let names = percpu_names(layout);
        Places::of(&self.case, layout, &names, self.threads, self.first_slot)
    }

    /// Its layout.
    pub fn layout(&self) -> &CaseLayout {
        &self.case.layouts[self.layout]
    }

    /// The program, laid out in `arena`: see [`Blueprint::with`].
    pub fn steps(&self, arena: Arena) -> Result<Steps> {
        self.check()?;
        Steps::new(self, arena)
    }

    /// The pass of thread number `thread`.
    pub fn pass(&self, places: &Places, thread: usize, duty: Duty) -> Result<Pass> {
        let context = Context {
            case: &self.case,
            layout: self.layout(),
            places,
            threads: self.threads,
            seed: self.seed,
        };
        lower::pass(context, thread, duty)
    }
}

/// Every name of `percpu` words.
fn percpu_names(layout: &CaseLayout) -> Vec<String> {
    let mut names = Vec::new();
    for steps in &layout.steps {
        each(steps, &mut |step| {
            if let Step::Percpu { name, .. } | Step::SumPercpu(name) = step
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        });
    }
    names
}

impl Blueprint for StepsSpec {
    fn check(&self) -> Result<()> {
        if self.threads > MOST_THREADS {
            return Err(Error::Input(format!(
                "{} threads are more than {MOST_THREADS}; give fewer",
                self.threads
            )));
        }
        let duties = roles::duties(&self.case, self.threads)?;
        safety::check(&self.case, self.layout())?;
        let places = self.places()?;
        // Every role, on its first thread.
        for (thread, duty) in duties.iter().enumerate() {
            if thread == 0 || duties[thread - 1] != *duty {
                self.pass(&places, thread, *duty)?;
            }
        }
        Ok(())
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn bytes(&self) -> usize {
        self.places().map_or(0, |places| places.bytes)
    }

    fn with<W: WithProgram>(&self, arena: Arena, with: W) -> Result<W::Out> {
        Ok(with.call(self.steps(arena)?))
    }
}

/// The roles of a case on its objects.
pub struct Steps {
    spec: StepsSpec,
    places: Places,
    world: World,
    passes: Vec<Pass>,
    duties: Vec<Duty>,
    tables: Vec<Vec<u32>>,
    roles: Vec<Arc<str>>,
}

impl Steps {
    /// `spec` is checked.
    fn new(spec: &StepsSpec, arena: Arena) -> Result<Steps> {
        let places = spec.places()?;
        let duties = roles::duties(&spec.case, spec.threads)?;
        let passes = duties.iter().enumerate();
        let passes = passes.map(|(thread, duty)| spec.pass(&places, thread, *duty));
        Ok(Steps {
            spec: spec.clone(),
            world: World::new(arena, &spec.case, spec.layout(), &places),
            passes: passes.collect::<Result<_>>()?,
            duties,
            tables: lower::tables(&places),
            roles: spec
                .case
                .roles
                .iter()
                .map(|r| r.name.as_str().into())
                .collect(),
            places,
        })
    }

    /// What thread number `thread` does in each pass.
    pub fn pass(&self, thread: usize) -> &Pass {
        &self.passes[thread]
    }

    /// The objects that threads draw from, as offsets from [`Steps::base`].
    pub fn tables(&self) -> &[Vec<u32>] {
        &self.tables
    }

    /// First byte of its objects: offsets of instructions count from there.
    pub fn base(&self) -> crate::space::memory::Addr {
        self.world.base()
    }

    /// Thread number `thread` as a taker of locks.
    pub fn waiter(&self, thread: usize) -> Waiter {
        let nodes = self.places.nodes.first().copied().unwrap_or(0);
        Waiter {
            nodes: self.world.base().at(nodes as usize),
            thread,
        }
    }

    /// Add `passes` passes of thread number `thread`, with its frame before and after them.
    pub fn count(
        &self,
        thread: usize,
        counts: &mut StepsCounts,
        [before, after]: [&Frame; 2],
        passes: u64,
    ) {
        match self.duties[thread] {
            Duty::Role(role) => counts.passes[role] += passes,
            Duty::Shared => {
                let ends = after.passes.iter().zip(before.passes);
                for (passes, (after, before)) in counts.passes.iter_mut().zip(ends) {
                    *passes += after - before;
                }
            }
        }
        counts.lost += after.lost - before.lost;
        counts.retries += after.retries - before.retries;
    }

    /// Passes of each role among `counts` of thread number `thread`.
    fn passes_of(&self, thread: usize, counts: &StepsCounts) -> Vec<(Arc<str>, u64)> {
        match self.duties[thread] {
            Duty::Role(role) => vec![(self.roles[role].clone(), counts.passes[role])],
            Duty::Shared => roles::shares(&self.spec.case)
                .into_iter()
                .map(|(role, _)| (self.roles[role].clone(), counts.passes[role]))
                .collect(),
        }
    }
}

/// What a thread has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepsCounts {
    /// Passes of each role.
    pub passes: [u64; MOST_SHARED],
    /// See [`Frame::lost`].
    pub lost: u64,
    /// See [`Frame::retries`].
    pub retries: u64,
}

// SAFETY: only `Steps::new` makes one, of a checked spec. Addresses of instructions are those of
// its objects: `lower` takes them from the places that the world is laid out by, cut into words
// that are aligned in every object. Pointers in memory are written when the world is made, and
// `safety` refuses a case that writes to bytes of a pointer, a lock or a counter otherwise, so that
// what is followed leads to an object of the struct it is followed to, and a lock's tail to a node.
unsafe impl Program for Steps {
    type Thread = StepsThread;
    type Counts = StepsCounts;
    const TALLIES: &'static [Tally] = TALLIES;

    fn threads(&self) -> usize {
        self.spec.threads
    }

    fn role(&self, thread: usize) -> Role {
        let name = match self.duties[thread] {
            Duty::Role(role) => self.roles[role].clone(),
            Duty::Shared => "shared".into(),
        };
        Role {
            name,
            counted: true,
        }
    }

    /// The seed of the program is what counts: the one of a sample may be another in each arm.
    fn thread(&self, thread: usize, _seed: u64) -> StepsThread {
        let stream = (thread as u64).wrapping_mul(0x9e37_79b9);
        let mut rng = Pcg64Mcg::seed_from_u64(self.spec.seed ^ stream);
        let draws = (0..DRAWS).map(|_| rng.next_u32()).collect();
        let mut frame = Frame {
            // Threads store different values.
            fresh: (thread as u64) << 32 | thread as u64,
            ..Frame::default()
        };
        let counters = &self.passes[thread].counters;
        frame.counters[..counters.len()].copy_from_slice(counters);
        StepsThread::new(thread, frame, draws)
    }

    fn run<M: Memory>(
        &self,
        m: &M,
        thread: &mut StepsThread,
        counts: &mut StepsCounts,
        steps: u32,
    ) {
        let number = thread.number;
        let interpreter = Interpreter {
            m,
            arena: self.world.base(),
            tables: &self.tables,
            waiter: self.waiter(number),
        };
        let before = thread.frame.clone();
        for _ in 0..steps {
            interpreter.run(&self.passes[number].instrs, thread);
        }
        self.count(number, counts, [&before, &thread.frame], u64::from(steps));
    }

    fn operations(counts: &StepsCounts) -> u64 {
        counts.passes.iter().sum()
    }

    fn passes(&self, thread: usize, counts: &StepsCounts) -> Vec<(Arc<str>, u64)> {
        self.passes_of(thread, counts)
    }

    fn tallies(counts: &StepsCounts) -> Vec<u64> {
        vec![counts.lost, counts.retries]
    }

    fn arena(&self) -> &Arena {
        self.world.arena()
    }

    fn map(&self) -> Map {
        self.world
            .map(&self.spec.case, self.spec.layout(), &self.places)
    }

    fn into_arena(self) -> Arena {
        self.world.into_arena()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_draws_the_same_numbers_whatever_the_seed_of_its_sample() {
        let case = Arc::new(Case::load("dentry").unwrap());
        let steps = |layout| {
            let spec = StepsSpec {
                case: case.clone(),
                layout,
                threads: 2,
                first_slot: 0,
                seed: 5,
            };
            let arena = Arena::new(spec.bytes()).unwrap();
            spec.steps(arena).unwrap()
        };
        let (one, other) = (steps(0), steps(1));
        let draws = |steps: &Steps, thread, seed| steps.thread(thread, seed).draws;
        assert_eq!(draws(&one, 1, 7), draws(&other, 1, 8));
        assert_ne!(draws(&one, 0, 7), draws(&one, 1, 7));
    }
}
