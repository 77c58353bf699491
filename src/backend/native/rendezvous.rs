//! Where the threads of a sample wait for one another without sleeping.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Turns before a waiting thread gives its CPU away; with a CPU each it never comes to that.
const SPINS_BEFORE_YIELD: u32 = 10_000;

/// A barrier to be passed any number of times, that lets everybody go when one has failed.
pub struct Rendezvous {
    threads: usize,
    arrived: AtomicUsize,
    round: AtomicUsize,
    failed: AtomicBool,
}

/// Another thread of the sample has failed; this one must stop.
#[derive(Debug)]
pub struct Failed;

impl Rendezvous {
    /// For `threads` threads.
    pub fn new(threads: usize) -> Rendezvous {
        Rendezvous {
            threads,
            arrived: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// Wait until all threads are here.
    pub fn wait(&self) -> Result<(), Failed> {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return Ok(());
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            if self.failed.load(Ordering::Relaxed) {
                return Err(Failed);
            }
            spins += 1;
            if spins < SPINS_BEFORE_YIELD {
                spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Let everybody go: this thread will not come.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}
