//! A case as an experiment: which program each arm is at each design point.

use super::arms::Arms;
use crate::case::Case;
use crate::error::{Error, Result};
use crate::experiment::{Design, Permille, PlannedSample};
use crate::program::steps::{StepsSpec, TALLIES};
use crate::program::{Blueprint, Tally};
use std::sync::Arc;

/// Every layout of a case at every design point.
pub struct CaseArms {
    case: Arc<Case>,
    /// Number of the layout, and the handicap.
    arms: Vec<(usize, Permille)>,
    /// Threads of each design point.
    threads: Vec<usize>,
    /// The last slot that the first object may lie in.
    last_slot: usize,
}

impl CaseArms {
    /// The programs of a design that has a case.
    pub fn of(design: &Design) -> Result<CaseArms> {
        let Some(case) = &design.case else {
            return Err(Error::Input("the design has no case".to_owned()));
        };
        let case = case.get().clone();
        let baseline = &design.arms[0];
        let arm = |arm: &crate::experiment::Arm| {
            let Some((layout, handicap)) = arm.measured(baseline) else {
                return Err(Error::Input(format!("{arm} needs a baseline before it")));
            };
            Ok((case.layout_number(layout.as_str())?, handicap))
        };
        Ok(CaseArms {
            arms: design.arms.iter().map(arm).collect::<Result<_>>()?,
            threads: design.points.iter().map(|point| point.threads).collect(),
            case: case.clone(),
            last_slot: design.first_slots() - 1,
        })
    }

    /// Bytes of arena that any of its programs takes.
    pub fn most_bytes(&self) -> usize {
        let points = 0..self.threads.len();
        let all = points.flat_map(|point| (0..self.arms.len()).map(move |arm| (point, arm)));
        let specs = all.map(|(point, arm)| {
            self.blueprint(&PlannedSample {
                first_slot: self.last_slot,
                ..PlannedSample::first(point, arm)
            })
        });
        specs.map(|spec| spec.bytes()).max().unwrap_or(0)
    }
}

impl Arms for CaseArms {
    type Blueprint = StepsSpec;
    const TALLIES: &'static [Tally] = TALLIES;

    fn blueprint(&self, planned: &PlannedSample) -> StepsSpec {
        StepsSpec {
            case: self.case.clone(),
            layout: self.arms[planned.arm].0,
            threads: self.threads[planned.point],
            first_slot: planned.first_slot,
            seed: planned.seed,
        }
    }

    fn handicap(&self, arm: usize) -> Permille {
        self.arms[arm].1
    }
}
