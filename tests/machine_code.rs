//! Machine code made of passes, held against the interpreter, and read back.
#![cfg(target_arch = "x86_64")]

use hitm::backend::native::loaded::{Load, Loaded};
use hitm::backend::native::made::Maker;
use hitm::backend::native::memory::NativeMemory;
use hitm::case::{Case, LockKind};
use hitm::program::Blueprint;
use hitm::program::steps::StepsSpec;
use hitm::program::steps::interpret::{Interpreter, StepsThread};
use hitm::program::steps::lock::{self, Waiter};
use hitm::program::steps::lowered::{At, Base, DRAWS, Frame, Instr, Pass, Width};
use hitm::program::steps::machine_code::{
    Code, Context, Executable, SlowPaths, Surroundings, assemble, listing, synchronize,
};
use hitm::space::arena::Arena;
use hitm::space::memory::Addr;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Words lie in the first page, pointers in the second, nodes of locks in the third.
const POINTERS: u32 = 4096;
const NODES: u32 = 8192;
const BYTES: usize = 3 * 4096;

static CALLS: [AtomicUsize; 5] = [const { AtomicUsize::new(0) }; 5];

/// Slow paths over memory of which addresses are valid anyhow.
fn slow() -> SlowPaths {
    fn memory() -> NativeMemory<'static> {
        static ARENA: Mutex<Option<&'static Arena>> = Mutex::new(None);
        let mut arena = ARENA.lock().unwrap();
        let arena = arena.get_or_insert_with(|| Box::leak(Box::new(Arena::new(1).unwrap())));
        // SAFETY: code is only given addresses of an arena that is there as long as it runs.
        unsafe { NativeMemory::new(arena) }
    }
    fn called(number: usize) {
        CALLS[number].fetch_add(1, Ordering::Relaxed);
    }
    extern "C" fn tas(at: Addr) {
        called(0);
        lock::tas_slow(&memory(), at);
    }
    extern "C" fn ticket(at: Addr, ticket: u32) {
        called(1);
        lock::ticket_slow(&memory(), at, ticket);
    }
    extern "C" fn queued(at: Addr, nodes: Addr, thread: usize) {
        called(2);
        lock::queued_slow(&memory(), at, Waiter { nodes, thread });
    }
    extern "C" fn read(at: Addr) {
        called(3);
        lock::read_slow(&memory(), at);
    }
    extern "C" fn write(at: Addr) {
        called(4);
        lock::write_slow(&memory(), at);
    }
    SlowPaths {
        tas,
        ticket,
        queued,
        read,
        write,
    }
}

fn surroundings(tables: &[Vec<u32>]) -> Surroundings<'_> {
    Surroundings {
        tables,
        slow: slow(),
        turns_per_microsecond: 500,
    }
}

fn made(instrs: &[Instr]) -> Code {
    assemble(&pass(instrs), &surroundings(&[])).unwrap()
}

fn pass(instrs: &[Instr]) -> Pass {
    Pass {
        instrs: instrs.to_vec(),
        slots: 6,
        counters: vec![1; 64],
    }
}

fn arena(offset: u32) -> At {
    At {
        base: Base::Arena,
        offset,
    }
}

