//! Memory that objects lie in, as every backend sees it.
//!
//! Here: addresses, words, the `Memory` trait, the arena, names for addresses, and the units that
//! hardware and kernel divide memory into. Not here: what lies where (`program`) and what executes
//! an access (`backend`, `sim`).

pub mod arena;
pub mod map;
pub mod memory;

/// Bytes in a cache line on every machine the built-in layouts were made for.
pub const LINE: usize = 64;
/// Bytes in a pair: the 128-byte aligned couple of lines an adjacent-line prefetcher completes.
pub const PAIR: usize = 128;
/// Bytes in a page of every machine here.
pub const PAGE: usize = 4096;
