//! A block that was taken: the one state of the machine that it belongs to, which of its samples are
//! in it, and its rows.
//!
//! Not here: when a sample is taken again (`drive`), and what a backend finds in one (`backend`).

use super::{
    BackendKind, Block, Code, Design, Invalid, Limits, Measured, Pace, PlannedSample, Sample,
    Stratum, TransferBin,
};
use crate::program::totals::{ThreadFaults, Totals, by_role};
use crate::stats::median;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Probes of one block that differ by more than this factor from their median were taken in
/// different modes of the machine. Modes seen on virtual machines are a factor 2 to 10 apart (11,
/// 27 and 120 ns); within a mode a probe repeats within a tenth.
const SAME_MODE: f64 = 1.5;

/// A block with the latest attempt at each of its samples.
pub(super) struct Taken<'d> {
    design: &'d Design,
    limits: Limits,
    block: Block,
    /// In the order of the block.
    latest: Vec<Measured>,
    attempts: Vec<u32>,
}

/// The state that most of a block was taken in.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    probe_ns: Option<f64>,
    pace: Option<Pace>,
}

impl State {
    /// The median of the probes, and the pace of the majority: full, where it is half and half.
    fn of<'m>(samples: impl Iterator<Item = &'m Measured> + Clone) -> State {
        let mut probes: Vec<f64> = samples.clone().filter_map(|m| m.probe_ns).collect();
        probes.sort_by(f64::total_cmp);
        let count = |pace| samples.clone().filter(|m| m.pace == Some(pace)).count();
        let pace = match (count(Pace::Full), count(Pace::Shared)) {
            (0, 0) => None,
            (full, shared) if full >= shared => Some(Pace::Full),
            _ => Some(Pace::Shared),
        };
        State {
            probe_ns: (!probes.is_empty()).then(|| median(&probes)),
            pace,
        }
    }

    /// Why a sample was taken in another one.
    fn other_than(&self, sample: &Measured) -> Vec<Invalid> {
        let mut why = Vec::new();
        if let (Some(probe), Some(median)) = (sample.probe_ns, self.probe_ns)
            && (probe > median * SAME_MODE || probe < median / SAME_MODE)
        {
            why.push(Invalid::OtherMode(probe, median));
        }
        if let (Some(pace), Some(block)) = (sample.pace, self.pace)
            && pace != block
            // That says it already.
            && !sample.invalid.iter().any(|why| why.code() == Code::OtherPace)
        {
            why.push(Invalid::OtherPace(pace, block));
        }
        why
    }
}

impl<'d> Taken<'d> {
    /// The first pass over `block`.
    pub fn new(
        design: &'d Design,
        limits: Limits,
        block: Block,
        measured: Vec<Measured>,
    ) -> Taken<'d> {
        Taken {
            design,
            limits,
            attempts: vec![1; measured.len()],
            latest: measured,
            block,
        }
    }

    /// What was to be taken.
    pub fn plan(&self) -> &Block {
        &self.block
    }

    /// Positions in the block of the samples that cannot be used as they are, but may be when they
    /// are taken again.
    pub fn unusable(&self) -> Vec<usize> {
        let state = State::of(self.latest.iter());
        let passing = |m: &Measured| {
            let block = state.other_than(m);
            m.invalid.iter().chain(&block).any(|why| why.code().is_passing())
                // Of a sample that would not be usable either way there is no better one.
                && m.invalid.iter().all(|why| why.code().is_passing())
        };
        let samples = self.latest.iter().enumerate();
        samples
            .filter(|(_, m)| passing(m))
            .map(|(at, _)| at)
            .collect()
    }

    /// Another attempt at the sample in this position.
    pub fn replace(&mut self, at: usize, measured: Measured) {
        self.latest[at] = measured;
        self.attempts[at] += 1;
    }

    /// The rows of its samples, all in one stratum, and those of the roles of each where there are
    /// several.
    pub fn rows(self) -> (Vec<Sample>, Vec<Sample>) {
        let state = State::of(self.latest.iter());
        let (mut samples, mut roles) = (Vec::new(), Vec::new());
        let measured = self.latest.into_iter().zip(self.attempts);
        for (planned, (measured, attempts)) in self.block.samples.iter().zip(measured) {
            let threads = by_role(&measured.threads);
            let mut sample = sample(self.design, self.limits, planned, measured, state);
            if self.design.backend == BackendKind::Native {
                sample.attempts = Some(attempts);
            }
            roles.extend(of_roles(&sample, &threads));
            samples.push(sample);
        }
        (samples, roles)
    }
}

