//! What is recorded about a machine beside its figures: `environment.json`.
//!
//! Here: the record and where each entry is read. Not here: whether something is permitted
//! (`preflight`), and measured figures. What cannot be read is absent and named, with the reason,
//! under `unavailable`; nothing is guessed.

mod kernel_struct;
mod sources;

use super::cpu::Processor;
use super::topology::Topology;
use serde::Serialize;
use sources::Sources;
use std::collections::BTreeMap;
use std::path::Path;

pub use kernel_struct::KernelStruct;

/// What a run can only be understood with. Entries that are `None` have their dotted path as a
/// key in `unavailable`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Environment {
    /// The processor.
    pub cpu: ProcessorRecord,
    /// The computer it is in.
    pub machine: Computer,
    /// CPUs and what they share.
    pub topology: TopologyRecord,
    /// The running kernel.
    pub kernel: Kernel,
    /// What an administrator can set.
    pub settings: Settings,
    /// Load averages over 1, 5 and 15 minutes.
    pub loadavg: Option<[f64; 3]>,
    /// What could not be read, and why.
    pub unavailable: BTreeMap<String, String>,
}

/// What the processor says of itself; see [`Processor`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessorRecord {
    /// `GenuineIntel`, `AuthenticAMD`, …
    pub vendor: Option<String>,
    /// The marketing name.
    pub model_name: Option<String>,
    /// Family number.
    pub family: Option<u32>,
    /// Model number.
    pub model: Option<u32>,
    /// Stepping.
    pub stepping: Option<u32>,
    /// Microcode revision, hexadecimal.
    pub microcode: Option<String>,
}

/// The computer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Computer {
    /// `none` on bare metal.
    pub hypervisor: Option<String>,
    /// Maker and product.
    pub product: Option<String>,
    /// Memory the kernel manages.
    pub memory_bytes: Option<u64>,
}

/// The topology with its summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopologyRecord {
    /// In one line.
    pub summary: String,
    /// CPU by CPU.
    #[serde(flatten)]
    pub topology: Topology,
}

/// The running kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// Those of its boot parameters that change what is measured.
    pub parameters: Option<Vec<String>>,
    /// `vm_area_struct` of this kernel.
    pub vm_area_struct: Option<KernelStruct>,
}

/// What an administrator can set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Frequency governor, with the CPUs it governs.
    pub governor: Option<BTreeMap<String, String>>,
    /// `on` or `off`.
    pub turbo: Option<&'static str>,
    /// SMT control of the kernel: `on`, `off`, `notsupported`, …
    pub smt: Option<String>,
    /// Vulnerability, and what the kernel does about it.
    pub mitigations: Option<BTreeMap<String, String>>,
    /// `always`, `madvise` or `never`.
    pub transparent_hugepages: Option<String>,
    /// `kernel.randomize_va_space`: 0 is off.
    pub aslr: Option<String>,
    /// `kernel.numa_balancing`: 0 is off.
    pub numa_balancing: Option<String>,
    /// What the kernel reads time from.
    pub clocksource: Option<String>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<String>,
    /// CPUs the scheduler keeps free; empty if none.
    pub isolated_cpus: Option<String>,
    /// CPUs the cgroup of this process may use.
    pub cgroup_cpus: Option<String>,
}

impl Environment {
    /// Record it now. `topology` is that of this machine.
    pub fn record(topology: &Topology) -> Environment {
        record_from(Path::new("/"), topology)
    }

    /// The machine's name in the CSV: its CPU model, and whether it is a guest.
    pub fn name(&self) -> String {
        let model = self.cpu.model_name.as_deref().unwrap_or("unknown CPU");
        let family = match (self.cpu.family, self.cpu.model) {
            (Some(family), Some(model)) => format!(" (family {family}, model {model})"),
            _ => String::new(),
        };
        match self.machine.guest_of() {
            None => format!("{model}{family}"),
            Some(hypervisor) => format!("{model}{family} under {hypervisor}"),
        }
    }
}

/// How this process was called, for a record: what is no UTF-8 is replaced.
pub fn command_line() -> Vec<String> {
    let arguments = std::env::args_os();
    arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect()
}

