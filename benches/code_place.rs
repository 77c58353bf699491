//! What the place of the compiled fault path is worth, and which layouts share their code.
//!
//! `cargo bench --bench code_place -- 256` copies the loops of some layouts to 256 places drawn at
//! random (64 if no number is given) and times them there in turns of about 10 µs, on one thread,
//! the fastest turn of each at each place. Before that it compares the machine code of all layouts in
//! all scenarios, and fails if two of one lock protocol differ in more than displacements.

use hitm::backend::faults::FaultArms;
use hitm::backend::native::Build;
use hitm::backend::native::loaded::{Loaded, Placing};
use hitm::backend::native::placed::Placer;
use hitm::error::{Error, Result};
use hitm::experiment::{Arm, PlannedSample};
use hitm::machine::{Placement, Topology, pin};
use hitm::program::Blueprint;
use hitm::program::fault::Spec;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::path::PageWork;
use hitm::program::fault::scenario::BuiltIn;
use hitm::space::PAGE;
use hitm::space::arena::Arena;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A turn takes about so long.
const TURN: Duration = Duration::from_micros(10);
/// Turns of each loop at a place: the fastest counts, for whatever disturbs a turn makes it longer.
const TURNS: usize = 40;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    let (numbers, words): (Vec<_>, Vec<_>) = words.partition(|word| word.parse::<u64>().is_ok());
    // As in `calibration`.
    let wanted = words
        .iter()
        .all(|word| "code_place".contains(word.as_str()));
    if !arguments.iter().any(|argument| argument == "--bench") || !wanted {
        return std::process::ExitCode::SUCCESS;
    }
    let places = numbers.first().map_or(64, |n| n.parse().unwrap_or(64));
    // What is compared is known at once, but the figures are wanted all the same.
    let compared = compare();
    match time(places).and(compared) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hitm: {error}");
            error.exit_code()
        }
    }
}

/// `faults` with their code placed anew.
fn placed(mut faults: FaultArms) -> Result<FaultArms> {
    let placing = Arc::<Placing>::default();
    placing.give_back(Placer::new()?);
    faults.place_by(&placing);
    Ok(faults)
}

/// The program of an arm at a point, at the place of `seed`.
fn load(
    faults: &FaultArms,
    (point, arm): (usize, usize),
    arena: Arena,
    seed: u64,
) -> Result<Box<dyn Loaded>> {
    let planned = PlannedSample {
        seed,
        ..PlannedSample::first(point, arm)
    };
    let program = faults.build(&planned, arena)?;
    match program.unplaced() {
        Some(why) => Err(Error::Refused(why.to_owned())),
        None => Ok(program),
    }
}

/// Which layouts have the same code but for displacements.
fn compare() -> Result<()> {
    let mut kinds: BTreeMap<(&str, String), BTreeMap<String, Vec<&str>>> = BTreeMap::new();
    for &layout in VmaLayout::EVERY {
        let scenarios = BuiltIn::ALL.iter().copied();
        let points = scenarios.map(|scenario| (scenario, scenario.min_threads()));
        let fits = |(scenario, threads): &(BuiltIn, usize)| {
            Spec::new(layout, *scenario, *threads).check().is_ok()
        };
        let points: Vec<(BuiltIn, usize)> = points.filter(fits).collect();
        let arms = [layout.name().parse()?, Arm::Recompiled];
        let faults = placed(FaultArms::new(&arms, points.clone(), PageWork::None)?)?;
        let mut arena = Arena::new(faults.bytes())?;
        for (point, (scenario, _)) in points.iter().enumerate() {
            for arm in [0, 1] {
                arena.reset(0);
                let program = load(&faults, (point, arm), arena, 1)?;
                let kind = kinds
                    .entry((scenario.name(), faults.code(arm)))
                    .or_default();
                kind.entry(program.code()).or_default().push(layout.name());
                arena = program.into_arena();
            }
        }
    }
    let mut apart = Vec::new();
    for ((scenario, kind), codes) in kinds {
        let groups: Vec<String> = codes.values().map(|names| names.join(" = ")).collect();
        println!("{scenario:16} {kind:24} {}", groups.join(" | "));
        if codes.len() > 1 {
            apart.push(format!("{kind} in {scenario}"));
        }
    }
    match apart.is_empty() {
        true => Ok(()),
        false => Err(Error::Found(format!(
            "code of one lock protocol differs in more than displacements: {}",
            apart.join(", ")
        ))),
    }
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

fn time(places: u64) -> Result<()> {
    let cpus = Placement::Compact.plan(&Topology::here()?, 1, false)?.cpus;
    pin::pin_current_thread(cpus[0])?;
    let arms = ARMS
        .map(str::parse)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for scenario in [BuiltIn::OneVma, BuiltIn::VmaPerThread] {
        let faults = || FaultArms::new(&arms, vec![(scenario, 1)], PageWork::None);
        let (as_linked, placed) = (faults()?, placed(faults()?)?);
        let mut arena = Arena::new(placed.bytes())?;
        let (mut linked, mut times) = (
            vec![f64::INFINITY; arms.len()],
            vec![Vec::new(); arms.len()],
        );
        let mut copying = Duration::ZERO;
        for seed in 0..places {
            for arm in 0..arms.len() {
                let mut took = [Duration::ZERO; 2];
                for (faults, took) in [&as_linked, &placed].into_iter().zip(&mut took) {
                    arena.reset(0);
                    let start = Instant::now();
                    let program = load(faults, (0, arm), arena, seed)?;
                    *took = start.elapsed();
                    let ns = fastest(&*program);
                    match std::ptr::eq(faults, &placed) {
                        true => times[arm].push(ns),
                        false => linked[arm] = linked[arm].min(ns),
                    }
                    arena = program.into_arena();
                }
                copying += took[1].saturating_sub(took[0]);
            }
        }
        println!("{} at {places} places, ns a fault:", scenario.name());
        for (name, (times, linked)) in ARMS.iter().zip(times.iter().zip(&linked)) {
            let least = times.iter().copied().fold(f64::INFINITY, f64::min);
            let most = times.iter().copied().fold(0.0, f64::max);
            println!(
                "  {name:22} {least:7.2} to {most:7.2} (+{:4.1} %), where the linker put it {linked:7.2}",
                (most / least - 1.0) * 100.0
            );
        }
        for (one, other) in RATIOS {
            let ratios = times[one].iter().zip(&times[other]);
            let logs: Vec<f64> = ratios.map(|(one, other)| f64::ln(one / other)).collect();
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            let spread = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
            println!(
                "  {:22} over {:18} {:+6.2} % (one place: +- {:4.2} %), where the linker put them {:+6.2} %",
                ARMS[one],
                ARMS[other],
                mean.exp_m1() * 100.0,
                (spread / (logs.len() - 1).max(1) as f64).sqrt() * 100.0,
                (linked[one] / linked[other] - 1.0) * 100.0
            );
        }
        let copies = f64::from(places as u32) * arms.len() as f64;
        println!(
            "  a copy takes {:.1} µs",
            copying.as_secs_f64() * 1e6 / copies
        );
        let (start, bytes) = (Instant::now(), placed.bytes());
        for seed in 0..places {
            // As in a run: the one before is given back when the next is there.
            arena = Arena::fresh(bytes, seed)?;
        }
        println!(
            "  {} fresh pages take {:.1} µs",
            bytes.div_ceil(PAGE),
            start.elapsed().as_secs_f64() * 1e6 / places.max(1) as f64
        );
        drop(arena);
    }
    Ok(())
}
