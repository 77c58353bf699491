//! What all benches have in common: the first line, criterion's settings, whether anything is
//! measured at all.

use criterion::{Criterion, PlottingBackend};
use std::time::Duration;

/// About how long all benches take on two CPUs, in minutes.
const ALL_MINUTES: u64 = 5;

/// The first line: how long `bench` takes, and how to take less.
pub fn say_how_long(bench: &str, seconds: u64) {
    if is_measured() {
        eprintln!(
            "hitm: {bench} takes up to {seconds} s, all benches about {ALL_MINUTES} min; for less, \
             cargo bench --bench {bench}, cargo bench -- FILTER"
        );
    }
}

/// Whether criterion measures: `cargo test` and `--test` run everything once, `--list` nothing.
pub fn is_measured() -> bool {
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    asked("--bench") && !asked("--test") && !asked("--list")
}

/// Twenty samples within that time. With more resamples than these the analysis takes longer than
/// the measurement.
pub fn criterion(warm_up_ms: u64, measurement_ms: u64) -> Criterion {
    Criterion::default()
        .plotting_backend(PlottingBackend::Plotters)
        .warm_up_time(Duration::from_millis(warm_up_ms))
        .measurement_time(Duration::from_millis(measurement_ms))
        .sample_size(20)
        .nresamples(10_000)
}
