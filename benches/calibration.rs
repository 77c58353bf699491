//! How often the statistics err, and how soon they decide, on simulated log-ratios.
//!
//! `cargo bench --bench calibration -- 2000` simulates 2000 comparisons a cell (200 if no number
//! is given). First table: one look at a fixed number of units, by estimator. Other tables: the
//! sequential comparison as `hitm run` makes it. Seeded, so the tables are reproducible.

use std::f64::consts::TAU;

use hitm::stats::{
    Comparison, Effect, Interval, Look, Pairing, Parity, Rule, TRIM, Units, Verdict, median,
};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (numbers, words): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .partition(|argument| argument.parse::<u64>().is_ok());
    // `cargo test` runs benches without `--bench`; `cargo bench -- WORD` asks for what has WORD
    // in its name.
    let wanted = words.iter().all(|word| "calibration".contains(*word));
    if !arguments.iter().any(|argument| argument == "--bench") || !wanted {
        return;
    }
    let comparisons = numbers.first().map_or(200, |n| n.parse().unwrap_or(200));
    estimators(comparisons);
    sequential(comparisons);
}

/// Random numbers of the distributions the shapes are made of.
struct Source(Pcg64Mcg);

impl Source {
    fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (TAU * self.uniform()).cos()
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    fn sign(&mut self) -> f64 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }
}

/// What the log-ratios of successive blocks look like when the arms do not differ.
#[derive(Clone, Copy)]
enum Shape {
    Normal,
    Laplace,
    /// One block in ten has five times the noise.
    Contaminated,
    /// Student's t with two degrees of freedom: the variance is infinite.
    T2,
    /// Two clusters, two standard deviations apart, whatever the parity.
    Bimodal,
    /// A sample takes 2.5 times as long in the machine's slow mode, which starts or ends before
    /// one sample in 33: between the arms of a block, or before both.
    Modes,
    /// Spells of 20 blocks with four times the noise.
    Spells,
    /// Even and odd slots four standard deviations apart.
    Parity,
    /// Exponential noise; its own trimmed mean is the truth.
    Skewed,
    /// The machine's speed drifts from sample to sample, arms in random order.
    Drift,
    /// Units depend on the one before: autocorrelation 0.1, 0.2 or 0.3. Random order within
    /// blocks does not leave this; it is here to see how much is survived.
    Dependent(f64),
}

const SHAPES: [(&str, Shape); 13] = [
    ("normal", Shape::Normal),
    ("laplace", Shape::Laplace),
    ("contaminated", Shape::Contaminated),
    ("t(2)", Shape::T2),
    ("bimodal", Shape::Bimodal),
    ("modes", Shape::Modes),
    ("spells", Shape::Spells),
    ("parity", Shape::Parity),
    ("skewed", Shape::Skewed),
    ("drift", Shape::Drift),
    ("dependent 0.1", Shape::Dependent(0.1)),
    ("dependent 0.2", Shape::Dependent(0.2)),
    ("dependent 0.3", Shape::Dependent(0.3)),
];

/// Blocks of one comparison.
struct Noise {
    shape: Shape,
    /// Standard deviation of a block's log-ratio, where the shape is a bell.
    sd: f64,
    source: Source,
    /// Slow mode, or noisy spell.
    slow: bool,
    /// Speed of the drifting machine, or the latest dependent unit.
    level: f64,
    number: u64,
}

impl Noise {
    fn new(shape: Shape, sd: f64, seed: u64) -> Noise {
        let mut source = Source(Pcg64Mcg::seed_from_u64(seed));
        let slow = source.chance(0.5);
        Noise {
            shape,
            sd,
            source,
            slow,
            level: 0.0,
            number: 0,
        }
    }

