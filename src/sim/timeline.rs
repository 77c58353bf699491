//! A record of line transfers that Perfetto and `chrome://tracing` open.

use super::machine::Picos;
use super::request::{DataFrom, Origin, Transaction, Want};
use serde_json::json;
use std::io::{self, Write};

/// Events kept at most: 200,000 open in a browser in seconds, and show some milliseconds.
const LIMIT: usize = 200_000;

/// A line that was given to a core.
#[derive(Clone, Copy)]
pub(super) struct Fill {
    /// Whose request it was.
    pub thread: u16,
    /// The request.
    pub transaction: Transaction,
    /// Where the data came from.
    pub from: DataFrom,
    /// When the request arrived at the line.
    pub asked: Picos,
    /// When it was served.
    pub served: Picos,
    /// When the data reached the core.
    pub ready: Picos,
}

/// The first line transfers of a simulation.
#[derive(Default)]
pub struct Timeline {
    fills: Vec<Fill>,
}

impl Timeline {
    /// Record it, if there is room.
    pub(super) fn fill(&mut self, fill: Fill) {
        if self.fills.len() < LIMIT {
            self.fills.push(fill);
        }
    }

    /// Write it in the Trace Event Format; `name` gives each line a name.
    pub fn write(&self, out: &mut dyn Write, name: impl Fn(u32) -> String) -> io::Result<()> {
        writeln!(out, "[")?;
        let micros = |at: Picos| at as f64 / 1e6;
        for (index, fill) in self.fills.iter().enumerate() {
            let what = match (fill.transaction.origin, fill.transaction.want) {
                (Origin::Demand, Want::Read) => "load",
                (Origin::Demand, Want::Own) => "RFO",
                (Origin::Prefetch, Want::Read) => "prefetch",
                (Origin::Prefetch, Want::Own) => "prefetch RFO",
            };
            let from = match fill.from {
                DataFrom::Itself => "upgrade".to_owned(),
                DataFrom::Core(core) => format!("core {core}"),
                DataFrom::Llc => "LLC".to_owned(),
                DataFrom::Memory => "memory".to_owned(),
            };
            let event = json!({
                "name": format!("{what} {}", name(fill.transaction.line)),
                "cat": what,
                "ph": "X",
                "pid": 0,
                "tid": fill.thread,
                "ts": micros(fill.asked),
                "dur": micros(fill.ready - fill.asked),
                "args": {
                    "from": from,
                    "queued_ns": (fill.served - fill.asked) as f64 / 1e3,
                },
            });
            let comma = if index + 1 < self.fills.len() {
                ","
            } else {
                ""
            };
            writeln!(out, "{event}{comma}")?;
        }
        writeln!(out, "]")
    }
}
