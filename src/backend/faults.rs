//! Page faults as an experiment: which program each arm is at each design point.

use super::arms::Arms;
use crate::error::{Error, Result};
use crate::experiment::{Arm, Design, LayoutName, Permille, PlannedSample};
use crate::program::Tally;
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario::BuiltIn;
use crate::program::fault::{Spec, TALLIES};
use crate::sim::local_work::LocalWork;

/// Every arm at every design point, whatever executes it.
pub struct FaultArms {
    arms: Vec<(VmaLayout, Permille)>,
    /// Number of the placebo, if it is among them.
    pub(super) recompiled: Option<usize>,
    /// Scenario and thread count of each design point.
    points: Vec<(BuiltIn, usize)>,
    work: PageWork,
    /// Whether layouts are read from tables while the path runs: all, where one has to be.
    pub(super) at_run_time: bool,
    /// Local work of each design point; empty unless a fault is to take a given time.
    pub(super) local: Vec<LocalWork>,
}

impl FaultArms {
    /// The programs of `arms`, of which the first is the baseline, at points of these scenarios
    /// and thread counts; each fault does `work` apart from reading fields.
    pub fn new(arms: &[Arm], points: Vec<(BuiltIn, usize)>, work: PageWork) -> Result<FaultArms> {
        FaultArms::made_of(arms, |name| VmaLayout::parse(name.as_str()), points, work)
    }

    /// The same, of layouts that `named` finds by their names.
    fn made_of(
        arms: &[Arm],
        named: impl Fn(&LayoutName) -> Result<VmaLayout>,
        points: Vec<(BuiltIn, usize)>,
        work: PageWork,
    ) -> Result<FaultArms> {
        let arm = |arm: &Arm| match arm.measured(&arms[0]) {
            Some((layout, handicap)) => Ok((named(layout)?, handicap)),
            None => Err(Error::Input(format!("{arm} needs a baseline before it"))),
        };
        let made: Vec<(VmaLayout, Permille)> = arms.iter().map(arm).collect::<Result<_>>()?;
        let is_imported = |(layout, _): &_| matches!(layout, VmaLayout::Imported(_));
        Ok(FaultArms {
            at_run_time: made.iter().any(is_imported),
            recompiled: arms.iter().position(|arm| *arm == Arm::Recompiled),
            arms: made,
            points,
            work,
            local: Vec::new(),
        })
    }

    /// The programs of a design.
    pub fn of(design: &Design) -> Result<FaultArms> {
        let points = design.points.iter();
        let points = points.map(|point| Ok((point.scenario.built_in()?, point.threads)));
        let points = points.collect::<Result<_>>()?;
        let named = |name: &LayoutName| design.vma_layout(name);
        FaultArms::made_of(&design.arms, named, points, design.page_work)
    }

    /// Every design point with every arm.
    pub fn all(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let arms = self.arms.len();
        (0..self.points.len()).flat_map(move |point| (0..arms).map(move |arm| (point, arm)))
    }

    /// What the machine code of arm number `arm` is called: arms of one name are compiled from the
    /// same steps on fields that lie elsewhere.
    pub fn code(&self, arm: usize) -> String {
        let table = self.arms[arm].0.table();
        let split = table.lock_cache().map_or("", |_| "-split");
        let recompiled = match self.recompiled == Some(arm) {
            true => "-recompiled",
            false => "",
        };
        format!("{}{split}{recompiled}", table.protocol.name())
    }

    /// The program of arm number `arm` at point number `point`.
    pub fn spec(&self, point: usize, arm: usize, first_slot: usize) -> Spec {
        let (scenario, threads) = self.points[point];
        Spec {
            layout: self.arms[arm].0,
            scenario,
            threads,
            first_slot,
            work: self.work,
        }
    }
}

impl Arms for FaultArms {
    type Blueprint = Spec;
    const TALLIES: &'static [Tally] = TALLIES;

    fn blueprint(&self, planned: &PlannedSample) -> Spec {
        let spec = self.spec(planned.point, planned.arm, planned.first_slot);
        match self.local.get(planned.point) {
            Some(local) => local.beside(spec),
            None => spec,
        }
    }

    fn handicap(&self, arm: usize) -> Permille {
        self.arms[arm].1
    }

    fn local(&self, point: usize) -> Option<LocalWork> {
        self.local.get(point).copied()
    }
}