/// The rows of the roles of `sample`, if there are several: its own, but for what the threads of
/// the role did, and without counters, which nobody counts by role.
fn of_roles(sample: &Sample, threads: &BTreeMap<Arc<str>, Vec<ThreadFaults>>) -> Vec<Sample> {
    if threads.len() < 2 {
        return Vec::new();
    }
    let rows = threads.iter().map(|(role, threads)| {
        let mut row = Sample {
            role: Some(role.to_string()),
            counters: BTreeMap::new(),
            accesses: None,
            wall_seconds: None,
            ..sample.clone()
        };
        set_faults(&mut row, threads);
        row
    });
    rows.collect()
}

/// What `threads` did, in the row.
fn set_faults(row: &mut Sample, threads: &[ThreadFaults]) {
    let totals = Totals::of(threads);
    let by_thread = || threads.iter().map(|t| t.faults);
    row.faults = totals.faults;
    row.seconds = totals.seconds;
    row.faults_per_second = totals.faults_per_second;
    row.ns_per_fault = totals.ns_per_fault;
    row.slowest_thread_faults = by_thread().min().unwrap_or(0);
    row.fastest_thread_faults = by_thread().max().unwrap_or(0);
}

/// The row of what was measured, in a block of this state.
fn sample(
    design: &Design,
    limits: Limits,
    planned: &PlannedSample,
    measured: Measured,
    state: State,
) -> Sample {
    let mut invalid = measured.invalid.clone();
    invalid.extend(state.other_than(&measured));
    let mut sample = Sample {
        run: design.run.clone(),
        backend: design.backend,
        machine: design.machine.clone(),
        prefetch: planned.prefetch,
        block: planned.block,
        order: planned.order,
        probe_ns: measured.probe_ns,
        accesses: measured.accesses,
        wall_seconds: measured.wall_seconds,
        first_slot: Some(planned.first_slot),
        host: design.host.clone(),
        label: design.label.clone(),
        boot_id: design.boot_id.clone(),
        baseline: design.arms.first().cloned(),
        margin: Some(design.margin),
        blocks_planned: limits.blocks,
        stratum: Stratum {
            slot: Some(planned.first_slot as u32 % 2),
            transfer_ns: state.probe_ns.map(TransferBin::of),
            pace: state.pace,
        },
        code: measured.code.clone(),
        counters: measured.counters,
        ..Sample::new(
            design.arms[planned.arm].clone(),
            design.points[planned.point].clone(),
        )
    };
    set_faults(&mut sample, &measured.threads);
    for why in &invalid {
        sample.invalidate(why);
    }
    let idle = |threads: &Vec<ThreadFaults>| threads.iter().all(|t| t.faults == 0);
    if by_role(&measured.threads).values().any(idle) || measured.threads.is_empty() {
        sample.invalidate(&Invalid::NoFaults);
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(probe_ns: Option<f64>, pace: Option<Pace>) -> Measured {
        Measured {
            probe_ns,
            pace,
            ..Measured::default()
        }
    }

    #[test]
    fn the_mode_of_a_block_is_the_median_of_its_probes() {
        let other = |probes: &[f64]| -> Vec<bool> {
            let samples: Vec<Measured> =
                probes.iter().map(|ns| measured(Some(*ns), None)).collect();
            let state = State::of(samples.iter());
            samples
                .iter()
                .map(|m| !state.other_than(m).is_empty())
                .collect()
        };
        assert_eq!(other(&[11.0, 11.5, 27.0]), [false, false, true]);
        // Of an even number neither of the two in the middle decides alone.
        assert_eq!(other(&[27.0, 19.0]), [false, false]);
        assert_eq!(other(&[120.0, 11.0]), [true, true]);
    }

    #[test]
    fn the_pace_of_a_block_is_that_of_most_of_its_samples() {
        let (full, shared) = (Some(Pace::Full), Some(Pace::Shared));
        let pace = |paces: &[Option<Pace>]| {
            let samples: Vec<Measured> = paces.iter().map(|pace| measured(None, *pace)).collect();
            let state = State::of(samples.iter());
            let others = samples.iter().filter(|m| !state.other_than(m).is_empty());
            (state.pace, others.count())
        };
        assert_eq!(pace(&[full, full, shared]), (full, 1));
        assert_eq!(pace(&[shared, full, shared]), (shared, 1));
        assert_eq!(pace(&[shared, full]), (full, 1));
        assert_eq!(pace(&[None, shared]), (shared, 0));
        assert_eq!(pace(&[None, None]), (None, 0));
    }
}
