//! Placement: which CPU each thread is pinned to, chosen by what CPUs share.
//!
//! A pure function of a [`Topology`], so that every placement can be tested for machines that are
//! not here. Not here: the pinning itself (`pin`).

use super::cpu_list;
use super::topology::{Cpu, CpuId, Topology};
use crate::error::{Error, Result};
use crate::text::serde_as_text;
use crate::units;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// How threads are placed on CPUs. Every placement is an order of CPUs; `n` threads take its
/// first `n`. Only CPUs this process may use take part.
///
/// "Core by core" below means: one hardware thread of every core first, in the order of the
/// topology, and SMT siblings only when every core has a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Placement {
    /// Near each other: the cores of one LLC, then the next LLC of the same socket, then the next
    /// socket; SMT siblings only when every core of the machine has a thread.
    Compact,
    /// Far from each other: round over the sockets, within a socket round over its LLCs; SMT
    /// siblings only when every core of the machine has a thread.
    Scatter,
    /// On SMT siblings: all hardware threads of one core, then those of the next. Cores with one
    /// usable hardware thread are left out.
    Smt,
    /// All below one LLC, that with the most usable CPUs (the first of them), core by core.
    OneLlc,
    /// On the LLCs of one socket in turn, that with the most usable LLCs: neighbouring threads
    /// never share an LLC. Within an LLC core by core.
    CrossLlc,
    /// On the sockets in turn: neighbouring threads are never on one socket. Within a socket as
    /// `Compact`.
    CrossSocket,
    /// These CPUs, in this order; all different.
    Explicit(Vec<CpuId>),
}

/// The CPUs of a set of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// CPU of each thread. A CPU occurs twice only when oversubscription was asked for.
    pub cpus: Vec<CpuId>,
    /// What a reader of the results has to know about this plan: mixed kinds of core,
    /// oversubscription.
    pub warnings: Vec<String>,
}

impl Placement {
    /// The placements that have a name.
    pub const NAMED: [Placement; 6] = [
        Placement::Compact,
        Placement::Scatter,
        Placement::Smt,
        Placement::OneLlc,
        Placement::CrossLlc,
        Placement::CrossSocket,
    ];

    /// One CPU for each of `threads` threads.
    ///
    /// # Errors
    ///
    /// `Input` for no threads; `Refused` where the machine lacks what the placement is about, and
    /// for more threads than it has CPUs for, unless `oversubscribe`: then threads go round.
    pub fn plan(&self, topology: &Topology, threads: usize, oversubscribe: bool) -> Result<Plan> {
        if threads == 0 {
            return Err(Error::Input(
                "0 threads cannot be placed; give at least 1".to_owned(),
            ));
        }
        let order = self.order(topology)?;
        if threads > order.len() && !oversubscribe {
            return Err(Error::Refused(format!(
                "{threads} threads do not fit: placement {self} has room for {} here; possible: \
                 {}; or let threads share CPUs with --oversubscribe",
                order.len(),
                describe_possible(topology),
            )));
        }
        let cpus: Vec<CpuId> = order.iter().copied().cycle().take(threads).collect();
        let mut warnings = Vec::new();
        if threads > order.len() {
            warnings.push(format!(
                "{threads} threads share {}: a waiting thread is switched out, and samples count \
                 as disturbed",
                units::count(order.len(), "CPU"),
            ));
        }
        warnings.extend(mixed_kinds(topology, &cpus));
        Ok(Plan { cpus, warnings })
    }

    /// All CPUs this placement can use here, in the order threads get them.
    ///
    /// # Errors
    ///
    /// `Refused` where the machine lacks what the placement is about, or a listed CPU.
    pub fn order(&self, topology: &Topology) -> Result<Vec<CpuId>> {
        if let Placement::Explicit(list) = self {
            for &cpu in list {
                check_listed(topology, cpu)?;
            }
            return Ok(list.clone());
        }
        let order = self.candidates(topology);
        if order.is_empty() {
            return Err(Error::Refused(format!(
                "placement {self} needs {}; this machine has {}; possible: {}",
                self.needs(),
                topology.summary(),
                describe_possible(topology),
            )));
        }
        Ok(order.into_iter().map(|cpu| cpu.id).collect())
    }