/// An arena in which every word has a value of its own and pointers lead to the first page.
fn memory() -> Arena {
    let mut arena = Arena::new(BYTES).unwrap();
    arena.alloc(BYTES, 4096);
    for word in 0..POINTERS / 8 {
        let value = u64::from(word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        arena.write(arena.base().at(word as usize * 8), value);
        let to = arena.base().at(value as usize % 256 * 8);
        arena.write(arena.base().at((POINTERS + word * 8) as usize), to.0);
    }
    arena
}

fn bytes(arena: &Arena) -> Vec<u64> {
    let base = arena.base();
    let word = |at: usize| {
        let value = arena.read::<u64>(base.at(at));
        // Two arenas lie at different places.
        match (base.0..base.0 + BYTES as u64).contains(&value) {
            true => value - base.0,
            false => value,
        }
    };
    (0..BYTES).step_by(8).map(word).collect()
}

fn waiter(arena: &Arena) -> Waiter {
    Waiter {
        nodes: arena.base().at(NODES as usize),
        thread: 3,
    }
}

fn draws() -> Vec<u32> {
    (0..DRAWS as u32)
        .map(|n| n.wrapping_mul(0x9e37_79b9).rotate_left(7))
        .collect()
}

fn frame() -> Frame {
    Frame {
        fresh: 0x0102_0304_0506_0708,
        drawn: DRAWS as u64 - 5,
        counters: std::array::from_fn(|n| if n < 48 { n as u64 % 7 + 1 } else { 0 }),
        ..Frame::default()
    }
}

/// A context, and code in memory that may be executed.
struct Ready {
    context: Box<Context>,
    executable: Executable,
}

impl Ready {
    fn new(code: Code, arena: &Arena, seed: u64) -> Ready {
        let mut executable = Executable::new();
        executable.fill(&[code], seed).unwrap();
        synchronize();
        Ready {
            context: Context::new(frame(), waiter(arena), &draws()),
            executable,
        }
    }

    fn run(&mut self, arena: &Arena, passes: u32) {
        // SAFETY: the passes of these tests keep to `arena`; see `synchronize` above.
        unsafe {
            self.executable
                .run(0, &mut self.context, arena.base(), passes)
        }
    }
}

/// Both do `passes` passes on equal memory.
fn compare(instrs: &[Instr], passes: u32, seed: u64) {
    let tables = vec![(0..256).map(|n| n * 8).collect(), vec![64, 1024]];
    let arenas = [memory(), memory()];

    // SAFETY: the instructions of these tests keep to the arena.
    let m = unsafe { NativeMemory::new(&arenas[0]) };
    let interpreter = Interpreter {
        m: &m,
        arena: arenas[0].base(),
        tables: &tables,
        waiter: waiter(&arenas[0]),
    };
    let mut thread = StepsThread::new(3, frame(), draws().into());
    for _ in 0..passes {
        interpreter.run(instrs, &mut thread);
    }

    let code = assemble(&pass(instrs), &surroundings(&tables)).unwrap();
    let text = listing(&code, |at| format!("{at:?}"));
    let mut ready = Ready::new(code, &arenas[1], seed);
    ready.run(&arenas[1], passes);

    let mut frames = [thread.frame, ready.context.frame.clone()];
    for counter in repeats(instrs) {
        // The interpreter counts elsewhere.
        frames
            .iter_mut()
            .for_each(|frame| frame.counters[counter] = 0);
    }
    let [interpreted, made] = frames.map(|frame| format!("{frame:?}"));
    assert_eq!(interpreted, made, "{text}");
    assert!(
        bytes(&arenas[0]) == bytes(&arenas[1]),
        "memory differs\n{text}"
    );
}

fn repeats(instrs: &[Instr]) -> Vec<usize> {
    let inside = |instr: &Instr| match instr {
        Instr::Repeat { counter, body, .. } => [vec![*counter], repeats(body)].concat(),
        Instr::Percpu { spill: body, .. }
        | Instr::Cas { then: body, .. }
        | Instr::SeqRead { body, .. }
        | Instr::SeqWrite { body, .. }
        | Instr::Every { body, .. } => repeats(body),
        Instr::Choose(lists) => lists.iter().flat_map(|(_, body)| repeats(body)).collect(),
        _ => Vec::new(),
    };
    instrs.iter().flat_map(inside).collect()
}

fn width() -> impl Strategy<Value = Width> {
    prop::sample::select(vec![Width::B1, Width::B2, Width::B4, Width::B8])
}

/// A word for accesses of any kind, from the arena or, where slots hold addresses of the first
/// quarter of it, from a slot.
fn word() -> impl Strategy<Value = (At, Width)> {
    (width(), 0..128u32, prop::option::weighted(0.5, 0..4u8)).prop_map(|(width, word, slot)| {
        let at = At {
            base: slot.map_or(Base::Arena, Base::Slot),
            offset: word * 8 + 8 - width.bytes() as u32,
        };
        (at, width)
    })
}

/// Slots 0 to 3 hold addresses; 4 and 5 belong to sequence counters.
fn one() -> impl Strategy<Value = Vec<Instr>> {
    let slot = || 0..4u8;
    prop_oneof![
        word().prop_map(|(at, width)| vec![Instr::Load { at, width }]),
        word().prop_map(|(at, width)| vec![Instr::Store { at, width }]),
        word().prop_map(|(at, width)| vec![Instr::Add { at, width }]),
        word().prop_map(|(at, width)| vec![Instr::Bump { at, width }]),
        (word(), any::<i64>(), 0..3u8).prop_map(|((at, width), add, how)| {
            let (add, held) = match how {
                0 => (1, 0),
                1 => (1 << 32, 0),
                _ => (add as u64, 0),
            };
            let (tries, then) = (Some(2), vec![]);
            vec![Instr::Cas {
                at,
                width,
                add,
                held,
                tries,
                then,
            }]
        }),
        (word(), any::<u64>(), prop::option::of(1..4u32)).prop_map(|((at, width), held, tries)| {
            // All tries are lost where the word has the bit; without an end they might never end.
            let held = held & (u64::MAX >> (64 - 8 * width.bytes()));
            let then = match tries {
                Some(2) => vec![Instr::Store { at, width }],
                _ => vec![],
            };
            let held = if tries.is_none() { 0 } else { held };
            vec![Instr::Cas {
                at,
                width,
                add: 1,
                held,
                tries,
                then,
            }]
        }),
        (slot(), 0..512u32).prop_map(|(to, word)| {
            vec![Instr::LoadPointer {
                at: arena(POINTERS + word * 8),
                to,
            }]
        }),
        (slot(), 0..256u32).prop_map(|(to, word)| {
            vec![Instr::SetPointer {
                offset: word * 8,
                to,
            }]
        }),
        (slot(), slot()).prop_map(|(from, to)| vec![Instr::CopyPointer { from, to }]),
        (slot(), 0..2usize).prop_map(|(to, table)| vec![Instr::PickRandom { table, to }]),
        (slot(), 1..9u32, 1..5u32).prop_map(|(to, count, stride)| {
            let (at, stride) = (arena(512), stride * 8);
            vec![Instr::RandomElement {
                at,
                count,
                stride,
                to,
            }]
        }),
        (0..400u32).prop_map(|nanos| vec![Instr::Work { nanos }]),
        (0..8usize).prop_map(|role| vec![Instr::Passed(role)]),
        // Locks have words of their own that begin as 0.
        (0..5usize).prop_map(|kind| {
            let kinds = [
                LockKind::Tas,
                LockKind::Ticket,
                LockKind::Queued,
                LockKind::RwRead,
                LockKind::RwWrite,
            ];
            let (at, kind) = (arena(NODES + 2048 + kind as u32 * 8), kinds[kind]);
            vec![Instr::Lock { at, kind }, Instr::Unlock { at, kind }]
        }),
        (0..8u32, any::<bool>()).prop_map(|(word, short)| {
            // The bump makes it differ from what was seen.
            let (at, seen) = (arena(NODES + 3072 + word * 8), 48 + word as usize);
            let width = if short { Width::B4 } else { Width::B8 };
            vec![Instr::Bump { at, width }, Instr::Wait { at, width, seen }]
        }),
    ]
}

fn body() -> impl Strategy<Value = Vec<Instr>> {
    let leaf = prop::collection::vec(one(), 1..6).prop_map(|lists| lists.concat());
    leaf.prop_recursive(3, 24, 4, |inner| {
        let part = prop_oneof![
            (0..16u32, 1..6u64, inner.clone()).prop_map(|(word, batch, spill)| {
                vec![Instr::Percpu {
                    at: arena(NODES + 2560 + word * 8),
                    batch,
                    spill,
                }]
            }),
            (0..16usize, 1..6u64, inner.clone()).prop_map(|(counter, passes, body)| vec![
                Instr::Every {
                    counter,
                    passes,
                    body
                }
            ]),
            (1..4u64, inner.clone(), inner.clone()).prop_map(|(times, body, more)| {
                vec![Instr::Repeat {
                    times,
                    counter: 16,
                    body: without_loops(body),
                }]
                .into_iter()
                .chain(more)
                .collect()
            }),
            (any::<u32>(), inner.clone(), inner.clone()).prop_map(|(limit, one, two)| vec![
                Instr::Choose(vec![
                    (limit.into(), one.clone()),
                    (1 << 32, two),
                    (1 << 32, one),
                ])
            ]),
            (0..8u32, 4..6u8, inner.clone(), any::<bool>()).prop_map(
                |(word, saved, body, read)| {
                    let at = arena(NODES + 2816 + word * 8);
                    let width = Width::B4;
                    match read {
                        // A reader may not be inside of a writer: it would wait for itself.
                        true => vec![Instr::SeqRead {
                            at,
                            width,
                            saved,
                            body: plain(body),
                        }],
                        false => vec![Instr::SeqWrite {
                            at,
                            width,
                            body: plain(body),
                        }],
                    }
                }
            ),
        ];
        prop::collection::vec(part, 1..4).prop_map(|lists| lists.concat())
    })
}

fn without_loops(body: Vec<Instr>) -> Vec<Instr> {
    match repeats(&body).is_empty() {
        true => body,
        false => vec![Instr::Load {
            at: arena(8),
            width: Width::B8,
        }],
    }
}

/// Without sequence counters, here or inside.
fn plain(body: Vec<Instr>) -> Vec<Instr> {
    let text = format!("{body:?}");
    match text.contains("Seq") {
        true => vec![Instr::Store {
            at: arena(8),
            width: Width::B8,
        }],
        false => body,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn machine_code_does_what_the_interpreter_does(body in body(), passes in 1..20u32, seed: u64) {
        let begin = (0..4u8).map(|to| Instr::SetPointer { offset: u32::from(to) * 256, to });
        let instrs: Vec<Instr> = begin.chain(body).collect();
        compare(&instrs, passes, seed);
    }
}

/// What a pass of every kind of instruction accesses, at offsets that begin at `first`.
fn of_every_kind(first: u32) -> Vec<Instr> {
    let at = |n: u32| arena(first + n * 8);
    let in_slot = |n: u32| At {
        base: Base::Slot(0),
        offset: first / 2 + n * 8,
    };
    let width = Width::B4;
    let load = |n| Instr::Load { at: at(n), width };
    let mut all = vec![
        Instr::LoadPointer { at: at(0), to: 0 },
        Instr::SetPointer {
            offset: first + 8,
            to: 1,
        },
        Instr::CopyPointer { from: 1, to: 2 },
        Instr::PickRandom { table: 0, to: 1 },
        Instr::RandomElement {
            at: at(1),
            count: 4,
            stride: 8,
            to: 3,
        },
        Instr::Percpu {
            at: at(2),
            batch: 32,
            spill: vec![Instr::Add {
                at: at(3),
                width: Width::B8,
            }],
        },
        Instr::SeqRead {
            at: at(6),
            width,
            saved: 4,
            body: vec![load(7), load(8)],
        },
        Instr::SeqWrite {
            at: at(6),
            width,
            body: vec![Instr::Store { at: at(7), width }],
        },
        Instr::Choose(vec![(1 << 30, vec![load(9)]), (1 << 32, vec![load(10)])]),
        Instr::Every {
            counter: 0,
            passes: 3,
            body: vec![load(11)],
        },
        Instr::Repeat {
            times: 3,
            counter: 1,
            body: vec![load(12)],
        },
        Instr::Work { nanos: 100 },
        Instr::Wait {
            at: at(13),
            width,
            seen: 2,
        },
        Instr::Passed(1),
    ];
    for (tries, held) in [(None, 0), (Some(100), u64::from(u32::MAX))] {
        let (at, add, then) = (in_slot(4), 1 << 32, vec![load(5)]);
        all.push(Instr::Cas {
            at,
            width: Width::B8,
            add,
            held,
            tries,
            then,
        });
    }
    for width in [Width::B1, Width::B2, Width::B4, Width::B8] {
        let at = in_slot(14);
        all.push(Instr::Load { at, width });
        all.push(Instr::Store { at, width });
        all.push(Instr::Add { at, width });
        all.push(Instr::Bump { at, width });
    }
    let kinds = [
        LockKind::Tas,
        LockKind::Ticket,
        LockKind::Queued,
        LockKind::RwRead,
        LockKind::RwWrite,
    ];
    for (kind, n) in kinds.into_iter().zip(16..) {
        all.push(Instr::Lock { at: at(n), kind });
        all.push(Instr::Unlock { at: at(n), kind });
    }
    all
}

fn decoded(code: &Code) -> Vec<Instruction> {
    let bytes = &code.bytes[..code.instructions];
    Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE)
        .into_iter()
        .collect()
}

/// Whether it accesses memory through an operand, and not only computes its address.
fn accesses(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::Memory)
        && instruction.mnemonic() != Mnemonic::Lea
}

