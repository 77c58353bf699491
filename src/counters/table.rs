//! The data: roles, and event tables by microarchitecture.
//!
//! Here: their shapes, and how an event becomes perf's numbers. The data itself is in
//! `events/*.toml`, compiled in; a new microarchitecture is one file there and one line in
//! `TABLES`.

use crate::error::{Error, Result};
use crate::machine::cpu::CoreKind;
use crate::machine::{CpuModel, Distance, Vendor};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

macro_rules! embedded {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("events/", $file)))),*]
    };
}

/// One line for each event table.
const TABLES: &[(&str, &str)] = embedded![
    "haswell-client.toml",
    "haswell-ep.toml",
    "broadwell-client.toml",
    "broadwell-ep.toml",
    "skylake-client.toml",
    "skylake-sp.toml",
    "cascadelake-sp.toml",
    "icelake-client.toml",
    "icelake-sp.toml",
    "sapphirerapids.toml",
    "emeraldrapids.toml",
    "graniterapids.toml",
    "sierraforest.toml",
    "alderlake-p.toml",
    "alderlake-e.toml",
    "amdzen2.toml",
    "amdzen3.toml",
    "amdzen4.toml",
    "amdzen5.toml",
    "neoverse-n1.toml",
    "neoverse-v1.toml",
    "neoverse-n2-v2.toml",
];

/// What a counter stands for, on every machine that has it. The name is the CSV column.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterRole {
    /// Name in CSV and tables.
    pub name: String,
    /// Unit of the value over the measured window.
    pub unit: String,
    /// What one event means.
    pub counts: String,
    /// What it does not mean.
    pub not: Option<String>,
    /// The load that must raise it.
    pub proof: Option<Proof>,
    /// The kernel counts it itself; no PMU is needed.
    pub(super) software: Option<Software>,
    /// Why a vendor has no such event.
    #[serde(default)]
    absent: BTreeMap<Vendor, String>,
}

/// A load that must raise a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Any load.
    Any,
    /// Two threads that fight over lines, on two CPUs this far apart.
    #[serde(untagged)]
    Sharing(Distance),
}

/// A counter of the kernel: `PERF_COUNT_SW_*` of `linux/perf_event.h`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Software {
    pub config: u64,
    /// It is raised while the CPU is in the kernel: excluding the kernel would leave it at 0.
    #[serde(default)]
    pub in_kernel: bool,
}

/// The counter events of one microarchitecture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTable {
    /// Its name on the command line.
    pub arch: String,
    /// Its name for people.
    pub title: String,
    /// Where the encodings come from.
    pub source: String,
    /// Licence of that source.
    pub licence: String,
    /// General-purpose counters of one hardware thread.
    pub general_counters: usize,
    /// Counters that can hold an event whose own mask is not given; all of them if absent.
    default_mask: Option<u64>,
    /// Offcore-response registers: how many different `offcore` values count at once.
    #[serde(default)]
    pub offcore_registers: usize,
    cpu: Vec<CpuMatch>,
    /// The event that serves each role, by role.
    pub roles: BTreeMap<String, Served>,
    #[serde(default)]
    absent: BTreeMap<String, String>,
    /// All events of the table, by the vendor's name.
    pub events: BTreeMap<String, Event>,
}

/// An event in a role.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Served {
    /// The vendor's name of the event.
    pub event: String,
    /// What it does not mean on this machine, beyond [`CounterRole::not`].
    not: Option<String>,
}

/// One event of a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Event select.
    pub code: u16,
    /// Unit mask.
    #[serde(default)]
    pub umask: u8,
    /// Counter mask: counts cycles in which at least so many events happened.
    #[serde(default)]
    pub cmask: u8,
    /// Value of the offcore-response register.
    pub offcore: Option<u64>,
    /// Load-latency threshold in cycles; such an event is for sampling.
    pub ldlat: Option<u64>,
    /// Number of the fixed counter that can hold it.
    pub fixed: Option<u8>,
    /// General-purpose counters that can hold it, one bit for each.
    counters: Option<u64>,
    /// It supports precise sampling (PEBS).
    #[serde(default)]
    pub pebs: bool,
    /// The PMU, where it is not the core's.
    pub pmu: Option<String>,
    /// The vendor's errata that concern it.
    pub errata: Option<String>,
    /// Another name of the same event in the same table.
    pub alias_of: Option<String>,
    /// What it counts.
    pub counts: String,
    /// The vendor does not name it: what its encoding was composed from.
    pub composed: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CpuMatch {
    vendor: Vendor,
    family: u32,
    #[serde(default)]
    models: Vec<u32>,
    #[serde(default)]
    model_ranges: Vec<[u32; 2]>,
    steppings: Option<[u32; 2]>,
    core: Option<CoreKind>,
}