    /// What a machine must have for it, in words.
    pub fn needs(&self) -> &'static str {
        match self {
            Placement::Compact | Placement::Scatter => "a CPU this process may use",
            Placement::Smt => "two usable SMT siblings on a core",
            Placement::OneLlc => "a known last-level cache",
            Placement::CrossLlc => "two usable last-level caches in one socket",
            Placement::CrossSocket => "two usable sockets",
            Placement::Explicit(_) => "these CPUs",
        }
    }

    /// As `order`, empty where the machine lacks what the placement is about.
    fn candidates<'t>(&self, topology: &'t Topology) -> Vec<&'t Cpu> {
        let usable: Vec<&Cpu> = topology.allowed().collect();
        let with_llc = || usable.iter().copied().filter(|cpu| cpu.llc.is_some());
        match self {
            Placement::Compact => core_by_core(usable),
            Placement::Scatter => {
                let spread = |rank: Vec<&'t Cpu>| {
                    in_turn(
                        groups(rank, |cpu| cpu.package)
                            .map(|package| in_turn(groups(package, |cpu| cpu.llc))),
                    )
                };
                let ranks = ranked(usable).into_iter();
                groups(ranks, |(rank, _)| *rank)
                    .flat_map(|rank| spread(rank.into_iter().map(|(_, cpu)| cpu).collect()))
                    .collect()
            }
            Placement::Smt => groups(usable, |cpu| cpu.core)
                .filter(|siblings| siblings.len() > 1)
                .flatten()
                .collect(),
            Placement::OneLlc => {
                let llcs = groups(with_llc(), |cpu| cpu.llc);
                core_by_core(first_largest(llcs, Vec::len))
            }
            Placement::CrossLlc => {
                let packages = groups(with_llc(), |cpu| cpu.package)
                    .map(|package| groups(package, |cpu| cpu.llc).collect::<Vec<_>>());
                alternate(first_largest(packages, Vec::len))
            }
            Placement::CrossSocket => alternate(groups(usable, |cpu| cpu.package).collect()),
            Placement::Explicit(list) => list.iter().filter_map(|&id| topology.cpu(id)).collect(),
        }
    }
}

/// The named placements possible on a machine, each with the most threads it has room for.
pub fn possible(topology: &Topology) -> Vec<(Placement, usize)> {
    Placement::NAMED
        .into_iter()
        .map(|placement| {
            let room = placement.candidates(topology).len();
            (placement, room)
        })
        .filter(|(_, room)| *room > 0)
        .collect()
}

/// `compact (56), one-llc (28)`.
fn describe_possible(topology: &Topology) -> String {
    let possible: Vec<String> = possible(topology)
        .into_iter()
        .map(|(placement, room)| format!("{placement} ({room})"))
        .collect();
    if possible.is_empty() {
        "none".to_owned()
    } else {
        possible.join(", ")
    }
}

/// Why a listed CPU cannot be used, if it cannot.
fn check_listed(topology: &Topology, id: CpuId) -> Result<()> {
    let why = match topology.cpu(id) {
        Some(cpu) if cpu.allowed => return Ok(()),
        Some(_) => {
            "is not allowed to this process (cgroup cpuset or affinity mask); widen it, or choose"
        }
        None if topology.offline.contains(&id) => {
            "is offline; switch it on in /sys/devices/system/cpu, or choose"
        }
        None => "does not exist; choose",
    };
    let usable: Vec<CpuId> = topology.allowed().map(|cpu| cpu.id).collect();
    Err(Error::Refused(format!(
        "CPU {id} {why} from {}",
        cpu_list::format(sorted(usable))
    )))
}

/// The warning for a plan on cores of several kinds.
fn mixed_kinds(topology: &Topology, cpus: &[CpuId]) -> Option<String> {
    let mut by_kind: BTreeMap<usize, Vec<CpuId>> = BTreeMap::new();
    for cpu in cpus.iter().filter_map(|&id| topology.cpu(id)) {
        by_kind.entry(cpu.kind).or_default().push(cpu.id);
    }
    if by_kind.len() < 2 {
        return None;
    }
    let kinds: Vec<String> = by_kind
        .into_iter()
        .map(|(kind, cpus)| {
            format!(
                "{} on CPU {}",
                topology.kinds[kind],
                cpu_list::format(sorted(cpus))
            )
        })
        .collect();
    Some(format!(
        "threads run on different kinds of core ({}): threads are not alike; for one kind, list \
         its CPUs",
        kinds.join(", ")
    ))
}

