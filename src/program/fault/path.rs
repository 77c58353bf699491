//! The page-fault fast path, written once for every layout, lock protocol and memory.
//!
//! Here: the order of its accesses from the tree walk to the exit. Not here: the locks
//! (`lock`), who calls it (`scenario`), and the page tables, which no layout of the VMA moves.

use super::lock::mmap_lock;
use super::lock::{self, Entry, Layout, Lock};
use super::tree;
use super::vma::{Field, Pointer};
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

/// One page fault.
pub struct Fault<'a, M, L> {
    /// The memory, as the faulting thread sees it.
    pub m: &'a M,
    /// The layout of the VMA.
    pub layout: &'a L,
    /// The `mm_struct`.
    pub mm: Addr,
    /// The faulting task.
    pub task: u64,
    /// Where it faults.
    pub address: u64,
    /// What is done apart from reading fields.
    pub work: PageWork,
    /// The page that is cleared, if the work says so.
    pub page: Addr,
}

impl<M: Memory, L: Layout> Fault<'_, M, L> {
    /// Handle it.
    #[inline(always)]
    pub fn handle(&self) -> FaultOutcome {
        let &Fault {
            m,
            layout,
            mm,
            task,
            address,
            ..
        } = self;
        if !L::Lock::PER_VMA {
            return self.under_mmap_lock(FaultOutcome::Handled);
        }
        loop {
            let vma = Pointer::held(tree::walk(m, mm, address));
            if vma.is_null() {
                break;
            }
            match lock::start_read(m, layout, mm, vma, task, address) {
                Entry::Entered => {
                    self.in_vma(vma);
                    L::Lock::leave(m, layout, vma);
                    return FaultOutcome::Handled;
                }
                Entry::Detached => continue,
                Entry::Excluded => break,
            }
        }
        self.under_mmap_lock(FaultOutcome::FellBack)
    }

    /// The same under `mmap_lock`: `handled`, if a VMA covers the address.
    #[inline(always)]
    fn under_mmap_lock(&self, handled: FaultOutcome) -> FaultOutcome {
        mmap_lock::read_lock(self.m, self.mm, self.task);
        let vma = Pointer::held(tree::walk(self.m, self.mm, self.address));
        if !vma.is_null() {
            self.in_vma(vma);
        }
        mmap_lock::read_unlock(self.m, self.mm);
        match vma.is_null() {
            true => FaultOutcome::NoVma,
            false => handled,
        }
    }

    /// What is done with the VMA locked.
    #[inline(always)]
    fn in_vma(&self, vma: Pointer) {
        anonymous_write(self.m, self.layout, vma);
        match self.work {
            PageWork::None => {}
            PageWork::Nanos(nanos) => self.m.compute(nanos),
            PageWork::ClearPage => self.m.clear_page(self.page),
        }
    }
}

/// Every field that an anonymous write fault reads after it has entered, in the order of
/// mm/memory.c (6.12). The values only steer branches that this path does not take.
#[inline(always)]
pub fn anonymous_write<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer) {
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
    read!(vm_flags, vm_mm, anon_vma, vm_ops);
    // Without CONFIG_NUMA there is none.
    if layout.table().has(Field::vm_policy) {
        read!(vm_policy);
    }
    read!(vm_pgoff, vm_start);
    // mk_pte, maybe_mkwrite, userfaultfd checks
    read!(vm_page_prot, vm_flags);
    // folio_add_new_anon_rmap, folio_add_lru_vma
    read!(anon_vma, vm_start, vm_pgoff, vm_flags);
}
