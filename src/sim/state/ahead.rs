//! Misses that a core has under way beside the one its program waits for.
//!
//! Here: which lines a thread goes on to after a miss. A core runs ahead of a miss along the way
//! it expects, and asks for what it will need there. The simulator cannot run a program without
//! the value, but remembers: what missed soon after a line the last time is asked for together
//! with it the next time. Not here: how requests are served (`lines`), and prefetchers, which guess.

use super::record::Answer;
use super::{NEVER, Op, Purpose, State, WaitsFor};
use crate::sim::machine::Picos;
use crate::sim::request::Want;

/// Accesses that a core runs ahead: reorder buffers hold 190 to 510 instructions, and about three
/// belong to an access.
const WINDOW: u32 = 64;
/// Lines whose companions are remembered.
const LEADERS: usize = 64;

/// A line that is asked for together with another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Companion {
    /// Which.
    pub line: u32,
    /// For what.
    pub want: Want,
    /// The words that the program is going to touch.
    pub words: u32,
}

/// What one thread remembers.
pub struct Ahead {
    /// Companions at most.
    most: usize,
    /// By leader; one entry serves several lines, the last one of them counts.
    memory: Vec<(u32, Vec<Companion>)>,
    /// The miss that the thread went on from last, and how many accesses ago.
    leader: Option<u32>,
    since: u32,
    /// What it went on to.
    seen: Vec<Companion>,
    /// Companions of the leader that the program has not come to yet.
    pub wanted: Vec<Companion>,
    /// Companions that were asked for and are not there yet.
    pub asked: Vec<u32>,
    /// The line of those that the program waits for.
    pub awaited: Option<u32>,
}

impl Ahead {
    /// Of a core that has `at_once` misses under way at most.
    pub fn new(at_once: usize) -> Ahead {
        let leaders = if at_once > 1 { LEADERS } else { 0 };
        Ahead {
            most: at_once - 1,
            memory: vec![(u32::MAX, Vec::new()); leaders],
            leader: None,
            since: 0,
            seen: Vec::new(),
            wanted: Vec::new(),
            asked: Vec::new(),
            awaited: None,
        }
    }

    /// Whether a miss was not long ago.
    #[inline(always)]
    pub fn is_near_miss(&self) -> bool {
        self.leader.is_some()
    }

    /// The miss that the thread went on from last.
    #[inline(always)]
    pub fn leader(&self) -> Option<u32> {
        self.leader
    }

    /// An access soon after a miss: of a line that did not have to wait for it, and was missed or
    /// is known to be needed.
    pub fn follow(&mut self, access: Companion, missed: bool) {
        self.since += 1;
        self.wanted.retain(|c| c.line != access.line);
        if self.since > WINDOW {
            self.remember();
            return;
        }
        let Some(leader) = self.leader else { return };
        let (of, known) = &self.memory[leader as usize % LEADERS];
        let known = *of == leader && known.iter().any(|c| c.line == access.line);
        if access.line == leader || !(missed || known) {
            return;
        }
        let among = self.seen.iter().position(|c| c.line == access.line);
        if let Some(index) = among {
            let seen = &mut self.seen[index];
            seen.words |= access.words;
            if access.want == Want::Own {
                seen.want = Want::Own;
            }
        } else if self.seen.len() < self.most {
            self.seen.push(access);
        }
    }

    /// A miss at `leader`: what to ask for together with it.
    pub fn lead(&mut self, leader: u32) {
        if self.most == 0 {
            return;
        }
        self.remember();
        (self.leader, self.since) = (Some(leader), 0);
        let (of, known) = &self.memory[leader as usize % LEADERS];
        if *of == leader {
            self.wanted.extend_from_slice(known);
        }
    }

    fn remember(&mut self) {
        self.wanted.clear();
        if let Some(leader) = self.leader.take() {
            let (of, known) = &mut self.memory[leader as usize % LEADERS];
            *of = leader;
            known.clear();
            known.append(&mut self.seen);
        }
    }
}

impl State {
    /// The program waits for a line that its core does not hold. It waits for the request that is
    /// on its way, or sends one, and with it those for what it will need next.
    pub(super) fn miss(&mut self, thread: usize, op: Op, now: Picos) {
        let t = &mut self.threads[thread];
        (t.op, t.resumes) = (op, NEVER);
        if t.ahead.asked.contains(&op.line) {
            t.ahead.awaited = Some(op.line);
            return;
        }
        self.threads[thread].request = Some(self.ask(Purpose::Demand, thread, op.line, now));
        let t = &mut self.threads[thread];
        if let Some(pipeline) = &mut t.pipeline {
            pipeline.missed();
            pipeline.value_waits();
        }
        t.ahead.lead(op.line);
        for i in 0..self.threads[thread].ahead.wanted.len() {
            let companion = self.threads[thread].ahead.wanted[i];
            self.ask_ahead(thread, companion, now);
        }
    }

