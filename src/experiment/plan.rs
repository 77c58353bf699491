//! The plan: which arms a block holds in which order. Stateless, so that a run can be resumed.

use super::{Design, Prefetch};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

/// One sample to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
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

impl Cell {
    /// A cell that only says which arm at which design point.
    pub fn first(point: usize, arm: usize) -> Cell {
        Cell {
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
    /// Index of the design point.
    pub point: usize,
    /// Its number within the point.
    pub number: u64,
    /// Slab slot of the first VMA in use.
    pub first_slot: usize,
    /// The samples, in the order they are taken.
    pub cells: Vec<Cell>,
}

impl Block {
    /// Block `number` of `point`. Blocks come in couples with one slot parity each, in random
    /// order; all else follows from the seed, the point and the number alone.
    pub fn of(design: &Design, point: usize, number: u64) -> Block {
        let stream = |salt: u64| {
            let mixed = design.seed
                ^ (point as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
            Pcg64Mcg::seed_from_u64(mixed)
        };
        use rand::Rng;
        let odd_first = stream(number / 2 * 2 + 1).next_u32() & 1;
        let first_slot = design
            .first_slot
            .unwrap_or(((number & 1) as usize) ^ odd_first as usize);
        let mut rng = stream(number * 2 + 2);
        let seed = rng.next_u64();
        let mut cells: Vec<Cell> = design
            .prefetch
            .iter()
            .flat_map(|&prefetch| {
                (0..design.arms.len()).map(move |arm| Cell {
                    prefetch,
                    block: number,
                    first_slot,
                    seed,
                    ..Cell::first(point, arm)
                })
            })
            .collect();
        cells.shuffle(&mut rng);
        for (order, cell) in cells.iter_mut().enumerate() {
            cell.order = order;
        }
        Block {
            point,
            number,
            first_slot,
            cells,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Point;

    fn design() -> Design {
        Design {
            run: "r".into(),
            backend: "native".into(),
            machine: "m".into(),
            points: vec![Point {
                scenario: "one-vma".into(),
                placement: "compact".into(),
                threads: 2,
            }],
            arms: ["a", "baseline-again", "b"].map(String::from).to_vec(),
            prefetch: vec![Prefetch::On, Prefetch::Off],
            prefetcher: None,
            first_slot: None,
            seed: 7,
            page_work: crate::program::fault::path::PageWork::None,
            margin: 0.02,
        }
    }

    #[test]
    fn a_block_holds_every_arm_in_every_state_exactly_once() {
        for number in 0..50 {
            let block = Block::of(&design(), 0, number);
            let mut seen: Vec<(usize, Prefetch)> =
                block.cells.iter().map(|c| (c.arm, c.prefetch)).collect();
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 6);
            assert_eq!(block.cells.len(), 6);
        }
    }

    #[test]
    fn a_couple_of_blocks_has_one_slot_of_each_parity() {
        let mut odd_first = 0;
        for couple in 0..100 {
            let slots = [0, 1].map(|i| Block::of(&design(), 0, 2 * couple + i).first_slot);
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
        let again = Block::of(&design(), 0, 3).cells;
        assert_eq!(Block::of(&design(), 0, 3).cells, again);
        let other = Design {
            seed: 8,
            ..design()
        };
        assert!((0..20).any(|n| Block::of(&other, 0, n).cells != Block::of(&design(), 0, n).cells));
    }

    #[test]
    fn every_arm_comes_first_about_equally_often() {
        let mut first = [0; 3];
        for number in 0..600 {
            first[Block::of(&design(), 0, number).cells[0].arm] += 1;
        }
        assert!(first.iter().all(|n| (140..=260).contains(n)), "{first:?}");
    }
}
