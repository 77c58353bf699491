//! Reading `/proc` and `/sys`, remembering what could not be read and why.

use crate::machine::cpu_list;
use crate::machine::files::{Known, chosen, read, value_of};
use crate::machine::topology::Topology;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A machine's `/proc` and `/sys`, and what was not to be had there.
pub(super) struct Sources<'r> {
    root: &'r Path,
    unavailable: BTreeMap<String, String>,
}

impl<'r> Sources<'r> {
    pub(super) fn new(root: &'r Path) -> Sources<'r> {
        Sources {
            root,
            unavailable: BTreeMap::new(),
        }
    }

    pub(super) fn into_unavailable(self) -> BTreeMap<String, String> {
        self.unavailable
    }

    /// Keep a value, or note under the dotted path `entry` why there is none.
    pub(super) fn note<T>(&mut self, entry: &str, found: Known<T>) -> Option<T> {
        found
            .map_err(|why| self.unavailable.insert(entry.to_owned(), why))
            .ok()
    }

    /// The text of a file, without white space around it.
    pub(super) fn text(&mut self, entry: &str, path: &str) -> Option<String> {
        let found = read(self.root, path);
        self.note(entry, found)
    }

    pub(super) fn product(&mut self) -> Option<String> {
        let dmi = |name: &str| read(self.root, &format!("sys/class/dmi/id/{name}"));
        let found = dmi("sys_vendor").and_then(|vendor| Ok(vendor + " " + &dmi("product_name")?));
        self.note("machine.product", found)
    }

    pub(super) fn memory_bytes(&mut self) -> Option<u64> {
        let found = read(self.root, "proc/meminfo").and_then(|text| {
            value_of(&text, "MemTotal")
                .and_then(|value| value.strip_suffix(" kB")?.parse::<u64>().ok())
                .map(|kib| kib << 10)
                .ok_or_else(|| "no MemTotal in /proc/meminfo".to_owned())
        });
        self.note("machine.memory_bytes", found)
    }

    /// Boot parameters of these names.
    pub(super) fn parameters(&mut self, names: &[&str]) -> Option<Vec<String>> {
        let wanted = |word: &&str| names.contains(&word.split('=').next().unwrap_or(word));
        let found = read(self.root, "proc/cmdline").map(|text| {
            text.split_ascii_whitespace()
                .filter(wanted)
                .map(str::to_owned)
                .collect()
        });
        self.note("kernel.parameters", found)
    }

    pub(super) fn governor(&mut self, topology: &Topology) -> Option<BTreeMap<String, String>> {
        let mut by_governor: BTreeMap<String, Vec<_>> = BTreeMap::new();
        let mut cpus: Vec<_> = topology.cpus.iter().map(|cpu| cpu.id).collect();
        cpus.sort_unstable();
        let found = cpus
            .into_iter()
            .try_for_each(|cpu| {
                let path = format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
                by_governor
                    .entry(read(self.root, &path)?)
                    .or_default()
                    .push(cpu);
                Ok(())
            })
            .map(|()| {
                by_governor
                    .into_iter()
                    .map(|(governor, cpus)| (governor, cpu_list::format(cpus)))
                    .collect()
            });
        self.note("settings.governor", found)
    }

    pub(super) fn turbo(&mut self) -> Option<&'static str> {
        let setting = |path: &str, on: &str| {
            let text = read(self.root, path)?;
            Ok(if text == on { "on" } else { "off" })
        };
        let found = setting("sys/devices/system/cpu/intel_pstate/no_turbo", "0")
            .or_else(|_: String| setting("sys/devices/system/cpu/cpufreq/boost", "1"))
            .map_err(|_: String| {
                "neither intel_pstate/no_turbo nor cpufreq/boost in /sys/devices/system/cpu"
                    .to_owned()
            });
        self.note("settings.turbo", found)
    }

    pub(super) fn mitigations(&mut self) -> Option<BTreeMap<String, String>> {
        let folder = "sys/devices/system/cpu/vulnerabilities";
        let found = fs::read_dir(self.root.join(folder))
            .map_err(|why| format!("/{folder}: {why}"))
            .and_then(|entries| {
                entries
                    .flatten()
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .map(|name| Ok((name.clone(), read(self.root, &format!("{folder}/{name}"))?)))
                    .collect()
            });
        self.note("settings.mitigations", found)
    }

    pub(super) fn transparent_hugepages(&mut self) -> Option<String> {
        let path = "sys/kernel/mm/transparent_hugepage/enabled";
        let found = read(self.root, path).and_then(|text| {
            chosen(&text)
                .map(str::to_owned)
                .ok_or_else(|| format!("/{path} marks no choice: {text}"))
        });
        self.note("settings.transparent_hugepages", found)
    }

    /// The cpuset of the cgroup, of version 2 or 1, whichever has one.
    pub(super) fn cgroup_cpus(&mut self) -> Option<String> {
        let found = read(self.root, "proc/self/cgroup").and_then(|text| {
            text.lines()
                .filter_map(|line| {
                    let mut parts = line.splitn(3, ':').skip(1);
                    let (controllers, group) = (parts.next()?, parts.next()?);
                    let group = group.trim_matches('/');
                    match controllers {
                        "" => Some(format!("sys/fs/cgroup/{group}/cpuset.cpus.effective")),
                        "cpuset" => Some(format!(
                            "sys/fs/cgroup/cpuset/{group}/cpuset.effective_cpus"
                        )),
                        _ => None,
                    }
                })
                .find_map(|path| read(self.root, &path).ok())
                .ok_or_else(|| "the cgroup of this process shows no cpuset".to_owned())
        });
        self.note("settings.cgroup_cpus", found)
    }

    pub(super) fn loadavg(&mut self) -> Option<[f64; 3]> {
        let found = read(self.root, "proc/loadavg").and_then(|text| {
            let loads: Vec<f64> = text
                .split_ascii_whitespace()
                .map_while(|word| word.parse().ok())
                .take(3)
                .collect();
            loads
                .try_into()
                .map_err(|_| format!("/proc/loadavg holds no three figures: {text}"))
        });
        self.note("loadavg", found)
    }
}
