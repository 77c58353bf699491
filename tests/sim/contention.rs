//! What a line that all cores contend for must not come to, on any machine.

use super::{machine, run};
use hitm::machine::Placement;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::{self, scenario};
use hitm::program::totals::Totals;
use hitm::sim::run::{self as sample, SampleSpec};
use hitm::sim::{Machine, SimMemory, Simulation};
use hitm::space::PAGE;
use hitm::space::arena::Arena;
use hitm::space::memory::{Addr, Memory};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

/// Nanoseconds an operation takes all cores of a machine together, which do nothing else to one
/// word.
fn ns_per_op(name: &str, op: fn(&SimMemory<'_>, Addr)) -> f64 {
    const OPS: usize = 20;
    let machine = machine(name);
    let cores = machine.shape.cores();
    let cpus: Vec<usize> = (0..cores).collect();
    let mut arena = Arena::new(PAGE).unwrap();
    let word = arena.alloc(64, 64);
    let mut simulation = Simulation::new(Rc::new(machine), Rc::new(arena), &cpus, 1, false);
    for _ in 0..cores {
        simulation.spawn(move |m| {
            for _ in 0..OPS {
                op(&m, word);
            }
        });
    }
    simulation.run_to_end();
    let state = simulation.state();
    let last = (0..cores).map(|thread| state.clock(thread)).max();
    last.unwrap() as f64 / 1000.0 / (cores * OPS) as f64
}

fn add(m: &SimMemory<'_>, word: Addr) {
    m.fetch_add(word, 1u64, Relaxed);
}

fn compare_and_swap(m: &SimMemory<'_>, word: Addr) {
    let mut seen = m.load::<u64>(word, Relaxed);
    while let Err(found) = m.compare_exchange(word, seen, seen + 1, Relaxed) {
        seen = found;
    }
}

#[test]
fn a_compare_and_swap_loop_at_all_cores_takes_at_most_8_times_as_long_as_an_addition() {
    for name in Machine::names() {
        let (add, cas) = (ns_per_op(name, add), ns_per_op(name, compare_and_swap));
        assert!(
            cas <= 8.0 * add,
            "{name}: {cas:.1} ns against {add:.1} ns an addition"
        );
    }
}

#[test]
fn a_core_that_holds_a_line_longer_adds_to_it_more_often_before_it_goes() {
    let additions_a_visit = |hold_share| {
        let machine = Machine {
            hold_share,
            ..machine("plain-mesi")
        };
        let mut arena = Arena::new(PAGE).unwrap();
        let word = arena.alloc(64, 64);
        let (counts, ..) = run(machine, Rc::new(arena), &[0, 1, 2, 3], 1, move |_, m| {
            for _ in 0..500 {
                add(m, word);
            }
        });
        2000.0 / counts.invalidations as f64
    };
    assert!((1.0..1.1).contains(&additions_a_visit(0.0)));
    // 40 ns of way, half of them at the core, at 6 ns an addition.
    assert!((3.0..5.0).contains(&additions_a_visit(0.5)));
}

/// Faults a second of all threads in one VMA, and what the slowest made of what the fastest did.
fn one_vma(machine: &Machine, threads: usize) -> (f64, f64) {
    let spec = SampleSpec::new(
        fault::Spec::new(VmaLayout::SplitPacked, scenario::BuiltIn::OneVma, threads),
        Placement::Scatter,
        1,
        20,
    );
    let threads = sample::run(machine, &spec).unwrap().threads;
    let faults = threads.iter().map(|t| t.faults);
    let (slowest, fastest) = (faults.clone().min().unwrap(), faults.max().unwrap());
    let fairness = slowest as f64 / fastest as f64;
    (Totals::of(&threads).faults_per_second, fairness)
}

#[test]
fn faults_of_all_cores_in_one_vma_are_at_least_a_tenth_of_the_best_and_none_starves() {
    for name in Machine::names() {
        let machine = machine(name);
        let cores = machine.shape.cores();
        let counts = [1, 2, 4, 16, cores / 2, cores]
            .into_iter()
            .filter(|n| *n <= cores);
        let found: Vec<_> = counts.map(|threads| one_vma(&machine, threads)).collect();
        let best = found.iter().map(|(rate, _)| *rate).fold(0.0, f64::max);
        let (all, fairness) = found[found.len() - 1];
        assert!(
            all >= best / 10.0,
            "{name}: {all:.0} faults/s, {best:.0} at best"
        );
        assert!(fairness >= 0.1, "{name}: {fairness:.3}");
    }
}
