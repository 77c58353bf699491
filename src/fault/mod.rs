//! The page-fault fast path.

pub mod arena;
pub mod memory;
