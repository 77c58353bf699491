//! Verdicts as they form: one comparison for every arm, point and prefetcher state.

use super::{Block, Design, Prefetch};
use crate::results::{Sample, VerdictRow};
use crate::stats::{self, Comparison, Parity, Rule};

/// What the prefetcher column of an attribution row says: the effect with the prefetcher on over
/// the effect with it off.
pub const ON_OVER_OFF: &str = "on-off";

/// One arm against the baseline at one point.
struct Entry {
    point: usize,
    arm: usize,
    /// `None`: the attribution, the difference of the effects on and off.
    prefetch: Option<Prefetch>,
    comparison: Comparison,
}

/// All comparisons of a design.
pub struct Verdicts {
    entries: Vec<Entry>,
    blocks: Vec<u64>,
}

impl Verdicts {
    /// None has any data yet.
    pub fn new(design: &Design) -> Verdicts {
        let rule = Rule {
            margin: design.margin,
            ..Rule::default()
        };
        let mut states: Vec<Option<Prefetch>> = design.prefetch.iter().copied().map(Some).collect();
        if states.len() > 1 {
            states.push(None);
        }
        let mut entries = Vec::new();
        for point in 0..design.points.len() {
            for &prefetch in &states {
                for arm in 1..design.arms.len() {
                    let seed = design.seed ^ entries.len() as u64;
                    entries.push(Entry {
                        point,
                        arm,
                        prefetch,
                        comparison: Comparison::new(rule, seed),
                    });
                }
            }
        }
        Verdicts {
            entries,
            blocks: vec![0; design.points.len()],
        }
    }

    /// Take in the samples of a finished block.
    pub fn push_block(&mut self, design: &Design, block: &Block, samples: &[Sample]) {
        self.blocks[block.point] = self.blocks[block.point].max(block.number + 1);
        // With the slot fixed there is one parity only; couples are then formed by number.
        let parity = Parity::of(
            design
                .first_slot
                .map_or(block.first_slot as u64, |_| block.number),
        );
        let find = |arm: usize, prefetch: Prefetch| {
            samples
                .iter()
                .find(|s| s.layout == design.arms[arm] && s.prefetch == prefetch.name())
        };
        let effect = |arm: usize, prefetch: Prefetch| -> Option<stats::Block> {
            let (arm, baseline) = (find(arm, prefetch)?, find(0, prefetch)?);
            Some(stats::Block {
                parity,
                log_ratio: (arm.ns_per_fault / baseline.ns_per_fault).ln(),
                valid: arm.valid && baseline.valid,
            })
        };
        for entry in self.entries.iter_mut().filter(|e| e.point == block.point) {
            let seen = match entry.prefetch {
                Some(prefetch) => effect(entry.arm, prefetch),
                None => effect(entry.arm, Prefetch::On)
                    .zip(effect(entry.arm, Prefetch::Off))
                    .map(|(on, off)| on.less(&off)),
            };
            if let Some(seen) = seen {
                entry.comparison.push(seen);
            }
        }
    }

    /// Blocks taken at a point.
    pub fn blocks(&self, point: usize) -> u64 {
        self.blocks[point]
    }

    /// Whether every comparison at a point is decided.
    pub fn is_decided(&self, point: usize) -> bool {
        self.entries
            .iter()
            .filter(|entry| entry.point == point)
            .all(|entry| entry.comparison.is_decided())
    }

    /// How many comparisons are decided, of how many.
    pub fn decided(&self) -> (usize, usize) {
        let decided = self.entries.iter().filter(|e| e.comparison.is_decided());
        (decided.count(), self.entries.len())
    }

    /// No more blocks will come: the last look, and the rows.
    pub fn finish(&mut self, design: &Design) -> Vec<VerdictRow> {
        self.entries
            .iter_mut()
            .map(|entry| {
                entry.comparison.finish();
                let point = &design.points[entry.point];
                let look = entry.comparison.latest();
                let ratio =
                    |pick: fn(&stats::Interval) -> f64| look.map(|l| pick(&l.interval).exp());
                VerdictRow {
                    backend: design.backend.clone(),
                    machine: design.machine.clone(),
                    scenario: point.scenario.clone(),
                    placement: point.placement.clone(),
                    threads: point.threads,
                    prefetch: entry
                        .prefetch
                        .map_or(ON_OVER_OFF, Prefetch::name)
                        .to_owned(),
                    baseline: design.arms[0].clone(),
                    layout: design.arms[entry.arm].clone(),
                    ratio: ratio(|i| i.estimate),
                    ratio_low: ratio(|i| i.low),
                    ratio_high: ratio(|i| i.high),
                    verdict: look
                        .map_or(stats::Verdict::Inconclusive, |l| l.verdict)
                        .name()
                        .to_owned(),
                    blocks: entry.comparison.blocks(),
                    blocks_invalid: entry.comparison.blocks_invalid(),
                }
            })
            .collect()
    }
}
