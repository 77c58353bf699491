//! `mm->mmap_lock` and `mm_lock_seq`, which a writer makes odd for as long as it holds the lock.
//!
//! Here: what a fault falls back to, what map and unmap hold, and the protocol of layouts whose VMA
//! has no lock of its own. One increment at the unlock releases every VMA that was marked
//! meanwhile. Orderings as in include/linux/mmap_lock.h since 6.14, where the sequence is a
//! `seqcount_t`.

use super::{Entry, Layout, Lock, rwsem};
use crate::program::fault::vma::mm::{MM_LOCK_SEQ, MMAP_LOCK};
use crate::program::fault::vma::{LockProtocol, Pointer, Table};
use crate::space::arena::Arena;
use crate::space::memory::{Addr, Memory};
use std::sync::atomic::Ordering::{Relaxed, Release};

/// The protocol of a VMA without a lock.
pub struct MmapLock;

impl Lock for MmapLock {
    const PROTOCOL: LockProtocol = LockProtocol::MmapLock;

    fn enter<M: Memory, L: Layout>(_: &M, _: &L, _: Addr, _: Pointer, _: u64) -> Entry {
        Entry::Excluded
    }
    fn leave<M: Memory, L: Layout>(_: &M, _: &L, _: Pointer) {}
    fn exclude<M: Memory, L: Layout>(_: &M, _: &L, _: Pointer, _: u64, publish: impl FnOnce()) {
        publish();
    }
    fn attach<M: Memory, L: Layout>(_: &M, _: &L, _: Pointer) {}
    fn detach<M: Memory, L: Layout>(_: &M, _: &L, _: Pointer) {}
    fn renew<M: Memory>(_: &M, _: Addr) {}
    fn init(_: &Arena, _: &Table, _: Pointer, _: bool) {}
}

/// `mmap_read_lock`.
pub fn read_lock<M: Memory>(m: &M, mm: Addr, task: u64) {
    rwsem::read_lock(m, mm.at(MMAP_LOCK), task);
}

/// `mmap_read_unlock`.
#[inline(always)]
pub fn read_unlock<M: Memory>(m: &M, mm: Addr) {
    rwsem::read_unlock(m, mm.at(MMAP_LOCK));
}

/// `mmap_write_lock`: the sequence becomes odd.
pub fn write_lock<M: Memory>(m: &M, mm: Addr, task: u64) {
    rwsem::write_lock(m, mm.at(MMAP_LOCK), task);
    let seq: u32 = m.load(mm.at(MM_LOCK_SEQ), Relaxed);
    m.store(mm.at(MM_LOCK_SEQ), seq.wrapping_add(1), Relaxed);
    m.fence(Release);
}

/// `mmap_write_unlock`: the sequence becomes even, which ends every `vma_start_write`.
pub fn write_unlock<M: Memory>(m: &M, mm: Addr) {
    m.fence(Release);
    let seq: u32 = m.load(mm.at(MM_LOCK_SEQ), Relaxed);
    m.store(mm.at(MM_LOCK_SEQ), seq.wrapping_add(1), Relaxed);
    rwsem::write_unlock(m, mm.at(MMAP_LOCK));
}
