//! `vma-per-thread`: each thread faults in a VMA of its own, in neighbouring slab slots, as
//! will-it-scale's page_fault tests do. Whatever is shared here is shared by accident.

use super::script::{Cx, FaultCounts, FaultThread, Script};
use crate::program::fault::lock::Layout;
use crate::space::memory::Memory;

/// See the module.
#[derive(Clone, Copy)]
pub struct VmaPerThread;

impl Script for VmaPerThread {
    const NAME: &'static str = "vma-per-thread";
    const ABOUT: &'static str =
        "each thread in its own VMA, in neighbouring slab slots (will-it-scale)";

    #[inline(always)]
    fn step(
        &self,
        cx: &Cx<impl Memory, impl Layout>,
        thread: &mut FaultThread,
        counts: &mut FaultCounts,
    ) {
        cx.fault(thread, counts, cx.first_slot + thread.id);
    }
}
