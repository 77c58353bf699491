//! What all benches have in common: the first line, criterion's settings, whether anything is
//! measured at all.

use criterion::{Criterion, PlottingBackend};
use hitm::error::say;
use std::time::Duration;

/// About how long all benches take on two CPUs, in minutes.
const ALL_MINUTES: u64 = 3;

/// Whether criterion measures: `cargo test` and `--test` run everything once, `--list` nothing.
pub fn is_measured() -> bool {
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    asked("--bench") && !asked("--test") && !asked("--list")
}

/// Twenty samples of a benchmark after so many milliseconds of warm-up and within so many, and the
/// first line: `bench` as a whole takes up to so many seconds.
///
/// With more resamples than these the analysis takes longer than the measurement.
pub fn criterion(bench: &str, seconds: u64, [warm_up_ms, measurement_ms]: [u64; 2]) -> Criterion {
    let is_filtered = std::env::args()
        .skip(1)
        .any(|argument| !argument.starts_with('-'));
    if is_measured() && !is_filtered {
        say(format!(
            "{bench} takes up to {seconds} s, all benches about {ALL_MINUTES} min; for less, \
             cargo bench --bench {bench}, cargo bench -- FILTER"
        ));
    }
    Criterion::default()
        .plotting_backend(PlottingBackend::Plotters)
        .warm_up_time(Duration::from_millis(warm_up_ms))
        .measurement_time(Duration::from_millis(measurement_ms))
        .sample_size(20)
        .nresamples(10_000)
}
