//! Rounds of short windows, every quantity in every round.

use super::duo;
use super::findings::{Findings, Link, Rounds};
use super::geometry::Geometry;
use super::solo::{self, Sets, Solo};
use crate::error::{Error, Result};
use crate::machine::pairs::{self, Pair};
use crate::machine::pin::on;
use crate::machine::{CpuId, Topology, pace};
use std::time::{Duration, Instant};

/// A calibration under way.
pub struct Calibration {
    geometry: Geometry,
    sets: Sets,
    cpu: CpuId,
    bench: solo::Bench,
    solo: Solo,
    stages: Vec<(Pair, duo::Stage, Rounds)>,
    begun: Instant,
}

impl Calibration {
    /// Memory is laid out; nothing is measured yet.
    pub fn new(topology: &Topology, geometry: Geometry) -> Result<Calibration> {
        let cpu = topology.allowed().next().map(|cpu| cpu.id).ok_or_else(|| {
            Error::Refused("this process may run on no CPU that hwloc knows".into())
        })?;
        let sets = Sets::of(&geometry);
        // Laid out by the CPU that uses it: its memory is then of that CPU's node.
        let bench = on(cpu, || solo::Bench::new(&sets))??;
        let mut pairs = pairs::pairs(topology);
        pairs.dedup_by_key(|pair| pair.distance);
        let stage = |pair: &Pair| Ok((*pair, duo::Stage::new(*pair)?, Vec::new()));
        Ok(Calibration {
            geometry,
            sets,
            cpu,
            bench,
            solo: Solo::default(),
            stages: pairs.iter().map(stage).collect::<Result<_>>()?,
            begun: Instant::now(),
        })
    }

    /// One window of every quantity, some 10 ms in all.
    pub fn round(&mut self) -> Result<()> {
        on(self.cpu, || self.bench.round(&mut self.solo))?;
        for (_, stage, rounds) in &mut self.stages {
            rounds.extend(stage.round()?);
        }
        Ok(())
    }

    /// What all rounds add up to.
    pub fn findings(&self) -> Findings {
        let solo = self.solo.rmw.iter().map(|window| window.pace_ns);
        let duo = self.stages.iter().flat_map(|(_, _, rounds)| rounds);
        let readings: Vec<f64> = solo.chain(duo.map(|(_, pace)| *pace)).collect();
        let undisturbed_ns = pace::undisturbed_ns(&readings).unwrap_or(f64::INFINITY);
        let links = self.stages.iter();
        Findings {
            undisturbed_ns,
            geometry: self.geometry.clone(),
            sets: self.sets,
            cpu: self.cpu,
            solo: self.solo.clone(),
            links: links
                .filter_map(|(pair, _, rounds)| Link::of(*pair, rounds.clone(), undisturbed_ns))
                .collect(),
            seconds: self.begun.elapsed().as_secs_f64(),
        }
    }
}

/// Measure for about `total`.
pub fn measure(topology: &Topology, geometry: Geometry, total: Duration) -> Result<Findings> {
    let mut calibration = Calibration::new(topology, geometry)?;
    let start = Instant::now();
    while start.elapsed() < total {
        calibration.round()?;
    }
    Ok(calibration.findings())
}
