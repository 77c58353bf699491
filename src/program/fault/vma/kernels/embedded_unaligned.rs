//! The first per-VMA lock (the series for 6.4, before its last patch): an `rw_semaphore` right
//! after `vm_flags`, so that `count` and `owner` share a line with every field that a fault reads
//! first; the slab is not aligned to lines.

use crate::layout::SlabCache;
use crate::program::fault::vma::{LockPlace, LockProtocol, Table, fields};

/// x86-64 defconfig.
pub const TABLE: Table = Table {
    name: "embedded-unaligned",
    source: "6.4 series, 'mm: add per-VMA lock and helper functions to control it' (lore.kernel.org 20230227173632.3292573-1-surenb@google.com)",
    protocol: LockProtocol::Rwsem,
    lock: LockPlace::Embedded,
    bytes: 200,
    cache: SlabCache::new(200, 8, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, vm_lock_seq@40, rwsem@48,
        detached@88, shared@96, anon_vma_chain@128, anon_vma@144, vm_ops@152, vm_pgoff@160,
        vm_file@168, vm_private_data@176, swap_readahead_info@184, vm_policy@192,
    },
};

/// 6.4 series with every configuration option.
pub const ALL: Table = Table {
    name: "embedded-unaligned@all",
    source: "6.4 series with every configuration option",
    bytes: 216,
    cache: SlabCache::new(216, 8, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, vm_lock_seq@40, rwsem@48,
        detached@88, shared@96, anon_vma_chain@128, anon_vma@144, vm_ops@152, vm_pgoff@160,
        vm_file@168, vm_private_data@176, anon_name@184, swap_readahead_info@192, vm_policy@200,
        vm_userfaultfd_ctx@208,
    },
    ..TABLE
};
