//! v6.15 and after: fields regrouped, the reference count at the start of the third line with
//! `shared.rb` behind it. With 192-byte slots the pair partner of the lock is line 1 of the same
//! VMA in odd slots and line 0 of the next VMA in even ones.

use super::super::table::{LockPlace, LockProtocol, Table, fields};
use crate::layout::Cache;
use crate::space::LINE;

/// `struct vm_area_struct`, x86-64 defconfig: 192 bytes.
#[repr(C, align(64))]
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
    _hole: u64,
    vm_refcnt: u32,
    shared: [u64; 4],
}

/// The layout.
pub const TABLE: Table = Table {
    name: "embedded-refcount-192",
    source: "v6.15, v10 of the series (lore.kernel.org 20250213224655.1680278-1-surenb@google.com)",
    protocol: LockProtocol::Refcount,
    lock: LockPlace::Embedded,
    bytes_vma: 192,
    cache: Cache::new(192, LINE, 2),
    fields: fields!(VmAreaStruct, 192: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, vm_lock_seq @ 40, anon_vma_chain @ 48, anon_vma @ 64, vm_ops @ 72, vm_pgoff @ 80, vm_file @ 88, vm_private_data @ 96, swap_readahead_info @ 104, vm_policy @ 112, vm_refcnt @ 128, shared @ 136),
};

/// With every configuration option: 192 bytes.
#[repr(C, align(64))]
struct VmAreaStructAll {
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
    numab_state: u64,
    vm_refcnt: u32,
    shared: [u64; 4],
    anon_name: u64,
    vm_userfaultfd_ctx: u64,
}

/// A 6.18 kernel without ANON_VMA_NAME: 192 bytes.
#[repr(C, align(64))]
struct VmAreaStruct618 {
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
    numab_state: u64,
    vm_refcnt: u32,
    shared: [u64; 4],
    vm_userfaultfd_ctx: u64,
    pfnmap_track_ctx: u64,
}

/// The same layout under larger configurations.
pub const VARIANTS: &[Table] = &[
    Table {
        name: "embedded-refcount-192@all",
        source: "v10 13/18, pahole with every configuration option",
        bytes_vma: 192,
        cache: Cache::new(192, LINE, 2),
        fields: fields!(VmAreaStructAll, 192: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, vm_lock_seq @ 40, anon_vma_chain @ 48, anon_vma @ 64, vm_ops @ 72, vm_pgoff @ 80, vm_file @ 88, vm_private_data @ 96, swap_readahead_info @ 104, vm_policy @ 112, numab_state @ 120, vm_refcnt @ 128, shared @ 136, anon_name @ 168, vm_userfaultfd_ctx @ 176),
        ..TABLE
    },
    Table {
        name: "embedded-refcount-192@6.18",
        source: "BTF of a 6.18.44 kernel",
        bytes_vma: 192,
        cache: Cache::new(192, LINE, 2),
        fields: fields!(VmAreaStruct618, 192: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, vm_lock_seq @ 40, anon_vma_chain @ 48, anon_vma @ 64, vm_ops @ 72, vm_pgoff @ 80, vm_file @ 88, vm_private_data @ 96, swap_readahead_info @ 104, vm_policy @ 112, numab_state @ 120, vm_refcnt @ 128, shared @ 136, vm_userfaultfd_ctx @ 168, pfnmap_track_ctx @ 176),
        ..TABLE
    },
];
