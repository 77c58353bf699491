//! Requests at a line: arriving, waiting, being served, and the stores and prefetches among them.

use super::{Companion, Job, NEVER, Op, Request, SLOT_BITS, State, WaitsFor};
use crate::sim::coherence::{From, Origin, Want};
use crate::sim::machine::Picos;
use crate::sim::prefetch::{Reach, Seen};
use std::cmp::Reverse;

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
        self.threads[thread].request = Some(self.ask(Job::Demand, thread, op.line, now));
        let t = &mut self.threads[thread];
        if let Some(pipeline) = &mut t.pipeline {
            pipeline.missed();
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
        self.ask(Job::Ahead { want, words }, thread, line, now);
    }

    /// A core has taken a line. Another that waits for a miss and has run ahead to this line does
    /// again what it did there, and asks for it at once.
    fn taken(&mut self, line: u32, now: Picos) {
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
            want: if own { Want::Own } else { Want::Read },
            words: op.words,
        };
        t.ahead.follow(access, missed);
    }

    /// Write the waiting stores that need no request, oldest first; ask for the next one's line.
    pub(super) fn drain(&mut self, thread: usize, now: Picos) {
        let core = self.threads[thread].core;
        while let Some(&store) = self.threads[thread].stores.front() {
            let line = *self.coherence.line(store.line);
            let arriving = line.ready > now && line.filler == core as u16;
            if !self.coherence.holds(core, store.line, true) || arriving {
                self.threads[thread].draining = true;
                self.ask(Job::Drain, thread, store.line, now);
                return;
            }
            let hit = self.coherence.l1_hit(core, store.line, store.words, true);
            if hit.is_none() {
                self.coherence.l2_hit(core, store.line, store.words, true);
            }
            self.value(store, now);
            self.threads[thread].stores.pop_front();
        }
        self.threads[thread].draining = false;
        self.stores_moved(thread, now);
    }

    /// Wake the thread if it waited for what its store buffer has now.
    pub(super) fn stores_moved(&mut self, thread: usize, now: Picos) {
        let t = &mut self.threads[thread];
        let wake = match t.waits_for {
            WaitsFor::Nothing => false,
            WaitsFor::Drain => t.stores.is_empty(),
            WaitsFor::Room => t.stores.len() < self.machine.store_buffer,
        };
        if wake {
            t.waits_for = WaitsFor::Nothing;
            t.clock = t.clock.max(now);
            let at = t.clock;
            self.resume(thread, at);
        }
    }

    /// Let the prefetchers see a demand request, and send what they ask for.
    pub(super) fn show_prefetch(&mut self, thread: usize, op: Op, now: Picos, reach: Reach) {
        if !self.prefetch.is_on() {
            return;
        }
        let core = self.threads[thread].core;
        let mut wanted = std::mem::take(&mut self.wanted);
        self.prefetch.see(
            Seen {
                core,
                line: op.line,
                want: if op.kind.writes() {
                    Want::Own
                } else {
                    Want::Read
                },
                reach,
            },
            &mut wanted,
        );
        for (line, want) in wanted.drain(..) {
            if !self.coherence.holds(core, line, want == Want::Own) {
                self.ask(Job::Fetch(want), thread, line, now);
            }
        }
        self.wanted = wanted;
    }

    pub(super) fn event(&mut self, id: u32, now: Picos) {
        let Request {
            job,
            thread,
            core,
            line,
            ..
        } = self.requests[id as usize];
        match job {
            Job::Release if self.coherence.line(line).free > now => {
                self.free.push(id);
                let later = self.coherence.line(line).free;
                self.release_at(line, core, later);
            }
            Job::Release => {
                self.free.push(id);
                if let Some(next) = self.arbiter.next(line, core as usize) {
                    self.serve(next, now);
                }
            }
            Job::Drained => {
                self.free.push(id);
                let thread = thread as usize;
                self.threads[thread].stores.pop_front();
                self.stores_moved(thread, now);
                self.drain(thread, now);
            }
            _ => {
                let sent = self.requests[id as usize].arrives - self.machine.request;
                let ordered = sent + self.coherence.request(core.into(), line);
                if ordered > now {
                    self.events
                        .push(Reverse(ordered << SLOT_BITS | u64::from(id)));
                    return;
                }
                let busy_until = self.coherence.line(line).free;
                if self.arbiter.is_waiting(line) {
                    self.arbiter.wait(line, core as usize, id);
                } else if busy_until > now {
                    let holder = self.coherence.line(line).filler;
                    self.arbiter.wait(line, core as usize, id);
                    self.release_at(line, holder, busy_until);
                } else {
                    self.serve(id, now);
                }
            }
        }
    }

    pub(super) fn release_at(&mut self, line: u32, holder: u16, at: Picos) {
        self.schedule(
            at,
            Request {
                job: Job::Release,
                thread: 0,
                core: holder,
                line,
                arrives: at,
            },
        );
    }

    /// A request has its turn at the line.
    pub(super) fn serve(&mut self, id: u32, now: Picos) {
        let request = self.requests[id as usize];
        let (thread, core) = (request.thread as usize, request.core as usize);
        let line = request.line;
        self.coherence.line(line).pending -= 1;
        let (op, want, origin) = match request.job {
            Job::Fetch(want) => (None, want, Origin::Prefetch),
            Job::Ahead { want, .. } => (None, want, Origin::Demand),
            _ => {
                let t = &self.threads[thread];
                let op = match (request.job, t.stores.front()) {
                    (Job::Drain, Some(store)) => *store,
                    _ => t.op,
                };
                let want = if op.kind.writes() {
                    Want::Own
                } else {
                    Want::Read
                };
                (Some(op), want, Origin::Demand)
            }
        };
        let words = match request.job {
            Job::Ahead { words, .. } => words,
            _ => op.map_or(0, |op| op.words),
        };
        let own = want == Want::Own;
        let rmw = match op {
            Some(op) if op.kind.is_rmw() => self.machine.rmw,
            _ => 0,
        };
        let ready;
        let held = self.coherence.holds(core, line, own);
        if held {
            // The sibling or a prefetch has brought it meanwhile.
            if op.is_some() {
                self.coherence.l2_hit(core, line, words, own);
            }
            let entry = self.coherence.line(line);
            let arriving = if entry.filler == core as u16 {
                entry.ready
            } else {
                0
            };
            ready = arriving.max(now + self.machine.request);
            entry.free = entry.free.max(ready + rmw);
        } else {
            let passed = self.coherence.request(core, line);
            self.coherence.now = now;
            let outcome = self.coherence.transact(core, line, want, origin, words);
            ready = now + outcome.latency.saturating_sub(passed);
            let entry = self.coherence.line(line);
            entry.ready = ready;
            entry.filler = core as u16;
            entry.free = match (outcome.exclusive, origin) {
                (true, Origin::Demand) => ready + rmw + self.machine.keep,
                (true, Origin::Prefetch) => ready,
                (false, _) => now + self.machine.llc_occupancy,
            };
            if outcome.exclusive {
                self.taken(line, now);
            }
            let queued = (now + self.machine.request).saturating_sub(request.arrives + passed);
            if let Some(ledger) = &mut self.coherence.ledger
                && queued > 0
            {
                ledger.queued(line, words, queued);
            }
            if let Some(timeline) = &mut self.timeline {
                timeline.fill(
                    thread,
                    origin,
                    want,
                    line,
                    request.arrives,
                    now,
                    ready,
                    outcome.from,
                );
            }
            if let Some(op) = op {
                let reach = match outcome.from {
                    From::Itself => Reach::Upgrade,
                    _ => Reach::Fill,
                };
                self.show_prefetch(thread, op, now, reach);
            }
        }
        match (request.job, op) {
            (Job::Demand, Some(op)) => {
                self.free.push(id);
                self.deliver(thread, op, now, ready + rmw);
            }
            (Job::Ahead { .. }, _) => {
                self.free.push(id);
                self.arrived_ahead(thread, line, now, ready, held);
            }
            (Job::Drain, Some(op)) => {
                self.value(op, now);
                self.free.push(id);
                let arrived = Request {
                    job: Job::Drained,
                    ..request
                };
                self.schedule(ready, arrived);
            }
            _ => self.free.push(id),
        }
        if op.is_some() {
            self.serve_sibling(thread, line, now, ready + rmw);
        }
        if self.arbiter.is_waiting(line) {
            let free = self.coherence.line(line).free;
            self.release_at(line, core as u16, free);
        }
    }

    /// A line that was asked for ahead is on its way to the core: the program may wait for it.
    fn arrived_ahead(&mut self, thread: usize, line: u32, now: Picos, ready: Picos, held: bool) {
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
            let rmw = if op.kind.is_rmw() {
                self.machine.rmw
            } else {
                0
            };
            let entry = self.coherence.line(line);
            entry.free = entry.free.max(ready + rmw);
            self.deliver(thread, op, now, ready + rmw);
        } else {
            self.threads[thread].request = Some(self.ask(Job::Demand, thread, line, now));
        }
    }

    /// The thread's access has its value now, and the thread goes on at `done`.
    pub(super) fn deliver(&mut self, thread: usize, op: Op, now: Picos, done: Picos) {
        let result = self.value(op, now);
        let t = &mut self.threads[thread];
        t.result = result;
        t.clock = done;
        match &mut t.pipeline {
            Some(pipeline) if op.kind.is_rmw() => pipeline.unlocked(done),
            Some(pipeline) => pipeline.done(done),
            None => {}
        }
        t.request = None;
        self.resume(thread, done);
    }

    /// The sibling of a thread that was given a line waits for the same line: it has it too.
    pub(super) fn serve_sibling(&mut self, thread: usize, line: u32, now: Picos, ready: Picos) {
        let Some(sibling) = self.threads[thread].sibling else {
            return;
        };
        let Some(id) = self.threads[sibling].request else {
            return;
        };
        let core = self.threads[sibling].core;
        let op = self.threads[sibling].op;
        let own = op.kind.writes();
        if op.line != line || !self.coherence.holds(core, line, own) {
            return;
        }
        if self
            .arbiter
            .take(line, core, |waiting| waiting == id)
            .is_none()
        {
            return;
        }
        self.free.push(id);
        self.coherence.line(line).pending -= 1;
        self.coherence.l2_hit(core, line, op.words, own);
        let rmw = if op.kind.is_rmw() {
            self.machine.rmw
        } else {
            0
        };
        let done = ready + rmw;
        let entry = self.coherence.line(line);
        entry.free = entry.free.max(done);
        self.deliver(sibling, op, now, done);
    }
}
