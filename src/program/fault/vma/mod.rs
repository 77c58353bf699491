//! `vm_area_struct` as data: its fields, where each layout has them, the words around it.
//!
//! Here: tables of offsets, one file a kernel generation in `kernels`, and those that are imported.
//! Not here: how a reader enters (`fault::lock`), and layouts as types (`fault::layouts`).

mod field;
mod imported;
pub mod kernels;
pub mod mm;
mod of_struct;
mod pointer;
pub mod rwsem;
mod table;

pub use field::Field;
pub use imported::ImportedLayout;
pub use pointer::Pointer;
pub use table::{LockPlace, LockProtocol, Table};

use table::fields;
