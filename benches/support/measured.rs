//! Benchmarks of criterion that may find nothing to measure, or fail.

use criterion::measurement::Measurement;
use criterion::{BenchmarkGroup, BenchmarkId};
use hitm::error::{Error, Result, say};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The benchmark `id` of `group`; `take` takes its iterations. Where that is nothing, criterion
/// does not learn of it, and a line says `why`.
pub fn bench<M: Measurement>(
    group: &mut BenchmarkGroup<'_, M>,
    id: BenchmarkId,
    why: &str,
    mut take: impl FnMut(u64) -> Result<Option<M::Value>>,
) -> Result<()> {
    let mut error = None;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|iterations| match take(iterations) {
                Ok(Some(value)) => value,
                // Criterion knows neither errors nor "not measured": the way out is past it.
                Ok(None) => resume_unwind(Box::new(NotMeasured)),
                Err(why) => {
                    error = Some(why);
                    resume_unwind(Box::new(NotMeasured))
                }
            });
        });
    }));
    match (ended, error) {
        (Ok(()), _) => Ok(()),
        (Err(payload), _) if !payload.is::<NotMeasured>() => resume_unwind(payload),
        (Err(_), Some(error)) => Err(error),
        (Err(_), None) => {
            say(format!("not measured: {why}"));
            Ok(())
        }
    }
}

struct NotMeasured;

/// The end of the bench where something failed.
pub fn or_exit(result: Result<()>) {
    if let Err(error) = result {
        say(&error);
        std::process::exit(match error {
            Error::Input(_) => 2,
            _ => 3,
        })
    }
}
