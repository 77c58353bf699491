//! The native backend: the fault path on real atomics, on pinned threads of this machine.
//!
//! Here: one sample from memory to counts. Not here: the order of samples (`experiment`), the
//! topology (`machine`).

pub mod memory;
pub mod pool;
pub mod program;
mod rendezvous;

use crate::error::{Error, Result};
use crate::experiment::{Backend, Cell, Measured, ThreadFaults};
use crate::fault::arena::{Arena, PAGE};
use crate::fault::path::PageWork;
use crate::fault::world::World;
use crate::layout;
use crate::machine::CpuId;
use crate::machine::accounting::{StealClock, ThreadCounts};
use crate::scenario;
use pool::{Pool, Report, Timing};
use program::{Program, Spec};
use std::collections::BTreeMap;

/// Pages that a world may begin at: each block draws one, so that no arm keeps a lucky address.
const START_PAGES: u64 = 64;

/// The counters of the native backend that need no PMU, by role.
pub const SOFTWARE_COUNTERS: [&str; 5] = [
    "fallbacks",
    "voluntary_context_switches",
    "involuntary_context_switches",
    "page_faults",
    "stolen_ns",
];

/// One arm: a layout, and a known handicap in thousandths (0 for a real layout).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arm {
    /// The layout.
    pub layout: layout::BuiltIn,
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
        let cells = (0..self.points.len()).flat_map(|p| (0..self.arms.len()).map(move |a| (p, a)));
        cells
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
pub struct Native<B> {
    build: B,
    /// CPUs of each design point; index = thread.
    cpus: Vec<Vec<CpuId>>,
    timing: Timing,
    pool: Pool,
    arena: Option<Arena>,
    bytes: usize,
    /// One clock a design point.
    steal: Vec<StealClock>,
}

impl<B: Build> Native<B> {
    /// A backend for programs of `build`, on the CPUs planned for each design point.
    pub fn new(build: B, cpus: Vec<Vec<CpuId>>, timing: Timing) -> Result<Native<B>> {
        let bytes = build.bytes() + START_PAGES as usize * PAGE;
        let steal = cpus.iter().map(|cpus| StealClock::open(cpus));
        Ok(Native {
            build,
            steal: steal.collect::<Result<_>>()?,
            cpus,
            timing,
            pool: Pool::default(),
            arena: None,
            bytes,
        })
    }
}

impl<B: Build> Backend for Native<B> {
    fn measure(&mut self, cell: &Cell) -> Result<Measured> {
        let cpus = &self.cpus[cell.point];
        let mut arena = self.arena.take().unwrap_or_else(|| Arena::new(self.bytes));
        arena.reset((cell.seed % START_PAGES) as usize * PAGE);
        let program = self.build.build(cell, arena);
        let steal = &mut self.steal[cell.point];
        let mut stolen_ns = || Ok::<u64, Error>(steal.stolen_ns()?.iter().sum());
        let before = stolen_ns()?;
        let (reports, program) = self.pool.sample(program, cpus, self.timing, cell.seed)?;
        let stolen = stolen_ns()?.saturating_sub(before);
        self.arena = program.into_arena();
        Ok(measured(&reports, stolen))
    }
}

fn measured(reports: &[Report], stolen_ns: u64) -> Measured {
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
        kernel.minor_faults + kernel.major_faults,
        stolen_ns,
    ];
    let counters: BTreeMap<String, f64> = SOFTWARE_COUNTERS
        .iter()
        .zip(values)
        .map(|(role, value)| ((*role).to_owned(), value as f64))
        .collect();
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
        counters,
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
                layout: layout::BuiltIn::parse(layout)?,
                handicap_permille: permille as u32,
            }),
            None => Err(Error::Input(format!(
                "'{name}' has no usable handicap; write LAYOUT+P% with P from 0 to 100 in steps of 0.1"
            ))),
        }
    }
}
