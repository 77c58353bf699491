//! The first per-VMA lock (the series for 6.4, before its last patch): an `rw_semaphore` right
//! after `vm_flags`, so that `count` and `owner` share a line with every field that a fault reads
//! first; the slab is not aligned to lines.

use super::super::table::{LockPlace, LockProtocol, Table, fields};
use super::RwSemaphore;
use crate::layout::Cache;

/// `struct vm_area_struct`, x86-64 defconfig: 200 bytes.
#[repr(C)]
struct VmAreaStruct {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    vm_lock_seq: u32,
    rwsem: RwSemaphore,
    detached: u8,
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
    name: "embedded-unaligned",
    source: "6.4 series, 'mm: add per-VMA lock and helper functions to control it' (lore.kernel.org 20230227173632.3292573-1-surenb@google.com)",
    protocol: LockProtocol::Rwsem,
    lock: LockPlace::Embedded,
    bytes_vma: 200,
    cache: Cache::new(200, 8, 2),
    fields: fields!(VmAreaStruct, 200: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, vm_lock_seq @ 40, rwsem @ 48, detached @ 88, shared @ 96, anon_vma_chain @ 128, anon_vma @ 144, vm_ops @ 152, vm_pgoff @ 160, vm_file @ 168, vm_private_data @ 176, swap_readahead_info @ 184, vm_policy @ 192),
};

/// With every configuration option: 216 bytes.
#[repr(C)]
struct VmAreaStructAll {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    vm_lock_seq: u32,
    rwsem: RwSemaphore,
    detached: u8,
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
    name: "embedded-unaligned@all",
    source: "6.4 series with every configuration option",
    bytes_vma: 216,
    cache: Cache::new(216, 8, 2),
    fields: fields!(VmAreaStructAll, 216: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, vm_lock_seq @ 40, rwsem @ 48, detached @ 88, shared @ 96, anon_vma_chain @ 128, anon_vma @ 144, vm_ops @ 152, vm_pgoff @ 160, vm_file @ 168, vm_private_data @ 176, anon_name @ 184, swap_readahead_info @ 192, vm_policy @ 200, vm_userfaultfd_ctx @ 208),
    ..TABLE
}];
