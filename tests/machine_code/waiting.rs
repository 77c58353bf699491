//! Threads that wait: for locks, for values, for writers.

use crate::{CALLS, NODES, Ready, arena, draws, frame, made, memory, waiter};
use hitm::case::LockKind;
use hitm::program::steps::lock::Waiter;
use hitm::program::steps::lowered::{At, Base, Frame, Instr, Width};
use hitm::program::steps::machine_code::{Context, Executable, synchronize};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Adds under a lock, by two threads that find it taken now and then.
fn contended(kind: LockKind) {
    let lock = arena(NODES + 2048);
    let counter = arena(NODES + 2560);
    let instrs = [
        Instr::Lock { at: lock, kind },
        Instr::Bump {
            at: counter,
            width: Width::B8,
        },
        Instr::Unlock { at: lock, kind },
    ];
    let arena = memory();
    let mut executable = Executable::new();
    executable.fill(&[made(&instrs)], 0).unwrap();
    let waiter = |thread| Waiter {
        thread,
        ..waiter(&arena)
    };
    let passes = 20_000;
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (executable, arena) = (&executable, &arena);
            let mut context = Context::new(frame(), waiter(thread), &draws());
            scope.spawn(move || {
                synchronize();
                // SAFETY: the pass keeps to the arena.
                unsafe { executable.run(0, &mut context, arena.base(), passes) };
            });
        }
    });
    let at = |at: At| arena.base().at(at.offset as usize);
    assert_eq!(arena.read::<u64>(at(counter)), 2 * u64::from(passes));
    let held = arena.read::<u64>(at(lock));
    match kind {
        LockKind::Ticket => assert_eq!(held & 0xffff, held >> 16),
        _ => assert_eq!(held, 0),
    }
}

#[test]
fn no_two_threads_are_inside_a_lock() {
    let kinds = [
        LockKind::Tas,
        LockKind::Ticket,
        LockKind::Queued,
        LockKind::RwWrite,
    ];
    kinds.into_iter().for_each(contended);
}

/// Starts code at `instrs` with `set` in the lock word, and puts the lock back later.
fn held(kind: LockKind, set: u64, free: u64) {
    let word = NODES + 2048;
    let lock = arena(word);
    let arena = memory();
    let at = arena.base().at(word as usize);
    arena.write(at, set);
    // What slots and registers hold is the same after a wait as before it.
    let mut instrs: Vec<Instr> = (0..6u8)
        .map(|to| Instr::SetPointer {
            offset: u32::from(to) * 8,
            to,
        })
        .collect();
    instrs.push(Instr::Lock { at: lock, kind });
    let store = |slot| Instr::Store {
        at: At {
            base: Base::Slot(slot),
            offset: 0,
        },
        width: Width::B8,
    };
    instrs.extend((0..6).map(store));
    instrs.push(Instr::Unlock { at: lock, kind });
    let mut ready = Ready::new(made(&instrs), &arena, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            arena.write(at, free);
        });
        ready.run(&arena, 1);
    });
    let stored = (0..6).map(|n| arena.read::<u64>(arena.base().at(n * 8)));
    assert!(stored.eq(frame().fresh + 1..frame().fresh + 7), "{kind:?}");
    assert_eq!(ready.context.frame.drawn, frame().drawn);
}

#[test]
fn waiting_for_a_lock_loses_nothing() {
    let before = CALLS.each_ref().map(|calls| calls.load(Ordering::Relaxed));
    held(LockKind::Tas, 1, 0);
    held(LockKind::Ticket, 1 << 16, 1 << 17 | 1);
    held(LockKind::Queued, 1, 0);
    held(LockKind::RwRead, 1, 0);
    held(LockKind::RwWrite, 1 << 16, 0);
    for (calls, before) in CALLS.iter().zip(before) {
        assert!(calls.load(Ordering::Relaxed) > before);
    }
}

#[test]
fn waiting_for_a_value_ends_with_the_window_and_what_is_left_is_not_done() {
    let arena = memory();
    let (at, width) = (self::arena(NODES), Width::B4);
    let store = Instr::Store {
        at: self::arena(0),
        width: Width::B8,
    };
    let wait = || Instr::Wait {
        at,
        width,
        seen: 50,
    };
    let mut ready = Ready::new(made(&[store, wait(), wait()]), &arena, 0);
    ready
        .context
        .until(Instant::now() + Duration::from_millis(5));
    ready.run(&arena, 100);
    assert_eq!(ready.context.take_left(), 99);
    // The pass it ended in is done to its end; the time is still over.
    ready.run(&arena, 10);
    assert_eq!(ready.context.take_left(), 9);
    assert_eq!(ready.context.frame.fresh, frame().fresh + 2);
    // What comes in time is taken, and seen once.
    arena.write(arena.base().at(NODES as usize), 7u32);
    ready
        .context
        .until(Instant::now() + Duration::from_millis(5));
    ready.run(&arena, 10);
    assert_eq!(ready.context.take_left(), 9);
    assert_eq!(ready.context.frame.counters[50], 7);
}

#[test]
fn a_reader_begins_again_where_a_writer_was() {
    let arena = memory();
    let (at, width) = (self::arena(NODES + 2816), Width::B4);
    let pair = [self::arena(NODES + 2560), self::arena(NODES + 2688)];
    let both = |make: fn(At) -> Instr| pair.map(make).to_vec();
    let write = Instr::SeqWrite {
        at,
        width,
        body: both(|at| Instr::Bump {
            at,
            width: Width::B8,
        }),
    };
    let read = Instr::SeqRead {
        at,
        width,
        saved: 5,
        body: both(|at| Instr::Load {
            at,
            width: Width::B8,
        }),
    };
    let mut executable = Executable::new();
    executable
        .fill(&[made(&[write]), made(&[read])], 0)
        .unwrap();
    let passes = 200_000;
    let ends: Vec<Frame> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let (executable, arena) = (&executable, &arena);
                let mut context = Context::new(frame(), waiter(arena), &draws());
                scope.spawn(move || {
                    synchronize();
                    // SAFETY: the passes keep to the arena.
                    unsafe { executable.run(thread, &mut context, arena.base(), passes) };
                    context.frame.clone()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let word = |at: At| arena.read::<u64>(arena.base().at(at.offset as usize));
    assert_eq!(pair.map(word), [u64::from(passes); 2]);
    assert_eq!(ends[0].retries, 0);
}
