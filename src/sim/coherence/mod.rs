//! The coherence model: which core holds which line in which state, and what a request costs.
//!
//! Here: states, the directory, hits, and one request at a time, served at once. Not here: when
//! requests are served and in which order (`engine`, `arbiter`), the values (the arena), and who
//! asks for lines nobody needs yet (`prefetch`).

mod cost;
mod residence;

use crate::sim::cache::Cache;
use crate::sim::counts::Counts;
use crate::sim::explain::{Ledger, Loser};
use crate::sim::machine::{Machine, Picos, Protocol};
use crate::sim::request::{DataFrom, Origin, Transaction, Want};
use std::rc::Rc;

/// No core.
const NONE: u16 = u16::MAX;

// What a core holds of a line, in one word: bits 0-2 the state; then where the line is; its ways;
// bits 16-31 which 4-byte words this core has touched since it got the line.
const STATE: u32 = 7;
const INVALID: u32 = 0;
const SHARED: u32 = 1;
const FORWARD: u32 = 2;
const OWNED: u32 = 3;
/// The first state in which a store needs nobody's leave; `EXCLUSIVE | 1` is `MODIFIED`.
const EXCLUSIVE: u32 = 4;
const MODIFIED: u32 = 5;
const IN_L1: u32 = 1 << 3;
const IN_L2: u32 = 1 << 4;
/// Prefetched and not used yet.
const PREFETCHED: u32 = 1 << 5;
const L1_WAY: u32 = 6;
const L2_WAY: u32 = 10;
/// In state `INVALID`: a prefetch of another core took the line.
const LOST_TO_PREFETCH: u32 = 1 << 15;
const TOUCHED: u32 = 16;

/// What a request got.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// From the miss to the data, uncontended.
    pub latency: Picos,
    /// Where the data came from.
    pub from: DataFrom,
    /// Whether no other request for the line can be served until the data has arrived; otherwise
    /// the point of coherence answered by itself and is soon free again.
    pub exclusive: bool,
    /// Whether an access missed because a prefetch of another core had taken the line away.
    pub after_prefetch: bool,
}

/// What the directory knows of a line.
#[derive(Clone, Copy)]
pub struct Line {
    /// When the data of the last fill reached `filler`.
    pub ready: Picos,
    /// When the next request for the line may be served.
    pub free: Picos,
    /// Clusters whose last-level cache holds it.
    llc: u64,
    /// Requests on their way or waiting.
    pub pending: u16,
    /// The core that was filled last.
    pub filler: u16,
    /// The core that holds it exclusive, modified or owned.
    owner: u16,
    /// MESIF: the core that answers reads.
    forward: u16,
}

/// Caches and directory of a whole machine, for a memory of `lines` lines.
pub struct Coherence {
    machine: Rc<Machine>,
    cores: usize,
    lines: usize,
    issue: Picos,
    l2_latency: Picos,
    /// Cluster and socket of each core.
    places: Vec<(u8, u8)>,
    /// `core * lines + line`.
    copies: Vec<u32>,
    directory: Vec<Line>,
    /// One bit a core, `sharer_words` words a line.
    sharers: Vec<u64>,
    sharer_words: usize,
    l1: Vec<Cache>,
    l2: Vec<Cache>,
    llc: Vec<Cache>,
    /// When each core lost each line last, as `copies`; empty where no core executes out of order.
    lost: Vec<Picos>,
    /// The lines that the threads of each core poll, asleep until one is lost or written.
    pub polled: Vec<Vec<u32>>,
    /// Cores and polled lines of theirs that were lost or written since this was last looked at.
    pub woken: Vec<(u16, u32)>,
    /// The time of the request that is served.
    pub now: Picos,
    /// Totals since the start.
    pub counts: Counts,
    /// Who took what from whom, where asked for.
    pub ledger: Option<Ledger>,
    checker: Option<crate::sim::check::Checker>,
}

