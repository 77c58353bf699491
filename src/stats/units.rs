//! Units of analysis: couples of blocks, one at each slot parity, or single blocks.
//!
//! Here: which blocks form a unit, and which are set aside. Not here: what makes a block invalid
//! (`experiment`), and what is inferred from units (`interval`, `comparison`).

use std::collections::VecDeque;

/// Parity of the slab slot that the first VMA of a block lies in.
///
/// It decides which lines make a 128-byte pair, so an effect may differ between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parity {
    /// Slots 0, 2, 4, …
    Even,
    /// Slots 1, 3, 5, …
    Odd,
}

impl Parity {
    /// The parity of a slot (or of a block number, where a backend knows no slots).
    pub fn of(slot: u64) -> Parity {
        if slot.is_multiple_of(2) {
            Parity::Even
        } else {
            Parity::Odd
        }
    }
}

/// One arm against its baseline within one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Where the block lay in its slab.
    pub parity: Parity,
    /// `ln(ns_per_fault of the arm / ns_per_fault of the baseline)`; 0.0488 is 5 % slower.
    pub log_ratio: f64,
    /// Whether both samples may be used.
    pub valid: bool,
}

impl Effect {
    /// The difference of two effects seen in the same block: this one less `other`.
    ///
    /// With this block taken with the prefetcher on and `other` with it off, the difference is
    /// what the prefetcher adds to the effect. It is usable if both are.
    pub fn less(&self, other: &Effect) -> Effect {
        Effect {
            parity: self.parity,
            log_ratio: self.log_ratio - other.log_ratio,
            valid: self.valid && other.valid && self.parity == other.parity,
        }
    }
}

/// Which blocks make a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitOf {
    /// Two, one of each slot parity.
    SlotCouple,
    /// One: all blocks lie at slots of one parity.
    Block,
}

/// Blocks, formed into units as they arrive.
///
/// With [`UnitOf::Block`] each block is a unit. Else the k-th valid even block and the k-th valid odd block make unit k, and its value is the mean of their log-ratios. An invalid block is set aside alone: the block that would have been its
/// neighbour waits for the next valid one of the other parity. Nothing is lost by that, because a
/// log-ratio is already paired within its own block, minutes apart or not; setting aside whole
/// couples would cost a fifth of the data where a tenth of the blocks is invalid. Units once
/// formed do not change when more blocks arrive.
#[derive(Clone, Debug)]
pub struct Units {
    unit_of: UnitOf,
    values: Vec<f64>,
    waiting: VecDeque<(Parity, f64)>,
    invalid: u64,
}

impl Units {
    /// No block yet.
    pub fn new(unit_of: UnitOf) -> Units {
        Units {
            unit_of,
            values: Vec::new(),
            waiting: VecDeque::new(),
            invalid: 0,
        }
    }

    /// Take in the next block. A log-ratio that is not finite makes it invalid.
    pub fn push(&mut self, block: Effect) {
        if !block.valid || !block.log_ratio.is_finite() {
            self.invalid += 1;
            return;
        }
        if self.unit_of == UnitOf::Block {
            self.values.push(block.log_ratio);
            return;
        }
        // All that wait are of one parity, or there would be a unit to form.
        match self.waiting.front() {
            Some(&(parity, log_ratio)) if parity != block.parity => {
                self.waiting.pop_front();
                self.values.push((log_ratio + block.log_ratio) / 2.0);
            }
            _ => self.waiting.push_back((block.parity, block.log_ratio)),
        }
    }

    /// Mean log-ratio of each unit, in the order they were completed.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Blocks that entered a unit.
    pub fn blocks(&self) -> u64 {
        let blocks = match self.unit_of {
            UnitOf::SlotCouple => 2,
            UnitOf::Block => 1,
        };
        blocks * self.values.len() as u64
    }

    /// Blocks set aside as invalid.
    pub fn blocks_invalid(&self) -> u64 {
        self.invalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(parity: Parity, log_ratio: f64) -> Effect {
        Effect {
            parity,
            log_ratio,
            valid: true,
        }
    }

    fn units(blocks: &[Effect]) -> Units {
        let mut units = Units::new(UnitOf::SlotCouple);
        blocks.iter().for_each(|&block| units.push(block));
        units
    }

    #[test]
    fn an_effect_of_parity_cancels_within_a_unit() {
        let blocks: Vec<Effect> = (0..10)
            .map(|number| {
                let side = if number % 2 == 0 { 0.25 } else { -0.25 };
                block(Parity::of(number), 0.125 + side)
            })
            .collect();
        assert_eq!(units(&blocks).values(), [0.125; 5]);
    }

    #[test]
    fn an_invalid_block_is_set_aside_alone() {
        let mut blocks = [
            block(Parity::Even, 1.0),
            block(Parity::Odd, 50.0),
            block(Parity::Even, 3.0),
            block(Parity::Odd, 5.0),
            block(Parity::Odd, 9.0),
        ];
        blocks[1].valid = false;
        let units = units(&blocks);
        assert_eq!(units.values(), [3.0, 6.0]);
        assert_eq!(units.blocks(), 4);
        assert_eq!(units.blocks_invalid(), 1);
        assert_eq!(units.waiting.len(), 0);
    }

    #[test]
    fn blocks_of_one_parity_wait_for_the_other() {
        let units = units(&[block(Parity::Odd, 1.0), block(Parity::Odd, 2.0)]);
        assert!(units.values().is_empty());
        assert_eq!(units.waiting.len(), 2);
    }

    #[test]
    fn a_ratio_to_nothing_is_invalid() {
        let units = units(&[
            block(Parity::Even, f64::INFINITY),
            block(Parity::Odd, f64::NAN),
        ]);
        assert_eq!(units.blocks_invalid(), 2);
    }

    #[test]
    fn attribution_needs_both_settings_of_the_same_block() {
        let on = block(Parity::Even, 0.75);
        let mut off = block(Parity::Even, 0.25);
        assert_eq!(on.less(&off), block(Parity::Even, 0.5));
        off.valid = false;
        assert!(!on.less(&off).valid);
    }
}
