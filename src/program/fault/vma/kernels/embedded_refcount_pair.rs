//! Never merged: the v6.15 layout with the reference count padded to a pair of its own. The
//! control for the adjacent-line prefetcher: nothing else lies where it could reach.

use super::super::table::{LockPlace, LockProtocol, Table, fields};
use crate::layout::Cache;
use crate::space::PAIR;
use crossbeam_utils::CachePadded;

/// `struct vm_area_struct`, x86-64 defconfig: 384 bytes.
#[repr(C)]
struct VmAreaStruct {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    vm_lock_seq: u32,
    anon_vma_chain: [u64; 2],
    anon_vma: u64,
    vm_ops: u64,
    vm_pgoff: u64,
    vm_file: u64,
    vm_private_data: u64,
    swap_readahead_info: u64,
    vm_policy: u64,
    vm_refcnt: CachePadded<u32>,
    shared: [u64; 4],
}

/// The layout.
pub const TABLE: Table = Table {
    name: "embedded-refcount-pair",
    source: "v6.15 with the lock padded to 128 bytes on both sides",
    protocol: LockProtocol::Refcount,
    lock: LockPlace::Embedded,
    bytes_vma: 384,
    cache: Cache::new(384, PAIR, 2),
    fields: fields!(VmAreaStruct, 384: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, vm_lock_seq @ 40, anon_vma_chain @ 48, anon_vma @ 64, vm_ops @ 72, vm_pgoff @ 80, vm_file @ 88, vm_private_data @ 96, swap_readahead_info @ 104, vm_policy @ 112, vm_refcnt @ 128, shared @ 256),
};

/// The same layout under larger configurations.
pub const VARIANTS: &[Table] = &[];
