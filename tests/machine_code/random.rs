//! Passes drawn at random.

use crate::{NODES, POINTERS, arena, compare, repeats};
use hitm::case::LockKind;
use hitm::program::steps::lowered::{At, Base, Instr, Width};
use proptest::prelude::*;

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

pub fn body() -> impl Strategy<Value = Vec<Instr>> {
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
