//! What a fault does beside the accesses of the path: local work, and where on the path it lies.
//!
//! Here: how it is spread, and how much of it makes a fault take a given time. Not here: what a
//! fault accesses (`program`).

use super::machine::Machine;
use super::run::{self, SampleSpec};
use crate::error::{Error, Result};
use crate::program::fault::path::PageWork;
use crate::program::fault::{self, scenario};
use crate::program::totals::Totals;
use std::time::Duration;

/// Local work of a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalWork {
    /// Before each access of the path, locks apart, in nanoseconds.
    pub access_ns: f64,
    /// Beside the page, with the VMA locked, in nanoseconds.
    pub page_ns: u32,
    /// Before and after the path, in nanoseconds.
    pub between_ns: u32,
}

/// Longest fault that can be asked for: samples of a few hundred faults must end before the
/// clock of the simulation does, at 17 s.
pub const LONGEST: Duration = Duration::from_millis(1);
/// Faults of the samples that the amount of work is found with: jitter is a fraction of a per
/// cent of so many.
const FAULTS: u64 = 500;
/// How often the amount is corrected: more work may hide more of what accesses wait for.
const CORRECTIONS: usize = 2;

impl LocalWork {
    /// A fault of pft, Linux 6.x on `broadwell-ep`: calibrated, with four constants of the
    /// machine, on the split column of `broadwell-pft` with the prefetcher off.
    pub const PFT: LocalWork = LocalWork {
        access_ns: 7.0,
        page_ns: 300,
        between_ns: 1420,
    };

    /// Nothing but the accesses.
    const NONE: LocalWork = LocalWork {
        access_ns: 0.0,
        page_ns: 0,
        between_ns: 0,
    };

    /// Spread as in [`LocalWork::PFT`], and so much of it that a fault of `spec` takes `time` at
    /// one thread. Where the scenario needs a rival, that is a fault in one VMA without it.
    ///
    /// # Errors
    /// When the accesses alone take longer, or the time is above a millisecond.
    pub fn of_fault_time(
        machine: &Machine,
        spec: &SampleSpec,
        time: Duration,
    ) -> Result<LocalWork> {
        if time > LONGEST {
            return Err(Error::Input(format!(
                "a fault of {time:?} is too long to simulate; give --fault-time of {LONGEST:?} at most"
            )));
        }
        let scenario = match spec.program.scenario.min_threads() {
            1 => spec.program.scenario,
            _ => scenario::BuiltIn::OneVma,
        };
        let spec = SampleSpec {
            program: fault::Spec {
                scenario,
                threads: 1,
                ..spec.program
            },
            faults_per_thread: FAULTS,
            explain: false,
            timeline: false,
            ..spec.clone()
        };
        let takes = |work: LocalWork| -> Result<f64> {
            let run = run::run(machine, &work.of(&spec))?;
            Ok(Totals::of(&run.threads).ns_per_fault)
        };
        let time = time.as_secs_f64() * 1e9;
        let bare = takes(LocalWork::NONE)?;
        if time < bare {
            return Err(Error::Input(format!(
                "a fault of {} in {} takes {bare:.1} ns on {} without local work; give \
                 --fault-time more than that, not {time:.0} ns",
                spec.program.layout.name(),
                spec.program.scenario.name(),
                machine.name
            )));
        }
        let whole = takes(LocalWork::PFT)? - bare;
        let (mut share, mut taken) = (0.0, bare);
        for _ in 0..CORRECTIONS {
            share = f64::max(share + (time - taken) / whole, 0.0);
            taken = takes(LocalWork::PFT.times(share))?;
        }
        Ok(LocalWork::PFT.times(share))
    }

    fn times(self, share: f64) -> LocalWork {
        let part = |nanos: u32| (f64::from(nanos) * share).round() as u32;
        LocalWork {
            access_ns: self.access_ns * share,
            page_ns: part(self.page_ns),
            between_ns: part(self.between_ns),
        }
    }

    /// `spec` with this work beside the page, and no other.
    pub fn beside(self, spec: fault::Spec) -> fault::Spec {
        fault::Spec {
            work: match self.page_ns {
                0 => PageWork::None,
                nanos => PageWork::Nanos(nanos),
            },
            ..spec
        }
    }

    /// The sample of `spec` with this work, and no other.
    pub fn of(self, spec: &SampleSpec) -> SampleSpec {
        SampleSpec {
            program: self.beside(spec.program),
            access_ns: self.access_ns,
            between_ns: self.between_ns,
            ..spec.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Placement;
    use crate::program::fault::layouts::VmaLayout;

    fn spec(scenario: scenario::BuiltIn) -> SampleSpec {
        SampleSpec::new(
            fault::Spec::new(VmaLayout::SplitPacked, scenario, 8),
            Placement::Scatter,
            1,
            500,
        )
    }

    #[test]
    fn a_fault_takes_the_time_asked_for_within_a_percent_at_one_thread() {
        let machine = Machine::load("zen5").unwrap();
        let all = scenario::BuiltIn::ALL.iter();
        for &scenario in all.filter(|scenario| scenario.min_threads() == 1) {
            let spec = spec(scenario);
            let time = Duration::from_nanos(1500);
            let work = LocalWork::of_fault_time(&machine, &spec, time).unwrap();
            let mut alone = work.of(&spec);
            alone.program.threads = 1;
            alone.seed = 2;
            let run = run::run(&machine, &alone).unwrap();
            let taken = Totals::of(&run.threads).ns_per_fault;
            let error = taken / 1500.0 - 1.0;
            assert!(error.abs() <= 0.01, "{}: {taken:.1} ns", scenario.name());
        }
    }

    #[test]
    fn a_scenario_that_needs_a_rival_has_the_work_of_a_fault_without_one() {
        let machine = Machine::load("zen5").unwrap();
        let time = Duration::from_nanos(517);
        let work = |scenario| LocalWork::of_fault_time(&machine, &spec(scenario), time).unwrap();
        let alone = work(scenario::BuiltIn::OneVma);
        assert_eq!(work(scenario::BuiltIn::RmapNeighbour), alone);
    }

    #[test]
    fn a_time_that_the_accesses_alone_exceed_or_no_sample_can_last_is_refused() {
        let machine = Machine::load("zen5").unwrap();
        let spec = spec(scenario::BuiltIn::OneVma);
        for (nanos, says) in [(5, "without local work"), (2_000_000, "at most")] {
            let time = Duration::from_nanos(nanos);
            match LocalWork::of_fault_time(&machine, &spec, time) {
                Err(Error::Input(message)) => assert!(message.contains(says), "{message}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
