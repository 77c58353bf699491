//! Real-time scheduling of single threads for short times, so that nothing else runs meanwhile.
//!
//! Here: whether it is permitted and harmless, and a turn of it. Not here: which threads take one,
//! and when (`backend`).

use super::files::describe;
use super::threads;
use crate::text::words;
use std::io;

words! {
    /// What real-time scheduling did for a run.
    pub enum RealTime as "use of real-time scheduling" {
        /// The process was started with it.
        FromOutside = "from-outside",
        /// From the first sample on in which a thread was switched out, threads had SCHED_FIFO of
        /// the lowest priority while they took a sample.
        InSamples = "in-samples",
    }
}

/// Whether threads of this process may take a [`Turn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// They have a real-time policy anyway.
    FromOutside,
    /// They may.
    Granted,
    /// They may not: why, and what would help, in a sentence that begins with a small letter.
    Denied(String),
}

/// Whether that is permitted here, found by trying it on a thread that then ends, and whether it
/// could do harm: the kernel has to leave a share of time to everything else.
pub fn permission() -> Permission {
    if has_real_time() {
        return Permission::FromOutside;
    }
    let throttle = std::fs::read_to_string("/proc/sys/kernel/sched_rt_runtime_us");
    let microseconds: Option<i64> = throttle.ok().and_then(|text| text.trim().parse().ok());
    if microseconds.is_none_or(|us| us < 0) {
        return Permission::Denied(
            "this kernel does not limit the time of real-time threads \
             (kernel.sched_rt_runtime_us), so none is started"
                .to_owned(),
        );
    }
    let tried = threads::apart(|| Turn::begin().map(drop).map_err(|why| describe(&why)));
    match tried {
        Ok(Ok(())) => Permission::Granted,
        Ok(Err(why)) => Permission::Denied(format!("SCHED_FIFO: {why}")),
        Err(why) => Permission::Denied(why.to_string()),
    }
}

/// Whether the calling thread has a real-time policy.
fn has_real_time() -> bool {
    matches!(
        policy(),
        libc::SCHED_FIFO | libc::SCHED_RR | libc::SCHED_DEADLINE
    )
}

/// Policy of the calling thread; that of ordinary threads where the kernel does not say.
fn policy() -> libc::c_int {
    // SAFETY: pid 0 is the calling thread.
    match unsafe { libc::sched_getscheduler(0) } {
        -1 => libc::SCHED_OTHER,
        policy => policy & !libc::SCHED_RESET_ON_FORK,
    }
}

fn set_policy(policy: libc::c_int, sched_priority: libc::c_int) -> io::Result<()> {
    let priority = libc::sched_param { sched_priority };
    // SAFETY: pid 0 is the calling thread, and `priority` outlives the call.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const priority) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As long as it is there, the calling thread has SCHED_FIFO of the lowest priority; then the policy
/// that it had before. Keep it on that thread, and short.
#[derive(Debug)]
pub struct Turn {
    before: libc::c_int,
    /// A policy belongs to a thread.
    _here: std::marker::PhantomData<*const ()>,
}

impl Turn {
    /// Begin one.
    pub fn begin() -> io::Result<Turn> {
        let before = policy();
        set_policy(libc::SCHED_FIFO, 1)?;
        Ok(Turn {
            before,
            _here: std::marker::PhantomData,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // An ordinary policy is never refused to a thread that had it; its niceness stays.
        let _ = set_policy(self.before, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_as_it_began_and_asking_leaves_no_trace() {
        let before = policy();
        let permission = permission();
        assert_eq!(policy(), before);
        match Turn::begin() {
            Ok(turn) => {
                assert!(has_real_time());
                drop(turn);
            }
            Err(_) => assert!(matches!(permission, Permission::Denied(_))),
        }
        assert_eq!(policy(), before);
    }
}
