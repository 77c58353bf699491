//! The words of `struct mm_struct` that a fault or its writer touches.
//!
//! One `mm_struct` serves every layout, so that arms differ in the VMA and its lock alone. Offsets:
//! BTF of a 6.18.44 kernel. There `mmap_lock.count` is the last word of line 2, and `mm_lock_seq`,
//! which every fault loads twice, shares line 3 with `mmap_lock.owner` and the wait queue.

/// Root of the maple tree: `mm_mt.ma_root`.
pub const MA_ROOT: usize = 72;
/// `mm_users`.
pub const MM_USERS: usize = 132;
/// `map_count`, written by every map and unmap.
pub const MAP_COUNT: usize = 176;
/// `mmap_lock`, a `rw_semaphore` of 40 bytes.
pub const MMAP_LOCK: usize = 184;
/// `vma_writer_wait`, where a writer sleeps until readers have left.
pub const VMA_WRITER_WAIT: usize = 240;
/// `mm_lock_seq`: odd while `mmap_lock` is held for writing.
pub const MM_LOCK_SEQ: usize = 248;
/// Bytes reserved for it; a multiple of the pair, so that nothing else shares its lines.
pub const BYTES: usize = 1408;
