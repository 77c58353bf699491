//! Speed of the simulator on one host thread, timing model on, in accesses a second.

#[path = "support/config.rs"]
mod config;

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use hitm::machine::Placement;
use hitm::program::fault;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::path::PageWork;
use hitm::program::fault::scenario;
use hitm::sim::pattern::{self, Pattern};
use hitm::sim::run::{self, SampleSpec};
use hitm::sim::{Machine, Simulation};
use hitm::space::PAGE;
use hitm::space::arena::Arena;
use hitm::space::memory::Memory;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

fn load(name: &str) -> Machine {
    Machine::load(name).expect("a built-in machine")
}

/// Patterns of a defined order: the coherence model alone.
fn patterns(c: &mut Criterion) {
    const ACCESSES: u64 = 100_000;
    let mut group = c.benchmark_group("pattern");
    group
        .throughput(Throughput::Elements(ACCESSES))
        .sampling_mode(SamplingMode::Flat);
    for (pattern, cores) in [
        (Pattern::SameLine, 2),
        (Pattern::Padded, 2),
        (Pattern::Mixed, 16),
    ] {
        let id = BenchmarkId::new(format!("{pattern:?}"), cores);
        group.bench_function(id, |b| {
            b.iter(|| pattern::run(load("plain-mesi"), pattern, cores, ACCESSES, 1));
        });
    }
    group.finish();
}

/// The fault path on coroutines: `broadwell-ep`, `one-vma`.
fn faults(c: &mut Criterion) {
    let mut group = c.benchmark_group("one-vma");
    group.sampling_mode(SamplingMode::Flat);
    for threads in [1, 12, 56] {
        let spec = SampleSpec {
            program: fault::Spec {
                layout: VmaLayout::SplitPacked,
                scenario: scenario::BuiltIn::OneVma,
                threads,
                first_slot: 0,
                work: PageWork::Nanos(500),
            },
            placement: Placement::Compact,
            access_ns: 0.0,
            between_ns: 500,
            seed: 1,
            faults_per_thread: 50,
            explain: false,
            timeline: false,
            check: false,
        };
        let machine = load("broadwell-ep");
        let once = run::run(&machine, &spec).expect("a valid spec");
        // Of the window; the warm-up adds a quarter.
        group.throughput(Throughput::Elements(once.counts.accesses * 5 / 4));
        group.bench_function(BenchmarkId::from_parameter(threads), |b| {
            b.iter(|| run::run(&machine, &spec));
        });
    }
    group.finish();
}

/// Every thread adds to one word, and to a line of its own sixteen times as often.
fn cores(c: &mut Criterion) {
    const ROUNDS: u64 = 10;
    let mut group = c.benchmark_group("cores");
    group.sampling_mode(SamplingMode::Flat);
    for threads in [8, 64, 512] {
        group.throughput(Throughput::Elements(threads as u64 * ROUNDS * 17));
        group.bench_function(BenchmarkId::from_parameter(threads), |b| {
            b.iter(|| {
                let cpus: Vec<usize> = (0..threads).collect();
                let mut arena = Arena::new((threads + 1) * PAGE).unwrap();
                let base = arena.alloc((threads + 1) * PAGE, PAGE);
                let machine = Rc::new(load("plain-mesi"));
                let mut simulation = Simulation::new(machine, Rc::new(arena), &cpus, 1, false);
                for thread in 0..threads {
                    simulation.spawn(move |m| {
                        for _ in 0..ROUNDS {
                            for _ in 0..16 {
                                m.fetch_add(base.at((thread + 1) * PAGE), 1u64, Relaxed);
                            }
                            m.fetch_add(base, 1u64, Relaxed);
                        }
                    });
                }
                simulation.run_to_end();
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = config::criterion("sim", 25, [300, 2000]);
    targets = patterns, faults, cores
}
criterion_main!(benches);
