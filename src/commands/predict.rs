//! What a change of layout changes: simulated on a machine model, or measured on this machine.
//!
//! Here: one change at one thread count. Not here: which changes are asked for (`reproduce`,
//! `layout diff`), and how they are printed.

use crate::backend::arms::Arms;
use crate::backend::faults::FaultArms;
use crate::backend::native::made::MadeArms;
use crate::backend::native::{Build, Native, pool::Timing};
use crate::case::{Case, Quantity};
use crate::error::{Error, Result};
use crate::experiment::{
    BackendKind, CaseFile, Design, Ending, Limits, Point, Sample, Scenario, Watch, drive,
};
use crate::judge::{self, Terms, VerdictRow};
use crate::machine::{CpuId, Placement, Topology, threads};
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::scenario::BuiltIn;
use crate::program::fault::{FIRST_SLOTS, Spec};
use crate::program::steps::{StepsSpec, places};
use crate::program::totals::{Totals, by_role};
use crate::program::{Blueprint, steps};
use crate::sim::{Counts, Machine, run};
use crate::stats::Interval;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Seeds that each layout is simulated with, in each phase of its slots.
const SEEDS: u64 = 8;
/// How often the interval of a simulated change misses.
const ERROR: f64 = 0.05;
/// Passes of one thread, on average, in a simulated sample.
const PASSES: u64 = 1000;
/// Blocks of a native comparison: four more than an interval needs at least.
const BLOCKS: u64 = 14;

/// The layouts before and after, and what accesses them.
#[derive(Clone, Debug)]
pub enum LayoutChange {
    /// Two layouts of a case, by number, and its roles.
    Case {
        /// The case.
        case: Arc<Case>,
        /// The layout before.
        from: usize,
        /// The layout after.
        to: usize,
    },
    /// Two built-in layouts of the VMA, and page faults of all threads in one.
    Faults {
        /// The layout before.
        from: VmaLayout,
        /// The layout after.
        to: VmaLayout,
    },
}

/// Which of the two layouts a sample has.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    From,
    To,
}

impl LayoutChange {
    /// Thread counts that come of those asked for: of a case its least where it needs more, or
    /// runs with no other.
    pub fn threads(&self, asked: &[usize]) -> Vec<usize> {
        let mut counts = Vec::new();
        for &threads in asked {
            let threads = match self {
                LayoutChange::Case { case, .. } => match steps::roles::has_rest(case) {
                    true => threads.max(case.least_threads()),
                    false => case.least_threads(),
                },
                LayoutChange::Faults { .. } => threads,
            };
            if !counts.contains(&threads) {
                counts.push(threads);
            }
        }
        counts
    }

    /// How much more of `quantity` there is with the layout after, on `machine`: the logarithm of
    /// the ratio, over seeds and over all phases of the slots.
    pub fn simulated(
        &self,
        machine: &Machine,
        threads: usize,
        quantity: Quantity,
        role: Option<&str>,
    ) -> Result<Interval> {
        let figure = |sample: &run::Run| figure(quantity, role, sample);
        match self {
            LayoutChange::Case { case, from, to } => {
                let phases = [from, to].map(|of| places::phases(case, &case.layouts[*of]));
                let program = |side, first_slot, seed| StepsSpec {
                    case: case.clone(),
                    layout: if side == Side::To { *to } else { *from },
                    threads,
                    first_slot,
                    seed,
                };
                interval(machine, phases[0].max(phases[1]), program, figure)
            }
            LayoutChange::Faults { from, to } => {
                let program = |side, first_slot, _| Spec {
                    first_slot,
                    ..Spec::new(
                        if side == Side::To { *to } else { *from },
                        BuiltIn::OneVma,
                        threads,
                    )
                };
                interval(machine, FIRST_SLOTS.len(), program, figure)
            }
        }
    }

