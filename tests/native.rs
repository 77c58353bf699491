//! What the native backend promises whatever else the machine does: which threads fault, what is
//! left in memory, what an arm executes. Not here: how long anything takes.

use hitm::backend::faults::FaultArms;
use hitm::backend::native::loaded::{Load, LoadPlaced, Loaded, LoopShape, Placing};
use hitm::backend::native::placed::Placer;
use hitm::backend::native::pool::{Job, Pool, Timing, WindowReport};
use hitm::backend::native::{Build, Native};
use hitm::counters::Rotation;
use hitm::error::Error;
use hitm::experiment::{Arm, Backend, PlannedSample};
use hitm::machine::{CpuId, Placement, Topology};
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::path::PageWork;
use hitm::program::fault::scenario;
use hitm::program::fault::vma::{Field, Pointer, mm, rwsem};
use hitm::program::fault::{Spec, world::World};
use hitm::program::{Blueprint, Program, WithProgram};
use hitm::space::PAGE;
use hitm::space::PAIR;
use hitm::space::arena::Arena;
use hitm::space::memory::{Addr, Memory};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Long enough for every thread to fault, as short as it may be.
const SHORT: Timing = Timing {
    warm_up: Duration::from_micros(100),
    probe: Duration::from_micros(20),
    window: Duration::from_millis(1),
};

/// CPUs for `threads` threads; on a machine with too few they share.
fn cpus(threads: usize) -> Vec<CpuId> {
    let topology = Topology::here().unwrap();
    Placement::Compact
        .plan(&topology, threads, true)
        .unwrap()
        .cpus
}

fn spec(layout: VmaLayout, scenario: scenario::BuiltIn) -> Spec {
    Spec::new(layout, scenario, 1)
}

/// `spec` in an arena of its own, with a handicap.
fn loaded(spec: Spec, handicap_permille: u32) -> Box<dyn Loaded> {
    load_into(Arena::new(spec.bytes()).unwrap(), spec, handicap_permille)
}

fn load_into(arena: Arena, spec: Spec, handicap_permille: u32) -> Box<dyn Loaded> {
    spec.with(arena, Load { handicap_permille }).unwrap()
}

/// The world a program of `spec` starts from.
fn world(spec: Spec) -> World {
    let table = spec.layout.table();
    World::new(
        Arena::new(World::bytes_for(table, spec.size())).unwrap(),
        table,
        spec.size(),
    )
}

/// `program` for a short while, nothing counted.
fn job(program: Box<dyn Loaded>) -> Job {
    Job {
        program,
        timing: SHORT,
        seed: 3,
        counters: Arc::new(Rotation::default()),
        block: 0,
    }
}

/// What `steps` steps, a few at a time, leave behind: operations counted, and the memory.
fn run_alone(program: Box<dyn Loaded>, mut steps: u32) -> (u64, Arena) {
    let operations = {
        let mut seat = program.seat(0, 7);
        seat.enter();
        let mut batch = 1;
        while steps > 0 {
            seat.run(batch);
            steps -= batch;
            batch = (batch + 1).min(steps);
        }
        seat.leave();
        seat.passes().iter().map(|(_, passes)| passes).sum()
    };
    (operations, program.into_arena())
}

/// Where `at` of the world `before` lies in the memory `after` that a like world was made in.
fn moved(before: &World, at: Addr, after: &Arena) -> Addr {
    after.base().at((at.0 - before.arena().base().0) as usize)
}

/// The word that `swap-in` increments in every step, in the VMA of slab slot `slot`.
fn swap_hits(before: &World, slot: usize, after: &Arena) -> u64 {
    let offset = before.table().offset(Field::swap_readahead_info);
    after.read(moved(before, before.vma(slot).at(offset), after))
}

#[test]
fn every_scenario_faults_on_every_layout_in_the_threads_that_fault() {
    let points: Vec<(scenario::BuiltIn, usize)> = scenario::BuiltIn::ALL
        .iter()
        .flat_map(|&s| [1, 2].map(|threads| (s, threads)))
        .filter(|(s, threads)| *threads >= s.min_threads())
        .collect();
    let arms: Vec<Arm> = VmaLayout::ALL
        .iter()
        .map(|l| l.name().parse().unwrap())
        .collect();
    for work in [PageWork::None, PageWork::ClearPage] {
        let build = FaultArms::new(&arms, points.clone(), work).unwrap();
        let plans = points.iter().map(|(_, threads)| cpus(*threads)).collect();
        let mut native = Native::new(build, plans, SHORT).unwrap();
        for (point, (scenario, threads)) in points.iter().enumerate() {
            for (arm, built_in) in arms.iter().enumerate() {
                let cell = cell(point, arm, arm % 2);
                let measured = native.measure(&cell).unwrap();
                let what = format!("{scenario:?}, {threads} threads, {built_in:?}, {work:?}");
                let faulting = threads - (scenario.min_threads() - 1);
                assert_eq!(measured.threads.len(), faulting, "{what}");
                for thread in &measured.threads {
                    assert!(thread.faults > 0, "{what}");
                    assert!(thread.seconds >= SHORT.window.as_secs_f64(), "{what}");
                }
                assert_eq!(measured.probe_ns.is_some(), *threads > 1, "{what}");
            }
        }
    }
}

