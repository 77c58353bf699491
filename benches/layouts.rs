//! What a fault costs under each layout, as criterion measures: `SCENARIO/LAYOUT/THREADS`.
//!
//! `cargo bench --bench layouts -- vma-per-thread/split-packed/2` takes one of them. Every window
//! goes to a run folder as well, `results/criterion-…`, in the columns of `hitm run`, criterion's
//! warm-up included. Criterion measures one layout to the end before the next, so that drift of
//! the machine becomes a difference of layouts; `hitm run` interleaves them and is what to trust.

#[path = "support/config.rs"]
mod config;
#[path = "support/measured.rs"]
mod measured;
#[path = "support/windows.rs"]
mod windows;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use hitm::backend::faults::FaultArms;
use hitm::backend::native::pool::Timing;
use hitm::backend::native::{Native, OWN_COUNTERS};
use hitm::error::Result;
use hitm::experiment::{BackendKind, Design, Point, Sample, Scenario, Unmeasured};
use hitm::machine::environment::Environment;
use hitm::machine::{CpuId, Placement, Topology};
use hitm::program::fault::TALLIES;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::scenario;
use hitm::results::{EnvironmentFile, RunFolder, RunRecord, run_id};
use std::time::{Duration, SystemTime};
use windows::{DISTURBED, Windows};

criterion_group! {
    name = benches;
    config = config::criterion("layouts", 160, [200, 700]);
    targets = layouts
}
criterion_main!(benches);

fn layouts(criterion: &mut Criterion) {
    measured::or_exit(all(criterion));
}

fn all(criterion: &mut Criterion) -> Result<()> {
    let topology = Topology::here()?;
    let cpus = Placement::Compact.order(&topology)?;
    let mut run = Run::new(&topology);
    let mut counts = vec![1, cpus.len()];
    counts.dedup();
    for &scenario in scenario::BuiltIn::ALL {
        let mut group = criterion.benchmark_group(scenario.name());
        // More iterations are more windows, not longer ones: there is no slope to fit.
        group.sampling_mode(SamplingMode::Flat);
        for &layout in VmaLayout::ALL {
            for &threads in counts.iter().filter(|n| **n >= scenario.min_threads()) {
                let mut windows = None;
                let id = BenchmarkId::new(layout.name(), threads);
                measured::bench(&mut group, id, DISTURBED, |iterations| {
                    let cpus = &cpus[..threads];
                    run.take(&mut windows, (scenario, layout), cpus, iterations)
                })?;
            }
        }
        group.finish();
    }
    run.say_what_was_disturbed();
    Ok(())
}

/// The run folder, which is there as soon as there is a row for it.
struct Run {
    id: String,
    machine: Environment,
    seed: u64,
    /// None where nothing is to be kept: `cargo test`, and `cargo bench -- --test`.
    folder: Option<RunFolder>,
    keep: bool,
    rows: u64,
    invalid: u64,
}

impl Run {
    fn new(topology: &Topology) -> Run {
        let now = SystemTime::now();
        let machine = Environment::record(topology);
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        Run {
            id: format!("criterion-{}", run_id(now, &machine.name())),
            machine,
            seed: since.map_or(1, |time| time.as_secs()),
            folder: None,
            keep: config::is_measured(),
            rows: 0,
            invalid: 0,
        }
    }

    fn take(
        &mut self,
        windows: &mut Option<Windows>,
        (scenario, layout): (scenario::BuiltIn, VmaLayout),
        cpus: &[CpuId],
        iterations: u64,
    ) -> Result<Option<Duration>> {
        let windows = match windows {
            Some(windows) => windows,
            None => {
                let design = self.design(scenario, layout, cpus.len())?;
                let build = FaultArms::of(&design)?;
                let native = Native::new(build, vec![cpus.to_vec()], Timing::default())?;
                windows.insert(Windows::new(design, native))
            }
        };
        let (time, rows) = windows.take(iterations)?;
        if self.keep {
            self.append(rows)?;
        }
        Ok(time)
    }

    fn design(
        &self,
        scenario: scenario::BuiltIn,
        layout: VmaLayout,
        threads: usize,
    ) -> Result<Design> {
        let point = Point {
            scenario: Scenario::BuiltIn(scenario),
            placement: Placement::Compact,
            threads,
        };
        let (arms, machine) = (vec![layout.name().parse()?], self.machine.name());
        Ok(Design {
            run: self.id.clone(),
            seed: self.seed,
            ..Design::new(BackendKind::Native, &machine, arms, vec![point])
        })
    }

    fn append(&mut self, mut rows: Vec<Sample>) -> Result<()> {
        let folder = match &mut self.folder {
            Some(folder) => folder,
            None => {
                let own = OWN_COUNTERS.iter().map(|(name, _)| *name);
                let names = own.chain(TALLIES.iter().map(|tally| tally.name));
                let counters: Vec<String> = names.map(str::to_owned).collect();
                let folder = RunFolder::create(None, &self.id, &counters)?;
                folder.write_environment(&environment(self))?;
                self.folder.insert(folder)
            }
        };
        for row in &mut rows {
            // No two layouts are ever in one block here: nothing is there to be paired.
            row.block = self.rows;
            self.rows += 1;
            self.invalid += u64::from(!row.valid);
        }
        folder.append_block(&rows)
    }

    fn say_what_was_disturbed(&self) {
        if let Some(folder) = &self.folder {
            eprintln!(
                "hitm: {} windows in {}; {} of them were disturbed, and criterion was given none of those",
                self.rows,
                folder.path().display(),
                self.invalid
            );
        }
    }
}

/// `environment.json`, without settings, arms and points: the run cannot be resumed.
fn environment(run: &Run) -> EnvironmentFile {
    let unmeasured = run
        .machine
        .unavailable
        .iter()
        .map(|(what, why)| Unmeasured {
            what: what.clone(),
            why: why.clone(),
        });
    EnvironmentFile {
        run: RunRecord {
            unmeasured: unmeasured.collect(),
            ..RunRecord::begin()
        },
        design: Some(Design {
            run: run.id.clone(),
            seed: run.seed,
            ..Design::new(BackendKind::Native, &run.machine.name(), vec![], vec![])
        }),
        machine: serde_json::to_value(&run.machine).ok(),
        ..EnvironmentFile::default()
    }
}
