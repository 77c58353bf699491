//! `hitm probe --calibrate`: measures the machine in front of you, for the simulator.
//!
//! Here: rounds of short windows, every quantity in every round, and what they add up to. Not
//! here: the windows themselves (`solo`, `duo`) and the machine file made of them (`file`).

mod chain;
mod core;
mod duo;
mod file;
mod geometry;
mod solo;
mod text;

pub use duo::{HandOver, NEIGHBOURS, Round};
pub use file::About;
pub use geometry::{Cache, Geometry};
pub use solo::{Sets, Solo, Window};

use crate::error::{Error, Result};
use crate::machine::pairs::{self, Pair};
use crate::machine::pin::pin_current_thread;
use crate::machine::transfer::{Mode, modes};
use crate::machine::{CpuId, Topology, pace};
use std::time::{Duration, Instant};

/// Rounds of a pair whose ring differs by more than this factor from the mode's were taken in
/// another mode: as for the samples of a block.
const SAME_MODE: f64 = 1.5;

/// A quantity over all windows in which it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// Quantile of 5 %.
    pub low: f64,
    /// Quantile of 95 %.
    pub high: f64,
    /// Windows.
    pub windows: usize,
}

impl Estimate {
    /// Of these values; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Estimate> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let quantile = |q: f64| sorted[(q * last as f64).round() as usize];
        Some(Estimate {
            median: quantile(0.5),
            low: quantile(0.05),
            high: quantile(0.95),
            windows: sorted.len(),
        })
    }
}

fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Rounds of a pair, each with the slowest pace of its cores.
type Rounds = Vec<(Round, f64)>;

/// What lies between two CPUs, in one of the modes it was seen in.
#[derive(Clone, Debug)]
pub struct Link {
    /// The two.
    pub pair: Pair,
    /// Modes of the ring over all rounds.
    pub modes: Vec<Mode>,
    /// The one that counts: the most frequent, unless another was asked for.
    pub mode: Mode,
    /// With the pace of each.
    all: Rounds,
    /// See [`Findings::undisturbed_ns`].
    undisturbed_ns: f64,
}

impl Link {
    fn of(pair: Pair, all: Rounds, undisturbed_ns: f64) -> Option<Link> {
        let rings: Vec<f64> = all.iter().map(|(round, _)| round.ring).collect();
        // The others come of being kept from a CPU.
        let mut modes = modes(&rings);
        if modes.iter().any(Mode::is_notable) {
            modes.retain(Mode::is_notable);
        }
        let mode = *modes.iter().max_by(|a, b| a.share.total_cmp(&b.share))?;
        Some(Link {
            pair,
            modes,
            mode,
            all,
            undisturbed_ns,
        })
    }

    /// The rounds in the mode that counts, on undisturbed cores if there are such rounds; one at
    /// least, that of the mode's median.
    pub fn rounds(&self) -> impl Iterator<Item = &Round> {
        let same = |(round, _): &&(Round, f64)| {
            let ratio = round.ring / self.mode.ns;
            (1.0 / SAME_MODE..=SAME_MODE).contains(&ratio)
        };
        let in_mode = || self.all.iter().filter(same);
        let slowest = match in_mode().any(|(_, pace)| *pace <= self.undisturbed_ns) {
            true => self.undisturbed_ns,
            false => f64::INFINITY,
        };
        in_mode()
            .filter(move |(_, pace)| *pace <= slowest)
            .map(|(round, _)| round)
    }

    /// One quantity over these rounds.
    pub fn estimate(&self, pick: impl Fn(&Round) -> f64) -> Option<Estimate> {
        Estimate::of(self.rounds().map(pick))
    }
}

/// All that was measured.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Topology and caches, from hwloc.
    pub geometry: Geometry,
    /// Working sets that the latencies were taken over.
    pub sets: Sets,
    /// The CPU that `solo` ran on.
    pub cpu: CpuId,
    /// One CPU by itself.
    pub solo: Solo,
    /// The slowest [pace](super::pace) of a core that has all of itself.
    pub undisturbed_ns: f64,
    /// The nearest pair of every distance that this process may use, nearest first.
    pub links: Vec<Link>,
    /// How long it took.
    pub seconds: f64,
}

impl Findings {
    /// Nothing measured yet: a file made of this says of every constant what is assumed.
    pub fn nothing(geometry: Geometry) -> Findings {
        Findings {
            sets: Sets::of(&geometry),
            geometry,
            cpu: CpuId(0),
            solo: Solo::default(),
            undisturbed_ns: f64::INFINITY,
            links: Vec::new(),
            seconds: 0.0,
        }
    }

