//! Experiments: arms, design points, blocks, samples, and the loop that drives a backend.
//!
//! Here: what is measured in which order, and when to stop. Not here: how one sample is taken
//! (`backend`, `sim`), what is concluded from samples (`judge`), and their files (`results`).

mod arm;
mod backend;
mod block;
mod case_file;
mod design;
mod drive;
mod plan;
mod point;
mod sample;

pub use arm::{Arm, LayoutName, Permille};
pub use backend::{Backend, Measured, Remarks, Unmeasured};
pub use case_file::CaseFile;
pub use design::{BackendKind, DEFAULT_MARGIN, Design, Flaw, Limits, Prefetch, check_margin};
pub use drive::{Ending, Watch, drive};
pub use plan::{Block, PlannedSample};
pub use point::{Point, Scenario, content_hash};
pub use sample::{Code, Invalid, Pace, Sample, Stratum, TransferBin};
