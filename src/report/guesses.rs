//! How much a comparison hangs on the work that a case guesses.
//!
//! A range of work is drawn anew for each block. Here: the effect in the blocks with less of it
//! beside that in the blocks with more.

use crate::experiment::{Arm, Block, Design, Prefetch, Sample};
use crate::program::steps::lower::guesses;
use crate::stats::median;
use crate::units::{change, count};
use std::collections::BTreeMap;

/// Blocks of each half at least.
const FEWEST: usize = 4;

/// One line for each arm at each design point of a case that guesses; empty where nothing is a
/// guess.
pub fn text(design: &Design, samples: &[Sample]) -> String {
    let mut text = String::new();
    let Some(case) = &design.case else {
        return text;
    };
    let case = case.get();
    let Some(baseline) = case.layouts.iter().find(|layout| {
        let measured = design.arms[0].measured(&design.arms[0]);
        measured.is_some_and(|(name, _)| name.as_str() == layout.name)
    }) else {
        return text;
    };
    let ranges: Vec<String> = guesses(baseline, 0)
        .iter()
        .map(|guess| {
            let role = &case.roles[guess.role].name;
            format!("{} to {} ns of {role}", guess.from_ns, guess.to_ns)
        })
        .collect();
    if ranges.is_empty() {
        return text;
    }
    for (at, point) in design.points.iter().enumerate() {
        let mut blocks: BTreeMap<u64, Vec<&Sample>> = BTreeMap::new();
        for sample in samples.iter().filter(|s| s.point == *point && s.valid) {
            blocks.entry(sample.block).or_default().push(sample);
        }
        // How far the guesses of a block lie within their ranges, from 0 to 1.
        let share = |block: u64| {
            let drawn = Block::of(design, at, block);
            let drawn = guesses(baseline, drawn.samples[0].seed);
            let shares = drawn.iter().map(|guess| {
                f64::from(guess.drawn_ns - guess.from_ns) / f64::from(guess.to_ns - guess.from_ns)
            });
            shares.sum::<f64>() / drawn.len() as f64
        };
        let layouts = |arm: &&Arm| matches!(arm, Arm::Layout { .. });
        for arm in design.arms.iter().filter(layouts).skip(1) {
            let mut effects: Vec<(f64, f64)> = blocks
                .iter()
                .filter_map(|(block, rows)| {
                    let of = |arm: &Arm| {
                        let is_it = |s: &&&Sample| s.arm == *arm && s.prefetch != Prefetch::Off;
                        rows.iter().find(is_it).map(|s| s.ns_per_fault)
                    };
                    Some((share(*block), (of(arm)? / of(&design.arms[0])?).ln()))
                })
                .collect();
            effects.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (less, more) = effects.split_at(effects.len() / 2);
            if less.len() < FEWEST {
                continue;
            }
            let middle = |half: &[(f64, f64)]| {
                let mut effects: Vec<f64> = half.iter().map(|(_, effect)| *effect).collect();
                effects.sort_by(f64::total_cmp);
                change(median(&effects).exp(), 0.01)
            };
            text += &format!(
                "  {arm}, {}: {} in the blocks with less of it, {} in those with more\n",
                count(point.threads, "thread"),
                middle(less),
                middle(more)
            );
        }
    }
    match text.is_empty() {
        true => text,
        false => format!(
            "\nWork that the case guesses: {}\n{text}",
            ranges.join(", ")
        ),
    }
}
