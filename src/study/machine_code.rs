//! Machine code made of a pass over the same accesses written by hand: one line a pass.
//!
//! Both are copied to places drawn at random and timed there in turns of about 10 µs, on one
//! thread. The ratio is the geometric mean, over the places, of that of the fastest turns.
//! Instructions of both are counted in the loop. The code written by hand has displacements as
//! short as they go, as a compiler would choose them.

use crate::case::LockKind;
use crate::error::Result;
use crate::machine::{Placement, Topology, pin};
use crate::program::steps::lock::Waiter;
use crate::program::steps::lowered::{At, Base, DRAWS, Frame, Instr, Pass, Width};
use crate::program::steps::machine_code::{
    Code, Context, Executable, SlowPaths, Surroundings, assemble, synchronize,
};
use crate::report::columns::Columns;
use crate::space::arena::Arena;
use crate::space::memory::Addr;
use crate::units::time;
use iced_x86::{Decoder, DecoderOptions, FlowControl};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use std::arch::global_asm;
use std::time::{Duration, Instant};

/// A turn takes about so long.
const TURN: Duration = Duration::from_micros(10);
/// Turns of each at a place: the fastest counts, for whatever disturbs a turn makes it longer.
const TURNS: usize = 24;

// Functions of the type of made ones: context, first byte of the arena (RSI), passes (RDX). The
// way to `ud2` is never taken: nobody holds the locks.
global_asm!(
    ".p2align 4",
    "hitm_loads:",
    "  .p2align 4",
    "2: mov rax, [rsi]",
    "  mov rax, [rsi + 8]",
    "  mov eax, [rsi + 16]",
    "  movzx eax, word ptr [rsi + 20]",
    "  movzx eax, byte ptr [rsi + 22]",
    "  mov rax, [rsi + 64]",
    "  mov eax, [rsi + 72]",
    "  mov r8, [rsi + 80]",
    "  mov rax, [r8 + 8]",
    "  mov eax, [r8 + 16]",
    "  dec rdx",
    "  jne 2b",
    "  ret",
    "hitm_loads_end:",
    ".p2align 4",
    "hitm_reads:",
    "  mov rcx, rdx",
    "  .p2align 4",
    "2: mov rax, [rsi]",
    "  mov rax, [rsi + 8]",
    "  mov eax, [rsi + 16]",
    "  movzx eax, word ptr [rsi + 20]",
    "  movzx eax, byte ptr [rsi + 22]",
    "  mov rax, [rsi + 64]",
    "  mov eax, [rsi + 72]",
    "  mov r8, [rsi + 80]",
    "  mov rax, [r8 + 8]",
    "  mov eax, [r8 + 16]",
    "  lock add qword ptr [rsi + 128], 1",
    "  mov rax, [rsi + 192]",
    "  inc rdi",
    "  mov [rsi + 200], edi",
    "  dec rcx",
    "  jne 2b",
    "  ret",
    "hitm_reads_end:",
    ".p2align 4",
    "hitm_lock:",
    "  .p2align 4",
    "2: xor eax, eax",
    "  mov ecx, 1",
    "  lock cmpxchg [rsi + 64], ecx",
    "  jne 3f",
    "  mov rax, [rsi]",
    "  mov eax, [rsi + 8]",
    "  mov rax, [rsi + 128]",
    "  inc rdi",
    "  mov [rsi + 136], rdi",
    "  add qword ptr [rsi + 144], 1",
    "  mov byte ptr [rsi + 64], 0",
    "  dec rdx",
    "  jne 2b",
    "  ret",
    "3: ud2",
    "hitm_lock_end:",
    ".p2align 4",
    "hitm_count:",
    "  mov r9, rdx",
    "  .p2align 4",
    "2: mov eax, [rsi + 192]",
    "  test eax, 1",
    "  jne 3f",
    "  mov r8, rax",
    "  mov rax, [rsi]",
    "  mov rax, [rsi + 64]",
    "  movzx eax, word ptr [rsi + 72]",
    "  mov eax, [rsi + 192]",
    "  cmp rax, r8",
    "  jne 3f",
    "  mov rax, [rsi + 128]",
    "4: test eax, -1",
    "  jne 3f",
    "  mov rcx, {one}",
    "  add rcx, rax",
    "  lock cmpxchg [rsi + 128], rcx",
    "  jne 4b",
    "  dec r9",
    "  jne 2b",
    "  ret",
    "3: ud2",
    "hitm_count_end:",
    one = const 1u64 << 32,
);
unsafe extern "C" {
    static hitm_loads: u8;
    static hitm_loads_end: u8;
    static hitm_reads: u8;
    static hitm_reads_end: u8;
    static hitm_lock: u8;
    static hitm_lock_end: u8;
    static hitm_count: u8;
    static hitm_count_end: u8;
}

