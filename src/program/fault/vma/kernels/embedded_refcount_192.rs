//! v6.15 and after: fields regrouped, the reference count at the start of the third line with
//! `shared.rb` behind it. With 192-byte slots the pair partner of the lock is line 1 of the same
//! VMA in odd slots and line 0 of the next VMA in even ones.

use crate::layout::SlabCache;
use crate::program::fault::vma::{LockPlace, LockProtocol, Table, fields};
use crate::space::LINE;

/// x86-64 defconfig.
pub const TABLE: Table = Table {
    name: "embedded-refcount-192",
    source: "v6.15, v10 of the series (lore.kernel.org 20250213224655.1680278-1-surenb@google.com)",
    protocol: LockProtocol::Refcount,
    lock: LockPlace::Embedded,
    bytes: 192,
    cache: SlabCache::new(192, LINE, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, vm_lock_seq@40,
        anon_vma_chain@48, anon_vma@64, vm_ops@72, vm_pgoff@80, vm_file@88, vm_private_data@96,
        swap_readahead_info@104, vm_policy@112, vm_refcnt@128, shared@136,
    },
};

/// v10 13/18, pahole with every configuration option.
pub const ALL: Table = Table {
    name: "embedded-refcount-192@all",
    source: "v10 13/18, pahole with every configuration option",
    bytes: 192,
    cache: SlabCache::new(192, LINE, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, vm_lock_seq@40,
        anon_vma_chain@48, anon_vma@64, vm_ops@72, vm_pgoff@80, vm_file@88, vm_private_data@96,
        swap_readahead_info@104, vm_policy@112, numab_state@120, vm_refcnt@128, shared@136,
        anon_name@168, vm_userfaultfd_ctx@176,
    },
    ..TABLE
};

/// BTF of a 6.18.44 kernel.
pub const V6_18: Table = Table {
    name: "embedded-refcount-192@6.18",
    source: "BTF of a 6.18.44 kernel",
    bytes: 192,
    cache: SlabCache::new(192, LINE, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, vm_lock_seq@40,
        anon_vma_chain@48, anon_vma@64, vm_ops@72, vm_pgoff@80, vm_file@88, vm_private_data@96,
        swap_readahead_info@104, vm_policy@112, numab_state@120, vm_refcnt@128, shared@136,
        vm_userfaultfd_ctx@168, pfnmap_track_ctx@176,
    },
    ..TABLE
};
