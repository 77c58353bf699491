//! A record of line transfers that Perfetto and `chrome://tracing` open.

use super::machine::Picos;
use super::request::{From, Origin, Want};
use serde_json::json;
use std::io::{self, Write};

/// Events kept at most: 200,000 open in a browser in seconds, and show some milliseconds.
const LIMIT: usize = 200_000;

#[derive(Clone, Copy)]
struct Fill {
    thread: u16,
    line: u32,
    origin: Origin,
    want: Want,
    from: From,
    asked: Picos,
    served: Picos,
    ready: Picos,
}

/// The first line transfers of a simulation.
#[derive(Default)]
pub struct Timeline {
    fills: Vec<Fill>,
}

impl Timeline {
    /// A line was given to a thread's core.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn fill(
        &mut self,
        thread: usize,
        origin: Origin,
        want: Want,
        line: u32,
        asked: Picos,
        served: Picos,
        ready: Picos,
        from: From,
    ) {
        if self.fills.len() < LIMIT {
            self.fills.push(Fill {
                thread: thread as u16,
                line,
                origin,
                want,
                from,
                asked,
                served,
                ready,
            });
        }
    }

    /// Write it in the Trace Event Format; `name` gives each line a name.
    pub fn write(&self, out: &mut dyn Write, name: impl Fn(u32) -> String) -> io::Result<()> {
        writeln!(out, "[")?;
        let micros = |at: Picos| at as f64 / 1e6;
        for (index, fill) in self.fills.iter().enumerate() {
            let what = match (fill.origin, fill.want) {
                (Origin::Demand, Want::Read) => "load",
                (Origin::Demand, Want::Own) => "RFO",
                (Origin::Prefetch, Want::Read) => "prefetch",
                (Origin::Prefetch, Want::Own) => "prefetch RFO",
            };
            let from = match fill.from {
                From::Itself => "upgrade".to_owned(),
                From::Core(core) => format!("core {core}"),
                From::Llc => "LLC".to_owned(),
                From::Memory => "memory".to_owned(),
            };
            let event = json!({
                "name": format!("{what} {}", name(fill.line)),
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
