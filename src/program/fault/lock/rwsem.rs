//! `rw_semaphore`: count and owner, as the kernel's uncontended paths touch them.
//!
//! Here: the reader's trylock, the writer's lock, both unlocks. Not here: the wait queue. Who has
//! to wait spins on `count`; a waiting writer raises the waiters flag, which turns readers away,
//! so that it is not starved. Constants: kernel/locking/rwsem.c (6.12).

use super::{Entry, Layout, Lock, is_write_locked, lock_of};
use crate::program::fault::vma::rwsem::{COUNT, OWNER};
use crate::program::fault::vma::{Field, LockProtocol, Pointer, Table};
use crate::space::arena::Arena;
use crate::space::memory::{Addr, Memory};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The protocol of a VMA with a `rw_semaphore`, embedded or split.
pub struct Rwsem;

impl Lock for Rwsem {
    const PROTOCOL: LockProtocol = LockProtocol::Rwsem;

    #[inline(always)]
    fn enter<M: Memory, L: Layout>(m: &M, layout: &L, _mm: Addr, vma: Pointer, task: u64) -> Entry {
        // The mm comes from the VMA here, a dependent load; since 6.16 it is passed in.
        let vm_mm = Addr(m.load(vma.at(layout.offset(Field::vm_mm)), Relaxed));
        if is_write_locked(m, layout, vm_mm, vma, Relaxed) {
            return Entry::Excluded;
        }
        let lock = lock_of(m, layout, vma);
        if !read_trylock(m, lock, task) {
            return Entry::Excluded;
        }
        if is_write_locked(m, layout, vm_mm, vma, Acquire) {
            read_unlock(m, lock);
            return Entry::Excluded;
        }
        if m.load::<u8>(vma.at(layout.offset(Field::detached)), Relaxed) != 0 {
            read_unlock(m, lock);
            return Entry::Detached;
        }
        Entry::Entered
    }

    #[inline(always)]
    fn leave<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer) {
        read_unlock(m, lock_of(m, layout, vma));
    }

    fn exclude<M: Memory, L: Layout>(
        m: &M,
        layout: &L,
        vma: Pointer,
        task: u64,
        publish: impl FnOnce(),
    ) {
        let lock = lock_of(m, layout, vma);
        write_lock(m, lock, task);
        publish();
        write_unlock(m, lock);
    }

    fn attach<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer) {
        m.store(vma.at(layout.offset(Field::detached)), 0u8, Release);
    }

    fn detach<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer) {
        m.store(vma.at(layout.offset(Field::detached)), 1u8, Relaxed);
    }

    fn renew<M: Memory>(m: &M, lock: Addr) {
        m.store(lock.at(COUNT), 0u64, Relaxed);
        m.store(lock.at(OWNER), 0u64, Relaxed);
    }

    fn init(arena: &Arena, table: &Table, vma: Pointer, attached: bool) {
        arena.write(vma.at(table.offset(Field::detached)), u8::from(!attached));
    }
}

const WRITER_LOCKED: u64 = 1;
const FLAG_WAITERS: u64 = 1 << 1;
const FLAG_HANDOFF: u64 = 1 << 2;
const READER_BIAS: u64 = 1 << 8;
const READ_FAIL: u64 = 1 << 63;
const READ_FAILED: u64 = WRITER_LOCKED | FLAG_WAITERS | FLAG_HANDOFF | READ_FAIL;

const OWNER_READER: u64 = 1;
const OWNER_NONSPINNABLE: u64 = 2;

/// `down_read_trylock`: a CAS loop on `count`, then a load and a store of `owner`.
#[inline(always)]
fn read_trylock<M: Memory>(m: &M, sem: Addr, task: u64) -> bool {
    let mut count: u64 = m.load(sem.at(COUNT), Relaxed);
    loop {
        if count & READ_FAILED != 0 {
            return false;
        }
        match m.compare_exchange(sem.at(COUNT), count, count + READER_BIAS, Acquire) {
            Ok(_) => break,
            Err(found) => count = found,
        }
    }
    let owner: u64 = m.load(sem.at(OWNER), Relaxed);
    let owner = task | OWNER_READER | (owner & OWNER_NONSPINNABLE);
    m.store(sem.at(OWNER), owner, Relaxed);
    true
}

/// `down_read`: as [`read_trylock`], waiting while a writer holds or waits.
pub fn read_lock<M: Memory>(m: &M, sem: Addr, task: u64) {
    while !read_trylock(m, sem, task) {
        while m.load::<u64>(sem.at(COUNT), Relaxed) & READ_FAILED != 0 {
            m.relax();
        }
    }
}

/// `up_read`: one `fetch_sub`; the owner stays, as it does without `CONFIG_DEBUG_RWSEMS`.
#[inline(always)]
pub fn read_unlock<M: Memory>(m: &M, sem: Addr) {
    m.fetch_sub(sem.at(COUNT), READER_BIAS, Release);
}

/// `down_write`: CAS from free to held, then a store of `owner`; waits for readers to leave.
pub fn write_lock<M: Memory>(m: &M, sem: Addr, task: u64) {
    let mut count: u64 = 0;
    loop {
        let wanted = if count & !FLAG_WAITERS == 0 {
            WRITER_LOCKED
        } else {
            count | FLAG_WAITERS
        };
        if wanted != count {
            match m.compare_exchange(sem.at(COUNT), count, wanted, Acquire) {
                Ok(_) if wanted == WRITER_LOCKED => break,
                Ok(_) => {}
                Err(found) => {
                    count = found;
                    continue;
                }
            }
        }
        m.relax();
        count = m.load(sem.at(COUNT), Relaxed);
    }
    m.store(sem.at(OWNER), task, Relaxed);
}

/// `up_write`: the owner is cleared, then one `fetch_sub`.
pub fn write_unlock<M: Memory>(m: &M, sem: Addr) {
    m.store(sem.at(OWNER), 0u64, Relaxed);
    m.fetch_sub(sem.at(COUNT), WRITER_LOCKED, Release);
}
