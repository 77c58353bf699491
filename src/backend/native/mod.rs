//! The native backend: the fault path on real atomics, on pinned threads of this machine.
//!
//! Here: one sample from memory to counts. Not here: the order of samples (`experiment`), the
//! topology (`machine`).

pub mod memory;
pub mod pool;
pub mod program;
mod rendezvous;

use crate::counters::{Missing, Readings, Rotation};
use crate::error::{Error, Result};
use crate::experiment::{Backend, Cell, Design, Measured, Point, Remarks, ThreadFaults};
use crate::machine::CpuId;
use crate::machine::accounting::{StealClock, ThreadCounts};
use crate::prefetch;
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario;
use crate::program::fault::vma;
use crate::program::fault::world::World;
use crate::results::Unmeasured;
use crate::results::address_map::{self, Mapped};
use crate::space::PAGE;
use crate::space::arena::Arena;
use pool::{Job, Pool, Report, Timing};
use program::{Program, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Pages that a world may begin at: each block draws one, so that no arm keeps a lucky address.
const START_PAGES: u64 = 64;

/// What the native backend counts by itself: columns, and what they say. All between the first and
/// the last come from the kernel's own accounts.
pub const OWN_COUNTERS: [(&str, &str); 5] = [
    super::FALLBACKS,
    (
        "voluntary_context_switches",
        "Times a thread gave up its CPU, as the kernel accounts for it.",
    ),
    (
        "involuntary_context_switches",
        "Times a thread was taken off its CPU, as the kernel accounts for it.",
    ),
    (
        "stolen_ns",
        "Time in which the hypervisor ran something else on these CPUs.",
    ),
    (
        PACE,
        "Nanoseconds of a load, compare and branch right before or after the window, of the slowest \
         thread: a working SMT sibling, known or hidden, nearly doubles it.",
    ),
];

/// See [`OWN_COUNTERS`].
pub const PACE: &str = "pace_ns";

/// One arm: a layout, and a known handicap in thousandths (0 for a real layout).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arm {
    /// The layout.
    pub layout: vma::BuiltIn,
    /// Uncounted extra faults in thousandths: a regression of known size.
    pub handicap_permille: u32,
}

/// What makes the program of a cell, in the arena it is given (empty, of at least the size it
/// asked for).
pub trait Build {
    /// Bytes of arena that any of its programs takes.
    fn bytes(&self) -> usize;
    /// The program of `cell`.
    fn build(&self, cell: &Cell, arena: Arena) -> Box<dyn Program>;
}

/// The arms of a design point, as `hitm run` names them.
pub struct Faults {
    /// The arms, in the order of the design.
    pub arms: Vec<Arm>,
    /// Scenario and thread count of each design point.
    pub points: Vec<(scenario::BuiltIn, usize)>,
    /// What each fault does beside reading fields.
    pub work: PageWork,
}

impl Faults {
    /// Every design point with every arm.
    fn cells(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let arms = self.arms.len();
        (0..self.points.len()).flat_map(move |point| (0..arms).map(move |arm| (point, arm)))
    }

    fn spec(&self, point: usize, arm: usize, first_slot: usize) -> Spec {
        let (scenario, threads) = self.points[point];
        let Arm {
            layout,
            handicap_permille,
        } = self.arms[arm];
        Spec {
            layout,
            scenario,
            threads,
            first_slot,
            work: self.work,
            handicap_permille,
        }
    }
}

impl Build for Faults {
    fn bytes(&self) -> usize {
        self.cells()
            .map(|(point, arm)| {
                let spec = self.spec(point, arm, 0);
                World::bytes_for(spec.layout.table(), spec.size())
            })
            .max()
            .unwrap_or(0)
    }

    fn build(&self, cell: &Cell, arena: Arena) -> Box<dyn Program> {
        let spec = self.spec(cell.point, cell.arm, cell.first_slot);
        let world = World::new(arena, spec.layout.table(), spec.size());
        spec.program(world)
    }
}

/// The backend.
pub struct Native<'g, B> {
    build: B,
    /// CPUs of each design point; index = thread.
    cpus: Vec<Vec<CpuId>>,
    timing: Timing,
    pool: Pool,
    arenas: Arenas,
    /// One clock a design point.
    steal: Vec<StealClock>,
    counters: Arc<Rotation>,
    /// Roles that a thread could not count, and those it counted for a part of a window.
    missing: BTreeSet<Missing>,
    scaled: BTreeSet<&'static str>,
    prefetchers: Option<prefetch::Guard<'g>>,
}

