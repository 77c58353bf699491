//! The lock of one VMA: `vma_start_read` and `vma_end_read`, `vma_start_write`, attach, detach.
//!
//! Here: what every layout and every protocol has to provide, and the sequence check around the
//! lock. Not here: the protocols themselves, one file each. Steps: kernel 6.12
//! (`include/linux/mm.h`) for the `rwsem` layouts, v10 of the refcount series for the others.

pub mod mmap_lock;
pub mod refcount;
pub mod rwsem;

use super::vma::mm::MM_LOCK_SEQ;
use super::vma::{Field, LockPlace, LockProtocol, Pointer, Table};
use crate::space::arena::Arena;
use crate::space::memory::{Addr, Memory};
use std::sync::atomic::Ordering::{self, Relaxed};

/// A layout as the fault path sees it.
///
/// A built-in layout answers with a constant, so that every offset is folded into the instruction
/// that uses it; an imported one answers with a table that is read.
pub trait Layout: Copy + Send + Sync + 'static {
    /// How a reader enters.
    type Lock: Lock;

    /// Offsets, lock and slab caches.
    fn table(&self) -> &'static Table;

    /// Offset of the field in bytes; see [`Table::offset`].
    #[inline(always)]
    fn offset(&self, field: Field) -> usize {
        self.table().offset(field)
    }
}

/// How an attempt to enter a VMA ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The reader is in and must call [`Lock::leave`].
    Entered,
    /// The VMA was detached meanwhile: look it up again.
    Detached,
    /// A writer holds it: fall back to `mmap_lock`.
    Excluded,
}

/// A lock protocol: how readers and writers of one VMA exclude each other.
pub trait Lock: Send + Sync + 'static {
    /// Which one, as tables name it.
    const PROTOCOL: LockProtocol;
    /// Whether a VMA has a lock of its own. Where it has none, every fault takes `mmap_lock`, and
    /// nobody calls [`Lock::enter`].
    const PER_VMA: bool = Self::PROTOCOL.field().is_some();

    /// Enter as a reader; [`start_read`] then checks that the VMA still covers the address.
    fn enter<M: Memory, L: Layout>(m: &M, layout: &L, mm: Addr, vma: Pointer, task: u64) -> Entry;

    /// `vma_end_read`.
    fn leave<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer);

    /// Run `publish` while no reader is in.
    fn exclude<M: Memory, L: Layout>(
        m: &M,
        layout: &L,
        vma: Pointer,
        task: u64,
        publish: impl FnOnce(),
    );

    /// `vma_mark_attached`: from here on readers may enter.
    fn attach<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer);

    /// `vma_mark_detached`: no reader gets in any more. The caller has called [`start_write`].
    fn detach<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer);

    /// Make the lock at `lock` a new one, of an object that nobody can reach.
    fn renew<M: Memory>(m: &M, lock: Addr);

    /// The lock's words in a new VMA, `attached` or free, before any thread runs.
    fn init(arena: &Arena, table: &Table, vma: Pointer, attached: bool);
}

/// Address of the lock word(s) of `vma`: a dependent load where the lock is split.
///
/// # Panics
/// Where a VMA has no lock.
#[inline(always)]
fn lock_of<M: Memory, L: Layout>(m: &M, layout: &L, vma: Pointer) -> Addr {
    match (layout.table().lock, L::Lock::PROTOCOL.field()) {
        (LockPlace::Split(_), _) => {
            Pointer::held(m.load(vma.at(layout.offset(Field::vm_lock)), Relaxed)).at(0)
        }
        (_, Some(field)) => vma.at(layout.offset(field)),
        (_, None) => unreachable!("a VMA without a lock"),
    }
}

/// Whether `vma` is write-locked: its sequence equals that of the `mm_struct` at `mm`.
#[inline(always)]
fn is_write_locked<M: Memory, L: Layout>(
    m: &M,
    layout: &L,
    mm: Addr,
    vma: Pointer,
    order: Ordering,
) -> bool {
    let seq: u32 = m.load(vma.at(layout.offset(Field::vm_lock_seq)), Relaxed);
    let mm_seq: u32 = m.load(mm.at(MM_LOCK_SEQ), order);
    seq == mm_seq
}

/// `vma_start_read`, with the checks that `lock_vma_under_rcu` makes right after it.
#[inline(always)]
pub fn start_read<M: Memory, L: Layout>(
    m: &M,
    layout: &L,
    mm: Addr,
    vma: Pointer,
    task: u64,
    address: u64,
) -> Entry {
    match L::Lock::enter(m, layout, mm, vma, task) {
        Entry::Entered => {}
        refused => return refused,
    }
    // The object may have been reused for another range before it was locked.
    let start: u64 = m.load(vma.at(layout.offset(Field::vm_start)), Relaxed);
    let end: u64 = m.load(vma.at(layout.offset(Field::vm_end)), Relaxed);
    if address < start || address >= end {
        L::Lock::leave(m, layout, vma);
        return Entry::Detached;
    }
    Entry::Entered
}

/// `vma_start_write`: no reader is in, and none gets in until `mmap_write_unlock`. The caller
/// holds `mmap_lock` for writing.
pub fn start_write<M: Memory, L: Layout>(m: &M, layout: &L, mm: Addr, vma: Pointer, task: u64) {
    if !L::Lock::PER_VMA || is_write_locked(m, layout, mm, vma, Relaxed) {
        return;
    }
    L::Lock::exclude(m, layout, vma, task, || {
        let mm_seq: u32 = m.load(mm.at(MM_LOCK_SEQ), Relaxed);
        m.store(vma.at(layout.offset(Field::vm_lock_seq)), mm_seq, Relaxed);
    });
}
