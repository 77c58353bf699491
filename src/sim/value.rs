//! One access of the program and what it does to the values in the arena.

use super::request::{Want, words};
use crate::space::LINE;
use crate::space::arena::Arena;
use crate::space::memory::Addr;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read.
    Load,
    /// Write.
    Store(u64),
    /// Compare with `current`, exchange for `new`.
    CompareExchange {
        /// The value expected.
        current: u64,
        /// The value to put.
        new: u64,
    },
    /// Add, wrapping.
    Add(u64),
    /// Exchange: a store that is a full fence.
    Swap(u64),
}

impl Kind {
    /// Whether the line has to be held for writing. A compare-and-exchange asks for that before
    /// it knows whether it will succeed.
    #[inline(always)]
    pub fn writes(self) -> bool {
        !matches!(self, Kind::Load)
    }

    /// What it asks for where the core does not hold the line so.
    #[inline(always)]
    pub fn want(self) -> Want {
        if self.writes() { Want::Own } else { Want::Read }
    }

    /// Whether it is a locked read-modify-write.
    #[inline(always)]
    pub fn is_rmw(self) -> bool {
        !matches!(self, Kind::Load | Kind::Store(_))
    }
}

/// One access.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Address.
    pub at: u64,
    /// Line of the arena.
    pub line: u32,
    /// 4-byte words of the line that it touches.
    pub words: u32,
    /// 1, 2, 4 or 8.
    pub bytes: u8,
    /// What it does.
    pub kind: Kind,
}

impl Op {
    /// No access.
    pub const NONE: Op = Op {
        at: 0,
        line: 0,
        words: 0,
        bytes: 1,
        kind: Kind::Load,
    };

    /// An access at `offset` in the arena.
    #[inline(always)]
    pub fn new(at: u64, offset: usize, bytes: usize, kind: Kind) -> Op {
        Op {
            at,
            line: (offset / LINE) as u32,
            words: words(offset % LINE, bytes),
            bytes: bytes as u8,
            kind,
        }
    }

    /// Whether the two touch a byte in common.
    pub fn overlaps(&self, other: &Op) -> bool {
        self.at < other.at + u64::from(other.bytes) && other.at < self.at + u64::from(self.bytes)
    }

    /// Whether the two touch the same bytes.
    pub fn same_word(&self, other: &Op) -> bool {
        (self.at, self.bytes) == (other.at, other.bytes)
    }
}

/// Do it; returns the value from before.
#[inline]
pub fn apply(arena: &Arena, op: Op) -> u64 {
    let at = Addr(op.at);
    let before = match op.bytes {
        1 => u64::from(arena.read::<u8>(at)),
        2 => u64::from(arena.read::<u16>(at)),
        4 => u64::from(arena.read::<u32>(at)),
        _ => arena.read::<u64>(at),
    };
    let after = match op.kind {
        Kind::Load => return before,
        Kind::Store(value) | Kind::Swap(value) => value,
        Kind::CompareExchange { current, new } if before == current => new,
        Kind::CompareExchange { .. } => return before,
        Kind::Add(delta) => before.wrapping_add(delta),
    };
    match op.bytes {
        1 => arena.write(at, after as u8),
        2 => arena.write(at, after as u16),
        4 => arena.write(at, after as u32),
        _ => arena.write(at, after),
    }
    before
}
