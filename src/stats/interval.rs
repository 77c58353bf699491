//! The BCa bootstrap interval of a trimmed mean (Efron 1987), at any level and for few values.
//!
//! Here: resampling, bias correction and acceleration, the reach beyond what resamples resolve.
//! Not here: the level a look may use (`boundary`, `comparison`).

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::location::Ordered;
use super::quantile;

/// Resamples behind one interval. With 2000 an end of the 95 % interval moves by about 2 % of the
/// width from one seed to the next.
const RESAMPLES: usize = 2000;

/// Fewest values an interval is given for. Below it the t quantile that stands in for ignorance
/// is so wide that the interval says nothing.
const FEWEST: usize = 5;

/// 97.5 % quantile of the normal distribution: where the bootstrap distribution is read.
const Z_95: f64 = 1.959_963_984_540_054;

/// A trimmed mean of log-ratios, and the interval that goes with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The trimmed mean.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The interval that misses with probability `error` (both ends together) for the mean of
    /// finite `values` in any order, trimmed by a share `trim` at each end; `None` for fewer than
    /// five values.
    ///
    /// The BCa interval is read at 95 %, where 2000 resamples resolve it, and stretched about the
    /// estimate to the level asked for, by the ratio of the t quantile at that level to the
    /// normal one at 95 %. The t quantile (degrees of freedom: values kept less one, Tukey and
    /// McLaughlin 1963) and `sqrt(n / (n - 1))` make up for the bootstrap's taking the spread of
    /// few values for the whole spread. The shape, one side longer than the other, is the
    /// bootstrap's; how far out a small `error` lies is the t distribution's.
    ///
    /// Values that are all equal have an interval of no width: they were measured without noise.
    /// Values of which only the dropped ones differ tell nothing of the spread of the rest: the
    /// interval is then all that was seen, from the smallest to the largest.
    ///
    /// Changing the sign of every value changes the sign of the interval exactly.
    pub fn of(values: &[f64], trim: f64, error: f64, seed: u64) -> Option<Interval> {
        if values.len() < FEWEST {
            return None;
        }
        let ordered = Ordered::new(values, trim);
        let estimate = ordered.mean();
        // Resample the orientation in which the estimate is positive, so that a swap of arm and
        // baseline draws the same resamples.
        if estimate < 0.0 {
            let Interval {
                estimate,
                low,
                high,
            } = Interval::of_ordered(&ordered.negated(), error, seed);
            return Some(Interval {
                estimate: -estimate,
                low: -high,
                high: -low,
            });
        }
        Some(Interval::of_ordered(&ordered, error, seed))
    }

    fn of_ordered(ordered: &Ordered, error: f64, seed: u64) -> Interval {
        let (first, last) = ordered.limits();
        if first == last {
            return Interval {
                estimate: first,
                low: ordered.values[0],
                high: ordered.values[ordered.values.len() - 1],
            };
        }
        let estimate = ordered.mean();
        let count = ordered.values.len() as f64;
        // A median keeps one or two values, and yet it knows the spread of all.
        let freedom = match ordered.kept().len() {
            0..=2 => count - 1.0,
            kept => kept as f64 - 1.0,
        };
        let t = StudentsT::new(0.0, 1.0, freedom)
            .expect("two degrees of freedom at least")
            .inverse_cdf(error / 2.0)
            .abs();
        let (low, high) = bca_95(ordered, seed);
        Interval {
            estimate,
            low,
            high,
        }
        .stretched(t / Z_95 * (count / (count - 1.0)).sqrt())
    }

    /// Both ends `factor` times as far from the estimate.
    pub(super) fn stretched(self, factor: f64) -> Interval {
        Interval {
            estimate: self.estimate,
            low: self.estimate - factor * (self.estimate - self.low),
            high: self.estimate + factor * (self.high - self.estimate),
        }
    }

    /// The estimate as a ratio: time per fault over the baseline's; above 1 is slower.
    pub fn ratio(&self) -> f64 {
        self.estimate.exp()
    }

    /// The lower end as a ratio.
    pub fn ratio_low(&self) -> f64 {
        self.low.exp()
    }

    /// The upper end as a ratio.
    pub fn ratio_high(&self) -> f64 {
        self.high.exp()
    }
}