impl<'g, B: Build> Native<'g, B> {
    /// A backend for programs of `build`, on the CPUs planned for each design point.
    pub fn new(build: B, cpus: Vec<Vec<CpuId>>, timing: Timing) -> Result<Native<'g, B>> {
        let bytes = build.bytes() + START_PAGES as usize * PAGE;
        let steal = cpus.iter().map(|cpus| StealClock::open(cpus));
        Ok(Native {
            build,
            steal: steal.collect::<Result<_>>()?,
            cpus,
            timing,
            pool: Pool::default(),
            arenas: Arenas::shared(bytes),
            counters: Arc::new(Rotation::default()),
            missing: BTreeSet::new(),
            scaled: BTreeSet::new(),
            prefetchers: None,
        })
    }

    /// Count these in every window.
    pub fn count(&mut self, counters: Rotation) {
        self.counters = Arc::new(counters);
    }

    /// Switch these prefetchers to the state that each sample asks for.
    pub fn switch(&mut self, prefetchers: prefetch::Guard<'g>) {
        self.prefetchers = Some(prefetchers);
    }

    /// Put the prefetchers back as they were, as dropping does, and say how it went.
    pub fn switch_back(&mut self) -> Result<()> {
        self.prefetchers
            .take()
            .map_or(Ok(()), prefetch::Guard::restore)
    }
}

/// Where programs are laid out.
struct Arenas {
    bytes: usize,
    /// By design point and arm if each keeps its place, else one for all.
    arenas: BTreeMap<(usize, usize), Arena>,
    fixed: bool,
}

impl Arenas {
    /// One arena for all: the arms of a block lie at the same addresses, and blocks move about, so
    /// that no arm keeps a lucky place.
    fn shared(bytes: usize) -> Arenas {
        Arenas {
            bytes,
            arenas: BTreeMap::new(),
            fixed: false,
        }
    }

    fn key(&self, cell: &Cell) -> (usize, usize) {
        if self.fixed {
            (cell.point, cell.arm)
        } else {
            (0, 0)
        }
    }

    fn take(&mut self, cell: &Cell) -> Arena {
        let arena = self.arenas.remove(&self.key(cell));
        let mut arena = arena.unwrap_or_else(|| Arena::new(self.bytes));
        let start = if self.fixed {
            0
        } else {
            cell.seed % START_PAGES
        };
        arena.reset(start as usize * PAGE);
        arena
    }

    fn give_back(&mut self, cell: &Cell, arena: Arena) {
        self.arenas.insert(self.key(cell), arena);
    }
}

impl Native<'_, Faults> {
    /// Give every arm of every design point a place of its own for the whole run, and say what
    /// lies where. Arms then differ in their addresses too: for `perf c2c`, not for verdicts.
    pub fn fix_places(&mut self, design: &Design) -> Vec<Mapped> {
        self.arenas.fixed = true;
        let mut rows = Vec::new();
        for (point, arm) in self.build.cells() {
            let cell = Cell::first(point, arm);
            let spec = self.build.spec(point, arm, 0);
            let world = World::new(self.arenas.take(&cell), spec.layout.table(), spec.size());
            let Point {
                scenario, threads, ..
            } = &design.points[point];
            rows.extend(address_map::rows(
                &world,
                &design.arms[arm],
                scenario,
                *threads,
            ));
            self.arenas.give_back(&cell, world.into_arena());
        }
        rows
    }
}

