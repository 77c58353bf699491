//! `vm_area_struct` as data: its fields, where each layout has them, the words around it.
//!
//! Here: tables of offsets, one file a kernel generation in `kernels`. Not here: how a reader
//! enters (`fault::lock`), and layouts as types (`fault::layouts`).

mod field;
pub mod kernels;
pub mod mm;
pub mod rwsem;
mod table;

pub use field::Field;
pub use table::{LockPlace, LockProtocol, Table};

use table::fields;
