//! Verdicts as they form: one comparison for every arm, point and prefetcher state.

use super::{Block, Design, Ending, Prefetch};
use crate::results::{ON_OVER_OFF, Sample, VerdictRow};
use crate::stats::{self, Comparison, Interval, Look, Parity, Rule};

/// One arm against the baseline at one point.
struct Entry {
    point: usize,
    arm: usize,
    /// `None`: the attribution, the difference of the effects on and off.
    prefetch: Option<Prefetch>,
    blocks: Vec<stats::Block>,
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
        let rule = rule(design);
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
                        blocks: Vec::new(),
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
                entry.blocks.push(seen);
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

    /// Take in the blocks of an earlier part of the run: those of which every sample is there.
    pub fn replay(&mut self, design: &Design, samples: &[Sample]) {
        let is_of = |sample: &Sample, point: usize| {
            let point = &design.points[point];
            sample.scenario == point.scenario
                && sample.placement == point.placement
                && sample.threads == point.threads
        };
        let whole = design.arms.len() * design.prefetch.len();
        for point in 0..design.points.len() {
            let of_point: Vec<&Sample> = samples.iter().filter(|s| is_of(s, point)).collect();
            for number in 0.. {
                let rows = of_point.iter().filter(|s| s.block == number);
                let rows: Vec<Sample> = rows.map(|s| (*s).clone()).collect();
                if rows.len() != whole {
                    break;
                }
                self.push_block(design, &Block::of(design, point, number), &rows);
            }
        }
    }

    /// The rows at the end of a run.
    ///
    /// Where measuring stopped at a budget, all error that is left is spent on all blocks. Where
    /// the number of blocks was fixed, there is one look and it is the only one. Where verdicts
    /// or a person stopped it, the latest look stands: to look again at a moment chosen for its
    /// data is what the error is controlled against.
    pub fn rows(self, design: &Design, ending: Ending) -> Vec<VerdictRow> {
        let rule = rule(design);
        let rows = self.entries.into_iter().map(|entry| {
            let Entry {
                point,
                arm,
                prefetch,
                blocks,
                comparison,
            } = entry;
            let point = &design.points[point];
            let look = match ending {
                Ending::BudgetSpent => comparison.clone().finish(),
                Ending::BlocksTaken => Look::once(blocks, rule, design.seed),
                Ending::Decided | Ending::Interrupted => comparison.latest().copied(),
            };
            let ratio = |pick: fn(&Interval) -> f64| look.map(|l| pick(&l.interval).exp());
            let verdict = look.map_or(stats::Verdict::Inconclusive, |l| l.verdict);
            let units = comparison.units();
            VerdictRow {
                backend: design.backend.clone(),
                machine: design.machine.clone(),
                scenario: point.scenario.clone(),
                placement: point.placement.clone(),
                threads: point.threads,
                prefetch: prefetch.map_or(ON_OVER_OFF, Prefetch::name).to_owned(),
                baseline: design.arms[0].clone(),
                layout: design.arms[arm].clone(),
                ratio: ratio(|i| i.estimate),
                ratio_low: ratio(|i| i.low),
                ratio_high: ratio(|i| i.high),
                verdict: verdict.name().to_owned(),
                blocks: look.map_or(0, |l| l.blocks),
                blocks_invalid: units.blocks_invalid(),
            }
        });
        rows.collect()
    }
}

fn rule(design: &Design) -> Rule {
    Rule {
        margin: design.margin,
        ..Rule::default()
    }
}
