//! The fields of `struct vm_area_struct`, under the names the kernel gives them.

use super::rwsem;

macro_rules! vma_fields {
    ($($(#[doc = $doc:literal])* $field:ident $name:literal $bytes:expr),* $(,)?) => {
        /// One field. Variants carry the kernel's own spelling, so that a table reads like `pahole`.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field {
            $($(#[doc = $doc])* $field),*
        }

        impl Field {
            /// All fields, in declaration order.
            pub const ALL: &[Field] = &[$(Field::$field),*];

            /// Bytes it takes on x86-64, padding left out.
            pub const fn bytes(self) -> usize {
                match self {
                    $(Field::$field => $bytes),*
                }
            }

            /// The kernel's name for it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Field::$field => $name),*
                }
            }
        }
    };
}

vma_fields! {
    vm_start "vm_start" 8,
    vm_end "vm_end" 8,
    vm_mm "vm_mm" 8,
    vm_page_prot "vm_page_prot" 8,
    vm_flags "vm_flags" 8,
    /// Set while the VMA is not in the tree; newer kernels encode it in `vm_refcnt`.
    detached "detached" 1,
    vm_lock_seq "vm_lock_seq" 4,
    /// The pointer to a split lock.
    vm_lock "vm_lock" 8,
    /// An embedded `rw_semaphore`; its words are in [`rwsem`].
    rwsem "rwsem" rwsem::BYTES,
    /// An embedded reference count.
    vm_refcnt "vm_refcnt" 4,
    /// Node of the interval tree of a file mapping (`shared.rb`, `shared.rb_subtree_last`).
    shared "shared.rb" 32,
    anon_vma_chain "anon_vma_chain" 16,
    anon_vma "anon_vma" 8,
    vm_ops "vm_ops" 8,
    vm_pgoff "vm_pgoff" 8,
    vm_file "vm_file" 8,
    vm_private_data "vm_private_data" 8,
    anon_name "anon_name" 8,
    swap_readahead_info "swap_readahead_info" 8,
    vm_policy "vm_policy" 8,
    numab_state "numab_state" 8,
    vm_userfaultfd_ctx "vm_userfaultfd_ctx" 8,
    pfnmap_track_ctx "pfnmap_track_ctx" 8,
}

impl Field {
    /// How many fields there are.
    pub const COUNT: usize = Field::ALL.len();
}
