//! The memory that objects are laid out in before a fault runs on it.
//!
//! Here: allocation at chosen alignments, plain reads and writes while the world is built, and the
//! `unsafe` that backs them. Not here: which object lies where (`fault::world`) and accesses of
//! the fault path (`space::memory`).

use super::PAGE;
use super::memory::{Addr, Word};
use std::alloc::{Layout as AllocLayout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// A page-aligned, zeroed block of memory. All accesses are atomic, so sharing it is sound.
pub struct Arena {
    base: *mut u8,
    layout: AllocLayout,
    used: usize,
}

// SAFETY: the block is only ever accessed through atomics (see `word` below), and `used` only
// through `&mut self`.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena of at least `bytes` bytes, all zero. Every page is touched here, once.
    pub fn new(bytes: usize) -> Arena {
        let bytes = bytes.max(1).next_multiple_of(PAGE);
        let layout = AllocLayout::from_size_align(bytes, PAGE)
            .unwrap_or_else(|_| panic!("an arena of {bytes} bytes overflows the address space"));
        // SAFETY: `layout` has a size above 0.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            handle_alloc_error(layout);
        }
        let arena = Arena {
            base,
            layout,
            used: 0,
        };
        for page in (0..bytes).step_by(PAGE) {
            arena.write(arena.base().at(page), 0u8);
        }
        arena
    }

    /// Address of the first byte; page-aligned.
    pub fn base(&self) -> Addr {
        Addr(self.base as u64)
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.layout.size()
    }

    /// Give everything back, zero what was in use, and let the next allocation start `skip` bytes
    /// in: a multiple of the page moves a world through memory without changing its offsets.
    pub fn reset(&mut self, skip: usize) {
        // SAFETY: inside the block; `&mut self` proves that nobody else accesses it.
        unsafe { self.base.write_bytes(0, self.used) };
        self.used = skip;
    }

    /// Take the next `bytes` bytes at a multiple of `align`.
    ///
    /// # Panics
    /// When the arena is full: its size is computed by the same code that allocates from it.
    pub fn alloc(&mut self, bytes: usize, align: usize) -> Addr {
        let start = self.used.next_multiple_of(align);
        assert!(start + bytes <= self.bytes(), "arena too small");
        self.used = start + bytes;
        self.base().at(start)
    }

    /// Read a word, outside any measured window.
    pub fn read<W: Word>(&self, at: Addr) -> W {
        self.word(
            at,
            |cell| match cell {
                Cell::U8(a) => a.load(Ordering::Relaxed) as u64,
                Cell::U32(a) => a.load(Ordering::Relaxed) as u64,
                Cell::U64(a) => a.load(Ordering::Relaxed),
            },
            W::BYTES,
        )
        .map_or_else(|| out_of_bounds(at), W::narrow)
    }

    /// Write a word, outside any measured window.
    pub fn write<W: Word>(&self, at: Addr, value: W) {
        let value = value.widen();
        self.word(
            at,
            |cell| match cell {
                Cell::U8(a) => a.store(value as u8, Ordering::Relaxed),
                Cell::U32(a) => a.store(value as u32, Ordering::Relaxed),
                Cell::U64(a) => a.store(value, Ordering::Relaxed),
            },
            W::BYTES,
        )
        .unwrap_or_else(|| out_of_bounds(at));
    }

    /// Whether the `bytes` bytes at `at` lie inside and are naturally aligned.
    pub fn contains(&self, at: Addr, bytes: usize) -> bool {
        at.0.checked_sub(self.base().0)
            .is_some_and(|offset| offset as usize + bytes <= self.bytes())
            && at.0.is_multiple_of(bytes as u64)
    }

    fn word<R>(&self, at: Addr, with: impl FnOnce(Cell<'_>) -> R, bytes: usize) -> Option<R> {
        if !self.contains(at, bytes) {
            return None;
        }
        // SAFETY: inside the block and aligned (checked above); the block lives as long as `self`
        // and is only accessed atomically.
        let cell = unsafe {
            match bytes {
                1 => Cell::U8(AtomicU8::from_ptr(at.0 as *mut u8)),
                4 => Cell::U32(AtomicU32::from_ptr(at.0 as *mut u32)),
                _ => Cell::U64(AtomicU64::from_ptr(at.0 as *mut u64)),
            }
        };
        Some(with(cell))
    }
}

enum Cell<'a> {
    U8(&'a AtomicU8),
    U32(&'a AtomicU32),
    U64(&'a AtomicU64),
}

#[cold]
fn out_of_bounds<T>(at: Addr) -> T {
    panic!("{at:?} is outside the arena or misaligned")
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout.
        unsafe { dealloc(self.base, self.layout) }
    }
}
