//! A program that is no page fault runs on both backends, through what faults run through: nothing
//! in them knows what a program does.

use hitm::backend::native::loaded::{Load, Loaded};
use hitm::backend::native::pool::{Job, Pool, Timing};
use hitm::counters::Rotation;
use hitm::error::{Error, Result};
use hitm::machine::{Placement, Topology};
use hitm::program::{Blueprint, Program, Role, Tally, WithProgram};
use hitm::sim::Machine;
use hitm::sim::run::{SampleSpec, run};
use hitm::space::arena::Arena;
use hitm::space::map::{Map, Object, Span};
use hitm::space::memory::{Addr, Memory};
use hitm::space::{LINE, PAGE};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Each thread adds to a counter of its own; all but the first look at the first one's.
#[derive(Clone, Copy)]
struct Counters {
    threads: usize,
}

struct Laid {
    arena: Arena,
    first: Addr,
    threads: usize,
}

#[derive(Clone, Copy, Default)]
struct Done {
    added: u64,
    looked: u64,
}

impl Blueprint for Counters {
    fn check(&self) -> Result<()> {
        match self.threads {
            1..=64 => Ok(()),
            _ => Err(Error::Input("1 to 64 threads".to_owned())),
        }
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn bytes(&self) -> usize {
        PAGE
    }

    fn with<W: WithProgram>(&self, mut arena: Arena, with: W) -> Result<W::Out> {
        self.check()?;
        let first = arena.alloc(self.threads * LINE, LINE);
        Ok(with.call(Laid {
            arena,
            first,
            threads: self.threads,
        }))
    }
}

// SAFETY: a line for each thread is allocated at `first`, and thread numbers are below `threads`.
unsafe impl Program for Laid {
    type Thread = usize;
    type Counts = Done;
    const TALLIES: &'static [Tally] = &[Tally {
        name: "looked",
        means: "Times a thread looked at the counter of the first.",
    }];

    fn threads(&self) -> usize {
        self.threads
    }

    fn role(&self, thread: usize) -> Role {
        let (name, counted) = match thread {
            0 => ("adder", false),
            _ => ("looker", true),
        };
        Role {
            name: name.into(),
            counted,
        }
    }

    fn thread(&self, thread: usize, _seed: u64) -> usize {
        thread
    }

    fn run<M: Memory>(&self, m: &M, thread: &mut usize, done: &mut Done, steps: u32) {
        for _ in 0..steps {
            m.fetch_add(self.first.at(*thread * LINE), 1u64, Relaxed);
            if *thread > 0 {
                m.touch::<u64>(self.first);
                done.looked += 1;
            }
            done.added += 1;
        }
    }

    fn operations(done: &Done) -> u64 {
        done.added
    }

    fn tallies(done: &Done) -> Vec<u64> {
        vec![done.looked]
    }

    fn arena(&self) -> &Arena {
        &self.arena
    }

    fn map(&self) -> Map {
        let counter = |thread: usize| Object {
            name: "counter".into(),
            index: Some(thread),
            start: self.first.at(thread * LINE),
            bytes: 8,
            fields: vec![Span::word("value", 0, 8)],
        };
        Map::new(self.arena.base(), (0..self.threads).map(counter).collect())
    }

    fn into_arena(self) -> Arena {
        self.arena
    }
}

fn loaded(blueprint: &impl Blueprint) -> Box<dyn Loaded> {
    let load = Load {
        handicap_permille: 0,
    };
    let arena = Arena::new(blueprint.bytes()).unwrap();
    blueprint.with(arena, load).unwrap()
}

#[test]
fn threads_of_this_machine_run_it_and_count_what_it_did() {
    let job = Job {
        program: loaded(&Counters { threads: 2 }),
        timing: Timing {
            warm_up: Duration::from_micros(100),
            probe: Duration::from_micros(20),
            window: Duration::from_millis(1),
        },
        seed: 1,
        counters: Arc::new(Rotation::default()),
        block: 0,
    };
    let cpus = Placement::Compact.plan(&Topology::here().unwrap(), 2, true);
    let (reports, program) = Pool::default().sample(job, &cpus.unwrap().cpus).unwrap();
    assert_eq!(&*reports[0].role.name, "adder");
    assert_eq!(reports[0].tallies, [("looked", 0)]);
    assert!(reports[1].role.counted && reports[1].passes[0].1 > 0);
    assert_eq!(reports[1].tallies, [("looked", reports[1].passes[0].1)]);
    let second = program.map().objects()[1].start;
    assert_eq!(program.map().name(second), "counter 1 value");
    let arena = program.into_arena();
    // The warm-up was counted in memory as well.
    assert!(arena.read::<u64>(second) > reports[1].passes[0].1);
}

#[test]
fn a_machine_model_runs_it_and_counts_what_it_did() {
    let spec = SampleSpec {
        program: Counters { threads: 3 },
        placement: Placement::Compact,
        access_ns: 0.0,
        between_ns: 0,
        seed: 1,
        faults_per_thread: 50,
        explain: true,
        timeline: false,
        check: true,
    };
    let machine = Machine::load("skylake-client").unwrap();
    let sample = run(&machine, &spec).unwrap();
    let operations: u64 = sample.threads.iter().map(|t| t.faults).sum();
    assert_eq!(sample.threads.len(), 2, "the adder is not counted");
    assert!(operations >= 100);
    assert_eq!(sample.tallies, [("looked", operations)]);
    // The line of the first counter goes back and forth.
    assert!(sample.counts.hitm_local > 0 && sample.counts.invalidations > 0);
    assert_eq!(sample.map.objects().len(), 3);
    let none = SampleSpec {
        program: Counters { threads: 0 },
        ..spec
    };
    assert!(matches!(run(&machine, &none), Err(Error::Input(_))));
}

#[test]
fn a_thread_has_one_seat_and_no_other_thread_has_any() {
    let refused = |thread: usize, again: bool| {
        let program = loaded(&Counters { threads: 2 });
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if again {
                drop(program.seat(thread, 1));
            }
            drop(program.seat(thread, 1));
        }))
        .is_err()
    };
    assert!(!refused(1, false));
    assert!(refused(1, true));
    assert!(refused(2, false));
    assert!(refused(1 << 40, false));
}
