//! What no program may break, whatever it does and whatever machine it runs on.

use super::programs::{Shared, step};
use super::{Ways, machine, run};
use hitm::sim::Machine;
use hitm::sim::machine::CacheSpec;
use hitm::space::PAGE;
use hitm::space::arena::Arena;
use hitm::space::memory::Memory;
use proptest::prelude::*;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Caches so small that what a program touches leaves them time and again.
fn small(mut machine: Machine) -> Machine {
    let (sets, ways) = (1, 2);
    machine.l1 = CacheSpec {
        sets,
        ways,
        ..machine.l1
    };
    machine.l2 = CacheSpec {
        sets: 2,
        ways,
        ..machine.l2
    };
    machine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// The debug mode asserts on every access: one writer or many readers, the value of the last
    /// write, and no access after a later one.
    #[test]
    fn no_program_breaks_the_protocol_or_loses_an_update(
        name in prop::sample::select(Machine::names().collect::<Vec<_>>()),
        ways in prop::sample::select(Ways::ALL.to_vec()),
        is_small in any::<bool>(),
        programs in prop::collection::vec(prop::collection::vec(step(), 1..60), 1..=8),
        seed in any::<u64>(),
    ) {
        let machine = ways.of(machine(name));
        let machine = if is_small { small(machine) } else { machine };
        let threads = programs.len();
        let mut cpus: Vec<usize> = (0..threads).collect();
        if machine.shape.threads_per_core == 2 && (2..=machine.shape.cores()).contains(&threads) {
            // The last thread is the first one's sibling.
            cpus[threads - 1] = machine.shape.cores();
        }
        let programs = Rc::new(programs);
        let runs = || {
            let shared = Shared::new();
            let (work, programs) = (shared.clone(), programs.clone());
            let arena = shared.arena.clone();
            let (counts, last, _) = run(machine.clone(), arena, &cpus, seed, move |thread, m| {
                work.run(thread, m, &programs[thread]);
            });
            shared.check();
            (counts, last, shared.account.accesses.get())
        };
        let (counts, last, accesses) = runs();
        prop_assert_eq!(counts.accesses, accesses, "each access is counted once");
        prop_assert_eq!((counts, last, accesses), runs(), "the same seed, the same run");
    }
}

/// Both siblings of a core try to take a lock time and again while its holder, on another core,
/// wants to drop it: the line must go there.
#[test]
fn siblings_that_spin_on_a_lock_do_not_keep_its_line_for_ever() {
    for (name, sibling) in [("broadwell-ep", 28), ("zen4", 192)] {
        for ways in Ways::ALL {
            let mut arena = Arena::new(PAGE).unwrap();
            let lock = arena.alloc(64, 64);
            let cpus = [1, 0, sibling];
            run(
                ways.of(machine(name)),
                Rc::new(arena),
                &cpus,
                1,
                move |thread, m| {
                    let take = || m.compare_exchange(lock, 0u32, 1, Acquire).is_ok();
                    if thread == 0 {
                        while !take() {}
                        m.compute(2000);
                        m.store(lock, 0u32, Release);
                        return;
                    }
                    m.compute(500);
                    let mut tries = 0;
                    while !take() {
                        m.relax();
                        tries += 1;
                        assert!(
                            tries < 10_000,
                            "{name}, {ways:?}: the lock is never dropped"
                        );
                    }
                    m.store(lock, 0u32, Release);
                },
            );
        }
    }
}