fn at(offset: u32) -> At {
    At {
        base: Base::Arena,
        offset,
    }
}

fn load(offset: u32, width: Width) -> Instr {
    let at = at(offset);
    Instr::Load { at, width }
}

fn passes() -> [(&'static str, Vec<Instr>, [*const u8; 2]); 4] {
    use Width::{B1, B2, B4, B8};
    let in_slot = |offset, width| {
        let base = Base::Slot(0);
        let at = At { base, offset };
        Instr::Load { at, width }
    };
    let loads = vec![
        load(0, B8),
        load(8, B8),
        load(16, B4),
        load(20, B2),
        load(22, B1),
        load(64, B8),
        load(72, B4),
        Instr::LoadPointer { at: at(80), to: 0 },
        in_slot(8, B8),
        in_slot(16, B4),
    ];
    let written = [
        Instr::Add {
            at: at(128),
            width: B8,
        },
        load(192, B8),
        Instr::Store {
            at: at(200),
            width: B4,
        },
    ];
    let reads = loads.iter().cloned().chain(written).collect();
    let (word, kind) = (at(64), LockKind::Queued);
    let lock = vec![
        Instr::Lock { at: word, kind },
        load(0, B8),
        load(8, B4),
        load(128, B8),
        Instr::Store {
            at: at(136),
            width: B8,
        },
        Instr::Bump {
            at: at(144),
            width: B8,
        },
        Instr::Unlock { at: word, kind },
    ];
    let count = vec![
        Instr::SeqRead {
            at: at(192),
            width: B4,
            saved: 0,
            body: vec![load(0, B8), load(64, B8), load(72, B2)],
        },
        Instr::Cas {
            at: at(128),
            width: B8,
            add: 1 << 32,
            held: u64::from(u32::MAX),
            tries: None,
            then: Vec::new(),
        },
    ];
    [
        (
            "reads",
            loads,
            [&raw const hitm_loads, &raw const hitm_loads_end],
        ),
        (
            "reads, rmw",
            reads,
            [&raw const hitm_reads, &raw const hitm_reads_end],
        ),
        (
            "lock queued, reads",
            lock,
            [&raw const hitm_lock, &raw const hitm_lock_end],
        ),
        (
            "seq_read, cas",
            count,
            [&raw const hitm_count, &raw const hitm_count_end],
        ),
    ]
}

/// The code between two places of this program.
fn by_hand([start, end]: [*const u8; 2]) -> Code {
    let length = end as usize - start as usize;
    // SAFETY: the labels above, in this order, in the text of this program.
    let bytes = unsafe { std::slice::from_raw_parts(start, length) }.to_vec();
    Code {
        instructions: bytes.len(),
        bytes,
        accesses: Vec::new(),
    }
}

fn made(instrs: Vec<Instr>) -> Result<Code> {
    extern "C" fn wait(_: Addr) {}
    extern "C" fn wait_turn(_: Addr, _: u32) {}
    extern "C" fn wait_in_line(_: Addr, _: Addr, _: usize) {}
    let surroundings = Surroundings {
        tables: &[],
        slow: SlowPaths {
            tas: wait,
            ticket: wait_turn,
            queued: wait_in_line,
            read: wait,
            write: wait,
        },
        turns_per_microsecond: 0,
    };
    let pass = Pass {
        instrs,
        slots: 1,
        counters: Vec::new(),
    };
    assemble(&pass, &surroundings)
}

/// Instructions from the first byte that a branch goes back to up to the last such branch.
fn in_loop(code: &Code) -> usize {
    let bytes = &code.bytes[..code.instructions];
    let decoder = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE);
    let all: Vec<_> = decoder.into_iter().collect();
    let back = all.iter().enumerate().filter(|(_, instruction)| {
        instruction.flow_control() == FlowControl::ConditionalBranch
            && instruction.near_branch_target() < instruction.ip()
    });
    // What stands behind the function's end is not in the loop.
    let returns = all
        .iter()
        .position(|i| i.flow_control() == FlowControl::Return);
    let mut back = back.filter(|(n, _)| Some(*n) < returns);
    let Some((end, last)) = back.next_back() else {
        return 0;
    };
    let top = last.near_branch_target();
    all[..=end].iter().filter(|i| i.ip() >= top).count()
}

