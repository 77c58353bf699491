//! The loop: block after block at every point that is not decided, until time or blocks run out.

use super::{Backend, Block, Cell, Design, Measured, Totals, Verdicts};
use crate::error::{Error, Result};
use crate::results::Sample;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Probes of one block that differ by more than this factor from their median were taken in
/// different modes of the machine. Modes seen on virtual machines are a factor 2 to 10 apart (11,
/// 27 and 120 ns); within a mode a probe repeats within a tenth.
const SAME_MODE: f64 = 1.5;

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Stop when so much time has passed.
    pub budget: Option<Duration>,
    /// Take exactly so many blocks at every point, decided or not.
    pub blocks: Option<u64>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every verdict is decided.
    Decided,
    /// The budget is spent.
    BudgetSpent,
    /// The blocks asked for are taken.
    BlocksTaken,
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

/// Who is told how the run goes on.
pub trait Watch {
    /// A block is finished: these are its rows.
    fn block(&mut self, samples: &[Sample]) -> Result<()>;
    /// So much of the run is done (0 to 1), and so many of all verdicts are decided.
    fn progress(&mut self, done: f64, decided: usize, verdicts: usize);
}

/// Run the experiment. `verdicts` may hold blocks of an earlier run, which are not repeated.
pub fn drive(
    design: &Design,
    limits: Limits,
    backend: &mut dyn Backend,
    verdicts: &mut Verdicts,
    watch: &mut dyn Watch,
    interrupted: &AtomicBool,
) -> Result<Ending> {
    let start = Instant::now();
    let spent = |start: Instant| {
        limits
            .budget
            .is_some_and(|budget| start.elapsed() >= budget)
    };
    loop {
        let mut measured_any = false;
        for point in 0..design.points.len() {
            let next = verdicts.blocks(point);
            let wanted = match limits.blocks {
                Some(blocks) => next < blocks,
                // A couple of blocks is the unit of analysis: never stop in the middle of one.
                None => !verdicts.is_decided(point) || !next.is_multiple_of(2),
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
            let cells = block.cells.iter().zip(measured);
            let mut samples: Vec<Sample> = cells
                .map(|(cell, measured)| sample(design, cell, measured))
                .collect();
            mark_other_modes(&mut samples);
            watch.block(&samples)?;
            verdicts.push_block(design, &block, &samples);
            let time = limits.budget.map_or(0.0, |budget| {
                start.elapsed().as_secs_f64() / budget.as_secs_f64()
            });
            let counted = limits.blocks.map_or(0.0, |blocks| {
                let taken: u64 = (0..design.points.len()).map(|p| verdicts.blocks(p)).sum();
                taken as f64 / (blocks * design.points.len() as u64) as f64
            });
            let (decided, all) = verdicts.decided();
            watch.progress(time.max(counted).min(1.0), decided, all);
            if spent(start) {
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

/// The CSV row of what was measured.
fn sample(design: &Design, cell: &Cell, measured: Measured) -> Sample {
    let point = &design.points[cell.point];
    let totals = Totals::of(&measured.threads);
    let mut invalid = measured.invalid;
    if totals.faults == 0 {
        invalid.push("no fault was completed".to_owned());
    }
    let by_thread = || measured.threads.iter().map(|t| t.faults);
    Sample {
        run: design.run.clone(),
        backend: design.backend.clone(),
        machine: design.machine.clone(),
        layout: design.arms[cell.arm].clone(),
        scenario: point.scenario.clone(),
        placement: point.placement.clone(),
        threads: point.threads,
        prefetch: cell.prefetch.name().to_owned(),
        block: cell.block,
        order: cell.order,
        faults: totals.faults,
        seconds: totals.seconds,
        faults_per_second: totals.faults_per_second,
        ns_per_fault: totals.ns_per_fault,
        slowest_thread_faults: by_thread().min().unwrap_or(0),
        fastest_thread_faults: by_thread().max().unwrap_or(0),
        probe_ns: measured.probe_ns,
        valid: invalid.is_empty(),
        invalid_reason: invalid.join("; "),
        accesses: measured.accesses,
        wall_seconds: measured.wall_seconds,
        first_slot: Some(cell.first_slot),
        counters: measured.counters,
    }
}

/// Mark the samples whose probe fell in another mode than the block's.
fn mark_other_modes(samples: &mut [Sample]) {
    let mut probes: Vec<f64> = samples.iter().filter_map(|s| s.probe_ns).collect();
    if probes.is_empty() {
        return;
    }
    probes.sort_by(f64::total_cmp);
    let median = probes[probes.len() / 2];
    for sample in samples {
        let Some(probe) = sample.probe_ns else {
            continue;
        };
        if probe > median * SAME_MODE || probe < median / SAME_MODE {
            let reason = format!("probe {probe:.0} ns where the block's median is {median:.0} ns");
            if !sample.invalid_reason.is_empty() {
                sample.invalid_reason.push_str("; ");
            }
            sample.invalid_reason.push_str(&reason);
            sample.valid = false;
        }
    }
}
