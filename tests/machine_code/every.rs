//! A pass that has everything.

use crate::arena;
use hitm::case::LockKind;
use hitm::program::steps::lowered::{At, Base, Instr, Width};

/// What a pass of every kind of instruction accesses, at offsets that begin at `first`.
pub fn of_every_kind(first: u32) -> Vec<Instr> {
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
