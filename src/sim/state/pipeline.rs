//! A core that executes out of order: which access waits for which, and what that costs.
//!
//! Here: a front end that goes on while older accesses wait, as far as the reorder buffer reaches;
//! loads that wait for the load that gave them their address; read-modify-writes that wait for
//! everything before them; branches that go another way than expected. Not here: misses (`lines`),
//! and machines whose file has no such core: there one access follows the other.

use crate::sim::machine::{OutOfOrder, Picos};

/// Pointers just loaded that an address is compared with: as many as are under way in a fault at
/// one time (node, VMA, lock, `mm_struct`).
const POINTERS: usize = 4;
/// The low bits of a pointer to a node of the tree say what kind of node it is.
const TAG: u64 = 255;
/// How far into an object a fault reaches, in bytes: no VMA is longer than 384, and of `mm_struct`
/// it touches the first 256.
const REACH: u64 = 384;
/// Branches whose last ways are remembered.
const WAYS: usize = 64;

/// A pointer that a load has brought.
#[derive(Clone, Copy, Default)]
struct Pointer {
    to: u64,
    /// When it was there.
    ready: Picos,
    /// Whether it had to wait for the last miss.
    waited: bool,
}

/// One thread's pipeline.
pub struct Pipeline {
    core: OutOfOrder,
    /// What an access costs the front end.
    issue: Picos,
    /// When the front end is done with the access under way.
    front: Picos,
    /// When the access under way knows its address and, a read-modify-write, its turn.
    began: Picos,
    /// When the last load has its value.
    loaded: Picos,
    /// When all accesses have theirs, and have retired.
    settled: Picos,
    /// Address of the last read-modify-write, and when it was done.
    locked: (u64, Picos),
    pointers: [Pointer; POINTERS],
    oldest: usize,
    /// Whether the value of the access under way has to wait for the last miss.
    waits: bool,
    /// The way each branch went last time, by site and the two ways before it.
    ways: [u8; WAYS],
    history: usize,
}

impl Pipeline {
    /// Nothing under way, nothing expected.
    pub fn new(core: OutOfOrder, issue: Picos, now: Picos) -> Pipeline {
        Pipeline {
            core,
            issue,
            front: now,
            began: now,
            loaded: now,
            settled: now,
            locked: (0, 0),
            pointers: [Pointer::default(); POINTERS],
            oldest: 0,
            waits: false,
            ways: [0; WAYS],
            history: 0,
        }
    }

    /// The thread has done something at which a core does not run ahead, until `now`.
    #[inline(always)]
    pub fn drained(&mut self, now: Picos) {
        self.front = self.front.max(now);
    }

    /// An access at `at`: when the front end is done with it.
    #[inline(always)]
    pub fn begin(&mut self, at: u64) -> Picos {
        // What is further ahead than the reorder buffer is long waits for the oldest to be done.
        let room = self.settled.saturating_sub(self.core.window);
        self.front = self.front.max(room) + self.issue;
        self.waits = false;
        let mut known = self.front;
        for pointer in self.pointers {
            let belongs = at.wrapping_sub(pointer.to) < REACH;
            known = if belongs && pointer.ready > known {
                pointer.ready
            } else {
                known
            };
        }
        self.began = known;
        self.front
    }

    /// The same for a load of a line that the core lost last at `lost`. A load that ran ahead and
    /// whose line is lost before its turn to retire has read what others may have overwritten: it
    /// and everything after it start afresh.
    #[inline(always)]
    pub fn load(&mut self, at: u64, lost: Picos) -> Picos {
        self.begin(at);
        let (locked, done) = self.locked;
        if at == locked {
            // Nothing is forwarded from a locked operation.
            self.began = self.began.max(done);
        }
        if lost > self.began && lost < self.settled {
            self.front = self.settled + self.core.branch_miss;
            self.began = self.front;
        }
        self.front
    }

    /// The same for a read-modify-write, which begins when everything before it is done.
    #[inline(always)]
    pub fn lock(&mut self, at: u64) -> Picos {
        self.begin(at);
        self.began = self.began.max(self.settled);
        self.locked.0 = at;
        self.began
    }

    /// The access under way had to wait until `until` for a line that was on its way.
    pub fn held_up(&mut self, until: Picos) {
        self.began = self.began.max(until);
    }

    /// The access under way is a load that hits after `latency`.
    #[inline(always)]
    pub fn hit(&mut self, latency: Picos) {
        self.loaded = self.began + latency;
        self.settled = self.loaded.max(self.settled + self.core.retire);
    }

