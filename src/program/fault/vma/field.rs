//! The fields of `struct vm_area_struct`, under the names the kernel gives them.

/// One field. Variants carry the kernel's own spelling, so that a table reads like `pahole`.
#[allow(non_camel_case_types, missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    vm_start,
    vm_end,
    vm_mm,
    vm_page_prot,
    vm_flags,
    /// Set while the VMA is not in the tree; newer kernels encode it in `vm_refcnt`.
    detached,
    vm_lock_seq,
    /// The pointer to a split lock.
    vm_lock,
    /// An embedded `rw_semaphore`: `count` at 0, `owner` at 8, `osq` at 16, `wait_list` at 24.
    rwsem,
    /// An embedded reference count.
    vm_refcnt,
    /// Node of the interval tree of a file mapping (`shared.rb`, `shared.rb_subtree_last`).
    shared,
    anon_vma_chain,
    anon_vma,
    vm_ops,
    vm_pgoff,
    vm_file,
    vm_private_data,
    anon_name,
    swap_readahead_info,
    vm_policy,
    numab_state,
    vm_userfaultfd_ctx,
    pfnmap_track_ctx,
}

impl Field {
    /// How many fields there are.
    pub const COUNT: usize = Field::pfnmap_track_ctx as usize + 1;

    /// All fields, in declaration order.
    pub const ALL: [Field; Field::COUNT] = {
        use Field::*;
        [
            vm_start,
            vm_end,
            vm_mm,
            vm_page_prot,
            vm_flags,
            detached,
            vm_lock_seq,
            vm_lock,
            rwsem,
            vm_refcnt,
            shared,
            anon_vma_chain,
            anon_vma,
            vm_ops,
            vm_pgoff,
            vm_file,
            vm_private_data,
            anon_name,
            swap_readahead_info,
            vm_policy,
            numab_state,
            vm_userfaultfd_ctx,
            pfnmap_track_ctx,
        ]
    };

    /// Bytes it takes on x86-64, padding left out.
    pub const fn bytes(self) -> usize {
        match self {
            Field::detached => 1,
            Field::vm_lock_seq | Field::vm_refcnt => 4,
            Field::anon_vma_chain => 16,
            Field::shared => 32,
            Field::rwsem => super::rwsem::BYTES,
            _ => 8,
        }
    }

    /// The kernel's name for it.
    pub fn name(self) -> String {
        match self {
            Field::shared => "shared.rb".to_owned(),
            other => format!("{other:?}"),
        }
    }
}