/// Ends of the 95 % BCa interval, as the bootstrap distribution gives them.
fn bca_95(ordered: &Ordered, seed: u64) -> (f64, f64) {
    let normal = Normal::standard();
    let estimate = ordered.mean();
    let means = resampled_means(ordered, seed);
    // Ties count half: the bootstrap distribution of few values has them.
    let below = means.partition_point(|&mean| mean < estimate);
    let not_above = means.partition_point(|&mean| mean <= estimate);
    let share = (below + not_above) as f64 / (2 * RESAMPLES) as f64;
    // At least one resample on either side keeps the bias finite: |bias| < 3.3.
    let rim = 1.0 / RESAMPLES as f64;
    let bias = normal.inverse_cdf(share.clamp(rim, 1.0 - rim));
    let acceleration = acceleration(ordered);
    let end = |z: f64| {
        // |acceleration| <= 1/6 and |bias + z| < 5.3, so the divisor stays above 0.1.
        let shifted = bias + z;
        quantile(
            &means,
            normal.cdf(bias + shifted / (1.0 - acceleration * shifted)),
        )
    };
    (end(-Z_95), end(Z_95))
}

/// A sixth of the skewness of the influence each value has on the trimmed mean, which is the
/// value itself winsorised. (The jackknife would say the same but for jumps where leaving one
/// value out changes how many are cut.) Values kept differ, so the divisor is not 0.
fn acceleration(ordered: &Ordered) -> f64 {
    let (low, high) = ordered.limits();
    let influence = || ordered.values.iter().map(|value| value.clamp(low, high));
    let centre = influence().sum::<f64>() / ordered.values.len() as f64;
    let square: f64 = influence().map(|value| (value - centre).powi(2)).sum();
    let cube: f64 = influence().map(|value| (value - centre).powi(3)).sum();
    cube / (6.0 * square.powf(1.5))
}

