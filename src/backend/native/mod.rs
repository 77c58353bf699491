//! The native backend: the fault path on real atomics, on pinned threads of this machine.
//!
//! Here: one sample from memory to counts. Not here: the order of samples (`experiment`), the
//! topology (`machine`).

pub mod loaded;
pub mod made;
pub mod memory;
pub mod paces;
pub mod placed;
pub mod pool;
mod rendezvous;
pub mod two_words;

use crate::backend::arms::Arms;
use crate::backend::faults::FaultArms;
use crate::counters::{Missing, Readings, Rotation};
use crate::error::{Error, Result};
use crate::experiment::{
    Backend, Design, Invalid, Measured, PlannedSample, Point, Remarks, Unmeasured,
};
use crate::machine::CpuId;
use crate::machine::accounting::{StealClock, ThreadCounts};
use crate::machine::real_time::Permission;
use crate::prefetch;
use crate::program::Blueprint;
use crate::program::totals::ThreadFaults;
use crate::results::address_map::{self, Mapped};
use crate::space::PAGE;
use crate::space::arena::Arena;
use loaded::{LoadPlaced, Loaded, LoopShape, Placing};
use paces::Paces;
use placed::Placer;
use pool::{Job, Pool, Timing, WindowReport, is_oversubscribed};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Pages that a world may begin at: each block draws one, so that no arm keeps a lucky address.
const START_PAGES: u64 = 64;

