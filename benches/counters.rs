//! What a fault raises on one counter under each layout, as criterion measures:
//! `ROLE/SCENARIO/LAYOUT/THREADS`.
//!
//! `HITM_ROLE=rfo_hitm cargo bench --bench counters -- vma-per-thread` counts reads for ownership
//! that took a Modified line; `hitm counters list` has the roles. Without it, the role is taken that
//! tells of lines taken from a neighbour on this CPU. Where it does not count, a line says why. The thread that criterion measures is one of the threads that fault, and
//! it alone is counted. Layouts are measured one after the other: `hitm run` interleaves them.
//! Criterion writes "time" before its intervals whatever they are of, and takes no 0: where a
//! hundred thousand faults raise nothing, a line says so, and nothing is measured.

#[path = "support/config.rs"]
mod config;
#[path = "support/measured.rs"]
mod measured;

use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{BenchmarkId, SamplingMode, Throughput};
use hitm::backend::native::loaded::{Load, Loaded};
use hitm::counters::{CounterRole, Open, Pmu, Rotation, Scope, role};
use hitm::error::{Result, say};
use hitm::machine::{CpuId, Placement, Topology, pin};
use hitm::program::Blueprint;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::{Spec, scenario};
use hitm::space::arena::Arena;
use std::cell::RefCell;
use std::process::exit;
use std::rc::Rc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

/// Roles that tell of lines taken from a neighbour, by vendor: Intel, AMD, Arm.
const DEFAULT_ROLES: [&str; 3] = ["rfo_hitm", "fill_local_ccx", "l1d_refill_outer"];
/// Scenarios with which a neighbour can take a line, as `hitm run` has them.
const SCENARIOS: [scenario::BuiltIn; 2] =
    [scenario::BuiltIn::OneVma, scenario::BuiltIn::VmaPerThread];
/// Faults that are counted at least, of which so many events as are asked for are a share. A
/// counter that is 0 after the first of them is taken to stay so.
const LEAST: u64 = 100_000;
/// Added to the events of a sample, which criterion does not take where they are 0.
const NOT_ZERO: f64 = 1e-9;

/// Steps before counting begins, which bring every line to where it is used.
const WARM_UP: u32 = 1000;
/// Of the random numbers of threads.
const SEED: u64 = 1;
/// Steps of a neighbour between two looks at whether it may stop.
const BATCH: u32 = 64;

fn main() {
    match counter() {
        Ok((name, events)) => measured::or_exit(benches(name, events)),
        Err(why) => say(format!("counters: nothing is measured: {why}")),
    }
}

/// The role asked for, or the one that this CPU has an event for; or why it does not count.
fn counter() -> std::result::Result<(&'static str, Events), String> {
    let table = Pmu::here().table;
    let exists = |name: &&str| {
        let role = role(name).ok();
        role.is_some_and(|role| table.is_some_and(|table| table.event(role).is_some()))
    };
    let of_this_cpu = DEFAULT_ROLES.into_iter().find(exists);
    let name = std::env::var("HITM_ROLE")
        .unwrap_or_else(|_| of_this_cpu.unwrap_or(DEFAULT_ROLES[0]).to_owned());
    let role = role(&name).unwrap_or_else(|error| {
        say(error);
        exit(2)
    });
    match Events::of(role) {
        Ok(events) => Ok((&role.name, events)),
        Err(why) => Err(format!("{name}: {why}")),
    }
}

/// Events of one role on the calling thread.
#[derive(Clone)]
struct Events {
    open: Rc<RefCell<Open>>,
    format: Rc<PerFault>,
}

impl Events {
    /// Open the counter and see that it counts; or why it does not, in one line.
    fn of(role: &'static CounterRole) -> std::result::Result<Events, String> {
        let pmu = Pmu::here();
        let plan = Rotation::new(&pmu, &[&role.name], Scope::User).map_err(|e| e.to_string())?;
        if let Some(missing) = plan.missing.first() {
            return Err(missing.reason.clone());
        }
        let events = Events {
            open: Rc::new(RefCell::new(plan.open(0))),
            format: Rc::new(PerFault {
                // Criterion wants units that live as long as the program.
                unit: Box::leak(format!("{}/fault", role.unit).into_boxed_str()),
            }),
        };
        events.start();
        events.stop().map(|_| events)
    }

    fn stop(&self) -> std::result::Result<f64, String> {
        let mut open = self.open.borrow_mut();
        open.disable();
        let readings = open.read();
        match (readings.values.values().next(), readings.missing.first()) {
            (Some(reading), _) => Ok(reading.value),
            (None, Some(missing)) => Err(missing.reason.clone()),
            (None, None) => Err("the kernel gave no value; run it again".to_owned()),
        }
    }
}

