//! Who took which line from whom, for which word, and how long threads waited.
//!
//! Here: raw tallies by line and word, of the window that a sample is about. Not here: the names of
//! fields and objects, which the caller of the simulation knows, and the table that a person reads.

use super::machine::{Distance, Picos};
use super::request::{Origin, Transaction, Want};
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
    /// What the taker asked for.
    pub want: Want,
    /// The first 4-byte word of the line that the taker accessed; `None` for a prefetch.
    pub word: Option<u8>,
    /// The first of these words that the loser had touched since it got the line; of words that
    /// the taker did not access, where it had touched none of these.
    pub lost_word: Option<u8>,
    /// Whether the loser had touched a word that the taker accessed.
    pub same_word: bool,
    /// Whether the loser had modified the line and the taker got its data: a HITM.
    pub hitm: bool,
    /// How far the line went.
    pub distance: Distance,
    /// Whether the loser lost its copy, or only the right to write it.
    pub invalidated: bool,
}

/// How the loser of a line held it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loser {
    /// The core.
    pub core: usize,
    /// The words it had touched since it got the line.
    pub touched: u32,
    /// Whether it had modified the line and the taker gets its data.
    pub hitm: bool,
    /// How far away it is.
    pub distance: Distance,
    /// Whether it loses its copy, or only the right to write it.
    pub invalidated: bool,
}

/// How often and how long a thread waited for a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How often.
    pub times: u64,
    /// How long, queueing included.
    pub time: Picos,
    /// The part of `time` for a line that a prefetch had taken away.
    pub after_prefetch: Picos,
}

impl Waits {
    /// With those of `more`.
    pub fn add(&mut self, more: Waits) {
        self.times += more.times;
        self.time += more.time;
        self.after_prefetch += more.after_prefetch;
    }
}

/// The tallies of one window.
///
/// Takings and requests are those between the two moments at which the counters are read. Waits are
/// those of the passes that are counted, which begin and end a little before these moments, in
/// every thread at its own time: so they are parts of the time of these passes, and no more.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Lines taken, how often.
    pub takings: BTreeMap<Taking, u64>,
    /// Requests that left a core, by line, first word (`None`: a prefetch) and thread.
    pub requests: BTreeMap<(u32, Option<u8>, u16), u64>,
    /// Waits of the passes that have ended, by line, first word and thread.
    pub waits: BTreeMap<(u32, u8, u16), Waits>,
    /// Those of the pass under way, by thread.
    under_way: Vec<BTreeMap<(u32, u8), Waits>>,
}

fn first(words: u32) -> Option<u8> {
    (words != 0).then(|| words.trailing_zeros() as u8)
}

/// The words that an access asks for; none for a prefetch.
fn demanded(by: Transaction) -> u32 {
    match by.origin {
        Origin::Demand => by.words,
        Origin::Prefetch => 0,
    }
}

impl Ledger {
    /// The window begins. Passes under way are counted when they end, and so are their waits.
    pub(super) fn begin(&mut self) {
        self.takings.clear();
        self.requests.clear();
        self.waits.clear();
    }

    /// A line was taken from a core.
    pub(super) fn steal(&mut self, by: Transaction, from: Loser) {
        let demanded = demanded(by);
        let same = from.touched & demanded;
        let taking = Taking {
            line: by.line,
            by: by.core,
            from: from.core as u16,
            want: by.want,
            word: first(demanded),
            lost_word: first(same).or(first(from.touched)),
            same_word: same != 0,
            hitm: from.hitm,
            distance: from.distance,
            invalidated: from.invalidated,
        };
        *self.takings.entry(taking).or_default() += 1;
    }

    /// A request of `thread` was served.
    pub(super) fn request(&mut self, by: Transaction, thread: usize) {
        let key = (by.line, first(demanded(by)), thread as u16);
        *self.requests.entry(key).or_default() += 1;
    }

    /// `thread` has waited for `time` for the first of `words` of a line.
    pub(super) fn waited(
        &mut self,
        thread: usize,
        line: u32,
        words: u32,
        time: Picos,
        after_prefetch: bool,
    ) {
        if self.under_way.len() <= thread {
            self.under_way.resize_with(thread + 1, BTreeMap::new);
        }
        let word = first(words).unwrap_or_default();
        let waits = self.under_way[thread].entry((line, word)).or_default();
        waits.add(Waits {
            times: 1,
            time,
            after_prefetch: if after_prefetch { time } else { 0 },
        });
    }

    /// `thread` has ended a pass.
    pub(super) fn passed(&mut self, thread: usize) {
        let Some(under_way) = self.under_way.get_mut(thread) else {
            return;
        };
        for ((line, word), waits) in std::mem::take(under_way) {
            let of = self.waits.entry((line, word, thread as u16));
            of.or_default().add(waits);
        }
    }
}