#[test]
fn the_code_of_two_layouts_differs_in_displacements_only() {
    let tables = vec![vec![0, 8]];
    let made = |first| assemble(&pass(&of_every_kind(first)), &surroundings(&tables)).unwrap();
    // One fits a byte, one is no shorter than can be.
    let (near, far) = (made(0), made(0x0123_4560));
    assert_eq!(near.bytes.len(), far.bytes.len());
    let mut moved = 0;
    for (mut near, mut far) in decoded(&near).into_iter().zip(decoded(&far)) {
        assert!(!near.is_invalid());
        moved += usize::from(near.memory_displacement64() != far.memory_displacement64());
        for instruction in [&mut near, &mut far] {
            instruction.set_memory_displacement64(0);
        }
        assert_eq!(near, far);
        assert_eq!(near.len(), far.len());
    }
    assert!(moved > 50, "{moved}");
}

#[test]
fn every_access_is_one_instruction() {
    let tables = vec![vec![0, 8]];
    let instrs = of_every_kind(0x1000);
    let code = assemble(&pass(&instrs), &surroundings(&tables)).unwrap();
    let context = Register::R13;
    // All but the thread's own words and the table that objects are drawn from.
    let shared = decoded(&code).into_iter().filter(|instruction| {
        accesses(instruction)
            && instruction.memory_base() != context
            && instruction.memory_index() == Register::None
    });
    let starts: Vec<usize> = shared
        .map(|instruction| instruction.ip() as usize)
        .collect();
    let mut noted: Vec<usize> = code.accesses.iter().map(|(start, _)| *start).collect();
    noted.sort();
    assert_eq!(starts, noted);
    // Loaded pointer; percpu add, its reset and spill; reads under a counter; writes under it;
    // choices; every; repeat; wait and its poll; two compare-and-swaps, the second one with a
    // load where it is held and one where all is lost; four widths of four kinds.
    let steps = 1 + 3 + 4 + 3 + 2 + 1 + 1 + 2 + (2 + 2 + 1 + 1) + 16;
    // Enter and leave, and the address for the slow way in is no access.
    let locks = (1 + 1) + (1 + 2) + (1 + 1) + (2 + 1) + (1 + 1);
    assert_eq!(noted.len(), steps + locks);
}

