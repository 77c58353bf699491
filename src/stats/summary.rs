//! One arm by itself: the median of its samples, for tables and plots.
//!
//! Not here: anything that compares arms. Two of these intervals that overlap, or do not, say
//! nothing of a difference; blocks are paired for that (`comparison`).

use statrs::distribution::{Binomial, DiscreteCDF};

use super::location::Ordered;

/// Median of one arm's samples at one design point, in their unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// Ends of its 95 % interval; `None` for fewer than six samples, of which not even the
    /// smallest and the largest enclose the median with that probability.
    pub interval: Option<(f64, f64)>,
    /// Samples that entered.
    pub samples: usize,
}

impl Summary {
    /// Of samples in any order, those that are not finite left out; `None` if none is left.
    ///
    /// The interval ends at two of the samples, chosen by the binomial distribution of how many
    /// lie below the median: it needs no shape, and holds for samples that are independent. Of a
    /// machine that drifts during the run it shows less than the drift.
    pub fn of(samples: &[f64]) -> Option<Summary> {
        let finite: Vec<f64> = samples.iter().copied().filter(|s| s.is_finite()).collect();
        if finite.is_empty() {
            return None;
        }
        let sorted = Ordered::new(&finite, 0.5);
        let count = sorted.values.len();
        let below = Binomial::new(0.5, count as u64).expect("0.5 is a probability");
        // Smallest rank whose lower tail reaches 2.5 %: the sample before it is still outside.
        let rank = below.inverse_cdf(0.025) as usize;
        Some(Summary {
            median: sorted.mean(),
            interval: (rank > 0).then(|| (sorted.values[rank - 1], sorted.values[count - rank])),
            samples: count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_ends_at_the_ranks_of_the_binomial_table() {
        // Conover's table for the median, 95 %: ranks 2 and 9 of 10, 6 and 15 of 20, 40 and 61
        // of 100.
        for (count, low, high) in [(10, 2.0, 9.0), (20, 6.0, 15.0), (100, 40.0, 61.0)] {
            let ranks: Vec<f64> = (1..=count).rev().map(f64::from).collect();
            let summary = Summary::of(&ranks).unwrap();
            assert_eq!(summary.interval, Some((low, high)), "{count}");
            assert_eq!(summary.median, f64::from(count + 1) / 2.0);
        }
    }

    #[test]
    fn five_samples_have_a_median_but_no_interval() {
        let summary = Summary::of(&[5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!((summary.median, summary.interval), (3.0, None));
        let six = Summary::of(&[5.0, 1.0, 4.0, 2.0, 3.0, 6.0]).unwrap();
        assert_eq!(six.interval, Some((1.0, 6.0)));
    }

    #[test]
    fn what_was_not_measured_is_not_zero() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[f64::NAN]), None);
        assert_eq!(Summary::of(&[f64::INFINITY, 2.0]).unwrap().median, 2.0);
    }
}
