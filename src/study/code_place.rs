//! What the place of the compiled fault path is worth, and which layouts share their code.
//!
//! The machine code of all layouts is compared in all scenarios first. Then the loops of some are
//! copied to places drawn at random and timed there in turns of about 10 µs, on one thread; the
//! fastest turn of each at each place counts.

use crate::backend::faults::FaultArms;
use crate::backend::native::Build;
use crate::backend::native::loaded::{Loaded, Placing};
use crate::backend::native::placed::Placer;
use crate::error::{Error, Result};
use crate::experiment::{Arm, PlannedSample};
use crate::machine::{Placement, Topology, pin};
use crate::program::Blueprint;
use crate::program::fault::Spec;
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario::BuiltIn;
use crate::report::columns::Columns;
use crate::space::PAGE;
use crate::space::arena::Arena;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A turn takes about so long.
const TURN: Duration = Duration::from_micros(10);
/// Turns of each loop at a place: the fastest counts, for whatever disturbs a turn makes it longer.
const TURNS: usize = 40;

/// Arguments of `hitm study code-place`.
#[derive(clap::Args)]
pub struct Args {
    /// Places in memory
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    places: u64,
}

/// Layouts of one kind of code in one scenario, in groups whose machine code is the same but for
/// displacements.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SharedCode {
    scenario: &'static str,
    kind: String,
    groups: Vec<Vec<&'static str>>,
}

/// The loop of a layout at many places, in nanoseconds per fault.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PlacedLoop {
    scenario: &'static str,
    layout: &'static str,
    places: u64,
    /// Over places.
    fastest_ns: f64,
    /// Over places.
    slowest_ns: f64,
    /// Where the linker put it.
    linked_ns: f64,
}

/// One layout over another.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PlacedRatio {
    scenario: &'static str,
    layout: &'static str,
    over: &'static str,
    /// The geometric mean over places.
    change_percent: f64,
    /// Standard deviation of one place.
    one_place_percent: f64,
    /// Where the linker put them.
    linked_percent: f64,
}

/// What moving costs, in microseconds, outside of what is measured.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Moving {
    scenario: &'static str,
    /// To copy the code.
    copy_us: f64,
    /// To have that many pages of memory anew.
    fresh_pages_us: f64,
    pages: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Found {
    /// Kinds of code, each in each scenario.
    pub shared: Vec<SharedCode>,
    /// Loops that were timed.
    pub times: Vec<PlacedLoop>,
    /// Of these, what is compared.
    pub ratios: Vec<PlacedRatio>,
    /// What moving them costs.
    pub moving: Vec<Moving>,
}

/// Compare and time. Err: code cannot be placed here.
pub fn study(args: &Args) -> Result<Found> {
    let mut found = Found {
        shared: compare()?,
        ..Found::default()
    };
    time(args.places, &mut found)?;
    Ok(found)
}

impl Found {
    /// Kinds of code of which layouts differ in more than displacements.
    pub fn apart(&self) -> Result<()> {
        let apart = self.shared.iter().filter(|kind| kind.groups.len() > 1);
        let apart: Vec<String> = apart
            .map(|kind| format!("{} in {}", kind.kind, kind.scenario))
            .collect();
        match apart.is_empty() {
            true => Ok(()),
            false => Err(Error::Broken(format!(
                "code of one lock protocol differs in more than displacements: {}",
                apart.join(", ")
            ))),
        }
    }

