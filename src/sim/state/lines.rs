//! Requests at a line: arriving, waiting, being served, and the stores and prefetches among them.

use super::record::Answer;
use super::{Op, Purpose, Request, SLOT_BITS, State, WaitsFor};
use crate::sim::machine::Picos;
use crate::sim::prefetch::{Reach, Seen};
use crate::sim::request::{DataFrom, Origin, Transaction, Want};
use crate::sim::timeline::{Delivery, Sake};
use crate::sim::value::Kind;
use std::cmp::Reverse;

/// A hold is up to this part longer or shorter. Assumed: two CPUs of a Zen 5 that add to one line
/// hold it for 2 to 4 additions in a CCX.
const HOLD_SPREAD: f64 = 0.5;

impl State {
    /// Write the waiting stores that need no request, oldest first; ask for the next one's line.
    pub(super) fn drain(&mut self, thread: usize, now: Picos) {
        let core = self.threads[thread].core;
        while let Some(&store) = self.threads[thread].stores.front() {
            let line = *self.coherence.line(store.line);
            let arriving = line.ready > now && line.filler == core as u16;
            if !self.coherence.holds(core, store.line, true) || arriving {
                self.threads[thread].draining = true;
                self.ask(Purpose::Drain, thread, store.line, now);
                return;
            }
            let hit = self.coherence.l1_hit(core, store.line, store.words, true);
            if hit.is_none() {
                self.coherence.l2_hit(core, store.line, store.words, true);
            }
            self.value(thread, store, now);
            self.written(thread, now, false);
        }
        self.threads[thread].draining = false;
        self.stores_moved(thread, now);
    }

