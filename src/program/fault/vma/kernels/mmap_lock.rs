//! v6.3 and before: no lock in the VMA; every fault takes `mm->mmap_lock` for reading.

use crate::layout::SlabCache;
use crate::program::fault::vma::{LockPlace, LockProtocol, Table, fields};

/// x86-64 defconfig.
pub const TABLE: Table = Table {
    name: "mmap-lock",
    source: "v6.3, order checked with the libbpf 6.1 header",
    protocol: LockProtocol::MmapLock,
    lock: LockPlace::Mm,
    bytes: 144,
    cache: SlabCache::new(144, 8, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, shared@40, anon_vma_chain@72,
        anon_vma@88, vm_ops@96, vm_pgoff@104, vm_file@112, vm_private_data@120,
        swap_readahead_info@128, vm_policy@136,
    },
};

/// v6.3 with ANON_VMA_NAME, SWAP, NUMA, USERFAULTFD.
pub const ALL: Table = Table {
    name: "mmap-lock@all",
    source: "v6.3 with ANON_VMA_NAME, SWAP, NUMA, USERFAULTFD",
    bytes: 160,
    cache: SlabCache::new(160, 8, 2),
    fields: fields! {
        vm_start@0, vm_end@8, vm_mm@16, vm_page_prot@24, vm_flags@32, shared@40, anon_vma_chain@72,
        anon_vma@88, vm_ops@96, vm_pgoff@104, vm_file@112, vm_private_data@120, anon_name@128,
        swap_readahead_info@136, vm_policy@144, vm_userfaultfd_ctx@152,
    },
    ..TABLE
};
