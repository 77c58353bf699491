//! What the windows of all rounds add up to.
//!
//! Here: which of them count, and what they say. Not here: the constants made of it (`file`).

use super::duo::Round;
use super::geometry::Geometry;
use super::solo::{Sets, Solo, Window};
use crate::machine::CpuId;
use crate::machine::pairs::Pair;
use crate::machine::transfer::{Mode, modes};
use crate::stats::Spread;

/// Rounds of a pair whose ring differs by more than this factor from the mode's were taken in
/// another mode: as for the samples of a block.
const SAME_MODE: f64 = 1.5;

/// Rounds of a pair, each with the slowest pace of its cores.
pub type Rounds = Vec<(Round, f64)>;

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
    /// What `all` rounds of a pair add up to; `None` if there are none.
    pub fn of(pair: Pair, all: Rounds, undisturbed_ns: f64) -> Option<Link> {
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
    pub fn estimate(&self, pick: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds().map(pick))
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
    /// The slowest [pace](crate::machine::pace) of a core that has all of itself.
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
    pub fn estimate(&self, windows: &[Window]) -> Option<Spread> {
        let undisturbed = windows.iter().filter(|w| w.pace_ns <= self.undisturbed_ns);
        let all = windows.iter().map(|w| w.ns);
        Spread::of(undisturbed.map(|w| w.ns)).or_else(|| Spread::of(all))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::{About, HandOver, NEIGHBOURS};
    use crate::machine::Distance;

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
        assert_eq!((estimate.high, estimate.count), (0.14, 20));
        let disturbed = findings.estimate(&of_both[20..]).unwrap();
        assert_eq!((disturbed.median, disturbed.count), (0.30, 60));
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
            distance: Distance::SameLlc,
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
