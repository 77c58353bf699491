//! v2 to v5 of the series that moved the lock back (November 2024): the `rw_semaphore` in the
//! fourth line, alone there; its pair partner is line 2, which holds `vm_policy`.

use crate::layout::SlabCache;
use crate::program::fault::vma::{LockPlace, LockProtocol, Table, fields};
use crate::space::LINE;

/// x86-64 defconfig.
pub const TABLE: Table = Table {
    name: "embedded-rwsem-256",
    source: "v2 to v5, lore.kernel.org 20241120000826.335387-1-surenb@google.com",
    protocol: LockProtocol::Rwsem,
    lock: LockPlace::Embedded,
    bytes: 256,
    cache: SlabCache::new(256, LINE, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, detached@40, vm_lock_seq@44,
        shared@48, anon_vma_chain@80, anon_vma@96, vm_ops@104, vm_pgoff@112, vm_file@120,
        vm_private_data@128, swap_readahead_info@136, vm_policy@144, rwsem@192,
    },
};

/// v4 with every configuration option.
pub const ALL: Table = Table {
    name: "embedded-rwsem-256@all",
    source: "v4 with every configuration option",
    bytes: 256,
    cache: SlabCache::new(256, LINE, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, detached@40, vm_lock_seq@44,
        shared@48, anon_vma_chain@80, anon_vma@96, vm_ops@104, vm_pgoff@112, vm_file@120,
        vm_private_data@128, anon_name@136, swap_readahead_info@144, vm_policy@152, numab_state@160,
        vm_userfaultfd_ctx@168, rwsem@192,
    },
    ..TABLE
};
