//! The memory that objects are laid out in before a fault runs on it.
//!
//! Here: allocation at chosen alignments, plain reads and writes while the world is built, and the
//! `unsafe` that backs them. Not here: which object lies where (`fault::world`) and accesses of
//! the fault path (`space::memory`).

use super::PAGE;
use super::memory::{Addr, Word};
use crate::error::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use rustix::mm::{Advice, madvise};
use std::alloc::{Layout as AllocLayout, alloc_zeroed, dealloc};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

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
    pub fn new(bytes: usize) -> Result<Arena> {
        let arena = Arena::untouched(bytes)?;
        for page in (0..arena.bytes()).step_by(PAGE) {
            arena.write(arena.base().at(page), 0u8);
        }
        Ok(arena)
    }

    /// The same, of pages that the kernel gives anew, one by one in an order that follows from
    /// `seed`: which physical page lies where differs from those of arenas before.
    pub fn fresh(bytes: usize, seed: u64) -> Result<Arena> {
        let arena = Arena::untouched(bytes)?;
        // SAFETY: whole pages of a block that is this arena's alone, and in which nothing is yet;
        // without their contents they are zero, as they are now.
        let _ = unsafe { madvise(arena.base.cast(), arena.bytes(), Advice::LinuxDontNeed) };
        let mut pages: Vec<usize> = (0..arena.bytes()).step_by(PAGE).collect();
        pages.shuffle(&mut Pcg64Mcg::seed_from_u64(seed));
        for page in pages {
            arena.write(arena.base().at(page), 0u8);
        }
        Ok(arena)
    }

    fn untouched(bytes: usize) -> Result<Arena> {
        let refused = || Error::Refused(format!("there are no {bytes} bytes of memory to be had"));
        let whole = bytes.max(1).checked_next_multiple_of(PAGE);
        let layout = whole
            .and_then(|bytes| AllocLayout::from_size_align(bytes, PAGE).ok())
            .ok_or_else(refused)?;
        // SAFETY: `layout` has a size above 0.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(refused());
        }
        Ok(Arena {
            base,
            layout,
            used: 0,
        })
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
    ///
    /// # Panics
    /// When `skip` is more than there is.
    pub fn reset(&mut self, skip: usize) {
        assert!(skip <= self.bytes(), "arena too small");
        // SAFETY: `used` is inside the block, always; `&mut self` proves that nobody else accesses it.
        unsafe { self.base.write_bytes(0, self.used) };
        self.used = skip;
    }

    /// Take the next `bytes` bytes at a multiple of `align`.
    ///
    /// # Panics
    /// When the arena is full: its size is computed by the same code that allocates from it.
    pub fn alloc(&mut self, bytes: usize, align: usize) -> Addr {
        let start = self.used.next_multiple_of(align);
        let end = start.checked_add(bytes).filter(|end| *end <= self.bytes());
        self.used = end.expect("arena too small");
        self.base().at(start)
    }

    /// Read a word, outside any measured window.
    ///
    /// # Panics
    /// As [`Arena::write`].
    pub fn read<W: Word>(&self, at: Addr) -> W {
        let word = self.checked(at, W::BYTES);
        // SAFETY: `word` is inside the block and aligned; all accesses to it are atomic.
        W::narrow(unsafe {
            match W::BYTES {
                1 => AtomicU8::from_ptr(word).load(Relaxed).into(),
                2 => AtomicU16::from_ptr(word.cast()).load(Relaxed).into(),
                4 => AtomicU32::from_ptr(word.cast()).load(Relaxed).into(),
                _ => AtomicU64::from_ptr(word.cast()).load(Relaxed),
            }
        })
    }

    /// Write a word, outside any measured window.
    ///
    /// # Panics
    /// When the word is outside the arena or misaligned.
    pub fn write<W: Word>(&self, at: Addr, value: W) {
        let (word, value) = (self.checked(at, W::BYTES), value.widen());
        // SAFETY: as in `read`.
        unsafe {
            match W::BYTES {
                1 => AtomicU8::from_ptr(word).store(value as u8, Relaxed),
                2 => AtomicU16::from_ptr(word.cast()).store(value as u16, Relaxed),
                4 => AtomicU32::from_ptr(word.cast()).store(value as u32, Relaxed),
                _ => AtomicU64::from_ptr(word.cast()).store(value, Relaxed),
            }
        }
    }

    /// The `bytes` bytes at `at`, at most 8, if they lie inside and are naturally aligned.
    fn checked(&self, at: Addr, bytes: usize) -> *mut u8 {
        let offset = at.0.wrapping_sub(self.base().0) as usize;
        if offset > self.bytes() - bytes || !at.0.is_multiple_of(bytes as u64) {
            out_of_bounds(at);
        }
        self.base.wrapping_add(offset)
    }
}

#[cold]
fn out_of_bounds(at: Addr) -> ! {
    panic!("{at:?} is outside the arena or misaligned")
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout.
        unsafe { dealloc(self.base, self.layout) }
    }
}