    /// The access under way is a store: nothing waits for it.
    #[inline(always)]
    pub fn stored(&mut self) {
        self.settled += self.core.retire;
    }

    /// The read-modify-write under way is done at `done`.
    #[inline(always)]
    pub fn unlocked(&mut self, done: Picos) {
        self.done(done);
        self.locked.1 = done;
    }

    /// The access under way missed and has its value at `done`.
    #[inline(always)]
    pub fn done(&mut self, done: Picos) {
        self.loaded = done;
        self.settled = self.settled.max(done);
    }

    /// The value of the last load is a pointer into the memory that is simulated.
    #[inline(always)]
    pub fn pointer(&mut self, to: u64) {
        self.pointers[self.oldest] = Pointer {
            to: to & !TAG,
            ready: self.loaded,
            waited: self.waits,
        };
        self.oldest = (self.oldest + 1) % POINTERS;
    }

    /// A search at `site` ended after `way` steps, as the last load said: when the front end is
    /// there.
    #[inline]
    pub fn searched(&mut self, site: usize, way: usize) -> Picos {
        let work = self.core.node + way as Picos * self.core.step;
        self.front += work;
        // It retires as the instructions of accesses do.
        self.settled += work * self.core.retire / self.issue.max(1);
        let index = (site * 31 + self.history * 7) % WAYS;
        let expected = std::mem::replace(&mut self.ways[index], way as u8);
        self.history = (self.history << 4 | way & 15) & 0xff;
        if usize::from(expected) != way {
            self.front = self.front.max(self.loaded) + self.core.branch_miss;
        }
        self.front
    }

    /// A miss: what is known by now did not have to wait for it.
    pub fn missed(&mut self) {
        self.pointers.iter_mut().for_each(|p| p.waited = false);
    }

    /// Whether the address `at` comes from a value that had to wait for the last miss.
    pub fn address_waits(&self, at: u64) -> bool {
        let mut of_those = self.pointers.iter();
        of_those.any(|p| p.waited && at.wrapping_sub(p.to) < REACH)
    }

    /// The value of the access under way has to wait for the last miss.
    pub fn value_waits(&mut self) {
        self.waits = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const L1: Picos = 1000;
    const ISSUE: Picos = 100;
    const RMW: Picos = 2000;

    fn pipeline() -> Pipeline {
        let core = OutOfOrder {
            window: 10_000,
            retire: 50,
            node: 0,
            step: 0,
            branch_miss: 5000,
            misses_at_once: 8,
        };
        Pipeline::new(core, ISSUE, 0)
    }

    fn load(p: &mut Pipeline, at: u64) -> Picos {
        p.load(at, 0);
        p.hit(L1);
        p.loaded
    }

    #[test]
    fn a_load_waits_for_the_load_of_its_address_and_for_no_other() {
        let mut p = pipeline();
        assert_eq!(load(&mut p, 4096), 1100);
        p.pointer(8192 | 3);
        assert_eq!(load(&mut p, 8192 + 64), 2100, "behind the pointer");
        assert_eq!(load(&mut p, 4096), 1300, "beside it");
    }

    #[test]
    fn a_read_modify_write_waits_for_all_before_it_and_what_follows_does_not_wait_for_it() {
        let mut p = pipeline();
        load(&mut p, 4096);
        let began = p.lock(64);
        assert_eq!(began, 1100);
        p.unlocked(began + RMW);
        assert_eq!(load(&mut p, 4096), 1300);
        assert_eq!(p.lock(64), 3150, "and the load's turn to retire");
    }

    #[test]
    fn a_load_that_ran_ahead_starts_afresh_if_its_line_is_lost_before_its_turn() {
        let mut p = pipeline();
        p.lock(64);
        p.unlocked(30_000);
        // It could begin at 20,200; others took the line at 25,000.
        assert_eq!(p.load(128, 15_000), 20_100);
        assert_eq!(p.load(128, 25_000), 30_000 + 5000);
    }

    #[test]
    fn the_front_end_runs_ahead_of_a_miss_only_as_far_as_the_reorder_buffer_reaches() {
        let mut p = pipeline();
        p.load(64, 0);
        p.done(30_000);
        assert_eq!(p.load(128, 0), 20_100);
    }

    #[test]
    fn a_branch_costs_when_it_goes_another_way_than_the_last_time_it_was_reached_so() {
        let mut p = pipeline();
        load(&mut p, 4096);
        assert_eq!(p.searched(0, 3), 1100 + 5000);
        for _ in 0..3 {
            p.searched(0, 3);
        }
        let before = p.front;
        assert_eq!(p.searched(0, 3), before);
        assert!(p.searched(0, 4) > before);
    }
}
