//! The PMU of this machine, as far as counting depends on it.
//!
//! Here: its event table, its number, and what the kernel is set to. Not here: which CPU it is of
//! (`machine::cpu`).

use super::refusal::Conditions;
use super::table::{EventTable, select};
use crate::machine::CpuModel;
use crate::machine::cpu::CoreKind;
use std::path::Path;

/// What counting on a machine depends on.
#[derive(Clone, Debug)]
pub struct Pmu {
    /// Its CPU, where its vendor is known.
    pub cpu: Option<CpuModel>,
    /// Its event table, where there is one.
    pub table: Option<&'static EventTable>,
    /// perf's number of it; `None` where the kernel shows no core PMU.
    pub number: Option<u32>,
    /// What the kernel is set to.
    pub conditions: Conditions,
}

impl Pmu {
    /// That of the CPU which the calling thread runs on.
    ///
    /// On a hybrid CPU the answer differs by kind of core: ask on a pinned thread.
    pub fn here() -> Pmu {
        let (cpu, core) = (CpuModel::here().ok(), CoreKind::current());
        Pmu {
            cpu,
            table: cpu.and_then(|cpu| select(&cpu, core)),
            number: core_pmu(Path::new("/sys/bus/event_source/devices"), core),
            conditions: Conditions::read(),
        }
    }
}

/// perf's number of the core PMU, from the folder of all PMUs.
fn core_pmu(devices: &Path, core: CoreKind) -> Option<u32> {
    let number = |name: &str| -> Option<u32> {
        let text = std::fs::read_to_string(devices.join(name).join("type")).ok()?;
        text.trim().parse().ok()
    };
    // x86: `cpu`, or a PMU for each kind of core of a hybrid CPU.
    let hybrid = match core {
        CoreKind::Efficiency => "cpu_atom",
        CoreKind::Performance => "cpu_core",
    };
    // Arm: `armv8_pmuv3_0`, `armv8_cortex_a53`, ...
    let arm = || {
        let mut names: Vec<String> = std::fs::read_dir(devices)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with("armv8_"))
            .collect();
        names.sort();
        number(names.first()?)
    };
    number(hybrid).or_else(|| number("cpu")).or_else(arm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_core_of_a_hybrid_cpu_has_its_own_pmu() {
        let dir = tempfile::tempdir().unwrap();
        for (name, number) in [
            ("cpu_core", "4\n"),
            ("cpu_atom", "10\n"),
            ("software", "1\n"),
        ] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("type"), number).unwrap();
        }
        assert_eq!(core_pmu(dir.path(), CoreKind::Performance), Some(4));
        assert_eq!(core_pmu(dir.path(), CoreKind::Efficiency), Some(10));
    }

    #[test]
    fn a_machine_without_a_core_pmu_has_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("software")).unwrap();
        assert_eq!(core_pmu(dir.path(), CoreKind::Performance), None);
        std::fs::create_dir(dir.path().join("armv8_pmuv3_0")).unwrap();
        std::fs::write(dir.path().join("armv8_pmuv3_0/type"), "8\n").unwrap();
        assert_eq!(core_pmu(dir.path(), CoreKind::Performance), Some(8));
    }
}
