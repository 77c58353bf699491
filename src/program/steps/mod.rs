//! The roles of a case as a program.
//!
//! Here: what decides such a program, and its objects in memory. Not here: what a case is
//! (`case`), and what executes it (`backend`, `sim`).

pub mod lock;
pub mod lowered;
pub mod machine_code;
