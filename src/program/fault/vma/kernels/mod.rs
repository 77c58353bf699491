//! The layouts the kernel had, or was offered, one file each: tables of offsets.
//!
//! Sources of all offsets: pahole output in the cover letters named in each file, and BTF of
//! running kernels. `Table::checked` refuses, at compile time, a table that cannot be.

pub mod embedded_refcount_192;
pub mod embedded_refcount_256;
pub mod embedded_refcount_pair;
pub mod embedded_rwsem_256;
pub mod embedded_unaligned;
pub mod mmap_lock;
pub mod split_aligned;
pub mod split_packed;
