//! What the CPUs of a machine share: cores, last-level caches, packages.
//!
//! Here: reading hwloc into plain data, and how far two CPUs are apart. Not here: which CPU a
//! thread gets (`placement`).

use crate::error::{Error, Result};
use crate::units;
use hwlocality::Topology as Hwloc;
use hwlocality::object::TopologyObject;
use hwlocality::object::attributes::ObjectAttributes;
use hwlocality::object::types::ObjectType;
use hwlocality::topology::builder::{BuildFlags, TopologyBuilder};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

/// The number the operating system gives a CPU (a hardware thread), as in `taskset -c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuId(pub usize);

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One online CPU and what it belongs to.
///
/// `core`, `llc` and `package` are numbered from 0 over the whole machine, neighbours first, so
/// that they can be compared between any two CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// The operating system's number.
    pub id: CpuId,
    /// Physical core.
    pub core: usize,
    /// Rank among the hardware threads of its core, from 0.
    pub smt_rank: usize,
    /// Last-level cache, an index into [`Topology::llcs`]; `None` where no cache is known to be
    /// shared between cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llc: Option<usize>,
    /// NUMA node, the operating system's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// Package (socket).
    pub package: usize,
    /// Kind of core, an index into [`Topology::kinds`].
    pub kind: usize,
    /// Whether this process may run there: cgroup cpuset and affinity mask both permit it.
    pub allowed: bool,
}

/// A last-level cache: the L3 above a core, or, on a core without one, the outermost cache that
/// it shares with another core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Llc {
    /// 3 for an L3.
    pub level: usize,
    /// Size, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// How far apart two CPUs are: the nearest thing they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Two hardware threads of one core.
    SmtSibling,
    /// Two cores below one last-level cache.
    SameLlc,
    /// Two cores of one package that share no known cache.
    OtherLlc,
    /// Two packages.
    OtherPackage,
}

impl Distance {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Distance::SmtSibling => "SMT sibling",
            Distance::SameLlc => "same LLC",
            Distance::OtherLlc => "other LLC",
            Distance::OtherPackage => "other socket",
        }
    }
}

/// The CPUs of a machine as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// Online CPUs, neighbours side by side: by package, last-level cache, core, SMT rank.
    pub cpus: Vec<Cpu>,
    /// CPUs that exist but are switched off; what they share is not known.
    pub offline: Vec<CpuId>,
    /// The last-level caches.
    pub llcs: Vec<Llc>,
    /// Names of the kinds of core, weakest first; one entry where all cores are alike.
    pub kinds: Vec<String>,
}

impl Topology {
    /// The machine this process runs on.
    ///
    /// [`Cpu::allowed`] reflects the affinity of the calling thread: call this before pinning it.
    pub fn here() -> Result<Topology> {
        let hwloc = build(TopologyBuilder::new())
            .map_err(|why| Error::Refused(format!("hwloc cannot read this machine: {why}")))?;
        if !hwloc.is_this_system() {
            return Err(Error::Refused(
                "hwloc describes another machine than this one, probably because HWLOC_XMLFILE or \
                 HWLOC_SYNTHETIC is set; unset it"
                    .to_owned(),
            ));
        }
        let affinity = rustix::thread::sched_getaffinity(None).map_err(|why| {
            Error::Refused(format!(
                "the affinity of this process cannot be read ({why}); machines of more than {} \
                 CPUs are not supported",
                rustix::thread::CpuSet::MAX_CPU
            ))
        })?;
        let mut topology = read(&hwloc)?;
        for cpu in &mut topology.cpus {
            cpu.allowed &= cpu.id.0 < rustix::thread::CpuSet::MAX_CPU && affinity.is_set(cpu.id.0);
        }
        Ok(topology)
    }

    /// A machine written as an hwloc synthetic description, such as
    /// `pack:2 l3:1 core:14 pu:2`.
    pub fn from_synthetic(description: &str) -> Result<Topology> {
        read(&hwloc_of(description)?)
    }

