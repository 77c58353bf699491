//! v6.3 and before: no lock in the VMA; every fault takes `mm->mmap_lock` for reading.

use super::super::table::{LockPlace, LockProtocol, Table, fields};
use crate::layout::Cache;

/// `struct vm_area_struct`, x86-64 defconfig: 144 bytes.
#[repr(C)]
struct VmAreaStruct {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    shared: [u64; 4],
    anon_vma_chain: [u64; 2],
    anon_vma: u64,
    vm_ops: u64,
    vm_pgoff: u64,
    vm_file: u64,
    vm_private_data: u64,
    swap_readahead_info: u64,
    vm_policy: u64,
}

/// The layout.
pub const TABLE: Table = Table {
    name: "mmap-lock",
    source: "v6.3, order checked with the libbpf 6.1 header",
    protocol: LockProtocol::MmapLock,
    lock: LockPlace::Mm,
    bytes_vma: 144,
    cache: Cache::new(144, 8, 2),
    fields: fields!(VmAreaStruct, 144: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, shared @ 40, anon_vma_chain @ 72, anon_vma @ 88, vm_ops @ 96, vm_pgoff @ 104, vm_file @ 112, vm_private_data @ 120, swap_readahead_info @ 128, vm_policy @ 136),
};

/// With every configuration option: 160 bytes.
#[repr(C)]
struct VmAreaStructAll {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    shared: [u64; 4],
    anon_vma_chain: [u64; 2],
    anon_vma: u64,
    vm_ops: u64,
    vm_pgoff: u64,
    vm_file: u64,
    vm_private_data: u64,
    anon_name: u64,
    swap_readahead_info: u64,
    vm_policy: u64,
    vm_userfaultfd_ctx: u64,
}

/// The same layout under larger configurations.
pub const VARIANTS: &[Table] = &[Table {
    name: "mmap-lock@all",
    source: "v6.3 with ANON_VMA_NAME, SWAP, NUMA, USERFAULTFD",
    bytes_vma: 160,
    cache: Cache::new(160, 8, 2),
    fields: fields!(VmAreaStructAll, 160: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, shared @ 40, anon_vma_chain @ 72, anon_vma @ 88, vm_ops @ 96, vm_pgoff @ 104, vm_file @ 112, vm_private_data @ 120, anon_name @ 128, swap_readahead_info @ 136, vm_policy @ 144, vm_userfaultfd_ctx @ 152),
    ..TABLE
}];
