//! `rmap-neighbour`: each thread but the last faults in its own VMA, with an idle VMA next door;
//! the last one inserts and erases those idle VMAs in the interval tree of the file they map,
//! which writes `shared.rb` of the neighbours that are being faulted in.

use super::script::{Cx, FEWEST_VMAS, FaultCounts, FaultThread, Script};
use crate::program::fault::lock::Layout;
use crate::program::fault::vma::Field;
use crate::program::fault::world::Size;
use crate::space::memory::Memory;
use std::sync::atomic::Ordering::Relaxed;

/// See the module.
#[derive(Clone, Copy)]
pub struct RmapNeighbour;

/// Offsets in `struct rb_node`: `__rb_parent_color`, `rb_right`.
const PARENT_COLOUR: usize = 0;
const RIGHT: usize = 8;

/// Nanoseconds between two insertions: about two million a second, a busy `i_mmap` tree.
const PAUSE_NS: u32 = 500;

impl Script for RmapNeighbour {
    const NAME: &'static str = "rmap-neighbour";
    const ABOUT: &'static str = "own VMA a thread; the last thread writes shared.rb next door";
    const MIN_THREADS: usize = 2;

    fn size(&self, threads: usize, pages: bool) -> Size {
        Size {
            vmas: FEWEST_VMAS.max(2 * threads + 2),
            spare_slots: 0,
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
        let readers = cx.world.size().threads - 1;
        if self.faults(thread.id, readers + 1) {
            cx.fault(thread, counts, cx.first_slot + 2 * thread.id);
            return;
        }
        let faulted = cx.first_slot + 2 * (counts.writes as usize % readers);
        let idle = cx.field(faulted + 1, Field::shared);
        let neighbour = cx.field(faulted, Field::shared);
        // Linking a leaf: its own parent word, its parent's child pointer, then the recolouring.
        cx.m.store(idle.at(PARENT_COLOUR), neighbour.0, Relaxed);
        cx.m.store(neighbour.at(RIGHT), idle.0, Relaxed);
        let colour: u64 = cx.m.load(neighbour.at(PARENT_COLOUR), Relaxed);
        cx.m.store(neighbour.at(PARENT_COLOUR), colour ^ 1, Relaxed);
        cx.m.compute(PAUSE_NS);
        counts.writes += 1;
    }
}
