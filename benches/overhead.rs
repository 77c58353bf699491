//! What the harness itself costs, as criterion measures; compare `fault-loop` with `by-hand`.
//!
//! `fault-loop`: a fault as `hitm run` times it. `by-hand`: the same accesses in one plain loop.
//! `empty-program`: a batch in which nothing is done, a call and a reading of the clock; there is
//! one batch in about 10 µs. `clock`: that reading alone. The ratio of the first two with its
//! interval, interleaved: `hitm study overhead`.

#[path = "support/config.rs"]
mod config;
#[path = "support/measured.rs"]
mod measured;
#[path = "support/windows.rs"]
mod windows;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use hitm::backend::faults::FaultArms;
use hitm::backend::native::loaded::{Load, Loaded, Placing};
use hitm::backend::native::pool::Timing;
use hitm::backend::native::{Build, Native};
use hitm::error::Result;
use hitm::experiment::{Backend, BackendKind, Design, PlannedSample, Point};
use hitm::machine::{Placement, Topology};
use hitm::program::fault::path::PageWork;
use hitm::program::fault::scenario;
use hitm::program::{Program, WithProgram};
use hitm::space::arena::Arena;
use hitm::space::memory::Memory;
use hitm::study::by_hand::ByHand;
use std::sync::Arc;
use std::time::{Duration, Instant};
use windows::{DISTURBED, Windows};

criterion_group! {
    name = benches;
    config = config::criterion("overhead", 15, [300, 2000]);
    targets = overhead
}
criterion_main!(benches);

fn overhead(criterion: &mut Criterion) {
    measured::or_exit(all(criterion));
}

fn all(criterion: &mut Criterion) -> Result<()> {
    let cpus = Placement::Compact.plan(&Topology::here()?, 1, false)?.cpus;
    let mut group = criterion.benchmark_group("overhead");
    // More iterations are more windows, not longer ones: there is no slope to fit.
    group.sampling_mode(SamplingMode::Flat);

    let mut windows = None;
    measured::bench(
        &mut group,
        BenchmarkId::from_parameter("fault-loop"),
        DISTURBED,
        |iterations| {
            take(&mut windows, iterations, || {
                let faults = FaultArms::new(
                    &["split-packed".parse()?],
                    vec![(scenario::BuiltIn::OneVma, 1)],
                    PageWork::None,
                )?;
                Native::new(faults, vec![cpus.clone()], Timing::default())
            })
        },
    )?;
    let mut windows = None;
    measured::bench(
        &mut group,
        BenchmarkId::from_parameter("by-hand"),
        DISTURBED,
        |iterations| take(&mut windows, iterations, || ByHand::new(cpus.clone())),
    )?;
    let mut windows = None;
    measured::bench(
        &mut group,
        BenchmarkId::from_parameter("empty-program"),
        DISTURBED,
        |iterations| {
            take(&mut windows, iterations, || {
                Native::new(Empties, vec![cpus.clone()], Timing::default())
            })
        },
    )?;
    group.bench_function("clock", |bencher| bencher.iter(Instant::now));
    group.finish();
    Ok(())
}

/// What criterion is told of so many iterations on a backend, which is made for the first of them.
fn take<B: Backend + 'static>(
    windows: &mut Option<Windows>,
    iterations: u64,
    backend: impl FnOnce() -> Result<B>,
) -> Result<Option<Duration>> {
    let windows = match windows {
        Some(windows) => windows,
        None => windows.insert(Windows::new(design()?, backend()?)),
    };
    Ok(windows.take(iterations)?.0)
}

/// Names are for rows, and these rows go nowhere.
fn design() -> Result<Design> {
    let point = Point {
        scenario: "overhead".parse()?,
        placement: Placement::Compact,
        threads: 1,
    };
    let arms = vec!["overhead".parse()?];
    Ok(Design {
        first_slot: Some(0),
        ..Design::new(BackendKind::Native, "this", arms, vec![point])
    })
}

/// Counts batches, and does nothing else.
struct Empty(Arena);

// SAFETY: it accesses no memory.
unsafe impl Program for Empty {
    type Thread = ();
    type Counts = u64;

    fn threads(&self) -> usize {
        1
    }

    fn thread(&self, _thread: usize, _seed: u64) {}

    #[inline(never)]
    fn run<M: Memory>(&self, _m: &M, _thread: &mut (), counts: &mut u64, _steps: u32) {
        *counts += 1;
    }

    fn operations(counts: &u64) -> u64 {
        *counts
    }

    fn arena(&self) -> &Arena {
        &self.0
    }

    fn into_arena(self) -> Arena {
        self.0
    }
}

struct Empties;

impl Build for Empties {
    fn bytes(&self) -> usize {
        0
    }

    const IS_COMPILED: bool = false;

    fn build(
        &self,
        _planned: &PlannedSample,
        arena: Arena,
        _placing: &Arc<Placing>,
    ) -> Result<Box<dyn Loaded>> {
        let load = Load {
            handicap_permille: 0,
        };
        Ok(load.call(Empty(arena)))
    }
}