#[test]
fn more_than_a_thousand_loads_become_a_loop_over_the_same_words() {
    let word = |n: u32| n.wrapping_mul(2_654_435_761) % 512 * 8;
    let load = |n| Instr::Load {
        at: arena(word(n)),
        width: Width::B8,
    };
    let mut instrs: Vec<Instr> = (0..1500).map(load).collect();
    instrs.push(Instr::Load {
        at: arena(4),
        width: Width::B4,
    });
    instrs.push(Instr::Store {
        at: arena(8),
        width: Width::B4,
    });
    let code = made(&instrs);
    assert!(
        code.instructions < 200,
        "{} bytes of instructions",
        code.instructions
    );
    let table = &code.bytes[code.instructions..];
    let offsets: Vec<u32> = table
        .chunks(4)
        .map(|n| u32::from_le_bytes(n.try_into().unwrap()))
        .collect();
    assert_eq!(offsets, (0..1500).map(word).collect::<Vec<_>>());
    compare(&instrs, 3, 0);
    assert!(
        made(&instrs[..900]).instructions > 900 * 6,
        "shorter passes stay in line"
    );
}

#[test]
fn code_is_never_writable_while_it_can_be_executed_wherever_it_begins() {
    let arena = memory();
    for seed in 0..64u64 {
        let store = Instr::Store {
            at: self::arena(0),
            width: Width::B8,
        };
        let mut ready = Ready::new(made(&[store]), &arena, seed << 32);
        ready.run(&arena, 3);
        assert_eq!(arena.read::<u64>(arena.base()), frame().fresh + 3);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(
            !maps.contains(" rwx"),
            "written and executable at a time: {maps}"
        );
    }
}

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

