//! Pinning a thread to a CPU, and the proof that it is there.

use super::{CpuId, threads};
use crate::error::{Error, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu};

/// Pin the calling thread to `cpu`, and read back from the kernel that it is there.
pub fn pin_current_thread(cpu: CpuId) -> Result<()> {
    if cpu.0 >= CpuSet::MAX_CPU {
        return Err(Error::Refused(format!(
            "cannot pin to CPU {cpu}: only CPUs below {} are supported",
            CpuSet::MAX_CPU
        )));
    }
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu.0 }) {
        let why = std::io::Error::last_os_error();
        return Err(Error::Refused(format!(
            "cannot pin a thread to CPU {cpu}: {why}; it is probably offline or outside this \
             process's cpuset: choose CPUs that `hitm probe` lists as allowed"
        )));
    }
    let mask = sched_getaffinity(None).map_err(|why| {
        Error::Refused(format!(
            "the affinity of a thread pinned to CPU {cpu} cannot be read back: {why}"
        ))
    })?;
    if mask.count() != 1 || !mask.is_set(cpu.0) {
        return Err(Error::Refused(format!(
            "a thread pinned to CPU {cpu} has an affinity mask of {} CPUs; something else sets \
             affinities here (cgroup, container runtime, numad): stop it",
            mask.count()
        )));
    }
    verify(cpu)
}

/// Whether the calling thread runs on `cpu` right now; costs a few nanoseconds (vDSO).
pub fn verify(cpu: CpuId) -> Result<()> {
    let running_on = CpuId(sched_getcpu());
    if running_on == cpu {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "a thread pinned to CPU {cpu} runs on CPU {running_on}; something moved it (taskset, a \
         cgroup change, CPU hotplug): stop that and run again"
    )))
}

/// What `work` returns on a thread of its own that is pinned to `cpu`: a pin outlives the work.
pub fn on<T: Send>(cpu: CpuId, work: impl FnOnce() -> T + Send) -> Result<T> {
    threads::apart(|| pin_current_thread(cpu).map(|()| work()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Topology;

    #[test]
    fn a_pinned_thread_runs_where_it_was_pinned() {
        let topology = Topology::here().unwrap();
        for cpu in topology.allowed().map(|cpu| cpu.id) {
            let state = || (sched_getaffinity(None).unwrap(), sched_getcpu());
            let (affinity, running_on) = on(cpu, state).unwrap();
            assert_eq!((affinity.count(), running_on), (1, cpu.0));
            assert!(affinity.is_set(cpu.0));
        }
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_refused_in_one_line() {
        for cpu in [CpuSet::MAX_CPU - 1, CpuSet::MAX_CPU] {
            let result = on(CpuId(cpu), || ());
            let Err(Error::Refused(message)) = result else {
                panic!("pinned to CPU {cpu}: {result:?}");
            };
            assert!(message.contains(&cpu.to_string()) && !message.contains('\n'));
        }
    }
}
