//! The plan: which arms a block holds in which order. Stateless, so that a run can be resumed.

use super::{Design, Prefetch};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

/// One sample to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedSample {
    /// Index of the design point.
    pub point: usize,
    /// Index of the arm.
    pub arm: usize,
    /// State of the prefetcher.
    pub prefetch: Prefetch,
    /// Number of the block within its point.
    pub block: u64,
    /// Position in the block.
    pub order: usize,
    /// Slab slot of the first VMA in use.
    pub first_slot: usize,
    /// For everything random inside the sample; the same for all arms of a block.
    pub seed: u64,
}

impl PlannedSample {
    /// One that only says which arm at which design point.
    pub fn first(point: usize, arm: usize) -> PlannedSample {
        PlannedSample {
            point,
            arm,
            prefetch: Prefetch::AsIs,
            block: 0,
            order: 0,
            first_slot: 0,
            seed: 0,
        }
    }
}

/// One randomised pass over every arm at one design point.
#[derive(Clone, Debug)]
pub struct Block {
    /// The samples, in the order they are taken.
    pub samples: Vec<PlannedSample>,
}

impl Block {
    /// Block `number` of `point`. Blocks come in couples with one slot parity each, in random
    /// order, and couples go through the slots in rounds; all else follows from the seed, what the
    /// point is, and the number.
    pub fn of(design: &Design, point: usize, number: u64) -> Block {
        let content = design.points[point].hash();
        let stream = |salt: u64| {
            let mixed = design.seed ^ content ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
            Pcg64Mcg::seed_from_u64(mixed)
        };
        use rand::Rng;
        let odd_first = stream(number / 2 * 2 + 1).next_u32() & 1;
        let couples = (design.first_slots() / 2).max(1);
        // All of them in each round, in an order of its own: a run may end within one.
        let (round, turn) = (number / 2 / couples as u64, number / 2 % couples as u64);
        let mut order: Vec<usize> = (0..couples).collect();
        order.shuffle(&mut stream(!round));
        let couple = order[turn as usize];
        let parity = ((number & 1) as usize) ^ odd_first as usize;
        let first_slot = design.first_slot.unwrap_or(2 * couple + parity);
        let mut rng = stream(number * 2 + 2);
        let seed = rng.next_u64();
        let mut samples: Vec<PlannedSample> = design
            .prefetch
            .iter()
            .flat_map(|&prefetch| {
                (0..design.arms.len()).map(move |arm| PlannedSample {
                    prefetch,
                    block: number,
                    first_slot,
                    seed,
                    ..PlannedSample::first(point, arm)
                })
            })
            .collect();
        samples.shuffle(&mut rng);
        for (order, sample) in samples.iter_mut().enumerate() {
            sample.order = order;
        }
        Block { samples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{BackendKind, Point};

    fn point(threads: usize) -> Point {
        Point {
            scenario: "one-vma".parse().unwrap(),
            placement: "compact".parse().unwrap(),
            threads,
        }
    }

    fn design() -> Design {
        let arms = ["a", "baseline-again", "b"].map(|arm| arm.parse().unwrap());
        Design {
            prefetch: vec![Prefetch::On, Prefetch::Off],
            seed: 7,
            ..Design::new(BackendKind::Native, "m", arms.to_vec(), vec![point(2)])
        }
    }

    #[test]
    fn a_block_holds_every_arm_in_every_state_exactly_once() {
        for number in 0..50 {
            let block = Block::of(&design(), 0, number);
            let mut seen: Vec<(usize, Prefetch)> =
                block.samples.iter().map(|c| (c.arm, c.prefetch)).collect();
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 6);
            assert_eq!(block.samples.len(), 6);
        }
    }

    #[test]
    fn a_couple_of_blocks_has_one_slot_of_each_parity() {
        let mut odd_first = 0;
        for couple in 0..100 {
            let slots =
                [0, 1].map(|i| Block::of(&design(), 0, 2 * couple + i).samples[0].first_slot);
            assert_eq!(slots[0] ^ slots[1], 1);
            odd_first += slots[0];
        }
        assert!(
            (20..=80).contains(&odd_first),
            "{odd_first} of 100 odd first"
        );
    }

    #[test]
    fn the_plan_follows_from_the_seed_alone() {
        let again = Block::of(&design(), 0, 3).samples;
        assert_eq!(Block::of(&design(), 0, 3).samples, again);
        let other = Design {
            seed: 8,
            ..design()
        };
        assert!(
            (0..20).any(|n| Block::of(&other, 0, n).samples != Block::of(&design(), 0, n).samples)
        );
    }

    #[test]
    fn a_point_has_the_same_blocks_wherever_it_stands_in_a_design() {
        let all = Design {
            points: vec![point(1), point(4), point(2)],
            ..design()
        };
        for number in 0..20 {
            let (alone, among) = (Block::of(&design(), 0, number), Block::of(&all, 2, number));
            let order = |block: &Block| -> Vec<(usize, Prefetch, usize, u64)> {
                let samples = block.samples.iter();
                let order = samples.map(|s| (s.arm, s.prefetch, s.first_slot, s.seed));
                order.collect()
            };
            assert_eq!(order(&alone), order(&among));
        }
        assert!((0..20).any(|n| {
            let seed = |point: usize| Block::of(&all, point, n).samples[0].seed;
            seed(0) != seed(1)
        }));
    }

    #[test]
    fn every_arm_comes_first_about_equally_often() {
        let mut first = [0; 3];
        for number in 0..600 {
            first[Block::of(&design(), 0, number).samples[0].arm] += 1;
        }
        assert!(first.iter().all(|n| (140..=260).contains(n)), "{first:?}");
    }
}
