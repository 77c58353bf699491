//! `vm_refcnt`: 0 is detached, 1 attached, above 1 readers; the writer's bit turns readers away.
//!
//! Constants and steps: v10 of the series, patches 11 and 12 of 18 (`VMA_LOCK_OFFSET`,
//! `VMA_REF_LIMIT`). A writer that has to wait for readers spins where the kernel sleeps.

use super::{Entry, Layout, Lock, is_write_locked, lock_of};
use crate::program::fault::vma::{Field, LockProtocol, Pointer, Table};
use crate::space::arena::Arena;
use crate::space::memory::{Addr, Memory};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The protocol of a VMA with a reference count.
pub struct Refcount;

impl Lock for Refcount {
    const PROTOCOL: LockProtocol = LockProtocol::Refcount;

    #[inline(always)]
    fn enter<M: Memory, L: Layout>(m: &M, layout: &L, mm: Addr, vma: Pointer, _task: u64) -> Entry {
        if is_write_locked(m, layout, mm, vma, Relaxed) {
            return Entry::Excluded;
        }
        let lock = lock_of(m, layout, vma);
        match read_trylock(m, lock) {
            Entry::Entered => {}
            refused => return refused,
        }
        // A type-stable slab may have handed the object to another mm.
        let vm_mm: u64 = m.load(vma.at(layout.offset(Field::vm_mm)), Relaxed);
        if vm_mm != mm.0 {
            read_unlock(m, lock);
            return Entry::Detached;
        }
        if is_write_locked(m, layout, mm, vma, Acquire) {
            read_unlock(m, lock);
            return Entry::Excluded;
        }
        Entry::Entered
    }

    #[inline(always)]
    fn leave<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer) {
        // The put keeps the mm to wake its writer with, after the VMA may be gone.
        m.touch::<u64>(vma.at(layout.offset(Field::vm_mm)));
        read_unlock(m, lock_of(m, layout, vma));
    }

    fn exclude<M: Memory, L: Layout>(
        m: &M,
        layout: &L,
        vma: Pointer,
        _task: u64,
        publish: impl FnOnce(),
    ) {
        let lock = lock_of(m, layout, vma);
        let excluded = exclude(m, lock, 1);
        // Where it is detached nobody can take a reference, and publishing needs no exclusion.
        publish();
        if excluded {
            m.fetch_sub(lock, LOCK_OFFSET, Release);
        }
    }

    fn attach<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer) {
        m.store(lock_of(m, layout, vma), 1u32, Release);
    }

    /// Drops the reference of the tree and waits for readers that still come and go.
    fn detach<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer) {
        let lock = lock_of(m, layout, vma);
        if m.fetch_sub(lock, 1u32, Release) == 1 {
            m.fence(Acquire);
        } else if exclude(m, lock, 0) {
            m.fetch_sub(lock, LOCK_OFFSET, Release);
        }
    }

    fn renew<M: Memory>(_m: &M, _lock: Addr) {
        // A new object's count is 0 already, which means detached.
    }

    fn init(arena: &Arena, table: &Table, vma: Pointer, attached: bool) {
        arena.write(vma.at(table.offset(Field::vm_refcnt)), u32::from(attached));
    }
}

const LOCK_OFFSET: u32 = 0x4000_0000;
const REF_LIMIT: u32 = LOCK_OFFSET - 1;

/// `__refcount_inc_not_zero_limited_acquire`: a CAS loop.
#[inline(always)]
fn read_trylock<M: Memory>(m: &M, refcnt: Addr) -> Entry {
    let mut count: u32 = m.load(refcnt, Relaxed);
    loop {
        if count == 0 {
            return Entry::Detached;
        }
        if count >= REF_LIMIT {
            return Entry::Excluded;
        }
        match m.compare_exchange(refcnt, count, count + 1, Acquire) {
            Ok(_) => return Entry::Entered,
            Err(found) => count = found,
        }
    }
}

/// `vma_refcount_put`: one `fetch_sub`; the last reference needs what came before it.
#[inline(always)]
fn read_unlock<M: Memory>(m: &M, refcnt: Addr) {
    if m.fetch_sub(refcnt, 1u32, Release) == 1 {
        m.fence(Acquire);
    }
}

/// Set the writer's bit and wait until only `references` are left beside it; `false` if the
/// count was 0.
fn exclude<M: Memory>(m: &M, refcnt: Addr, references: u32) -> bool {
    let mut count: u32 = m.load(refcnt, Relaxed);
    loop {
        if count == 0 {
            return false;
        }
        match m.compare_exchange(refcnt, count, count + LOCK_OFFSET, Relaxed) {
            Ok(_) => break,
            Err(found) => count = found,
        }
    }
    while m.load::<u32>(refcnt, Acquire) != LOCK_OFFSET + references {
        m.relax();
    }
    true
}
