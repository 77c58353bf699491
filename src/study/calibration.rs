//! How often the statistics err, and how soon they decide, on simulated log-ratios.
//!
//! [`estimators`]: one look at a fixed number of units, by estimator. [`sequential`]: comparisons
//! as `hitm run` makes them. Seeded, so the tables are the same each time.

use super::noise::{Noise, SHAPES, Shape};
use crate::report::columns::Columns;
use crate::stats::{Comparison, Interval, Look, Rule, TRIM, UnitOf, Verdict, median};
use rayon::prelude::*;
use serde::Serialize;

/// What is simulated.
#[derive(clap::Args)]
pub struct Args {
    /// Comparisons a cell
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    comparisons: u64,
    /// Shapes of the noise, separated by commas [default: all]
    #[arg(long, value_name = "SHAPE,…", value_delimiter = ',', value_parser = Shape::parse)]
    shape: Vec<Shape>,
    /// Seed of the first comparison; the next has the next
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Args {
    fn shapes(&self) -> Vec<Shape> {
        match self.shape.is_empty() {
            true => SHAPES.iter().map(|(_, shape)| *shape).collect(),
            false => self.shape.clone(),
        }
    }

    /// The results of so many comparisons, by their seeds.
    fn each<T: Send>(&self, comparisons: u64, of: impl Fn(u64) -> T + Sync) -> Vec<T> {
        let seeds = (0..comparisons).into_par_iter();
        seeds.map(|n| of(self.seed.wrapping_add(n))).collect()
    }
}

fn percent(count: usize, of: usize) -> f64 {
    100.0 * count as f64 / of.max(1) as f64
}

/// Estimators that are compared, by the share trimmed at each end, and units looked at.
const TRIMS: [f64; 4] = [0.0, 0.1, TRIM, 0.25];
const UNITS: [usize; 3] = [8, 16, 64];
/// Noise of a block under [`estimators`].
const SD: f64 = 0.05;

/// One look, at a nominal 5 %, without the guard against dependence.
#[derive(Serialize)]
pub struct OneLook {
    shape: &'static str,
    trim: f64,
    units: usize,
    comparisons: u64,
    misses_percent: f64,
    median_width_percent: f64,
}

/// One look at a fixed number of units, by estimator.
pub fn estimators(args: &Args) -> Vec<OneLook> {
    let mut rows = Vec::new();
    for shape in args.shapes() {
        for trim in TRIMS {
            let truth = shape.truth(SD, trim);
            for units in UNITS {
                let look = |seed| {
                    let values = Noise::new(shape, SD, seed).units(units);
                    Interval::of(&values, trim, 0.05)
                };
                let looks = args.each(args.comparisons, look);
                let intervals: Vec<Interval> = looks.into_iter().flatten().collect();
                let misses = intervals.iter().filter(|i| i.low > truth || i.high < truth);
                let misses_percent = percent(misses.count(), intervals.len());
                let mut widths: Vec<f64> = intervals.iter().map(|i| i.high - i.low).collect();
                widths.sort_by(f64::total_cmp);
                rows.push(OneLook {
                    shape: shape.name(),
                    trim,
                    units,
                    comparisons: args.comparisons,
                    misses_percent,
                    median_width_percent: match widths.is_empty() {
                        true => f64::NAN,
                        false => 100.0 * median(&widths),
                    },
                });
            }
        }
    }
    rows
}

/// The rows of [`estimators`] for reading: a line for a shape and a number of units.
pub fn estimator_table(rows: &[OneLook]) -> String {
    let comparisons = rows.first().map_or(0, |row| row.comparisons);
    let mut columns = Columns::new(format!("<>{}", ">".repeat(TRIMS.len())));
    let trims = TRIMS.map(|trim| format!("trim {trim}"));
    columns.row(
        ["shape".to_owned(), "units".to_owned()]
            .into_iter()
            .chain(trims),
    );
    for shape in rows.chunk_by(|a, b| a.shape == b.shape) {
        for units in UNITS {
            let of = shape.iter().filter(|row| row.units == units);
            let cell = |row: &OneLook| {
                format!(
                    "{:.1} ({:.1})",
                    row.misses_percent, row.median_width_percent
                )
            };
            let name = [shape[0].shape.to_owned(), units.to_string()];
            columns.row(name.into_iter().chain(of.map(cell)));
        }
    }
    format!(
        "One look at so many units: misses in %, nominal 5 (median width in %).\n\
         Block noise {} %; {comparisons} comparisons a cell.\n\n{columns}",
        100.0 * SD
    )
}

/// What a sequential comparison is up against.
struct Condition {
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

impl Condition {
    const fn new(sd: f64, ratio: f64, margin: f64, units: usize, fewer: u64) -> Condition {
        Condition {
            sd,
            ratio,
            margin,
            units,
            fewer,
        }
    }
}

// 65 units are 2 s of two arms at 7.5 ms a sample, 1000 units 30 s.
const CONDITIONS: [Condition; 8] = [
    Condition::new(0.05, 1.00, 0.02, 65, 1),
    Condition::new(0.05, 1.00, 0.0, 65, 1),
    Condition::new(0.05, 1.00, 0.02, 300, 2),
    Condition::new(0.05, 1.05, 0.02, 65, 1),
    Condition::new(0.10, 1.05, 0.02, 65, 1),
    Condition::new(0.05, 1.01, 0.005, 1000, 5),
    Condition::new(0.10, 1.01, 0.005, 1000, 5),
    Condition::new(0.05, 1.01, 0.02, 1000, 5),
];

/// How one comparison went.
struct Compared {
    /// None: too few units for an interval.
    look: Option<Look>,
    /// Whether any interval on the way missed the truth.
    missed: bool,
}

/// One comparison as `hitm run` makes it: to its first decision, or to the end of the budget.
fn compare(shape: Shape, condition: &Condition, truth: f64, seed: u64) -> Compared {
    let rule = Rule {
        margin: condition.margin,
        ..Rule::default()
    };
    let effect = condition.ratio.ln();
    let misses = |look: &Look| look.interval.low > effect || look.interval.high < effect;
    let mut noise = Noise::new(shape, condition.sd, seed);
    let mut comparison = Comparison::new(rule, UnitOf::SlotCouple);
    let mut missed = false;
    for _ in 0..2 * condition.units {
        if comparison.push(noise.block(effect - truth)) {
            missed |= comparison.latest().is_some_and(misses);
            if comparison.is_decided() {
                break;
            }
        }
    }
    let look = comparison.finish();
    Compared {
        missed: missed || look.as_ref().is_some_and(misses),
        look,
    }
}

/// Comparisons under one condition and one shape of noise.
#[derive(Serialize)]
pub struct Sequential {
    true_ratio: f64,
    noise_percent: f64,
    margin_percent: f64,
    most_units: usize,
    comparisons: u64,
    shape: &'static str,
    regression_percent: f64,
    improvement_percent: f64,
    equivalent_percent: f64,
    inconclusive_percent: f64,
    any_interval_missed_percent: f64,
    mean_units: u64,
}

/// Comparisons as `hitm run` makes them.
pub fn sequential(args: &Args) -> Vec<Sequential> {
    let mut rows = Vec::new();
    for condition in &CONDITIONS {
        let comparisons = args.comparisons.div_ceil(condition.fewer);
        for shape in args.shapes() {
            let truth = shape.truth(condition.sd, TRIM);
            let all = args.each(comparisons, |seed| compare(shape, condition, truth, seed));
            let called = |verdict: Verdict| {
                let looks = all.iter().flat_map(|c| &c.look);
                percent(looks.filter(|l| l.verdict == verdict).count(), all.len())
            };
            let missed = all.iter().filter(|compared| compared.missed).count();
            let blocks: u64 = all.iter().flat_map(|c| &c.look).map(|l| l.blocks).sum();
            rows.push(Sequential {
                true_ratio: condition.ratio,
                noise_percent: 100.0 * condition.sd,
                margin_percent: 100.0 * condition.margin,
                most_units: condition.units,
                comparisons,
                shape: shape.name(),
                regression_percent: called(Verdict::Regression),
                improvement_percent: called(Verdict::Improvement),
                equivalent_percent: called(Verdict::Equivalent),
                inconclusive_percent: called(Verdict::Inconclusive),
                any_interval_missed_percent: percent(missed, all.len()),
                mean_units: blocks / 2 / comparisons,
            });
        }
    }
    rows
}

/// The rows of [`sequential`] for reading: a table a condition.
pub fn sequential_table(rows: &[Sequential]) -> String {
    let mut columns = Columns::new("<>>>>>>");
    for (n, table) in rows
        .chunk_by(|a, b| a.condition() == b.condition())
        .enumerate()
    {
        let blank = if n == 0 { "" } else { "\n" };
        columns.text(format!("{blank}{}\n", table[0].condition()));
        columns.row([
            "% of them",
            "regression",
            "improvement",
            "equivalent",
            "inconclusive",
            "any interval missed",
            "mean units",
        ]);
        for row in table {
            let shares = [
                row.regression_percent,
                row.improvement_percent,
                row.equivalent_percent,
                row.inconclusive_percent,
                row.any_interval_missed_percent,
            ];
            let shares = shares.map(|share| format!("{share:.1}"));
            let name = [row.shape.to_owned()].into_iter();
            columns.row(name.chain(shares).chain([row.mean_units.to_string()]));
        }
    }
    columns.to_string()
}

impl Sequential {
    fn condition(&self) -> String {
        format!(
            "True ratio {}, block noise {} %, margin {} %, at most {} units; comparisons a line: {}",
            self.true_ratio,
            self.noise_percent,
            self.margin_percent,
            self.most_units,
            self.comparisons,
        )
    }
}