#[test]
fn the_listing_names_what_is_accessed() {
    let code = made(&[
        Instr::Lock {
            at: arena(64),
            kind: LockKind::Queued,
        },
        Instr::LoadPointer {
            at: arena(0),
            to: 0,
        },
        Instr::Load {
            at: At {
                base: Base::Slot(0),
                offset: 8,
            },
            width: Width::B2,
        },
        Instr::Unlock {
            at: arena(64),
            kind: LockKind::Queued,
        },
    ]);
    let name = |at: At| match (at.base, at.offset) {
        (Base::Arena, 64) => "i_lock".to_owned(),
        (Base::Arena, _) => "parent".to_owned(),
        (Base::Slot(_), _) => "parent->usage".to_owned(),
    };
    let text = listing(&code, name);
    let line = |part: &str| {
        text.lines()
            .find(|line| line.contains(part))
            .unwrap()
            .to_owned()
    };
    assert!(line("lock cmpxchg").ends_with("; i_lock"), "{text}");
    assert!(line("movzx").contains("[r14+8]"), "{text}");
    assert!(line("movzx").ends_with("; parent->usage"), "{text}");
    assert_eq!(text.lines().count(), decoded(&code).len());
}

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
                let made = spec.steps(arena()).unwrap();
                let made = maker.load(made, layout as u64, handicap_permille).unwrap();
                let [(words, counts), (expected, expected_counts)] =
                    [made, interpreted].map(|program| alone(program, spec.threads, 400));
                assert_eq!(counts, expected_counts, "{name}, layout {layout}");
                assert!(words == expected, "{name}, layout {layout}: memory differs");
            }
            compared += 1;
        }
    }
    assert!(compared > 10, "{compared}");
}
