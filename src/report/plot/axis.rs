//! An axis: values to pixels, and where its ticks lie.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Equal differences are equally long.
    Linear,
    /// Equal factors are equally long.
    Log,
}

/// One axis of a plot.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: i32,
    to: i32,
}

impl Axis {
    /// An axis that shows `values` (finite; above 0 for [`Scale::Log`]) between the pixels `from`
    /// and `to`, with a margin of `share` of its length at both ends.
    pub fn over(
        values: impl Iterator<Item = f64>,
        scale: Scale,
        share: f64,
        (from, to): (i32, i32),
    ) -> Axis {
        let (mut low, mut high) = values
            .map(|value| scale.along(value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A single value is shown in the middle, with room to read its size.
        let least = if scale == Scale::Log {
            0.1
        } else {
            low.abs().max(1e-9) * 0.02
        };
        let room = ((high - low) * share).max((least - (high - low)) / 2.0);
        Axis {
            scale,
            low: low - room,
            high: high + room,
            from,
            to,
        }
    }

    /// The pixel of a value.
    pub fn px(&self, value: f64) -> i32 {
        let share = (self.scale.along(value) - self.low) / (self.high - self.low);
        let px = f64::from(self.from) + share * f64::from(self.to - self.from);
        px.round() as i32
    }

    /// The pixel of a value, held within the axis.
    pub fn px_within(&self, value: f64) -> i32 {
        self.px(value)
            .clamp(self.from.min(self.to), self.from.max(self.to))
    }

    /// Round values to label, about `wanted` of them.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        if self.scale == Scale::Log && self.high - self.low > 0.8 {
            return self.log_ticks(wanted);
        }
        let (low, high) = (self.scale.back(self.low), self.scale.back(self.high));
        let step = round_step((high - low) / wanted.max(1) as f64);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }

    fn log_ticks(&self, wanted: usize) -> Vec<f64> {
        let within = |mantissas: &[f64]| -> Vec<f64> {
            let decades = self.low.floor() as i32..=self.high.ceil() as i32;
            decades
                .flat_map(|decade| mantissas.iter().map(move |m| m * 10f64.powi(decade)))
                .filter(|value| (self.low..=self.high).contains(&value.log10()))
                .collect()
        };
        // The finest set that leaves room between its labels.
        let sets: [&[f64]; 4] = [
            &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ];
        let fitting = sets
            .into_iter()
            .map(within)
            .find(|ticks| ticks.len() <= wanted);
        fitting.unwrap_or_else(|| within(&[1.0]))
    }
}

impl Scale {
    /// Log where the values differ by more than `factor`, and are all above 0.
    pub fn fit(values: impl Iterator<Item = f64>, factor: f64) -> Scale {
        let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
        if low > 0.0 && high / low > factor {
            Scale::Log
        } else {
            Scale::Linear
        }
    }

    fn along(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        }
    }

    fn back(self, along: f64) -> f64 {
        match self {
            Scale::Linear => along,
            Scale::Log => 10f64.powf(along),
        }
    }
}

/// The step of 1, 2 or 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let mantissa = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|m| m * power >= step * 0.999);
    mantissa.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_lie_on_the_axis() {
        let axis = Axis::over([40.0, 97.0].into_iter(), Scale::Linear, 0.05, (0, 100));
        assert_eq!(axis.ticks(5), [40.0, 60.0, 80.0]);
        let axis = Axis::over([30.0, 4000.0].into_iter(), Scale::Log, 0.0, (0, 100));
        assert_eq!(axis.ticks(8), [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]);
        assert_eq!(axis.ticks(3), [100.0, 1000.0]);
        let axis = Axis::over([0.98, 1.3].into_iter(), Scale::Log, 0.05, (0, 100));
        assert!(axis.ticks(5).iter().any(|tick| (tick - 1.0).abs() < 1e-9));
    }

    #[test]
    fn one_value_lies_in_the_middle() {
        for scale in [Scale::Linear, Scale::Log] {
            let axis = Axis::over([42.0].into_iter(), scale, 0.05, (100, 300));
            assert_eq!(axis.px(42.0), 200);
            assert!(!axis.ticks(4).is_empty());
        }
    }
}
