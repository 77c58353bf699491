//! The shape of a simulated machine: sockets, last-level caches, cores and SMT threads.
//!
//! CPUs are numbered as Linux numbers them: first one thread of every core, socket by socket, then
//! the second thread of every core. Not here: which CPU a thread gets
//! (`machine::Placement`).

use crate::error::{Error, Result};
use crate::machine::{Cpu, CpuId, Distance, Llc, Placement, Topology};

/// Sockets, clusters, cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sockets.
    pub sockets: usize,
    /// Last-level caches (clusters) in a socket.
    pub llcs_per_socket: usize,
    /// Cores under one last-level cache.
    pub cores_per_llc: usize,
    /// SMT threads of a core.
    pub threads_per_core: usize,
}

impl Shape {
    /// Cores of the machine.
    #[inline]
    pub fn cores(&self) -> usize {
        self.sockets * self.cores_per_socket()
    }

    /// Cores of one socket.
    #[inline]
    pub fn cores_per_socket(&self) -> usize {
        self.llcs_per_socket * self.cores_per_llc
    }

    /// CPUs (SMT threads) of the machine.
    pub fn cpus(&self) -> usize {
        self.cores() * self.threads_per_core
    }

    /// Last-level caches of the machine.
    #[inline]
    pub fn clusters(&self) -> usize {
        self.sockets * self.llcs_per_socket
    }

    /// The core of a CPU.
    #[inline]
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
            Distance::SmtSibling
        } else if self.cluster_of(a) == self.cluster_of(b) {
            Distance::SameLlc
        } else if self.socket_of(a) == self.socket_of(b) {
            Distance::OtherLlc
        } else {
            Distance::OtherPackage
        }
    }

    /// The same machine as the rest of `hitm` describes one.
    pub fn topology(&self, llc_bytes: usize) -> Topology {
        let mut cpus: Vec<Cpu> = (0..self.cpus())
            .map(|id| {
                let core = self.core_of(id);
                Cpu {
                    id: CpuId(id),
                    core,
                    smt_rank: id / self.cores(),
                    llc: Some(self.cluster_of(core)),
                    node: Some(self.socket_of(core)),
                    package: self.socket_of(core),
                    kind: 0,
                    allowed: true,
                }
            })
            .collect();
        cpus.sort_by_key(|cpu| (cpu.core, cpu.smt_rank));
        let llc = Llc {
            level: 3,
            bytes: Some(llc_bytes as u64),
        };
        Topology {
            cpus,
            offline: Vec::new(),
            llcs: vec![llc; self.clusters()],
            kinds: vec!["core".to_owned()],
        }
    }

    /// The CPU of each of `threads` threads. A simulated machine cannot be refused: what it lacks
    /// is a mistake in the arguments.
    pub fn place(&self, placement: &Placement, threads: usize) -> Result<Vec<usize>> {
        let order = placement
            .order(&self.topology(0))
            .map_err(|error| Error::Input(error.to_string()))?;
        if threads == 0 || threads > order.len() {
            return Err(Error::Input(format!(
                "{threads} threads do not fit: placement {placement} has room for {} on this \
                 machine (allowed: 1 to {})",
                order.len(),
                order.len()
            )));
        }
        Ok(order[..threads].iter().map(|cpu| cpu.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_the_shape_are_those_of_its_topology() {
        let shape = Shape {
            sockets: 2,
            llcs_per_socket: 2,
            cores_per_llc: 3,
            threads_per_core: 2,
        };
        let topology = shape.topology(1 << 20);
        for a in &topology.cpus {
            for b in &topology.cpus {
                assert_eq!(
                    shape.distance(shape.core_of(a.id.0), shape.core_of(b.id.0)),
                    a.distance(b)
                );
            }
        }
    }
}
