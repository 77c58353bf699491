//! `hitm layout diff`: what a change of layout costs, on several machine models and on this machine.

use super::layout_named::{MappedLayout, Named};
use super::predict::LayoutChange;
use crate::case::Quantity;
use crate::error::{Error, Result};
use crate::report::columns::Columns;
use crate::sim::Machine;
use crate::units::{change, change_interval, count};
use serde::Serialize;
use std::sync::Arc;

/// Models of several kinds of prefetchers, caches and interconnects.
const MACHINES: [&str; 5] = [
    "broadwell-ep",
    "skylake-sp",
    "sapphire-rapids",
    "zen4",
    "graviton4",
];
/// Where no thread counts are given.
const THREADS: [usize; 2] = [2, 16];
/// Instead of machines.
const NONE: &str = "none";
/// In the column of machines, where it was measured.
const HERE: &str = "here, measured";

/// What is to be predicted and measured.
#[derive(clap::Args)]
pub struct CostArgs {
    /// Machine models to predict the change of time on, names or files, or `none` [default:
    /// broadwell-ep,skylake-sp,sapphire-rapids,zen4,graviton4]
    #[arg(long, value_name = "M,…", value_delimiter = ',')]
    machines: Vec<String>,
    /// Measure it on this machine as well
    #[arg(long)]
    measure: bool,
}

impl CostArgs {
    /// Whether anything was asked for expressly.
    pub fn is_given(&self) -> bool {
        self.measure || !(self.machines.is_empty() || self.is_none())
    }

    fn is_none(&self) -> bool {
        self.machines == [NONE]
    }

    fn machines(&self) -> Result<Vec<Machine>> {
        match &self.machines[..] {
            [] => MACHINES.iter().map(|name| Machine::load(name)).collect(),
            _ if self.is_none() => Ok(Vec::new()),
            names => names
                .iter()
                .map(|name| Machine::load(name.trim()))
                .collect(),
        }
    }
}

/// The change of time on one machine with so many threads; in JSON an object.
#[derive(Serialize)]
pub struct CostRow {
    /// `simulated` or `measured`.
    kind: &'static str,
    machine: String,
    threads: usize,
    /// Of the time for an operation: 0.1 is 10 % more.
    time_change: Option<f64>,
    time_change_low: Option<f64>,
    time_change_high: Option<f64>,
    /// Why there is no change.
    why: String,
}

/// What the change from `before` to `after` costs, or why that cannot be said.
pub fn rows(
    args: &CostArgs,
    threads: &[usize],
    before: &MappedLayout,
    after: &MappedLayout,
) -> Result<std::result::Result<Vec<CostRow>, &'static str>> {
    let machines = args.machines()?;
    if machines.is_empty() && !args.measure {
        return Ok(Ok(Vec::new()));
    }
    let change = match change_of(before, after) {
        Ok(change) => change,
        Err(why) if args.is_given() => return Err(Error::Input(why.to_owned())),
        Err(why) => return Ok(Err(why)),
    };
    let asked = if threads.is_empty() {
        &THREADS
    } else {
        threads
    };
    let counts = change.threads(asked);
    let mut rows = Vec::new();
    for machine in &machines {
        let room = machine.shape.cpus();
        for &threads in counts.iter().filter(|count| **count <= room) {
            rows.push(simulated(&change, machine, threads));
        }
    }
    if args.measure {
        for &threads in &counts {
            rows.extend(measured(&change, threads)?);
        }
    }
    if rows.is_empty() && (args.is_given() || !threads.is_empty()) {
        return Err(Error::Input(format!(
            "no machine asked for has room for {}; give fewer --threads, or other --machines",
            count(counts.iter().min().copied().unwrap_or(0), "thread")
        )));
    }
    Ok(Ok(rows))
}

/// What is changed, if both are layouts that the same program runs on.
fn change_of(
    before: &MappedLayout,
    after: &MappedLayout,
) -> std::result::Result<LayoutChange, &'static str> {
    match (&before.named, &after.named) {
        (Named::BuiltIn(from), Named::BuiltIn(to)) if from != to => Ok(LayoutChange::Faults {
            from: *from,
            to: *to,
        }),
        (Named::OfCase(a, from), Named::OfCase(b, to)) if a == b && from != to => {
            Ok(LayoutChange::Case {
                case: Arc::clone(a),
                from: *from,
                to: *to,
            })
        }
        (Named::BuiltIn(_), Named::BuiltIn(_)) => Err(SAME),
        (Named::OfCase(a, _), Named::OfCase(b, _)) if a == b => Err(SAME),
        _ => Err(
            "what the change costs is predicted for two layouts of one case, or two built-in \
             layouts: hitm case new writes a case",
        ),
    }
}

const SAME: &str = "both are the same layout: there is no change to predict";

fn simulated(change: &LayoutChange, machine: &Machine, threads: usize) -> CostRow {
    let interval = change.simulated(machine, threads, Quantity::Time, None);
    let end = |log: f64| log.exp() - 1.0;
    let (interval, why) = match interval {
        Ok(interval) => (Some(interval), String::new()),
        Err(error) => (None, error.to_string()),
    };
    CostRow {
        kind: "simulated",
        machine: machine.name.clone(),
        threads,
        time_change: interval.map(|of| end(of.estimate)),
        time_change_low: interval.map(|of| end(of.low)),
        time_change_high: interval.map(|of| end(of.high)),
        why,
    }
}

/// None where so many threads do not fit here.
fn measured(change: &LayoutChange, threads: usize) -> Result<Option<CostRow>> {
    let Some(row) = change.measured(threads, None)? else {
        return Ok(None);
    };
    Ok(Some(CostRow {
        kind: "measured",
        machine: HERE.to_owned(),
        threads,
        time_change: row.ratio.map(|ratio| ratio - 1.0),
        time_change_low: row.ratio_low.map(|ratio| ratio - 1.0),
        time_change_high: row.ratio_high.map(|ratio| ratio - 1.0),
        why: match row.ratio {
            Some(_) => String::new(),
            None => format!("{}: too few usable blocks, hitm run says why", row.verdict),
        },
    }))
}

/// The rows as a table, with what stands around it.
pub fn text(rows: &[CostRow], after: &MappedLayout) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Columns::new("<>>><");
    table.row(["  machine", "threads", "time", "interval", ""]);
    let mut last = "";
    for row in rows {
        let machine = match row.machine == last {
            true => String::new(),
            false => format!("  {}", row.machine),
        };
        last = &row.machine;
        let (time, interval) = match (row.time_change, row.time_change_low, row.time_change_high) {
            (Some(time), Some(low), Some(high)) => (
                change(1.0 + time, high - low),
                change_interval(1.0 + low, 1.0 + high),
            ),
            _ => ("-".to_owned(), "-".to_owned()),
        };
        table.row([
            machine,
            row.threads.to_string(),
            time,
            interval,
            row.why.clone(),
        ]);
    }
    let what = match &after.named {
        Named::OfCase(case, _) => format!("a pass of case {}", case.name),
        _ => "a page fault, all threads in one VMA".to_owned(),
    };
    format!(
        "\nchange in the time of {what} (less is faster)\n{table}\n\
         Simulated with the placement compact, unless it says measured; intervals of 95 %.\n"
    )
}
