//! The verdicts, and the rule that gives one from an interval.

use super::Interval;
use crate::text::words;

words! {
    /// What is said about an arm against its baseline.
    pub enum Verdict as "verdict" {
        /// Slower: the whole interval lies above 1.
        Regression = "regression",
        /// Faster: the whole interval lies below 1.
        Improvement = "improvement",
        /// The whole interval lies within the margin, whether it holds 1 or not.
        Equivalent = "equivalent",
        /// None of these yet.
        Inconclusive = "inconclusive",
        /// No one answer: it differs between states of the machine.
        Depends = "depends",
        /// A difference, but no larger than what other machine code of the same accesses makes.
        CodeNoise = "code-noise",
    }
}

impl Verdict {
    /// The verdict on an interval of log-ratios, with equivalence margin `margin`: 0.02 makes
    /// ratios from 1/1.02 to 1.02 equivalent, 0 makes none so (other than 1 itself).
    ///
    /// The margin comes first: a difference shown to be smaller than what the reader called
    /// negligible is negligible, even where it is shown not to be zero.
    pub fn on(interval: Interval, margin: f64) -> Verdict {
        let negligible = margin.ln_1p();
        if interval.low >= -negligible && interval.high <= negligible {
            Verdict::Equivalent
        } else if interval.low > 0.0 {
            Verdict::Regression
        } else if interval.high < 0.0 {
            Verdict::Improvement
        } else {
            Verdict::Inconclusive
        }
    }

    /// Whether it is anything but `inconclusive`.
    pub fn is_decided(self) -> bool {
        self != Verdict::Inconclusive
    }

    /// Whether it says that times differ.
    pub fn is_difference(self) -> bool {
        matches!(self, Verdict::Regression | Verdict::Improvement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(ratio_low: f64, ratio_high: f64, margin: f64) -> Verdict {
        let (low, high) = (ratio_low.ln(), ratio_high.ln());
        let estimate = (low + high) / 2.0;
        Verdict::on(
            Interval {
                estimate,
                low,
                high,
            },
            margin,
        )
    }

    #[test]
    fn an_interval_above_one_is_a_regression_and_below_one_an_improvement() {
        assert_eq!(on(1.001, 1.2, 0.02), Verdict::Regression);
        assert_eq!(on(0.8, 0.999, 0.02), Verdict::Improvement);
    }

    #[test]
    fn an_interval_within_the_margin_is_equivalent_even_if_one_is_outside() {
        assert_eq!(on(0.99, 1.01, 0.02), Verdict::Equivalent);
        assert_eq!(on(1.001, 1.019, 0.02), Verdict::Equivalent);
        assert_eq!(on(1.001, 1.021, 0.02), Verdict::Regression);
    }

    #[test]
    fn the_margin_is_the_same_factor_both_ways() {
        assert_eq!(on(1.0 / 1.019, 1.019, 0.02), Verdict::Equivalent);
        assert_eq!(on(0.980, 1.0, 0.02), Verdict::Inconclusive);
    }

    #[test]
    fn without_a_margin_only_an_exact_one_is_equivalent() {
        assert_eq!(on(1.0, 1.0, 0.0), Verdict::Equivalent);
        assert_eq!(on(0.9999, 1.0001, 0.0), Verdict::Inconclusive);
        assert_eq!(on(1.0001, 1.0002, 0.0), Verdict::Regression);
    }
}
