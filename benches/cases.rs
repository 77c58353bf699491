//! What a pass through the roles of a few built-in cases costs under each of their layouts, as
//! criterion measures: `CASE/LAYOUT/THREADS`. `hitm run --case NAME` interleaves the layouts and is
//! what to trust; see `layouts`.

#[path = "support/config.rs"]
mod config;
#[path = "support/measured.rs"]
mod measured;
#[path = "support/windows.rs"]
mod windows;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use hitm::backend::native::Native;
use hitm::backend::native::made::MadeArms;
use hitm::backend::native::pool::Timing;
use hitm::case::Case;
use hitm::error::Result;
use hitm::experiment::{BackendKind, CaseFile, Design, Point, Scenario};
use hitm::machine::{Placement, Topology};
use windows::{DISTURBED, Windows};

/// A lock beside what is read, a counter, a counter of several levels, an address compared.
const CASES: [&str; 4] = ["dentry", "percpu_counter", "page_counter", "sock_common"];

criterion_group! {
    name = benches;
    config = config::criterion("cases", 20, [200, 700]);
    targets = cases
}
criterion_main!(benches);

fn cases(criterion: &mut Criterion) {
    measured::or_exit(all(criterion));
}

fn all(criterion: &mut Criterion) -> Result<()> {
    let topology = Topology::here()?;
    let room = Placement::Compact.order(&topology)?.len();
    for name in CASES {
        let case = Case::load(name)?;
        let threads = case.least_threads().max(room.min(2));
        let mut group = criterion.benchmark_group(name);
        // More iterations are more windows, not longer ones: there is no slope to fit.
        group.sampling_mode(SamplingMode::Flat);
        for layout in case.layouts.iter().filter(|_| threads <= room) {
            let mut windows = None;
            let id = BenchmarkId::new(&layout.name, threads);
            measured::bench(&mut group, id, DISTURBED, |iterations| {
                let windows = match &mut windows {
                    Some(windows) => windows,
                    None => {
                        let design = design(&case, &layout.name, threads)?;
                        let plan = Placement::Compact.plan(&topology, threads, false)?;
                        let made = MadeArms::of(&design)?;
                        let native = Native::new(made, vec![plan.cpus], Timing::default())?;
                        windows.insert(Windows::new(design, native))
                    }
                };
                Ok(windows.take(iterations)?.0)
            })?;
        }
        group.finish();
    }
    Ok(())
}

fn design(case: &Case, layout: &str, threads: usize) -> Result<Design> {
    let point = Point {
        scenario: Scenario::Case(case.name.clone()),
        placement: Placement::Compact,
        threads,
    };
    Ok(Design {
        case: Some(CaseFile::new(case.clone())),
        ..Design::new(
            BackendKind::Native,
            "this",
            vec![layout.parse()?],
            vec![point],
        )
    })
}