/// The CPUs with their rank among the usable siblings of their core.
fn ranked(cpus: Vec<&Cpu>) -> Vec<(usize, &Cpu)> {
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    cpus.into_iter()
        .map(|cpu| {
            let rank = seen.entry(cpu.core).or_insert(0);
            *rank += 1;
            (*rank, cpu)
        })
        .collect()
}

/// One hardware thread of every core first, then their siblings.
fn core_by_core(cpus: Vec<&Cpu>) -> Vec<&Cpu> {
    let mut ranked = ranked(cpus);
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, cpu)| cpu).collect()
}

/// Items with the same key together, by key; their order is kept.
fn groups<T, K: Ord>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> impl Iterator<Item = Vec<T>> {
    let mut groups: BTreeMap<K, Vec<T>> = BTreeMap::new();
    for item in items {
        groups.entry(key(&item)).or_default().push(item);
    }
    groups.into_values()
}

/// The first of each group, then the second of each, and so on.
fn in_turn<T>(groups: impl IntoIterator<Item = Vec<T>>) -> Vec<T> {
    let mut indexed: Vec<(usize, T)> = groups
        .into_iter()
        .flat_map(|group| group.into_iter().enumerate())
        .collect();
    indexed.sort_by_key(|(index, _)| *index);
    indexed.into_iter().map(|(_, item)| item).collect()
}

/// Groups in turn, each core by core, for as long as neighbours are of different groups.
fn alternate(groups: Vec<Vec<&Cpu>>) -> Vec<&Cpu> {
    if groups.len() < 2 {
        return Vec::new();
    }
    let tagged = groups.into_iter().enumerate().map(|(number, group)| {
        let cpus = core_by_core(group);
        cpus.into_iter().map(|cpu| (number, cpu)).collect()
    });
    let tagged: Vec<(usize, &Cpu)> = in_turn(tagged);
    let alike = tagged.windows(2).position(|pair| pair[0].0 == pair[1].0);
    let end = alike.map_or(tagged.len(), |index| index + 1);
    tagged[..end].iter().map(|(_, cpu)| *cpu).collect()
}

/// The largest item, the first of several.
fn first_largest<T: Default>(items: impl Iterator<Item = T>, size: impl Fn(&T) -> usize) -> T {
    items
        .reduce(|best, item| {
            if size(&item) > size(&best) {
                item
            } else {
                best
            }
        })
        .unwrap_or_default()
}

fn sorted(mut cpus: Vec<CpuId>) -> Vec<CpuId> {
    cpus.sort_unstable();
    cpus
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Placement::Compact => "compact",
            Placement::Scatter => "scatter",
            Placement::Smt => "smt",
            Placement::OneLlc => "one-llc",
            Placement::CrossLlc => "cross-llc",
            Placement::CrossSocket => "cross-socket",
            Placement::Explicit(cpus) => return f.pad(&cpu_list::format(cpus.iter().copied())),
        })
    }
}

impl FromStr for Placement {
    type Err = Error;

    /// A name, or a list of CPUs such as `0,2,4-7`.
    fn from_str(text: &str) -> Result<Placement> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return listed(text).map(Placement::Explicit);
        }
        Placement::NAMED
            .into_iter()
            .find(|placement| placement.to_string() == text)
            .ok_or_else(|| {
                let names = Placement::NAMED.map(|placement| placement.to_string());
                Error::unknown("placement", text, names.iter().map(String::as_str))
            })
    }
}

serde_as_text!(Placement);

/// The CPUs of a list, which may name each only once.
fn listed(text: &str) -> Result<Vec<CpuId>> {
    let cpus = cpu_list::parse(text)?;
    let mut seen = BTreeSet::new();
    match cpus.iter().find(|cpu| !seen.insert(**cpu)) {
        None => Ok(cpus),
        Some(twice) => Err(Error::Input(format!(
            "CPU list '{text}': CPU {twice} occurs twice; for threads that share a CPU list it \
             once and give --oversubscribe"
        ))),
    }
}
