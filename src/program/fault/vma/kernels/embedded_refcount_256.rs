//! v6 to v8 of the series (December 2024, January 2025): the lock is a reference count, still
//! alone in the fourth line. Against `embedded-rwsem-256` it isolates the kind of lock.

use crate::layout::SlabCache;
use crate::program::fault::vma::{LockPlace, LockProtocol, Table, fields};
use crate::space::LINE;

/// x86-64 defconfig.
pub const TABLE: Table = Table {
    name: "embedded-refcount-256",
    source: "v6 to v8, lore.kernel.org 20250109023025.2242447-1-surenb@google.com",
    protocol: LockProtocol::Refcount,
    lock: LockPlace::Embedded,
    bytes: 256,
    cache: SlabCache::new(256, LINE, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, vm_lock_seq@40, shared@48,
        anon_vma_chain@80, anon_vma@96, vm_ops@104, vm_pgoff@112, vm_file@120, vm_private_data@128,
        swap_readahead_info@136, vm_policy@144, vm_refcnt@192,
    },
};