    /// As text.
    pub fn table(&self) -> String {
        let mut shared = Columns::new("<<<");
        shared.row(["scenario", "code", "layouts; = shares it, | does not"]);
        for kind in &self.shared {
            let groups: Vec<String> = kind.groups.iter().map(|names| names.join(" = ")).collect();
            shared.row([
                kind.scenario.to_owned(),
                kind.kind.clone(),
                groups.join(" | "),
            ]);
        }
        let mut times = Columns::new("<<>>>>");
        times.row([
            "scenario",
            "layout",
            "fastest place",
            "slowest",
            "spread",
            "as linked",
        ]);
        for time in &self.times {
            times.row([
                time.scenario.to_owned(),
                time.layout.to_owned(),
                format!("{:.2} ns", time.fastest_ns),
                format!("{:.2} ns", time.slowest_ns),
                format!("{:.1} %", (time.slowest_ns / time.fastest_ns - 1.0) * 100.0),
                format!("{:.2} ns", time.linked_ns),
            ]);
        }
        let mut ratios = Columns::new("<<<>>>");
        ratios.row([
            "scenario",
            "layout",
            "over",
            "over places",
            "one place",
            "as linked",
        ]);
        for ratio in &self.ratios {
            ratios.row([
                ratio.scenario.to_owned(),
                ratio.layout.to_owned(),
                ratio.over.to_owned(),
                format!("{:+.2} %", ratio.change_percent),
                format!("± {:.2} %", ratio.one_place_percent),
                format!("{:+.2} %", ratio.linked_percent),
            ]);
        }
        let mut moving = Columns::new("<>>>");
        moving.row(["scenario", "a copy", "fresh pages", "pages"]);
        for costs in &self.moving {
            moving.row([
                costs.scenario.to_owned(),
                format!("{:.1} µs", costs.copy_us),
                format!("{:.1} µs", costs.fresh_pages_us),
                costs.pages.to_string(),
            ]);
        }
        format!("{shared}\n{times}\n{ratios}\n{moving}")
    }
}

/// What places code.
fn placer() -> Result<Arc<Placing>> {
    let placing = Arc::<Placing>::default();
    placing.give_back(Placer::new()?);
    Ok(placing)
}

/// The program of an arm at a point, at the place of `seed`.
fn load(
    faults: &FaultArms,
    (point, arm): (usize, usize),
    (arena, placing): (Arena, &Arc<Placing>),
    seed: u64,
) -> Result<Box<dyn Loaded>> {
    let planned = PlannedSample {
        seed,
        ..PlannedSample::first(point, arm)
    };
    let program = faults.build(&planned, arena, placing)?;
    match program.unplaced() {
        Some(why) => Err(Error::Refused(why.to_owned())),
        None => Ok(program),
    }
}