    /// The layout after against the one before on this machine, in time for an operation of `role`;
    /// none where so many threads do not fit, or nothing was usable.
    pub fn measured(&self, threads: usize, role: Option<&str>) -> Result<Option<VerdictRow>> {
        let topology = Topology::here()?;
        let placement = Placement::Compact;
        if placement.order(&topology)?.len() < threads {
            return Ok(None);
        }
        let (case, scenario, names) = match self {
            LayoutChange::Case { case, from, to } => (
                Some(CaseFile::new((**case).clone())),
                Scenario::Case(case.name.clone()),
                [from, to].map(|of| case.layouts[*of].name.as_str()),
            ),
            LayoutChange::Faults { from, to } => {
                let names = [from.name(), to.name()];
                (None, Scenario::BuiltIn(BuiltIn::OneVma), names)
            }
        };
        let point = Point {
            scenario,
            placement: placement.clone(),
            threads,
        };
        let arms = names.iter().map(|name| name.parse());
        let arms = Design::with_again(arms.collect::<Result<_>>()?);
        let design = Design {
            case,
            ..Design::new(BackendKind::Native, "", arms, vec![point])
        };
        design.check()?;
        let cpus = placement.plan(&topology, threads, false)?.cpus;
        let rows = match self {
            LayoutChange::Case { .. } => rows(MadeArms::of(&design)?, cpus, &design)?,
            LayoutChange::Faults { .. } => rows(FaultArms::of(&design)?, cpus, &design)?,
        };
        let terms = Terms {
            baseline: design.arms[0].clone(),
            margin: design.margin,
            ending: Ending::BlocksTaken,
        };
        let of_role = role.and_then(|role| rows.roles.get(role));
        let judged = judge::verdicts(of_role.unwrap_or(&rows.all), &terms);
        Ok(judged
            .into_iter()
            .find(|row| Some(&row.arm) == design.arms.get(2)))
    }
}

/// The logarithm of the ratio of two figures, over `phases` first slots and over seeds.
fn interval<B: Blueprint>(
    machine: &Machine,
    phases: usize,
    program: impl Fn(Side, usize, u64) -> B + Sync,
    figure: impl Fn(&run::Run) -> f64 + Sync,
) -> Result<Interval> {
    let pairs: Vec<(usize, u64)> = (0..phases)
        .flat_map(|slot| (0..SEEDS).map(move |seed| (slot, seed)))
        .collect();
    let log_ratio = |&(first_slot, seed): &(usize, u64)| {
        let figure = |side| {
            // Samples of two layouts differ in their chances, as samples of a machine do.
            let chances = 2 * seed + u64::from(side == Side::To);
            let program = program(side, first_slot, seed);
            let spec = run::SampleSpec::new(program, Placement::Compact, chances, PASSES);
            run::run(machine, &spec).map(|sample| figure(&sample))
        };
        Ok((figure(Side::To)? / figure(Side::From)?).ln())
    };
    threads::for_simulations()?;
    let ratios: Vec<f64> = pairs.par_iter().map(log_ratio).collect::<Result<_>>()?;
    if ratios.iter().any(|ratio| !ratio.is_finite()) {
        return Err(Error::Input(
            "there is none of it in a simulated sample, so that no ratio can be given".to_owned(),
        ));
    }
    Interval::of(&ratios, 0.0, ERROR)
        .ok_or_else(|| Error::Input("too few simulated samples for an interval".to_owned()))
}

/// That quantity of a sample.
fn figure(quantity: Quantity, role: Option<&str>, sample: &run::Run) -> f64 {
    let roles = by_role(&sample.threads);
    let totals = match role.and_then(|role| roles.get(role)) {
        Some(threads) => Totals::of(threads),
        None => Totals::of(&sample.threads),
    };
    match quantity {
        Quantity::Throughput => 1.0 / totals.ns_per_fault,
        Quantity::Time => totals.ns_per_fault,
        Quantity::Hitm => hitm(&sample.counts) / totals.faults as f64,
    }
}

fn hitm(counts: &Counts) -> f64 {
    let of =
        |(role, count): (&str, u64)| matches!(role, "hitm_local" | "hitm_remote").then_some(count);
    counts.iter().filter_map(of).sum::<u64>() as f64
}

/// The rows of a short native run of `design`, which has one point.
fn rows<A: Arms + Build>(arms: A, cpus: Vec<CpuId>, design: &Design) -> Result<Rows> {
    let mut backend = Native::new(arms, vec![cpus], Timing::default())?;
    let limits = Limits {
        budget: None,
        blocks: Some(BLOCKS),
    };
    let mut rows = Rows::default();
    let never = AtomicBool::new(false);
    drive(design, limits, &mut [0], &mut backend, &mut rows, &never)?;
    Ok(rows)
}

/// Keeps the rows of a short run.
#[derive(Default)]
struct Rows {
    all: Vec<Sample>,
    roles: BTreeMap<String, Vec<Sample>>,
}

impl Watch for Rows {
    fn block(&mut self, samples: Vec<Sample>, roles: Vec<Sample>) -> Result<()> {
        self.all.extend(samples);
        for row in roles {
            let role = row.role.clone().unwrap_or_default();
            self.roles.entry(role).or_default().push(row);
        }
        Ok(())
    }

    fn is_decided(&self, _point: &Point) -> bool {
        false
    }
}
