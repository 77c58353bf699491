//! What the threads of a sample did in its window, and what that comes to.

/// One thread's share of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreadFaults {
    /// Faults it completed.
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
    /// Time one thread spends on one fault, in nanoseconds.
    pub ns_per_fault: f64,
}

impl Totals {
    /// Of these threads.
    pub fn of(threads: &[ThreadFaults]) -> Totals {
        let count = threads.len() as f64;
        let faults: u64 = threads.iter().map(|t| t.faults).sum();
        let seconds = threads.iter().map(|t| t.seconds).sum::<f64>() / count;
        Totals {
            faults,
            seconds,
            faults_per_second: faults as f64 / seconds,
            ns_per_fault: count * seconds * 1e9 / faults as f64,
        }
    }
}
