//! What a trimmed mean does not see: a cost that is paid in few blocks.
//!
//! Here: whether effects stray further to one side than to the other. Not here: where they lie
//! (`interval`).

use statrs::distribution::{Binomial, DiscreteCDF};

use super::quantile::median;

/// Probability of a tail where effects stray to both sides alike.
const ERROR: f64 = 0.001;

/// An effect strays if it is further from the median than this many times the median distance from
/// it: of normal noise, one in 2,300 does.
const FAR: f64 = 5.2;

/// And by more than this factor.
const FACTOR: f64 = 1.1;

/// A cost, or a gain, that is paid in few blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// Share of the blocks that stray to this side.
    pub share: f64,
    /// By which factor these are further than the median: above 1 slower, below 1 faster.
    pub factor: f64,
}

impl Tail {
    /// The tail of these effects, log-ratios of usable blocks, if there is one.
    ///
    /// Effects of an arm that is like its baseline stray to both sides alike, for either of the two
    /// may be disturbed. So the number that strays to one side follows the binomial distribution
    /// with probability one half; a tail is said where it is as lopsided with a probability below
    /// one in a thousand.
    pub fn of(effects: &[f64]) -> Option<Tail> {
        let mut ordered = effects.to_vec();
        ordered.sort_unstable_by(f64::total_cmp);
        if ordered.is_empty() {
            return None;
        }
        let middle = median(&ordered);
        let mut distances: Vec<f64> = ordered.iter().map(|e| (e - middle).abs()).collect();
        distances.sort_unstable_by(f64::total_cmp);
        let far = (FAR * median(&distances)).max(FACTOR.ln());
        let beyond = |side: f64| -> Vec<f64> {
            let off = ordered.iter().map(|effect| side * (effect - middle));
            off.filter(|off| *off > far).collect()
        };
        let (slower, faster) = (beyond(1.0), beyond(-1.0));
        let (side, more, less) = match slower.len() >= faster.len() {
            true => (1.0, slower, faster),
            false => (-1.0, faster, slower),
        };
        let all = (more.len() + less.len()) as u64;
        let even = Binomial::new(0.5, all).ok()?;
        // Both sides together: the lesser one is as small, or the greater one as large.
        let p = (2.0 * even.cdf(less.len() as u64)).min(1.0);
        let mean = more.iter().sum::<f64>() / more.len().max(1) as f64;
        (p < ERROR).then(|| Tail {
            share: more.len() as f64 / ordered.len() as f64,
            factor: (side * mean).exp(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` effects about 0, none of which strays.
    fn calm(count: usize) -> Vec<f64> {
        (0..count).map(|n| 0.01 * ((n % 7) as f64 - 3.0)).collect()
    }

    #[test]
    fn a_cost_in_one_block_of_ten_is_a_tail() {
        let mut effects = calm(200);
        effects
            .iter_mut()
            .step_by(10)
            .for_each(|effect| *effect += 1.0);
        let tail = Tail::of(&effects).unwrap();
        assert!((tail.share - 0.1).abs() < 1e-9, "{tail:?}");
        assert!((tail.factor - 1_f64.exp()).abs() < 0.1, "{tail:?}");
        let negated: Vec<f64> = effects.iter().map(|effect| -effect).collect();
        assert!(Tail::of(&negated).unwrap().factor < 0.4);
    }

    #[test]
    fn what_strays_to_both_sides_alike_is_noise() {
        let mut effects = calm(200);
        for (n, effect) in effects.iter_mut().step_by(10).enumerate() {
            *effect += if n % 2 == 0 { 1.0 } else { -1.0 };
        }
        assert_eq!(Tail::of(&effects), None);
    }

    #[test]
    fn a_few_blocks_are_no_tail() {
        let mut effects = calm(200);
        effects.iter_mut().take(9).for_each(|effect| *effect += 1.0);
        assert_eq!(Tail::of(&effects), None);
        effects[9] += 1.0;
        effects[10] += 1.0;
        assert!(Tail::of(&effects).is_some());
        assert_eq!(Tail::of(&[]), None);
    }
}
