//! `Memory` on real atomics: every access compiles to one instruction.

use crate::space::PAGE;
use crate::space::arena::Arena;
use crate::space::memory::{Addr, Memory, Word};
use std::cell::Cell;
use std::hint::{black_box, spin_loop};
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::time::Instant;

/// Turns of a spin-wait loop before the CPU is given away: about 10 µs, longer than any transfer,
/// much shorter than a time slice.
const SPINS_BEFORE_YIELD: u32 = 256;

/// One thread's view of an arena.
pub struct NativeMemory<'a> {
    turns: Cell<u32>,
    _arena: PhantomData<&'a Arena>,
}

impl<'a> NativeMemory<'a> {
    /// A view for the current thread.
    ///
    /// # Safety
    /// Every address given to it must lie inside `_arena`, naturally aligned, and a page given to
    /// `clear_page` must belong to this thread alone: a [`Program`](crate::program::Program)
    /// promises both.
    pub unsafe fn new(_arena: &'a Arena) -> NativeMemory<'a> {
        // SAFETY: the same rule.
        unsafe { NativeMemory::unbound() }
    }

    /// A view for the current thread, for code that has no [`Arena`] at hand.
    ///
    /// # Safety
    /// As [`NativeMemory::new`], of an arena that outlives the view.
    pub unsafe fn unbound() -> NativeMemory<'a> {
        NativeMemory {
            turns: Cell::new(0),
            _arena: PhantomData,
        }
    }
}

/// Run `$op` on the word at `$at` as the atomic of its size; the size is a constant.
macro_rules! atomic {
    ($word:ty, $at:expr, |$cell:ident, $cast:ident| $op:expr) => {
        // SAFETY: inside the arena and aligned (`NativeMemory::new`), and the arena outlives `self`.
        unsafe {
            match <$word>::BYTES {
                1 => {
                    type $cast = u8;
                    let $cell = AtomicU8::from_ptr($at.0 as *mut u8);
                    $op
                }
                2 => {
                    type $cast = u16;
                    let $cell = AtomicU16::from_ptr($at.0 as *mut u16);
                    $op
                }
                4 => {
                    type $cast = u32;
                    let $cell = AtomicU32::from_ptr($at.0 as *mut u32);
                    $op
                }
                _ => {
                    type $cast = u64;
                    let $cell = AtomicU64::from_ptr($at.0 as *mut u64);
                    $op
                }
            }
        }
    };
}

impl Memory for NativeMemory<'_> {
    #[inline(always)]
    fn load<W: Word>(&self, at: Addr, order: Ordering) -> W {
        atomic!(W, at, |cell, Cast| W::narrow(Cast::widen(cell.load(order))))
    }

    #[inline(always)]
    fn touch<W: Word>(&self, at: Addr) {
        use_value(self.load::<W>(at, Ordering::Relaxed).widen());
    }

    #[inline(always)]
    fn store<W: Word>(&self, at: Addr, value: W, order: Ordering) {
        atomic!(W, at, |cell, Cast| cell
            .store(Cast::narrow(value.widen()), order))
    }

    #[inline(always)]
    fn compare_exchange<W: Word>(
        &self,
        at: Addr,
        current: W,
        new: W,
        order: Ordering,
    ) -> Result<W, W> {
        atomic!(W, at, |cell, Cast| {
            let (current, new) = (Cast::narrow(current.widen()), Cast::narrow(new.widen()));
            cell.compare_exchange(current, new, order, Ordering::Relaxed)
                .map(|found| W::narrow(Cast::widen(found)))
                .map_err(|found| W::narrow(Cast::widen(found)))
        })
    }

    #[inline(always)]
    fn fetch_add<W: Word>(&self, at: Addr, delta: W, order: Ordering) -> W {
        atomic!(W, at, |cell, Cast| {
            W::narrow(Cast::widen(
                cell.fetch_add(Cast::narrow(delta.widen()), order),
            ))
        })
    }

    #[inline(always)]
    fn fetch_sub<W: Word>(&self, at: Addr, delta: W, order: Ordering) -> W {
        atomic!(W, at, |cell, Cast| {
            W::narrow(Cast::widen(
                cell.fetch_sub(Cast::narrow(delta.widen()), order),
            ))
        })
    }

    #[inline(always)]
    fn fence(&self, order: Ordering) {
        fence(order);
    }

    fn compute(&self, nanos: u32) {
        spin(u64::from(nanos) * turns_per_microsecond() / 1000);
    }

    #[inline(always)]
    fn clear_page(&self, page: Addr) {
        // SAFETY: the page is inside the arena and this thread's alone (`NativeMemory::new`).
        unsafe { black_box(page.0 as *mut u8).write_bytes(0, PAGE) };
    }

    fn relax(&self) {
        spin_loop();
        let turns = self.turns.get() + 1;
        self.turns.set(turns);
        if turns.is_multiple_of(SPINS_BEFORE_YIELD) {
            std::thread::yield_now();
        }
    }

    #[inline(always)]
    fn pause(&self) {
        spin_loop();
    }
}

/// Make the compiler bring `value` into a register, without an instruction of its own.
#[inline(always)]
fn use_value(value: u64) {
    // SAFETY: no instruction, and nothing but `value` is read.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    unsafe {
        std::arch::asm!("/* {0} */", in(reg) value, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    black_box(value);
}

/// `turns` turns of a chain of dependent multiplications: 3 to 4 cycles each on any core here.
pub fn spin(turns: u64) {
    let mut value = black_box(1u64);
    for _ in 0..turns {
        value = black_box(value.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
}

/// How many turns of [`spin`] take a microsecond: the fastest of several short tries, measured
/// once.
pub fn turns_per_microsecond() -> u64 {
    static TURNS: OnceLock<u64> = OnceLock::new();
    *TURNS.get_or_init(|| {
        const TURNS: u64 = 100_000;
        let fastest_ns = (0..9)
            .map(|_| {
                let start = Instant::now();
                spin(TURNS);
                start.elapsed().as_nanos().max(1) as u64
            })
            .min()
            .unwrap_or(1);
        TURNS * 1000 / fastest_ns
    })
}
