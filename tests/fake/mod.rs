//! Samples as a noisy machine gives them: a mode of the line transfer that changes, slow drift,
//! stolen time, an effect of the slot's parity, and heavy tails. The same for the same seed.

use hitm::experiment::{Arm, BackendKind, Design, Invalid, Point, Prefetch, Sample, Stratum};
use hitm::judge::{Compared, VerdictRow};
use hitm::machine::Placement;
use hitm::stats::Verdict;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub const LAYOUTS: [(&str, f64); 9] = [
    ("split-aligned", 1.0),
    (Arm::AGAIN, 1.0),
    ("mmap-lock", 3.1),
    ("embedded-unaligned", 1.31),
    ("split-packed", 2.2),
    ("embedded-rwsem-256", 1.08),
    ("embedded-refcount-256", 0.93),
    ("embedded-refcount-192", 1.002),
    ("embedded-refcount-pair", 0.91),
];

pub fn arm(name: &str) -> Arm {
    name.parse().unwrap()
}

fn point(scenario: &str, threads: usize) -> Point {
    Point {
        scenario: scenario.parse().unwrap(),
        placement: Placement::Compact,
        threads,
    }
}

/// What the samples are of, as far as a report says it.
pub fn design() -> Design {
    let arms = LAYOUTS.map(|(name, _)| arm(name)).to_vec();
    Design {
        run: "fake".to_owned(),
        seed: 42,
        ..Design::new(BackendKind::Native, "m", arms, Vec::new())
    }
}

/// `blocks` blocks of every layout at one point.
pub fn samples(scenario: &str, threads: usize, blocks: u64) -> Vec<Sample> {
    let mut rng = Pcg64Mcg::seed_from_u64(threads as u64 * 31 + blocks);
    let mut mode = 27.0;
    let mut samples = Vec::new();
    for block in 0..blocks {
        if rng.random_bool(0.02) {
            mode = [11.0, 27.0, 120.0][rng.random_range(0..3)];
        }
        let drift = 1.0 + 0.02 * (block as f64 / blocks as f64);
        let stolen = rng.random_bool(0.03);
        for (order, (layout, factor)) in LAYOUTS.iter().enumerate() {
            let noise: f64 = (0..6).map(|_| rng.random_range(-0.01..0.01)).sum();
            let tail = if rng.random_bool(0.01) { 1.4 } else { 1.0 };
            let crowd = 1.0 + (factor - 0.9) * (threads as f64 - 1.0) * 0.7;
            let odd_slot = if *layout == "embedded-refcount-192" && block % 2 == 1 {
                1.03
            } else {
                1.0
            };
            let ns = 40.0 * factor * crowd * (1.0 + noise) * drift * tail * odd_slot + mode / 10.0;
            let seconds = 0.02;
            let faults = (threads as f64 * seconds * 1e9 / ns) as u64;
            let mut sample = Sample {
                run: "fake".into(),
                backend: BackendKind::Native,
                machine: "Example EPYC 9B14 96-Core Processor".into(),
                prefetch: Prefetch::AsIs,
                block,
                order,
                faults,
                seconds,
                faults_per_second: faults as f64 / seconds,
                ns_per_fault: ns,
                slowest_thread_faults: faults / threads as u64,
                fastest_thread_faults: faults / threads as u64,
                probe_ns: (threads > 1).then_some(mode * (1.0 + noise)),
                first_slot: Some((block % 2) as usize),
                ..Sample::new(arm(layout), point(scenario, threads))
            };
            if stolen {
                sample.invalidate(&Invalid::Stolen(1_200_000));
            }
            samples.push(sample);
        }
    }
    samples
}

/// Verdicts to go with [`samples`].
pub fn verdicts(scenario: &str, threads: usize, blocks: u64) -> Vec<VerdictRow> {
    let (baseline, rest) = LAYOUTS.split_first().unwrap();
    let crowd = |factor: f64| factor * (1.0 + (factor - 0.9) * (threads as f64 - 1.0) * 0.7);
    let row = |(layout, factor): &(&str, f64)| {
        let ratio = crowd(*factor) / crowd(baseline.1);
        let verdict = match ratio {
            _ if *layout == "embedded-refcount-256" && threads == 1 => Verdict::Inconclusive,
            ratio if ratio > 1.02 => Verdict::Regression,
            ratio if ratio < 0.98 => Verdict::Improvement,
            _ => Verdict::Equivalent,
        };
        VerdictRow {
            backend: BackendKind::Native,
            machine: "Example EPYC 9B14 96-Core Processor".into(),
            point: point(scenario, threads),
            prefetch: Compared::AsIs,
            baseline: arm(baseline.0),
            arm: arm(layout),
            ratio: Some(ratio * 1.001),
            ratio_low: Some(ratio * 0.994),
            ratio_high: Some(ratio * 1.008),
            verdict,
            blocks: blocks.saturating_sub(3),
            blocks_invalid: 3,
            stratum: Stratum::default(),
            role: None,
            run: String::new(),
            label: String::new(),
            depends_on: String::new(),
            tail_share: None,
            tail_ratio: None,
        }
    };
    rest.iter().map(row).collect()
}
