//! `random-vma`: each fault is in a VMA chosen at random among 64.

use super::script::{Cx, FEWEST_VMAS, FaultCounts, FaultThread, Script};
use crate::program::fault::lock::Layout;
use crate::program::fault::world::Size;
use crate::space::memory::Memory;

/// See the module.
#[derive(Clone, Copy)]
pub struct RandomVma;

/// VMAs to choose from.
const CHOICE: usize = 64;

impl Script for RandomVma {
    const NAME: &'static str = "random-vma";
    const ABOUT: &'static str = "each fault in one of 64 VMAs, chosen at random";

    fn size(&self, threads: usize, pages: bool) -> Size {
        Size {
            vmas: FEWEST_VMAS.max(CHOICE + 2),
            spare_slots: 0,
            threads,
            pages,
        }
    }

    #[inline(always)]
    fn step(
        &self,
        cx: &Cx<impl Memory, impl Layout>,
        thread: &mut FaultThread,
        counts: &mut FaultCounts,
    ) {
        let slot = cx.first_slot + thread.random(CHOICE);
        cx.fault(thread, counts, slot);
    }
}
