//! The trimmed mean and its BCa bootstrap interval.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Resamples behind one interval.
pub const RESAMPLES: usize = 2000;

/// Normal quantile of the level at which the bootstrap distribution is read: 97.5 %.
const Z_READ: f64 = 1.959_963_984_540_054;

/// Fewest values that an interval is given for.
pub const MIN_VALUES: usize = 5;

/// An estimate and its interval, on the scale of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The trimmed mean of the values.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Values that the trimmed mean of `count` drops at each end; at least one is always kept.
fn cut(count: usize, trim: f64) -> usize {
    ((count as f64 * trim) as usize).min(count.saturating_sub(1) / 2)
}

/// Mean of what is left when a share `trim` of the values is dropped at each end.
pub fn trimmed_mean(values: &[f64], trim: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| mean(kept(&sorted, trim)))
}

fn kept(sorted: &[f64], trim: f64) -> &[f64] {
    let cut = cut(sorted.len(), trim);
    &sorted[cut..sorted.len() - cut]
}

/// w
pub fn winsorised(values: &[f64], trim: f64) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let k = kept(&sorted, trim);
    let (a, b) = (k[0], k[k.len() - 1]);
    values.iter().map(|v| v.clamp(a, b)).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The interval.
pub fn trimmed_interval(
    values: &[f64],
    trim: f64,
    error: f64,
    widen: f64,
    seed: u64,
) -> Option<Interval> {
    if values.len() < MIN_VALUES {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let estimate = mean(kept(&sorted, trim));
    let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
    if min == max {
        return Some(Interval {
            estimate: min,
            low: min,
            high: min,
        });
    }
    let kept_values = kept(&sorted, trim);
    if kept_values[0] == kept_values[kept_values.len() - 1] {
        return Some(Interval {
            estimate,
            low: min,
            high: max,
        });
    }
    let flip = estimate < 0.0;
    if flip {
        sorted.reverse();
        sorted.iter_mut().for_each(|v| *v = -*v);
    }
    let estimate = estimate.abs();
    let means = resampled_means(&sorted, trim, seed);
    let normal = Normal::standard();
    let below = means.partition_point(|&m| m < estimate);
    let upto = means.partition_point(|&m| m <= estimate);
    let share = ((below + upto) as f64 / 2.0).clamp(1.0, RESAMPLES as f64 - 1.0) / RESAMPLES as f64;
    let bias = normal.inverse_cdf(share);
    let acceleration = acceleration(&sorted, trim);
    let read = |z: f64| {
        let w = bias + z;
        quantile(&means, normal.cdf(bias + w / (1.0 - acceleration * w)))
    };
    let n = values.len() as f64;
    let freedom = kept(&sorted, trim).len() as f64 - 1.0;
    let freedom = if freedom < 2.0 { n - 1.0 } else { freedom };
    let t = -StudentsT::new(0.0, 1.0, freedom)
        .expect("freedom is positive")
        .inverse_cdf(error / 2.0);
    let stretch = widen * t * (n / (n - 1.0)).sqrt() / Z_READ;
    let low = estimate - stretch * (estimate - read(-Z_READ));
    let high = estimate + stretch * (read(Z_READ) - estimate);
    Some(if flip {
        Interval {
            estimate: -estimate,
            low: -high,
            high: -low,
        }
    } else {
        Interval {
            estimate,
            low,
            high,
        }
    })
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (share * (sorted.len() + 1) as f64 - 1.0).clamp(0.0, (sorted.len() - 1) as f64);
    let below = at.floor();
    let low = sorted[below as usize];
    let high = sorted[at.ceil() as usize];
    low + (at - below) * (high - low)
}

fn acceleration(sorted: &[f64], trim: f64) -> f64 {
    let kept = kept(sorted, trim);
    let (floor, ceiling) = (kept[0], kept[kept.len() - 1]);
    let winsorised = || sorted.iter().map(|v| v.clamp(floor, ceiling));
    let centre = winsorised().sum::<f64>() / sorted.len() as f64;
    let square: f64 = winsorised().map(|v| (v - centre).powi(2)).sum();
    let cube: f64 = winsorised().map(|v| (v - centre).powi(3)).sum();
    cube / (6.0 * square.powf(1.5))
}

fn resampled_means(sorted: &[f64], trim: f64, seed: u64) -> Vec<f64> {
    let count = sorted.len();
    let cut = cut(count, trim);
    let keep = count - 2 * cut;
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut times = vec![0u32; count];
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            times.fill(0);
            for _ in 0..count {
                let index = ((rng.next_u64() >> 32) * count as u64) >> 32;
                times[index as usize] += 1;
            }
            let mut skip = cut;
            let mut take = keep;
            let mut sum = 0.0;
            for (&value, &times) in sorted.iter().zip(&times) {
                let mut times = times as usize;
                let skipped = times.min(skip);
                skip -= skipped;
                times -= skipped;
                let taken = times.min(take);
                take -= taken;
                sum += taken as f64 * value;
            }
            sum / keep as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    means
}
