//! The fields of `struct vm_area_struct`, under the names the kernel gives them.

use super::rwsem;
use crate::error::{Error, Result};
use crate::text::serde_as_text;
use std::fmt;
use std::str::FromStr;

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

    /// Those that every kernel has and that a fault, a map or the interval tree of a file accesses.
    /// Beside them `vm_policy` and `swap_readahead_info` are accessed where a kernel has them, and
    /// those of the lock.
    pub const NEEDED: &[Field] = &[
        Field::vm_start,
        Field::vm_end,
        Field::vm_mm,
        Field::vm_page_prot,
        Field::vm_flags,
        Field::shared,
        Field::anon_vma,
        Field::vm_ops,
        Field::vm_pgoff,
        Field::vm_file,
    ];

    /// Those that nothing here accesses: they only take room.
    pub const IDLE: &[Field] = &[
        Field::anon_vma_chain,
        Field::vm_private_data,
        Field::anon_name,
        Field::numab_state,
        Field::vm_userfaultfd_ctx,
        Field::pfnmap_track_ctx,
    ];
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Field {
    type Err = Error;

    fn from_str(name: &str) -> Result<Field> {
        let found = Field::ALL.iter().find(|field| field.name() == name);
        found.copied().ok_or_else(|| {
            let names = Field::ALL.iter().map(|field| field.name());
            Error::unknown("field of vm_area_struct", name, names)
        })
    }
}

serde_as_text!(Field);
