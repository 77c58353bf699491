//! The data source of a sample: the 64 bits that the kernel makes of what a PMU says.
//!
//! Bits as in the kernel's `include/uapi/linux/perf_event.h`, `union perf_mem_data_src`. Text that
//! perf writes beside the word may be cut short; the word is not.

use super::profile::UseCounts;

/// The word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataSource(pub u64);

impl DataSource {
    /// `count` bits from bit `first`.
    fn bits(self, first: u32, count: u32) -> u64 {
        self.0 >> first & ((1 << count) - 1)
    }

    /// What one sample of it counts as. Which cache answered is told as `perf c2c` tells it: a
    /// modified line from a remote cache is remote, any other is local.
    pub fn counts(self) -> UseCounts {
        const LOAD: u64 = 0x2;
        const STORE: u64 = 0x4;
        const REMOTE_CACHES: u64 = 0x400 | 0x800;
        const HITM: u64 = 0x10;
        const LOCKED: u64 = 0x2;
        const PEER: u64 = 0x2;
        let op = self.bits(0, 5);
        let load = op & LOAD != 0;
        // An operation that is both is a load that stores: perf counts it as a load.
        let store = op & STORE != 0 && !load;
        let remote = self.bits(5, 14) & REMOTE_CACHES != 0 || self.bits(37, 1) != 0;
        let hitm = load && self.bits(19, 5) & HITM != 0;
        UseCounts {
            all: 1,
            loads: load.into(),
            stores: store.into(),
            locked: ((load || store) && self.bits(24, 2) & LOCKED != 0).into(),
            hitm_local: (hitm && !remote).into(),
            hitm_remote: (hitm && remote).into(),
            peer: (load && self.bits(38, 2) & PEER != 0).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_snoop_lock_and_peer_are_told_by_their_bits() {
        let of = |word| {
            let c = DataSource(word).counts();
            (
                c.loads,
                c.stores,
                c.locked,
                c.hitm_local,
                c.hitm_remote,
                c.peer,
            )
        };
        assert_eq!(of(0x11e29800842), (1, 0, 0, 1, 0, 0));
        assert_eq!(of(0x11e29808042), (1, 0, 0, 0, 1, 0));
        assert_eq!(of(0x11e2a800842), (1, 0, 1, 1, 0, 0));
        assert_eq!(of(0x11e29080144), (0, 1, 0, 0, 0, 0));
        assert_eq!(of(0x18429000442), (1, 0, 0, 0, 0, 1));
        assert_eq!(of(0), (0, 0, 0, 0, 0, 0));
    }
}
