//! Never merged: as `split-packed`, with every lock object on a line of its own, as Mateusz
//! Guzik proposed. Against `split-packed` it isolates the sharing between locks.

use super::super::table::{LockPlace, Table, rwsem};
use super::split_packed;
use crate::layout::Cache;
use crate::space::LINE;

/// The layout.
pub const TABLE: Table = Table {
    name: "split-aligned",
    source: "v6.12 with SLAB_HWCACHE_ALIGN on the lock cache (discussion of lore.kernel.org 20240808185949.1094891-1-mjguzik@gmail.com)",
    lock: LockPlace::Split(Cache::new(rwsem::BYTES, LINE, 1)),
    ..split_packed::TABLE
};

/// The same layout under larger configurations: those of `split-packed`.
pub const VARIANTS: &[Table] = &[];
