//! `one-vma`: all threads fault in one VMA, as mmtests' pft does.

use super::script::{Cx, FaultCounts, FaultThread, Script};
use crate::program::fault::lock::Layout;
use crate::space::memory::Memory;

/// See the module.
#[derive(Clone, Copy)]
pub struct OneVma;

impl Script for OneVma {
    const NAME: &'static str = "one-vma";
    const ABOUT: &'static str = "all threads fault in one VMA (pft)";

    #[inline(always)]
    fn step(
        &self,
        cx: &Cx<impl Memory, impl Layout>,
        thread: &mut FaultThread,
        counts: &mut FaultCounts,
    ) {
        cx.fault(thread, counts, cx.first_slot);
    }
}
