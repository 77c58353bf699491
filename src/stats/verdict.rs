//! The four verdicts, and the rule that gives one from an interval.

use super::Interval;

/// What an interval says about an arm against its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Slower: the whole interval lies above 1.
    Regression,
    /// Faster: the whole interval lies below 1.
    Improvement,
    /// The whole interval lies within the margin, whether it holds 1 or not.
    Equivalent,
    /// None of these yet.
    Inconclusive,
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

    /// Whether the question is answered.
    pub fn is_decided(self) -> bool {
        self != Verdict::Inconclusive
    }

    /// Its name in the CSV.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Regression => "regression",
            Verdict::Improvement => "improvement",
            Verdict::Equivalent => "equivalent",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
