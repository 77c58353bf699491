//! The words of `struct mm_struct` that a fault or its writer touches.
//!
//! One `mm_struct` serves every layout, so that arms differ in the VMA and its lock alone. Offsets:
//! BTF of a 6.18.44 kernel. There `mmap_lock.count` is the last word of line 2, and `mm_lock_seq`,
//! which every fault loads twice, shares line 3 with `mmap_lock.owner` and the wait queue.

use super::rwsem;
use crate::space::map::Span;

/// Root of the maple tree: `mm_mt.ma_root`.
pub const MA_ROOT: usize = 72;
/// `mm_users`.
pub const MM_USERS: usize = 132;
/// `map_count`, written by every map and unmap.
pub const MAP_COUNT: usize = 176;
/// `mmap_lock`, a `rw_semaphore`.
pub const MMAP_LOCK: usize = 184;
/// `vma_writer_wait`, where a writer sleeps until readers have left.
pub const VMA_WRITER_WAIT: usize = 240;
/// `mm_lock_seq`: odd while `mmap_lock` is held for writing.
pub const MM_LOCK_SEQ: usize = 248;
/// Bytes reserved for it; a multiple of the pair, so that nothing else shares its lines.
pub const BYTES: usize = 1408;

/// The words above, those of `mmap_lock` one by one.
pub fn fields() -> Vec<Span> {
    let mut fields = vec![
        Span::word("mm_mt.ma_root", MA_ROOT, 8),
        Span::word("mm_users", MM_USERS, 4),
        Span::word("map_count", MAP_COUNT, 4),
    ];
    fields.extend(rwsem::FIELDS.map(|word| word.within("mmap_lock", MMAP_LOCK)));
    fields.extend([
        Span::word("vma_writer_wait", VMA_WRITER_WAIT, 8),
        Span::word("mm_lock_seq", MM_LOCK_SEQ, 4),
    ]);
    fields
}