    /// One quantity over the windows on an undisturbed core; over all if there is none.
    pub fn estimate(&self, windows: &[Window]) -> Option<Estimate> {
        let undisturbed = windows.iter().filter(|w| w.pace_ns <= self.undisturbed_ns);
        let all = windows.iter().map(|w| w.ns);
        Estimate::of(undisturbed.map(|w| w.ns)).or_else(|| Estimate::of(all))
    }

    /// Share of the windows that were taken on a disturbed core.
    pub fn disturbed_share(&self) -> f64 {
        let windows = &self.solo.rmw;
        let disturbed = windows.iter().filter(|w| w.pace_ns > self.undisturbed_ns);
        disturbed.count() as f64 / windows.len().max(1) as f64
    }

    /// The same with every pair in the mode nearest to a ring of `ring_ns`.
    pub fn in_mode(&self, ring_ns: f64) -> Findings {
        let mut findings = self.clone();
        let apart = |mode: &Mode| (mode.ns / ring_ns).ln().abs();
        for link in &mut findings.links {
            let nearest = link.modes.iter();
            if let Some(mode) = nearest.min_by(|a, b| apart(a).total_cmp(&apart(b))) {
                link.mode = *mode;
            }
        }
        findings
    }
}

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

/// Run `work` on a thread of its own, pinned to `cpu`: a pin outlives the measurement.
fn on<T: Send>(cpu: CpuId, work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| pin_current_thread(cpu).map(|_| work()))
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_the_middle_and_nine_tenths_of_its_windows() {
        let estimate = Estimate::of((0..=100).rev().map(f64::from)).unwrap();
        assert_eq!(
            (
                estimate.median,
                estimate.low,
                estimate.high,
                estimate.windows
            ),
            (50.0, 5.0, 95.0, 101)
        );
        assert_eq!(Estimate::of([]), None);
    }

    /// What a core does by itself, `ns` in windows at `pace`.
    fn windows(ns: f64, pace_ns: f64, count: usize) -> Vec<Window> {
        vec![Window { ns, pace_ns }; count]
    }

    fn nothing() -> Findings {
        Findings::nothing(Geometry::from_synthetic("pack:1 l3:1 core:2 pu:1").unwrap())
    }

    #[test]
    fn only_windows_on_an_undisturbed_core_count_if_there_are_any() {
        let mut findings = nothing();
        findings.undisturbed_ns = 0.18;
        let mut of_both = windows(0.14, 0.14, 20);
        of_both.extend(windows(0.30, 0.26, 60));
        let estimate = findings.estimate(&of_both).unwrap();
        assert_eq!((estimate.high, estimate.windows), (0.14, 20));
        let disturbed = findings.estimate(&of_both[20..]).unwrap();
        assert_eq!((disturbed.median, disturbed.windows), (0.30, 60));
        assert_eq!(findings.estimate(&[]), None);

        findings.solo.issue = of_both.clone();
        findings.solo.rmw = of_both;
        assert_eq!(findings.disturbed_share(), 0.75);
        let about = About {
            name: "here".into(),
            description: "two paces".into(),
            vendor: None,
        };
        let text = findings.to_toml(&about);
        assert!(text.contains("\nissue_ns = 0.14 # measured"), "{text}");
        assert!(text.contains("In 75 % of the windows"), "{text}");
    }

    #[test]
    fn only_rounds_of_two_undisturbed_cores_count_if_there_are_any_in_the_mode() {
        let lines = HandOver {
            dirty_read: 27.0,
            dirty_read_of_many: 2.0,
            own_after_read: 2.0,
            dirty_own: 30.0,
            reread: 28.0,
            clean_read: None,
            upgrade: None,
        };
        let round = |ring: f64, add: f64| Round {
            ring,
            lines,
            add,
            run: 5.0,
            beside: [1.0; NEIGHBOURS.len()],
            both_work: None,
        };
        let pair = Pair {
            cpus: [CpuId(0), CpuId(1)],
            distance: crate::machine::Distance::SameLlc,
        };
        let of = |rounds: &[(usize, f64, f64)]| {
            // What is measured is as slow as the core.
            let each = rounds.iter();
            let all = each.flat_map(|&(count, ring, pace)| vec![(round(ring, pace), pace); count]);
            Link::of(pair, all.collect(), 0.18).unwrap()
        };
        let paces = |link: &Link| link.rounds().map(|r| r.add).collect::<Vec<_>>();
        let link = of(&[(30, 27.0, 0.14), (50, 27.0, 0.26), (20, 120.0, 0.14)]);
        assert_eq!(paces(&link), [0.14; 30]);
        let all_disturbed = of(&[(50, 27.0, 0.26), (20, 120.0, 0.14)]);
        assert_eq!(paces(&all_disturbed), [0.26; 50]);
    }
}
