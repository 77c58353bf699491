//! The lock of one VMA: `vma_start_read` and `vma_end_read`, `vma_start_write`, attach, detach.
//!
//! Here: the sequence check around the lock, and the choice of the protocol by layout. Not here:
//! the protocols themselves (`rwsem`, `refcount`). Steps: kernel 6.12 (`include/linux/mm.h`) for
//! the `rwsem` layouts, v10 of the refcount series for the others.

pub mod mmap_lock;
pub mod refcount;
pub mod rwsem;

use crate::program::fault::vma::mm::MM_LOCK_SEQ;
use crate::program::fault::vma::{Field, Layout, LockPlace, LockProtocol};
use crate::space::memory::{Addr, Memory};
use refcount::Taken;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How an attempt to enter a VMA ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The reader is in and must call [`end_read`].
    Entered,
    /// The VMA was detached meanwhile: look it up again.
    Detached,
    /// A writer holds it: fall back to `mmap_lock`.
    Excluded,
}

/// Address of the lock word(s) of `vma`: a dependent load where the lock is split.
#[inline(always)]
fn lock_of<M: Memory, L: Layout>(m: &M, layout: &L, vma: Addr) -> Addr {
    let table = layout.table();
    match (table.lock, table.protocol) {
        (LockPlace::Split(_), _) => Addr(m.load(vma.at(table.offset(Field::vm_lock)), Relaxed)),
        (_, LockProtocol::Refcount) => vma.at(table.offset(Field::vm_refcnt)),
        (_, _) => vma.at(table.offset(Field::rwsem)),
    }
}

/// Whether `vma` is write-locked: its sequence equals that of the `mm_struct` at `mm`.
#[inline(always)]
fn is_write_locked<M: Memory, L: Layout>(
    m: &M,
    layout: &L,
    mm: Addr,
    vma: Addr,
    order: std::sync::atomic::Ordering,
) -> bool {
    let seq: u32 = m.load(vma.at(layout.table().offset(Field::vm_lock_seq)), Relaxed);
    let mm_seq: u32 = m.load(mm.at(MM_LOCK_SEQ), order);
    seq == mm_seq
}

/// `vma_start_read`, with the checks that `lock_vma_under_rcu` makes right after it.
#[inline(always)]
pub fn start_read<M: Memory, L: Layout>(
    m: &M,
    layout: &L,
    mm: Addr,
    vma: Addr,
    task: u64,
    address: u64,
) -> Entry {
    let table = layout.table();
    match table.protocol {
        LockProtocol::MmapLock => unreachable!("a layout without a VMA lock has no VMA reader"),
        LockProtocol::Rwsem => {
            // The mm comes from the VMA here, a dependent load; since 6.16 it is passed in.
            let vm_mm = Addr(m.load(vma.at(table.offset(Field::vm_mm)), Relaxed));
            if is_write_locked(m, layout, vm_mm, vma, Relaxed) {
                return Entry::Excluded;
            }
            let lock = lock_of(m, layout, vma);
            if !rwsem::read_trylock(m, lock, task) {
                return Entry::Excluded;
            }
            if is_write_locked(m, layout, vm_mm, vma, Acquire) {
                rwsem::read_unlock(m, lock);
                return Entry::Excluded;
            }
            if m.load::<u8>(vma.at(table.offset(Field::detached)), Relaxed) != 0 {
                rwsem::read_unlock(m, lock);
                return Entry::Detached;
            }
        }
        LockProtocol::Refcount => {
            if is_write_locked(m, layout, mm, vma, Relaxed) {
                return Entry::Excluded;
            }
            let lock = lock_of(m, layout, vma);
            match refcount::read_trylock(m, lock) {
                Taken::Yes => {}
                Taken::Detached => return Entry::Detached,
                Taken::Excluded => return Entry::Excluded,
            }
            // A type-stable slab may have handed the object to another mm.
            let vm_mm: u64 = m.load(vma.at(table.offset(Field::vm_mm)), Relaxed);
            if vm_mm != mm.0 {
                refcount::read_unlock(m, lock);
                return Entry::Detached;
            }
            if is_write_locked(m, layout, mm, vma, Acquire) {
                refcount::read_unlock(m, lock);
                return Entry::Excluded;
            }
        }
    }
    // The object may have been reused for another range before it was locked.
    let start: u64 = m.load(vma.at(table.offset(Field::vm_start)), Relaxed);
    let end: u64 = m.load(vma.at(table.offset(Field::vm_end)), Relaxed);
    if address < start || address >= end {
        end_read(m, layout, vma);
        return Entry::Detached;
    }
    Entry::Entered
}

/// `vma_end_read`.
#[inline(always)]
pub fn end_read<M: Memory, L: Layout>(m: &M, layout: &L, vma: Addr) {
    let table = layout.table();
    match table.protocol {
        LockProtocol::MmapLock => {}
        LockProtocol::Rwsem => rwsem::read_unlock(m, lock_of(m, layout, vma)),
        LockProtocol::Refcount => {
            // The put keeps the mm to wake its writer with, after the VMA may be gone.
            let _: u64 = m.load(vma.at(table.offset(Field::vm_mm)), Relaxed);
            refcount::read_unlock(m, lock_of(m, layout, vma));
        }
    }
}

/// `vma_start_write`: no reader is in, and none gets in until `mmap_write_unlock`. The caller
/// holds `mmap_lock` for writing.
pub fn start_write<M: Memory, L: Layout>(m: &M, layout: &L, mm: Addr, vma: Addr, task: u64) {
    let table = layout.table();
    if table.protocol == LockProtocol::MmapLock {
        return;
    }
    if is_write_locked(m, layout, mm, vma, Relaxed) {
        return;
    }
    let publish = || {
        let mm_seq: u32 = m.load(mm.at(MM_LOCK_SEQ), Relaxed);
        m.store(vma.at(table.offset(Field::vm_lock_seq)), mm_seq, Relaxed);
    };
    let lock = lock_of(m, layout, vma);
    match table.protocol {
        LockProtocol::MmapLock => {}
        LockProtocol::Rwsem => {
            rwsem::write_lock(m, lock, task);
            publish();
            rwsem::write_unlock(m, lock);
        }
        LockProtocol::Refcount => {
            if !refcount::with_readers_excluded(m, lock, publish) {
                // Detached: nobody can take a reference, so publishing needs no exclusion.
                publish();
            }
        }
    }
}

/// `vma_mark_attached`: from here on readers may enter.
pub fn attach<M: Memory, L: Layout>(m: &M, layout: &L, vma: Addr) {
    let table = layout.table();
    match table.protocol {
        LockProtocol::MmapLock => {}
        LockProtocol::Rwsem => m.store(vma.at(table.offset(Field::detached)), 0u8, Release),
        LockProtocol::Refcount => refcount::attach(m, lock_of(m, layout, vma)),
    }
}

/// `vma_mark_detached`: no reader gets in any more. The caller has called [`start_write`].
pub fn detach<M: Memory, L: Layout>(m: &M, layout: &L, vma: Addr) {
    let table = layout.table();
    match table.protocol {
        LockProtocol::MmapLock => {}
        LockProtocol::Rwsem => m.store(vma.at(table.offset(Field::detached)), 1u8, Relaxed),
        LockProtocol::Refcount => refcount::detach(m, lock_of(m, layout, vma)),
    }
}
