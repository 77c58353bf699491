//! What is kept for people of what happens: waits in the ledger, slices on the timeline.
//!
//! A thread waits from the time at which it stands until it goes on, in its own time: so waits of
//! one thread never overlap, and together take no longer than what it did. Not here: the records
//! themselves (`explain`, `timeline`).

use super::{Op, State};
use crate::sim::coherence::Outcome;
use crate::sim::machine::Picos;
use crate::sim::request::Transaction;
use crate::sim::timeline::Delivery;

/// What a request got.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    /// When the data reaches the core.
    pub ready: Picos,
    /// Where it comes from.
    pub source: Delivery,
    /// Whether a prefetch of another core had taken the line away.
    pub after_prefetch: bool,
}

impl State {
    /// The thread has waited for a line that it had asked for, and is about to go on.
    #[inline]
    pub(super) fn waited_for_line(&mut self, thread: usize, op: Op, served: Answer) {
        let at = (self.threads[thread].clock, served.ready);
        let source = Some(served.source);
        self.waited(
            thread,
            (op.line, op.words),
            source,
            at,
            served.after_prefetch,
        );
    }

    /// The thread waits until `ready` for a line that is on its way to its core.
    #[inline]
    pub(super) fn held_up(&mut self, thread: usize, op: Op, ready: Picos) {
        let at = (self.threads[thread].clock, ready);
        self.waited(thread, (op.line, op.words), None, at, false);
    }

    fn waited(
        &mut self,
        thread: usize,
        of: (u32, u32),
        source: Option<Delivery>,
        at: (Picos, Picos),
        after_prefetch: bool,
    ) {
        self.note_wait(thread, of, at, after_prefetch);
        if let Some(timeline) = &mut self.timeline {
            timeline.wait(thread, of, source, at);
        }
    }

    fn note_wait(
        &mut self,
        thread: usize,
        (line, words): (u32, u32),
        (since, until): (Picos, Picos),
        after_prefetch: bool,
    ) {
        if let Some(ledger) = &mut self.coherence.ledger
            && until > since
        {
            ledger.waited(thread, line, words, until - since, after_prefetch);
        }
    }

    /// The thread has waited until its store was written.
    pub(super) fn waited_for_store(
        &mut self,
        thread: usize,
        store: Op,
        at: (Picos, Picos),
        after_prefetch: bool,
    ) {
        let of = (store.line, store.words);
        self.note_wait(thread, of, at, after_prefetch);
        if let Some(timeline) = &mut self.timeline {
            timeline.buffered(thread, of, at);
        }
    }

    /// A line of a page that the thread clears was brought.
    pub(super) fn filled(
        &mut self,
        thread: usize,
        asked: Transaction,
        at: (Picos, Picos),
        outcome: Outcome,
    ) {
        if let Some(ledger) = &mut self.coherence.ledger {
            ledger.request(asked, thread);
        }
        let source = Delivery {
            want: asked.want,
            from: Some(outcome.from),
            queued: 0,
        };
        let of = (asked.line, asked.words);
        self.waited(thread, of, Some(source), at, outcome.after_prefetch);
    }

    /// The thread has ended a pass that it began at `began`.
    pub fn passed(&mut self, thread: usize, began: Picos) {
        if let Some(ledger) = &mut self.coherence.ledger {
            ledger.passed(thread);
        }
        let now = self.clock(thread);
        if let Some(timeline) = &mut self.timeline {
            timeline.pass(thread, began, now);
        }
    }
}
