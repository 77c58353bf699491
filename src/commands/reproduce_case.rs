//! `hitm reproduce CASE`: the changes that others have published beside simulated ones, and native
//! ones where their threads fit here.

use super::options::Format;
use crate::backend::native::made::MadeArms;
use crate::backend::native::{Native, pool::Timing};
use crate::case::{Case, Published, PublishedMachine, Quantity};
use crate::error::{Error, Result};
use crate::experiment::{
    BackendKind, CaseFile, Design, Ending, Limits, Point, Sample, Scenario, Watch, drive,
};
use crate::judge::{self, Terms};
use crate::machine::{Placement, Topology};
use crate::program::steps::{StepsSpec, places};
use crate::program::totals::{Totals, by_role};
use crate::report::columns::Columns;
use crate::sim::machine::Shape;
use crate::sim::{Counts, Machine, run};
use crate::stats::Interval;
use crate::units::{change, change_interval};
use rayon::prelude::*;
use serde::Serialize;
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
/// Where nothing changed, a change of this much at most is right.
const NULL: f64 = 0.03;

/// A published change beside ours; a row of the CSV.
#[derive(Clone, Debug, Serialize)]
pub struct Reproduced {
    case: String,
    from: String,
    to: String,
    machine: String,
    threads: usize,
    published_change: f64,
    simulated_change: Option<f64>,
    native_change: Option<f64>,
    /// The ends of the interval of the simulated change.
    simulated_low: Option<f64>,
    simulated_high: Option<f64>,
    quantity: Quantity,
    role: Option<String>,
    null: bool,
    stands_in: bool,
    /// Why there is no simulated change.
    why: String,
    #[serde(skip)]
    source: String,
}

impl Reproduced {
    /// Whether the simulated change is on the published side, its whole interval; of a null, near
    /// enough to nothing.
    fn is_right(&self) -> Option<bool> {
        let simulated = self.simulated_change?;
        Some(match self.null {
            true => simulated.abs() <= NULL,
            false if self.published_change > 0.0 => self.simulated_low? > 0.0,
            false => self.simulated_high? < 0.0,
        })
    }
}

/// Every published change of `case`.
pub fn reproduce(case: Case) -> Result<Vec<Reproduced>> {
    let case = Arc::new(case);
    let published = case.published.iter();
    published.map(|published| one(&case, published)).collect()
}

fn one(case: &Arc<Case>, published: &Published) -> Result<Reproduced> {
    let (machine, simulated) = match machine(&published.machine) {
        Ok(machine) => {
            let simulated = simulated(case, published, &machine);
            (name(&published.machine), simulated)
        }
        Err(error) => (name(&published.machine), Err(error)),
    };
    let (simulated, why) = match simulated {
        Ok(interval) => (Some(interval), String::new()),
        Err(error) => (None, error.to_string()),
    };
    let end = |pick: fn(&Interval) -> f64| simulated.map(|of| pick(&of).exp() - 1.0);
    Ok(Reproduced {
        case: case.name.clone(),
        from: published.from.clone(),
        to: published.to.clone(),
        machine,
        threads: published.threads,
        published_change: published.change,
        simulated_change: end(|of| of.estimate),
        simulated_low: end(|of| of.low),
        simulated_high: end(|of| of.high),
        native_change: native(case, published)?,
        quantity: published.quantity,
        role: published.role.clone(),
        null: published.null,
        stands_in: published.stands_in,
        why,
        source: published.source.clone(),
    })
}

fn name(machine: &PublishedMachine) -> String {
    match machine {
        PublishedMachine::Model(model) => model.clone(),
        PublishedMachine::Like {
            model,
            sockets,
            cores,
        } => format!("{model} {sockets}x{cores}"),
    }
}

/// The model, of the size that was published.
fn machine(published: &PublishedMachine) -> Result<Machine> {
    match published {
        PublishedMachine::Model(model) => Machine::load(model),
        PublishedMachine::Like {
            model,
            sockets,
            cores,
        } => {
            let machine = Machine::load(model)?;
            let shape = Shape {
                sockets: *sockets,
                cores_per_llc: cores.div_ceil(machine.shape.llcs_per_socket),
                ..machine.shape
            };
            Ok(Machine { shape, ..machine })
        }
    }
}

/// How much more of the published quantity there is with the layout `to`, on `machine`: the
/// logarithm of the ratio, over seeds and over all phases of the slots.
fn simulated(case: &Arc<Case>, published: &Published, machine: &Machine) -> Result<Interval> {
    let from = case.layout_number(&published.from)?;
    let to = case.layout_number(&published.to)?;
    let phases = [from, to].map(|layout| places::phases(case, &case.layouts[layout]));
    let pairs: Vec<(usize, u64)> = (0..phases[0].max(phases[1]))
        .flat_map(|slot| (0..SEEDS).map(move |seed| (slot, seed)))
        .collect();
    let log_ratio = |&(first_slot, seed): &(usize, u64)| {
        let figure = |layout| {
            let program = StepsSpec {
                case: case.clone(),
                layout,
                threads: published.threads,
                first_slot,
                seed,
            };
            // Samples of two layouts differ in their chances, as samples of a machine do.
            let chances = 2 * seed + u64::from(layout == to);
            let spec = run::SampleSpec::new(program, Placement::Compact, chances, PASSES);
            run::run(machine, &spec).map(|sample| figure(published, &sample))
        };
        Ok((figure(to)? / figure(from)?).ln())
    };
    let ratios: Vec<f64> = pairs.par_iter().map(log_ratio).collect::<Result<_>>()?;
    if ratios.iter().any(|ratio| !ratio.is_finite()) {
        return Err(Error::Input(
            "there is none of it in a simulated sample, so that no ratio can be given".to_owned(),
        ));
    }
    Interval::of(&ratios, 0.0, ERROR, 1)
        .ok_or_else(|| Error::Input("too few simulated samples for an interval".to_owned()))
}

