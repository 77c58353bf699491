//! The positive control: two threads that each add to a word of their own, and how far apart the
//! words lie. On one line they take it from each other; on two they do not.

use super::Build;
use super::loaded::{Load, Loaded, Placing};
use crate::error::Result;
use crate::experiment::PlannedSample;
use crate::program::{Program, WithProgram};
use crate::space::arena::Arena;
use crate::space::memory::{Addr, Memory};
use crate::space::{PAGE, PAIR};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes from the word of the first thread to that of the second, by arm.
pub struct TwoWords(Vec<usize>);

impl TwoWords {
    /// Of arms whose words lie so far apart: multiples of 8 below a pair.
    ///
    /// # Panics
    /// At any other distance.
    pub fn apart(bytes: &[usize]) -> TwoWords {
        let fits = |bytes: &usize| bytes.is_multiple_of(8) && (8..PAIR).contains(bytes);
        assert!(bytes.iter().all(fits), "{bytes:?}");
        TwoWords(bytes.to_vec())
    }
}

impl Build for TwoWords {
    fn bytes(&self) -> usize {
        PAGE
    }

    const IS_COMPILED: bool = false;

    fn build(
        &self,
        planned: &PlannedSample,
        mut arena: Arena,
        _placing: &Arc<Placing>,
    ) -> Result<Box<dyn Loaded>> {
        let program = AddToOwn {
            first: arena.alloc(PAIR, PAIR),
            arena,
            apart: self.0[planned.arm],
        };
        let load = Load {
            handicap_permille: 0,
        };
        Ok(load.call(program))
    }
}

struct AddToOwn {
    arena: Arena,
    first: Addr,
    apart: usize,
}

// SAFETY: both words lie in the pair allocated at `first`, at multiples of 8.
unsafe impl Program for AddToOwn {
    /// Its word.
    type Thread = OwnWord;
    type Counts = u64;

    fn threads(&self) -> usize {
        2
    }

    fn thread(&self, thread: usize, _seed: u64) -> OwnWord {
        OwnWord(self.first.at(thread * self.apart))
    }

    fn run<M: Memory>(&self, m: &M, thread: &mut OwnWord, counts: &mut u64, steps: u32) {
        for _ in 0..steps {
            m.fetch_add(thread.0, 1u64, Relaxed);
        }
        *counts += u64::from(steps);
    }

    fn operations(counts: &u64) -> u64 {
        *counts
    }

    fn arena(&self) -> &Arena {
        &self.arena
    }

    fn into_arena(self) -> Arena {
        self.arena
    }
}

struct OwnWord(Addr);

impl Default for OwnWord {
    fn default() -> OwnWord {
        OwnWord(Addr::NULL)
    }
}
