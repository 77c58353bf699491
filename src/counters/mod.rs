//! Hardware counters of the measured window, by role.
//!
//! Here: which event serves a role on which microarchitecture (`table`, with the data in
//! `events/*.toml`), the PMU of this machine (`pmu`), how roles take turns on it (`rotation`),
//! counting (`open`), why a counter is missing (`refusal`), and proof that counters count
//! (`preflight`). Not here: what the backends do in the window, and the CSV.

mod metric;
mod open;
mod pmu;
pub mod preflight;
mod refusal;
mod rotation;
mod table;

pub use metric::{Metric, metrics};
pub use open::{CounterValue, Missing, Open, PerfEvent, Readings};
pub use pmu::Pmu;
pub use refusal::{Call, Conditions};
pub use rotation::{Rotation, Scope};
pub use table::{CounterRole, Event, EventTable, Proof, Served, role, roles, select, tables};