impl Coherence {
    /// An empty machine of which the first `cores` cores take part. `check` has every access
    /// checked against the invariants of the protocol, which costs several times the simulation
    /// itself.
    pub fn new(machine: Rc<Machine>, cores: usize, lines: usize, check: bool) -> Coherence {
        let clusters = machine.shape.clusters();
        let sharer_words = cores.div_ceil(64);
        Coherence {
            cores,
            lines,
            issue: machine.issue,
            l2_latency: machine.l2.latency,
            places: (0..cores)
                .map(|core| {
                    let (cluster, socket) = (
                        machine.shape.cluster_of(core),
                        machine.shape.socket_of(core),
                    );
                    (cluster as u8, socket as u8)
                })
                .collect(),
            copies: vec![0; cores * lines],
            directory: vec![
                Line {
                    ready: 0,
                    free: 0,
                    llc: 0,
                    pending: 0,
                    filler: NONE,
                    owner: NONE,
                    forward: NONE,
                };
                lines
            ],
            sharers: vec![0; lines * sharer_words],
            sharer_words,
            l1: (0..cores).map(|_| Cache::new(machine.l1, lines)).collect(),
            l2: (0..cores).map(|_| Cache::new(machine.l2, lines)).collect(),
            llc: (0..clusters)
                .map(|_| Cache::new(machine.llc, lines))
                .collect(),
            lost: match machine.out_of_order {
                Some(_) => vec![0; cores * lines],
                None => Vec::new(),
            },
            polled: vec![Vec::new(); cores],
            woken: Vec::new(),
            now: 0,
            counts: Counts::default(),
            ledger: None,
            checker: check.then(|| crate::sim::check::Checker::new(cores, lines)),
            machine,
        }
    }

    /// Lines of the memory.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// The machine.
    pub fn machine(&self) -> &Rc<Machine> {
        &self.machine
    }

    /// The directory's entry of a line.
    #[inline(always)]
    pub fn line(&mut self, line: u32) -> &mut Line {
        &mut self.directory[line as usize]
    }

    #[inline(always)]
    fn at(&self, core: usize, line: u32) -> usize {
        core * self.lines + line as usize
    }

    /// When the core last lost the line; only where cores execute out of order.
    #[inline(always)]
    pub fn lost(&self, core: usize, line: u32) -> Picos {
        self.lost[self.at(core, line)]
    }

    /// Whether the core can read, or with `own` write, the line without asking.
    #[inline(always)]
    pub fn holds(&self, core: usize, line: u32, own: bool) -> bool {
        let state = self.copies[self.at(core, line)] & STATE;
        state >= if own { EXCLUSIVE } else { SHARED }
    }

    /// An access that L1 answers: its latency, or `None` and nothing has changed.
    #[inline(always)]
    pub fn l1_hit(&mut self, core: usize, line: u32, words: u32, own: bool) -> Option<Picos> {
        let at = self.at(core, line);
        let copy = self.copies[at];
        let needed = if own { EXCLUSIVE } else { SHARED };
        if copy & STATE < needed || copy & IN_L1 == 0 {
            return None;
        }
        self.copies[at] = copy | words << TOUCHED | own as u32;
        self.l1[core].touch(line, copy >> L1_WAY & 15);
        self.counts.accesses += 1;
        self.counts.hits += 1;
        if let Some(checker) = &mut self.checker {
            checker.access(core, line, own);
        }
        Some(self.issue)
    }

    /// An access that L2 answers: its latency, or `None` and nothing has changed.
    #[inline]
    pub fn l2_hit(&mut self, core: usize, line: u32, words: u32, own: bool) -> Option<Picos> {
        if !self.holds(core, line, own) {
            return None;
        }
        self.add_to_l1(core, line);
        let at = self.at(core, line);
        self.copies[at] = (self.copies[at] & !PREFETCHED) | words << TOUCHED | own as u32;
        self.counts.accesses += 1;
        self.counts.hits += 1;
        if let Some(checker) = &mut self.checker {
            checker.access(core, line, own);
        }
        Some(self.l2_latency)
    }

    /// Serve a request that the core's own caches cannot answer: move the states, count, and say
    /// what it cost.
    #[inline(always)]
    pub fn transact(&mut self, asked: Transaction) -> Outcome {
        let Transaction {
            core,
            line,
            want,
            origin,
            ..
        } = asked;
        let core = usize::from(core);
        debug_assert!(!self.holds(core, line, want == Want::Own));
        let before = self.copies[self.at(core, line)];
        let after_prefetch = before & STATE == INVALID && before & LOST_TO_PREFETCH != 0;
        if origin == Origin::Demand {
            self.counts.accesses += 1;
            self.counts.refetches_after_prefetch += u64::from(after_prefetch);
        } else {
            self.counts.prefetches += 1;
        }
        let mut outcome = match want {
            Want::Own => self.own(asked),
            Want::Read => self.read(asked),
        };
        outcome.after_prefetch = after_prefetch && origin == Origin::Demand;
        match outcome.from {
            DataFrom::Llc => self.counts.llc_fills += 1,
            DataFrom::Memory => self.counts.memory_fills += 1,
            _ => {}
        }
        if let Some(checker) = &mut self.checker {
            checker.fill(core, line);
            if origin == Origin::Demand {
                checker.access(core, line, want == Want::Own);
            }
            self.check(line);
        }
        outcome
    }