fn cell(point: usize, arm: usize, first_slot: usize) -> PlannedSample {
    PlannedSample {
        first_slot,
        seed: 11,
        ..PlannedSample::first(point, arm)
    }
}

#[test]
fn churn_leaves_the_address_space_as_it_found_it() {
    let mut pool = Pool::default();
    for scenario in [
        scenario::BuiltIn::ChurnCallRcu,
        scenario::BuiltIn::ChurnTypesafe,
    ] {
        for &layout in VmaLayout::ALL {
            let spec = Spec {
                threads: 2,
                first_slot: 1,
                ..spec(layout, scenario)
            };
            let (reports, program) = pool.sample(job(loaded(spec, 0)), &cpus(2)).unwrap();
            assert!(reports.iter().all(|r| r.passes[0].1 > 0));
            let (before, after) = (world(spec), program.into_arena());
            let what = format!("{scenario:?} on {layout:?}");

            let mm = moved(&before, before.mm(), &after);
            let mapped = before.size().vmas;
            assert_eq!(
                after.read::<u32>(mm.at(mm::MAP_COUNT)),
                mapped as u32,
                "{what}"
            );
            assert_eq!(after.read::<u64>(mm.at(mm::MMAP_LOCK)), 0, "{what}");
            let sequence: u32 = after.read(mm.at(mm::MM_LOCK_SEQ));
            assert!(sequence > 0 && sequence.is_multiple_of(2), "{what}");
            for slot in 0..mapped + before.size().spare_slots {
                let entry: u64 = after.read(moved(&before, before.tree_slot(slot), &after));
                let expected = match slot < mapped {
                    true => Pointer::to(moved(&before, before.vma(slot), &after)),
                    false => Pointer::held(0),
                };
                assert_eq!(Pointer::held(entry), expected, "{what}, slot {slot}");
            }
        }
    }
}

#[test]
fn a_handicap_executes_exactly_its_share_more_than_it_counts() {
    const STEPS: u32 = 12_345;
    for permille in [0, 1, 10, 50, 1000] {
        let spec = spec(VmaLayout::SplitPacked, scenario::BuiltIn::SwapIn);
        let (faults, after) = run_alone(loaded(spec, permille), STEPS);
        assert_eq!(faults, u64::from(STEPS));
        let executed = swap_hits(&world(spec), 0, &after);
        assert_eq!(executed, u64::from(STEPS + STEPS * permille / 1000));
    }
}

#[test]
fn an_arm_with_a_handicap_is_named_after_its_layout() {
    let arm: Arm = "split-packed+0.5%".parse().unwrap();
    let (layout, handicap) = arm.measured(&arm).unwrap();
    assert_eq!(
        VmaLayout::parse(layout.as_str()).unwrap(),
        VmaLayout::SplitPacked
    );
    assert_eq!(handicap.get(), 5);
    for wrong in ["split-packed+", "split-packed+0.05%", "split-packed+101%"] {
        assert!(matches!(wrong.parse::<Arm>(), Err(Error::Input(_))));
    }
}

#[test]
fn the_controls_do_what_the_baseline_does_in_the_same_memory() {
    const STEPS: u32 = 3_001;
    let arm: Arm = "embedded-rwsem-256".parse().unwrap();
    let points = vec![(scenario::BuiltIn::RandomVma, 1)];
    let arms = [arm, Arm::Again, Arm::Recompiled];
    let faults = FaultArms::new(&arms, points, PageWork::None).unwrap();
    let mut arena = Arena::new(faults.bytes()).unwrap();
    let mut contents = Vec::new();
    for arm in [0, 1, 2] {
        arena.reset(0);
        let program = faults
            .build(&cell(0, arm, 0), arena, &Arc::default())
            .unwrap();
        let (faulted, after) = run_alone(program, STEPS);
        assert_eq!(faulted, u64::from(STEPS));
        let words = (0..after.bytes()).step_by(8);
        contents.push(
            words
                .map(|at| after.read(after.base().at(at)))
                .collect::<Vec<u64>>(),
        );
        arena = after;
    }
    assert!(contents[1..].iter().all(|other| *other == contents[0]));
}

