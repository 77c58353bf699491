//! A comparison.

use super::bootstrap::{MIN_VALUES, trimmed_interval, winsorised};
use super::boundary::Boundary;
use super::{Block, Interval, Units, Verdict};

/// Rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// error
    pub error: f64,
    /// margin
    pub margin: f64,
    /// trim
    pub trim: f64,
    /// guard
    pub guard: f64,
}
/// Look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// u
    pub units: usize,
    /// i
    pub interval: Interval,
    /// v
    pub verdict: Verdict,
}

/// Units at the first look
pub const FIRST_LOOK: usize = 8;
const GROWTH: f64 = 1.4;
const HALF_SPENT: f64 = 100.0;

/// C
pub struct Comparison {
    rule: Rule,
    seed: u64,
    units: Units,
    boundary: Boundary,
    next: usize,
    latest: Option<Look>,
}

impl Comparison {
    /// n
    pub fn new(rule: Rule, seed: u64) -> Self {
        Comparison {
            rule,
            seed,
            units: Units::default(),
            boundary: Boundary::new(),
            next: FIRST_LOOK,
            latest: None,
        }
    }
    /// p
    pub fn push(&mut self, block: Block) -> bool {
        self.units.push(block);
        let n = self.units.values().len();
        if n < self.next {
            return false;
        }
        self.next = (n as f64 * GROWTH).ceil() as usize;
        self.look(self.rule.error * n as f64 / (n as f64 + HALF_SPENT));
        true
    }
    fn look(&mut self, total: f64) {
        let n = self.units.values().len();
        let z = self.boundary.look(n as f64, total);
        let error = 2.0
            * statrs::distribution::ContinuousCDF::cdf(
                &statrs::distribution::Normal::standard(),
                -z,
            );
        let widen = serial(self.units.values(), self.rule.trim, self.rule.guard);
        if let Some(interval) =
            trimmed_interval(self.units.values(), self.rule.trim, error, widen, self.seed)
        {
            self.latest = Some(Look {
                units: n,
                interval,
                verdict: Verdict::on(interval, self.rule.margin),
            });
        }
    }
    /// f
    pub fn finish(&mut self) {
        let n = self.units.values().len();
        if n < MIN_VALUES {
            return;
        }
        if self
            .latest
            .is_some_and(|l| l.units == n && l.verdict.is_decided())
        {
            return;
        }
        self.look(self.rule.error);
    }
    /// l
    pub fn latest(&self) -> Option<&Look> {
        self.latest.as_ref()
    }
}

fn serial(values: &[f64], trim: f64, guard: f64) -> f64 {
    if guard.is_infinite() {
        return 1.0;
    }
    let w = winsorised(values, trim);
    let n = w.len() as f64;
    let m = w.iter().sum::<f64>() / n;
    let v: f64 = w.iter().map(|x| (x - m).powi(2)).sum();
    if v == 0.0 {
        return 1.0;
    }
    let c: f64 = w.windows(2).map(|p| (p[0] - m) * (p[1] - m)).sum();
    let r = (c / v + 1.0 / n - guard / n.sqrt()).clamp(0.0, 0.8);
    ((1.0 + r) / (1.0 - r)).sqrt()
}
impl Comparison {
    pub fn is_decided(&self) -> bool {
        self.latest.is_some_and(|l| l.verdict.is_decided())
    }
    pub fn blocks(&self) -> u64 {
        self.units.blocks()
    }
    pub fn blocks_invalid(&self) -> u64 {
        self.units.blocks_invalid()
    }
}
impl Default for Rule {
    fn default() -> Rule {
        Rule {
            error: 0.05,
            margin: 0.02,
            trim: 0.2,
            guard: 2.0,
        }
    }
}
