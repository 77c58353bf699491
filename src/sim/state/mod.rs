//! What the engine knows: threads and their clocks, requests on their way, and what happens next.
//!
//! Here: attempts of a thread to access memory, and whose turn it is; `lines` has the requests at
//! a line, `ahead` and `pipeline` the core, `work` what needs no line, `record` what is kept for
//! people. Not here: the coroutines
//! (`engine`), and what a request does to caches (`coherence`).
//!
//! Exactness: a core may act on another only by a request, and a request takes `Machine::request`
//! to arrive. So an L1 hit before `horizon`, the earliest event plus that time, cannot be too late
//! for anything, unless a request for that very line is on its way; then it waits for its turn.

mod ahead;
mod lines;
mod pipeline;
mod record;
mod work;

use self::ahead::Ahead;
use self::pipeline::Pipeline;
use crate::program::Program;
use crate::sim::arbiter::Arbiter;
use crate::sim::coherence::Coherence;
use crate::sim::machine::{Machine, Picos};
use crate::sim::prefetch::{PrefetchUnits, Reach};
use crate::sim::request::Want;
use crate::sim::timeline::Timeline;
use crate::sim::value::{Kind, Op, apply};
use crate::space::LINE;
use crate::space::arena::Arena;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;

/// Low bits of an event's key that say whose event it is; the rest is its time. 44 bits of
/// picoseconds are 17 simulated seconds.
const SLOT_BITS: u32 = 20;
/// The first slot that is a thread's; those below are requests. At the same time requests go
/// first: a core loses its line when its time is up, not one access later.
const FIRST_THREAD: u64 = 1 << 19;
/// Line fills that a core has under way at once while it clears a page: 10 L1 fill buffers since
/// Nehalem (Intel Optimization Manual); other vendors have more.
const FILLS_AT_ONCE: Picos = 10;
/// A core retires a store in a cycle, a load that hits L1 costs as much.
const STORES_PER_LINE: Picos = 2;
/// Threads start within this time of each other.
const START_WITHIN: Picos = 100_000;
const NEVER: Picos = Picos::MAX;

/// The key of the event that a thread goes on.
fn key(at: Picos, thread: usize) -> u64 {
    at << SLOT_BITS | FIRST_THREAD | thread as u64
}

/// Something that holds the arena a simulation runs on.
pub trait HasArena {
    /// The arena.
    fn arena(&self) -> &Arena;
}

impl HasArena for Arena {
    fn arena(&self) -> &Arena {
        self
    }
}

impl<P: Program> HasArena for P {
    fn arena(&self) -> &Arena {
        Program::arena(self)
    }
}

/// How an attempt to access memory ended.
pub enum Attempt {
    /// The value from before.
    Done(u64),
    /// Not this thread's turn: suspend and try again.
    Again,
    /// A request is on its way: suspend, then find the value in [`State::result`].
    Wait,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The access its thread waits for.
    Demand,
    /// The oldest store of its thread.
    Drain,
    /// The line of that store has arrived.
    Drained { after_prefetch: bool },
    /// A line that its thread is going to need, asked for while it waits for another.
    Ahead { want: Want, words: u32 },
    /// A prefetch.
    Fetch(Want),
    /// The line may go to the next who waits.
    Release,
}

#[derive(Clone, Copy)]
struct Request {
    job: Purpose,
    thread: u16,
    core: u16,
    line: u32,
    arrives: Picos,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    Nothing,
    /// An empty store buffer.
    Drain,
    /// Room in the store buffer.
    Room,
}

struct SimThread {
    core: usize,
    sibling: Option<usize>,
    clock: Picos,
    /// When it goes on; `NEVER` while it waits for a request.
    resumes: Picos,
    op: Op,
    result: u64,
    request: Option<u32>,
    stores: VecDeque<Op>,
    draining: bool,
    /// Whether its last access wrote.
    wrote: bool,
    waits_for: WaitsFor,
    /// The line of its last access.
    last_line: u32,
    /// When it began to poll a line that it holds.
    polls_since: Option<Picos>,
    /// On a core that executes out of order.
    pipeline: Option<Pipeline>,
    ahead: Ahead,
    rng: Pcg32,
}

