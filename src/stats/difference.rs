//! Whether two groups of units tell of one effect: Yuen's test (Yuen 1974, "The two-sample trimmed t
//! for unequal population variances", Biometrika 61).

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::location::{Ordered, TRIM, widening};

/// Two groups of independent values side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The trimmed mean of the first group less that of the second.
    pub estimate: f64,
    /// How probable a difference as large as this is, either way, where there is none.
    pub p: f64,
}

impl Difference {
    /// Fewest values in a group.
    pub const FEWEST: usize = 8;

    /// The groups by their trimmed means; `None` where one has fewer than eight values.
    ///
    /// `t = (m1 - m2) / sqrt(d1 + d2)`, where `d` is the square of the standard error of a trimmed
    /// mean, as in [`Interval::of`](super::Interval::of), widened for serial dependence like every
    /// interval. Degrees of freedom after Welch: `(d1 + d2)^2 / (d1^2 / (h1 - 1) + d2^2 / (h2 - 1))`.
    pub fn of(first: &[f64], second: &[f64]) -> Option<Difference> {
        if first.len().min(second.len()) < Difference::FEWEST {
            return None;
        }
        let group = |values: &[f64]| {
            let ordered = Ordered::new(values, TRIM);
            let spread = ordered.spread_of_mean();
            let square = (spread.error * widening(values, TRIM)).powi(2);
            (ordered.mean(), square, spread.freedom)
        };
        let ((m1, d1, f1), (m2, d2, f2)) = (group(first), group(second));
        let estimate = m1 - m2;
        if d1 + d2 == 0.0 {
            let p = if estimate == 0.0 { 1.0 } else { 0.0 };
            return Some(Difference { estimate, p });
        }
        let t = estimate / (d1 + d2).sqrt();
        let freedom = (d1 + d2).powi(2) / (d1 * d1 / f1 + d2 * d2 / f2);
        let student = StudentsT::new(0.0, 1.0, freedom).expect("several degrees of freedom");
        let p = 2.0 * student.cdf(-t.abs());
        Some(Difference { estimate, p })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten values about `centre`.
    fn about(centre: f64) -> Vec<f64> {
        let offsets = [
            0.03, -0.02, 0.01, 0.00, -0.01, 0.02, -0.03, 0.015, -0.015, 0.005,
        ];
        offsets.iter().map(|offset| centre + offset).collect()
    }

    #[test]
    fn groups_far_apart_differ_and_equal_ones_do_not() {
        let apart = Difference::of(&about(0.5), &about(0.0)).unwrap();
        assert!(
            apart.p < 1e-9 && (apart.estimate - 0.5).abs() < 1e-9,
            "{apart:?}"
        );
        let equal = Difference::of(&about(0.1), &about(0.1)).unwrap();
        assert_eq!((equal.estimate, equal.p), (0.0, 1.0));
    }

    #[test]
    fn without_trimming_to_speak_of_it_is_welchs_test() {
        // Equal groups in size and spread: t has twice the degrees of freedom of one.
        let near = Difference::of(&about(0.02), &about(0.0)).unwrap();
        let ordered = Ordered::new(&about(0.0), TRIM);
        let spread = ordered.spread_of_mean();
        let t = 0.02 / (2.0_f64.sqrt() * spread.error);
        let student = StudentsT::new(0.0, 1.0, 2.0 * spread.freedom).unwrap();
        assert!((near.p - 2.0 * student.cdf(-t)).abs() < 1e-9, "{near:?}");
    }

    #[test]
    fn groups_without_noise_differ_if_at_all() {
        assert_eq!(Difference::of(&[0.5; 8], &[0.25; 8]).unwrap().p, 0.0);
        assert_eq!(Difference::of(&[0.5; 8], &[0.5; 8]).unwrap().p, 1.0);
    }

    #[test]
    fn seven_values_are_no_group() {
        assert_eq!(Difference::of(&about(0.0)[..7], &about(0.5)), None);
    }
}
