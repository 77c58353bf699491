//! Machine code made of passes, held against the interpreter, and read back.
//!
//! Here: memory, frames and surroundings that tests share.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]

mod aarch64;
mod cases;
mod every;
mod random;
#[cfg(target_arch = "x86_64")]
mod shape;
mod waiting;

use hitm::backend::native::memory::NativeMemory;
use hitm::program::steps::interpret::{Interpreter, StepsThread};
use hitm::program::steps::lock::{self, Waiter};
use hitm::program::steps::lowered::{At, Base, DRAWS, Frame, Instr, Pass};
use hitm::program::steps::machine_code::{
    Code, Context, Executable, SlowPaths, Surroundings, assemble, listing, synchronize,
};
use hitm::space::arena::Arena;
use hitm::space::memory::Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
