//! What the steps of a pass take at most: accesses and work.
//!
//! Not here: what a step takes, and how much a pass may (`check`).

/// What steps take, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub accesses: u64,
    pub work_ns: u64,
}

impl Cost {
    /// So many accesses, without work.
    pub fn of(accesses: u64) -> Cost {
        Cost {
            accesses,
            work_ns: 0,
        }
    }

    /// One after the other.
    pub fn and(self, other: Cost) -> Cost {
        Cost {
            accesses: self.accesses.saturating_add(other.accesses),
            work_ns: self.work_ns.saturating_add(other.work_ns),
        }
    }

    /// Every step and every round counts, or a pass of empty ones could last for ever.
    pub fn at_least_one(self) -> Cost {
        Cost {
            accesses: self.accesses.max(1),
            ..self
        }
    }

    /// So many times.
    pub fn times(self, times: u64) -> Cost {
        Cost {
            accesses: self.accesses.saturating_mul(times),
            work_ns: self.work_ns.saturating_mul(times),
        }
    }

    /// Whichever is more.
    pub fn or(self, other: Cost) -> Cost {
        Cost {
            accesses: self.accesses.max(other.accesses),
            work_ns: self.work_ns.max(other.work_ns),
        }
    }
}