impl SimThread {
    /// An access that its store buffer took, or answered.
    #[inline]
    fn buffered(&mut self, issue: Picos) {
        match &mut self.pipeline {
            Some(pipeline) => pipeline.stored(),
            None => self.clock += issue,
        }
    }

    /// A factor around 1, at most `spread` above or below, all equally likely.
    #[inline]
    fn vary(&mut self, spread: f64) -> f64 {
        let unit = f64::from(self.rng.next_u32()) / f64::from(u32::MAX);
        1.0 + spread * (2.0 * unit - 1.0)
    }

    /// It does nothing else until `until`.
    #[inline]
    fn wait(&mut self, until: Picos) {
        self.clock = self.clock.max(until);
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.drained(self.clock);
        }
    }
}

/// The state of a simulation.
pub struct State {
    /// Caches, directory, counts.
    pub coherence: Coherence,
    /// Local work of the program before an access, locks apart.
    pub access_work: Picos,
    /// What happened when, where asked for.
    pub timeline: Option<Timeline>,
    machine: Rc<Machine>,
    memory: Rc<dyn HasArena>,
    base: u64,
    prefetch: PrefetchUnits,
    wanted: Vec<(u32, Want)>,
    arbiter: Arbiter,
    events: BinaryHeap<Reverse<u64>>,
    threads: Vec<SimThread>,
    requests: Vec<Request>,
    free: Vec<u32>,
    /// L1 hits before this time need no turn.
    horizon: Picos,
    /// Nothing may happen from this time on yet.
    until: Picos,
    /// Debug mode: time of the last access and the last write, by line.
    order: Option<Vec<(Picos, Picos)>>,
}

