//! The simulator as a backend: the same samples, executed on a machine model.
//!
//! Here: from a planned sample to a simulated one, and the prefetcher factor. Not here: the model
//! (`sim`).

use super::arms::Arms;
use super::faults::FaultArms;
use crate::error::{Error, Result};
use crate::experiment::{Backend, Block, Design, Measured, PlannedSample, Prefetch};
use crate::machine::{Placement, threads};
use crate::program::fault::path::PageWork;
use crate::sim::local_work::{LONGEST, LocalWork};
use crate::sim::machine::Prefetchers;
use crate::sim::{Counts, Machine, run};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Faults of one thread, on average, in a sample: enough that a sample's own scatter is below a
/// per cent on every machine here.
const FAULTS_PER_THREAD: u64 = 400;

/// A machine model that takes samples.
pub struct Sim<A = FaultArms> {
    machine: Machine,
    /// The same without the prefetchers that complete pairs.
    without: Machine,
    arms: A,
    placements: Vec<Placement>,
}

impl<A: Arms> Sim<A> {
    /// The backend of `design`, whose programs are `arms`, on `machine`. Every placement is checked
    /// here.
    pub fn new(machine: Machine, arms: A, design: &Design) -> Result<Sim<A>> {
        threads::for_simulations()?;
        for (at, arm) in design.arms.iter().enumerate() {
            if arms.handicap(at).get() > 0 {
                return Err(Error::Input(format!(
                    "'{arm}' cannot be simulated: a machine model has no noise that a handicap \
                     would be measured against; name the layout alone"
                )));
            }
        }
        if let PageWork::Nanos(nanos) = design.page_work
            && Duration::from_nanos(nanos.into()) > LONGEST
        {
            return Err(Error::Input(format!(
                "page work of {:?} is too long to simulate; give --page-work of {LONGEST:?} at most",
                Duration::from_nanos(nanos.into())
            )));
        }
        for point in &design.points {
            machine.shape.place(&point.placement, point.threads)?;
        }
        let mut without = machine.clone();
        without.prefetchers = Prefetchers {
            adjacent_line: None,
            up_down: None,
            ..machine.prefetchers
        };
        if design.prefetch.len() > 1 && without.prefetchers == machine.prefetchers {
            return Err(Error::Refused(format!(
                "{} has no prefetcher that completes pairs, so there is nothing to switch; leave \
                 --prefetch away, or take broadwell-ep",
                machine.name
            )));
        }
        Ok(Sim {
            arms,
            placements: design.points.iter().map(|p| p.placement.clone()).collect(),
            machine,
            without,
        })
    }

    /// What `sim::run` needs for a sample.
    pub fn spec(&self, planned: &PlannedSample) -> run::SampleSpec<A::Blueprint> {
        let program = self.arms.blueprint(planned);
        // Arms of a block differ in their chances as samples of a machine do: with one seed for
        // all, the A/A arm would be the baseline to the last access.
        let seed = planned.seed ^ planned.order as u64;
        let placement = self.placements[planned.point].clone();
        let local = self.arms.local(planned.point);
        run::SampleSpec {
            access_ns: local.map_or(0.0, |work| work.access_ns),
            between_ns: local.map_or(0, |work| work.between_ns),
            ..run::SampleSpec::new(program, placement, seed, FAULTS_PER_THREAD)
        }
    }

    /// The machine in the state that a sample asks for.
    pub fn machine(&self, prefetch: Prefetch) -> &Machine {
        match prefetch {
            Prefetch::Off => &self.without,
            Prefetch::AsIs | Prefetch::On => &self.machine,
        }
    }
}

impl Sim {
    /// Give all arms of a point the local work with which a fault of the baseline takes `time`
    /// at one thread.
    pub fn set_fault_time(&mut self, time: Duration, design: &Design) -> Result<()> {
        if design.page_work != PageWork::None {
            return Err(Error::Input(
                "--fault-time sets the local work itself and cannot be combined with --page-work; \
                 leave one of them out"
                    .to_owned(),
            ));
        }
        let local = (0..self.placements.len()).map(|point| {
            let planned = PlannedSample {
                first_slot: design.first_slot.unwrap_or(0),
                ..PlannedSample::first(point, 0)
            };
            LocalWork::of_fault_time(&self.machine, &self.spec(&planned), time)
        });
        self.arms.local = local.collect::<Result<Vec<_>>>()?;
        Ok(())
    }
}

impl<A: Arms> Backend for Sim<A> {
    fn measure(&mut self, planned: &PlannedSample) -> Result<Measured> {
        measure(self, planned, &AtomicBool::new(false))
    }

    fn measure_block(&mut self, block: &Block, stop: &AtomicBool) -> Result<Vec<Measured>> {
        let this = &*self;
        block
            .samples
            .par_iter()
            .map(|planned| measure(this, planned, stop))
            .collect()
    }
}

fn measure<A: Arms>(sim: &Sim<A>, planned: &PlannedSample, stop: &AtomicBool) -> Result<Measured> {
    let sample = run::run_unless(stop, sim.machine(planned.prefetch), &sim.spec(planned))?;
    let counted = sample.counts.iter().filter(|(role, _)| *role != ACCESSES);
    let counted = counted.chain(sample.tallies);
    Ok(Measured {
        threads: sample.threads,
        accesses: Some(sample.counts.accesses),
        wall_seconds: Some(sample.wall_seconds),
        counters: counted
            .map(|(role, count)| (role.to_owned(), count as f64))
            .collect(),
        ..Measured::default()
    })
}

/// A column of its own in the CSV.
const ACCESSES: &str = "accesses";

/// The counter columns of a simulated run of such programs.
pub fn counters<A: Arms>() -> Vec<String> {
    let counted = Counts::default();
    let roles = counted.iter().map(|(role, _)| role);
    roles
        .filter(|role| *role != ACCESSES)
        .chain(A::TALLIES.iter().map(|tally| tally.name))
        .map(str::to_owned)
        .collect()
}
