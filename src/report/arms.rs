//! Samples by design point and arm: which there are, in which order they are shown, and the time
//! per fault of each.
//!
//! Not here: comparisons of arms, which `judge` makes and which arrive as verdicts.

use crate::experiment::{Arm, BackendKind, Pace, Point, Sample, Stratum, TransferBin};
use crate::judge::{Compared, VerdictRow, rank};
use crate::stats::{Summary, geometric_mean};
use crate::units;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Where arms are compared: everything but the arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What executed the samples.
    pub backend: BackendKind,
    /// The machine.
    pub machine: String,
    /// State of the prefetchers.
    pub prefetch: Compared,
    /// Where in the design.
    pub point: Point,
    /// The role whose threads are meant; all of them if none.
    pub role: Option<String>,
}

impl Site {
    /// `one-vma, 2 threads, compact, prefetch as-is`.
    pub fn title(&self) -> String {
        let prefetch = self.prefetch;
        let role = self.role.as_ref().map(|role| format!(", role {role}"));
        format!(
            "{}{}, prefetch {prefetch}",
            place_in_design(&self.point),
            role.unwrap_or_default()
        )
    }
}

/// `one-vma, 2 threads, compact`.
pub(super) fn place_in_design(point: &Point) -> String {
    let threads = units::count(point.threads, "thread");
    format!("{}, {threads}, {}", point.scenario, point.placement)
}

impl From<&Sample> for Site {
    fn from(s: &Sample) -> Site {
        Site {
            backend: s.backend,
            machine: s.machine.clone(),
            prefetch: s.prefetch.into(),
            point: s.point.clone(),
            role: s.role.clone(),
        }
    }
}

impl From<&VerdictRow> for Site {
    fn from(v: &VerdictRow) -> Site {
        Site {
            backend: v.backend,
            machine: v.machine.clone(),
            prefetch: v.prefetch,
            point: v.point.clone(),
            role: v.role.clone(),
        }
    }
}

