//! `churn`: VMAs are allocated, attached, faulted on, detached and freed, by every thread.
//!
//! Here: map and unmap as the kernel does them under `mmap_lock`, and the two ways a freed object
//! comes back: after a grace period (`call_rcu`), or at once from a type-stable slab
//! (`SLAB_TYPESAFE_BY_RCU`). Slots belong to threads in turn, as a slab looks after a while.

use super::script::{Cx, FEWEST_VMAS, FaultCounts, FaultThread, Script};
use crate::program::fault::lock::{self, Layout, Lock, mmap_lock};
use crate::program::fault::tree;
use crate::program::fault::vma::Field;
use crate::program::fault::vma::mm::MAP_COUNT;
use crate::program::fault::world::{Size, VMA_SPAN, start_of};
use crate::space::memory::Memory;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// When a freed VMA may be allocated again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// Once every thread has passed a quiescent state.
    CallRcu,
    /// At once; readers check what they have locked.
    Typesafe,
}

/// Faults between a map and its unmap.
const FAULTS_PER_VMA: usize = 8;
/// Slab slots a thread allocates from.
const SLOTS_PER_THREAD: usize = 16;
/// Freed VMAs that wait together for one grace period.
const GRACE_BATCH: usize = 4;

/// `churn-call-rcu`: freed objects come back after a grace period.
#[derive(Clone, Copy)]
pub struct CallRcu;

/// `churn-typesafe`: freed objects come back at once.
#[derive(Clone, Copy)]
pub struct Typesafe;

fn size(threads: usize, pages: bool) -> Size {
    Size {
        vmas: FEWEST_VMAS,
        spare_slots: threads * SLOTS_PER_THREAD + 2,
        threads,
        pages,
    }
}

#[inline(always)]
fn step(
    cx: &Cx<impl Memory, impl Layout>,
    thread: &mut FaultThread,
    counts: &mut FaultCounts,
    reclaim: Reclaim,
) {
    let slot = map(cx, thread, reclaim, SLOTS_PER_THREAD);
    for _ in 0..FAULTS_PER_VMA {
        cx.fault(thread, counts, region_of(cx, thread));
    }
    unmap(cx, thread, reclaim, slot);
}

impl Script for CallRcu {
    const NAME: &'static str = "churn-call-rcu";
    const ABOUT: &'static str = "map, 8 faults, unmap; freed VMAs return after a grace period";

    fn size(&self, threads: usize, pages: bool) -> Size {
        size(threads, pages)
    }

    #[inline(always)]
    fn step(
        &self,
        cx: &Cx<impl Memory, impl Layout>,
        thread: &mut FaultThread,
        counts: &mut FaultCounts,
    ) {
        step(cx, thread, counts, Reclaim::CallRcu);
        quiesce(cx, thread);
    }

    fn enter(&self, cx: &Cx<impl Memory, impl Layout>, thread: &mut FaultThread) {
        // Odd: inside, holding up grace periods.
        let count: u64 = cx.m.load(cx.world.per_thread(thread.id), Relaxed);
        cx.m.store(cx.world.per_thread(thread.id), count | 1, Release);
    }

    fn leave(&self, cx: &Cx<impl Memory, impl Layout>, thread: &mut FaultThread) {
        let count: u64 = cx.m.load(cx.world.per_thread(thread.id), Relaxed);
        cx.m.store(cx.world.per_thread(thread.id), (count | 1) + 1, Release);
    }
}

impl Script for Typesafe {
    const NAME: &'static str = "churn-typesafe";
    const ABOUT: &'static str =
        "map, 8 faults, unmap; freed VMAs return at once (type-stable slab)";

    fn size(&self, threads: usize, pages: bool) -> Size {
        size(threads, pages)
    }

    #[inline(always)]
    fn step(
        &self,
        cx: &Cx<impl Memory, impl Layout>,
        thread: &mut FaultThread,
        counts: &mut FaultCounts,
    ) {
        step(cx, thread, counts, Reclaim::Typesafe);
    }
}

/// The region a thread maps into: the spare one of its number.
#[inline(always)]
fn region_of<M, L>(cx: &Cx<M, L>, thread: &FaultThread) -> usize {
    cx.world.size().vmas + cx.first_slot + thread.id
}

