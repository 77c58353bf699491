//! Misses that a core has under way beside the one its program waits for.
//!
//! Here: which lines a thread goes on to after a miss. A core runs ahead of a miss along the way
//! it expects, and asks for what it will need there. The simulator cannot run a program without
//! the value, but remembers: what missed soon after a line the last time is asked for together
//! with it the next time. Not here: the requests (`lines`), and prefetchers, which guess.

use crate::sim::coherence::Want;

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