struct Timed {
    executable: Executable,
    context: Box<Context>,
}

impl Timed {
    fn new() -> Timed {
        let nobody = Waiter {
            nodes: Addr::NULL,
            thread: 0,
        };
        Timed {
            executable: Executable::new(),
            context: Context::new(Frame::default(), nobody, &[0; DRAWS]),
        }
    }

    fn nanos(&mut self, arena: &Arena, passes: u32) -> u64 {
        let start = Instant::now();
        // SAFETY: the passes above keep to the first lines of the arena, made or written by
        // hand; `compare` synchronizes.
        unsafe {
            self.executable
                .run(0, &mut self.context, arena.base(), passes)
        };
        start.elapsed().as_nanos() as u64
    }
}

/// How often.
#[derive(clap::Args)]
pub struct Args {
    /// Places in memory
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    places: u32,
    /// Seed of the places
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// One pass: made over written by hand.
#[derive(Serialize)]
pub struct PassCode {
    pass: &'static str,
    places: u32,
    instructions: usize,
    instructions_by_hand: usize,
    ns: f64,
    ns_by_hand: f64,
    change_percent: f64,
    /// Half the interval of 95 %.
    error_percent: f64,
}

/// Compare the passes.
pub fn study(args: &Args) -> Result<Vec<PassCode>> {
    let places = args.places as usize;
    let cpus = Placement::Compact.plan(&Topology::here()?, 1, false)?.cpus;
    pin::pin_current_thread(cpus[0])?;
    let mut rng = Pcg64Mcg::seed_from_u64(args.seed);
    let mut rows = Vec::new();
    for (name, instrs, hand) in passes() {
        let arena = Arena::new(4096)?;
        arena.write(arena.base().at(80), arena.base().at(256).0);
        let codes = [made(instrs)?, by_hand(hand)];
        let counts = codes.each_ref().map(in_loop);
        let mut both = [Timed::new(), Timed::new()];
        let mut logs = Vec::with_capacity(places);
        let (mut nanos, mut passes) = ([0.0; 2], 64);
        for place in 0..places {
            for (timed, code) in both.iter_mut().zip(&codes) {
                timed
                    .executable
                    .fill(std::slice::from_ref(code), rng.next_u64())?;
            }
            synchronize();
            while place == 0 && both[0].nanos(&arena, passes) < TURN.as_nanos() as u64 {
                passes *= 2;
            }
            let mut fastest = [u64::MAX; 2];
            for turn in 0..2 * TURNS {
                // The first of a pair is the second of the next one.
                let which = (turn + turn / 2) % 2;
                let nanos = both[which].nanos(&arena, passes);
                fastest[which] = fastest[which].min(nanos);
            }
            let [made, hand] = fastest.map(|nanos| nanos as f64 / f64::from(passes));
            (nanos[0], nanos[1]) = (nanos[0] + made, nanos[1] + hand);
            logs.push((made / hand).ln());
        }
        let [made, hand] = nanos.map(|nanos| nanos / places as f64);
        let mean = logs.iter().sum::<f64>() / places as f64;
        let squares = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
        let error = (squares / places as f64 / (places as f64 - 1.0)).sqrt();
        rows.push(PassCode {
            pass: name,
            places: args.places,
            instructions: counts[0],
            instructions_by_hand: counts[1],
            ns: made,
            ns_by_hand: hand,
            change_percent: mean.exp_m1() * 100.0,
            error_percent: 1.96 * error * 100.0,
        });
    }
    Ok(rows)
}

/// The rows for reading.
pub fn table(rows: &[PassCode]) -> String {
    let mut columns = Columns::new("<>>>>>>");
    columns.row([
        "pass",
        "instructions",
        "by hand",
        "time",
        "by hand",
        "change",
        "places",
    ]);
    for row in rows {
        columns.row([
            row.pass.to_owned(),
            row.instructions.to_string(),
            row.instructions_by_hand.to_string(),
            time(row.ns),
            time(row.ns_by_hand),
            format!("{:+.2} % (±{:.2})", row.change_percent, row.error_percent),
            row.places.to_string(),
        ]);
    }
    columns.to_string()
}
