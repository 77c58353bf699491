//! One sample: a scenario on a layout on a simulated machine.
//!
//! Here: laying out the world, giving every thread its program, the window that is measured. Not
//! here: which samples are taken (`experiment`) and how threads wait for each other (`state`).

use super::counts::Counts;
use super::engine::{SimMemory, Simulation};
use super::explain::Ledger;
use super::machine::{Machine, Picos, picos};
use super::timeline::Timeline;
use crate::error::{Error, Result};
use crate::experiment::ThreadFaults;
use crate::machine::Placement;
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario::{self, Cx, Scenario, Thread, WithScenario};
use crate::program::fault::vma::{self, Layout, WithLayout};
use crate::program::fault::world::{Size, World};
use crate::space::arena::Arena;
use crate::space::memory::Memory;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How often, in simulated time, the simulation is asked whether it has seen enough.
const CHUNK: Picos = 20_000_000;

/// Everything that decides a sample, but for the machine.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The layout.
    pub layout: vma::BuiltIn,
    /// The scenario.
    pub scenario: scenario::BuiltIn,
    /// Threads.
    pub threads: usize,
    /// Which CPU each gets.
    pub placement: Placement,
    /// Slab slot of the first VMA in use.
    pub first_slot: usize,
    /// What each fault does beside reading fields.
    pub work: PageWork,
    /// Local work before every access of the path, locks apart: the instructions between them.
    pub access_ns: f64,
    /// Local work between two steps of a thread, in nanoseconds: what a fault costs before and
    /// after the path that is simulated.
    pub between_ns: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// Faults of one thread, on average, that the window lasts; a quarter as many warm it up.
    pub faults_per_thread: u64,
    /// Keep a ledger of who took which line from whom.
    pub explain: bool,
    /// Keep a timeline.
    pub timeline: bool,
    /// Check every access against the invariants of the protocol.
    pub check: bool,
}

/// What a sample brought.
pub struct Run {
    /// Every thread that faults.
    pub threads: Vec<ThreadFaults>,
    /// Counts of the window.
    pub counts: Counts,
    /// Faults of the window that a writer forced to fall back to `mmap_lock`.
    pub fallbacks: u64,
    /// Host seconds that the window took: neither the warm-up nor laying out the world.
    pub wall_seconds: f64,
    /// Who took which line from whom, since the beginning.
    pub ledger: Option<Ledger>,
    /// What happened when, since the beginning.
    pub timeline: Option<Timeline>,
    /// Where everything lay.
    pub world: Rc<World>,
}

/// What a thread has done, as the driver sees it.
#[derive(Clone, Copy, Default)]
struct Progress {
    faults: u64,
    fallbacks: u64,
    at: Picos,
}

/// Take one sample.
pub fn run(machine: &Machine, spec: &Spec) -> Result<Run> {
    run_unless(&AtomicBool::new(false), machine, spec)
}

/// Take one sample, but give it up with [`Error::Interrupted`] soon after `stop` is set: many
/// threads on a large machine are a matter of minutes.
pub fn run_unless(stop: &AtomicBool, machine: &Machine, spec: &Spec) -> Result<Run> {
    let cpus = machine.shape.place(&spec.placement, spec.threads)?;
    if spec.threads < spec.scenario.min_threads() {
        return Err(Error::Input(format!(
            "scenario {} needs {} threads at least, not {}",
            spec.scenario.name(),
            spec.scenario.min_threads(),
            spec.threads
        )));
    }
    spec.scenario.with(OnScenario {
        stop,
        machine,
        spec,
        cpus,
    })
}

struct OnScenario<'a> {
    stop: &'a AtomicBool,
    machine: &'a Machine,
    spec: &'a Spec,
    cpus: Vec<usize>,
}

struct OnLayout<'a, S>(OnScenario<'a>, S);

impl WithScenario for OnScenario<'_> {
    type Out = Result<Run>;
    fn call<S: Scenario + 'static>(self, scenario: S) -> Result<Run> {
        self.spec.layout.with(OnLayout(self, scenario))
    }
}

impl<S: Scenario + 'static> WithLayout for OnLayout<'_, S> {
    type Out = Result<Run>;
    fn call<L: Layout + 'static>(self, layout: L) -> Result<Run> {
        let OnLayout(on, scenario) = self;
        sample(&on, scenario, layout)
    }
}

