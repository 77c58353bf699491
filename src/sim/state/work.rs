//! What a thread does without waiting for a line: local work, fences, pages of its own.

use super::{Attempt, FILLS_AT_ONCE, Kind, NEVER, Op, STORES_PER_LINE, State, WaitsFor};
use crate::sim::machine::Picos;
use crate::sim::request::{Origin, Transaction, Want};
use crate::space::memory::NodeKind;
use crate::space::{LINE, PAGE};

/// Turns of a polling loop that a thread sleeps at most: a line may also leave a cache unseen.
const TURNS: Picos = 64;

impl State {
    /// A full fence.
    pub fn fence(&mut self, thread: usize) -> Attempt {
        let fence = self.machine.fence;
        let t = &mut self.threads[thread];
        if t.stores.is_empty() {
            t.wait(t.clock + fence);
            return Attempt::Done(0);
        }
        t.waits_for = WaitsFor::Drain;
        t.resumes = NEVER;
        Attempt::Again
    }

    /// What passes before an access: the work of the program, and what the access waits for.
    #[inline(always)]
    pub fn before_access(&mut self, thread: usize, op: Op) {
        if self.access_work != 0 {
            self.work_before(thread, op.kind);
        }
        let t = &mut self.threads[thread];
        t.last_line = op.line;
        let Some(pipeline) = &mut t.pipeline else {
            return;
        };
        let begins = match op.kind {
            Kind::Load => pipeline.load(op.at, self.coherence.lost(t.core, op.line)),
            Kind::Store(_) => pipeline.begin(op.at),
            _ => pipeline.lock(op.at),
        };
        t.clock = t.clock.max(begins);
        if t.ahead.is_near_miss() {
            self.follow(thread, op);
        }
    }

    /// A load of the thread has brought `value`.
    #[inline(always)]
    pub fn loaded(&mut self, thread: usize, value: u64) {
        if let Some(pipeline) = &mut self.threads[thread].pipeline
            && value.wrapping_sub(self.base) < self.memory.arena().bytes() as u64
        {
            pipeline.pointer(value);
        }
    }

    /// The thread has searched a node.
    pub fn searched(&mut self, thread: usize, node: NodeKind, steps: usize) {
        let t = &mut self.threads[thread];
        if let Some(pipeline) = &mut t.pipeline {
            t.clock = t.clock.max(pipeline.searched(node as usize, steps));
        }
    }

    /// The work of the program before an access. What follows a write belongs to the same lock or
    /// unlock, which is a handful of instructions; so does the write itself.
    fn work_before(&mut self, thread: usize, kind: Kind) {
        let after_write = std::mem::replace(&mut self.threads[thread].wrote, kind.writes());
        if !after_write && !kind.writes() {
            let work = if self.is_sibling_working(thread) {
                (self.access_work as f64 * self.machine.smt_slowdown) as Picos
            } else {
                self.access_work
            };
            let t = &mut self.threads[thread];
            t.wait(t.clock + work);
        }
    }

    /// Whether the SMT sibling takes its share of the core: one that waits for a line does not.
    #[inline]
    pub(super) fn is_sibling_working(&self, thread: usize) -> bool {
        let sibling = self.threads[thread].sibling;
        sibling.is_some_and(|sibling| self.threads[sibling].resumes != NEVER)
    }

    /// Local work of `nanos` nanoseconds.
    pub fn compute(&mut self, thread: usize, nanos: u32) {
        let jitter = self.machine.work_jitter;
        let t = &mut self.threads[thread];
        let mut factor = self.machine.work_scale;
        if jitter > 0.0 {
            factor *= t.vary(jitter);
        }
        if self.is_sibling_working(thread) {
            factor *= self.machine.smt_slowdown;
        }
        let t = &mut self.threads[thread];
        t.wait(t.clock + (f64::from(nanos) * 1000.0 * factor) as Picos);
    }

    /// The thread goes on at its own time, after others have.
    pub fn give_way(&mut self, thread: usize) {
        self.resume(thread, self.threads[thread].clock);
    }

    /// One turn of a spin-wait loop.
    pub fn relax(&mut self, thread: usize) {
        let t = &mut self.threads[thread];
        t.wait(t.clock + self.machine.pause);
    }

    /// One turn of a loop that polls the line of the thread's last access. While its core holds
    /// the line, only a sibling can change it: the thread sleeps until the line is lost or written,
    /// or for [`TURNS`] turns, and goes on where a turn would have ended.
    pub fn pause(&mut self, thread: usize) -> Attempt {
        let t = &mut self.threads[thread];
        let (core, line) = (t.core, t.last_line);
        if t.polls_since.take().is_some() {
            let now = t.resumes;
            let polled = &mut self.coherence.polled[core];
            if let Some(at) = polled.iter().position(|of| *of == line) {
                polled.swap_remove(at);
            }
            self.threads[thread].wait(now);
            return Attempt::Done(0);
        }
        if !t.stores.is_empty() || !self.coherence.holds(core, line, false) {
            self.relax(thread);
            return Attempt::Done(0);
        }
        let clock = self.threads[thread].clock;
        self.threads[thread].polls_since = Some(clock);
        self.coherence.polled[core].push(line);
        self.resume(thread, clock + TURNS * self.turn());
        Attempt::Again
    }

    /// How long one turn of a polling loop takes.
    fn turn(&self) -> Picos {
        self.machine.pause + self.machine.l1.latency
    }

    /// Wake the threads whose polled lines have been lost at `now`.
    pub(super) fn wake_polling(&mut self, now: Picos) {
        while let Some((core, line)) = self.coherence.woken.pop() {
            for thread in 0..self.threads.len() {
                let t = &self.threads[thread];
                let Some(since) = t.polls_since else { continue };
                if (t.core, t.last_line) != (usize::from(core), line) {
                    continue;
                }
                let turns = now.saturating_sub(since).div_ceil(self.turn()).max(1);
                let at = since + turns * self.turn();
                if at < t.resumes {
                    self.resume(thread, at);
                    self.horizon = self.horizon.min(at);
                }
            }
        }
    }

    /// Clear a page that nobody else uses: its lines are taken at once, several on their way at a
    /// time. The values need no clearing: nobody has written to a page.
    pub fn clear_page(&mut self, thread: usize, at: u64) -> Attempt {
        if !self.is_first(thread) {
            return self.again(thread);
        }
        let core = self.threads[thread].core;
        let first = (at - self.base) / LINE as u64;
        let mut cost = 0;
        for line in first..first + (PAGE / LINE) as u64 {
            let (line, words) = (line as u32, u32::from(u16::MAX));
            cost += if self.coherence.l1_hit(core, line, words, true).is_some() {
                STORES_PER_LINE * self.machine.issue
            } else if let Some(latency) = self.coherence.l2_hit(core, line, words, true) {
                latency / FILLS_AT_ONCE
            } else {
                let asked = Transaction {
                    core: core as u16,
                    line,
                    want: Want::Own,
                    origin: Origin::Demand,
                    words,
                };
                let filled = self.coherence.transact(asked);
                let waited = filled.latency / FILLS_AT_ONCE;
                let begin = self.threads[thread].clock + cost;
                self.filled(thread, asked, (begin, begin + waited), filled);
                waited
            };
        }
        let t = &mut self.threads[thread];
        t.wait(t.clock + cost);
        Attempt::Done(0)
    }
}