/// The kernel's identifier of this boot, where it tells one.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// What stands for the hypervisor of a machine that has none.
const BARE_METAL: &str = "none";

impl Computer {
    /// The hypervisor that is known to be there.
    pub fn guest_of(&self) -> Option<&str> {
        self.hypervisor
            .as_deref()
            .filter(|name| *name != BARE_METAL)
    }
}

/// Boot parameters worth recording; the rest of the command line may hold names and addresses.
const PARAMETERS: [&str; 16] = [
    "clocksource",
    "default_hugepagesz",
    "hugepages",
    "idle",
    "intel_idle.max_cstate",
    "intel_pstate",
    "amd_pstate",
    "isolcpus",
    "mitigations",
    "nohz_full",
    "norandmaps",
    "nosmt",
    "numa_balancing",
    "processor.max_cstate",
    "rcu_nocbs",
    "transparent_hugepage",
];

/// The record of a machine whose `/proc` and `/sys` lie below `root`.
fn record_from(root: &Path, topology: &Topology) -> Environment {
    let mut from = Sources::new(root);
    let cpu = Processor::below(root);
    let hypervisor = cpu.hypervisor;
    let vma = kernel_struct::find(root, "vm_area_struct");
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Environment {
        cpu: ProcessorRecord {
            vendor: from.note("cpu.vendor", cpu.vendor),
            model_name: from.note("cpu.model_name", cpu.name),
            family: from.note("cpu.family", cpu.family),
            model: from.note("cpu.model", cpu.model),
            stepping: from.note("cpu.stepping", cpu.stepping),
            microcode: from.note("cpu.microcode", cpu.microcode),
        },
        machine: Computer {
            hypervisor: from.note(
                "machine.hypervisor",
                hypervisor.map(|name| name.unwrap_or_else(|| BARE_METAL.to_owned())),
            ),
            product: from.product(),
            memory_bytes: from.memory_bytes(),
        },
        topology: TopologyRecord {
            summary: topology.summary(),
            topology: topology.clone(),
        },
        kernel: Kernel {
            release: text(uname.release()),
            version: text(uname.version()),
            parameters: from.parameters(&PARAMETERS),
            vm_area_struct: from.note("kernel.vm_area_struct", vma),
        },
        settings: Settings {
            governor: from.governor(topology),
            turbo: from.turbo(),
            smt: from.text("settings.smt", "sys/devices/system/cpu/smt/control"),
            mitigations: from.mitigations(),
            transparent_hugepages: from.transparent_hugepages(),
            aslr: from.text("settings.aslr", "proc/sys/kernel/randomize_va_space"),
            numa_balancing: from.text("settings.numa_balancing", "proc/sys/kernel/numa_balancing"),
            clocksource: from.text(
                "settings.clocksource",
                "sys/devices/system/clocksource/clocksource0/current_clocksource",
            ),
            perf_event_paranoid: from.text(
                "settings.perf_event_paranoid",
                "proc/sys/kernel/perf_event_paranoid",
            ),
            isolated_cpus: from.text("settings.isolated_cpus", "sys/devices/system/cpu/isolated"),
            cgroup_cpus: from.cgroup_cpus(),
        },
        loadavg: from.loadavg(),
        unavailable: from.into_unavailable(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Dotted paths of all entries that are null.
    fn absent(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Null => found.push(path.to_owned()),
            Value::Object(entries) => {
                for (name, value) in entries {
                    let path = match path {
                        "" => name.clone(),
                        _ => format!("{path}.{name}"),
                    };
                    absent(value, &path, found);
                }
            }
            _ => {}
        }
    }

    fn absent_and_explained(environment: &Environment) -> (Vec<String>, Vec<String>) {
        let json = serde_json::to_value(environment).unwrap();
        let mut found = Vec::new();
        absent(&json, "", &mut found);
        found.sort();
        (found, environment.unavailable.keys().cloned().collect())
    }

    #[test]
    fn every_absent_entry_says_why_and_nothing_else_does() {
        let topology = Topology::here().unwrap();
        let here = Environment::record(&topology);
        let (absent, explained) = absent_and_explained(&here);
        assert_eq!(absent, explained);
        assert!(here.unavailable.values().all(|why| !why.is_empty()));
    }

    #[test]
    fn a_machine_that_shows_nothing_is_recorded_as_unavailable_not_as_zero() {
        let empty = tempfile::tempdir().unwrap();
        let topology = Topology::from_synthetic("pack:1 core:2 pu:1").unwrap();
        let nothing = record_from(empty.path(), &topology);
        let (absent, explained) = absent_and_explained(&nothing);
        assert_eq!(absent, explained);
        for entry in ["cpu.microcode", "settings.governor", "loadavg"] {
            assert!(
                absent.iter().any(|path| path == entry),
                "{entry}: {absent:?}"
            );
        }
    }

    #[test]
    fn a_machine_is_recorded_as_its_files_describe_it() {
        let root = tempfile::tempdir().unwrap();
        let cpu = "sys/devices/system/cpu";
        let slab = "sys/kernel/slab/vm_area_struct";
        for (path, text) in [
            (
                "proc/cpuinfo",
                "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 79\n\
                 model name\t: A CPU @ 2.40GHz\nstepping\t: 1\nmicrocode\t: 0xb000040\n",
            ),
            (
                "proc/cmdline",
                "ro root=/dev/secret mitigations=off isolcpus=2-3 quiet\n",
            ),
            ("proc/loadavg", "0.52 1.25 2.00 1/200 4711\n"),
            ("proc/meminfo", "MemTotal:       1024 kB\nMemFree: 3 kB\n"),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/cpuset.cpus.effective", "0-1\n"),
            (
                &format!("{cpu}/cpu0/cpufreq/scaling_governor"),
                "performance\n",
            ),
            (
                &format!("{cpu}/cpu1/cpufreq/scaling_governor"),
                "powersave\n",
            ),
            (&format!("{cpu}/intel_pstate/no_turbo"), "1\n"),
            (&format!("{cpu}/isolated"), "\n"),
            (
                &format!("{cpu}/vulnerabilities/meltdown"),
                "Mitigation: PTI\n",
            ),
            (
                "sys/kernel/mm/transparent_hugepage/enabled",
                "always [madvise] never\n",
            ),
            ("sys/class/dmi/id/sys_vendor", "Maker\n"),
            ("sys/class/dmi/id/product_name", "Box\n"),
            (&format!("{slab}/object_size"), "184\n"),
            (&format!("{slab}/slab_size"), "192\n"),
            (&format!("{slab}/objs_per_slab"), "42\n"),
            (&format!("{slab}/order"), "1\n"),
            (&format!("{slab}/align"), "64\n"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let topology = Topology::from_synthetic("pack:1 core:2 pu:1").unwrap();
        let record = record_from(root.path(), &topology);

        let cpu = &record.cpu;
        assert_eq!(
            (cpu.family, cpu.model, cpu.stepping),
            (Some(6), Some(79), Some(1))
        );
        assert_eq!(cpu.model_name.as_deref(), Some("A CPU @ 2.40GHz"));
        assert_eq!(cpu.microcode.as_deref(), Some("0xb000040"));
        assert_eq!(record.machine.memory_bytes, Some(1 << 20));
        assert_eq!(record.machine.product.as_deref(), Some("Maker Box"));
        assert_eq!(record.loadavg, Some([0.52, 1.25, 2.0]));
        let parameters = record.kernel.parameters.unwrap();
        assert_eq!(parameters, ["mitigations=off", "isolcpus=2-3"]);
        let settings = &record.settings;
        let governor = settings.governor.as_ref().unwrap();
        assert_eq!(governor["performance"], "0");
        assert_eq!(governor["powersave"], "1");
        assert_eq!(settings.turbo, Some("off"));
        assert_eq!(settings.transparent_hugepages.as_deref(), Some("madvise"));
        assert_eq!(
            settings.mitigations.as_ref().unwrap()["meltdown"],
            "Mitigation: PTI"
        );
        assert_eq!(settings.isolated_cpus.as_deref(), Some(""));
        assert_eq!(settings.cgroup_cpus.as_deref(), Some("0-1"));
        let vma = record.kernel.vm_area_struct.unwrap();
        assert_eq!((vma.bytes, vma.slot_bytes), (184, Some(192)));
        assert_eq!(
            (vma.objects_per_slab, vma.pages_per_slab),
            (Some(42), Some(2))
        );
    }
}
