//! What happened, counted under the roles that hardware counters have.

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// Totals over all cores.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])* pub $name: u64),*
        }

        impl Counts {
            /// Every count with its role, in declaration order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// What was counted since `before`.
            pub fn since(&self, before: &Counts) -> Counts {
                Counts { $($name: self.$name - before.$name),* }
            }
        }
    };
}

counts! {
    /// Memory accesses of the simulated program.
    accesses,
    /// Of these, answered by L1 or L2 without asking another part of the machine.
    hits,
    /// Loads that took a line which another core of the socket had modified.
    hitm_local,
    /// The same across sockets.
    hitm_remote,
    /// RFOs (stores, atomics) that took a line which another core had modified.
    rfo_hitm,
    /// Of these, across sockets.
    rfo_hitm_remote,
    /// Prefetches with ownership that took a line which another core had modified.
    prefetch_rfo_hitm,
    /// Prefetches for reading that downgraded a line which another core had modified.
    prefetch_read_hitm,
    /// Prefetches issued to the rest of the machine.
    prefetches,
    /// Prefetched lines that left, or were taken away, before they were used.
    useless_prefetch,
    /// Copies invalidated in other cores.
    invalidations,
    /// Of these, by a prefetch with ownership.
    prefetch_invalidations,
    /// Stores and atomics on a line held for reading: ownership asked for, no data.
    upgrades,
    /// Modified lines written to the last-level cache or memory.
    write_backs,
    /// Lines taken from another core that had touched the very word.
    true_sharing,
    /// Lines taken from another core that had touched other words of the line only.
    false_sharing,
    /// Lines that a prefetch took from another core for a neighbour's sake.
    pair_sharing,
    /// Misses on lines that a prefetch of another core had taken away.
    refetches_after_prefetch,
    /// Lines filled from memory.
    memory_fills,
    /// Lines filled from a last-level cache.
    llc_fills,
}
