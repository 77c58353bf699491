//! Alpha spending: how wide each look must be so that all looks together err no more often than
//! one would.
//!
//! Here: the boundary of a sequence of looks at a normal statistic with independent increments
//! (Lan and DeMets 1983), by the recursion of Armitage, McPherson and Rowe 1969. Not here: how
//! much error each look may spend and when a look is taken (`comparison`).

use statrs::distribution::{Continuous, ContinuousCDF, Normal};

/// Points that carry the distribution of |Z| between 0 and the boundary. With 100 the critical
/// values agree with published tables to four figures (see the test).
const POINTS: usize = 100;

/// Widest critical value: beyond it nothing is spent (two-sided error 1e-15).
const WIDEST: f64 = 8.0;

/// The looks taken so far at one statistic Z, under the hypothesis that its mean is 0.
#[derive(Clone, Debug)]
pub struct Boundary {
    spent: f64,
    information: f64,
    critical: f64,
    /// Probability that no look has crossed and |Z| is in the i-th of equal steps from 0 to
    /// `critical`, taken to lie in the middle of it.
    mass: Vec<f64>,
}

impl Boundary {
    /// No look taken: Z is 0 for certain.
    pub fn new() -> Boundary {
        Boundary {
            spent: 0.0,
            information: 0.0,
            critical: 0.0,
            mass: vec![1.0],
        }
    }

    /// Take a look at `information` (any unit; more than at the look before) and spend what is
    /// missing to `total`. Returns the critical value of |Z|.
    pub fn look(&mut self, information: f64, total: f64) -> f64 {
        let normal = Normal::standard();
        let spend = total - self.spent;
        // Z' = keep Z + sd N(0, 1)
        let keep = (self.information / information).sqrt();
        // At the same information nothing moves; a width far below a step stands in for none.
        let sd = (1.0 - keep * keep).sqrt().max(1e-6);
        let step = self.critical / self.mass.len() as f64;
        let before: Vec<(f64, f64)> = (0..)
            .zip(&self.mass)
            .map(|(i, &mass)| (keep * (f64::from(i) + 0.5) * step, mass))
            .collect();
        let crossed = |critical: f64| -> f64 {
            let beyond =
                |z: f64| normal.cdf((z - critical) / sd) + normal.cdf((-z - critical) / sd);
            before.iter().map(|&(z, mass)| mass * beyond(z)).sum()
        };
        let (mut low, mut high) = (0.0, WIDEST);
        while high - low > 1e-6 {
            let middle = (low + high) / 2.0;
            if crossed(middle) > spend {
                low = middle;
            } else {
                high = middle;
            }
        }
        let step = high / POINTS as f64;
        let density = |z: f64| -> f64 {
            let at = |from: f64| normal.pdf((z - from) / sd) + normal.pdf((z + from) / sd);
            before
                .iter()
                .map(|&(from, mass)| mass * at(from))
                .sum::<f64>()
                / sd
        };
        self.mass = (0..POINTS)
            .map(|i| step * density((i as f64 + 0.5) * step))
            .collect();
        self.spent = self.spent.max(total);
        self.information = information;
        self.critical = high;
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: f64, published: f64) {
        assert!((found - published).abs() < 0.002, "{found} for {published}");
    }

    #[test]
    fn one_look_is_an_ordinary_test() {
        assert_near(Boundary::new().look(123.0, 0.05), 1.960);
        assert_near(Boundary::new().look(1.0, 0.01), 2.576);
    }

    #[test]
    fn five_looks_have_the_published_o_brien_fleming_boundary() {
        // Lan and DeMets' spending of the O'Brien-Fleming kind, 2 (1 - F(z / sqrt t)) a side at
        // 2.5 % a side; values as in Reboussin et al. 2000, table for five equal looks.
        let normal = Normal::standard();
        let mut boundary = Boundary::new();
        for (look, published) in [4.877, 3.357, 2.680, 2.290, 2.031].into_iter().enumerate() {
            let share = (look + 1) as f64 / 5.0;
            let total = 4.0 * normal.cdf(normal.inverse_cdf(0.0125) / share.sqrt());
            assert_near(boundary.look(share, total), published);
        }
    }

    #[test]
    fn five_looks_at_pocock_s_constant_spend_what_pocock_says() {
        // Pocock 1977: 2.413 at each of five equal looks errs in 5 %. Spend what that constant
        // spends at each look, found by bisection, and compare the total.
        let mut boundary = Boundary::new();
        for look in 1..=5 {
            let (mut low, mut high) = (boundary.spent, 0.2);
            for _ in 0..40 {
                let middle = (low + high) / 2.0;
                if boundary.clone().look(f64::from(look), middle) > 2.413 {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            boundary.look(f64::from(look), high);
        }
        assert!((boundary.spent - 0.05).abs() < 2e-4, "{}", boundary.spent);
    }

    #[test]
    fn error_left_over_at_the_same_information_is_still_spent() {
        let mut boundary = Boundary::new();
        boundary.look(10.0, 0.01);
        assert!((boundary.look(10.0, 0.05) - 1.960).abs() < 0.02);
    }
}
