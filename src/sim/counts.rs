//! What happened, counted under the roles that hardware counters have where there is one.

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident),* $(,)?) => {
        /// Totals over all cores.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64),*
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

            /// What a count says: the line above its name, below.
            pub fn means(role: &str) -> Option<&'static str> {
                match role {
                    $(stringify!($name) => Some(concat!($($doc),+).trim()),)*
                    _ => None,
                }
            }
        }
    };
}

// The reports show these lines by themselves, each beside its name.
counts! {
    /// Memory accesses of the simulated program.
    accesses,
    /// Accesses that L1 or L2 answered without asking another part of the machine.
    hits,
    /// Loads that took a line which another core of the socket had modified.
    hitm_local,
    /// Loads that took a line which a core of another socket had modified.
    hitm_remote,
    /// RFOs (stores, atomics) that took a line which another core had modified, on any socket.
    rfo_hitm,
    /// The part of rfo_hitm whose line came from another socket.
    rfo_hitm_remote,
    /// Prefetches with ownership that took a line which another core had modified.
    prefetch_rfo_hitm,
    /// Prefetches for reading that downgraded a line which another core had modified.
    prefetch_read_hitm,
    /// Prefetches that left the core, as its own caches could not answer them.
    prefetches,
    /// Prefetched lines that left, or were taken away, before they were used.
    useless_prefetch,
    /// Copies invalidated in other cores.
    invalidations,
    /// The part of invalidations that prefetches with ownership caused.
    prefetch_invalidations,
    /// Stores and atomics on a line held for reading: ownership asked for, no data.
    upgrades,
    /// Modified lines written to the last-level cache or memory.
    write_backs,
    /// Lines taken from another core that had touched the very word.
    true_sharing,
    /// Lines taken from another core that had touched other words of the line only.
    false_sharing,
    /// Lines that a prefetch, not an access, took from another core: sharing within a pair, where
    /// it is pairs that the prefetcher completes.
    pair_sharing,
    /// Misses on lines that a prefetch of another core had taken away.
    refetches_after_prefetch,
    /// Lines filled from memory.
    memory_fills,
    /// Lines filled from a last-level cache.
    llc_fills,
}
