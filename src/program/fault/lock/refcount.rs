//! `vm_refcnt`: 0 is detached, 1 attached, above 1 readers; the writer's bit turns readers away.
//!
//! Constants and steps: v10 of the series, patches 11 and 12 of 18 (`VMA_LOCK_OFFSET`,
//! `VMA_REF_LIMIT`). A writer that has to wait for readers spins where the kernel sleeps.

use crate::space::memory::{Addr, Memory};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const LOCK_OFFSET: u32 = 0x4000_0000;
const REF_LIMIT: u32 = LOCK_OFFSET - 1;

/// What [`read_trylock`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A reference was taken.
    Yes,
    /// The count is 0: the VMA is detached.
    Detached,
    /// A writer excludes readers, or there are too many.
    Excluded,
}

/// `__refcount_inc_not_zero_limited_acquire`: a CAS loop.
#[inline(always)]
pub fn read_trylock<M: Memory>(m: &M, refcnt: Addr) -> Taken {
    let mut count: u32 = m.load(refcnt, Relaxed);
    loop {
        if count == 0 {
            return Taken::Detached;
        }
        if count >= REF_LIMIT {
            return Taken::Excluded;
        }
        match m.compare_exchange(refcnt, count, count + 1, Acquire, Relaxed) {
            Ok(_) => return Taken::Yes,
            Err(found) => count = found,
        }
    }
}

/// `vma_refcount_put`: one `fetch_sub`; the last reference needs what came before it.
#[inline(always)]
pub fn read_unlock<M: Memory>(m: &M, refcnt: Addr) {
    if m.fetch_sub(refcnt, 1u32, Release) == 1 {
        m.fence(Acquire);
    }
}

/// `vma_mark_attached`.
pub fn attach<M: Memory>(m: &M, refcnt: Addr) {
    m.store(refcnt, 1u32, Release);
}

/// `vma_mark_detached`: drops the reference of the tree and waits for readers that still come
/// and go.
pub fn detach<M: Memory>(m: &M, refcnt: Addr) {
    if m.fetch_sub(refcnt, 1u32, Release) == 1 {
        m.fence(Acquire);
    } else if exclude(m, refcnt, 0) {
        m.fetch_sub(refcnt, LOCK_OFFSET, Release);
    }
}

/// Exclude readers, run `then`, let them in again; `false` if the VMA is detached.
pub fn with_readers_excluded<M: Memory>(m: &M, refcnt: Addr, then: impl FnOnce()) -> bool {
    let excluded = exclude(m, refcnt, 1);
    if excluded {
        then();
        m.fetch_sub(refcnt, LOCK_OFFSET, Release);
    }
    excluded
}

/// Set the writer's bit and wait until only `references` are left beside it; `false` if the
/// count was 0.
fn exclude<M: Memory>(m: &M, refcnt: Addr, references: u32) -> bool {
    let mut count: u32 = m.load(refcnt, Relaxed);
    loop {
        if count == 0 {
            return false;
        }
        match m.compare_exchange(refcnt, count, count + LOCK_OFFSET, Relaxed, Relaxed) {
            Ok(_) => break,
            Err(found) => count = found,
        }
    }
    while m.load::<u32>(refcnt, Acquire) != LOCK_OFFSET + references {
        m.relax();
    }
    true
}
