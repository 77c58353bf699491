//! Studies of one experiment of a fixed length: the ratios of its arms.

use super::conduct::{Conducted, Disturbed, conduct};
use crate::error::Result;
use crate::experiment::{Backend, Design, Limits, Point, Sample};
use crate::program::fault::FIRST_SLOTS;
use crate::report::columns::Columns;
use crate::stats::{Effect, Look, Parity, Rule, Summary, UnitOf};
use crate::units::time;
use serde::Serialize;
use std::collections::BTreeMap;

/// How long, and in which order.
#[derive(clap::Args)]
pub struct Args {
    /// Blocks at each design point
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    blocks: u64,
    /// Seed of the order
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// An arm over the baseline at one design point.
#[derive(Serialize)]
pub struct Ratio {
    point: String,
    threads: usize,
    /// Slab slot of the first object; empty for all blocks.
    first_slot: Option<usize>,
    baseline: String,
    arm: String,
    baseline_ns: f64,
    arm_ns: f64,
    ratio: f64,
    ratio_low: f64,
    ratio_high: f64,
    blocks: u64,
    blocks_invalid: u64,
}

/// What came of the experiment.
pub struct Ratios {
    /// Every arm at every point; then the last arm by slot, where that was asked for.
    pub rows: Vec<Ratio>,
    /// How much of it was disturbed.
    pub disturbed: Disturbed,
}

impl Args {
    /// Take the blocks of `design`. Refused where too few were undisturbed for an interval.
    /// `by_slot`: the last arm also by the slab slot of the first object.
    pub fn ratios(
        &self,
        design: Design,
        backend: &mut dyn Backend,
        by_slot: bool,
    ) -> Result<Ratios> {
        let design = Design {
            seed: self.seed,
            ..design
        };
        let limits = Limits {
            budget: None,
            blocks: Some(self.blocks),
        };
        let Conducted { samples, .. } = conduct(&design, limits, backend)?;
        let mut disturbed = Disturbed::default();
        disturbed.add(&samples);
        let (baseline, arms) = match design.arms.split_first() {
            Some((baseline, arms)) => (baseline.to_string(), arms),
            None => (String::new(), &[][..]),
        };
        let mut rows = Vec::new();
        for point in &design.points {
            let every = arms.iter().map(|arm| (arm.to_string(), None));
            let last = arms.last();
            let slots = FIRST_SLOTS.filter(|_| by_slot);
            let in_slot = slots.flat_map(|slot| Some((last?.to_string(), Some(slot))));
            for (arm, slot) in every.chain(in_slot) {
                match ratio(&samples, point, (&arm, &baseline), slot) {
                    Some(row) => rows.push(row),
                    None => {
                        return Err(disturbed.refuse(&format!(
                            "too few undisturbed blocks for an interval: {arm} ({})",
                            point.scenario
                        )));
                    }
                }
            }
        }
        Ok(Ratios { rows, disturbed })
    }
}

/// None: too few valid blocks.
fn ratio(
    samples: &[Sample],
    point: &Point,
    (arm, baseline): (&str, &str),
    slot: Option<usize>,
) -> Option<Ratio> {
    let of = |name: &str| -> BTreeMap<u64, &Sample> {
        let here = samples.iter().filter(|sample| sample.point == *point);
        let of = here.filter(|sample| {
            sample.arm.to_string() == name && (slot.is_none() || sample.first_slot == slot)
        });
        of.map(|sample| (sample.block, sample)).collect()
    };
    let (arms, baselines) = (of(arm), of(baseline));
    let pairs: Vec<_> = arms
        .iter()
        .filter_map(|(block, sample)| Some((*block, *sample, *baselines.get(block)?)))
        .collect();
    let effects = pairs
        .iter()
        .enumerate()
        .map(|(n, (block, sample, base))| Effect {
            // In one slot, neighbours in time form the units.
            parity: Parity::of(if slot.is_some() { n as u64 } else { *block }),
            log_ratio: (sample.ns_per_fault / base.ns_per_fault).ln(),
            valid: sample.valid && base.valid,
        });
    let look = Look::once(effects, UnitOf::SlotCouple, Rule::default())?;
    let ns = |samples: &BTreeMap<u64, &Sample>| {
        let valid = samples.values().filter(|sample| sample.valid);
        let ns: Vec<f64> = valid.map(|sample| sample.ns_per_fault).collect();
        Some(Summary::of(&ns)?.median)
    };
    Some(Ratio {
        point: point.scenario.to_string(),
        threads: point.threads,
        first_slot: slot,
        baseline: baseline.to_owned(),
        arm: arm.to_owned(),
        baseline_ns: ns(&baselines)?,
        arm_ns: ns(&arms)?,
        ratio: look.interval.ratio(),
        ratio_low: look.interval.ratio_low(),
        ratio_high: look.interval.ratio_high(),
        blocks: look.blocks,
        blocks_invalid: look.blocks_invalid,
    })
}

/// The rows for reading.
pub fn table(rows: &[Ratio]) -> String {
    let mut columns = Columns::new("<><<>>>>>");
    columns.row([
        "point",
        "threads",
        "first slot",
        "arm over baseline",
        "time",
        "over",
        "ratio",
        "interval",
        "blocks (invalid)",
    ]);
    for row in rows {
        columns.row([
            row.point.clone(),
            row.threads.to_string(),
            row.first_slot
                .map_or("all".to_owned(), |slot| slot.to_string()),
            format!("{} over {}", row.arm, row.baseline),
            time(row.arm_ns),
            time(row.baseline_ns),
            format!("{:.4}", row.ratio),
            format!("{:.4} to {:.4}", row.ratio_low, row.ratio_high),
            format!("{} ({})", row.blocks, row.blocks_invalid),
        ]);
    }
    columns.to_string()
}
