//! What a fault does beside the accesses of the path: local work, and where on the path it lies.
//!
//! Here: how it is spread, and how much of it makes a fault take a given time. Not here: what a
//! fault accesses (`program`).

use super::machine::Machine;
use super::run::{self, Spec};
use crate::error::{Error, Result};
use crate::experiment::Totals;
use crate::program::fault::path::PageWork;
use std::time::Duration;

/// Local work of a fault, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalWork {
    /// Before each access of the path, locks apart.
    pub access_ns: f64,
    /// Beside the page, with the VMA locked.
    pub page_ns: u32,
    /// Before and after the path.
    pub between_ns: u32,
}

/// Faults of the sample that a time is taken from. One thread waits for nobody, and jitter of
/// less than 1 in each of them is a fraction of a per cent in all.
const FAULTS: u64 = 2_000;
/// How often the work is corrected where more than one thread is needed, and waiting is part of a
/// fault's time.
const CORRECTIONS: usize = 4;

impl LocalWork {
    /// A fault of pft on `broadwell-ep`, Linux 6.x, as calibrated on the published table.
    pub const PFT: LocalWork = LocalWork {
        access_ns: 7.0,
        page_ns: 300,
        between_ns: 1420,
    };

    /// None.
    pub const NONE: LocalWork = LocalWork {
        access_ns: 0.0,
        page_ns: 0,
        between_ns: 0,
    };

    /// Spread as [`LocalWork::PFT`], and so much of it that a fault of `spec` takes `time` on the
    /// fewest threads that the scenario has.
    ///
    /// # Errors
    /// When the accesses alone take longer.
    pub fn of_fault_time(machine: &Machine, spec: &Spec, time: Duration) -> Result<LocalWork> {
        let spec = Spec {
            threads: spec.scenario.min_threads(),
            faults_per_thread: FAULTS,
            ..spec.clone()
        };
        let takes = |work: &LocalWork| -> Result<f64> {
            let run = run::run(machine, &work.of(&spec))?;
            Ok(Totals::of(&run.threads).ns_per_fault)
        };
        let time = time.as_secs_f64() * 1e9;
        let bare = takes(&LocalWork::NONE)?;
        if time < bare {
            return Err(Error::Input(format!(
                "a fault of {} in {} takes {bare:.1} ns on {} without any local work, which is more \
                 than {time} ns; give --fault-time more than that",
                spec.layout.name(),
                spec.scenario.name(),
                machine.name
            )));
        }
        let mut share = 0.0;
        let mut taken = bare;
        let whole = takes(&LocalWork::PFT)? - bare;
        for _ in 0..CORRECTIONS {
            share = f64::max(share + (time - taken) / whole, 0.0);
            taken = takes(&LocalWork::PFT.scaled(share))?;
        }
        Ok(LocalWork::PFT.scaled(share))
    }

    fn scaled(self, share: f64) -> LocalWork {
        let part = |nanos: u32| (f64::from(nanos) * share).round() as u32;
        LocalWork {
            access_ns: self.access_ns * share,
            page_ns: part(self.page_ns),
            between_ns: part(self.between_ns),
        }
    }

    /// The sample of `spec` with this work in it.
    pub fn of(self, spec: &Spec) -> Spec {
        Spec {
            work: match self.page_ns {
                0 => spec.work,
                nanos => PageWork::Nanos(nanos),
            },
            access_ns: self.access_ns,
            between_ns: self.between_ns,
            ..spec.clone()
        }
    }
}
