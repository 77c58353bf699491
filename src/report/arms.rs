//! Samples by design point and arm: which there are, in which order they are shown, and the time
//! per fault of each.
//!
//! Not here: comparisons of arms, which are `stats`'s and arrive as verdicts.

use crate::program::fault::vma::BuiltIn;
use crate::results::{BASELINE_AGAIN, Sample, VerdictRow};
use crate::stats::{Summary, geometric_mean};
use std::collections::BTreeMap;

/// Where arms are compared: everything but the layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// `native`, `sim` or `kernel`.
    pub backend: String,
    /// The machine.
    pub machine: String,
    /// Who faults where.
    pub scenario: String,
    /// How threads were placed.
    pub placement: String,
    /// State of the prefetchers.
    pub prefetch: String,
    /// Threads that took part.
    pub threads: usize,
}

impl From<&Sample> for Point {
    fn from(s: &Sample) -> Point {
        Point {
            backend: s.backend.clone(),
            machine: s.machine.clone(),
            scenario: s.scenario.clone(),
            placement: s.placement.clone(),
            prefetch: s.prefetch.clone(),
            threads: s.threads,
        }
    }
}

impl From<&VerdictRow> for Point {
    fn from(v: &VerdictRow) -> Point {
        Point {
            backend: v.backend.clone(),
            machine: v.machine.clone(),
            scenario: v.scenario.clone(),
            placement: v.placement.clone(),
            prefetch: v.prefetch.clone(),
            threads: v.threads,
        }
    }
}

/// The time per fault of one arm at one design point, over its valid samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Where.
    pub point: Point,
    /// The layout, or `baseline-again`.
    pub layout: String,
    /// Median of the time per fault, in nanoseconds: the geometric mean of the medians of the slab
    /// slots it was measured in, as a verdict's ratio is. Slots can differ by a factor of four,
    /// and a median over both would show one or the other.
    pub median_ns: f64,
    /// An interval of at least 95 % for the median of each slot, from order statistics, averaged
    /// likewise; `None` below six samples a slot, of which no interval is that sure.
    pub interval_ns: Option<(f64, f64)>,
    /// Valid samples.
    pub samples: usize,
}

/// The arms in `samples`, by point and in the order they are shown in. An arm without a valid
/// sample is not among them.
pub fn arms(samples: &[Sample], verdicts: &[VerdictRow]) -> Vec<Arm> {
    type BySlot = BTreeMap<Option<usize>, Vec<f64>>;
    let mut times: BTreeMap<Point, BTreeMap<String, BySlot>> = BTreeMap::new();
    for s in samples {
        if s.valid && s.ns_per_fault.is_finite() {
            let arms = times.entry(Point::from(s)).or_default();
            let slots = arms.entry(s.layout.clone()).or_default();
            slots.entry(s.first_slot).or_default().push(s.ns_per_fault);
        }
    }
    let mut arms = Vec::new();
    for (point, mut times) in times {
        for layout in in_order(times.keys().cloned(), baseline(&point, verdicts)) {
            let slots = times.remove(&layout).unwrap_or_default();
            let slots: Vec<Summary> = slots.values().filter_map(|t| Summary::of(t)).collect();
            let intervals: Option<Vec<_>> = slots.iter().map(|slot| slot.interval).collect();
            arms.push(Arm {
                point: point.clone(),
                layout,
                median_ns: geometric_mean(slots.iter().map(|slot| slot.median)),
                interval_ns: intervals.map(|ends| {
                    let mean = |end: fn(&(f64, f64)) -> f64| geometric_mean(ends.iter().map(end));
                    (mean(|ends| ends.0), mean(|ends| ends.1))
                }),
                samples: slots.iter().map(|slot| slot.samples).sum(),
            });
        }
    }
    arms
}

/// The baseline that verdicts at this point were made against.
pub fn baseline<'a>(point: &Point, verdicts: &'a [VerdictRow]) -> Option<&'a str> {
    let row = verdicts.iter().find(|row| Point::from(*row) == *point)?;
    Some(&row.baseline)
}

/// Layouts in the order they are shown in: the baseline, its second measurement, the built-in
/// layouts by age, all others by name.
pub fn in_order(layouts: impl Iterator<Item = String>, baseline: Option<&str>) -> Vec<String> {
    let mut layouts: Vec<String> = layouts.collect();
    let rank = |layout: &String| {
        let age = BuiltIn::ALL
            .iter()
            .position(|b| b.name() == layout)
            .unwrap_or(usize::MAX);
        let first = Some(layout.as_str()) != baseline;
        (first, layout != BASELINE_AGAIN, age, layout.clone())
    };
    layouts.sort_by_cached_key(rank);
    layouts.dedup();
    layouts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_differ_are_averaged_as_a_ratio_is() {
        let sample = |slot, ns| Sample {
            layout: "split-packed".into(),
            first_slot: Some(slot),
            ns_per_fault: ns,
            valid: true,
            ..Sample::default()
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
        let order = in_order(names.map(str::to_owned).into_iter(), Some("split-aligned"));
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
