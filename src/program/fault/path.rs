//! The page-fault fast path, written once for every layout, lock protocol and memory.
//!
//! Here: the order of its accesses from the tree walk to the exit. Not here: the locks
//! (`lock`), who calls it (`scenario`), and the page tables, which no layout of the VMA moves.

use super::lock::mmap_lock;
use super::lock::{self, Entry, Layout, Lock};
use super::tree;
use super::vma::Field;
use crate::space::memory::{Addr, Memory};

/// What a fault does between entering and leaving the VMA, apart from reading its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageWork {
    /// Nothing.
    None,
    /// Local work of so many nanoseconds.
    Nanos(u32),
    /// Clear a 4 KiB page, as an anonymous fault does.
    ClearPage,
}

/// How a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOutcome {
    /// Handled under the lock that the layout gives the VMA.
    Handled,
    /// A writer was in the way: handled under `mmap_lock`.
    FellBack,
    /// No VMA covers the address.
    NoVma,
}

/// One page fault at `address` by `task`. `page` is cleared if the page work says so.
#[inline(always)]
pub fn fault<M: Memory, L: Layout>(
    m: &M,
    layout: &L,
    mm: Addr,
    task: u64,
    address: u64,
    work: PageWork,
    page: Addr,
) -> FaultOutcome {
    if !L::Lock::PER_VMA {
        return match under_mmap_lock(m, layout, mm, task, address, work, page) {
            true => FaultOutcome::Handled,
            false => FaultOutcome::NoVma,
        };
    }
    loop {
        let vma = tree::walk(m, mm, address);
        if vma.is_null() {
            break;
        }
        match lock::start_read(m, layout, mm, vma, task, address) {
            Entry::Entered => {
                anonymous_write(m, layout, vma);
                page_work(m, work, page);
                L::Lock::leave(m, layout, vma);
                return FaultOutcome::Handled;
            }
            Entry::Detached => continue,
            Entry::Excluded => break,
        }
    }
    match under_mmap_lock(m, layout, mm, task, address, work, page) {
        true => FaultOutcome::FellBack,
        false => FaultOutcome::NoVma,
    }
}

/// The same fault under `mmap_lock`; `false` if no VMA covers the address.
#[inline(always)]
fn under_mmap_lock<M: Memory, L: Layout>(
    m: &M,
    layout: &L,
    mm: Addr,
    task: u64,
    address: u64,
    work: PageWork,
    page: Addr,
) -> bool {
    mmap_lock::read_lock(m, mm, task);
    let vma = tree::walk(m, mm, address);
    let found = !vma.is_null();
    if found {
        anonymous_write(m, layout, vma);
        page_work(m, work, page);
    }
    mmap_lock::read_unlock(m, mm);
    found
}

/// Every field that an anonymous write fault reads after it has entered, in the order of
/// mm/memory.c (6.12). The values only steer branches that this path does not take.
#[inline(always)]
pub fn anonymous_write<M: Memory, L: Layout>(m: &M, layout: &L, vma: Addr) {
    macro_rules! read {
        ($($field:ident),*) => {$(
            m.touch::<u64>(vma.at(layout.offset(Field::$field)));
        )*};
    }
    // access_error
    read!(vm_flags);
    // handle_mm_fault: sanitize, lru_gen_enter_fault
    read!(vm_mm, vm_flags, vm_file);
    // __handle_mm_fault: linear_page_index, __get_fault_gfp_mask, huge page checks
    read!(vm_start, vm_pgoff, vm_file, vm_mm, vm_flags, vm_ops, vm_end);
    // do_pte_missing: vma_is_anonymous
    read!(vm_ops);
    // do_anonymous_page: vmf_anon_prepare, then the allocation with its memory policy
    read!(
        vm_flags, vm_mm, anon_vma, vm_ops, vm_policy, vm_pgoff, vm_start
    );
    // mk_pte, maybe_mkwrite, userfaultfd checks
    read!(vm_page_prot, vm_flags);
    // folio_add_new_anon_rmap, folio_add_lru_vma
    read!(anon_vma, vm_start, vm_pgoff, vm_flags);
}

#[inline(always)]
fn page_work<M: Memory>(m: &M, work: PageWork, page: Addr) {
    match work {
        PageWork::None => {}
        PageWork::Nanos(nanos) => m.compute(nanos),
        PageWork::ClearPage => m.clear_page(page),
    }
}
