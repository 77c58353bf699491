//! What code looks like: instructions, displacements, loops, and where it lies.

use crate::every::of_every_kind;
use crate::{Ready, arena, compare, frame, made, memory, pass, surroundings};
use hitm::case::LockKind;
use hitm::program::steps::lowered::{At, Base, Instr, Width};
use hitm::program::steps::machine_code::{Code, assemble, listing};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

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