    /// Log-ratio of the next block.
    fn next(&mut self) -> f64 {
        let odd = !self.number.is_multiple_of(2);
        self.number += 1;
        let source = &mut self.source;
        match self.shape {
            Shape::Normal => self.sd * source.normal(),
            Shape::Laplace => self.sd / 2_f64.sqrt() * source.exponential() * source.sign(),
            Shape::Contaminated => {
                let scale = if source.chance(0.1) { 5.0 } else { 1.0 };
                scale * self.sd * source.normal()
            }
            Shape::T2 => self.sd * source.normal() / source.exponential().sqrt(),
            Shape::Bimodal => self.sd * (source.sign() + source.normal() / 2.0),
            Shape::Modes => {
                let mut sample = || {
                    self.slow ^= source.chance(0.03);
                    let mode = if self.slow { 2.5_f64.ln() } else { 0.0 };
                    mode + self.sd / 2_f64.sqrt() * source.normal()
                };
                let (first, second) = (sample(), sample());
                source.sign() * (first - second)
            }
            Shape::Spells => {
                self.slow ^= source.chance(0.05);
                let scale = if self.slow { 4.0 } else { 1.0 };
                scale * self.sd * source.normal()
            }
            Shape::Parity => self.sd * (source.normal() + if odd { 2.0 } else { -2.0 }),
            Shape::Skewed => self.sd * (source.exponential() - 1.0),
            Shape::Drift => {
                let mut sample = || {
                    self.level = 0.98 * self.level + self.sd / 2.0 * source.normal();
                    self.level + self.sd / 2_f64.sqrt() * source.normal()
                };
                let (first, second) = (sample(), sample());
                source.sign() * (first - second)
            }
            Shape::Dependent(r) => {
                if !odd {
                    let fresh = self.sd / 2_f64.sqrt() * source.normal();
                    self.level = r * self.level + (1.0 - r * r).sqrt() * fresh;
                }
                self.level
            }
        }
    }

    fn block(&mut self, shift: f64) -> Effect {
        Effect {
            parity: Parity::of(self.number),
            log_ratio: shift + self.next(),
            valid: true,
        }
    }

    fn units(&mut self, count: usize) -> Vec<f64> {
        let mut units = Units::new(Pairing::Slots);
        (0..2 * count).for_each(|_| units.push(self.block(0.0)));
        units.values().to_vec()
    }
}

/// The trimmed mean of the shape itself, of a million units: 0 but for the skewed one.
fn truth(shape: Shape, sd: f64, trim: f64) -> f64 {
    match shape {
        Shape::Skewed => {
            let mut units = Noise::new(shape, sd, 0).units(1_000_000);
            units.sort_unstable_by(f64::total_cmp);
            let cut = (units.len() as f64 * trim) as usize;
            let kept = &units[cut.min(499_999)..units.len() - cut.min(499_999)];
            kept.iter().sum::<f64>() / kept.len() as f64
        }
        _ => 0.0,
    }
}

fn share(count: usize, of: usize) -> String {
    format!("{:.1}", 100.0 * count as f64 / of as f64)
}

/// One look at a fixed number of units, at a nominal 5 %, without the guard against dependence.
fn estimators(comparisons: u64) {
    println!("One look at 8, 16 and 64 units: misses in %, nominal 5 (median width in %).");
    println!("Block noise 5 %, {comparisons} comparisons a cell.\n");
    print!("{:<14}", "");
    let trims = [0.0, 0.1, TRIM, 0.25];
    for trim in trims {
        print!(" |{:^36}", format!("trim {trim}"));
    }
    println!();
    for (name, shape) in SHAPES {
        print!("{name:<14}");
        for trim in trims {
            let truth = truth(shape, 0.05, trim);
            print!(" |");
            for count in [8, 16, 64] {
                let intervals: Vec<Interval> = (0..comparisons)
                    .into_par_iter()
                    .filter_map(|seed| {
                        let units = Noise::new(shape, 0.05, seed).units(count);
                        Interval::of(&units, trim, 0.05)
                    })
                    .collect();
                let width = |i: &Interval| i.high - i.low;
                let misses = intervals.iter().filter(|i| i.low > truth || i.high < truth);
                let misses = share(misses.count(), intervals.len());
                let mut widths: Vec<f64> = intervals.iter().map(width).collect();
                widths.sort_by(f64::total_cmp);
                let median = median(&widths);
                print!("{:>12}", format!("{misses} ({:.1})", 100.0 * median));
            }
        }
        println!();
    }
    println!();
}

