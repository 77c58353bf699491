//! v6.4 to v6.14: the `rw_semaphore` in a slab of its own, 40 bytes and packed, so that three
//! locks of different VMAs share a pair; neither slab is aligned to lines.

use super::super::table::{LockPlace, LockProtocol, Table, fields, rwsem};
use crate::layout::Cache;

/// `struct vm_area_struct`, x86-64 defconfig: 160 bytes.
#[repr(C)]
struct VmAreaStruct {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    detached: u8,
    vm_lock_seq: u32,
    vm_lock: u64,
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
    name: "split-packed",
    source: "v6.12; split by commit c7f8f31c00d1 'mm: separate vma->lock from vm_area_struct'",
    protocol: LockProtocol::Rwsem,
    lock: LockPlace::Split(Cache::new(rwsem::BYTES, 8, 1)),
    bytes_vma: 160,
    cache: Cache::new(160, 8, 2),
    fields: fields!(VmAreaStruct, 160: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, detached @ 40, vm_lock_seq @ 44, vm_lock @ 48, shared @ 56, anon_vma_chain @ 88, anon_vma @ 104, vm_ops @ 112, vm_pgoff @ 120, vm_file @ 128, vm_private_data @ 136, swap_readahead_info @ 144, vm_policy @ 152),
};

/// Debian 6.12: 176 bytes.
#[repr(C)]
struct VmAreaStructDebian {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    detached: u8,
    vm_lock_seq: u32,
    vm_lock: u64,
    shared: [u64; 4],
    anon_vma_chain: [u64; 2],
    anon_vma: u64,
    vm_ops: u64,
    vm_pgoff: u64,
    vm_file: u64,
    vm_private_data: u64,
    swap_readahead_info: u64,
    vm_policy: u64,
    numab_state: u64,
    vm_userfaultfd_ctx: u64,
}

/// With every configuration option: 184 bytes.
#[repr(C)]
struct VmAreaStructAll {
    vm_start: u64,
    vm_end: u64,
    vm_mm: u64,
    vm_page_prot: u64,
    vm_flags: u64,
    detached: u8,
    vm_lock_seq: u32,
    vm_lock: u64,
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
}

/// The same layout under larger configurations.
pub const VARIANTS: &[Table] = &[
    Table {
        name: "split-packed@debian-6.12",
        source: "BTF of Debian 6.12.117-cloud",
        bytes_vma: 176,
        cache: Cache::new(176, 8, 2),
        fields: fields!(VmAreaStructDebian, 176: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, detached @ 40, vm_lock_seq @ 44, vm_lock @ 48, shared @ 56, anon_vma_chain @ 88, anon_vma @ 104, vm_ops @ 112, vm_pgoff @ 120, vm_file @ 128, vm_private_data @ 136, swap_readahead_info @ 144, vm_policy @ 152, numab_state @ 160, vm_userfaultfd_ctx @ 168),
        ..TABLE
    },
    Table {
        name: "split-packed@all",
        source: "v6.12 with every configuration option",
        bytes_vma: 184,
        cache: Cache::new(184, 8, 2),
        fields: fields!(VmAreaStructAll, 184: vm_start @ 0, vm_end @ 8, vm_mm @ 16, vm_page_prot @ 24, vm_flags @ 32, detached @ 40, vm_lock_seq @ 44, vm_lock @ 48, shared @ 56, anon_vma_chain @ 88, anon_vma @ 104, vm_ops @ 112, vm_pgoff @ 120, vm_file @ 128, vm_private_data @ 136, anon_name @ 144, swap_readahead_info @ 152, vm_policy @ 160, numab_state @ 168, vm_userfaultfd_ctx @ 176),
        ..TABLE
    },
];
