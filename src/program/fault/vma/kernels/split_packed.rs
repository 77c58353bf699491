//! v6.4 to v6.14: the `rw_semaphore` in a slab of its own, 40 bytes and packed, so that three
//! locks of different VMAs share a pair; neither slab is aligned to lines.

use crate::layout::SlabCache;
use crate::program::fault::vma::{LockPlace, LockProtocol, Table, fields, rwsem};

/// x86-64 defconfig.
pub const TABLE: Table = Table {
    name: "split-packed",
    source: "v6.12; split by commit c7f8f31c00d1 'mm: separate vma->lock from vm_area_struct'",
    protocol: LockProtocol::Rwsem,
    lock: LockPlace::Split(SlabCache::new(rwsem::BYTES, 8, 1)),
    bytes: 160,
    cache: SlabCache::new(160, 8, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, detached@40, vm_lock_seq@44,
        vm_lock@48, shared@56, anon_vma_chain@88, anon_vma@104, vm_ops@112, vm_pgoff@120,
        vm_file@128, vm_private_data@136, swap_readahead_info@144, vm_policy@152,
    },
};

/// BTF of Debian 6.12.117-cloud.
pub const DEBIAN_6_12: Table = Table {
    name: "split-packed@debian-6.12",
    source: "BTF of Debian 6.12.117-cloud",
    bytes: 176,
    cache: SlabCache::new(176, 8, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, detached@40, vm_lock_seq@44,
        vm_lock@48, shared@56, anon_vma_chain@88, anon_vma@104, vm_ops@112, vm_pgoff@120,
        vm_file@128, vm_private_data@136, swap_readahead_info@144, vm_policy@152, numab_state@160,
        vm_userfaultfd_ctx@168,
    },
    ..TABLE
};

/// v6.12 with every configuration option.
pub const ALL: Table = Table {
    name: "split-packed@all",
    source: "v6.12 with every configuration option",
    bytes: 184,
    cache: SlabCache::new(184, 8, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, detached@40, vm_lock_seq@44,
        vm_lock@48, shared@56, anon_vma_chain@88, anon_vma@104, vm_ops@112, vm_pgoff@120,
        vm_file@128, vm_private_data@136, anon_name@144, swap_readahead_info@152, vm_policy@160,
        numab_state@168, vm_userfaultfd_ctx@176,
    },
    ..TABLE
};
