//! Who took which line from whom, for which word, and what it cost.
//!
//! Here: raw tallies by line and word. Not here: the names of fields and objects, which the caller
//! of the simulation knows, and the table that a person reads.

use super::machine::{Distance, Picos};
use super::request::{Origin, Transaction};
use std::collections::BTreeMap;

/// One way in which a line went from one core to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taking {
    /// Line of the arena.
    pub line: u32,
    /// The core that took it.
    pub by: u16,
    /// The core that lost it.
    pub from: u16,
    /// The first 4-byte word of the line that the taker accessed; `None` for a prefetch.
    pub word: Option<u8>,
    /// The first 4-byte word that the loser had touched since it got the line.
    pub lost_word: Option<u8>,
    /// How far the line went.
    pub distance: Distance,
    /// Whether the loser lost its copy, or only the right to write it.
    pub invalidated: bool,
}

/// The requests for one word of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Requests that left the core.
    pub requests: u64,
    /// What the cores waited for them, queueing included.
    pub waited: Picos,
    /// Of the requests, those for a line that a prefetch had taken away.
    pub after_prefetch: u64,
    /// What these waited.
    pub waited_after_prefetch: Picos,
}

/// The tallies of one simulation.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Lines taken, how often.
    pub takings: BTreeMap<Taking, u64>,
    /// Requests by line, first word (`None`: a prefetch) and core.
    pub asked: BTreeMap<(u32, Option<u8>, u16), Asked>,
}

fn first(words: u32) -> Option<u8> {
    (words != 0).then(|| words.trailing_zeros() as u8)
}

/// The first word that an access asks for; `None` for a prefetch.
fn demanded(by: Transaction) -> Option<u8> {
    first(by.words).filter(|_| by.origin == Origin::Demand)
}

impl Ledger {
    /// A line was taken from the core `from`, which had touched the words `lost`.
    pub fn steal(
        &mut self,
        by: Transaction,
        from: usize,
        lost: u32,
        distance: Distance,
        invalidated: bool,
    ) {
        let taking = Taking {
            line: by.line,
            by: by.core,
            from: from as u16,
            word: demanded(by),
            lost_word: first(lost),
            distance,
            invalidated,
        };
        *self.takings.entry(taking).or_default() += 1;
    }

    /// A request was served, `latency` after it would have been asked for.
    pub fn request(&mut self, by: Transaction, after_prefetch: bool, latency: Picos) {
        let asked = self.asked.entry((by.line, demanded(by), by.core));
        let asked = asked.or_default();
        asked.requests += 1;
        asked.waited += latency;
        if after_prefetch && by.origin == Origin::Demand {
            asked.after_prefetch += 1;
            asked.waited_after_prefetch += latency;
        }
    }

    /// The same request had waited `queued` before it was served.
    pub fn queued(&mut self, by: Transaction, queued: Picos) {
        if let Some(asked) = self.asked.get_mut(&(by.line, first(by.words), by.core)) {
            asked.waited += queued;
        }
    }
}
