//! The layouts the kernel had, or was offered, one file each.
//!
//! Here: `#[repr(C)]` structs whose offsets are asserted at compile time. Sources of all offsets:
//! pahole output in the cover letters named in each file, and BTF of running kernels.

pub mod embedded_refcount_192;
pub mod embedded_refcount_256;
pub mod embedded_refcount_pair;
pub mod embedded_rwsem_256;
pub mod embedded_unaligned;
pub mod mmap_lock;
pub mod split_aligned;
pub mod split_packed;

/// `struct rw_semaphore` without debug options: 40 bytes.
#[repr(C)]
struct RwSemaphore {
    count: u64,
    owner: u64,
    osq: u32,
    wait_lock: u32,
    wait_list: [u64; 2],
}

const _: () = {
    use super::table::rwsem;
    assert!(std::mem::offset_of!(RwSemaphore, count) == rwsem::COUNT);
    assert!(std::mem::offset_of!(RwSemaphore, owner) == rwsem::OWNER);
    assert!(size_of::<RwSemaphore>() == rwsem::BYTES);
};

/// `____cacheline_aligned_in_smp`.
#[repr(C, align(64))]
struct LineAligned<T>(T);