/// Map the thread's region with a VMA from its shelf of `stock` slots; returns the slab slot.
pub fn map<M: Memory, L: Layout>(
    cx: &Cx<'_, M, L>,
    thread: &mut FaultThread,
    reclaim: Reclaim,
    stock: usize,
) -> usize {
    if !thread.shelf.stocked {
        let Size { vmas, threads, .. } = cx.world.size();
        let first = vmas + cx.first_slot + thread.id;
        thread.shelf.free = (0..stock).rev().map(|i| first + i * threads).collect();
        thread.shelf.stocked = true;
    }
    let slot = loop {
        if let Some(slot) = thread.shelf.free.pop() {
            break slot;
        }
        quiesce(cx, thread);
        reap(cx, thread);
        cx.m.relax();
    };
    let (m, mm, vma) = (cx.m, cx.mm, cx.world.vma_pointer(slot));
    let region = region_of(cx, thread);
    let start = start_of(region);
    mmap_lock::write_lock(m, mm, thread.task());
    if reclaim == Reclaim::CallRcu {
        // A new object gets a new lock; a type-stable one must keep it, readers may hold it.
        L::Lock::renew(m, cx.world.lock(slot));
    }
    lock::start_write(m, &cx.layout, mm, vma, thread.task());
    m.store(cx.field(slot, Field::vm_start), start, Relaxed);
    m.store(cx.field(slot, Field::vm_end), start + VMA_SPAN, Relaxed);
    m.store(cx.field(slot, Field::vm_mm), mm.0, Relaxed);
    m.store(cx.field(slot, Field::vm_page_prot), 0u64, Relaxed);
    m.store(cx.field(slot, Field::vm_flags), 0u64, Relaxed);
    m.store(cx.field(slot, Field::anon_vma), 0u64, Relaxed);
    m.store(cx.field(slot, Field::vm_ops), 0u64, Relaxed);
    m.store(cx.field(slot, Field::vm_pgoff), start >> 12, Relaxed);
    m.store(cx.field(slot, Field::vm_file), 0u64, Relaxed);
    if cx.layout.table().has(Field::vm_policy) {
        m.store(cx.field(slot, Field::vm_policy), 0u64, Relaxed);
    }
    L::Lock::attach(m, &cx.layout, vma);
    tree::store(m, cx.world.tree_slot(region), vma.word());
    let count: u32 = m.load(mm.at(MAP_COUNT), Relaxed);
    m.store(mm.at(MAP_COUNT), count.wrapping_add(1), Relaxed);
    mmap_lock::write_unlock(m, mm);
    slot
}

/// Unmap the thread's region and free the VMA in slab slot `slot`.
pub fn unmap<M: Memory, L: Layout>(
    cx: &Cx<'_, M, L>,
    thread: &mut FaultThread,
    reclaim: Reclaim,
    slot: usize,
) {
    let (m, mm, vma) = (cx.m, cx.mm, cx.world.vma_pointer(slot));
    let region = region_of(cx, thread);
    mmap_lock::write_lock(m, mm, thread.task());
    lock::start_write(m, &cx.layout, mm, vma, thread.task());
    tree::store(m, cx.world.tree_slot(region), 0);
    L::Lock::detach(m, &cx.layout, vma);
    let count: u32 = m.load(mm.at(MAP_COUNT), Relaxed);
    m.store(mm.at(MAP_COUNT), count.wrapping_sub(1), Relaxed);
    mmap_lock::write_unlock(m, mm);
    match reclaim {
        Reclaim::Typesafe => thread.shelf.free.push(slot),
        Reclaim::CallRcu => {
            thread.shelf.waiting.push(slot);
            if thread.shelf.waiting.len() == GRACE_BATCH {
                let freed = std::mem::take(&mut thread.shelf.waiting);
                let counts = quiescent_counts(cx);
                thread.shelf.grace.push_back((freed, counts));
                reap(cx, thread);
            }
        }
    }
}

/// The thread holds no reference into the tree: its count goes on by 2 and stays odd.
#[inline(always)]
fn quiesce(cx: &Cx<impl Memory, impl Layout>, thread: &FaultThread) {
    let word = cx.world.per_thread(thread.id);
    let count: u64 = cx.m.load(word, Relaxed);
    cx.m.store(word, count.wrapping_add(2), Release);
}

fn quiescent_counts(cx: &Cx<impl Memory, impl Layout>) -> Vec<u64> {
    let threads = cx.world.size().threads;
    (0..threads)
        .map(|t| cx.m.load(cx.world.per_thread(t), Acquire))
        .collect()
}

/// Take back the slots whose grace period has passed: every thread that was inside has been
/// quiescent since.
fn reap(cx: &Cx<impl Memory, impl Layout>, thread: &mut FaultThread) {
    let Some((_, then)) = thread.shelf.grace.front() else {
        return;
    };
    let inside = |count: u64| count & 1 == 1;
    let passed = quiescent_counts(cx)
        .iter()
        .zip(then)
        .all(|(now, then)| !inside(*then) || now != then);
    if passed && let Some((slots, _)) = thread.shelf.grace.pop_front() {
        thread.shelf.free.extend(slots);
    }
}
