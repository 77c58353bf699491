//! v6 to v8 of the series (December 2024, January 2025): the lock is a reference count, still
//! alone in the fourth line. Against `embedded-rwsem-256` it isolates the kind of lock.

use super::super::table::{LockPlace, LockProtocol, Table, fields};
use super::LineAligned;
use crate::layout::Cache;
use crate::space::LINE;

/// `struct vm_area_struct`, x86-64 defconfig: 256 bytes.
#[repr(C)]
struct VmAreaStruct {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    vm_lock_seq: u32,
    shared: [u64; 4],
    anon_vma_chain: [u64; 2],
    anon_vma: u64,
    vm_ops: u64,
    vm_pgoff: u64,
    vm_file: u64,
    vm_private_data: u64,
    swap_readahead_info: u64,
    vm_policy: u64,
    vm_refcnt: LineAligned<u32>,
}

/// The layout.
pub const TABLE: Table = Table {
    name: "embedded-refcount-256",
    source: "v6 to v8, lore.kernel.org 20250109023025.2242447-1-surenb@google.com",
    protocol: LockProtocol::Refcount,
    lock: LockPlace::Embedded,
    bytes_vma: 256,
    cache: Cache::new(256, LINE, 2),
    fields: fields!(VmAreaStruct, 256: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, vm_lock_seq @ 40, shared @ 48, anon_vma_chain @ 80, anon_vma @ 96, vm_ops @ 104, vm_pgoff @ 112, vm_file @ 120, vm_private_data @ 128, swap_readahead_info @ 136, vm_policy @ 144, vm_refcnt @ 192),
};

/// The same layout under larger configurations.
pub const VARIANTS: &[Table] = &[];