    /// A machine exported by `lstopo --of xml`.
    pub fn from_xml(path: &Path) -> Result<Topology> {
        let input = |why: &dyn fmt::Display| {
            Error::Input(format!(
                "{}: no hwloc XML: {why}; `lstopo --of xml` writes one",
                path.display()
            ))
        };
        // Read here rather than by hwloc, which takes a missing file for an invalid one.
        let xml = std::fs::read_to_string(path)
            .map_err(|why| Error::Input(format!("{}: {why}", path.display())))?;
        let builder = TopologyBuilder::new()
            .from_xml(&xml)
            .map_err(|why| input(&why))?;
        read(&build(builder).map_err(|why| input(&why))?)
    }

    /// The CPU of that number, if it is online.
    pub fn cpu(&self, id: CpuId) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }

    /// The CPUs this process may run on.
    pub fn allowed(&self) -> impl Iterator<Item = &Cpu> + Clone {
        self.cpus.iter().filter(|cpu| cpu.allowed)
    }

    /// Whether cores differ in kind (performance and efficiency cores).
    pub fn is_hybrid(&self) -> bool {
        self.kinds.len() > 1
    }

    /// Number of packages with an online CPU.
    pub fn packages(&self) -> usize {
        count(self.cpus.iter().map(|cpu| cpu.package))
    }

    /// Number of physical cores with an online CPU.
    pub fn cores(&self) -> usize {
        count(self.cpus.iter().map(|cpu| cpu.core))
    }

    /// Number of NUMA nodes with an online CPU.
    pub fn nodes(&self) -> usize {
        count(self.cpus.iter().filter_map(|cpu| cpu.node))
    }

    /// The machine in one line: `2 sockets, 2 LLCs, 28 cores, 56 CPUs (4 offline, 2 not allowed)`.
    pub fn summary(&self) -> String {
        let mut parts = vec![units::count(self.packages(), "socket")];
        if !self.llcs.is_empty() {
            parts.push(units::count(self.llcs.len(), "LLC"));
        }
        parts.push(units::count(self.cores(), "core"));
        parts.push(units::count(self.cpus.len(), "CPU"));
        let disallowed = self.cpus.len() - self.allowed().count();
        let apart: Vec<String> = [(self.offline.len(), "offline"), (disallowed, "not allowed")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        let mut summary = parts.join(", ");
        if !apart.is_empty() {
            summary += &format!(" ({})", apart.join(", "));
        }
        if self.is_hybrid() {
            summary += &format!("; core kinds: {}", self.kinds.join(", "));
        }
        summary
    }
}

impl Cpu {
    /// How far `other` is from this CPU.
    pub fn distance(&self, other: &Cpu) -> Distance {
        if self.core == other.core {
            Distance::SmtSibling
        } else if self.llc.is_some() && self.llc == other.llc {
            Distance::SameLlc
        } else if self.package == other.package {
            Distance::OtherLlc
        } else {
            Distance::OtherPackage
        }
    }
}

fn count(numbers: impl Iterator<Item = usize>) -> usize {
    numbers.collect::<BTreeSet<_>>().len()
}

/// Disallowed CPUs are part of the machine: a refusal has to name them.
fn build(builder: TopologyBuilder) -> std::result::Result<Hwloc, String> {
    builder
        .with_flags(BuildFlags::INCLUDE_DISALLOWED)
        .map_err(|why| why.to_string())?
        .build()
        .map_err(|why| why.to_string())
}

/// hwloc's view of a machine written as a synthetic description.
pub fn hwloc_of(description: &str) -> Result<Hwloc> {
    let builder = TopologyBuilder::new().from_synthetic(description);
    let built = builder.map_err(|why| why.to_string()).and_then(build);
    built.map_err(|why| {
        Error::Input(format!(
            "'{description}' is no hwloc synthetic description: {why}"
        ))
    })
}

/// Numbers objects from 0 in the order in which they are first met.
#[derive(Default)]
struct Numbering(HashMap<u64, usize>);

impl Numbering {
    fn of(&mut self, object: &TopologyObject) -> usize {
        let next = self.0.len();
        *self
            .0
            .entry(object.global_persistent_index())
            .or_insert(next)
    }
}

