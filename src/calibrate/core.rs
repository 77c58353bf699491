//! The constants of a core in the machine file: out of order, atomics, local work.
//!
//! Here: from windows of one CPU to constants. Not here: caches, transfers and what else the file
//! holds (`file`), and the windows (`solo`, `duo`).

use super::findings::Findings;
use super::solo::{self, REGIONS};
use super::text::{Figure, Text, ns, spread};
use crate::machine::Vendor;
use crate::program::fault::uses;

/// Instructions of a fault for each of its accesses: 176 for 60 on x86-64 (`one-vma` on
/// `split-packed`, single-stepped).
const INSTRUCTIONS: f64 = 3.0;

impl Findings {
    pub(super) fn out_of_order(&self, text: &mut Text, issue: f64, vendor: Option<Vendor>) {
        text.table("out_of_order");
        let (entries, of) = match vendor {
            Some(Vendor::Amd) => (320.0, "Zen 4 (AMD Software Optimization Guide)"),
            _ => (224.0, "Skylake (Intel Optimization Manual)"),
        };
        let window = Figure::assumed(
            entries / INSTRUCTIONS * issue,
            format!(
                "{entries} entries of the reorder buffer of {of}, {INSTRUCTIONS} an access, at issue_ns"
            ),
        );
        text.figure("window_ns", &window);
        let retire = Figure::measured_or(
            self.estimate(&self.solo.issue_between),
            "what such a load adds to read-modify-writes on both sides of 32 of them",
            issue,
            "kept from its CPU; as issue_ns",
        );
        text.figure("retire_ns", &retire.not_negative());
        let [node, step] = self.search(issue);
        text.figure("node_ns", &node);
        text.figure("step_ns", &step);
        let miss = self.estimate(&self.solo.branch).map_or_else(
            || Figure::assumed(3.5, "kept from its CPU; 13 cycles at 3.7 GHz, as on Zen 4"),
            |random| Figure {
                value: 2.0 * random.median,
                how: format!(
                    "measured: a branch on a random bit, of which half are missed, takes {} ns longer than one that always goes the same way; {}",
                    ns(random.median),
                    spread(&random)
                ),
            },
        );
        text.figure("branch_miss_ns", &miss.not_negative());
        let link = self.nearest();
        let one = link.and_then(|link| link.estimate(|r| r.lines.dirty_read));
        let many = link.and_then(|link| link.estimate(|r| r.lines.dirty_read_of_many));
        let (at_once, how) = match one.zip(many) {
            Some((one, many)) => (
                (one.median / many.median).round().clamp(1.0, 64.0) as usize,
                format!(
                    "measured: of many loads of what the other has modified each takes {} ns, one that waits for the one before {} ns",
                    ns(many.median),
                    ns(one.median)
                ),
            ),
            None => (
                1,
                "not measured: needs two cores that are free to this process".to_owned(),
            ),
        };
        text.key("misses_at_once", at_once, how);
    }

    /// What searching a node, and a step of it, take beside the loads: from a walk of few steps and
    /// one of many, through as many nodes.
    fn search(&self, issue: f64) -> [Figure; 2] {
        let [near, far] = [0, 1].map(|i| self.estimate(&self.solo.walks[i]));
        let (Some(near), Some(far), Ok(world)) = (near, far, solo::world()) else {
            return [(); 2].map(|_| Figure::assumed(0.0, "kept from its CPU"));
        };
        let [few, many] = REGIONS.map(|region| uses::walk(&world, region));
        let beside = |time: f64, walk: uses::Walk| time - f64::from(walk.loads) * issue;
        let (short, long) = (beside(near.median, few), beside(far.median, many));
        let step = ((long - short) / f64::from(many.steps - few.steps)).max(0.0);
        let node = ((short - f64::from(few.steps) * step) / f64::from(few.nodes)).max(0.0);
        let how = |what: &str| {
            format!(
                "measured: {what}; a walk of {} nodes, {} steps and {} loads takes {} ns, one of {} steps and {} loads {} ns",
                few.nodes,
                few.steps,
                few.loads,
                ns(near.median),
                many.steps,
                many.loads,
                ns(far.median)
            )
        };
        [
            Figure {
                value: node,
                how: how("a node of the tree, beside its loads"),
            },
            Figure {
                value: step,
                how: how("a step in it"),
            },
        ]
    }

    pub(super) fn atomics(&self, text: &mut Text) {
        text.table("atomic");
        let solo = &self.solo;
        let figure = |text: &mut Text, key, windows, what, usual| {
            let how = "kept from its CPU; as on Zen 4";
            let figure = Figure::measured_or(self.estimate(windows), what, usual, how);
            text.figure(key, &figure.not_negative());
        };
        let what = "fetch_add on a private line, one after the other";
        figure(text, "rmw_ns", &solo.rmw, what, 2.03);
        text.note(
            "a load and a compare-and-swap on it, one after the other",
            self.estimate(&solo.cas),
        );
        let what = "full fence and a load, nothing stored before";
        figure(text, "fence_ns", &solo.fence, what, 15.95);
        figure(text, "pause_ns", &solo.pause, "spin_loop", 10.81);
    }

    pub(super) fn work(&self, text: &mut Text) {
        text.table("work");
        // Nine tenths of what is spread evenly over ± jitter lie within 1.8 jitter.
        let jitter = self.estimate(&self.solo.work).map_or_else(
            || Figure::assumed(0.05, "kept from its CPU"),
            |work| Figure {
                value: (work.high - work.low) / 1.8 / work.median,
                how: format!(
                    "measured: a piece of local work of {} ns; {}",
                    ns(work.median),
                    spread(&work)
                ),
            },
        );
        text.figure(
            "jitter",
            &jitter.within(0.0, 0.9, "the model has 0.9 at most"),
        );
        text.key(
            "scale",
            "1.0",
            "the scenario's nanoseconds are taken as they are",
        );
    }
}
