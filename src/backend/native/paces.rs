//! The pace of the cores that threads of a sample ran on, judged by what those cores can do.
//!
//! Not here: how pace is read (`machine::pace`), and what becomes of a sample (`experiment`).

use super::pool::{WindowReport, is_oversubscribed};
use crate::error::Result;
use crate::experiment::{Invalid, Pace};
use crate::machine::pace::Reference;
use crate::machine::{CpuId, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All readings of the beginning take about so long together.
const BEGINNING: Duration = Duration::from_millis(100);

/// What the cores can do, and what the threads of each design point leave of them.
pub struct Paces {
    references: BTreeMap<CpuId, Reference>,
    /// By design point: its CPUs (index = thread), and how they lie.
    points: Vec<(Vec<CpuId>, Cores)>,
}

/// How the threads of a design point lie on cores.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cores {
    /// Each thread has a core to itself, as far as this system knows.
    Apart,
    /// Some are siblings: they slow each other down, and readings tell nothing of anyone else.
    Shared,
    /// Some share a CPU, so that readings tell nothing at all.
    Oversubscribed,
}

impl Cores {
    fn of(cpus: &[CpuId], topology: &Topology) -> Cores {
        if is_oversubscribed(cpus) {
            return Cores::Oversubscribed;
        }
        let core = |cpu: &CpuId| topology.cpu(*cpu).map(|cpu| cpu.core);
        let cores: BTreeSet<usize> = cpus.iter().filter_map(core).collect();
        match cores.len() < cpus.len() {
            true => Cores::Shared,
            false => Cores::Apart,
        }
    }
}

impl Paces {
    /// Read the pace of every CPU in `cpus` (by design point), one after the other.
    pub fn take(cpus: &[Vec<CpuId>], topology: &Topology) -> Result<Paces> {
        let points = cpus.iter();
        let points = points.map(|cpus| (cpus.clone(), Cores::of(cpus, topology)));
        let used: BTreeSet<CpuId> = cpus.iter().flatten().copied().collect();
        let time = BEGINNING / used.len().max(1) as u32;
        let take = |cpu| Ok((cpu, Reference::take(cpu, time)?));
        let references = used.into_iter().map(take);
        Ok(Paces {
            references: references.collect::<Result<_>>()?,
            points: points.collect(),
        })
    }

    /// Take note of earlier samples at a design point: of the slowest reading of each. What the
    /// slowest of its cores can do, the others can.
    pub fn lower(&mut self, point: usize, slowest_ns: &[f64]) {
        if let (cpus, Cores::Apart) = &self.points[point] {
            for cpu in cpus {
                let reference = self.references.entry(*cpu).or_default();
                reference.lower(slowest_ns);
            }
        }
    }

    /// The pace of a sample at a design point, from the readings of its threads; and why it may not
    /// be used, if that of a thread changed meanwhile.
    pub fn judge(
        &mut self,
        point: usize,
        reports: &[WindowReport],
    ) -> (Option<Pace>, Option<Invalid>) {
        let cpus = match &self.points[point] {
            (_, Cores::Oversubscribed) => return (None, None),
            (_, Cores::Shared) => return (Some(Pace::Shared), None),
            (cpus, Cores::Apart) => cpus,
        };
        let (mut slowest, mut changed) = (Pace::Full, None);
        for (cpu, report) in cpus.iter().zip(reports) {
            let reference = self.references.entry(*cpu).or_default();
            report.pace_ns.iter().for_each(|ns| reference.note(*ns));
            let [before, after] = report.pace_ns.map(|ns| match reference.is_shared(ns) {
                true => Pace::Shared,
                false => Pace::Full,
            });
            slowest = slowest.max(before).max(after);
            if before != after {
                changed = changed.or(Some(Invalid::PaceChanged(before, after)));
            }
        }
        (Some(slowest), changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Role;

    fn report(pace_ns: [f64; 2]) -> WindowReport {
        WindowReport {
            thread: 0,
            role: Role {
                name: "r".into(),
                counted: true,
            },
            passes: Vec::new(),
            tallies: Vec::new(),
            elapsed: Duration::ZERO,
            probe_ns: None,
            pace_ns,
            kernel: Default::default(),
            counters: Default::default(),
            pin: None,
        }
    }

    fn paces(cores: Cores) -> Paces {
        let mut paces = Paces {
            references: BTreeMap::new(),
            points: vec![(vec![CpuId(0), CpuId(1)], cores)],
        };
        paces.lower(0, &[0.4; 20]);
        paces
    }

    #[test]
    fn the_slowest_reading_of_any_thread_decides_and_a_change_is_told() {
        let judge = |a, b| paces(Cores::Apart).judge(0, &[report(a), report(b)]);
        assert_eq!(judge([0.4, 0.45], [0.42, 0.4]), (Some(Pace::Full), None));
        assert_eq!(judge([0.4, 0.4], [0.7, 0.72]), (Some(Pace::Shared), None));
        let changed = Invalid::PaceChanged(Pace::Full, Pace::Shared);
        assert_eq!(
            judge([0.4, 0.7], [0.7, 0.7]),
            (Some(Pace::Shared), Some(changed))
        );
    }

    #[test]
    fn of_threads_that_share_a_core_or_a_cpu_readings_tell_nothing() {
        let cpus = [CpuId(0), CpuId(1)];
        let judge = |cores| paces(cores).judge(0, &[report([0.4, 0.7]), report([0.4; 2])]);
        assert_eq!(judge(Cores::Shared), (Some(Pace::Shared), None));
        assert_eq!(judge(Cores::Oversubscribed), (None, None));
        let smt = Topology::from_synthetic("core:2 pu:2").unwrap();
        assert_eq!(Cores::of(&cpus, &smt), Cores::Shared);
        assert_eq!(Cores::of(&[CpuId(0), CpuId(2)], &smt), Cores::Apart);
        assert_eq!(
            Cores::of(&[CpuId(0), CpuId(0)], &smt),
            Cores::Oversubscribed
        );
    }
}
