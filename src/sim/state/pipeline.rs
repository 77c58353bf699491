//! What of a core's pipeline shows in the time of a fault: which access waits for which.
//!
//! Here: loads wait for the load that gave them their address; a read-modify-write waits for every
//! earlier load, and part of it passes while later ones issue; a branch that goes another way than
//! the core expected is known when the loads that steer it are back. Not here: misses, for which
//! the whole thread waits (`lines`).

use crate::sim::machine::Picos;

/// Pointers just loaded that an address is compared with: as many as are under way in a fault at
/// one time (node, VMA, lock, `mm_struct`).
const POINTERS: usize = 4;
/// The low bits of a pointer to a node of the tree say what kind of node it is.
const TAG: u64 = 255;
/// How far from where a pointer points its object reaches, in bytes: `mm_struct` is the longest.
const REACH: u64 = 2048;
/// Branches whose last ways are remembered.
const WAYS: usize = 64;

/// One thread's pipeline.
#[derive(Clone)]
pub struct Pipeline {
    /// When all earlier accesses have their values.
    pub settled: Picos,
    /// Where recently loaded pointers point, when their values were there, and whether these had
    /// to wait for the last miss.
    pointers: [(u64, Picos, bool); POINTERS],
    /// Whether the value of the access under way has to wait for the last miss.
    waits: bool,
    oldest: usize,
    /// The way each branch went last time, by site and the two ways before it.
    ways: [u8; WAYS],
    history: usize,
}

impl Pipeline {
    /// Nothing under way, nothing expected.
    pub fn new() -> Pipeline {
        Pipeline {
            settled: 0,
            pointers: [(0, 0, false); POINTERS],
            waits: false,
            oldest: 0,
            ways: [0; WAYS],
            history: 0,
        }
    }

    /// When an access at `at` knows its address.
    #[inline(always)]
    pub fn address_known(&self, at: u64) -> Picos {
        let mut known = 0;
        for (pointer, ready, _) in self.pointers {
            let belongs = at.wrapping_sub(pointer) < REACH;
            known = if belongs && ready > known {
                ready
            } else {
                known
            };
        }
        known
    }

    /// An access begins.
    #[inline(always)]
    pub fn access(&mut self) {
        self.waits = false;
    }

    /// A load has its value at `ready`.
    #[inline(always)]
    pub fn loaded(&mut self, ready: Picos) {
        self.settled = self.settled.max(ready);
    }

    /// The value is a pointer into the memory that is simulated.
    #[inline(always)]
    pub fn loaded_pointer(&mut self, pointer: u64, ready: Picos) {
        self.pointers[self.oldest] = (pointer & !TAG, ready, self.waits);
        self.oldest = (self.oldest + 1) % POINTERS;
    }

    /// A miss: what is known by now did not have to wait for it.
    pub fn missed(&mut self) {
        self.pointers
            .iter_mut()
            .for_each(|(_, _, waits)| *waits = false);
    }

    /// Whether the address `at` comes from a value that had to wait for the last miss.
    pub fn address_waits(&self, at: u64) -> bool {
        let mut of_those = self.pointers.iter();
        of_those.any(|(pointer, _, waits)| *waits && at.wrapping_sub(*pointer) < REACH)
    }

    /// The value of the access under way has to wait for the last miss.
    pub fn value_waits(&mut self) {
        self.waits = true;
    }

    /// A branch at `site` went `way`: whether the core expected that.
    #[inline]
    pub fn branch(&mut self, site: usize, way: usize) -> bool {
        let index = (site * 31 + self.history * 7) % WAYS;
        let expected = std::mem::replace(&mut self.ways[index], way as u8);
        self.history = (self.history << 4 | way & 15) & 0xff;
        usize::from(expected) == way
    }
}
