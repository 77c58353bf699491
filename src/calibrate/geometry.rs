//! Shape and caches of a machine as the simulator describes one: all alike, from hwloc alone.
//!
//! Here: what hwloc says, levelled where a real machine is uneven. Not here: anything measured.

use crate::error::{Error, Result};
use crate::machine::{Cpu, Llc, Topology, hwloc_of};
use hwlocality::Topology as Hwloc;
use hwlocality::object::attributes::{CacheAssociativity, ObjectAttributes};
use hwlocality::object::types::ObjectType;
use std::collections::BTreeMap;

/// One cache of a core, or the last-level cache above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheGeometry {
    /// Size.
    pub bytes: usize,
    /// Lines in a set, where known.
    pub ways: Option<usize>,
    /// Whether it holds everything the caches below it hold, where known.
    pub inclusive: Option<bool>,
}

/// A machine whose sockets, clusters and cores are all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Sockets.
    pub sockets: usize,
    /// Last-level caches in a socket.
    pub llcs_per_socket: usize,
    /// Cores under one last-level cache.
    pub cores_per_llc: usize,
    /// Hardware threads of a core.
    pub threads_per_core: usize,
    /// What was levelled, one phrase for each.
    pub levelled: Vec<String>,
    /// First-level data cache, where known.
    pub l1: Option<CacheGeometry>,
    /// Second-level cache, where known.
    pub l2: Option<CacheGeometry>,
    /// Last-level cache, where known.
    pub llc: Option<CacheGeometry>,
}

impl Geometry {
    /// The machine this process runs on, of which `topology` was read.
    pub fn here(topology: &Topology) -> Result<Geometry> {
        let hwloc = Hwloc::new()
            .map_err(|why| Error::Refused(format!("hwloc cannot read this machine: {why}")))?;
        Ok(Geometry::of(topology, &hwloc))
    }

    /// A machine written as an hwloc synthetic description.
    pub fn from_synthetic(description: &str) -> Result<Geometry> {
        let topology = Topology::from_synthetic(description)?;
        Ok(Geometry::of(&topology, &hwloc_of(description)?))
    }

    fn of(topology: &Topology, hwloc: &Hwloc) -> Geometry {
        let mut levelled = Vec::new();
        let mut per = |what: &str, members: BTreeMap<usize, usize>| {
            let most = members.values().copied().max().unwrap_or(1);
            let fewest = members.values().copied().min().unwrap_or(1);
            if most != fewest {
                levelled.push(format!("{what}: {fewest} to {most} here, {most} assumed"));
            }
            most
        };
        // A core that shares no known cache counts as one of its package's only cluster.
        let cluster = |cpu: &Cpu| (cpu.package, cpu.llc);
        let mut clusters: BTreeMap<(usize, Option<usize>), Vec<usize>> = BTreeMap::new();
        let mut threads: BTreeMap<usize, usize> = BTreeMap::new();
        for cpu in &topology.cpus {
            let cores = clusters.entry(cluster(cpu)).or_default();
            if !cores.contains(&cpu.core) {
                cores.push(cpu.core);
            }
            *threads.entry(cpu.core).or_default() += 1;
        }
        let mut of_package: BTreeMap<usize, usize> = BTreeMap::new();
        for (package, _) in clusters.keys() {
            *of_package.entry(*package).or_default() += 1;
        }
        let sizes = clusters.values().map(Vec::len).enumerate().collect();
        let mut geometry = Geometry {
            sockets: of_package.len().max(1),
            llcs_per_socket: per("last-level caches of a socket", of_package),
            cores_per_llc: per("cores under a last-level cache", sizes),
            threads_per_core: per("hardware threads of a core", threads),
            levelled: Vec::new(),
            l1: cache(hwloc, ObjectType::L1Cache),
            l2: cache(hwloc, ObjectType::L2Cache),
            llc: None,
        };
        geometry.llc = match topology.llcs.first() {
            Some(Llc { level: 2, .. }) => geometry.l2,
            Some(Llc { level: 4, .. }) => cache(hwloc, ObjectType::L4Cache),
            Some(_) => cache(hwloc, ObjectType::L3Cache),
            None => None,
        };
        if geometry.threads_per_core > MOST_THREADS {
            levelled.push(format!(
                "hardware threads of a core: {} here, the model has {MOST_THREADS}",
                geometry.threads_per_core
            ));
            geometry.threads_per_core = MOST_THREADS;
        }
        geometry.levelled = levelled;
        geometry
    }
}

/// Hardware threads of a core that the model has at most.
const MOST_THREADS: usize = 2;

/// The first cache of that level.
fn cache(hwloc: &Hwloc, level: ObjectType) -> Option<CacheGeometry> {
    let object = hwloc.objects_with_type(level).next()?;
    let Some(ObjectAttributes::Cache(attributes)) = object.attributes() else {
        return None;
    };
    let inclusive = object.info("Inclusive").and_then(|text| text.to_str().ok());
    Some(CacheGeometry {
        bytes: usize::try_from(u64::from(attributes.size()?)).ok()?,
        ways: match attributes.associativity() {
            CacheAssociativity::Ways(ways) => Some(ways.get()),
            _ => None,
        },
        inclusive: inclusive.map(|text| text == "1"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(description: &str) -> [usize; 4] {
        let g = Geometry::from_synthetic(description).unwrap();
        [
            g.sockets,
            g.llcs_per_socket,
            g.cores_per_llc,
            g.threads_per_core,
        ]
    }

    #[test]
    fn the_shape_is_the_one_hwloc_describes() {
        assert_eq!(shape("pack:2 l3:1 core:14 pu:2"), [2, 1, 14, 2]);
        assert_eq!(shape("pack:1 l3:4 core:3 pu:1"), [1, 4, 3, 1]);
        assert_eq!(shape("pack:2 l3:12 core:8 pu:2"), [2, 12, 8, 2]);
    }

    #[test]
    fn cores_without_a_shared_cache_are_one_cluster_of_their_socket() {
        assert_eq!(shape("pack:2 core:4 pu:1"), [2, 1, 4, 1]);
        assert_eq!(
            Geometry::from_synthetic("pack:1 core:2 pu:1").unwrap().llc,
            None
        );
    }

    #[test]
    fn what_the_model_cannot_hold_is_levelled_and_said() {
        let four = Geometry::from_synthetic("pack:1 l3:1 core:2 pu:4").unwrap();
        assert_eq!(four.threads_per_core, 2);
        assert_eq!(four.levelled.len(), 1, "{:?}", four.levelled);
    }
}