    #[inline(always)]
    fn own(&mut self, asked: Transaction) -> Outcome {
        let Transaction {
            core,
            line,
            origin,
            words,
            ..
        } = asked;
        let core = usize::from(core);
        let at = self.at(core, line);
        let held = self.copies[at];
        let entry = self.directory[line as usize];
        let upgrade = held & STATE != INVALID;
        let mut dirty = held & STATE == OWNED;
        let (mut latency, from) = if upgrade {
            self.counts.upgrades += 1;
            (self.machine.transfers.upgrade, DataFrom::Itself)
        } else if entry.owner != NONE {
            let owner = entry.owner as usize;
            dirty = self.copies[self.at(owner, line)] & STATE != EXCLUSIVE;
            if dirty {
                let remote = self.is_remote(core, owner);
                match origin {
                    Origin::Demand => {
                        self.counts.rfo_hitm += 1;
                        self.counts.rfo_hitm_remote += u64::from(remote);
                    }
                    Origin::Prefetch => self.counts.prefetch_rfo_hitm += 1,
                }
            }
            (
                self.transfer(owner, core, dirty),
                DataFrom::Core(entry.owner),
            )
        } else {
            self.clean_source(core, line)
        };

        let alone = !upgrade
            && entry.owner != NONE
            && self.copies[self.at(entry.owner as usize, line)] & STATE != OWNED;
        let others = if alone {
            // Exclusive or modified: nobody else has a copy.
            self.invalidate(entry.owner as usize, asked);
            true
        } else {
            let farthest = self.invalidate_sharers(asked);
            latency = latency.max(farthest.unwrap_or(0));
            farthest.is_some()
        };

        let own_cluster = 1 << self.cluster_of(core);
        let entry = &mut self.directory[line as usize];
        entry.owner = core as u16;
        entry.forward = NONE;
        let elsewhere = entry.llc & !own_cluster;
        entry.llc &= own_cluster;
        if elsewhere != 0 {
            self.leave_llcs(line, elsewhere);
        }
        let state = match (origin, dirty) {
            (Origin::Demand, _) | (_, true) => MODIFIED,
            (Origin::Prefetch, false) => EXCLUSIVE,
        };
        if upgrade {
            self.copies[at] = (held & !STATE & !PREFETCHED) | state | words << TOUCHED;
            if origin == Origin::Prefetch {
                self.copies[at] |= PREFETCHED;
            } else {
                self.add_to_l1(core, line);
            }
        } else {
            self.fill(asked, state);
        }
        Outcome {
            latency,
            from,
            exclusive: others || matches!(from, DataFrom::Core(_)) || origin == Origin::Demand,
            after_prefetch: false,
        }
    }

    /// Invalidate every copy but the core's own; the latency of the farthest.
    fn invalidate_sharers(&mut self, asked: Transaction) -> Option<Picos> {
        let mut farthest = None;
        let core = usize::from(asked.core);
        for word in 0..self.sharer_words {
            let mut bits = self.sharers[asked.line as usize * self.sharer_words + word];
            while bits != 0 {
                let victim = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if victim != core {
                    farthest = farthest.max(Some(self.transfer(victim, core, false)));
                    self.invalidate(victim, asked);
                }
            }
        }
        farthest
    }

