//! Requests for a line: what is asked for, by whom, for which words, and where the data comes from.

/// The 4-byte words that an access of `bytes` bytes at `offset` in its line touches.
#[inline(always)]
pub fn words(offset: usize, bytes: usize) -> u32 {
    let count = bytes.div_ceil(4) as u32;
    (u32::MAX >> (32 - count)) << (offset / 4)
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// A copy to read.
    Read,
    /// The only copy, to write: an RFO, or an upgrade where the core holds a copy.
    Own,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An access of the program.
    Demand,
    /// A prefetcher.
    Prefetch,
}

/// A request that is served. Small enough to be passed in two registers.
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    /// The core that asks.
    pub core: u16,
    /// For this line of the arena.
    pub line: u32,
    /// What it asks for.
    pub want: Want,
    /// On whose behalf.
    pub origin: Origin,
    /// The words of the line that the access touches; a prefetch touches none.
    pub words: u32,
}

/// Where the data came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFrom {
    /// The core held it; only leave to write was asked for.
    Itself,
    /// Another core's cache.
    Core(u16),
    /// A last-level cache.
    Llc,
    /// DRAM.
    Memory,
}