/// What a run of `steps` steps of `spec` leaves behind at the place of `seed`; and its code.
#[cfg(target_arch = "x86_64")]
fn run_placed(
    spec: Spec,
    shape: LoopShape,
    seed: u64,
    placing: &Arc<Placing>,
    (mut arena, steps): (Arena, u32),
) -> (String, Vec<u64>, Arena) {
    arena.reset(0);
    let load = LoadPlaced {
        handicap_permille: 0,
        code: "code".to_owned(),
        shape,
        placing: Arc::clone(placing),
        seed,
    };
    let program = spec.with(arena, load).unwrap();
    assert_eq!(program.unplaced(), None);
    let code = program.code();
    let (faults, after) = run_alone(program, steps);
    let words = (0..after.bytes()).step_by(8);
    let words = words.map(|at| after.read(after.base().at(at)));
    let contents = std::iter::once(faults).chain(words).collect();
    (code, contents, after)
}

#[test]
#[cfg(target_arch = "x86_64")]
fn wherever_code_lies_it_does_the_same() {
    let placing = Arc::<Placing>::default();
    placing.give_back(Placer::new().unwrap());
    for scenario in [
        scenario::BuiltIn::RandomVma,
        scenario::BuiltIn::ChurnCallRcu,
    ] {
        for layout in [
            VmaLayout::MmapLock,
            VmaLayout::SplitPacked,
            VmaLayout::EmbeddedRefcount192,
        ] {
            let spec = spec(layout, scenario);
            let mut arena = Arena::new(spec.bytes()).unwrap();
            let linked = run_alone(loaded(spec, 0), 301).0;
            let mut seen: Vec<(String, Vec<u64>)> = Vec::new();
            for shape in [LoopShape::Plain, LoopShape::Unrolled] {
                for seed in 0..8 {
                    let (code, contents, after) =
                        run_placed(spec, shape, seed, &placing, (arena, 301));
                    seen.push((code, contents));
                    arena = after;
                }
            }
            let what = format!("{scenario:?} on {layout:?}");
            assert_eq!(seen[0].1[0], linked, "{what}");
            assert!(seen.iter().all(|(_, c)| *c == seen[0].1), "{what}");
            let (plain, unrolled) = (&seen[0].0, &seen[8].0);
            assert!(seen[..8].iter().all(|(code, _)| code == plain), "{what}");
            assert!(seen[8..].iter().all(|(code, _)| code == unrolled), "{what}");
            assert_ne!(plain, unrolled, "{what}");
        }
    }
}

#[test]
fn the_first_slot_decides_where_the_vma_lies_modulo_128() {
    for &layout in VmaLayout::ALL {
        for first_slot in [0, 1] {
            let spec = Spec {
                first_slot,
                ..spec(layout, scenario::BuiltIn::SwapIn)
            };
            let (_, after) = run_alone(loaded(spec, 0), 10);
            let before = world(spec);
            let hit: Vec<usize> = (0..before.size().vmas)
                .filter(|&slot| swap_hits(&before, slot, &after) > 0)
                .collect();
            assert_eq!(hit, [first_slot], "{layout:?}");
            let vma = moved(&before, before.vma(first_slot), &after);
            let expected = first_slot * layout.table().cache.slot % PAIR;
            assert_eq!(vma.0 as usize % PAIR, expected, "{layout:?}");
        }
    }
}

#[test]
fn locks_of_neighbouring_vmas_share_a_line_in_the_packed_slab_alone() {
    for (layout, share) in [
        (VmaLayout::SplitPacked, true),
        (VmaLayout::SplitAligned, false),
    ] {
        let world = world(spec(layout, scenario::BuiltIn::VmaPerThread));
        let line = |slot| world.split_lock(slot).unwrap().at(rwsem::COUNT).0 / 64;
        assert_eq!(line(0) == line(1), share, "{layout:?}");
    }
}