fn sample<S: Scenario + 'static, L: Layout + 'static>(
    on: &OnScenario<'_>,
    scenario: S,
    layout: L,
) -> Result<Run> {
    let OnScenario {
        stop,
        machine,
        spec,
        ref cpus,
    } = *on;
    let mut size: Size = scenario.size(spec.threads, spec.work == PageWork::ClearPage);
    size.vmas += spec.first_slot;
    let table = layout.table();
    let world = Rc::new(World::new(
        Arena::new(World::bytes_for(table, size)),
        table,
        size,
    ));
    let mut simulation = Simulation::new(
        Rc::new(machine.clone()),
        world.clone(),
        cpus,
        spec.seed,
        spec.check,
    );
    simulation.state().access_work = picos(spec.access_ns * machine.work_scale);
    if spec.explain {
        simulation.state().coherence.ledger = Some(Ledger::default());
    }
    if spec.timeline {
        simulation.state().timeline = Some(Timeline::default());
    }
    let progress: Vec<Rc<Cell<Progress>>> = (0..spec.threads).map(|_| Rc::default()).collect();
    for (id, progress) in progress.iter().enumerate() {
        let (world, progress, spec) = (world.clone(), progress.clone(), spec.clone());
        simulation.spawn(move |m| {
            let cx = Cx {
                m,
                layout,
                world: &world,
                mm: world.mm(),
                first_slot: spec.first_slot,
                work: spec.work,
            };
            faults_for_ever(&scenario, &cx, Thread::new(id, spec.seed), &spec, &progress);
        });
    }

    let faulting: Vec<usize> = (0..spec.threads)
        .filter(|id| scenario.faults(*id, spec.threads))
        .collect();
    let window = spec.faults_per_thread * faulting.len() as u64;
    let mut now = 0;
    let mut until = |simulation: &mut Simulation, faults: u64| -> Result<Vec<Progress>> {
        let all = || -> Vec<Progress> { faulting.iter().map(|id| progress[*id].get()).collect() };
        let target = faults + all().iter().map(|p| p.faults).sum::<u64>();
        while all().iter().map(|p| p.faults).sum::<u64>() < target {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            now += CHUNK;
            simulation.run(now);
        }
        Ok(all())
    };
    let before = until(&mut simulation, window / 4)?;
    let counts_before = simulation.state().coherence.counts;
    let start = Instant::now();
    let after = until(&mut simulation, window)?;
    let wall_seconds = start.elapsed().as_secs_f64();

    let mut state = simulation.state();
    let counts = state.coherence.counts.since(&counts_before);
    let each: Vec<(u64, f64)> = before
        .iter()
        .zip(&after)
        .map(|(b, a)| (a.faults - b.faults, (a.at - b.at) as f64 * 1e-12))
        .collect();
    let fallbacks = |all: &[Progress]| all.iter().map(|p| p.fallbacks).sum::<u64>();
    Ok(Run {
        threads: each
            .iter()
            .map(|(faults, seconds)| ThreadFaults {
                faults: *faults,
                seconds: *seconds,
            })
            .collect(),
        counts,
        fallbacks: fallbacks(&after) - fallbacks(&before),
        wall_seconds,
        ledger: state.coherence.ledger.take(),
        timeline: state.timeline.take(),
        world: world.clone(),
    })
}

/// The program of one thread: it is dropped where it stands when the window ends.
fn faults_for_ever<S: Scenario, L: Layout>(
    scenario: &S,
    cx: &Cx<'_, SimMemory<'_>, L>,
    mut thread: Thread,
    spec: &Spec,
    progress: &Cell<Progress>,
) {
    scenario.enter(cx, &mut thread);
    loop {
        if spec.between_ns > 0 {
            cx.m.compute(spec.between_ns);
        }
        scenario.step(cx, &mut thread);
        progress.set(Progress {
            faults: thread.faults,
            fallbacks: thread.fallbacks,
            at: cx.m.now(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_given_up_when_it_is_told_to_stop_and_not_before() {
        let machine = Machine::load("broadwell-ep").unwrap();
        let spec = Spec {
            layout: vma::BuiltIn::SplitPacked,
            scenario: scenario::BuiltIn::OneVma,
            threads: 2,
            placement: Placement::Compact,
            first_slot: 0,
            work: PageWork::None,
            access_ns: 0.0,
            between_ns: 0,
            seed: 1,
            faults_per_thread: 4,
            explain: false,
            timeline: false,
            check: false,
        };
        let stop = AtomicBool::new(false);
        assert!(run_unless(&stop, &machine, &spec).is_ok());
        stop.store(true, Ordering::Relaxed);
        let stopped = run_unless(&stop, &machine, &spec);
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}