    #[inline(always)]
    fn read(&mut self, asked: Transaction) -> Outcome {
        let Transaction {
            core, line, origin, ..
        } = asked;
        let core = usize::from(core);
        let entry = self.directory[line as usize];
        let shared_before = self.is_shared(line);
        let outcome = if entry.owner != NONE {
            let owner = entry.owner as usize;
            let at = self.at(owner, line);
            let held = self.copies[at];
            let dirty = held & STATE != EXCLUSIVE;
            if dirty {
                match (origin, self.is_remote(core, owner)) {
                    (Origin::Prefetch, _) => self.counts.prefetch_read_hitm += 1,
                    (Origin::Demand, false) => self.counts.hitm_local += 1,
                    (Origin::Demand, true) => self.counts.hitm_remote += 1,
                }
                if self.machine.transfers.migratory && held & STATE == MODIFIED {
                    return self.take_modified(owner, asked);
                }
                self.classify(owner, asked, false);
            }
            if self.machine.protocol == Protocol::Moesi && dirty {
                self.copies[at] = held & !STATE | OWNED;
            } else {
                self.copies[at] = held & !STATE | SHARED;
                self.directory[line as usize].owner = NONE;
                if dirty {
                    self.counts.write_backs += 1;
                }
                // The data is in the owner's last-level cache from now on.
                self.add_to_llc(self.cluster_of(owner), line);
            }
            Outcome {
                latency: self.transfer(owner, core, dirty),
                from: DataFrom::Core(entry.owner),
                // An owner that stays one answers the next reader as well.
                exclusive: self.directory[line as usize].owner == NONE,
                after_prefetch: false,
            }
        } else {
            let (latency, from) = self.clean_source(core, line);
            Outcome {
                latency,
                from,
                // What another core or socket forwards passes the home agent, which orders
                // requests for one line.
                exclusive: from != DataFrom::Llc || latency > self.machine.llc.latency,
                after_prefetch: false,
            }
        };
        let state = match self.machine.protocol {
            _ if !shared_before => EXCLUSIVE,
            Protocol::Mesif => FORWARD,
            Protocol::Mesi | Protocol::Moesi => SHARED,
        };
        let forward = self.directory[line as usize].forward;
        match state {
            EXCLUSIVE => self.directory[line as usize].owner = core as u16,
            FORWARD => {
                if forward != NONE {
                    let at = self.at(forward as usize, line);
                    self.copies[at] = self.copies[at] & !STATE | SHARED;
                }
                self.directory[line as usize].forward = core as u16;
            }
            _ => {}
        }
        self.fill(asked, state);
        outcome
    }

    /// A reader takes a modified line with ownership: who reads what another has written mostly
    /// goes on to write it.
    fn take_modified(&mut self, owner: usize, asked: Transaction) -> Outcome {
        self.invalidate(owner, asked);
        self.directory[asked.line as usize].owner = asked.core;
        self.fill(asked, MODIFIED);
        Outcome {
            latency: self.transfer(owner, asked.core.into(), true),
            from: DataFrom::Core(owner as u16),
            exclusive: true,
            after_prefetch: false,
        }
    }

    fn is_shared(&self, line: u32) -> bool {
        self.sharers[line as usize * self.sharer_words..][..self.sharer_words]
            .iter()
            .any(|word| *word != 0)
    }

    /// Take the line from a core on behalf of another.
    #[inline]
    fn invalidate(&mut self, victim: usize, by: Transaction) {
        self.classify(victim, by, true);
        let line = by.line;
        let by_prefetch = by.origin == Origin::Prefetch;
        self.counts.invalidations += 1;
        self.counts.prefetch_invalidations += u64::from(by_prefetch);
        self.remove(victim, line);
        if self.polled[victim].contains(&line) {
            self.woken.push((victim as u16, line));
        }
        let at = self.at(victim, line);
        if let Some(lost) = self.lost.get_mut(at) {
            *lost = self.now;
        }
        if by_prefetch {
            let at = self.at(victim, line);
            self.copies[at] = LOST_TO_PREFETCH;
        }
    }

    /// Count a line taken from another core as true, false or pair sharing.
    #[inline]
    fn classify(&mut self, victim: usize, by: Transaction, invalidated: bool) {
        let held = self.copies[self.at(victim, by.line)];
        let touched = held >> TOUCHED;
        match by.origin {
            Origin::Prefetch => self.counts.pair_sharing += 1,
            Origin::Demand if touched & by.words != 0 => self.counts.true_sharing += 1,
            Origin::Demand => self.counts.false_sharing += 1,
        }
        if self.ledger.is_none() {
            return;
        }
        // A core that has a copy asks for leave to write only, and gets no data.
        let core = usize::from(by.core);
        let gets_data = self.copies[self.at(core, by.line)] & STATE == INVALID;
        let loser = Loser {
            core: victim,
            touched,
            hitm: gets_data && matches!(held & STATE, MODIFIED | OWNED),
            distance: self.distance(core, victim),
            invalidated,
        };
        if let Some(ledger) = &mut self.ledger {
            ledger.steal(by, loser);
        }
    }
}
