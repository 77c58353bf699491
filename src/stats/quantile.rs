//! Where a list of values lies, told by its order: quantiles, the median, nine tenths of it.
//!
//! Not here: how sure any of it is (`summary`, `interval`), and the trimmed mean (`location`).

/// The quantile of `sorted` values, of which there is at least one, at `share` (0 to 1):
/// interpolated between the neighbours of rank `share * (n + 1)` (Hyndman and Fan 1996, type 6).
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = (sorted.len() - 1) as f64;
    let at = (share * (sorted.len() + 1) as f64 - 1.0).clamp(0.0, last);
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + at.fract() * (above - below)
}

/// The median of `sorted` values, of which there is at least one.
pub fn median(sorted: &[f64]) -> f64 {
    quantile(sorted, 0.5)
}

/// The geometric mean of positive values, of which there is at least one.
pub fn geometric_mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    (values.map(f64::ln).sum::<f64>() / count).exp()
}

/// The middle of a list of values and where nine tenths of them lie, in their unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// Quantile of 5 %.
    pub low: f64,
    /// Quantile of 95 %.
    pub high: f64,
    /// How many values.
    pub count: usize,
}

impl Spread {
    /// Of values in any order; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        (!sorted.is_empty()).then(|| Spread {
            median: median(&sorted),
            low: quantile(&sorted, 0.05),
            high: quantile(&sorted, 0.95),
            count: sorted.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_the_middle_and_nine_tenths_of_the_values() {
        let spread = Spread::of((1..100).rev().map(f64::from)).unwrap();
        let Spread {
            median,
            low,
            high,
            count,
        } = spread;
        for (found, expected) in [(median, 50.0), (low, 5.0), (high, 95.0)] {
            assert!((found - expected).abs() < 1e-9, "{spread:?}");
        }
        assert_eq!(count, 99);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
        assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
    }

    #[test]
    fn a_quantile_beyond_the_outermost_value_is_that_value() {
        assert_eq!(quantile(&[3.0, 4.0], 0.0), 3.0);
        assert_eq!(quantile(&[3.0, 4.0], 0.99), 4.0);
    }

    #[test]
    fn halves_and_doubles_cancel_in_the_geometric_mean() {
        assert!((geometric_mean([0.5, 2.0].into_iter()) - 1.0).abs() < 1e-12);
    }
}
