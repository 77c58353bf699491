//! Which lines are in which cache: fills, evictions, and the invariants that must hold after them.
//!
//! Not here: who is asked for a line and in which state it is given (the parent module).

use super::{
    Coherence, EXCLUSIVE, FORWARD, IN_L1, IN_L2, INVALID, L1_WAY, L2_WAY, MODIFIED, NONE, OWNED,
    PREFETCHED, STATE, TOUCHED,
};
use crate::sim::machine::LlcPolicy;
use crate::sim::request::{Origin, Transaction};

impl Coherence {
    /// Put a line into a core that does not hold it.
    #[inline]
    pub(super) fn fill(&mut self, asked: Transaction, state: u32) {
        let Transaction {
            core,
            line,
            origin,
            words,
            ..
        } = asked;
        let core = usize::from(core);
        if self.machine.llc_policy == LlcPolicy::Inclusive {
            self.add_to_llc(self.cluster_of(core), line);
        }
        let (way, evicted) = self.l2[core].insert(line);
        let at = self.at(core, line);
        let prefetched = if origin == Origin::Prefetch {
            PREFETCHED
        } else {
            0
        };
        self.copies[at] = state | IN_L2 | prefetched | way << L2_WAY | words << TOUCHED;
        self.sharers[line as usize * self.sharer_words + core / 64] |= 1 << (core % 64);
        if let Some(evicted) = evicted {
            self.out_of_l2(core, evicted);
        }
        if origin == Origin::Demand {
            self.add_to_l1(core, line);
        }
    }

    #[inline(always)]
    pub(super) fn add_to_l1(&mut self, core: usize, line: u32) {
        let at = self.at(core, line);
        if self.copies[at] & IN_L1 != 0 {
            return;
        }
        let (way, evicted) = self.l1[core].insert(line);
        self.copies[at] = self.copies[at] & !(15 << L1_WAY) | IN_L1 | way << L1_WAY;
        if let Some(evicted) = evicted {
            self.out_of_l1(core, evicted);
        }
    }

    pub(super) fn out_of_l1(&mut self, core: usize, line: u32) {
        let at = self.at(core, line);
        self.copies[at] &= !IN_L1;
        if self.copies[at] & IN_L2 != 0 {
            return;
        }
        // Only L1 had it: a modified line goes to L2, a clean one is gone.
        if self.copies[at] & STATE == MODIFIED {
            let (way, evicted) = self.l2[core].insert(line);
            self.copies[at] = self.copies[at] & !(31 << L2_WAY) | IN_L2 | way << L2_WAY;
            if let Some(evicted) = evicted {
                self.out_of_l2(core, evicted);
            }
        } else {
            self.evict(core, line);
        }
    }

    pub(super) fn out_of_l2(&mut self, core: usize, line: u32) {
        let at = self.at(core, line);
        self.copies[at] &= !IN_L2;
        if self.machine.l2_inclusive || self.copies[at] & IN_L1 == 0 {
            self.evict(core, line);
        }
    }

    /// A line leaves a core for lack of room: it goes to the last-level cache.
    pub(super) fn evict(&mut self, core: usize, line: u32) {
        let state = self.copies[self.at(core, line)] & STATE;
        if state == MODIFIED || state == OWNED {
            self.counts.write_backs += 1;
        }
        self.remove(core, line);
        self.add_to_llc(self.cluster_of(core), line);
        if self.checker.is_some() {
            self.check(line);
        }
    }

    /// Forget a core's copy.
    #[inline(always)]
    pub(super) fn remove(&mut self, core: usize, line: u32) {
        let at = self.at(core, line);
        let copy = self.copies[at];
        self.counts.useless_prefetch += u64::from(copy & PREFETCHED != 0);
        if copy & IN_L1 != 0 {
            self.l1[core].remove(line, copy >> L1_WAY & 15);
        }
        if copy & IN_L2 != 0 {
            self.l2[core].remove(line, copy >> L2_WAY & 31);
        }
        self.copies[at] = INVALID;
        self.sharers[line as usize * self.sharer_words + core / 64] &= !(1 << (core % 64));
        let entry = &mut self.directory[line as usize];
        if entry.owner == core as u16 {
            entry.owner = NONE;
        }
        if entry.forward == core as u16 {
            entry.forward = NONE;
        }
    }

    #[inline]
    pub(super) fn add_to_llc(&mut self, cluster: usize, line: u32) {
        if self.directory[line as usize].llc & 1 << cluster != 0 {
            return;
        }
        self.directory[line as usize].llc |= 1 << cluster;
        if let (_, Some(evicted)) = self.llc[cluster].insert(line) {
            self.out_of_llc(cluster, evicted);
        }
    }

    #[cold]
    pub(super) fn out_of_llc(&mut self, cluster: usize, evicted: u32) {
        self.directory[evicted as usize].llc &= !(1 << cluster);
        if self.machine.llc_policy == LlcPolicy::Inclusive {
            let first = cluster * self.machine.shape.cores_per_llc;
            let last = (first + self.machine.shape.cores_per_llc).min(self.cores);
            for core in first..last {
                let state = self.copies[self.at(core, evicted)] & STATE;
                if state != INVALID {
                    self.counts.write_backs += u64::from(state == MODIFIED || state == OWNED);
                    self.remove(core, evicted);
                }
            }
        }
    }

    pub(super) fn leave_llcs(&mut self, line: u32, mut clusters: u64) {
        while clusters != 0 {
            let cluster = clusters.trailing_zeros() as usize;
            clusters &= clusters - 1;
            let way = self.llc[cluster].way_of(line);
            self.llc[cluster].remove(line, way);
        }
    }

    /// Assert the invariants of the protocol for one line.
    pub(super) fn check(&self, line: u32) {
        let entry = &self.directory[line as usize];
        let mut writers = 0;
        let mut readers = 0;
        for core in 0..self.cores {
            let copy = self.copies[self.at(core, line)];
            let state = copy & STATE;
            let listed =
                self.sharers[line as usize * self.sharer_words + core / 64] >> (core % 64) & 1 == 1;
            assert_eq!(listed, state != INVALID, "directory and core {core} differ");
            if state == INVALID {
                continue;
            }
            assert!(copy & (IN_L1 | IN_L2) != 0, "a held line is in a cache");
            readers += 1;
            writers += u32::from(state >= EXCLUSIVE);
            let owns = state >= OWNED;
            assert_eq!(owns, entry.owner == core as u16, "owner of line {line}");
            assert_eq!(
                state == FORWARD,
                entry.forward == core as u16,
                "forwarder of line {line}"
            );
        }
        assert!(writers <= 1, "two writers of line {line}");
        assert!(
            writers == 0 || readers == 1,
            "a writer and readers of line {line}"
        );
    }
}
