//! Simulated log-ratios of blocks: shapes of noise that machines have been seen to have, and some
//! that are worse. Seeded. Not here: what the statistics make of it (`calibration`).

use crate::error::Error;
use crate::stats::{Effect, Parity, UnitOf, Units};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use statrs::distribution::{ContinuousCDF, Gamma};
use std::f64::consts::TAU;

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A bell.
    Normal,
    /// Exponential on both sides.
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

/// Every shape, by name.
pub const SHAPES: [(&str, Shape); 13] = [
    ("normal", Shape::Normal),
    ("laplace", Shape::Laplace),
    ("contaminated", Shape::Contaminated),
    ("t2", Shape::T2),
    ("bimodal", Shape::Bimodal),
    ("modes", Shape::Modes),
    ("spells", Shape::Spells),
    ("parity", Shape::Parity),
    ("skewed", Shape::Skewed),
    ("drift", Shape::Drift),
    ("dependent-0.1", Shape::Dependent(0.1)),
    ("dependent-0.2", Shape::Dependent(0.2)),
    ("dependent-0.3", Shape::Dependent(0.3)),
];

/// Blocks of one comparison.
pub struct Noise {
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
    /// Noise of a shape; `sd` is as in the field.
    pub fn new(shape: Shape, sd: f64, seed: u64) -> Noise {
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

    /// The next block, its log-ratio moved by `shift`.
    pub fn block(&mut self, shift: f64) -> Effect {
        Effect {
            parity: Parity::of(self.number),
            log_ratio: shift + self.next(),
            valid: true,
        }
    }

    /// The units of twice as many blocks.
    pub fn units(&mut self, count: usize) -> Vec<f64> {
        let mut units = Units::new(UnitOf::SlotCouple);
        (0..2 * count).for_each(|_| units.push(self.block(0.0)));
        units.values().to_vec()
    }
}

impl Shape {
    /// The shape of that name.
    pub fn parse(name: &str) -> Result<Shape, Error> {
        let names = SHAPES.iter().map(|(name, _)| *name);
        match SHAPES.iter().find(|(known, _)| *known == name) {
            Some((_, shape)) => Ok(*shape),
            None => Err(Error::unknown("shape", name, names)),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = SHAPES.iter().find(|(_, shape)| *shape == self);
        found.map_or("", |(name, _)| name)
    }

    /// The trimmed mean of the units themselves: 0 but for the skewed shape, whose units are means
    /// of two exponential numbers, less 1.
    pub fn truth(self, sd: f64, trim: f64) -> f64 {
        let gamma = |shape| Gamma::new(shape, 2.0);
        let (Shape::Skewed, Ok(units), Ok(next)) = (self, gamma(2.0), gamma(3.0)) else {
            return 0.0;
        };
        if trim >= 0.5 {
            return sd * (units.inverse_cdf(0.5) - 1.0);
        }
        // The mean over a range of a gamma distribution is a share of the next one.
        let share = match trim {
            0.0 => 1.0,
            trim => next.cdf(units.inverse_cdf(1.0 - trim)) - next.cdf(units.inverse_cdf(trim)),
        };
        sd * (share / (1.0 - 2.0 * trim) - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_of_the_skewed_shape_is_what_many_units_come_to() {
        let mut units = Noise::new(Shape::Skewed, 1.0, 1).units(100_000);
        units.sort_unstable_by(f64::total_cmp);
        for trim in [0.0, 0.1, 0.2, 0.25, 0.5] {
            let cut = ((units.len() as f64 * trim) as usize).min(49_999);
            let kept = &units[cut..units.len() - cut];
            let mean = kept.iter().sum::<f64>() / kept.len() as f64;
            let truth = Shape::Skewed.truth(1.0, trim);
            assert!((mean - truth).abs() < 0.01, "{trim}: {mean}, {truth}");
        }
    }

    #[test]
    fn every_shape_has_a_name_of_its_own() {
        for (name, shape) in SHAPES {
            assert_eq!(Shape::parse(name).unwrap(), shape);
            assert_eq!(shape.name(), name);
        }
        assert!(Shape::parse("gaussian").is_err());
    }
}