impl<B: Build> Backend for Native<'_, B> {
    fn measure(&mut self, cell: &Cell) -> Result<Measured> {
        let cpus = &self.cpus[cell.point];
        let arena = self.arenas.take(cell);
        let program = self.build.build(cell, arena);
        let steal = &mut self.steal[cell.point];
        let mut stolen_ns = || Ok::<u64, Error>(steal.stolen_ns()?.iter().sum());
        let before = stolen_ns()?;
        if let (Some(guard), Some(state)) = (&mut self.prefetchers, cell.prefetch.state()) {
            guard.set(state)?;
        }
        let job = Job {
            program,
            timing: self.timing,
            seed: cell.seed,
            counters: Arc::clone(&self.counters),
            block: cell.block,
        };
        let (reports, program) = self.pool.sample(job, cpus)?;
        let stolen = stolen_ns()?.saturating_sub(before);
        if let Some(arena) = program.into_arena() {
            self.arenas.give_back(cell, arena);
        }
        let counted = Readings::total(reports.iter().map(|r| r.counters.clone()));
        let scaled = counted.values.iter().filter(|(_, reading)| reading.scaled);
        self.scaled.extend(scaled.map(|(role, _)| *role));
        self.missing.extend(counted.missing);
        let values = counted.values.into_iter();
        let values = values
            .map(|(role, reading)| (role, reading.value))
            .collect();
        let mut measured = measured(&reports, stolen, values);
        if let Some(guard) = &self.prefetchers {
            let drift = guard.verify()?;
            if !drift.is_none() {
                measured.invalid.push(drift.to_string());
            }
        }
        Ok(measured)
    }

    fn remarks(&self) -> Remarks {
        let missing: Vec<Missing> = self.missing.iter().cloned().collect();
        Remarks {
            unmeasured: unmeasured(&missing),
            scaled: self.scaled.iter().map(|&role| role.to_owned()).collect(),
        }
    }
}

/// Missing roles as a run records them: each reason once.
pub fn unmeasured(missing: &[Missing]) -> Vec<Unmeasured> {
    Rotation::reasons(missing)
        .into_iter()
        .map(|(why, roles)| Unmeasured {
            what: roles.join(", "),
            why: why.to_owned(),
        })
        .collect()
}

/// What the threads' reports come to, with what was counted, by role.
fn measured(reports: &[Report], stolen_ns: u64, counted: BTreeMap<&str, f64>) -> Measured {
    let mut kernel = ThreadCounts::default();
    for report in reports {
        kernel += report.kernel;
    }
    let mut invalid = Vec::new();
    if kernel.involuntary_switches > 0 {
        let count = kernel.involuntary_switches;
        invalid.push(format!("{count} involuntary context switches"));
    }
    if stolen_ns > 0 {
        invalid.push(format!(
            "{} ms stolen by the hypervisor",
            stolen_ns / 1_000_000
        ));
    }
    invalid.extend(reports.iter().filter_map(|r| r.pin.clone()));
    let values = [
        reports.iter().map(|r| r.fallbacks).sum(),
        kernel.voluntary_switches,
        kernel.involuntary_switches,
        stolen_ns,
    ];
    let pace_ns = reports.iter().map(|r| r.pace_ns).fold(0.0, f64::max);
    let values = values.map(|v| v as f64).into_iter().chain([pace_ns]);
    let own = OWN_COUNTERS.map(|(name, _)| name).into_iter().zip(values);
    let migrations = counted.get("cpu_migrations").copied().unwrap_or(0.0);
    if migrations > 0.0 {
        invalid.push(format!("{migrations} migrations to another CPU"));
    }
    Measured {
        threads: reports
            .iter()
            .filter(|r| r.counts)
            .map(|r| ThreadFaults {
                faults: r.faults,
                seconds: r.elapsed.as_secs_f64(),
            })
            .collect(),
        probe_ns: reports.iter().find_map(|r| r.probe_ns),
        invalid,
        counters: own
            .chain(counted)
            .map(|(role, value)| (role.to_owned(), value))
            .collect(),
        ..Measured::default()
    }
}

/// An arm from its name: a layout, or `LAYOUT+P%` for one with a known handicap of P per cent.
impl std::str::FromStr for Arm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Arm> {
        let (layout, handicap) = name.split_once('+').unwrap_or((name, "0%"));
        let percent: Option<f64> = handicap.strip_suffix('%').and_then(|p| p.parse().ok());
        let permille = percent
            .map(|percent| percent * 10.0)
            .filter(|permille| (0.0..=1000.0).contains(permille) && permille.fract() == 0.0);
        match permille {
            Some(permille) => Ok(Arm {
                layout: vma::BuiltIn::parse(layout)?,
                handicap_permille: permille as u32,
            }),
            None => Err(Error::Input(format!(
                "'{name}' has no usable handicap; write LAYOUT+P% with P from 0 to 100 in steps of 0.1"
            ))),
        }
    }
}
