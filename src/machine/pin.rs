//! Pinning a thread to a CPU, and the proof that it is there.

use super::CpuId;
use crate::error::{Error, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu};
use serde::Serialize;

/// What the kernel answered after a thread was pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PinProof {
    /// The only CPU in the thread's affinity mask, read back from the kernel.
    pub affinity: CpuId,
    /// The CPU the thread was running on.
    pub running_on: CpuId,
}

/// Pin the calling thread to `cpu`, and read back from the kernel that it is there.
pub fn pin_current_thread(cpu: CpuId) -> Result<PinProof> {
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
    verify(cpu)?;
    Ok(PinProof {
        affinity: cpu,
        running_on: cpu,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Topology;

    #[test]
    fn a_pinned_thread_runs_where_it_was_pinned() {
        let topology = Topology::here().unwrap();
        for cpu in topology.allowed().map(|cpu| cpu.id) {
            let proof = std::thread::spawn(move || pin_current_thread(cpu))
                .join()
                .unwrap()
                .unwrap();
            assert_eq!((proof.affinity, proof.running_on), (cpu, cpu));
        }
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_refused_in_one_line() {
        for cpu in [CpuSet::MAX_CPU - 1, CpuSet::MAX_CPU] {
            let result = std::thread::spawn(move || pin_current_thread(CpuId(cpu)))
                .join()
                .unwrap();
            let Err(Error::Refused(message)) = result else {
                panic!("pinned to CPU {cpu}: {result:?}");
            };
            assert!(message.contains(&cpu.to_string()) && !message.contains('\n'));
        }
    }
}