/// The published quantity of a sample.
fn figure(published: &Published, sample: &run::Run) -> f64 {
    let totals = match &published.role {
        None => Totals::of(&sample.threads),
        Some(role) => {
            let roles = by_role(&sample.threads);
            roles.get(role.as_str()).map_or_else(
                || Totals::of(&sample.threads),
                |threads| Totals::of(threads),
            )
        }
    };
    match published.quantity {
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

/// The same on this machine; none where its threads do not fit, or no counter tells.
fn native(case: &Arc<Case>, published: &Published) -> Result<Option<f64>> {
    let topology = Topology::here()?;
    let placement = Placement::Compact;
    if published.quantity == Quantity::Hitm || placement.order(&topology)?.len() < published.threads
    {
        return Ok(None);
    }
    let arms = [&published.from, &published.to].map(|name| name.parse());
    let [from, to] = arms;
    let point = Point {
        scenario: Scenario::Case(case.name.clone()),
        placement: placement.clone(),
        threads: published.threads,
    };
    let arms = Design::with_again(vec![from?, to?]);
    let design = Design {
        case: Some(CaseFile::new((**case).clone())),
        ..Design::new(BackendKind::Native, "", arms, vec![point])
    };
    design.check()?;
    let cpus = placement.plan(&topology, published.threads, false)?.cpus;
    let mut backend = Native::new(MadeArms::of(&design)?, vec![cpus], Timing::default())?;
    let limits = Limits {
        budget: None,
        blocks: Some(BLOCKS),
    };
    let mut rows = Rows::default();
    let never = AtomicBool::new(false);
    drive(&design, limits, &mut [0], &mut backend, &mut rows, &never)?;
    let terms = Terms {
        baseline: design.arms[0].clone(),
        margin: design.margin,
        ending: Ending::BlocksTaken,
    };
    let judged = match &published.role {
        Some(role) if rows.roles.contains_key(role) => judge::verdicts(&rows.roles[role], &terms),
        _ => judge::verdicts(&rows.all, &terms),
    };
    let ratio = judged.iter().find(|row| row.arm == design.arms[2]);
    let ratio = ratio.and_then(|row| row.ratio);
    Ok(ratio.map(|ratio| match published.quantity {
        Quantity::Time => ratio - 1.0,
        _ => 1.0 / ratio - 1.0,
    }))
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

/// The rows for people, or in another format.
pub fn render(format: Format, rows: &[Reproduced]) -> String {
    super::rows(format, rows, table)
}

fn table(rows: &[Reproduced]) -> String {
    let mut columns = Columns::new("<<<>>>>>><");
    columns.row([
        "case",
        "change",
        "machine",
        "threads",
        "published",
        "simulated",
        "interval",
        "residual",
        "native",
        "sign",
    ]);
    let percent = |value: f64| change(1.0 + value, 0.01);
    for row in rows {
        let mut what = format!("{} to {}", row.from, row.to);
        if row.quantity != Quantity::Throughput {
            what += &format!(", {}", row.quantity);
        }
        if let Some(role) = &row.role {
            what += &format!(", {role}");
        }
        let sign = match row.is_right() {
            Some(true) => "right",
            Some(false) => "WRONG",
            None => &row.why,
        };
        let residual = row
            .simulated_change
            .map(|simulated| format!("{:+.1}", 100.0 * (simulated - row.published_change)));
        columns.row([
            row.case.clone(),
            what,
            row.machine.clone() + if row.stands_in { "*" } else { "" },
            row.threads.to_string(),
            percent(row.published_change) + if row.null { " (null)" } else { "" },
            row.simulated_change.map_or("-".to_owned(), percent),
            match (row.simulated_low, row.simulated_high) {
                (Some(low), Some(high)) => change_interval(1.0 + low, 1.0 + high),
                _ => "-".to_owned(),
            },
            residual.unwrap_or("-".to_owned()),
            row.native_change.map_or("-".to_owned(), percent),
            sign.to_owned(),
        ]);
    }
    let mut text = columns.to_string();
    let judged: Vec<bool> = rows.iter().filter_map(Reproduced::is_right).collect();
    let right = judged.iter().filter(|right| **right).count();
    text += &format!(
        "\nChanges are of throughput unless it says otherwise; residuals are in points. A machine with \
         * stands in\nfor one that has no model; 4x18 is the model with 4 sockets of 18 cores.\n\
         {right} of {} have the right sign: the whole interval is on the published side; where nothing \
         changed\n(null), the estimate is within {:.0} %. Nothing of the models was calibrated on \
         these figures.\n\nsources\n",
        judged.len(),
        100.0 * NULL
    );
    for row in rows {
        text += &format!("  {}, {} threads: {}\n", row.case, row.threads, row.source);
    }
    text
}
