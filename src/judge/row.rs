//! The rows of `verdicts.csv`.

use super::strata::Factor;
use crate::experiment::{Arm, BackendKind, Point, Prefetch, Stratum};
use crate::stats::Verdict;
use crate::text::words;
use std::collections::BTreeMap;

words! {
    /// Under which state of the prefetcher arms are compared.
    pub enum Compared as "state of the prefetcher" {
        /// As the machine has it.
        AsIs = "as-is",
        /// Switched on.
        On = "on",
        /// Switched off.
        Off = "off",
        /// The attribution: the effect with the prefetcher on over the effect with it off.
        OnOverOff = "on-off",
    }
}

impl From<Prefetch> for Compared {
    fn from(prefetch: Prefetch) -> Compared {
        match prefetch {
            Prefetch::AsIs => Compared::AsIs,
            Prefetch::On => Compared::On,
            Prefetch::Off => Compared::Off,
        }
    }
}

/// One row of `verdicts.csv`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct VerdictRow {
    /// What executed the samples.
    pub backend: BackendKind,
    /// The machine.
    pub machine: String,
    /// Where in the design.
    #[serde(flatten)]
    pub point: Point,
    /// Under which state of the prefetcher.
    pub prefetch: Compared,
    /// The arm compared against.
    pub baseline: Arm,
    /// The arm compared.
    #[serde(rename = "layout")]
    pub arm: Arm,
    /// Time per fault over the baseline's; above 1 is slower.
    pub ratio: Option<f64>,
    /// Lower end of the interval.
    pub ratio_low: Option<f64>,
    /// Upper end of the interval.
    pub ratio_high: Option<f64>,
    /// What the interval says.
    pub verdict: Verdict,
    /// Valid blocks that entered the comparison.
    pub blocks: u64,
    /// Blocks set aside as invalid.
    pub blocks_invalid: u64,
    /// The state of the machine that the row is about; a part is empty where the row is about all.
    #[serde(flatten)]
    pub stratum: Stratum,
    /// The role whose threads are compared; empty for all.
    pub role: Option<String>,
    /// Identifier of the run.
    pub run: String,
    /// What the user calls the run.
    pub label: String,
    /// What a verdict `depends` on: factors joined with `;`.
    pub depends_on: String,
    /// Share of the blocks in which the arm is far slower or faster than in the others, if that is a
    /// tail of its own; in the row over all states, where they agree.
    pub tail_share: Option<f64>,
    /// By which factor it is that in them.
    pub tail_ratio: Option<f64>,
}

impl VerdictRow {
    /// Whether it is about all states of the machine.
    pub fn is_whole(&self) -> bool {
        self.stratum == Stratum::default()
    }

    /// The same for all rows of one comparison, in whatever state.
    fn comparison(&self) -> impl Ord + use<> {
        (
            (self.backend, self.prefetch, self.point.clone()),
            (self.baseline.clone(), self.arm.clone()),
            (self.machine.clone(), self.run.clone(), self.role.clone()),
        )
    }
}

/// The rows that a reader is shown: of each comparison the one over all states, and where that
/// depends on the state, those of the states it depends on.
pub fn shown(rows: &[VerdictRow]) -> impl Iterator<Item = &VerdictRow> {
    let depends = rows.iter().filter(|row| row.verdict == Verdict::Depends);
    let depends: BTreeMap<_, &str> = depends
        .map(|row| (row.comparison(), row.depends_on.as_str()))
        .collect();
    rows.iter().filter(move |row| {
        let factors = || Factor::joined(&Factor::of(&row.stratum));
        row.is_whole()
            || depends
                .get(&row.comparison())
                .is_some_and(|depends_on| *depends_on == factors())
    })
}
