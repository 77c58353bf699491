//! The native backend.
pub mod memory;
pub mod program;