#[test]
fn pages_are_cleared_when_the_page_work_says_so_and_only_then() {
    let spec = spec(VmaLayout::SplitPacked, scenario::BuiltIn::OneVma);
    let with_pages = Spec {
        work: PageWork::ClearPage,
        ..spec
    };
    let before = world(with_pages);
    let offset = |fault| (before.page(0, fault).0 - before.arena().base().0) as usize;
    let last_words = [0, 1, 2].map(|fault| offset(fault) + PAGE - 8);
    for (work, left) in [(PageWork::ClearPage, 0), (PageWork::Nanos(1), u64::MAX)] {
        // Room for pages either way; laying a world out does not touch them.
        let arena = Arena::new(with_pages.bytes()).unwrap();
        for word in last_words {
            arena.write(arena.base().at(word), u64::MAX);
        }
        let program = load_into(arena, Spec { work, ..spec }, 0);
        let (_, after) = run_alone(program, 2);
        let words = last_words.map(|word| after.read::<u64>(after.base().at(word)));
        assert_eq!(words, [left, left, u64::MAX], "{work:?}");
    }
}

/// A program in which one thread panics at one moment.
struct Panics {
    thread: usize,
    at: Moment,
    arena: Arena,
}

#[derive(Clone, Copy, PartialEq)]
enum Moment {
    Never,
    Enter,
    FirstStep,
    LateStep,
    Leave,
}

impl Panics {
    fn reached(&self, thread: &Panicking, at: Moment) {
        if (self.thread, self.at) == (thread.id, at) {
            // As a panic, but without a message among those of the tests.
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
}

#[derive(Default)]
struct Panicking {
    id: usize,
    windows: u32,
}

// SAFETY: it accesses no memory.
unsafe impl Program for Panics {
    type Thread = Panicking;
    type Counts = u64;

    fn threads(&self) -> usize {
        2
    }

    fn thread(&self, id: usize, _seed: u64) -> Panicking {
        Panicking { id, windows: 0 }
    }

    fn run<M: Memory>(&self, _m: &M, thread: &mut Panicking, counts: &mut u64, steps: u32) {
        self.reached(thread, Moment::FirstStep);
        *counts += u64::from(steps);
        if thread.windows > 1 {
            self.reached(thread, Moment::LateStep);
        }
    }

    fn enter<M: Memory>(&self, _m: &M, thread: &mut Panicking) {
        thread.windows += 1;
        self.reached(thread, Moment::Enter);
    }

    fn leave<M: Memory>(&self, _m: &M, thread: &mut Panicking) {
        self.reached(thread, Moment::Leave);
    }

    fn operations(counts: &u64) -> u64 {
        *counts
    }

    fn arena(&self) -> &Arena {
        &self.arena
    }

    fn into_arena(self) -> Arena {
        self.arena
    }
}

#[test]
fn a_panic_in_a_program_ends_the_sample_with_an_error_and_not_the_pool() {
    let (done, outcome) = channel();
    std::thread::spawn(move || {
        let mut pool = Pool::default();
        let mut sample = |thread, at| -> hitm::error::Result<Vec<WindowReport>> {
            let arena = Arena::new(1).unwrap();
            let load = Load {
                handicap_permille: 0,
            };
            let program = load.call(Panics { thread, at, arena });
            let (reports, _) = pool.sample(job(program), &cpus(2))?;
            Ok(reports)
        };
        for at in [
            Moment::Enter,
            Moment::FirstStep,
            Moment::LateStep,
            Moment::Leave,
        ] {
            for thread in [0, 1] {
                let failed = sample(thread, at);
                assert!(matches!(failed, Err(Error::Broken(_))), "{failed:?}");
                assert_eq!(sample(thread, Moment::Never).unwrap().len(), 2);
            }
        }
        let _ = done.send(());
    });
    let waited = outcome.recv_timeout(Duration::from_secs(20));
    assert_eq!(
        waited,
        Ok(()),
        "the pool hangs, or an assertion above failed"
    );
}

#[test]
fn a_program_that_would_leave_its_arena_is_refused() {
    let good = spec(VmaLayout::SplitPacked, scenario::BuiltIn::VmaPerThread);
    let load = || Load {
        handicap_permille: 0,
    };
    for bad in [
        Spec {
            first_slot: 2,
            ..good
        },
        Spec {
            first_slot: usize::MAX,
            ..good
        },
        Spec { threads: 0, ..good },
        Spec {
            threads: usize::MAX,
            ..good
        },
        Spec {
            scenario: scenario::BuiltIn::ReadersWriter,
            ..good
        },
    ] {
        let refused = bad.with(Arena::new(good.bytes()).unwrap(), load());
        assert!(matches!(refused, Err(Error::Input(_))), "{bad:?}");
    }
    // An arena too small for it is a bug, found before anything is accessed.
    let small = std::panic::catch_unwind(|| good.with(Arena::new(1).unwrap(), load()));
    assert!(small.is_err());
}