#[derive(Deserialize)]
struct RoleFile {
    role: Vec<CounterRole>,
}

pub(super) fn parse<T: for<'de> Deserialize<'de>>(name: &str, text: &str) -> T {
    // The data is compiled in and a test reads all of it: a failure here is a bug.
    toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All roles, in the order they are shown.
pub fn roles() -> &'static [CounterRole] {
    static ROLES: OnceLock<Vec<CounterRole>> = OnceLock::new();
    ROLES.get_or_init(|| parse::<RoleFile>("roles", include_str!("events/roles.toml")).role)
}

/// The role of that name.
pub fn role(name: &str) -> Result<&'static CounterRole> {
    let all = roles();
    all.iter()
        .find(|role| role.name == name)
        .ok_or_else(|| Error::unknown("counter role", name, all.iter().map(|r| r.name.as_str())))
}

/// All event tables.
pub fn tables() -> &'static [EventTable] {
    static ALL: OnceLock<Vec<EventTable>> = OnceLock::new();
    ALL.get_or_init(|| {
        TABLES
            .iter()
            .map(|(name, text)| parse(name, text))
            .collect()
    })
}

/// The table for a kind of core of a CPU, if there is one.
pub fn select(cpu: &CpuModel, core: CoreKind) -> Option<&'static EventTable> {
    tables().iter().find(|table| table.is_for(cpu, core))
}

impl CpuMatch {
    fn matches(&self, cpu: &CpuModel, core: CoreKind) -> bool {
        let within = |range: &[u32; 2], value| (range[0]..=range[1]).contains(&value);
        self.vendor == cpu.vendor
            && self.family == cpu.family
            && (self.models.contains(&cpu.model)
                || self
                    .model_ranges
                    .iter()
                    .any(|range| within(range, cpu.model)))
            && self
                .steppings
                .is_none_or(|range| within(&range, cpu.stepping))
            && self.core.is_none_or(|only| only == core)
    }
}

impl CounterRole {
    /// Whether the kernel counts it, without a PMU.
    pub fn is_software(&self) -> bool {
        self.software.is_some()
    }
}