    /// The oldest store of the thread is written and leaves its store buffer.
    fn written(&mut self, thread: usize, now: Picos, after_prefetch: bool) {
        let t = &mut self.threads[thread];
        let Some(store) = t.stores.pop_front() else {
            return;
        };
        if t.waits_for != WaitsFor::Nothing && now > t.clock {
            let since = std::mem::replace(&mut t.clock, now);
            self.waited_for_store(thread, store, (since, now), after_prefetch);
        }
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
                want: op.kind.want(),
                reach,
            },
            &mut wanted,
        );
        for (line, want) in wanted.drain(..) {
            if !self.coherence.holds(core, line, want == Want::Own) {
                self.ask(Purpose::Fetch(want), thread, line, now);
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
            Purpose::Release if self.coherence.line(line).free > now => {
                self.free.push(id);
                let later = self.coherence.line(line).free;
                self.release_at(line, core, later);
            }
            Purpose::Release => {
                self.free.push(id);
                if let Some(next) = self.arbiter.next(line, core as usize) {
                    self.serve(next, now);
                }
            }
            Purpose::Drained { after_prefetch } => {
                self.free.push(id);
                let thread = thread as usize;
                self.written(thread, now, after_prefetch);
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
                job: Purpose::Release,
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
        let (asked, op) = self.transaction(&request);
        let rmw = op.map_or(0, |op| self.locks_for(op));
        let held = self.coherence.holds(core, line, asked.want == Want::Own);
        let served = if held {
            self.find(&request, asked, op, now, rmw)
        } else {
            self.fetch(&request, asked, op, now, rmw)
        };
        let ready = served.ready;
        match (request.job, op) {
            (Purpose::Demand, Some(op)) => {
                self.free.push(id);
                self.deliver(thread, op, now, served);
                self.let_retry(thread, op, ready + rmw);
            }
            (Purpose::Ahead { .. }, _) => {
                self.free.push(id);
                self.arrived_ahead(thread, line, now, served, held);
            }
            (Purpose::Drain, Some(op)) => {
                self.value(thread, op, now);
                self.free.push(id);
                let arrived = Request {
                    job: Purpose::Drained {
                        after_prefetch: served.after_prefetch,
                    },
                    ..request
                };
                self.schedule(ready, arrived);
            }
            _ => self.free.push(id),
        }
        if op.is_some() {
            let served = Answer {
                ready: ready + rmw,
                ..served
            };
            self.serve_sibling(thread, line, now, served);
        }
        if self.arbiter.is_waiting(line) {
            let free = self.coherence.line(line).free;
            self.release_at(line, core as u16, free);
        }
    }

    /// What a request asks the machine for, and the access it is for if its thread has come to it.
    fn transaction(&self, request: &Request) -> (Transaction, Option<Op>) {
        let (want, origin, words, op) = match request.job {
            Purpose::Fetch(want) => (want, Origin::Prefetch, 0, None),
            Purpose::Ahead { want, words } => (want, Origin::Demand, words, None),
            _ => {
                let t = &self.threads[request.thread as usize];
                let op = match (request.job, t.stores.front()) {
                    (Purpose::Drain, Some(store)) => *store,
                    _ => t.op,
                };
                (op.kind.want(), Origin::Demand, op.words, Some(op))
            }
        };
        let asked = Transaction {
            core: request.core,
            line: request.line,
            want,
            origin,
            words,
        };
        (asked, op)
    }

    /// The sibling or a prefetch has brought the line meanwhile: when the core has it.
    fn find(
        &mut self,
        request: &Request,
        asked: Transaction,
        op: Option<Op>,
        now: Picos,
        rmw: Picos,
    ) -> Answer {
        let (core, line) = (usize::from(asked.core), asked.line);
        if op.is_some() {
            let own = asked.want == Want::Own;
            self.coherence.l2_hit(core, line, asked.words, own);
        }
        let entry = self.coherence.line(line);
        let arriving = if entry.filler == asked.core {
            entry.ready
        } else {
            0
        };
        let ready = arriving.max(now + self.machine.request);
        entry.free = entry.free.max(ready + rmw);
        let source = Delivery {
            want: asked.want,
            from: None,
            queued: self.queued(request, now, 0),
        };
        self.brought(request, asked, source, ready);
        Answer {
            ready,
            source,
            after_prefetch: false,
        }
    }

    /// The line is brought from elsewhere: when it arrives.
    fn fetch(
        &mut self,
        request: &Request,
        asked: Transaction,
        op: Option<Op>,
        now: Picos,
        rmw: Picos,
    ) -> Answer {
        let (thread, line) = (request.thread as usize, asked.line);
        let passed = self.coherence.request(asked.core.into(), line);
        self.coherence.now = now;
        let outcome = self.coherence.transact(asked);
        let ready = now + outcome.latency.saturating_sub(passed);
        let free = match (outcome.exclusive, asked.origin) {
            (true, Origin::Demand) => {
                let hold = self.hold(thread, outcome.latency);
                ready + hold.max(rmw + self.machine.keep)
            }
            (true, Origin::Prefetch) => ready,
            (false, _) => now + self.machine.llc_occupancy,
        };
        let entry = self.coherence.line(line);
        (entry.ready, entry.free) = (ready, free);
        entry.filler = request.core;
        if outcome.exclusive {
            self.taken(line, now);
        }
        let source = Delivery {
            want: asked.want,
            from: Some(outcome.from),
            queued: self.queued(request, now, passed),
        };
        if let Some(ledger) = &mut self.coherence.ledger {
            ledger.request(asked, thread);
        }
        self.brought(request, asked, source, ready);
        if let Some(op) = op {
            let reach = match outcome.from {
                DataFrom::Itself => Reach::Upgrade,
                _ => Reach::Fill,
            };
            self.show_prefetch(thread, op, now, reach);
        }
        Answer {
            ready,
            source,
            after_prefetch: outcome.after_prefetch,
        }
    }

    /// How long a request has waited for its turn, whose way to the line took `passed`.
    fn queued(&self, request: &Request, now: Picos, passed: Picos) -> Picos {
        (now + self.machine.request).saturating_sub(request.arrives + passed)
    }

    /// A line was brought, of which no access of the program is given its value at once.
    fn brought(&mut self, request: &Request, asked: Transaction, source: Delivery, ready: Picos) {
        let sake = match request.job {
            Purpose::Drain => Sake::Store,
            Purpose::Ahead { .. } => Sake::Ahead,
            Purpose::Fetch(_) => Sake::Prefetch,
            _ => return,
        };
        if let Some(timeline) = &mut self.timeline {
            let at = (request.arrives, ready);
            timeline.fill(request.thread, sake, asked, source, at);
        }
    }

    /// How long a line that took `latency` to arrive stays.
    fn hold(&mut self, thread: usize, latency: Picos) -> Picos {
        if self.machine.hold_share == 0.0 {
            return 0;
        }
        let about = self.threads[thread].vary(HOLD_SPREAD);
        (latency as f64 * self.machine.hold_share * about) as Picos
    }

    /// How long the access keeps the line locked once it is there.
    #[inline(always)]
    pub(super) fn locks_for(&self, op: Op) -> Picos {
        if op.kind.is_rmw() {
            self.machine.rmw
        } else {
            0
        }
    }

    /// The thread's access has its value now, and the thread goes on when the access is done.
    pub(super) fn deliver(&mut self, thread: usize, op: Op, now: Picos, served: Answer) {
        let done = served.ready + self.locks_for(op);
        self.waited_for_line(thread, op, served);
        let result = self.value(thread, op, now);
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

    /// A compare-and-exchange that a thread was given its line for may have failed: then the next
    /// access, at `done`, is its retry, and comes before the line goes.
    pub(super) fn let_retry(&mut self, thread: usize, op: Op, done: Picos) {
        let found = self.threads[thread].result;
        if matches!(op.kind, Kind::CompareExchange { current, .. } if current != found) {
            let entry = self.coherence.line(op.line);
            entry.free = entry.free.max(done + 1);
        }
    }

    /// The sibling of a thread that was given a line waits for the same line: it has it too.
    pub(super) fn serve_sibling(&mut self, thread: usize, line: u32, now: Picos, served: Answer) {
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
        let done = served.ready + self.locks_for(op);
        let entry = self.coherence.line(line);
        entry.free = entry.free.max(done);
        self.deliver(sibling, op, now, served);
    }
}
