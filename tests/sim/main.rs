//! What the simulator promises about its protocol, whatever the machine.

mod ahead;
mod contention;
mod explained;
mod programs;
mod protocol;

use hitm::sim::coherence::Coherence;
use hitm::sim::explain::Ledger;
use hitm::sim::machine::{AdjacentLine, OutOfOrder, picos};
use hitm::sim::request::{Origin, Transaction, Want, words};
use hitm::sim::{Counts, Machine, Picos, SimMemory, Simulation};
use hitm::space::PAGE;
use hitm::space::arena::Arena;
use hitm::space::memory::Memory;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

fn machine(name: &str) -> Machine {
    Machine::load(name).unwrap()
}

/// A core that executes out of order: the constants of a Zen 4, as a calibration writes them.
const ZEN4: OutOfOrder = OutOfOrder {
    window: 15_000,
    retire: 81,
    node: 200,
    step: 100,
    branch_miss: 5300,
    misses_at_once: 14,
};

/// What a machine's cores and readers do, whatever its file says.
#[derive(Clone, Copy, Debug)]
enum Ways {
    AsFiled,
    /// Readers take modified lines with ownership, and half of a transfer is the request's way.
    Migratory,
    OutOfOrder,
    Both,
}

impl Ways {
    const ALL: [Ways; 4] = [Ways::AsFiled, Ways::Migratory, Ways::OutOfOrder, Ways::Both];

    fn of(self, mut machine: Machine) -> Machine {
        if let Ways::Migratory | Ways::Both = self {
            machine.transfers.migratory = true;
            machine.transfers.request_share = 0.5;
        }
        if let Ways::OutOfOrder | Ways::Both = self {
            machine.issue = picos(0.141);
            machine.out_of_order = Some(ZEN4);
        }
        machine
    }
}