impl EventTable {
    /// The table of that name.
    pub fn parse(name: &str) -> Result<&'static EventTable> {
        let all = tables();
        all.iter().find(|table| table.arch == name).ok_or_else(|| {
            Error::unknown(
                "microarchitecture",
                name,
                all.iter().map(|t| t.arch.as_str()),
            )
        })
    }

    fn is_for(&self, cpu: &CpuModel, core: CoreKind) -> bool {
        self.cpu.iter().any(|rule| rule.matches(cpu, core))
    }

    /// Whose CPUs it is for.
    pub fn vendor(&self) -> Vendor {
        self.cpu[0].vendor
    }

    /// Which kind of core of a hybrid CPU it is for.
    pub fn core(&self) -> Option<CoreKind> {
        self.cpu[0].core
    }

    /// The event that serves a role here.
    pub fn event(&self, role: &CounterRole) -> Option<(&str, &Event)> {
        let served = self.roles.get(&role.name)?;
        Some((&served.event, &self.events[&served.event]))
    }

    /// Why a role that has no event here has none.
    pub fn why_absent(&self, role: &CounterRole) -> String {
        let said = self
            .absent
            .get(&role.name)
            .or_else(|| role.absent.get(&self.vendor()));
        match said {
            Some(reason) => format!("not on {}: {reason}", self.arch),
            None => format!("not on {}: no published event", self.arch),
        }
    }

    /// What a role does not mean here, each remark by itself, the general one first.
    pub fn caveats(&self, role: &CounterRole) -> Vec<String> {
        let mut all: Vec<String> = role.not.iter().cloned().collect();
        if let Some(served) = self.roles.get(&role.name) {
            let event = &self.events[&served.event];
            all.extend(served.not.clone());
            all.extend(
                event
                    .errata
                    .as_ref()
                    .map(|errata| format!("errata {errata}")),
            );
            all.extend(event.composed.as_ref().map(|from| {
                format!(
                    "not an event the vendor names ({from}): must be 0 with all prefetchers off"
                )
            }));
        }
        all
    }

    /// General-purpose counters that can hold the event, one bit for each.
    pub fn counter_mask(&self, event: &Event) -> u64 {
        event
            .counters
            .or(self.default_mask)
            .unwrap_or((1 << self.general_counters) - 1)
    }

    /// perf's `config`.
    ///
    /// x86: event select in bits 0-7 (AMD: its upper half in bits 32-35), unit mask in 8-15,
    /// counter mask in 24-31, as in `/sys/bus/event_source/devices/cpu/format`. Arm: the event
    /// number.
    pub fn config(&self, event: &Event) -> u64 {
        let code = u64::from(event.code);
        match self.vendor() {
            Vendor::Arm => code,
            Vendor::Intel | Vendor::Amd => {
                (code & 0xff)
                    | ((code & 0xf00) << 24)
                    | (u64::from(event.umask) << 8)
                    | (u64::from(event.cmask) << 24)
            }
        }
    }

    /// The event as `perf stat -e` takes it.
    pub fn perf_syntax(&self, event: &Event) -> String {
        if self.vendor() == Vendor::Arm {
            return format!("r{:x}", event.code);
        }
        let pmu = match (&event.pmu, self.core()) {
            (Some(pmu), _) => pmu,
            (None, Some(CoreKind::Performance)) => "cpu_core",
            (None, Some(CoreKind::Efficiency)) => "cpu_atom",
            (None, None) => "cpu",
        };
        let mut terms = format!("event={:#x},umask={:#x}", event.code, event.umask);
        for (term, value) in [
            ("cmask", (event.cmask > 0).then_some(event.cmask.into())),
            ("offcore_rsp", event.offcore),
            ("ldlat", event.ldlat),
        ] {
            if let Some(value) = value {
                terms.push_str(&format!(",{term}={value:#x}"));
            }
        }
        format!("{pmu}/{terms}/")
    }

    /// perf's `config1`: the offcore response, or the load-latency threshold.
    pub fn config1(&self, event: &Event) -> u64 {
        event.offcore.or(event.ldlat).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn intel(model: u32, stepping: u32) -> CpuModel {
        CpuModel {
            vendor: Vendor::Intel,
            family: 6,
            model,
            stepping,
        }
    }

    fn arch(cpu: &CpuModel, core: CoreKind) -> Option<&'static str> {
        select(cpu, core).map(|table| table.arch.as_str())
    }

    #[test]
    fn every_table_refers_only_to_what_exists() {
        let names: BTreeSet<&str> = roles().iter().map(|role| role.name.as_str()).collect();
        assert_eq!(names.len(), roles().len());
        for table in tables() {
            for (name, served) in &table.roles {
                assert!(names.contains(name.as_str()), "{}: {name}", table.arch);
                assert!(!role(name).unwrap().is_software(), "{}: {name}", table.arch);
                let event = table.events.get(&served.event);
                let event = event.unwrap_or_else(|| panic!("{}: {}", table.arch, served.event));
                // Only the core's own PMU counts per thread, and a threshold event only samples.
                assert!(
                    event.pmu.is_none() && event.ldlat.is_none(),
                    "{}: {name}",
                    table.arch
                );
            }
            for name in table.absent.keys() {
                assert!(names.contains(name.as_str()), "{}: {name}", table.arch);
                assert!(!table.roles.contains_key(name), "{}: {name}", table.arch);
            }
            for event in table.events.values() {
                let alias = event.alias_of.as_ref().map(|name| &table.events[name]);
                let same = alias.is_none_or(|of| table.config(of) == table.config(event));
                assert!(same, "{}: {event:?}", table.arch);
                let mask = table.counter_mask(event);
                assert!(mask > 0 && mask < 1 << table.general_counters, "{event:?}");
            }
        }
        // A role that no machine has would be a word without a meaning.
        for role in roles().iter().filter(|role| !role.is_software()) {
            assert!(
                tables().iter().any(|t| t.roles.contains_key(&role.name)),
                "{}",
                role.name
            );
        }
    }

    #[test]
    fn each_cpu_finds_the_table_of_its_model_stepping_and_core() {
        use CoreKind::{Efficiency as E, Performance as P};
        let models: &[(&str, CoreKind, &[u32])] = &[
            ("haswell-client", P, &[0x3c, 0x45, 0x46]),
            ("haswell-ep", P, &[0x3f]),
            ("broadwell-client", P, &[0x3d, 0x47]),
            ("broadwell-ep", P, &[0x4f]),
            ("skylake-client", P, &[0x4e, 0x5e, 0x8e, 0x9e, 0xa5, 0xa6]),
            ("icelake-client", P, &[0x7d, 0x7e]),
            ("icelake-sp", P, &[0x6a, 0x6c]),
            ("sapphirerapids", P, &[0x8f]),
            ("emeraldrapids", P, &[0xcf]),
            ("graniterapids", P, &[0xad, 0xae]),
            ("sierraforest", P, &[0xaf]),
            ("sierraforest", E, &[0xaf]),
            ("alderlake-p", P, &[0x97, 0x9a, 0xb7, 0xba, 0xbf]),
            ("alderlake-e", E, &[0x97, 0x9a, 0xb7, 0xba, 0xbf, 0xbe]),
        ];
        for (name, core, models) in models {
            for model in *models {
                assert_eq!(arch(&intel(*model, 1), *core), Some(*name), "{model:#x}");
            }
        }
        for stepping in 0..=15 {
            let name = if stepping <= 4 {
                "skylake-sp"
            } else {
                "cascadelake-sp"
            };
            assert_eq!(arch(&intel(0x55, stepping), P), Some(name), "{stepping}");
        }
        let amd = |family, model| CpuModel {
            vendor: Vendor::Amd,
            family,
            model,
            stepping: 1,
        };
        for (family, model, name) in [
            (0x17, 0x31, Some("amdzen2")),
            (0x17, 0x01, None),
            (0x19, 0x01, Some("amdzen3")),
            (0x19, 0x21, Some("amdzen3")),
            (0x19, 0x50, Some("amdzen3")),
            (0x19, 0x11, Some("amdzen4")),
            (0x19, 0x61, Some("amdzen4")),
            (0x19, 0xa0, Some("amdzen4")),
            (0x1a, 0x02, Some("amdzen5")),
            (0x10, 0x02, None),
        ] {
            assert_eq!(arch(&amd(family, model), P), name, "{family:#x} {model:#x}");
        }
        assert_eq!(arch(&intel(0x2a, 7), P), None);
    }

    #[test]
    fn a_midr_names_its_table() {
        // Values of the parts' Technical Reference Manuals; the revision does not matter.
        for (midr, name) in [
            ("0x00000000413fd0c1", "neoverse-n1"),
            ("0x00000000411fd401", "neoverse-v1"),
            ("0x00000000410fd493\n", "neoverse-n2-v2"),
            ("0x00000000410fd4f1", "neoverse-n2-v2"),
        ] {
            let cpu = CpuModel::from_midr(midr).unwrap();
            assert_eq!(arch(&cpu, CoreKind::Performance), Some(name), "{midr}");
        }
        assert_eq!(CpuModel::from_midr("0x00000000481fd010"), None);
        assert_eq!(CpuModel::from_midr("nonsense"), None);
    }

    #[test]
    fn no_cpu_matches_two_tables() {
        for vendor in [Vendor::Intel, Vendor::Amd] {
            for family in [6, 0x17, 0x19, 0x1a] {
                for model in 0..=0xff {
                    for stepping in 0..16 {
                        for core in [CoreKind::Performance, CoreKind::Efficiency] {
                            let cpu = CpuModel {
                                vendor,
                                family,
                                model,
                                stepping,
                            };
                            let found = tables().iter().filter(|table| table.is_for(&cpu, core));
                            assert!(found.count() <= 1, "{cpu:?}, {core:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_event_becomes_the_numbers_perf_uses() {
        let raw = |arch: &str, event: &str| {
            let table = EventTable::parse(arch).unwrap();
            let event = &table.events[event];
            (table.config(event), table.config1(event))
        };
        // Put together by hand from the layout that `EventTable::config` documents.
        assert_eq!(
            raw("broadwell-ep", "MEM_LOAD_UOPS_L3_HIT_RETIRED.XSNP_HITM"),
            (0x04d2, 0)
        );
        assert_eq!(
            raw("broadwell-ep", "CYCLE_ACTIVITY.STALLS_L2_MISS"),
            (0x0500_05a3, 0)
        );
        assert_eq!(
            raw(
                "broadwell-ep",
                "OFFCORE_RESPONSE.PF_L2_RFO.LLC_HIT.HITM_OTHER_CORE"
            ),
            (0x01b7, 0x10_003c_0020)
        );
        assert_eq!(
            raw("amdzen5", "l2_fill_rsp_src.local_ccx"),
            (0x1_0000_0265, 0)
        );
        assert_eq!(raw("neoverse-v1", "STALL_BACKEND_MEM"), (0x4005, 0));
    }

    #[test]
    fn what_a_counter_does_not_mean_goes_with_it() {
        let caveats = |arch: &str, name: &str| {
            EventTable::parse(arch)
                .unwrap()
                .caveats(role(name).unwrap())
                .join("\n")
        };
        assert!(caveats("broadwell-ep", "hitm_local").contains("retired loads only"));
        assert!(caveats("broadwell-ep", "hitm_local").contains("BDM100"));
        assert!(caveats("icelake-sp", "hitm_local").contains("clean lines"));
        assert!(caveats("amdzen4", "fill_local_ccx").contains("no HITM event"));
        assert!(caveats("graniterapids", "prefetch_hitm").contains("unverified"));
    }
}