    /// Ask for a line that the thread will need, unless it is there or on its way.
    fn ask_ahead(&mut self, thread: usize, companion: Companion, now: Picos) {
        let Companion { line, want, words } = companion;
        let t = &mut self.threads[thread];
        if self.coherence.holds(t.core, line, want == Want::Own) || t.ahead.asked.contains(&line) {
            return;
        }
        t.ahead.asked.push(line);
        self.ask(Purpose::Ahead { want, words }, thread, line, now);
    }

    /// A core has taken a line. Another that waits for a miss and has run ahead to this line does
    /// again what it did there, and asks for it at once.
    pub(super) fn taken(&mut self, line: u32, now: Picos) {
        if self.machine.out_of_order.is_none() {
            return;
        }
        for thread in 0..self.threads.len() {
            let t = &self.threads[thread];
            if t.resumes != NEVER || t.waits_for != WaitsFor::Nothing {
                continue;
            }
            if let Some(companion) = t.ahead.wanted.iter().find(|c| c.line == line).copied() {
                self.ask_ahead(thread, companion, now);
            }
        }
    }

    /// An access soon after a miss: the core may have run ahead to it.
    pub(super) fn follow(&mut self, thread: usize, op: Op) {
        let core = self.threads[thread].core;
        let own = op.kind.writes();
        let missed = !self.coherence.holds(core, op.line, own);
        let t = &mut self.threads[thread];
        let Some(pipeline) = &mut t.pipeline else {
            return;
        };
        let waits = pipeline.address_waits(op.at);
        if t.ahead.leader() == Some(op.line) || t.ahead.asked.contains(&op.line) || waits {
            pipeline.value_waits();
        }
        if waits {
            return;
        }
        let access = Companion {
            line: op.line,
            want: op.kind.want(),
            words: op.words,
        };
        t.ahead.follow(access, missed);
    }

    /// A line that was asked for ahead is on its way to the core: the program may wait for it.
    pub(super) fn arrived_ahead(
        &mut self,
        thread: usize,
        line: u32,
        now: Picos,
        served: Answer,
        held: bool,
    ) {
        // The access is yet to come, and is counted then; it is a hit if the line was held.
        self.coherence.counts.accesses -= u64::from(!held);
        let t = &mut self.threads[thread];
        t.ahead.asked.retain(|asked| *asked != line);
        if t.ahead.awaited != Some(line) {
            return;
        }
        t.ahead.awaited = None;
        let (core, op) = (t.core, t.op);
        let own = op.kind.writes();
        if self.coherence.l2_hit(core, line, op.words, own).is_some() {
            self.coherence.counts.hits -= u64::from(!held);
            let done = served.ready + self.locks_for(op);
            let entry = self.coherence.line(line);
            entry.free = entry.free.max(done);
            self.deliver(thread, op, now, served);
            self.let_retry(thread, op, done);
        } else {
            self.threads[thread].request = Some(self.ask(Purpose::Demand, thread, line, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: u32) -> Companion {
        Companion {
            line,
            want: Want::Read,
            words: 1,
        }
    }

    fn lead(ahead: &mut Ahead, line: u32) -> Vec<u32> {
        ahead.lead(line);
        ahead.wanted.iter().map(|c| c.line).collect()
    }

    #[test]
    fn what_missed_after_a_line_is_asked_for_with_it_as_long_as_it_is_needed() {
        let mut ahead = Ahead::new(4);
        assert!(lead(&mut ahead, 1).is_empty());
        ahead.follow(read(2), true);
        ahead.follow(read(3), false);
        assert_eq!(lead(&mut ahead, 1), [2]);
        ahead.follow(read(2), false);
        assert_eq!(lead(&mut ahead, 1), [2]);
        assert_eq!(lead(&mut ahead, 1), [0; 0], "it was not needed");
    }

    #[test]
    fn a_core_runs_ahead_only_so_far_and_with_so_many_misses() {
        let mut ahead = Ahead::new(2);
        lead(&mut ahead, 1);
        ahead.follow(read(2), true);
        ahead.follow(read(3), true);
        assert_eq!(lead(&mut ahead, 1), [2]);
        for _ in 0..WINDOW {
            ahead.follow(read(9), false);
        }
        ahead.follow(read(2), true);
        assert!(lead(&mut ahead, 1).is_empty());
        let mut one_by_one = Ahead::new(1);
        lead(&mut one_by_one, 1);
        assert!(!one_by_one.is_near_miss());
    }
}