/// Which layouts have the same code but for displacements.
fn compare() -> Result<Vec<SharedCode>> {
    let mut kinds: BTreeMap<(&'static str, String), BTreeMap<String, Vec<&'static str>>> =
        BTreeMap::new();
    for &layout in VmaLayout::EVERY {
        let scenarios = BuiltIn::ALL.iter().copied();
        let points = scenarios.map(|scenario| (scenario, scenario.min_threads()));
        let fits = |(scenario, threads): &(BuiltIn, usize)| {
            Spec::new(layout, *scenario, *threads).check().is_ok()
        };
        let points: Vec<(BuiltIn, usize)> = points.filter(fits).collect();
        let arms = [layout.name().parse()?, Arm::Recompiled];
        let faults = FaultArms::new(&arms, points.clone(), PageWork::None)?;
        let placing = placer()?;
        let mut arena = Arena::new(faults.bytes())?;
        for (point, (scenario, _)) in points.iter().enumerate() {
            for arm in [0, 1] {
                arena.reset(0);
                let program = load(&faults, (point, arm), (arena, &placing), 1)?;
                let kind = kinds
                    .entry((scenario.name(), faults.code(arm)))
                    .or_default();
                kind.entry(program.code()).or_default().push(layout.name());
                arena = program.into_arena();
            }
        }
    }
    let shared = kinds
        .into_iter()
        .map(|((scenario, kind), codes)| SharedCode {
            scenario,
            kind,
            groups: codes.into_values().collect(),
        });
    Ok(shared.collect())
}

/// Nanoseconds of a fault in the fastest turn.
fn fastest(program: &dyn Loaded) -> f64 {
    let mut seat = program.seat(0, 1);
    seat.enter();
    let mut steps = 1;
    loop {
        let start = Instant::now();
        seat.run(steps);
        if start.elapsed() >= TURN {
            break;
        }
        steps *= 2;
    }
    let turn = |_| {
        let start = Instant::now();
        seat.run(steps);
        start.elapsed().as_nanos() as f64 / f64::from(steps)
    };
    (0..TURNS).map(turn).fold(f64::INFINITY, f64::min)
}

/// The arms that are timed; the first is the baseline.
const ARMS: [&str; 6] = [
    "split-packed",
    "baseline-recompiled",
    "split-aligned",
    "embedded-unaligned",
    "embedded-rwsem-256",
    "embedded-refcount-192",
];
/// What is divided by what of them.
const RATIOS: [(usize, usize); 4] = [(1, 0), (2, 0), (4, 3), (5, 0)];

fn time(places: u64, found: &mut Found) -> Result<()> {
    let cpus = Placement::Compact.plan(&Topology::here()?, 1, false)?.cpus;
    pin::pin_current_thread(cpus[0])?;
    let arms = ARMS
        .map(str::parse)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for scenario in [BuiltIn::OneVma, BuiltIn::VmaPerThread] {
        let faults = FaultArms::new(&arms, vec![(scenario, 1)], PageWork::None)?;
        let (as_linked, placed) = (Arc::default(), placer()?);
        let mut arena = Arena::new(faults.bytes())?;
        let (mut linked, mut times) = (
            vec![f64::INFINITY; arms.len()],
            vec![Vec::new(); arms.len()],
        );
        let mut copying = Duration::ZERO;
        for seed in 0..places {
            for arm in 0..arms.len() {
                let mut took = [Duration::ZERO; 2];
                for (placing, took) in [&as_linked, &placed].into_iter().zip(&mut took) {
                    arena.reset(0);
                    let start = Instant::now();
                    let program = load(&faults, (0, arm), (arena, placing), seed)?;
                    *took = start.elapsed();
                    let ns = fastest(&*program);
                    match Arc::ptr_eq(placing, &placed) {
                        true => times[arm].push(ns),
                        false => linked[arm] = linked[arm].min(ns),
                    }
                    arena = program.into_arena();
                }
                copying += took[1].saturating_sub(took[0]);
            }
        }
        let scenario = scenario.name();
        for (layout, (times, linked_ns)) in ARMS.iter().zip(times.iter().zip(&linked)) {
            found.times.push(PlacedLoop {
                scenario,
                layout,
                places,
                fastest_ns: times.iter().copied().fold(f64::INFINITY, f64::min),
                slowest_ns: times.iter().copied().fold(0.0, f64::max),
                linked_ns: *linked_ns,
            });
        }
        for (one, other) in RATIOS {
            let ratios = times[one].iter().zip(&times[other]);
            let logs: Vec<f64> = ratios.map(|(one, other)| f64::ln(one / other)).collect();
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            let squares = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
            found.ratios.push(PlacedRatio {
                scenario,
                layout: ARMS[one],
                over: ARMS[other],
                change_percent: mean.exp_m1() * 100.0,
                one_place_percent: (squares / (logs.len() - 1).max(1) as f64).sqrt() * 100.0,
                linked_percent: (linked[one] / linked[other] - 1.0) * 100.0,
            });
        }
        let (start, bytes) = (Instant::now(), faults.bytes());
        for seed in 0..places {
            // As in a run: the one before is given back when the next is there.
            arena = Arena::fresh(bytes, seed)?;
        }
        let fresh = start.elapsed();
        drop(arena);
        let micros = |time: Duration, count: u64| time.as_secs_f64() * 1e6 / count as f64;
        found.moving.push(Moving {
            scenario,
            copy_us: micros(copying, places * arms.len() as u64),
            fresh_pages_us: micros(fresh, places),
            pages: bytes.div_ceil(PAGE),
        });
    }
    Ok(())
}
