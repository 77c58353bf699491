//! Never merged: as `split-packed`, with every lock object on a line of its own, as Mateusz
//! Guzik proposed. Against `split-packed` it isolates the sharing between locks.

use crate::layout::SlabCache;
use crate::program::fault::vma::{LockPlace, Table, rwsem};
use crate::space::LINE;

/// x86-64 defconfig.
pub const TABLE: Table = Table {
    name: "split-aligned",
    source: "v6.12 with SLAB_HWCACHE_ALIGN on the lock cache (discussion of lore.kernel.org 20240808185949.1094891-1-mjguzik@gmail.com)",
    lock: LockPlace::Split(SlabCache::new(rwsem::BYTES, LINE, 1)),
    ..super::split_packed::TABLE
};
