//! Why a counter is missing: errno to cause to remedy, in one table.

use crate::machine::cpu::Processor;
use rustix::io::Errno;
use std::fs::read_to_string;
use std::io;

/// The system calls that counting makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `perf_event_open(2)`.
    Open,
    /// `PERF_EVENT_IOC_ENABLE`.
    Enable,
    /// `PERF_EVENT_IOC_DISABLE`.
    Disable,
    /// `read(2)` of the group.
    Read,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Call::Open => "opening the counter",
            Call::Enable => "starting the counters",
            Call::Disable => "stopping the counters",
            Call::Read => "reading the counters",
        }
    }
}

/// What the kernel is set to, as far as it decides about counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `kernel.perf_event_paranoid`.
    pub paranoid: Option<i32>,
    /// `kernel.nmi_watchdog` is on, and holds a counter of each CPU.
    pub nmi_watchdog: bool,
    /// A hypervisor is present.
    pub hypervisor: bool,
}

impl Conditions {
    /// Those of the running kernel.
    pub fn read() -> Conditions {
        let sysctl = |name: &str| -> Option<i32> {
            let text = read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
            text.trim().parse().ok()
        };
        Conditions {
            paranoid: sysctl("perf_event_paranoid"),
            nmi_watchdog: sysctl("nmi_watchdog") == Some(1),
            hypervisor: Processor::here().is_guest(),
        }
    }

    /// Why there is no hardware counter at all.
    pub fn no_pmu(&self) -> String {
        if self.hypervisor {
            "no PMU in this virtual machine; let the host pass one through (QEMU: -cpu host,pmu=on) \
             or measure on bare metal"
        } else {
            "the kernel shows no core PMU; check dmesg for 'Performance Events', and that the \
             firmware has not disabled it"
        }
        .to_owned()
    }

    /// Why the counters were open but never on the hardware.
    pub fn never_scheduled(&self) -> String {
        if self.nmi_watchdog {
            "the counters never got onto the hardware: the NMI watchdog holds one; \
             sysctl kernel.nmi_watchdog=0"
        } else {
            "the counters never got onto the hardware: another perf session holds them, or the \
             thread ran on the other kind of core; end other users of perf, or pin the threads"
        }
        .to_owned()
    }

    /// One line for a failed call: what failed, the likely cause, what to do.
    pub fn explain(&self, call: Call, error: &io::Error) -> String {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        let row = TABLE.iter().find(|row| Some(row.errno) == errno);
        let Some(row) = row else {
            return format!(
                "{} failed: {error}; unknown cause, look at the last lines of dmesg",
                call.name()
            );
        };
        let (cause, remedy) = match (row.errno, call, self.paranoid) {
            // 2 is the kernel's default and forbids counting the kernel; Debian's 3 forbids all.
            (Errno::ACCESS | Errno::PERM, Call::Open, Some(level)) if level >= 2 => (
                format!("kernel.perf_event_paranoid is {level}, or a seccomp filter refuses"),
                "sysctl kernel.perf_event_paranoid=1, or give CAP_PERFMON; in a container \
                 also allow perf_event_open in its seccomp profile",
            ),
            (Errno::NOENT, Call::Open, _) if self.hypervisor => (
                "the virtual machine passes no such event to its guest".to_owned(),
                row.remedy,
            ),
            (Errno::NOSPC, Call::Open, _) if self.nmi_watchdog => (
                "the NMI watchdog holds a counter".to_owned(),
                "sysctl kernel.nmi_watchdog=0",
            ),
            _ => (row.cause.to_owned(), row.remedy),
        };
        format!(
            "{} failed with {}: {cause}; {remedy}",
            call.name(),
            row.name
        )
    }

    /// One line for a read that returned too little.
    pub fn short_read(&self, got: usize, wanted: usize) -> String {
        format!(
            "reading the counters returned {got} of {wanted} bytes: the kernel has put the group \
             into its error state; end other users of perf and run again"
        )
    }
}

struct Meaning {
    errno: Errno,
    name: &'static str,
    cause: &'static str,
    remedy: &'static str,
}

const fn means(
    errno: Errno,
    name: &'static str,
    cause: &'static str,
    remedy: &'static str,
) -> Meaning {
    Meaning {
        errno,
        name,
        cause,
        remedy,
    }
}

/// Meanings as in perf_event_open(2), section ERRORS, and `kernel/events/core.c`.
#[rustfmt::skip]
const TABLE: &[Meaning] = &[
    means(Errno::PERM, "EPERM", "a seccomp filter or security module refuses perf_event_open",
        "allow it in the container's seccomp profile and give CAP_PERFMON"),
    means(Errno::ACCESS, "EACCES", "the kernel refuses this to an unprivileged process",
        "sysctl kernel.perf_event_paranoid=1, or give CAP_PERFMON"),
    means(Errno::NOENT, "ENOENT", "this kernel or machine has no such event",
        "measure on bare metal with a kernel that knows this CPU"),
    means(Errno::IO, "EIO", "the kernel lost the counter",
        "look at the last lines of dmesg and run again"),
    means(Errno::INVAL, "EINVAL", "the kernel or hypervisor rejects the encoding, or the counters left do not hold the group",
        "check that the kernel knows this CPU, and end other users of perf"),
    means(Errno::MFILE, "EMFILE", "the process has no file descriptor left",
        "raise it: ulimit -n 65536"),
    means(Errno::NFILE, "ENFILE", "the system has no file descriptor left",
        "raise it: sysctl fs.file-max"),
    means(Errno::NODEV, "ENODEV", "the CPU of this thread has no such PMU",
        "pin the threads to one kind of core, or measure on bare metal"),
    means(Errno::NOSPC, "ENOSPC", "all counters are taken",
        "end other users of perf, or count fewer roles"),
    means(Errno::OPNOTSUPP, "EOPNOTSUPP", "the PMU cannot count in the way asked",
        "measure on bare metal with its local APIC enabled"),
    means(Errno::BUSY, "EBUSY", "another session holds the counters exclusively",
        "end other users of perf"),
    means(Errno::NOSYS, "ENOSYS", "this kernel was built without perf events",
        "use a kernel with CONFIG_PERF_EVENTS=y"),
    means(Errno::TOOBIG, "E2BIG", "this kernel is older than what was asked of it",
        "use a newer kernel"),
    means(Errno::NOMEM, "ENOMEM", "the kernel had no memory for the counter",
        "free memory and run again"),
];
