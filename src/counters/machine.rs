//! Which machine this is, as far as counters are concerned.
//!
//! Here: the CPU's identity (CPUID on x86, MIDR on Arm), the number of its core PMU, and what the
//! kernel is set to. Not here: topology and the environment record.

use super::refusal::Conditions;
use super::table::{Table, select};
use serde::Deserialize;
use std::fmt;
use std::path::Path;

/// Who made the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// GenuineIntel.
    Intel,
    /// AuthenticAMD.
    Amd,
    /// MIDR implementer 0x41.
    Arm,
}

/// Kind of core. On a CPU that is not hybrid every core is a performance core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Core {
    /// P-core (CPUID 1Ah core type 0x40).
    Performance,
    /// E-core (CPUID 1Ah core type 0x20).
    Efficiency,
}

/// Identity of a CPU.
///
/// On Arm, `family` is the implementer, `model` the part number and `stepping` the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Who made it.
    pub vendor: Vendor,
    /// Display family.
    pub family: u32,
    /// Display model.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// Kind of core.
    pub core: Core,
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cpu {
            vendor,
            family,
            model,
            stepping,
            ..
        } = self;
        write!(
            f,
            "{vendor:?} family {family:#x}, model {model:#x}, stepping {stepping}"
        )
    }
}

impl Cpu {
    /// The CPU that the calling thread runs on; `None` for a vendor without any table.
    pub fn current() -> Option<Cpu> {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        {
            let cpuid = raw_cpuid::CpuId::new();
            let vendor = match cpuid.get_vendor_info()?.as_str() {
                "GenuineIntel" => Vendor::Intel,
                "AuthenticAMD" => Vendor::Amd,
                _ => return None,
            };
            let info = cpuid.get_feature_info()?;
            // SDM vol. 2, CPUID: leaf 1Ah is 0 on CPUs that are not hybrid; EAX[31:24] is the
            // core type.
            let highest = raw_cpuid::cpuid!(0).eax;
            let hybrid = vendor == Vendor::Intel && highest >= 0x1a;
            let core_type = if hybrid {
                raw_cpuid::cpuid!(0x1a).eax >> 24
            } else {
                0
            };
            Some(Cpu {
                vendor,
                family: info.family_id().into(),
                model: info.model_id().into(),
                stepping: info.stepping_id().into(),
                core: if core_type == 0x20 {
                    Core::Efficiency
                } else {
                    Core::Performance
                },
            })
        }
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
        {
            let cpu = rustix::thread::sched_getcpu();
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/regs/identification/midr_el1");
            Cpu::from_midr(&std::fs::read_to_string(path).ok()?)
        }
    }

    /// The CPU a `midr_el1` file of sysfs names.
    pub fn from_midr(text: &str) -> Option<Cpu> {
        let midr = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()?;
        let implementer = (midr >> 24) as u32 & 0xff;
        (implementer == 0x41).then_some(Cpu {
            vendor: Vendor::Arm,
            family: implementer,
            model: (midr >> 4) as u32 & 0xfff,
            stepping: (midr >> 20) as u32 & 0xf,
            core: Core::Performance,
        })
    }
}

/// What counting on a machine depends on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The CPU, where its vendor is known.
    pub cpu: Option<Cpu>,
    /// Its event table, where there is one.
    pub table: Option<&'static Table>,
    /// perf's number of the core PMU; `None` where the kernel shows none.
    pub pmu: Option<u32>,
    /// What the kernel is set to.
    pub conditions: Conditions,
}

impl Machine {
    /// This machine, from the CPU that the calling thread runs on.
    ///
    /// On a hybrid CPU the answer differs by kind of core: ask on a pinned thread.
    pub fn this() -> Machine {
        let cpu = Cpu::current();
        let table = cpu.as_ref().and_then(select);
        Machine {
            cpu,
            table,
            pmu: core_pmu(
                Path::new("/sys/bus/event_source/devices"),
                cpu.map(|cpu| cpu.core),
            ),
            conditions: Conditions::read(),
        }
    }
}

/// perf's number of the core PMU, from the folder of all PMUs.
fn core_pmu(devices: &Path, core: Option<Core>) -> Option<u32> {
    let number = |name: &str| -> Option<u32> {
        let text = std::fs::read_to_string(devices.join(name).join("type")).ok()?;
        text.trim().parse().ok()
    };
    // x86: `cpu`, or a PMU for each kind of core of a hybrid CPU.
    let hybrid = match core {
        Some(Core::Efficiency) => "cpu_atom",
        _ => "cpu_core",
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
        assert_eq!(core_pmu(dir.path(), Some(Core::Performance)), Some(4));
        assert_eq!(core_pmu(dir.path(), Some(Core::Efficiency)), Some(10));
    }

    #[test]
    fn a_machine_without_a_core_pmu_has_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("software")).unwrap();
        assert_eq!(core_pmu(dir.path(), None), None);
        std::fs::create_dir(dir.path().join("armv8_pmuv3_0")).unwrap();
        std::fs::write(dir.path().join("armv8_pmuv3_0/type"), "8\n").unwrap();
        assert_eq!(core_pmu(dir.path(), None), Some(8));
    }

    #[test]
    fn a_midr_names_its_table() {
        // Values of the parts' Technical Reference Manuals; the revision does not matter.
        for (midr, arch) in [
            ("0x00000000413fd0c1", "neoverse-n1"),
            ("0x00000000411fd401", "neoverse-v1"),
            ("0x00000000410fd493\n", "neoverse-n2-v2"),
            ("0x00000000410fd4f1", "neoverse-n2-v2"),
        ] {
            let cpu = Cpu::from_midr(midr).unwrap();
            assert_eq!(
                select(&cpu).map(|table| table.arch.as_str()),
                Some(arch),
                "{midr}"
            );
        }
        assert_eq!(Cpu::from_midr("0x00000000481fd010"), None);
        assert_eq!(Cpu::from_midr("nonsense"), None);
    }
}
