//! Cases as programs: what their threads access, and what that comes to.

use hitm::case::Case;
use hitm::error::Result;
use hitm::machine::Placement;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::{self, scenario::BuiltIn};
use hitm::program::steps::StepsSpec;
use hitm::program::totals::Totals;
use hitm::program::trace::{Access, trace};
use hitm::program::{Blueprint, Program, WithProgram};
use hitm::sim::{Machine, run};
use hitm::space::arena::Arena;
use std::sync::Arc;

/// The accesses of the first thread's second step: field, bytes, what is done.
struct Names;

impl WithProgram for Names {
    type Out = Vec<(String, usize, Access)>;

    fn call<P: Program>(self, program: P) -> Self::Out {
        let map = program.map();
        let once = trace(&program, 0, 1).len();
        let twice = trace(&program, 0, 2);
        let named = twice[once..].iter().map(|access| {
            let name = map.name(access.at);
            let field = name.rsplit(' ').next().unwrap().to_owned();
            (field, access.bytes, access.access)
        });
        named.collect()
    }
}

fn accesses<B: Blueprint>(spec: &B) -> Result<Vec<(String, usize, Access)>> {
    spec.with(Arena::new(spec.bytes())?, Names)
}

fn spec(case: &str, layout: &str, threads: usize) -> StepsSpec {
    let case = Arc::new(Case::load(case).unwrap());
    StepsSpec {
        layout: case.layout_number(layout).unwrap(),
        case,
        threads,
        first_slot: 0,
        seed: 1,
    }
}

#[test]
fn the_case_of_the_fault_path_accesses_what_the_compiled_path_does() {
    let compiled = VmaLayout::parse("embedded-refcount-192").unwrap();
    let compiled = fault::Spec::new(compiled, BuiltIn::OneVma, 2);
    let expected = accesses(&compiled).unwrap();
    assert_eq!(accesses(&spec("vma-fault", "6.15", 2)).unwrap(), expected);
}

/// Nanoseconds per fault of `program` on `machine`, over a few seeds.
fn simulated<B: Blueprint + Clone>(machine: &Machine, program: &B) -> f64 {
    let logarithms = (0..6).map(|seed| {
        let spec = run::SampleSpec::new(program.clone(), Placement::Compact, seed, 300);
        let sample = run::run(machine, &spec).unwrap();
        Totals::of(&sample.threads).ns_per_fault.ln()
    });
    (logarithms.sum::<f64>() / 6.0).exp()
}

#[test]
fn the_case_of_the_fault_path_takes_the_simulated_time_of_the_compiled_path() {
    let layout = VmaLayout::parse("embedded-refcount-192").unwrap();
    // Machines without a cost of branches.
    for name in ["broadwell-ep", "skylake-sp"] {
        let machine = Machine::load(name).unwrap();
        for (threads, within) in [(1, 0.0001), (8, 0.01)] {
            let compiled = fault::Spec::new(layout, BuiltIn::OneVma, threads);
            let compiled = simulated(&machine, &compiled);
            let case = simulated(&machine, &spec("vma-fault", "6.15", threads));
            let off = case / compiled - 1.0;
            assert!(off.abs() <= within, "{name}, {threads} threads: {off:+.4}");
        }
    }
}

#[test]
fn every_built_in_case_runs_on_every_memory_that_its_layouts_ask_for() {
    let machine = Machine::load("skylake-sp").unwrap();
    for name in Case::names() {
        let case = Case::load(name).unwrap();
        for layout in &case.layouts {
            let threads = case.least_threads().max(2);
            let spec = StepsSpec {
                first_slot: 1,
                ..spec(name, &layout.name, threads)
            };
            let sample = run::SampleSpec {
                check: true,
                ..run::SampleSpec::new(spec, Placement::Compact, 1, 40)
            };
            let run = run::run(&machine, &sample).unwrap();
            let idle = run.threads.iter().any(|thread| thread.faults == 0);
            assert!(!idle, "{name}, {}: a thread does nothing", layout.name);
        }
    }
}

#[test]
fn a_thread_that_polls_takes_the_lock_when_it_is_given_back() {
    // 96 threads on 48 cores: siblings poll different lines of the queue.
    let machine = Machine::load("skylake-sp").unwrap();
    for seed in 0..4 {
        let program = spec("percpu_counter", "batch", 96);
        let spec = run::SampleSpec::new(program, Placement::Compact, seed, 20);
        let run = run::run(&machine, &spec).unwrap();
        assert!(run.threads.iter().all(|thread| thread.faults > 0));
    }
}

#[test]
fn a_pass_without_an_access_takes_time_and_ends() {
    let machine = Machine::load("zen4").unwrap();
    for steps in ["", "{ work = \"0ns\" }", "{ work = \"5ns\" }"] {
        let text = format!(
            "case = 1\nstruct = \"s\"\n[[layout]]\nname = \"a\"\nsize = 64\nfields = {{ f = [0, 8] }}\n\
             [[role]]\nname = \"idle\"\nthreads = \"rest\"\nsteps = [{steps}]\n"
        );
        let Ok(case) = Case::parse("idle", &text) else {
            continue;
        };
        let program = StepsSpec {
            case: Arc::new(case),
            layout: 0,
            threads: 2,
            first_slot: 0,
            seed: 1,
        };
        let spec = run::SampleSpec::new(program, Placement::Compact, 1, 100);
        let run = run::run(&machine, &spec).unwrap();
        assert!(
            run.threads.iter().all(|thread| thread.faults > 0),
            "{steps}"
        );
    }
}
