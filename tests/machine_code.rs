//! Machine code made of passes, held against the interpreter, and read back.
#![cfg(target_arch = "x86_64")]

use hitm::backend::native::memory::NativeMemory;
use hitm::case::LockKind;
use hitm::program::steps::interpret::{Interpreter, StepsThread};
use hitm::program::steps::lock::{self, Waiter};
use hitm::program::steps::lowered::{At, Base, DRAWS, Frame, Instr, Pass, Slot, Width};
use hitm::program::steps::machine_code::{
    Code, Context, Executable, SlowPaths, Surroundings, assemble, listing, synchronize,
};
use hitm::space::arena::Arena;
use hitm::space::memory::Addr;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use proptest::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
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
                Instr::Choose(vec![(limit.into(), one), (1 << 32, two)])
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
