//! What this process is permitted to do here, found by trying it.
//!
//! Here: each check with what was found and what would change it. Not here: doing anything with
//! it (every check leaves the machine as it was), counters (`counters::preflight`) and
//! prefetchers (`prefetch::check`).

use super::accounting::StealClock;
use super::files::{Known, describe, read};
use super::pin::on;
use super::real_time::{Permission, permission};
use super::topology::{CpuId, Topology};
use crate::units;
use serde::Serialize;
use std::path::Path;

/// One thing that may or may not be permitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was tried.
    pub what: &'static str,
    /// Whether it worked.
    pub granted: bool,
    /// What was seen, or the reason it did not work.
    pub found: String,
    /// What would make it work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A finding: what was seen, or the reason and the remedy.
type Finding = Result<String, (String, &'static str)>;

impl Check {
    /// The check of `what`, with what was seen, or the reason it did not work and the remedy.
    pub fn of(what: &'static str, finding: Result<String, (String, impl Into<String>)>) -> Check {
        let (granted, found, remedy) = match finding {
            Ok(found) => (true, found, None),
            Err((found, remedy)) => (false, found, Some(remedy.into())),
        };
        Check {
            what,
            granted,
            found,
            remedy,
        }
    }
}

/// All checks of the machine, in the order of what a run needs most.
pub fn checks(topology: &Topology) -> Vec<Check> {
    let cpus: Vec<CpuId> = topology.allowed().map(|cpu| cpu.id).collect();
    let findings = [
        ("pinning threads", pinning(&cpus)),
        ("stolen time", steal(&cpus)),
        ("clock", clock()),
        ("frequency control", governor(&cpus)),
        ("transparent huge pages", transparent_hugepages()),
        ("reserved huge pages", reserved_hugepages()),
        ("real-time scheduling", real_time()),
        ("slab of the kernel's VMAs", vma_slab()),
    ];
    let check = |(what, finding)| Check::of(what, finding);
    findings.into_iter().map(check).collect()
}

fn pinning(cpus: &[CpuId]) -> Finding {
    for &cpu in cpus {
        on(cpu, || ()).map_err(|why| (why.to_string(), "free the CPUs of this process"))?;
    }
    Ok(format!("proven on {}", units::count(cpus.len(), "CPU")))
}

fn steal(cpus: &[CpuId]) -> Finding {
    let stolen_ns: u64 = StealClock::open(cpus)
        .and_then(|mut clock| clock.stolen_ns())
        .map_err(|why| (why.to_string(), "mount /proc"))?
        .iter()
        .sum();
    Ok(match stolen_ns {
        0 => "none since boot, or the hypervisor does not tell".to_owned(),
        ns => format!(
            "{:.2} s since boot; samples it falls into are set aside",
            ns as f64 / 1e9
        ),
    })
}

/// Clock sources the kernel lets a program read without a system call: those of x86 with a
/// `vdso_clock_mode`, and the ARM counter.
const FAST_CLOCKS: [&str; 4] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
];

fn clock() -> Finding {
    let name = text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        .map_err(|why| (why, "mount /sys"))?;
    if FAST_CLOCKS.contains(&name.as_str()) {
        return Ok(format!("{name}, read without a system call"));
    }
    Err((
        format!("{name}, read by a system call of about a microsecond"),
        "boot with clocksource=tsc if the TSC is stable here",
    ))
}

fn governor(cpus: &[CpuId]) -> Finding {
    let cpu = cpus.first().copied().unwrap_or(CpuId(0));
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
    let governor = text(&path).map_err(|why| {
        (
            why,
            "the kernel controls no frequency here; the hypervisor or firmware does",
        )
    })?;
    match rustix::fs::access(&path, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Ok(format!("governor {governor}")),
        Err(why) => Err((
            format!(
                "governor {governor}, not ours to change: {}",
                describe(&why.into())
            ),
            "run as root",
        )),
    }
}

fn transparent_hugepages() -> Finding {
    text("/sys/kernel/mm/transparent_hugepage/enabled")
        .map_err(|why| (why, "use a kernel with CONFIG_TRANSPARENT_HUGEPAGE"))
}

fn reserved_hugepages() -> Finding {
    let remedy = "sysctl vm.nr_hugepages=64";
    let free = text("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
        .map_err(|why| (why, "use a kernel with CONFIG_HUGETLBFS"))?;
    match free.as_str() {
        "0" => Err(("no 2 MiB page is reserved".to_owned(), remedy)),
        free => Ok(format!("{free} free pages of 2 MiB")),
    }
}

/// Tries it on a thread of its own, which then ends.
fn real_time() -> Finding {
    match permission() {
        Permission::FromOutside => Ok("this process has it".to_owned()),
        Permission::Granted => Ok("SCHED_FIFO".to_owned()),
        Permission::Denied(why) => Err((
            why,
            "run with CAP_SYS_NICE, or raise RLIMIT_RTPRIO (ulimit -r)",
        )),
    }
}

fn vma_slab() -> Finding {
    let path = "/sys/kernel/slab/vm_area_struct/slab_size";
    text(path)
        .map(|bytes| format!("{bytes} bytes a slot"))
        .map_err(|why| (why, "run as root, on a kernel with SLUB's sysfs"))
}

/// The text of the file, or why there is none.
fn text(path: &str) -> Known<String> {
    read(Path::new("/"), path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_refused_has_a_reason_and_a_remedy() {
        let checks = checks(&Topology::here().unwrap());
        assert!(checks.iter().any(|check| check.what == "pinning threads"));
        for check in checks {
            assert!(!check.found.is_empty(), "{check:?}");
            assert_eq!(check.granted, check.remedy.is_none(), "{check:?}");
            assert!(!check.found.contains('\n'), "{check:?}");
        }
    }

    #[test]
    fn trying_out_a_policy_or_a_pin_leaves_the_calling_thread_as_it_was() {
        let state = || {
            // SAFETY: pid 0 is the calling thread.
            let policy = unsafe { libc::sched_getscheduler(0) };
            let affinity = rustix::thread::sched_getaffinity(None).unwrap();
            (policy, affinity.count())
        };
        let topology = Topology::here().unwrap();
        let before = state();
        checks(&topology);
        assert_eq!(state(), before);
    }
}