/// Trimmed means of as many values drawn with replacement, in order.
fn resampled_means(ordered: &Ordered, seed: u64) -> Vec<f64> {
    let values = &ordered.values;
    let keep = ordered.kept().len();
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    // How often each value is drawn is all that a trimmed mean needs; no resample is sorted.
    let mut drawn = vec![0_usize; values.len()];
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            drawn.fill(0);
            for _ in 0..values.len() {
                // A 32-bit fraction of the count: biased by count / 2^32, which is nothing here.
                let index = ((rng.next_u64() >> 32) * values.len() as u64) >> 32;
                drawn[index as usize] += 1;
            }
            let (mut to_skip, mut to_take, mut sum) = (ordered.cut, keep, 0.0);
            for (&value, &times) in values.iter().zip(&drawn) {
                let skipped = times.min(to_skip);
                let taken = (times - skipped).min(to_take);
                to_skip -= skipped;
                to_take -= taken;
                sum += taken as f64 * value;
            }
            sum / keep as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    means
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::location::TRIM;
    use super::*;

    const VALUES: [f64; 8] = [0.01, 0.13, -0.04, 0.02, 0.35, 0.07, 0.05, 0.22];

    fn assert_near(found: (f64, f64), exact: (f64, f64)) {
        let tolerance = 0.03 * (exact.1 - exact.0);
        assert!(
            (found.0 - exact.0).abs() < tolerance,
            "{found:?}, {exact:?}"
        );
        assert!(
            (found.1 - exact.1).abs() < tolerance,
            "{found:?}, {exact:?}"
        );
    }

    // The exact intervals come from all 8^8 resamples, counted by multiset outside this crate:
    // bias 0.05496 and acceleration 0.05454 for the mean, -0.00499 and 0.03625 for the mean of
    // the middle six.
    #[test]
    fn the_bca_interval_of_a_mean_is_that_of_all_resamples() {
        assert_near(bca_95(&Ordered::new(&VALUES, 0.0), 1), (0.03500, 0.20875));
    }

    #[test]
    fn the_bca_interval_of_a_trimmed_mean_is_that_of_all_resamples() {
        assert_near(bca_95(&Ordered::new(&VALUES, TRIM), 1), (0.01833, 0.20500));
    }

    #[test]
    fn the_acceleration_of_a_mean_is_a_sixth_of_the_skewness_of_its_values() {
        assert!((acceleration(&Ordered::new(&VALUES, 0.0)) - 0.054_543_976).abs() < 1e-8);
    }

    #[test]
    fn the_level_asked_for_stretches_by_the_t_quantile() {
        // Two-sided t quantiles for the six values kept, five degrees of freedom: 2.571 at 5 %,
        // 6.869 at 0.1 %.
        let width = |error| {
            let interval = Interval::of(&VALUES, TRIM, error, 1).unwrap();
            interval.high - interval.low
        };
        assert!((width(0.001) / width(0.05) - 6.869 / 2.571).abs() < 1e-3);
    }

    #[test]
    fn the_widest_level_is_still_a_number() {
        let interval = Interval::of(&VALUES, TRIM, 1e-15, 1).unwrap();
        assert!(
            interval.low.is_finite() && interval.low < -10.0,
            "{interval:?}"
        );
    }

    #[test]
    fn four_values_have_no_interval() {
        assert_eq!(Interval::of(&VALUES[..4], TRIM, 0.05, 1), None);
    }

    #[test]
    fn equal_values_have_an_interval_of_no_width() {
        let interval = Interval::of(&[0.25; 6], TRIM, 0.05, 1).unwrap();
        assert_eq!((interval.low, interval.high), (0.25, 0.25));
    }

    #[test]
    fn values_that_differ_only_where_trimmed_give_all_that_was_seen() {
        let values = [0.1, 0.1, 0.1, 0.1, 0.1, 0.7];
        let interval = Interval::of(&values, TRIM, 0.05, 1).unwrap();
        assert_eq!((interval.low, interval.high), (0.1, 0.7));
        let negated = values.map(|value| -value);
        let interval = Interval::of(&negated, TRIM, 0.05, 1).unwrap();
        assert_eq!((interval.low, interval.high), (-0.7, -0.1));
    }

    #[test]
    fn one_value_in_five_cannot_move_the_interval_far() {
        let mut struck = VALUES.repeat(5);
        let calm = Interval::of(&struck, TRIM, 0.05, 1).unwrap();
        struck[0] = 1e6;
        let struck = Interval::of(&struck, TRIM, 0.05, 1).unwrap();
        assert!((struck.estimate - calm.estimate).abs() < 0.02);
        assert!(struck.high < calm.high + 0.05);
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(-0.5..0.5_f64, 5..25)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_ends_enclose_the_estimate(values in values(), seed: u64) {
            let interval = Interval::of(&values, TRIM, 0.05, seed).unwrap();
            prop_assert!(interval.low <= interval.estimate && interval.estimate <= interval.high);
        }

        #[test]
        fn a_swap_of_arm_and_baseline_mirrors_the_interval(values in values(), seed: u64) {
            let interval = Interval::of(&values, TRIM, 0.01, seed).unwrap();
            let negated: Vec<f64> = values.iter().map(|value| -value).collect();
            let mirrored = Interval::of(&negated, TRIM, 0.01, seed).unwrap();
            prop_assert!((mirrored.low + interval.high).abs() < 1e-12);
            prop_assert!((mirrored.high + interval.low).abs() < 1e-12);
        }

        #[test]
        fn the_order_of_values_does_not_matter(values in values(), seed: u64) {
            let mut shuffled = values.clone();
            shuffled.reverse();
            shuffled.rotate_left(values.len() / 3);
            let interval = Interval::of(&values, TRIM, 0.05, seed);
            prop_assert_eq!(Interval::of(&shuffled, TRIM, 0.05, seed), interval);
        }

        #[test]
        fn a_change_of_unit_changes_the_unit_of_the_interval(values in values(), seed: u64) {
            let interval = Interval::of(&values, TRIM, 0.05, seed).unwrap();
            let eighths: Vec<f64> = values.iter().map(|value| 8.0 * value).collect();
            let scaled = Interval::of(&eighths, TRIM, 0.05, seed).unwrap();
            prop_assert!((scaled.low - 8.0 * interval.low).abs() < 1e-9);
            prop_assert!((scaled.high - 8.0 * interval.high).abs() < 1e-9);
        }
    }
}