/// Scenario by scenario, thread counts last.
impl Ord for Site {
    fn cmp(&self, other: &Site) -> Ordering {
        fn key(site: &Site) -> impl Ord {
            let Point {
                scenario,
                placement,
                threads,
            } = &site.point;
            let (backend, prefetch) = (site.backend.name(), site.prefetch.name());
            (
                backend,
                &site.machine,
                scenario,
                placement,
                prefetch,
                threads,
                &site.role,
            )
        }
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Site {
    fn partial_cmp(&self, other: &Site) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The time per fault of one arm at one site, over its valid samples.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmTime {
    /// Where.
    pub site: Site,
    /// The arm.
    pub arm: Arm,
    /// Median of the time per fault, in nanoseconds: the geometric mean of the medians of the slab
    /// slots it was measured in, as a verdict's ratio is. Slots can differ by a factor of four,
    /// and a median over both would show one or the other.
    pub median_ns: f64,
    /// An interval of at least 95 % for the median of each slot, from order statistics, averaged
    /// likewise; `None` below six samples in a slot, of which no interval is that sure.
    pub interval_ns: Option<(f64, f64)>,
    /// Valid samples.
    pub samples: usize,
    /// Valid samples by the slab slot that they were measured in, where that is known.
    pub by_slot: Vec<(Option<usize>, usize)>,
}

impl ArmTime {
    /// Fewest samples of a time that is shown without a mark.
    const FEW: usize = 8;

    /// Whether it is of so few samples that it says little.
    pub fn is_of_few(&self) -> bool {
        self.samples < ArmTime::FEW
    }
}

/// A state of the machine in words: `even slots, below 20 ns`; the time is that of a line transfer.
pub fn state(stratum: &Stratum) -> String {
    let slot = stratum.slot.map(|slot| match slot % 2 {
        0 => "even slots",
        _ => "odd slots",
    });
    let transfer = stratum.transfer_ns.map(|bin| match bin {
        TransferBin::Near => "below 20 ns",
        TransferBin::Middle => "20 to 60 ns",
        TransferBin::Far => "above 60 ns",
    });
    let pace = stratum.pace.map(|pace| match pace {
        Pace::Full => "full pace",
        Pace::Shared => "shared cores",
    });
    let words: Vec<&str> = [slot, transfer, pace].into_iter().flatten().collect();
    words.join(", ")
}

/// The sites of these samples, each once, in the order they are shown.
pub fn sites(samples: &[Sample]) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for site in samples.iter().map(Site::from) {
        if let Err(at) = sites.binary_search(&site) {
            sites.insert(at, site);
        }
    }
    sites
}

/// The arms in `samples`, by site and in the order they are shown in. An arm without a valid
/// sample is not among them.
pub fn arms(samples: &[Sample], verdicts: &[VerdictRow]) -> Vec<ArmTime> {
    type BySlot = BTreeMap<Option<usize>, Vec<f64>>;
    let mut times: BTreeMap<Site, BTreeMap<Arm, BySlot>> = BTreeMap::new();
    for s in samples {
        if s.valid && s.ns_per_fault.is_finite() {
            let arms = times.entry(Site::from(s)).or_default();
            let slots = arms.entry(s.arm.clone()).or_default();
            slots.entry(s.first_slot).or_default().push(s.ns_per_fault);
        }
    }
    let mut arms = Vec::new();
    for (site, mut times) in times {
        for arm in in_order(times.keys().cloned(), baseline(&site, verdicts)) {
            let times = times.remove(&arm).unwrap_or_default();
            let slots: Vec<Summary> = times.values().filter_map(|t| Summary::of(t)).collect();
            let intervals: Option<Vec<_>> = slots.iter().map(|slot| slot.interval).collect();
            arms.push(ArmTime {
                site: site.clone(),
                arm,
                median_ns: geometric_mean(slots.iter().map(|slot| slot.median)),
                interval_ns: intervals.map(|ends| {
                    let mean = |end: fn(&(f64, f64)) -> f64| geometric_mean(ends.iter().map(end));
                    (mean(|ends| ends.0), mean(|ends| ends.1))
                }),
                samples: slots.iter().map(|slot| slot.samples).sum(),
                by_slot: times.iter().map(|(slot, t)| (*slot, t.len())).collect(),
            });
        }
    }
    arms
}

/// The baseline that verdicts at this site were made against.
pub fn baseline<'a>(site: &Site, verdicts: &'a [VerdictRow]) -> Option<&'a Arm> {
    let row = verdicts.iter().find(|row| Site::from(*row) == *site)?;
    Some(&row.baseline)
}

/// Arms in the order they are shown in, each once.
pub fn in_order(arms: impl Iterator<Item = Arm>, baseline: Option<&Arm>) -> Vec<Arm> {
    let mut arms: Vec<Arm> = arms.collect();
    arms.sort();
    arms.dedup();
    arms.sort_by_cached_key(|arm| rank(arm, baseline));
    arms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_differ_are_averaged_as_a_ratio_is() {
        let point = Point {
            scenario: "one-vma".parse().unwrap(),
            placement: "compact".parse().unwrap(),
            threads: 1,
        };
        let sample = |slot, ns| Sample {
            first_slot: Some(slot),
            ns_per_fault: ns,
            ..Sample::new("split-packed".parse().unwrap(), point.clone())
        };
        let samples = [
            sample(0, 40.0),
            sample(1, 10.0),
            sample(1, 10.0),
            sample(1, 10.0),
        ];
        let arms = arms(&samples, &[]);
        assert!((arms[0].median_ns - 20.0).abs() < 1e-9);
        assert_eq!((arms[0].samples, arms[0].interval_ns), (4, None));
    }

    #[test]
    fn the_baseline_comes_first_and_its_second_measurement_after_it() {
        let names = [
            "zzz",
            "mmap-lock",
            "baseline-again",
            "embedded-refcount-192",
            "split-aligned",
        ];
        let arms = names.map(|name| name.parse::<Arm>().unwrap());
        let order = in_order(arms.into_iter(), "split-aligned".parse().ok().as_ref());
        let order: Vec<String> = order.iter().map(Arm::to_string).collect();
        assert_eq!(
            order,
            [
                "split-aligned",
                "baseline-again",
                "mmap-lock",
                "embedded-refcount-192",
                "zzz"
            ]
        );
    }
}
