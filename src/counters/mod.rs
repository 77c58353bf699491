//! Hardware counters of the measured window, by role.
//!
//! Here: which event serves a role on which microarchitecture (`table`, with the data in
//! `events/*.toml`), which machine this is (`machine`), how roles share the counters of a core
//! (`plan`), counting (`open`), why a counter is missing (`refusal`), and proof that counters
//! count (`preflight`). Not here: what the backends do in the window, and the CSV.

mod machine;
mod metric;
mod open;
mod plan;
pub mod preflight;
mod refusal;
mod table;

pub use machine::{Core, Cpu, Machine, Vendor};
pub use metric::{Metric, metrics};
pub use open::{Open, Reading, Readings};
pub use plan::{Group, Missing, Plan, Planned, Scope};
pub use refusal::{Call, Conditions};
pub use table::{Event, Proof, Reach, Role, Served, Table, role, roles, select, tables};
