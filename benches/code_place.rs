//! What the place of the compiled fault path is worth, and which layouts share their code.
//!
//! `cargo bench --bench code_place -- 256` copies the loops of some layouts to 256 places drawn at
//! random (64 if no number is given) and times them there in turns of about 10 µs, on one thread,
//! the fastest turn of each at each place. Before that it compares the machine code of all layouts in
//! all scenarios, and fails if two of one lock protocol differ in more than displacements.

use hitm::backend::native::loaded::{Load, LoadPlaced, Loaded, Placing, Shape};
use hitm::backend::native::placed::Placer;
use hitm::error::{Error, Result};
use hitm::machine::{Placement, Topology, pin};
use hitm::program::Blueprint;
use hitm::program::fault::Spec;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::scenario::BuiltIn;
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
    match compare().and_then(|()| time(places)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hitm: {error}");
            error.exit_code()
        }
    }
}

/// A program of `spec`, whose code is placed by `placing`.
fn load(
    spec: &Spec,
    arena: Arena,
    shape: Shape,
    placing: &Arc<Placing>,
    seed: u64,
) -> Result<Box<dyn Loaded>> {
    let placed = LoadPlaced {
        handicap_permille: 0,
        code: String::new(),
        shape,
        placing: Arc::clone(placing),
        seed,
    };
    let program = spec.with(arena, placed)?;
    match program.unplaced() {
        Some(why) => Err(Error::Refused(why.to_owned())),
        None => Ok(program),
    }
}

fn placing() -> Result<Arc<Placing>> {
    let placing = Arc::<Placing>::default();
    placing.give_back(Placer::new()?);
    Ok(placing)
}

/// Which layouts have the same code but for displacements.
fn compare() -> Result<()> {
    let placing = placing()?;
    let mut apart = Vec::new();
    for &scenario in BuiltIn::ALL {
        let mut kinds: BTreeMap<String, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
        for &layout in VmaLayout::EVERY {
            let spec = Spec::new(layout, scenario, scenario.min_threads());
            if spec.check().is_err() {
                continue;
            }
            for (shape, named) in [(Shape::Plain, ""), (Shape::Unrolled, "-recompiled")] {
                let program = load(&spec, Arena::new(spec.bytes())?, shape, &placing, 1)?;
                let table = layout.table();
                let split = table.lock_cache().map_or("", |_| "-split");
                let kind = format!("{}{split}{named}", table.protocol.name());
                let same = kinds.entry(kind).or_default().entry(program.code());
                same.or_default().push(layout.name());
                program.into_arena();
            }
        }
        for (kind, codes) in kinds {
            let groups: Vec<String> = codes.values().map(|names| names.join(" = ")).collect();
            println!("{:16} {kind:24} {}", scenario.name(), groups.join(" | "));
            if codes.len() > 1 {
                apart.push(format!("{kind} in {}", scenario.name()));
            }
        }
    }
    match apart.is_empty() {
        true => Ok(()),
        false => Err(Error::Regression(format!(
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

/// What is timed: a layout and the shape of its loop.
const LOOPS: [(VmaLayout, Shape, &str); 6] = [
    (
        VmaLayout::EmbeddedUnaligned,
        Shape::Plain,
        "embedded-unaligned",
    ),
    (
        VmaLayout::EmbeddedRwsem256,
        Shape::Plain,
        "embedded-rwsem-256",
    ),
    (VmaLayout::SplitPacked, Shape::Plain, "split-packed"),
    (VmaLayout::SplitAligned, Shape::Plain, "split-aligned"),
    (
        VmaLayout::SplitPacked,
        Shape::Unrolled,
        "split-packed, recompiled",
    ),
    (
        VmaLayout::EmbeddedRefcount192,
        Shape::Plain,
        "embedded-refcount-192",
    ),
];
/// What is divided by what in it.
const RATIOS: [(usize, usize); 4] = [(1, 0), (3, 2), (4, 2), (5, 2)];

fn time(places: u64) -> Result<()> {
    let cpus = Placement::Compact.plan(&Topology::here()?, 1, false)?.cpus;
    pin::pin_current_thread(cpus[0])?;
    let placing = placing()?;
    for scenario in [BuiltIn::OneVma, BuiltIn::VmaPerThread] {
        let specs = LOOPS.map(|(layout, ..)| Spec::new(layout, scenario, 1));
        let bytes = specs.iter().map(|spec| spec.bytes()).max().unwrap_or(0);
        let mut arena = Arena::new(bytes)?;
        let mut linked = Vec::new();
        for spec in &specs {
            arena.reset(0);
            let handicap_permille = 0;
            let program = spec.with(arena, Load { handicap_permille })?;
            linked.push(fastest(&*program));
            arena = program.into_arena();
        }
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); LOOPS.len()];
        let (mut made_ns, mut made) = (0, 0);
        for seed in 0..places {
            for (at, (_, shape, _)) in LOOPS.iter().enumerate() {
                arena.reset(0);
                let start = Instant::now();
                let program = load(&specs[at], arena, *shape, &placing, seed)?;
                let whole = start.elapsed();
                times[at].push(fastest(&*program));
                arena = program.into_arena();
                arena.reset(0);
                let start = Instant::now();
                let handicap_permille = 0;
                let program = specs[at].with(arena, Load { handicap_permille })?;
                let without = start.elapsed();
                arena = program.into_arena();
                made_ns += whole.saturating_sub(without).as_nanos();
                made += 1;
            }
        }
        println!("{} at {places} places, ns a fault:", scenario.name());
        for ((_, _, name), (times, linked)) in LOOPS.iter().zip(times.iter().zip(&linked)) {
            let least = times.iter().copied().fold(f64::INFINITY, f64::min);
            let most = times.iter().copied().fold(0.0, f64::max);
            println!(
                "  {name:26} {least:7.2} to {most:7.2} (+{:4.1} %), where the linker put it {linked:7.2}",
                (most / least - 1.0) * 100.0
            );
        }
        for (one, other) in RATIOS {
            let ratios = times[one].iter().zip(&times[other]);
            let logs: Vec<f64> = ratios.map(|(one, other)| (one / other).ln()).collect();
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            let spread = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
            println!(
                "  {:26} over {:22} {:+6.2} % (one place {:4.2} %), where the linker put them {:+6.2} %",
                LOOPS[one].2,
                LOOPS[other].2,
                mean.exp_m1() * 100.0,
                (spread / (logs.len() - 1).max(1) as f64).sqrt() * 100.0,
                (linked[one] / linked[other] - 1.0) * 100.0
            );
        }
        println!(
            "  a copy takes {:.1} µs",
            made_ns as f64 / f64::from(made.max(1)) / 1000.0
        );
    }
    Ok(())
}
