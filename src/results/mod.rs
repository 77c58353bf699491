//! Results: the rows every backend produces and every other command reads.
//!
//! Here: the CSV schema, run folders and what lies in them. Not here: how a sample is taken
//! (`experiment`, `backend`) and what is concluded from it (`judge`).

pub mod address_map;
mod cells;
mod environment;
mod files;
mod folder;
mod refused;
mod roles;
mod rows;

pub use environment::{EnvironmentFile, RegisterSettings, RunRecord, RunSettings};
pub use files::{
    SAMPLE_COLUMNS, SCHEMA, SamplesFile, VERDICT_COLUMNS, read_samples, read_verdicts,
    samples_path, verdicts_csv,
};
pub(crate) use folder::slug;
pub use folder::{RunFolder, folder_of, refuse_existing, run_id, write_whole};
pub(crate) use refused::unwritable;
pub use roles::{ROLES_CSV, read_roles};
pub use rows::{Rows, read_rows};
