//! Sockets, last-level caches, cores and SMT threads of a machine, and which CPU a thread gets.
//!
//! CPUs are numbered as Linux numbers them: first one thread of every core, socket by socket, then
//! the second thread of every core.

use crate::error::{Error, Result};

/// How far apart two cores are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distance {
    /// The same core: SMT siblings share L1 and L2.
    SameCore,
    /// Another core under the same last-level cache.
    SameLlc,
    /// Another last-level cache of the same socket.
    OtherLlc,
    /// Another socket.
    OtherSocket,
}

impl Distance {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Distance::SameCore => "smt-sibling",
            Distance::SameLlc => "same-llc",
            Distance::OtherLlc => "other-llc",
            Distance::OtherSocket => "other-socket",
        }
    }
}

/// The shape of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Sockets.
    pub sockets: usize,
    /// Last-level caches (clusters) in a socket.
    pub llcs_per_socket: usize,
    /// Cores under one last-level cache.
    pub cores_per_llc: usize,
    /// SMT threads of a core.
    pub threads_per_core: usize,
}

impl Topology {
    /// Cores of the machine.
    pub fn cores(&self) -> usize {
        self.sockets * self.cores_per_socket()
    }

    /// Cores of one socket.
    pub fn cores_per_socket(&self) -> usize {
        self.llcs_per_socket * self.cores_per_llc
    }

    /// CPUs (SMT threads) of the machine.
    pub fn cpus(&self) -> usize {
        self.cores() * self.threads_per_core
    }

    /// Last-level caches of the machine.
    pub fn clusters(&self) -> usize {
        self.sockets * self.llcs_per_socket
    }

    /// The core of a CPU.
    pub fn core_of(&self, cpu: usize) -> usize {
        cpu % self.cores()
    }

    /// The last-level cache of a core.
    #[inline]
    pub fn cluster_of(&self, core: usize) -> usize {
        core / self.cores_per_llc
    }

    /// The socket of a core.
    #[inline]
    pub fn socket_of(&self, core: usize) -> usize {
        core / self.cores_per_socket()
    }

    /// How far apart two cores are.
    #[inline]
    pub fn distance(&self, a: usize, b: usize) -> Distance {
        if a == b {
            Distance::SameCore
        } else if self.cluster_of(a) == self.cluster_of(b) {
            Distance::SameLlc
        } else if self.socket_of(a) == self.socket_of(b) {
            Distance::OtherLlc
        } else {
            Distance::OtherSocket
        }
    }

    /// The CPUs of `threads` threads under a placement of that name.
    ///
    /// `compact` fills a cluster's cores, then the next cluster's, then SMT siblings; `scatter`
    /// deals threads out to sockets, clusters and cores in turn, siblings last; `smt` fills both
    /// siblings of a core first; `one-llc` is `compact` within one cluster; `cross-llc` and
    /// `cross-socket` deal threads out to two clusters of one socket, or to the sockets.
    pub fn place(&self, placement: &str, threads: usize) -> Result<Vec<usize>> {
        if threads == 0 || threads > self.cpus() {
            return Err(Error::Input(format!(
                "{threads} threads asked for: the machine has {} (allowed: 1 to {})",
                self.cpus(),
                self.cpus()
            )));
        }
        let order = match placement {
            "compact" => (0..self.cpus()).collect(),
            "scatter" => self.dealt_to((0..self.clusters()).collect()),
            "smt" => (0..self.cores())
                .flat_map(|core| self.siblings(core))
                .collect(),
            "one-llc" => self.dealt_to(vec![0]),
            "cross-llc" if self.llcs_per_socket > 1 => self.dealt_to(vec![0, 1]),
            "cross-llc" => {
                return Err(Error::Input(
                    "placement cross-llc needs two last-level caches in a socket: the machine has one"
                        .to_owned(),
                ));
            }
            "cross-socket" if self.sockets > 1 => {
                self.dealt_to((0..self.sockets).map(|s| s * self.llcs_per_socket).collect())
            }
            "cross-socket" => {
                return Err(Error::Input(
                    "placement cross-socket needs two sockets: the machine has one".to_owned(),
                ));
            }
            other => {
                return Err(Error::unknown(
                    "placement",
                    other,
                    ["compact", "scatter", "smt", "one-llc", "cross-llc", "cross-socket"],
                ));
            }
        };
        let order: Vec<usize> = order;
        if threads > order.len() {
            return Err(Error::Input(format!(
                "{threads} threads asked for: placement {placement} has room for {} on this machine",
                order.len()
            )));
        }
        Ok(order[..threads].to_vec())
    }

    /// The CPUs of a core.
    fn siblings(&self, core: usize) -> impl Iterator<Item = usize> + use<> {
        let cores = self.cores();
        (0..self.threads_per_core).map(move |smt| smt * cores + core)
    }

    /// CPUs of the given clusters, one from each cluster in turn (sockets alternating), all first
    /// siblings before any second one.
    fn dealt_to(&self, mut clusters: Vec<usize>) -> Vec<usize> {
        clusters.sort_by_key(|c| (c % self.llcs_per_socket, c / self.llcs_per_socket));
        let mut order = Vec::new();
        for smt in 0..self.threads_per_core {
            for slot in 0..self.cores_per_llc {
                for cluster in &clusters {
                    order.push(smt * self.cores() + cluster * self.cores_per_llc + slot);
                }
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_SOCKETS: Topology = Topology {
        sockets: 2,
        llcs_per_socket: 2,
        cores_per_llc: 4,
        threads_per_core: 2,
    };

    #[test]
    fn every_placement_gives_each_cpu_once() {
        for placement in ["compact", "scatter", "smt", "cross-llc", "cross-socket"] {
            let room = (1..=TWO_SOCKETS.cpus())
                .rev()
                .find(|n| TWO_SOCKETS.place(placement, *n).is_ok())
                .unwrap();
            let mut cpus = TWO_SOCKETS.place(placement, room).unwrap();
            cpus.sort();
            cpus.dedup();
            assert_eq!(cpus.len(), room, "{placement}");
        }
    }

    #[test]
    fn smt_places_the_first_two_threads_on_one_core_and_cross_socket_on_two_sockets() {
        let smt = TWO_SOCKETS.place("smt", 2).unwrap();
        assert_eq!(TWO_SOCKETS.core_of(smt[0]), TWO_SOCKETS.core_of(smt[1]));
        let cross = TWO_SOCKETS.place("cross-socket", 2).unwrap();
        assert_eq!(
            TWO_SOCKETS.distance(cross[0], cross[1]),
            Distance::OtherSocket
        );
        let llc = TWO_SOCKETS.place("cross-llc", 2).unwrap();
        assert_eq!(TWO_SOCKETS.distance(llc[0], llc[1]), Distance::OtherLlc);
    }
}