impl State {
    /// A machine whose threads run on `cpus`, over the arena of `memory`.
    pub fn new(
        machine: Rc<Machine>,
        memory: Rc<dyn HasArena>,
        cpus: &[usize],
        seed: u64,
        check: bool,
    ) -> State {
        let lines = memory.arena().bytes() / LINE;
        let mut once = cpus.to_vec();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), cpus.len(), "two threads on one CPU");
        let cores: Vec<usize> = cpus.iter().map(|cpu| machine.shape.core_of(*cpu)).collect();
        let mut rng = Pcg32::seed_from_u64(seed);
        let starts: Vec<Picos> = cores
            .iter()
            .map(|_| (u64::from(rng.next_u32()) * START_WITHIN) >> 32)
            .collect();
        let cores_used = cores.iter().max().map_or(0, |last| last + 1);
        let threads = cores.iter().enumerate().map(|(id, &core)| SimThread {
            core,
            // Nobody starts threads in the same picosecond; without local work this is all the
            // chance there is.
            clock: starts[id],
            sibling: (0..cores.len()).find(|other| *other != id && cores[*other] == core),
            resumes: starts[id],
            op: Op::NONE,
            result: 0,
            request: None,
            stores: VecDeque::with_capacity(machine.store_buffer),
            draining: false,
            wrote: false,
            waits_for: WaitsFor::Nothing,
            last_line: 0,
            polls_since: None,
            pipeline: machine
                .out_of_order
                .map(|core| Pipeline::new(core, machine.issue, starts[id])),
            ahead: Ahead::new(machine.out_of_order.map_or(1, |core| core.misses_at_once)),
            rng: Pcg32::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ id as u64),
        });
        State {
            threads: threads.collect(),
            coherence: Coherence::new(machine.clone(), cores_used, lines, check),
            access_work: 0,
            timeline: None,
            base: memory.arena().base().0,
            prefetch: PrefetchUnits::new(machine.prefetchers, cores_used, lines, seed),
            wanted: Vec::new(),
            arbiter: Arbiter::new(machine.shape, machine.far_limit, lines),
            events: (0..cpus.len())
                .map(|id| Reverse(key(starts[id], id)))
                .collect(),
            requests: Vec::new(),
            free: Vec::new(),
            horizon: 0,
            until: 0,
            order: check.then(|| vec![(0, 0); lines]),
            machine,
            memory,
        }
    }

    /// The access of `bytes` bytes at `at`.
    #[inline(always)]
    pub fn op(&self, at: u64, bytes: usize, kind: Kind) -> Op {
        Op::new(at, (at - self.base) as usize, bytes, kind)
    }

    /// The next event before `until`: its time, and the thread that goes on if it is one's turn.
    /// Other events are dealt with here.
    pub fn next(&mut self, until: Picos) -> Option<usize> {
        self.until = until;
        loop {
            let Reverse(key) = *self.events.peek()?;
            let (time, slot) = (key >> SLOT_BITS, (key & ((1 << SLOT_BITS) - 1)) as usize);
            if time >= until {
                return None;
            }
            self.events.pop();
            match slot.checked_sub(FIRST_THREAD as usize) {
                // One that polled has been woken before, or sleeps on.
                Some(thread) if self.threads[thread].resumes != time => {}
                Some(thread) => {
                    self.set_horizon(thread);
                    return Some(thread);
                }
                None => {
                    self.event(slot as u32, time);
                    self.wake_polling(time);
                }
            }
        }
    }

    /// What the request of `thread` brought.
    pub fn result(&self, thread: usize) -> u64 {
        self.threads[thread].result
    }

    /// The thread's own time.
    pub fn clock(&self, thread: usize) -> Picos {
        self.threads[thread].clock
    }

    /// The thread's program has ended: nothing of it happens any more but its stores.
    pub fn ended(&mut self, thread: usize) {
        self.threads[thread].resumes = NEVER;
        self.threads[thread].ahead.wanted.clear();
    }

    fn set_horizon(&mut self, thread: usize) {
        // A sibling sees the same L1, and so do the stores that leave either's buffer: no
        // lookahead there.
        let sibling = self.threads[thread].sibling;
        let is_draining = |thread: usize| self.threads[thread].draining;
        let lookahead = if is_draining(thread) || sibling.is_some_and(is_draining) {
            0
        } else {
            self.machine.request
        };
        self.horizon = match self.events.peek() {
            Some(Reverse(key)) => (key >> SLOT_BITS) + lookahead,
            None => NEVER,
        }
        .min(self.until);
        if let Some(sibling) = sibling {
            self.horizon = self.horizon.min(self.threads[sibling].resumes);
        }
    }

    /// Whether nothing at all happens before the thread's next access.
    #[inline]
    fn is_first(&mut self, thread: usize) -> bool {
        let clock = self.threads[thread].clock;
        let next = self.events.peek().map_or(NEVER, |Reverse(next)| *next);
        // Its own key is that of an event left from a sleep that ended early.
        let first = key(clock, thread) <= next && clock < self.until;
        if first {
            self.set_horizon(thread);
        }
        first
    }

    fn resume(&mut self, thread: usize, at: Picos) {
        self.threads[thread].resumes = at;
        assert!(at >> (64 - SLOT_BITS) == 0, "17 simulated seconds are over");
        self.events.push(Reverse(key(at, thread)));
    }

    fn again(&mut self, thread: usize) -> Attempt {
        self.resume(thread, self.threads[thread].clock);
        Attempt::Again
    }

    fn schedule(&mut self, at: Picos, request: Request) -> u32 {
        let id = match self.free.pop() {
            Some(id) => {
                self.requests[id as usize] = request;
                id
            }
            None => {
                self.requests.push(request);
                self.requests.len() as u32 - 1
            }
        };
        assert!(u64::from(id) < FIRST_THREAD, "too many requests at once");
        self.events.push(Reverse(at << SLOT_BITS | u64::from(id)));
        id
    }

    /// Send a request to the line's point of coherence.
    fn ask(&mut self, job: Purpose, thread: usize, line: u32, now: Picos) -> u32 {
        let arrives = now + self.machine.request;
        self.coherence.line(line).pending += 1;
        self.horizon = self.horizon.min(arrives + self.machine.request);
        self.schedule(
            arrives,
            Request {
                job,
                thread: thread as u16,
                core: self.threads[thread].core as u16,
                line,
                arrives,
            },
        )
    }

    /// One access of the program.
    #[inline]
    pub fn attempt(&mut self, thread: usize, op: Op) -> Attempt {
        if !self.threads[thread].stores.is_empty()
            && let Some(attempt) = self.behind_stores(thread, op)
        {
            return attempt;
        }
        let core = self.threads[thread].core;
        let own = op.kind.writes();
        loop {
            let clock = self.threads[thread].clock;
            if clock >= self.horizon && !self.is_first(thread) {
                return self.again(thread);
            }
            let line = self.coherence.line(op.line);
            let (pending, ready, filler) = (line.pending, line.ready, line.filler);
            if ready > clock && filler == core as u16 && self.coherence.holds(core, op.line, false)
            {
                self.held_up(thread, op, ready);
                let t = &mut self.threads[thread];
                t.clock = ready;
                if let Some(pipeline) = &mut t.pipeline {
                    pipeline.held_up(ready);
                }
                continue;
            }
            if pending > 0 && !self.is_first(thread) {
                return self.again(thread);
            }
            if let Some(latency) = self.coherence.l1_hit(core, op.line, op.words, own) {
                return Attempt::Done(self.complete(thread, op, latency));
            }
            if !self.is_first(thread) {
                return self.again(thread);
            }
            if let Some(latency) = self.coherence.l2_hit(core, op.line, op.words, own) {
                self.show_prefetch(thread, op, clock, Reach::L2);
                return Attempt::Done(self.complete(thread, op, latency));
            }
            if let Kind::Store(_) = op.kind {
                self.threads[thread].stores.push_back(op);
                self.drain(thread, clock);
                self.threads[thread].buffered(self.machine.issue);
                return Attempt::Done(0);
            }
            self.miss(thread, op, clock);
            return Attempt::Wait;
        }
    }

    /// A hit: the value, and the time it takes.
    #[inline]
    fn complete(&mut self, thread: usize, op: Op, latency: Picos) -> u64 {
        let t = &mut self.threads[thread];
        let at = t.clock;
        if op.kind.is_rmw() {
            // The line is locked until the operation is done. One that begins while the sibling's
            // is under way does not keep the line from a core that waits for it.
            let is_waited_for = t.sibling.is_some() && self.arbiter.is_waiting(op.line);
            let line = self.coherence.line(op.line);
            if !is_waited_for || line.free <= at {
                line.free = line.free.max(at + self.machine.rmw);
            }
        }
        match &mut t.pipeline {
            Some(pipeline) if op.kind.is_rmw() => pipeline.unlocked(at + self.machine.rmw),
            Some(pipeline) if op.kind.writes() => pipeline.stored(),
            // What L1 answers is there after its latency, though it issues more often than that.
            Some(pipeline) => pipeline.hit(latency.max(self.machine.l1.latency)),
            None if op.kind.is_rmw() => t.clock += self.machine.rmw,
            None if op.kind.writes() => t.clock += self.machine.issue,
            None => t.clock += latency,
        }
        self.value(thread, op, at)
    }

    #[inline]
    fn value(&mut self, thread: usize, op: Op, at: Picos) -> u64 {
        if let Some(order) = &mut self.order {
            let (accessed, written) = &mut order[op.line as usize];
            let after = if op.kind.writes() { accessed } else { written };
            assert!(at >= *after, "line {}: an access came too late", op.line);
            order[op.line as usize].0 = order[op.line as usize].0.max(at);
            if op.kind.writes() {
                order[op.line as usize].1 = at;
            }
        }
        let core = self.threads[thread].core;
        if op.kind.writes() && self.coherence.polled[core].contains(&op.line) {
            self.coherence.woken.push((core as u16, op.line));
            self.wake_polling(at);
        }
        apply(self.memory.arena(), op)
    }

    /// An access while stores of the thread wait for their lines.
    fn behind_stores(&mut self, thread: usize, op: Op) -> Option<Attempt> {
        let issue = self.machine.issue;
        let t = &mut self.threads[thread];
        match op.kind {
            Kind::Load => {
                let store = t.stores.iter().rev().find(|store| store.overlaps(&op))?;
                if let (Kind::Store(value), true) = (store.kind, store.same_word(&op)) {
                    t.buffered(issue);
                    self.coherence.counts.accesses += 1;
                    self.coherence.counts.hits += 1;
                    return Some(Attempt::Done(value));
                }
                t.waits_for = WaitsFor::Drain;
            }
            Kind::Store(_) if t.stores.len() < self.machine.store_buffer => {
                t.stores.push_back(op);
                t.buffered(issue);
                return Some(Attempt::Done(0));
            }
            Kind::Store(_) => t.waits_for = WaitsFor::Room,
            _ => t.waits_for = WaitsFor::Drain,
        }
        t.resumes = NEVER;
        Some(Attempt::Again)
    }
}
