//! Code for aarch64: what it looks like, and files of it for `scripts/check-aarch64`, which executes
//! it.

use crate::every::of_every_kind;
use crate::random::body;
use crate::{
    BYTES, NODES, arena, bytes, draws, frame, memory, pass, repeats, surroundings, waiter,
};
use hitm::backend::native::memory::NativeMemory;
use hitm::case::LockKind;
use hitm::program::steps::interpret::{Interpreter, StepsThread};
use hitm::program::steps::lowered::{At, Base, Frame, Instr, Width};
use hitm::program::steps::machine_code::{Code, Context, assemble_aarch64};
use hitm::space::arena::Arena;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::path::Path;

fn made(instrs: &[Instr], lse: bool) -> Code {
    let tables = [vec![0, 8]];
    assemble_aarch64(&pass(instrs), &surroundings(&tables), lse).unwrap()
}

fn words(code: &Code) -> Vec<u32> {
    let words = code.bytes[..code.instructions].chunks_exact(4);
    words
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

#[test]
fn the_aarch64_code_of_two_layouts_differs_in_immediates_only() {
    for lse in [true, false] {
        let tables = vec![vec![0, 8]];
        let made = |first| {
            let pass = pass(&of_every_kind(first));
            words(&assemble_aarch64(&pass, &surroundings(&tables), lse).unwrap())
        };
        let (near, far) = (made(0), made(0x0123_4560));
        assert_eq!(near.len(), far.len());
        let mut moved = 0;
        for (near, far) in near.into_iter().zip(far) {
            if near != far {
                // movz or movk of a 64-bit register, but for the 16 bits.
                assert_eq!(near & !(0xffff << 5), far & !(0xffff << 5));
                assert!(matches!(near >> 23, 0x1a5 | 0x1e5), "{near:08x}");
                moved += 1;
            }
        }
        assert!(moved > 50, "{moved}");
    }
}

#[test]
fn an_atomic_step_of_aarch64_is_one_access_with_lse_and_two_without() {
    let (at, width) = (arena(64), Width::B4);
    let cas = Instr::Cas {
        at,
        width,
        add: 1,
        held: 0,
        tries: None,
        then: vec![],
    };
    let kind = LockKind::Queued;
    for (instr, with, without) in [
        (Instr::Load { at, width }, 1, 1),
        (Instr::Store { at, width }, 1, 1),
        (Instr::Add { at, width }, 1, 2),
        // No single instruction adds to memory without being atomic.
        (Instr::Bump { at, width }, 2, 2),
        (cas, 2, 3),
        (Instr::Lock { at, kind }, 1, 2),
        (Instr::Unlock { at, kind }, 1, 1),
    ] {
        for (lse, expected) in [(true, with), (false, without)] {
            let code = made(std::slice::from_ref(&instr), lse);
            assert_eq!(code.accesses.len(), expected, "{instr:?}");
            for (start, accessed) in code.accesses {
                // "Loads and Stores" of the encoding index: bit 27 is set and bit 25 is not.
                let word = u32::from_le_bytes(code.bytes[start..start + 4].try_into().unwrap());
                assert_eq!(word >> 25 & 0b101, 0b100, "{word:08x}");
                assert_eq!(accessed, at);
            }
        }
    }
}

#[test]
fn a_read_under_a_sequence_counter_of_aarch64_has_the_barriers_of_the_kernel() {
    let (at, width) = (arena(64), Width::B4);
    let load = Instr::Load {
        at: arena(128),
        width,
    };
    let store = Instr::Store {
        at: arena(128),
        width,
    };
    let read = Instr::SeqRead {
        at,
        width,
        saved: 4,
        body: vec![load],
    };
    let write = Instr::SeqWrite {
        at,
        width,
        body: vec![store],
    };
    let barriers = |instr: Instr| -> Vec<&str> {
        let named = |word: u32| match word {
            // The register of the address, x16, and of the value.
            0x88df_fe00 => Some("ldar"),
            0xd503_39bf => Some("dmb ishld"),
            0xd503_3abf => Some("dmb ishst"),
            0xb870_6a60 => Some("ldr"),
            0xb830_6a77 | 0xb830_6a62 => Some("str"),
            _ => None,
        };
        words(&made(&[instr], true))
            .into_iter()
            .filter_map(named)
            .collect()
    };
    assert_eq!(barriers(read), ["ldar", "ldr", "dmb ishld", "ldr"]);
    let stores = ["str", "dmb ishst", "str", "dmb ishst", "str"];
    assert_eq!(barriers(write), stores);
}

#[test]
fn a_pass_too_long_for_a_branch_of_aarch64_is_refused() {
    let load = Instr::Store {
        at: arena(64),
        width: Width::B8,
    };
    let long = pass(&vec![load; 70_000]);
    let refused = assemble_aarch64(&long, &surroundings(&[]), true).unwrap_err();
    assert!(refused.to_string().contains("reaches 1 MiB"), "{refused}");
}

/// A pass in a file for the harness of `scripts/check-aarch64`: 8-byte words, in this order.
struct Exported(Vec<u8>);

impl Exported {
    fn word(&mut self, word: u64) {
        self.0.extend(word.to_le_bytes());
    }

    fn words32(&mut self, words: &[u32]) {
        self.0
            .extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }

    fn frame(&mut self, frame: &Frame) {
        let Frame {
            fresh,
            drawn,
            lost,
            retries,
            passes,
            counters,
        } = frame;
        for word in [fresh, drawn, lost, retries]
            .into_iter()
            .chain(passes)
            .chain(counters)
        {
            self.word(*word);
        }
    }
}

/// `passes` passes of `instrs`. Where `held` is a lock's word, the interpreter finds it free, and
/// code finds that value in it: the slow path of the harness then puts there what taking leaves.
/// Where `seen` is a counter, code finds in it what it waits to change, and the harness says that the
/// time is over: of `passes` one is done.
fn export(
    to: &mut Vec<u8>,
    instrs: &[Instr],
    passes: u32,
    lse: bool,
    held: Option<Held>,
    seen: Option<(usize, u64)>,
) {
    let tables: Vec<Vec<u32>> = vec![(0..256).map(|n| n * 8).collect(), vec![64, 1024]];
    let memory = memory();
    let before = |memory: &Arena| bytes(memory);
    let mut start = before(&memory);
    if let Some(held) = &held {
        start[held.at as usize / 8] = held.found;
        memory.write(memory.base().at(held.at as usize), held.free);
    }
    // SAFETY: the instructions of these tests keep to the arena.
    let m = unsafe { NativeMemory::new(&memory) };
    let interpreter = Interpreter {
        m: &m,
        arena: memory.base(),
        tables: &tables,
        waiter: waiter(&memory),
    };
    let mut thread = StepsThread::new(3, frame(), draws().into());
    for _ in 0..seen.map_or(passes, |_| 1) {
        interpreter.run(instrs, &mut thread);
    }
    let mut begin = frame();
    if let Some((counter, value)) = seen {
        begin.counters[counter] = value;
    }
    let around = surroundings(&tables);
    let code = assemble_aarch64(&pass(instrs), &around, lse).unwrap();

    let mut out = Exported(Vec::new());
    let sizes = [
        code.bytes.len(),
        passes as usize,
        size_of::<Frame>(),
        size_of::<Context>(),
        Context::DRAWS_AT,
        BYTES,
        NODES as usize,
        tables.len(),
    ];
    sizes.iter().for_each(|size| out.word(*size as u64));
    for table in &tables {
        out.word(table.as_ptr() as u64);
        out.word(table.len() as u64);
        out.words32(table);
    }
    let slow = around.slow;
    for function in [
        slow.tas as usize,
        slow.ticket as usize,
        slow.queued as usize,
        slow.read as usize,
        slow.write as usize,
    ] {
        out.word(function as u64);
    }
    let (at, taken) = held.map_or((0, 0), |held| (held.at, held.taken));
    out.word(at.into());
    out.word(taken);
    out.word(seen.map_or(0, |_| u64::from(passes) - 1));
    // The interpreter counts `Repeat` elsewhere.
    let apart = repeats(instrs)
        .iter()
        .fold(0, |mask: u64, counter| mask | 1 << counter);
    out.word(apart);
    let words: Vec<u32> = code
        .bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    out.words32(&words);
    out.frame(&begin);
    out.words32(&draws());
    // Pointers count from the arena.
    start.iter().for_each(|word| out.word(*word));
    out.frame(&thread.frame);
    bytes(&memory).iter().for_each(|word| out.word(*word));
    to.extend(out.0);
}

/// A lock that code finds taken.
struct Held {
    at: u32,
    /// Its word, as code finds it, as the interpreter does, and once it is taken.
    found: u64,
    free: u64,
    taken: u64,
}

/// Runs of loads that are long enough to become loops, in a pass that has as many as that takes.
fn loads() -> Vec<Instr> {
    let load = |n: u32| Instr::Load {
        at: arena(n % 500 * 8),
        width: Width::B8,
    };
    let wait = Instr::Work { nanos: 10 };
    (0..1200)
        .map(load)
        .chain([wait])
        .chain((0..20).map(load))
        .collect()
}

/// A lock taken between uses of the slots that a function called may lose.
fn around_a_lock(at: At, kind: LockKind) -> Vec<Instr> {
    let width = Width::B8;
    let mut instrs: Vec<Instr> = (0..6)
        .map(|to| Instr::SetPointer {
            offset: u32::from(to) * 256,
            to,
        })
        .collect();
    instrs.push(Instr::Lock { at, kind });
    instrs.push(Instr::Work { nanos: 50 });
    instrs.extend((0..6).map(|slot| Instr::Store {
        at: At {
            base: Base::Slot(slot),
            offset: 8,
        },
        width,
    }));
    instrs.push(Instr::Unlock { at, kind });
    instrs
}

#[test]
#[ignore = "writes files for scripts/check-aarch64, which sets HITM_AARCH64_DIR"]
fn export_passes_for_a_harness() {
    let folder = std::env::var("HITM_AARCH64_DIR").expect("scripts/check-aarch64 sets it");
    let drawn: usize = std::env::var("HITM_AARCH64_PASSES").map_or(400, |n| n.parse().unwrap());
    let at = NODES + 2048;
    let locks = [
        (LockKind::Tas, 1, 0, 1),
        (LockKind::Ticket, 1 << 16, 1 << 16 | 1, 2 << 16 | 1),
        (LockKind::Queued, 1, 0, 1),
        (LockKind::RwRead, 1, 0, 1 << 16),
        (LockKind::RwWrite, 1 << 16, 0, 1),
    ];
    let mut files = [Vec::new(), Vec::new()];
    for (file, lse) in files.iter_mut().zip([true, false]) {
        // The same passes both times.
        let mut runner = TestRunner::deterministic();
        for _ in 0..drawn {
            let (body, passes) = (body(), 1..20u32).new_tree(&mut runner).unwrap().current();
            let begin = (0..4u8).map(|to| Instr::SetPointer {
                offset: u32::from(to) * 256,
                to,
            });
            let instrs: Vec<Instr> = begin.chain(body).collect();
            export(file, &instrs, passes, lse, None, None);
        }
        export(file, &loads(), 3, lse, None, None);
        // Counter 48 is 0 at first, and no word of these is.
        for (width, value) in [(Width::B4, 0x7f4a_7c15), (Width::B8, 0x9e37_79b9_7f4a_7c15)] {
            let at = arena(8);
            let store = Instr::Store {
                at: arena(64),
                width,
            };
            let wait = Instr::Wait {
                at,
                width,
                seen: 48,
            };
            let instrs = [store.clone(), wait, store];
            export(file, &instrs, 5, lse, None, Some((48, value)));
        }
        for (kind, found, free, taken) in locks {
            let held = Held {
                at,
                found,
                free,
                taken,
            };
            export(
                file,
                &around_a_lock(arena(at), kind),
                1,
                lse,
                Some(held),
                None,
            );
        }
    }
    let [lse, exclusive] = files;
    std::fs::write(Path::new(&folder).join("lse"), lse).unwrap();
    std::fs::write(Path::new(&folder).join("exclusive"), exclusive).unwrap();
}
