//! What the threads of a sample did in its window, and what that comes to.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One thread's share of a sample, in one role.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadFaults {
    /// The role.
    pub role: Arc<str>,
    /// Faults it completed: passes of the role.
    pub faults: u64,
    /// Its own length of the window in seconds.
    pub seconds: f64,
}

/// The threads of a sample together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// Faults of all threads.
    pub faults: u64,
    /// Length of the window in seconds: the mean over threads of their own elapsed time.
    pub seconds: f64,
    /// `faults / seconds`.
    pub faults_per_second: f64,
    /// Time one thread spends on one fault, in nanoseconds. Of several roles: the geometric mean of
    /// theirs, so that the ratio of two samples is that of the roles' ratios.
    pub ns_per_fault: f64,
}

impl Totals {
    /// Of these threads.
    pub fn of(threads: &[ThreadFaults]) -> Totals {
        let roles = by_role(threads);
        let (faults, seconds, ns_per_fault) = sums(threads);
        let logarithms = roles.values().map(|threads| sums(threads).2.ln());
        Totals {
            faults,
            seconds,
            faults_per_second: faults as f64 / seconds,
            ns_per_fault: match roles.len() {
                0 | 1 => ns_per_fault,
                count => (logarithms.sum::<f64>() / count as f64).exp(),
            },
        }
    }
}

/// Faults, mean seconds, and nanoseconds of one thread for one fault.
fn sums(threads: &[ThreadFaults]) -> (u64, f64, f64) {
    let count = threads.len() as f64;
    let faults: u64 = threads.iter().map(|t| t.faults).sum();
    let seconds = threads.iter().map(|t| t.seconds).sum::<f64>() / count;
    (faults, seconds, count * seconds * 1e9 / faults as f64)
}

/// The threads of each role, by its name.
pub fn by_role(threads: &[ThreadFaults]) -> BTreeMap<Arc<str>, Vec<ThreadFaults>> {
    let mut roles: BTreeMap<Arc<str>, Vec<ThreadFaults>> = BTreeMap::new();
    for thread in threads {
        let of_role = roles.entry(thread.role.clone()).or_default();
        of_role.push(thread.clone());
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_of_two_samples_is_the_mean_of_the_roles_ratios() {
        let sample = |reader: u64, writer: u64| {
            let thread = |role: &str, faults| ThreadFaults {
                role: role.into(),
                faults,
                seconds: 1.0,
            };
            Totals::of(&[
                thread("read", reader),
                thread("read", reader),
                thread("write", writer),
            ])
        };
        let ratio = sample(4_000, 10).ns_per_fault / sample(1_000, 10).ns_per_fault;
        assert!((ratio - 0.5).abs() < 1e-12, "{ratio}");
        assert_eq!(sample(4_000, 10).faults, 8_010);
    }
}