fn read(hwloc: &Hwloc) -> Result<Topology> {
    let allowed = hwloc.allowed_cpuset();
    let online = hwloc.cpuset();
    let kinds = read_kinds(hwloc);
    let (mut cores, mut packages, mut llc_numbers) = <(Numbering, Numbering, Numbering)>::default();
    let mut smt_ranks: HashMap<usize, usize> = HashMap::new();
    let mut llcs = Vec::new();
    let mut cpus = Vec::new();
    for pu in hwloc.objects_with_type(ObjectType::PU) {
        let Some(id) = pu.os_index() else { continue };
        let above = |ty| pu.first_ancestor_with_type(ty);
        let core_object = above(ObjectType::Core).unwrap_or(pu);
        let core = cores.of(core_object);
        let smt_rank = *smt_ranks
            .entry(core)
            .and_modify(|rank| *rank += 1)
            .or_insert(0);
        let llc = last_level_cache(core_object).map(|cache| {
            let number = llc_numbers.of(cache);
            if number == llcs.len() {
                llcs.push(describe_cache(cache));
            }
            number
        });
        let node = pu
            .nodeset()
            .and_then(|set| set.first_set())
            .map(usize::from);
        cpus.push(Cpu {
            id: CpuId(id),
            core,
            smt_rank,
            llc,
            node,
            package: above(ObjectType::Package).map_or(0, |object| packages.of(object)),
            kind: kinds
                .iter()
                .position(|(_, set)| set.contains(&id))
                .unwrap_or(0),
            allowed: allowed.is_set(id),
        });
    }
    if cpus.is_empty() {
        return Err(Error::Input(
            "hwloc describes a machine without CPUs".to_owned(),
        ));
    }
    let offline = hwloc
        .complete_cpuset()
        .iter_set()
        .filter(|&index| !online.is_set(index))
        .map(|index| CpuId(usize::from(index)))
        .collect();
    Ok(Topology {
        cpus,
        offline,
        llcs,
        kinds: kinds.into_iter().map(|(name, _)| name).collect(),
    })
}

/// The kinds of core, weakest first, with the CPUs of each. hwloc splits by frequency too; kinds
/// of one core type are one kind here.
fn read_kinds(hwloc: &Hwloc) -> Vec<(String, BTreeSet<usize>)> {
    let mut kinds: Vec<(String, BTreeSet<usize>)> = Vec::new();
    for (number, kind) in hwloc.cpu_kinds().into_iter().flatten().enumerate() {
        let infos: Vec<(String, String)> = kind
            .infos
            .iter()
            .map(|info| {
                (
                    info.name().to_string_lossy().into_owned(),
                    info.value().to_string_lossy().into_owned(),
                )
            })
            .collect();
        let name = match infos.iter().find(|(name, _)| name == "CoreType") {
            Some((_, core_type)) => core_type.clone(),
            None => match infos.first() {
                Some((name, value)) => format!("{name}={value}"),
                None => format!("kind {number}"),
            },
        };
        let cpus = kind.cpuset.iter_set().map(usize::from);
        match kinds.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.extend(cpus),
            None => kinds.push((name, cpus.collect())),
        }
    }
    if kinds.is_empty() {
        kinds.push(("uniform".to_owned(), BTreeSet::new()));
    }
    kinds
}

/// The last-level cache of a core, see [`Llc`].
fn last_level_cache(core: &TopologyObject) -> Option<&TopologyObject> {
    if let Some(l3) = core.first_ancestor_with_type(ObjectType::L3Cache) {
        return Some(l3);
    }
    let cpus = |object: &TopologyObject| object.cpuset().and_then(|set| set.weight());
    core.ancestors()
        .filter(|object| object.object_type().is_cpu_data_cache())
        .filter(|cache| cpus(cache) > cpus(core))
        .last()
}

fn describe_cache(cache: &TopologyObject) -> Llc {
    match cache.attributes() {
        Some(ObjectAttributes::Cache(attributes)) => Llc {
            level: attributes.depth(),
            bytes: attributes.size().map(u64::from),
        },
        _ => Llc {
            level: 3,
            bytes: None,
        },
    }
}
