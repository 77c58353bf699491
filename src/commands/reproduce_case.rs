//! `hitm reproduce CASE`: the changes that others have published beside simulated ones, and native
//! ones where their threads fit here.

use super::options::Format;
use super::predict::LayoutChange;
use crate::case::{Case, Published, PublishedMachine, Quantity};
use crate::error::{Error, Result};
use crate::report::columns::Columns;
use crate::sim::Machine;
use crate::sim::machine::Shape;
use crate::stats::Interval;
use crate::units::{change, change_interval, count};
use serde::Serialize;
use std::sync::Arc;

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
    /// enough to nothing. None where there is no change, or its interval is on both sides.
    fn is_right(&self) -> Option<bool> {
        let simulated = self.simulated_change?;
        Some(match self.null {
            true => simulated.abs() <= NULL,
            false if self.simulated_low? <= 0.0 && self.simulated_high? >= 0.0 => return None,
            false => simulated * self.published_change > 0.0,
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
    let change = LayoutChange::Case {
        case: case.clone(),
        from: case.layout_number(&published.from)?,
        to: case.layout_number(&published.to)?,
    };
    let (machine, simulated) = match machine(&published.machine) {
        Ok(machine) => {
            let simulated = simulated(&change, published, &machine);
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
        native_change: match native(&change, published) {
            // Of this machine alone: the model's figure stands without.
            Err(Error::Refused(_)) => None,
            native => native?,
        },
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
/// logarithm of the ratio.
fn simulated(change: &LayoutChange, published: &Published, machine: &Machine) -> Result<Interval> {
    let role = published.role.as_deref();
    change.simulated(machine, published.threads, published.quantity, role)
}

/// The same on this machine; none where its threads do not fit, or no counter tells.
fn native(change: &LayoutChange, published: &Published) -> Result<Option<f64>> {
    if published.quantity == Quantity::Hitm {
        return Ok(None);
    }
    let row = change.measured(published.threads, published.role.as_deref())?;
    let ratio = row.and_then(|row| row.ratio);
    Ok(ratio.map(|ratio| match published.quantity {
        Quantity::Time => ratio - 1.0,
        _ => 1.0 / ratio - 1.0,
    }))
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
            None if row.why.is_empty() => "undecided",
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
    let simulated = rows.iter().filter(|row| row.simulated_change.is_some());
    text += &format!(
        "\nChanges are of throughput unless it says otherwise; residuals are in points. A machine with \
         * stands in\nfor one that has no model; 4x18 is the model with 4 sockets of 18 cores.\n\
         Of {}, {right} have the right sign (the whole interval is on the published side; where \
         nothing\nchanged, null, the estimate is within {:.0} %), {} the wrong one, {} are undecided. \
         Nothing of\nthe models was calibrated on these figures.\n\nsources\n",
        count(rows.len(), "change"),
        100.0 * NULL,
        judged.len() - right,
        simulated.count() - judged.len()
    );
    for row in rows {
        text += &format!("  {}, {} threads: {}\n", row.case, row.threads, row.source);
    }
    text
}
