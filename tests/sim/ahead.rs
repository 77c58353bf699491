//! What a core that runs ahead of its misses may change, and what it may not.

use super::{Ways, ZEN4, machine, run};
use hitm::sim::coherence::Coherence;
use hitm::sim::machine::{CacheSpec, OutOfOrder};
use hitm::sim::request::{Origin, Transaction, Want, words};
use hitm::sim::{Counts, Machine, Picos, SimMemory};
use hitm::space::PAGE;
use hitm::space::arena::Arena;
use hitm::space::memory::{Addr, Memory};
use std::rc::Rc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

const LINE: usize = 64;
/// More than the caches of [`small`] hold.
const LINES: usize = 24;

/// A Zen 4 whose core runs ahead of so many misses, with caches of 16 lines.
fn small(at_once: Option<usize>) -> Machine {
    let mut machine = machine("zen4").without_prefetchers();
    machine.out_of_order = at_once.map(|misses_at_once| OutOfOrder {
        misses_at_once,
        ..ZEN4
    });
    let ways = 4;
    machine.l1 = CacheSpec {
        sets: 1,
        ways,
        ..machine.l1
    };
    machine.l2 = CacheSpec {
        sets: 4,
        ways,
        ..machine.l2
    };
    machine
}

/// What a program of one thread counts, and how long it takes.
fn alone(machine: Machine, program: fn(&SimMemory<'_>, Addr)) -> (Counts, Picos) {
    let mut arena = Arena::new(PAGE).unwrap();
    let page = arena.alloc(PAGE, PAGE);
    let (counts, last, _) = run(machine, Rc::new(arena), &[0], 1, move |_, m| {
        program(m, page)
    });
    (counts, last)
}

/// Loads, additions and stores to ever the same lines.
fn rounds(m: &SimMemory<'_>, page: Addr) {
    for _ in 0..25 {
        for line in 0..LINES {
            let word = page.at(line * LINE);
            match line % 3 {
                0 => {
                    m.load::<u64>(word, Relaxed);
                }
                1 => {
                    m.fetch_add(word, 1u64, Relaxed);
                }
                _ => m.store(word, 1u64, Relaxed),
            }
        }
    }
}

/// The same by loads alone: each of a pointer to the next, or each by itself.
fn loads(m: &SimMemory<'_>, page: Addr, depend: bool) {
    for line in 0..LINES {
        let next = page.at((line + 1) % LINES * LINE);
        // A value that points to the next line would tie the loads together.
        let value = if depend { next.0 } else { 1 };
        m.store(page.at(line * LINE), value, Relaxed);
    }
    // Loads would be answered by the store buffer.
    m.fence(SeqCst);
    let mut at = page;
    for turn in 0..600 {
        let next = Addr(m.load(at, Relaxed));
        at = if depend {
            next
        } else {
            page.at(turn % LINES * LINE)
        };
    }
}

#[test]
fn a_line_asked_for_ahead_is_no_access_of_the_program() {
    let (in_order, _) = alone(small(None), rounds);
    assert_eq!(in_order.accesses, 600);
    for at_once in [1, 2, 14, 64] {
        let (out_of_order, _) = alone(small(Some(at_once)), rounds);
        assert_eq!(out_of_order.accesses, 600, "{at_once} at once");
    }
}

#[test]
fn misses_are_under_way_at_once_unless_each_waits_for_the_pointer_before() {
    let time = |at_once, program| alone(small(Some(at_once)), program).1;
    let apart: fn(&SimMemory<'_>, Addr) = |m, page| loads(m, page, false);
    let chained: fn(&SimMemory<'_>, Addr) = |m, page| loads(m, page, true);
    // Half of what is asked for leaves the small caches again before it is used.
    assert!(3 * time(14, apart) < 2 * time(1, apart));
    assert_eq!(time(14, chained), time(1, chained));
}

/// The other thread takes the lines all the while: what was asked for ahead may be lost again
/// before it is used, and is on its way when the program ends or stores to it.
#[test]
fn what_is_asked_for_ahead_may_be_taken_away_stored_to_or_never_used() {
    for (cpus, ways) in [([0, 1], Ways::OutOfOrder), ([0, 1], Ways::Both)]
        .into_iter()
        .chain([([0, 14], Ways::Both), ([0, 28], Ways::Both)])
    {
        for length in 1..40 {
            let machine = ways.of(machine("broadwell-ep")).without_prefetchers();
            let mut arena = Arena::new(PAGE).unwrap();
            let page = arena.alloc(PAGE, PAGE);
            let arena = Rc::new(arena);
            let (counts, ..) = run(machine, arena.clone(), &cpus, 1, move |thread, m| {
                for i in 0..4 * length {
                    let line = page.at((i + 3 * thread) % 7 * LINE);
                    // What is loaded in one round is added to, or stored to, in the next.
                    match (i / 7 + i) % 3 {
                        0 => drop(m.load::<u64>(line, Relaxed)),
                        1 => drop(m.fetch_add(line, 1u64, Relaxed)),
                        _ => m.store(line.at(8 + 8 * thread), i as u64, Relaxed),
                    }
                }
            });
            assert_eq!(counts.accesses, 8 * length as u64, "{cpus:?}, {ways:?}");
        }
    }
}

#[test]
fn a_reader_takes_a_modified_line_with_ownership_and_a_clean_one_without() {
    let machine = Rc::new(Ways::Migratory.of(machine("broadwell-ep")));
    let mut coherence = Coherence::new(machine, 3, 1, true);
    let touched = words(0, 8);
    let ask = |c: &mut Coherence, core, want| {
        c.transact(Transaction {
            core: core as u16,
            line: 0,
            want,
            origin: Origin::Demand,
            words: touched,
        })
    };
    let read = |c: &mut Coherence, core| ask(c, core, Want::Read);
    read(&mut coherence, 0);
    assert!(coherence.holds(0, 0, true), "alone");
    read(&mut coherence, 1);
    assert!(
        coherence.holds(0, 0, false) && !coherence.holds(1, 0, true),
        "clean"
    );
    ask(&mut coherence, 0, Want::Own);
    read(&mut coherence, 1);
    assert!(
        coherence.holds(1, 0, true) && !coherence.holds(0, 0, false),
        "modified"
    );
    assert_eq!(coherence.counts.invalidations, 2);
    assert_eq!(coherence.counts.hitm_local, 1);
}
