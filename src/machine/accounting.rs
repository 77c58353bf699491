//! What the kernel did to a thread and to its CPU during a sample.
//!
//! Here: context switches of the calling thread; time a hypervisor stole
//! from CPUs. Not here: which of them make a sample invalid (`experiment`), perf events
//! (`counters`).

use super::CpuId;
use crate::error::{Error, Result};
use std::fs::File;
use std::ops::AddAssign;
use std::os::unix::fs::FileExt;

/// What happened to one thread, or to several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadCounts {
    /// Context switches because the thread waited.
    pub voluntary_switches: u64,
    /// Context switches because the kernel ran something else instead.
    pub involuntary_switches: u64,
}

impl AddAssign for ThreadCounts {
    fn add_assign(&mut self, other: ThreadCounts) {
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
    }
}

/// Counts what happens to the calling thread from its start on; stays on that thread.
#[derive(Clone, Copy, Debug)]
pub struct ThreadWatch {
    before: ThreadCounts,
}

impl ThreadWatch {
    /// Start counting for the calling thread. One system call.
    pub fn start() -> ThreadWatch {
        ThreadWatch { before: usage() }
    }

    /// What happened since the start. Call it on the thread that started it.
    pub fn counts(&self) -> ThreadCounts {
        let now = usage();
        ThreadCounts {
            voluntary_switches: now.voluntary_switches - self.before.voluntary_switches,
            involuntary_switches: now.involuntary_switches - self.before.involuntary_switches,
        }
    }
}

/// `getrusage` of the calling thread.
fn usage() -> ThreadCounts {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for a write of one `rusage`.
    let status = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    assert_eq!(status, 0, "getrusage fails only on bad arguments");
    // SAFETY: all-zero is a valid `rusage`, and the call succeeded.
    let usage = unsafe { usage.assume_init() };
    let count = |n: libc::c_long| n as u64;
    ThreadCounts {
        voluntary_switches: count(usage.ru_nvcsw),
        involuntary_switches: count(usage.ru_nivcsw),
    }
}

/// Time a hypervisor took CPUs away, from `/proc/stat`, kept open and read again.
///
/// The kernel adds stolen time up in nanoseconds but shows it in ticks of 1 / `USER_HZ` (10 ms):
/// a difference may be one tick off either way, and a theft far below a tick is mostly seen as 0.
/// On bare metal, and where the hypervisor does not tell, it stays 0.
pub struct StealClock {
    stat: File,
    text: Vec<u8>,
    cpus: Vec<CpuId>,
    tick_ns: u64,
}

impl StealClock {
    /// A clock for these CPUs.
    pub fn open(cpus: &[CpuId]) -> Result<StealClock> {
        let stat = File::open("/proc/stat").map_err(unreadable)?;
        let mut clock = StealClock {
            stat,
            text: vec![0; 4096],
            cpus: cpus.to_vec(),
            tick_ns: 1_000_000_000 / rustix::param::clock_ticks_per_second(),
        };
        clock.stolen_ns()?;
        Ok(clock)
    }

    /// Nanoseconds stolen since boot from each CPU, in the order given to `open`.
    pub fn stolen_ns(&mut self) -> Result<Vec<u64>> {
        let text = cpu_lines(&self.stat, &mut self.text)?;
        let stolen = |&cpu: &CpuId| match steal_ticks(text, cpu) {
            Some(ticks) => Ok(ticks * self.tick_ns),
            None => Err(Error::Refused(format!(
                "/proc/stat shows no steal time of CPU {cpu}; it is probably offline: choose an \
                 online CPU"
            ))),
        };
        self.cpus.iter().map(stolen).collect()
    }
}

/// The lines of the CPUs, which come first, read into `buffer`; what follows is not read.
fn cpu_lines<'b>(stat: &File, buffer: &'b mut Vec<u8>) -> Result<&'b str> {
    loop {
        let filled = stat.read_at(buffer, 0).map_err(unreadable)?;
        let whole = filled < buffer.len() || buffer.windows(5).any(|bytes| bytes == b"\nintr");
        if whole {
            return std::str::from_utf8(&buffer[..filled])
                .map_err(|why| unreadable(std::io::Error::other(why)));
        }
        buffer.resize(2 * buffer.len(), 0);
    }
}

fn unreadable(why: std::io::Error) -> Error {
    Error::Refused(format!("steal time cannot be read from /proc/stat: {why}"))
}

/// The eighth number of the line of a CPU (proc_pid_stat(5): user, nice, system, idle, iowait,
/// irq, softirq, steal).
fn steal_ticks(stat: &str, cpu: CpuId) -> Option<u64> {
    let name = format!("cpu{cpu}");
    stat.lines()
        .map(str::split_ascii_whitespace)
        .find_map(|mut words| (words.next() == Some(&name)).then_some(words))?
        .nth(7)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_a_voluntary_switch() {
        let watch = ThreadWatch::start();
        std::thread::sleep(std::time::Duration::from_millis(1));
        let counts = watch.counts();
        assert!(counts.voluntary_switches >= 1, "{counts:?}");
    }

    #[test]
    fn switches_of_another_thread_are_not_counted() {
        let sleeper = std::thread::spawn(|| {
            let watch = ThreadWatch::start();
            for _ in 0..20 {
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
            watch.counts()
        });
        let watch = ThreadWatch::start();
        let mut spins = 0u64;
        while !sleeper.is_finished() {
            spins += 1;
        }
        let own = watch.counts();
        assert!(spins > 0);
        assert!(sleeper.join().unwrap().voluntary_switches >= 20);
        assert_eq!(own.voluntary_switches, 0, "{own:?}");
    }

    #[test]
    fn steal_is_the_eighth_figure_of_the_line_of_that_very_cpu() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 1 2 3 4 5 6 7 81 9 10\ncpu10 0 0 0 0 0 0 0 5 0 0\n";
        assert_eq!(steal_ticks(stat, CpuId(1)), Some(81));
        assert_eq!(steal_ticks(stat, CpuId(10)), Some(5));
        assert_eq!(steal_ticks(stat, CpuId(0)), None);
        assert_eq!(steal_ticks("cpu0 1 2 3\n", CpuId(0)), None);
    }

    #[test]
    fn stolen_time_never_runs_backwards() {
        let cpus: Vec<CpuId> = crate::machine::Topology::here()
            .unwrap()
            .cpus
            .iter()
            .map(|cpu| cpu.id)
            .collect();
        let mut clock = StealClock::open(&cpus).unwrap();
        let before = clock.stolen_ns().unwrap();
        let after = clock.stolen_ns().unwrap();
        assert_eq!(before.len(), cpus.len());
        assert!(
            before
                .iter()
                .zip(&after)
                .all(|(before, after)| before <= after)
        );
    }
}
