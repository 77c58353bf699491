//! `swap-in`: all threads fault in one VMA, and each fault stores to `swap_readahead_info`, as
//! swap-in does (mm/swap_state.c): a write into a line that is otherwise only read.

use super::script::{Cx, FaultCounts, FaultThread, Script};
use crate::program::fault::lock::Layout;
use crate::program::fault::vma::Field;
use crate::space::memory::Memory;
use std::sync::atomic::Ordering::Relaxed;

/// See the module.
#[derive(Clone, Copy)]
pub struct SwapIn;

impl Script for SwapIn {
    const NAME: &'static str = "swap-in";
    const ABOUT: &'static str = "all threads in one VMA, each fault stores swap_readahead_info";

    #[inline(always)]
    fn step(
        &self,
        cx: &Cx<impl Memory, impl Layout>,
        thread: &mut FaultThread,
        counts: &mut FaultCounts,
    ) {
        let info = cx.field(cx.first_slot, Field::swap_readahead_info);
        let hits: u64 = cx.m.load(info, Relaxed);
        cx.m.store(info, hits.wrapping_add(1), Relaxed);
        cx.fault(thread, counts, cx.first_slot);
    }
}
