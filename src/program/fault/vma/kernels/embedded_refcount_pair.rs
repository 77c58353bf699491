//! Never merged: the v6.15 layout with the reference count padded to a pair of its own. The
//! control for the adjacent-line prefetcher: nothing else lies where it could reach.

use crate::layout::SlabCache;
use crate::program::fault::vma::{LockPlace, LockProtocol, Table, fields};
use crate::space::PAIR;

/// x86-64 defconfig, the lock in 128 bytes of its own.
pub const TABLE: Table = Table {
    name: "embedded-refcount-pair",
    source: "v6.15 with the lock padded to 128 bytes on both sides",
    protocol: LockProtocol::Refcount,
    lock: LockPlace::Embedded,
    bytes: 384,
    cache: SlabCache::new(384, PAIR, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, vm_lock_seq@40,
        anon_vma_chain@48, anon_vma@64, vm_ops@72, vm_pgoff@80, vm_file@88, vm_private_data@96,
        swap_readahead_info@104, vm_policy@112, vm_refcnt@128, shared@256,
    },
};
