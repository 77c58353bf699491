//! The loop: block after block at every point that is not decided, until time or blocks run out.

use super::{
    Backend, Block, Design, Invalid, Limits, Measured, PlannedSample, Point, Sample, Stratum,
    TransferBin,
};
use crate::error::{Error, Result};
use crate::program::totals::{ThreadFaults, Totals, by_role};
use crate::stats::median;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Probes of one block that differ by more than this factor from their median were taken in
/// different modes of the machine. Modes seen on virtual machines are a factor 2 to 10 apart (11,
/// 27 and 120 ns); within a mode a probe repeats within a tenth.
const SAME_MODE: f64 = 1.5;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every verdict is decided.
    Decided,
    /// The budget is spent.
    BudgetSpent,
    /// The blocks asked for are taken.
    BlocksTaken,
    /// Ctrl-C, a signal, or an error.
    Interrupted,
}

impl Ending {
    /// An end that was asked for, or the error of one that was not.
    pub fn finished(self) -> Result<()> {
        match self {
            Ending::Interrupted => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }
}

/// Who takes the rows, and says when it is enough.
pub trait Watch {
    /// A block is finished: these are its rows, and those of the roles of each where there are
    /// several.
    fn block(&mut self, samples: Vec<Sample>, roles: Vec<Sample>) -> Result<()>;
    /// Whether every verdict at this point is decided.
    fn is_decided(&self, point: &Point) -> bool;
    /// So much of the run is done (0 to 1).
    fn progress(&mut self, _done: f64) {}
}

/// Run the experiment. `taken` counts the blocks of each design point: those of an earlier part of
/// the run are not repeated.
pub fn drive(
    design: &Design,
    limits: Limits,
    taken: &mut [u64],
    backend: &mut dyn Backend,
    watch: &mut dyn Watch,
    interrupted: &AtomicBool,
) -> Result<Ending> {
    let start = Instant::now();
    loop {
        let mut measured_any = false;
        for (point, at) in design.points.iter().enumerate() {
            let next = taken[point];
            let wanted = match limits.blocks {
                Some(blocks) => next < blocks,
                // A couple of blocks is the unit of analysis: never stop in the middle of one.
                None => !watch.is_decided(at) || !next.is_multiple_of(2),
            };
            if !wanted {
                continue;
            }
            measured_any = true;
            let block = Block::of(design, point, next);
            if interrupted.load(Ordering::Relaxed) {
                return Ok(Ending::Interrupted);
            }
            let measured = match backend.measure_block(&block, interrupted) {
                Ok(measured) => measured,
                Err(Error::Interrupted) => return Ok(Ending::Interrupted),
                Err(error) => return Err(error),
            };
            let threads: Vec<_> = measured.iter().map(|m| by_role(&m.threads)).collect();
            let planned = block.samples.iter().zip(measured);
            let mut samples: Vec<Sample> = planned
                .map(|(planned, measured)| sample(design, limits, planned, measured))
                .collect();
            mark_other_modes(&mut samples);
            let roles = samples.iter().zip(&threads);
            let roles = roles.flat_map(|(sample, threads)| of_roles(sample, threads));
            let roles = roles.collect();
            watch.block(samples, roles)?;
            taken[point] += 1;
            let time = limits.budget.map_or(0.0, |budget| {
                start.elapsed().as_secs_f64() / budget.as_secs_f64()
            });
            let counted = limits.blocks.map_or(0.0, |blocks| {
                let taken: u64 = taken.iter().sum();
                taken as f64 / (blocks as f64 * design.points.len() as f64)
            });
            watch.progress(time.max(counted).min(1.0));
            if time >= 1.0 {
                return Ok(Ending::BudgetSpent);
            }
        }
        if !measured_any {
            return Ok(match limits.blocks {
                Some(_) => Ending::BlocksTaken,
                None => Ending::Decided,
            });
        }
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

/// The row of what was measured.
fn sample(design: &Design, limits: Limits, planned: &PlannedSample, measured: Measured) -> Sample {
    let slot = planned.first_slot as u32 % 2;
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
            slot: Some(slot),
            transfer_ns: measured.probe_ns.map(TransferBin::of),
            pace: None,
        },
        code: measured.code,
        counters: measured.counters,
        ..Sample::new(
            design.arms[planned.arm].clone(),
            design.points[planned.point].clone(),
        )
    };
    set_faults(&mut sample, &measured.threads);
    for why in &measured.invalid {
        sample.invalidate(why);
    }
    let idle = |threads: &Vec<ThreadFaults>| threads.iter().all(|t| t.faults == 0);
    if by_role(&measured.threads).values().any(idle) || measured.threads.is_empty() {
        sample.invalidate(&Invalid::NoFaults);
    }
    sample
}

/// Mark the samples whose probe fell in another mode than the block's.
fn mark_other_modes(samples: &mut [Sample]) {
    let mut probes: Vec<f64> = samples.iter().filter_map(|s| s.probe_ns).collect();
    if probes.is_empty() {
        return;
    }
    probes.sort_by(f64::total_cmp);
    let median = median(&probes);
    for sample in samples {
        let Some(probe) = sample.probe_ns else {
            continue;
        };
        if probe > median * SAME_MODE || probe < median / SAME_MODE {
            sample.invalidate(&Invalid::OtherMode(probe, median));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Code;

    #[test]
    fn the_mode_of_a_block_is_the_median_of_its_probes() {
        let point = Point {
            scenario: "one-vma".parse().unwrap(),
            placement: "compact".parse().unwrap(),
            threads: 2,
        };
        let block = |probes: &[f64]| -> Vec<bool> {
            let row = |probe: &f64| Sample {
                probe_ns: Some(*probe),
                ..Sample::new("a".parse().unwrap(), point.clone())
            };
            let mut rows: Vec<Sample> = probes.iter().map(row).collect();
            mark_other_modes(&mut rows);
            let marked = rows
                .iter()
                .map(|s| s.invalid_code.contains(&Code::OtherMode));
            marked.collect()
        };
        assert_eq!(block(&[11.0, 11.5, 27.0]), [false, false, true]);
        // Of an even number neither of the two in the middle decides alone.
        assert_eq!(block(&[27.0, 19.0]), [false, false]);
        assert_eq!(block(&[120.0, 11.0]), [true, true]);
    }
}
