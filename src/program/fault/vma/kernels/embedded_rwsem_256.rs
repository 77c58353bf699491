//! v2 to v5 of the series that moved the lock back (November 2024): the `rw_semaphore` in the
//! fourth line, alone there; its pair partner is line 2, which holds `vm_policy`.

use super::super::table::{LockPlace, LockProtocol, Table, fields};
use super::{LineAligned, RwSemaphore};
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
    detached: u8,
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
    rwsem: LineAligned<RwSemaphore>,
}

/// The layout.
pub const TABLE: Table = Table {
    name: "embedded-rwsem-256",
    source: "v2 to v5, lore.kernel.org 20241120000826.335387-1-surenb@google.com",
    protocol: LockProtocol::Rwsem,
    lock: LockPlace::Embedded,
    bytes_vma: 256,
    cache: Cache::new(256, LINE, 2),
    fields: fields!(VmAreaStruct, 256: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, detached @ 40, vm_lock_seq @ 44, shared @ 48, anon_vma_chain @ 80, anon_vma @ 96, vm_ops @ 104, vm_pgoff @ 112, vm_file @ 120, vm_private_data @ 128, swap_readahead_info @ 136, vm_policy @ 144, rwsem @ 192),
};

/// With every configuration option: 256 bytes.
#[repr(C)]
struct VmAreaStructAll {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    detached: u8,
    vm_lock_seq: u32,
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
    numab_state: u64,
    vm_userfaultfd_ctx: u64,
    rwsem: LineAligned<RwSemaphore>,
}

/// The same layout under larger configurations.
pub const VARIANTS: &[Table] = &[Table {
    name: "embedded-rwsem-256@all",
    source: "v4 with every configuration option",
    bytes_vma: 256,
    cache: Cache::new(256, LINE, 2),
    fields: fields!(VmAreaStructAll, 256: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, detached @ 40, vm_lock_seq @ 44, shared @ 48, anon_vma_chain @ 80, anon_vma @ 96, vm_ops @ 104, vm_pgoff @ 112, vm_file @ 120, vm_private_data @ 128, anon_name @ 136, swap_readahead_info @ 144, vm_policy @ 152, numab_state @ 160, vm_userfaultfd_ctx @ 168, rwsem @ 192),
    ..TABLE
}];