/// What the native backend counts by itself: columns, and what they say. All but the last come
/// from the kernel's own accounts.
pub const OWN_COUNTERS: [(&str, &str); 4] = [
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

/// What makes the program of a sample, in the arena it is given (empty, of at least the size it
/// asked for).
pub trait Build {
    /// Bytes of arena that any of its programs takes.
    fn bytes(&self) -> usize;
    /// Whether its programs are compiled code, for which `placing` finds a place.
    const IS_COMPILED: bool;
    /// The program of a sample.
    fn build(
        &self,
        planned: &PlannedSample,
        arena: Arena,
        placing: &Arc<Placing>,
    ) -> Result<Box<dyn Loaded>>;
}

impl Build for FaultArms {
    fn bytes(&self) -> usize {
        let specs = self.all().map(|(point, arm)| self.spec(point, arm, 0));
        specs.map(|spec| spec.bytes()).max().unwrap_or(0)
    }

    const IS_COMPILED: bool = true;

    fn build(
        &self,
        planned: &PlannedSample,
        arena: Arena,
        placing: &Arc<Placing>,
    ) -> Result<Box<dyn Loaded>> {
        let recompiled = self.recompiled == Some(planned.arm);
        let load = LoadPlaced {
            handicap_permille: self.handicap(planned.arm).get(),
            code: self.code(planned.arm),
            shape: match recompiled {
                true => LoopShape::Unrolled,
                false => LoopShape::Plain,
            },
            placing: Arc::clone(placing),
            seed: planned.seed,
        };
        let spec = self.spec(planned.point, planned.arm, planned.first_slot);
        match self.at_run_time {
            false => spec.with(arena, load),
            true => spec.with_layout_at_run_time(arena, load),
        }
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
    placing: Arc<Placing>,
    /// Why code is executed where the linker put it, each reason once.
    unplaced: BTreeSet<String>,
    /// One clock a design point.
    steal: Vec<StealClock>,
    counters: Arc<Rotation>,
    /// Roles that a thread could not count, and those it counted for a part of a window.
    missing: BTreeSet<Missing>,
    scaled: BTreeSet<&'static str>,
    prefetchers: Option<prefetch::Guard<'g>>,
    paces: Option<Paces>,
    /// Whether threads may have a real-time policy in samples, once one was disturbed.
    may_have_real_time: bool,
    /// Design point and number of a block in which threads were switched out.
    switched_in: Option<(usize, u64)>,
    /// Whether they have: to be seen by others while a run goes on.
    has_real_time: Arc<AtomicBool>,
}

impl<'g, B: Build> Native<'g, B> {
    /// A backend for programs of `build`, on the CPUs planned for each design point.
    pub fn new(build: B, cpus: Vec<Vec<CpuId>>, timing: Timing) -> Result<Native<'g, B>> {
        let bytes = build.bytes() + START_PAGES as usize * PAGE;
        let steal = cpus.iter().map(|cpus| StealClock::open(cpus));
        let mut unplaced = BTreeSet::new();
        let placing = Arc::<Placing>::default();
        if B::IS_COMPILED {
            match Placer::new() {
                Ok(placer) => placing.give_back(placer),
                Err(why) => drop(unplaced.insert(why.to_string())),
            }
        }
        Ok(Native {
            build,
            steal: steal.collect::<Result<_>>()?,
            cpus,
            timing,
            pool: Pool::default(),
            arenas: Arenas::shared(bytes),
            placing,
            unplaced,
            counters: Arc::new(Rotation::default()),
            missing: BTreeSet::new(),
            scaled: BTreeSet::new(),
            prefetchers: None,
            paces: None,
            may_have_real_time: false,
            switched_in: None,
            has_real_time: Arc::default(),
        })
    }

    /// Judge the pace of the cores in every sample by these.
    pub fn judge_pace(&mut self, paces: Paces) {
        self.paces = Some(paces);
    }

    /// From the block on that follows the first in which a thread is switched out, give threads a real-time policy
    /// while they take a sample, if that is permitted. The flag says whether it came to that.
    pub fn may_use_real_time(&mut self, permission: &Permission) -> Arc<AtomicBool> {
        self.may_have_real_time = *permission == Permission::Granted;
        Arc::clone(&self.has_real_time)
    }

    /// Why compiled code is executed where the linker put it, if it is.
    pub fn unplaced(&self) -> impl Iterator<Item = &str> {
        self.unplaced.iter().map(String::as_str)
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
    /// Design point and number of the block that the one for all was taken for.
    block: Option<(usize, u64)>,
}

impl Arenas {
    /// One arena for all: the arms of a block lie at the same addresses, and blocks move about, so
    /// that no arm keeps a lucky place.
    fn shared(bytes: usize) -> Arenas {
        Arenas {
            bytes,
            arenas: BTreeMap::new(),
            fixed: false,
            block: None,
        }
    }

    fn key(&self, planned: &PlannedSample) -> (usize, usize) {
        if self.fixed {
            (planned.point, planned.arm)
        } else {
            (0, 0)
        }
    }

    fn take(&mut self, planned: &PlannedSample) -> Result<Arena> {
        let mut arena = self.arenas.remove(&self.key(planned));
        let block = Some((planned.point, planned.block));
        if !self.fixed && self.block != block {
            // Taken before the old one is given back, whose pages would come again.
            let fresh = Arena::fresh(self.bytes, planned.seed)?;
            (arena, self.block) = (Some(fresh), block);
        }
        let mut arena = arena.map_or_else(|| Arena::new(self.bytes), Ok)?;
        let start = if self.fixed {
            0
        } else {
            planned.seed % START_PAGES
        };
        arena.reset(start as usize * PAGE);
        Ok(arena)
    }

    fn give_back(&mut self, planned: &PlannedSample, arena: Arena) {
        self.arenas.insert(self.key(planned), arena);
    }
}

impl<B: Build> Native<'_, B> {
    /// Give every arm of every design point a place of its own for the whole run, and say what
    /// lies where. Arms then differ in their addresses too: for `perf c2c`, not for verdicts. Their
    /// code stays where the linker put it, so that perf finds its name.
    pub fn fix_places(&mut self, design: &Design) -> Result<Vec<Mapped>> {
        self.arenas.fixed = true;
        drop(self.placing.take());
        let mut rows = Vec::new();
        let points = 0..design.points.len();
        let all = points.flat_map(|point| (0..design.arms.len()).map(move |arm| (point, arm)));
        for (point, arm) in all {
            let planned = PlannedSample::first(point, arm);
            let arena = self.arenas.take(&planned)?;
            let program = self.build.build(&planned, arena, &self.placing)?;
            let Point {
                scenario, threads, ..
            } = &design.points[point];
            rows.extend(address_map::rows(
                &program.map(),
                &design.arms[arm].to_string(),
                scenario.name(),
                *threads,
            ));
            self.arenas.give_back(&planned, program.into_arena());
        }
        Ok(rows)
    }
}

impl<B: Build> Backend for Native<'_, B> {
    fn measure(&mut self, planned: &PlannedSample) -> Result<Measured> {
        let cpus = &self.cpus[planned.point];
        let arena = self.arenas.take(planned)?;
        let program = self.build.build(planned, arena, &self.placing)?;
        let code = program.code();
        self.unplaced.extend(program.unplaced().map(str::to_owned));
        let steal = &mut self.steal[planned.point];
        let mut stolen_ns = || Ok::<u64, Error>(steal.stolen_ns()?.iter().sum());
        let before = stolen_ns()?;
        // Not within a block, whose arms are compared.
        let another = Some((planned.point, planned.block)) != self.switched_in;
        if self.switched_in.is_some() && another {
            self.pool.use_real_time();
            self.has_real_time.store(true, Ordering::Relaxed);
        }
        if let (Some(guard), Some(state)) = (&mut self.prefetchers, planned.prefetch.state()) {
            guard.set(state)?;
        }
        let job = Job {
            program,
            timing: self.timing,
            seed: planned.seed,
            counters: Arc::clone(&self.counters),
            block: planned.block,
        };
        let (reports, program) = self.pool.sample(job, cpus)?;
        let stolen = stolen_ns()?.saturating_sub(before);
        self.arenas.give_back(planned, program.into_arena());
        let counted = Readings::total(reports.iter().map(|r| r.counters.clone()));
        let scaled = counted.values.iter().filter(|(_, reading)| reading.scaled);
        self.scaled.extend(scaled.map(|(role, _)| *role));
        self.missing.extend(counted.missing);
        let values = counted.values.into_iter();
        let values = values
            .map(|(role, reading)| (role, reading.value))
            .collect();
        let mut measured = measured(&reports, stolen, values);
        if let Some(paces) = &mut self.paces {
            let (pace, changed) = paces.judge(planned.point, &reports);
            measured.pace = pace;
            measured.invalid.extend(changed);
        }
        let is_switched = |why: &Invalid| matches!(why, Invalid::Switched(_));
        if self.may_have_real_time
            && !is_oversubscribed(cpus)
            && measured.invalid.iter().any(is_switched)
        {
            self.switched_in = Some((planned.point, planned.block));
        }
        measured.code = code;
        if let Some(guard) = &self.prefetchers {
            let drift = guard.verify()?;
            if !drift.is_none() {
                measured.invalid.push(Invalid::Drifted(drift.to_string()));
            }
        }
        Ok(measured)
    }

    fn remarks(&self) -> Remarks {
        let missing: Vec<Missing> = self.missing.iter().cloned().collect();
        let mut unmeasured = unmeasured(&missing);
        unmeasured.extend(self.unplaced.iter().map(|why| Unmeasured {
            what: "code_place".to_owned(),
            why: why.clone(),
        }));
        Remarks {
            unmeasured,
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
fn measured(reports: &[WindowReport], stolen_ns: u64, counted: BTreeMap<&str, f64>) -> Measured {
    let mut kernel = ThreadCounts::default();
    for report in reports {
        kernel += report.kernel;
    }
    let mut invalid = Vec::new();
    if kernel.involuntary_switches > 0 {
        invalid.push(Invalid::Switched(kernel.involuntary_switches));
    }
    if stolen_ns > 0 {
        invalid.push(Invalid::Stolen(stolen_ns));
    }
    let pins = reports.iter().filter_map(|r| r.pin.clone());
    invalid.extend(pins.map(Invalid::Unpinned));
    let mut tallies: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, count) in reports.iter().flat_map(|r| &r.tallies) {
        *tallies.entry(name).or_default() += *count as f64;
    }
    let values = [
        kernel.voluntary_switches,
        kernel.involuntary_switches,
        stolen_ns,
    ];
    let pace_ns = reports.iter().flat_map(|r| r.pace_ns).fold(0.0, f64::max);
    let values = values.map(|v| v as f64).into_iter().chain([pace_ns]);
    let own = OWN_COUNTERS.map(|(name, _)| name).into_iter().zip(values);
    let own = tallies.into_iter().chain(own);
    let migrations = counted.get("cpu_migrations").copied().unwrap_or(0.0);
    if migrations > 0.0 {
        invalid.push(Invalid::Migrated(migrations));
    }
    Measured {
        threads: reports
            .iter()
            .filter(|r| r.role.counted)
            .flat_map(|r| {
                let passes = r.passes.iter();
                passes.map(|(role, faults)| ThreadFaults {
                    role: role.clone(),
                    faults: *faults,
                    seconds: r.elapsed.as_secs_f64(),
                })
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