impl Measurement for Events {
    type Intermediate = ();
    type Value = f64;

    fn start(&self) {
        self.open.borrow_mut().enable();
    }

    fn end(&self, (): ()) -> f64 {
        self.stop().unwrap_or_else(|why| {
            eprintln!("hitm: the counter is gone: {why}");
            exit(1)
        })
    }

    fn add(&self, a: &f64, b: &f64) -> f64 {
        a + b
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &*self.format
    }
}

/// Events per fault.
struct PerFault {
    unit: &'static str,
}

impl ValueFormatter for PerFault {
    fn scale_values(&self, _typical: f64, _values: &mut [f64]) -> &'static str {
        self.unit
    }

    fn scale_throughputs(&self, _: f64, _: &Throughput, _: &mut [f64]) -> &'static str {
        self.unit
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        self.unit
    }
}

fn benches(role: &str, events: Events) -> Result<()> {
    let topology = Topology::here()?;
    let cpus = Placement::Compact.order(&topology)?;
    pin::pin_current_thread(cpus[0])?;
    let mut criterion = config::criterion("counters", 30, [200, 700])
        .with_measurement(events.clone())
        .configure_from_args();
    let threads = cpus.len();
    for scenario in SCENARIOS.into_iter().filter(|s| threads >= s.min_threads()) {
        // The role is part of the name, lest criterion compare one with another.
        let mut group = criterion.benchmark_group(format!("{role}/{}", scenario.name()));
        group.sampling_mode(SamplingMode::Flat);
        for &layout in VmaLayout::ALL {
            let mut arm = Counted {
                events: &events,
                spec: Spec::new(layout, scenario, threads),
                cpus: &cpus,
                arena: None,
            };
            let mut raised = !config::is_measured();
            let id = BenchmarkId::new(layout.name(), threads);
            let counted = |faults| {
                raised = raised || arm.count(LEAST)? > 0.0;
                match raised {
                    true => Ok(Some(arm.count(faults)? + NOT_ZERO)),
                    false => Ok(None),
                }
            };
            let why = format!("none in {LEAST} faults");
            measured::bench(&mut group, id, &why, counted)?;
        }
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}

/// An arm whose events are counted.
struct Counted<'a> {
    events: &'a Events,
    spec: Spec,
    cpus: &'a [CpuId],
    /// What the last program lay in.
    arena: Option<Arena>,
}

impl Counted<'_> {
    /// What `faults` faults of a thread raise while its neighbours fault on the other CPUs.
    fn count(&mut self, faults: u64) -> Result<f64> {
        let arena = self.arena.take();
        let mut arena = arena.map_or_else(|| Arena::new(self.spec.bytes()), Ok)?;
        arena.reset(0);
        let load = Load {
            handicap_permille: 0,
        };
        let program = self.spec.with(arena, load)?;
        let least = if config::is_measured() { LEAST } else { 1 };
        let per_fault = count(self.events, &*program, self.cpus, faults.max(least));
        self.arena = Some(program.into_arena());
        Ok(per_fault * faults as f64)
    }
}

/// What a fault of a thread raises, of about `faults`, while its neighbours fault on the other
/// CPUs. The thread is the first that faults; the calling thread becomes it.
fn count(events: &Events, program: &dyn Loaded, cpus: &[CpuId], faults: u64) -> f64 {
    let mut roles: Vec<usize> = (0..cpus.len()).collect();
    let counted = roles.iter().position(|id| program.role(*id).counted);
    let counted = roles.remove(counted.unwrap_or(0));
    let (ready, done) = (Barrier::new(cpus.len()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (&id, &cpu) in roles.iter().zip(&cpus[1..]) {
            let (ready, done) = (&ready, &done);
            scope.spawn(move || {
                let pinned = pin::pin_current_thread(cpu);
                let mut seat = program.seat(id, SEED);
                seat.enter();
                ready.wait();
                while !done.load(Ordering::Relaxed) {
                    seat.run(BATCH);
                }
                seat.leave();
                if let Err(error) = pinned {
                    eprintln!("hitm: {error}");
                    exit(1);
                }
            });
        }
        let mut seat = program.seat(counted, SEED);
        seat.enter();
        ready.wait();
        seat.run(WARM_UP);
        let operations = |seat: &dyn hitm::backend::native::loaded::Seat| -> u64 {
            seat.passes().iter().map(|(_, n)| n).sum()
        };
        let before = operations(&*seat);
        events.start();
        while operations(&*seat) - before < faults {
            let left = faults - (operations(&*seat) - before);
            seat.run(left.min(1 << 20) as u32);
        }
        let value = events.end(());
        done.store(true, Ordering::Relaxed);
        seat.leave();
        value / (operations(&*seat) - before) as f64
    })
}
