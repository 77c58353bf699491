//! The cases that come with `hitm`.

use hitm::backend::native::loaded::{Load, Loaded, LoopShape};
use hitm::backend::native::made::Maker;
use hitm::case::Case;
use hitm::program::Blueprint;
use hitm::program::steps::StepsSpec;
use hitm::space::arena::Arena;
use std::sync::Arc;

/// What `steps` steps of every thread, one thread after the other, leave in memory and count.
fn alone(program: Box<dyn Loaded>, threads: usize, steps: u32) -> (Vec<u64>, String) {
    let mut counts = String::new();
    for thread in 0..threads {
        let mut seat = program.seat(thread, 7);
        seat.enter();
        for _ in 0..4 {
            seat.run(steps / 4);
        }
        seat.leave();
        counts += &format!("{:?} {:?}\n", seat.passes(), seat.tallies());
    }
    let arena = program.into_arena();
    let base = arena.base();
    let inside = |value: u64| (base.0..base.0 + arena.bytes() as u64).contains(&value);
    let words = (0..arena.bytes())
        .step_by(8)
        .map(|at| arena.read::<u64>(base.at(at)));
    let words = words.map(|value| if inside(value) { value - base.0 } else { value });
    (words.collect(), counts)
}

#[test]
fn every_case_that_comes_with_hitm_leaves_what_the_interpreter_leaves() {
    let maker = Maker::new().unwrap();
    let mut compared = 0;
    for name in Case::names() {
        let case = Arc::new(Case::load(name).unwrap());
        for layout in 0..case.layouts.len() {
            let spec = StepsSpec {
                threads: case.least_threads().max(2),
                case: case.clone(),
                layout,
                first_slot: 0,
                seed: 1,
            };
            let arena = || Arena::new(spec.bytes()).unwrap();
            let steps = spec.steps(arena()).unwrap();
            let waits = |thread| format!("{:?}", steps.pass(thread)).contains("Wait");
            if (0..spec.threads).any(waits) {
                continue;
            }
            for handicap_permille in [0, 100] {
                let interpreted = spec.with(arena(), Load { handicap_permille }).unwrap();
                let (expected, expected_counts) = alone(interpreted, spec.threads, 404);
                for shape in [LoopShape::Plain, LoopShape::Unrolled] {
                    let made = spec.steps(arena()).unwrap();
                    let seed = layout as u64;
                    let made = maker.load_shaped(made, seed, handicap_permille, shape);
                    let (words, counts) = alone(made.unwrap(), spec.threads, 404);
                    let what = format!("{name}, layout {layout}, {shape:?}");
                    assert_eq!(counts, expected_counts, "{what}");
                    assert!(words == expected, "{what}: memory differs");
                }
            }
            compared += 1;
        }
    }
    assert!(compared > 10, "{compared}");
}