/// One of the sequential tables.
struct Case {
    /// Standard deviation of a block's log-ratio.
    sd: f64,
    /// The true ratio.
    ratio: f64,
    /// Equivalence margin.
    margin: f64,
    /// Units the budget is good for.
    units: usize,
    /// Comparisons are this many times fewer.
    fewer: u64,
}

impl Case {
    const fn new(sd: f64, ratio: f64, margin: f64, units: usize, fewer: u64) -> Case {
        Case {
            sd,
            ratio,
            margin,
            units,
            fewer,
        }
    }
}

// 65 units are 2 s of two arms at 7.5 ms a sample, 1000 units 30 s.
const CASES: [Case; 8] = [
    Case::new(0.05, 1.00, 0.02, 65, 1),
    Case::new(0.05, 1.00, 0.0, 65, 1),
    Case::new(0.05, 1.00, 0.02, 300, 2),
    Case::new(0.05, 1.05, 0.02, 65, 1),
    Case::new(0.10, 1.05, 0.02, 65, 1),
    Case::new(0.05, 1.01, 0.005, 1000, 5),
    Case::new(0.10, 1.01, 0.005, 1000, 5),
    Case::new(0.05, 1.01, 0.02, 1000, 5),
];

/// How one comparison went.
struct Outcome {
    look: Look,
    /// Whether any interval on the way missed the truth.
    missed: bool,
}

/// One comparison as `hitm run` makes it: to its first decision, or to the end of the budget.
fn compare(shape: Shape, case: &Case, truth: f64, seed: u64) -> Outcome {
    let rule = Rule {
        margin: case.margin,
        ..Rule::default()
    };
    let effect = case.ratio.ln();
    let misses = |look: &Look| look.interval.low > effect || look.interval.high < effect;
    let mut noise = Noise::new(shape, case.sd, seed);
    let mut comparison = Comparison::new(rule, Pairing::Slots);
    let mut missed = false;
    for _ in 0..2 * case.units {
        if comparison.push(noise.block(effect - truth)) {
            missed |= comparison.latest().is_some_and(misses);
            if comparison.is_decided() {
                break;
            }
        }
    }
    let look = comparison.finish().expect("more than five units");
    Outcome {
        look,
        missed: missed || misses(&look),
    }
}

fn sequential(comparisons: u64) {
    let verdicts = [
        Verdict::Regression,
        Verdict::Improvement,
        Verdict::Equivalent,
        Verdict::Inconclusive,
    ];
    for case in &CASES {
        let comparisons = comparisons.div_ceil(case.fewer);
        println!(
            "True ratio {}, block noise {} %, margin {} %, at most {} units; {comparisons} comparisons a line.",
            case.ratio,
            100.0 * case.sd,
            100.0 * case.margin,
            case.units,
        );
        print!("{:<14}", "% of them");
        verdicts.iter().for_each(|verdict| print!("{verdict:>14}"));
        println!("{:>24}{:>12}", "any interval missed", "mean units");
        for (name, shape) in SHAPES {
            let truth = truth(shape, case.sd, TRIM);
            let outcomes: Vec<Outcome> = (0..comparisons)
                .into_par_iter()
                .map(|seed| compare(shape, case, truth, seed))
                .collect();
            print!("{name:<14}");
            for verdict in verdicts {
                let called = outcomes.iter().filter(|o| o.look.verdict == verdict);
                print!("{:>14}", share(called.count(), outcomes.len()));
            }
            let missed = outcomes.iter().filter(|o| o.missed).count();
            let blocks: u64 = outcomes.iter().map(|o| o.look.blocks).sum();
            println!(
                "{:>24}{:>12}",
                share(missed, outcomes.len()),
                blocks / 2 / comparisons
            );
        }
        println!();
    }
}
