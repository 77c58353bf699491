//! What orders cost on machine models: every layout with the same seeds.

use crate::case::{Case, CaseLayout};
use crate::error::{Error, Result};
use crate::machine::{Placement, threads};
use crate::program::steps::{StepsSpec, places};
use crate::program::totals::Totals;
use crate::sim::Machine;
use crate::sim::run::{SampleSpec, run_unless};
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Simulates layouts of a case.
pub struct Scorer<'a> {
    /// The case; its own layouts do not matter.
    pub case: &'a Case,
    /// The machines.
    pub machines: Vec<Machine>,
    /// Thread counts.
    pub threads: Vec<usize>,
    /// Everything random follows from this.
    pub seed: u64,
    /// Accesses of a pass, about.
    pub accesses: f64,
    /// Set when all is to be given up.
    pub stop: &'a AtomicBool,
}

/// How closely is looked.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Machines, by number: the first so many.
    pub machines: usize,
    /// Thread counts: the last so many.
    pub threads: usize,
    /// Samples of each at most.
    pub repeats: u64,
    /// Starting slots of a slab, at most.
    pub phases: usize,
    /// Accesses of a sample, about.
    pub accesses: f64,
}

/// Logarithms of times for each layout: by repeat, then by machine and thread count.
pub type Times = Vec<Vec<Vec<f64>>>;

/// Passes of one thread in a sample.
const PASSES: std::ops::RangeInclusive<f64> = 6.0..=2000.0;

impl Scorer<'_> {
    /// Machine and thread count of each figure.
    pub fn points(&self, effort: &Effort) -> Vec<(usize, usize)> {
        let skip = self.threads.len().saturating_sub(effort.threads);
        let threads = &self.threads[skip..];
        let fits = |machine: &Machine, count: usize| count <= machine.shape.cpus();
        let machines = self.machines.iter().enumerate();
        let machines = machines
            .filter(|(_, machine)| threads.iter().any(|count| fits(machine, *count)))
            .take(effort.machines);
        let points = machines.flat_map(|(number, machine)| {
            let counts = threads.iter().filter(move |count| fits(machine, **count));
            counts.map(move |count| (number, *count))
        });
        points.collect()
    }

    /// Simulate every layout.
    pub fn times(&self, layouts: &[CaseLayout], effort: &Effort) -> Result<Times> {
        let case = Arc::new(Case {
            text: String::new(),
            layouts: layouts.to_vec(),
            ..self.case.clone()
        });
        let points = self.points(effort);
        if points.is_empty() {
            return Err(Error::Input(
                "none of the machines has so many CPUs as threads were asked for; give fewer with \
                 --threads"
                    .to_owned(),
            ));
        }
        let mut samples = Vec::new();
        for (layout, of) in layouts.iter().enumerate() {
            let phases = places::phases(&case, of).clamp(1, effort.phases.max(1));
            for repeat in 0..effort.repeats {
                for (point, &(machine, threads)) in points.iter().enumerate() {
                    let slots =
                        (0..phases).map(|slot| (layout, repeat, point, machine, threads, slot));
                    samples.extend(slots);
                }
            }
        }
        threads::for_simulations()?;
        let times: Vec<f64> = samples
            .par_iter()
            .map(|&(layout, repeat, _, machine, threads, first_slot)| {
                let seed = self
                    .seed
                    .wrapping_add(repeat.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let program = StepsSpec {
                    case: case.clone(),
                    layout,
                    threads,
                    first_slot,
                    seed,
                };
                let passes = effort.accesses / (self.accesses * threads as f64);
                let passes = passes.clamp(*PASSES.start(), *PASSES.end()) as u64;
                let spec = SampleSpec::new(program, Placement::Compact, seed, passes);
                let run = run_unless(self.stop, &self.machines[machine], &spec)?;
                Ok(Totals::of(&run.threads).ns_per_fault.ln())
            })
            .collect::<Result<_>>()?;
        let mut all: Times =
            vec![vec![vec![0.0; points.len()]; effort.repeats as usize]; layouts.len()];
        let mut counts =
            vec![vec![vec![0.0f64; points.len()]; effort.repeats as usize]; layouts.len()];
        for (&(layout, repeat, point, ..), time) in samples.iter().zip(&times) {
            all[layout][repeat as usize][point] += time;
            counts[layout][repeat as usize][point] += 1.0;
        }
        for (times, counts) in all
            .iter_mut()
            .flatten()
            .flatten()
            .zip(counts.iter().flatten().flatten())
        {
            *times /= counts.max(1.0);
        }
        Ok(all)
    }
}

/// What a layout costs beside another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Time over the baseline's, the geometric mean over machines and thread counts.
    pub ratio: f64,
    /// Standard error of its logarithm over repeats; 0 where there is one.
    pub error: f64,
    /// The ratio at each machine and thread count.
    pub each: Vec<f64>,
}

impl Cost {
    /// Of one layout over another, with the same seeds.
    pub fn of(times: &[Vec<f64>], baseline: &[Vec<f64>]) -> Cost {
        let points = times.first().map_or(0, Vec::len);
        let repeats = times.len().max(1) as f64;
        let differences: Vec<Vec<f64>> = times
            .iter()
            .zip(baseline)
            .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect())
            .collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let of_repeats: Vec<f64> = differences.iter().map(|of| mean(of)).collect();
        let all = mean(&of_repeats);
        let squares: f64 = of_repeats.iter().map(|one| (one - all).powi(2)).sum();
        let error = match of_repeats.len() {
            0 | 1 => 0.0,
            _ => (squares / (repeats - 1.0) / repeats).sqrt(),
        };
        let each = (0..points).map(|point| {
            let sum: f64 = differences.iter().map(|of| of[point]).sum();
            (sum / repeats).exp()
        });
        Cost {
            ratio: all.exp(),
            error,
            each: each.collect(),
        }
    }
}
