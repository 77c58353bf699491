//! `readers-writer`: all threads but the last fault in one VMA; the last one maps a VMA elsewhere
//! and unmaps it again. Readers never touch that VMA; what they share with the writer is
//! `mm_lock_seq`, `mmap_lock` and the tree.

use super::churn::{self, Reclaim};
use super::script::{Cx, FEWEST_VMAS, FaultCounts, FaultThread, Script};
use crate::program::fault::lock::Layout;
use crate::program::fault::world::Size;
use crate::space::memory::Memory;

/// See the module.
#[derive(Clone, Copy)]
pub struct ReadersWriter;

/// Nanoseconds between a map and the next unmap: two system calls a few microseconds apart.
const PAUSE_NS: u32 = 2_000;

impl Script for ReadersWriter {
    const NAME: &'static str = "readers-writer";
    const ABOUT: &'static str = "all but one fault in one VMA; the last maps and unmaps another";
    const MIN_THREADS: usize = 2;

    fn size(&self, threads: usize, pages: bool) -> Size {
        Size {
            vmas: FEWEST_VMAS.max(threads + 2),
            spare_slots: threads + 2,
            threads,
            pages,
        }
    }

    fn faults(&self, thread: usize, threads: usize) -> bool {
        thread + 1 < threads
    }

    #[inline(always)]
    fn step(
        &self,
        cx: &Cx<impl Memory, impl Layout>,
        thread: &mut FaultThread,
        counts: &mut FaultCounts,
    ) {
        let threads = cx.world.size().threads;
        if self.faults(thread.id, threads) {
            cx.fault(thread, counts, cx.first_slot);
            return;
        }
        // The writer is alone, so its VMA goes back to it at once.
        let slot = churn::map(cx, thread, Reclaim::Typesafe, 1);
        cx.m.compute(PAUSE_NS);
        churn::unmap(cx, thread, Reclaim::Typesafe, slot);
        cx.m.compute(PAUSE_NS);
        counts.writes += 1;
    }
}