/// Run one program a thread, every access checked and every program to its end; the counts, the
/// time of the last event and who took what from whom.
fn run<P: Fn(usize, &SimMemory<'_>) + Clone + 'static>(
    machine: Machine,
    arena: Rc<Arena>,
    cpus: &[usize],
    seed: u64,
    program: P,
) -> (Counts, Picos, Ledger) {
    let mut simulation = Simulation::new(Rc::new(machine), arena, cpus, seed, true);
    simulation.state().coherence.ledger = Some(Ledger::default());
    let ended = Rc::new(Cell::new(0));
    for thread in 0..cpus.len() {
        let (program, ended) = (program.clone(), ended.clone());
        simulation.spawn(move |m| {
            program(thread, &m);
            ended.set(ended.get() + 1);
        });
    }
    simulation.run_to_end();
    assert_eq!(ended.get(), cpus.len(), "a program waits for ever");
    let mut state = simulation.state();
    let last = (0..cpus.len()).map(|thread| state.clock(thread)).max();
    let ledger = state.coherence.ledger.take().unwrap();
    (state.coherence.counts, last.unwrap(), ledger)
}

/// Every interleaving of three cores that each read, write, read and write: two lines of a pair.
#[test]
fn every_interleaving_of_a_small_program_keeps_the_invariants() {
    const PROGRAM: [(u32, Want); 4] = [
        (0, Want::Read),
        (0, Want::Own),
        (1, Want::Own),
        (0, Want::Read),
    ];
    fn go(done: [usize; 3], order: &mut Vec<usize>, machine: &Rc<Machine>, explored: &mut u32) {
        if order.len() == 3 * PROGRAM.len() {
            let mut coherence = Coherence::new(machine.clone(), 3, 2, true);
            let mut at = [0; 3];
            for &core in order.iter() {
                let (line, want) = PROGRAM[at[core]];
                at[core] += 1;
                let (touched, own) = (words(4 * core, 4), want == Want::Own);
                if coherence.l1_hit(core, line, touched, own).is_none()
                    && coherence.l2_hit(core, line, touched, own).is_none()
                {
                    coherence.transact(Transaction {
                        core: core as u16,
                        line,
                        want,
                        origin: Origin::Demand,
                        words: touched,
                    });
                }
            }
            *explored += 1;
            return;
        }
        for core in 0..3 {
            if done[core] < PROGRAM.len() {
                let mut next = done;
                next[core] += 1;
                order.push(core);
                go(next, order, machine, explored);
                order.pop();
            }
        }
    }
    for (name, ways) in [
        ("plain-mesi", Ways::AsFiled),
        ("broadwell-ep", Ways::AsFiled),
        ("broadwell-ep", Ways::Migratory),
        ("zen4", Ways::Migratory),
    ] {
        let machine = Rc::new(ways.of(machine(name)));
        let mut explored = 0;
        go([0; 3], &mut Vec::new(), &machine, &mut explored);
        assert_eq!(explored, 34_650, "12! / (4!)^3");
    }
}

fn contended(machine: Machine, cores: usize, seed: u64) -> (Counts, Picos) {
    let mut arena = Arena::new(PAGE).unwrap();
    let word = arena.alloc(64, 64);
    let cpus: Vec<usize> = (0..cores).collect();
    let (counts, last, _) = run(machine, Rc::new(arena), &cpus, seed, move |_, m| {
        for _ in 0..300 {
            m.fetch_add(word, 1u64, Relaxed);
            m.compute(20);
        }
    });
    (counts, last)
}

#[test]
fn the_same_seed_gives_the_same_run_wherever_the_host_puts_the_memory() {
    for ways in Ways::ALL {
        let machine = || ways.of(machine("broadwell-ep"));
        let _moves_the_next_arena = Arena::new(3 * PAGE).unwrap();
        let first = contended(machine(), 8, 5);
        let _moves_it_again = Arena::new(5 * PAGE).unwrap();
        assert_eq!(first, contended(machine(), 8, 5), "{ways:?}");
        assert_ne!(first.1, contended(machine(), 8, 6).1, "{ways:?}");
    }
}

#[test]
fn private_lines_cause_no_coherence_traffic_on_any_machine_with_every_prefetcher_on() {
    let names = Machine::names().flat_map(|name| Ways::ALL.map(|ways| (name, ways)));
    for (name, ways) in names {
        let mut machine = ways.of(machine(name));
        machine.prefetchers.adjacent_line = Some(AdjacentLine {
            ownership: true,
            share: 1.0,
        });
        machine.prefetchers.up_down = Some(1.0);
        machine.prefetchers.next_line = Some(1.0);
        machine.prefetchers.streamer = Some(4);
        let mut arena = Arena::new(4 * PAGE).unwrap();
        let pages = arena.alloc(4 * PAGE, PAGE);
        let (counts, ..) = run(
            machine,
            Rc::new(arena),
            &[0, 1, 2, 3],
            1,
            move |thread, m| {
                let page = pages.at(thread * PAGE);
                for i in 0..200usize {
                    m.fetch_add(page.at((i * 72 % PAGE) & !7), 1u64, Relaxed);
                    m.load::<u64>(page.at((i * 200 % PAGE) & !7), Relaxed);
                }
            },
        );
        for (role, count) in counts.iter() {
            let of_sharing = [
                "hitm_local",
                "hitm_remote",
                "rfo_hitm",
                "prefetch_rfo_hitm",
                "prefetch_read_hitm",
                "invalidations",
                "upgrades",
                "true_sharing",
                "false_sharing",
                "pair_sharing",
            ];
            // An upgrade of a line that only its own prefetch brought costs nobody anything.
            if of_sharing.contains(&role) && role != "upgrades" {
                assert_eq!(count, 0, "{name}, {ways:?}: {role}");
            }
        }
    }
}

/// Thread 0 takes and drops a lock at line 0; thread 1 works with thread 2 on a contended line at
/// `neighbour`. How often the lock was taken away, and how often by a prefetch.
fn lock_lost(ways: Ways, neighbour: usize) -> [u64; 2] {
    let mut machine = ways.of(machine("broadwell-ep"));
    machine.prefetchers.adjacent_line = Some(AdjacentLine {
        ownership: true,
        share: 1.0,
    });
    let mut arena = Arena::new(PAGE).unwrap();
    let base = arena.alloc(512, 512);
    let (_, _, ledger) = run(machine, Rc::new(arena), &[0, 1, 2], 1, move |thread, m| {
        let word = if thread == 0 {
            base
        } else {
            base.at(neighbour)
        };
        for _ in 0..200 {
            m.fetch_add(word, 1u64, Relaxed);
            m.compute(50);
        }
    });
    let lost = |by_prefetch: bool| {
        let of_lock = ledger
            .takings
            .iter()
            .filter(|(taking, _)| taking.line == 0 && (!by_prefetch || taking.word.is_none()));
        of_lock.map(|(_, count)| *count).sum()
    };
    [lost(false), lost(true)]
}

#[test]
fn a_lock_in_its_own_pair_is_never_fetched_by_its_neighbour() {
    for ways in Ways::ALL {
        assert_eq!(lock_lost(ways, 128), [0, 0], "{ways:?}");
        let [_, by_prefetch] = lock_lost(ways, 64);
        assert!(by_prefetch > 0, "the same pair, {ways:?}");
    }
}

/// Nanoseconds an operation takes each of `cores` threads.
fn ns_per_op(machine: &Machine, cpus: &[usize], apart: usize, work: u32) -> f64 {
    const OPS: u64 = 400;
    let mut arena = Arena::new(PAGE).unwrap();
    let words = arena.alloc(PAGE, PAGE);
    let (_, last, _) = run(
        machine.clone(),
        Rc::new(arena),
        cpus,
        1,
        move |thread, m| {
            for _ in 0..OPS {
                if work > 0 {
                    m.compute(work);
                }
                m.fetch_add(words.at(thread * apart), 1u64, Relaxed);
            }
        },
    );
    last as f64 / 1000.0 / OPS as f64
}

/// concurrency-hierarchy-bench (1b3f7f8, public domain), Skylake client, medians of 15:
/// `atomic add` and `cas multi` on 1 to 4 cores. Calibrated: the single-core atomic (7.0 ns, in
/// the machine file) and the instructions around a single-core CAS (5 ns, here).
#[test]
fn atomics_on_skylake_cost_what_was_published_within_15_percent() {
    let machine = machine("skylake-client");
    for (cores, contended, padded) in [
        (1, 7.0, 12.0),
        (2, 44.1, 12.0),
        (3, 70.0, 12.0),
        (4, 96.4, 12.0),
    ] {
        let cpus: Vec<usize> = (0..cores).collect();
        for (published, simulated) in [
            (contended, ns_per_op(&machine, &cpus, 0, 0)),
            (padded, ns_per_op(&machine, &cpus, 64, 5)),
        ] {
            let error = simulated / published - 1.0;
            assert!(
                error.abs() <= 0.15,
                "{cores} cores: {simulated:.1} ns simulated, {published} ns published"
            );
        }
    }
}

/// One-way latency of a line that two threads pass to and fro by compare-and-exchange.
fn ping_pong(machine: &Machine, cpus: &[usize]) -> f64 {
    const ROUNDS: u64 = 100;
    let mut arena = Arena::new(PAGE).unwrap();
    let word = arena.alloc(64, 64);
    let (_, last, _) = run(
        machine.clone(),
        Rc::new(arena),
        cpus,
        1,
        move |thread, m| {
            for round in 0..ROUNDS {
                let mine = 2 * round + thread as u64;
                while m.compare_exchange(word, mine, mine + 1, Relaxed).is_err() {}
            }
        },
    );
    last as f64 / 1000.0 / (2 * ROUNDS) as f64
}

/// Medians of core-to-core-latency (96a943a), measured by CAS as here.
#[test]
fn a_ping_pong_takes_what_the_measured_matrices_say_within_15_percent() {
    for (name, cpus, measured) in [
        ("broadwell-ep", [0, 1], 43.5),
        ("broadwell-ep", [0, 14], 118.0),
        ("skylake-client", [0, 1], 19.5),
        ("skylake-sp", [0, 1], 46.6),
        ("skylake-sp", [0, 24], 134.0),
        ("icelake-sp", [0, 1], 51.3),
        ("icelake-sp", [0, 32], 108.0),
        ("zen2", [0, 1], 25.3),
        ("zen2", [0, 4], 158.5),
        ("zen2", [0, 64], 266.6),
        ("zen3", [0, 1], 22.7),
        ("zen3", [0, 8], 115.9),
        ("zen3", [0, 64], 197.0),
        ("zen4", [0, 1], 23.0),
        ("zen4", [0, 8], 100.0),
        ("graviton2", [0, 1], 47.2),
    ] {
        let simulated = ping_pong(&machine(name), &cpus);
        assert!(
            (simulated / measured - 1.0).abs() <= 0.15,
            "{name} {cpus:?}: {simulated:.1} ns simulated, {measured} ns measured"
        );
    }
}
