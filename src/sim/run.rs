//! One sample: a program on a simulated machine.
//!
//! Here: giving every thread its program, and the window that is measured. Not
//! here: which samples are taken (`experiment`) and how threads wait for each other (`state`).

use super::counts::Counts;
use super::engine::{SimMemory, Simulation};
use super::explain::Ledger;
use super::machine::{Machine, Picos, picos};
use super::timeline::Timeline;
use crate::error::{Error, Result};
use crate::machine::Placement;
use crate::program::totals::ThreadFaults;
use crate::program::{Blueprint, Program, Role, WithProgram, fault};
use crate::space::arena::Arena;
use crate::space::map::Map;
use crate::space::memory::Memory;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How often, in simulated time, the simulation is asked whether it has seen enough.
const CHUNK: Picos = 20_000_000;

/// Everything that decides a sample, but for the machine.
#[derive(Clone, Debug)]
pub struct SampleSpec<B = fault::Spec> {
    /// What the threads do.
    pub program: B,
    /// Which CPU each gets.
    pub placement: Placement,
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

impl<B> SampleSpec<B> {
    /// A sample of `program` with no local work, of `faults_per_thread` faults, and nothing kept or
    /// checked beside.
    pub fn new(program: B, placement: Placement, seed: u64, faults_per_thread: u64) -> Self {
        SampleSpec {
            program,
            placement,
            access_ns: 0.0,
            between_ns: 0,
            seed,
            faults_per_thread,
            explain: false,
            timeline: false,
            check: false,
        }
    }
}

/// What a sample brought.
pub struct Run {
    /// Every thread that faults.
    pub threads: Vec<ThreadFaults>,
    /// Counts of the window.
    pub counts: Counts,
    /// The program's tallies in the window, by name.
    pub tallies: Vec<(&'static str, u64)>,
    /// Host seconds that the window took: neither the warm-up nor laying out the world.
    pub wall_seconds: f64,
    /// Who took which line from whom in the window.
    pub ledger: Option<Ledger>,
    /// What happened when in the window.
    pub timeline: Option<Timeline>,
    /// What lay where.
    pub map: Map,
    /// Who ran where, by thread.
    pub seats: Vec<SeatedThread>,
    /// The roles of the threads of each core that has any: `reader`, or `reader+writer` of siblings.
    pub roles: BTreeMap<u16, String>,
}

/// A thread of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatedThread {
    /// What it did.
    pub role: Role,
    /// The core that it ran on.
    pub core: u16,
}

/// Take one sample.
pub fn run<B: Blueprint>(machine: &Machine, spec: &SampleSpec<B>) -> Result<Run> {
    run_unless(&AtomicBool::new(false), machine, spec)
}

/// Take one sample, but give it up with [`Error::Interrupted`] soon after `stop` is set: many
/// threads on a large machine are a matter of minutes.
pub fn run_unless<B: Blueprint>(
    stop: &AtomicBool,
    machine: &Machine,
    spec: &SampleSpec<B>,
) -> Result<Run> {
    let cpus = machine
        .shape
        .place(&spec.placement, spec.program.threads())?;
    spec.program.check()?;
    let arena = Arena::new(spec.program.bytes())?;
    spec.program.with_layout_at_run_time(
        arena,
        Sampler {
            stop,
            machine,
            spec,
            cpus,
        },
    )?
}

struct Sampler<'a, B> {
    stop: &'a AtomicBool,
    machine: &'a Machine,
    spec: &'a SampleSpec<B>,
    cpus: Vec<usize>,
}

/// Simulated time in which some thread finishes a pass, or none ever will.
const LONGEST_PASS: Picos = 1_000_000_000_000;
/// Simulated time that a sample may take; clocks end a little later.
const LONGEST_SAMPLE: Picos = 17 * LONGEST_PASS;

/// See [`Run::roles`].
fn roles_of_cores(seats: &[SeatedThread]) -> BTreeMap<u16, String> {
    let mut roles: BTreeMap<u16, String> = BTreeMap::new();
    for SeatedThread { role, core } in seats {
        let of_core = roles.entry(*core).or_default();
        match of_core.is_empty() {
            true => of_core.push_str(&role.name),
            false if *of_core == *role.name => {}
            false => *of_core += &format!("+{}", role.name),
        }
    }
    roles
}

/// Operations so far, of each role, and how many threads have it.
struct Operations(BTreeMap<Arc<str>, (u64, u64)>);

/// A role that is slow beside the others has had enough when it has done one operation for so many
/// that are asked for, if all roles together have done so many times what is asked for.
const SLOW_ROLE: u64 = 16;

impl Operations {
    fn of<P: Program>(program: &P, counted: &[usize], all: &[(P::Counts, Picos)]) -> Operations {
        let mut roles: BTreeMap<Arc<str>, (u64, u64)> = BTreeMap::new();
        for (id, (counts, _)) in counted.iter().zip(all) {
            for (role, passes) in program.passes(*id, counts) {
                let of = roles.entry(role).or_default();
                *of = (of.0 + passes, of.1 + 1);
            }
        }
        Operations(roles)
    }

    fn sum(&self) -> u64 {
        self.0.values().map(|(operations, _)| operations).sum()
    }

    /// Whether each thread has done `more` operations since `from`, on average, in every role.
    fn is_enough(&self, from: &Operations, more: u64) -> bool {
        let since = |role: &Arc<str>, now: &(u64, u64)| {
            let then = from.0.get(role).map_or(0, |then| then.0);
            (now.0 - then, now.1 * more)
        };
        let mut each = self.0.iter().map(|(role, now)| since(role, now));
        let sums = each
            .clone()
            .fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        let many = sums.0 >= sums.1 * SLOW_ROLE;
        sums.0 >= sums.1
            && each.all(|(done, asked)| done >= if many { asked / SLOW_ROLE } else { asked })
    }
}

/// What a thread has done, and when.
struct ThreadProgress<C> {
    counts: Cell<C>,
    at: Cell<Picos>,
}

impl<B> WithProgram for Sampler<'_, B> {
    type Out = Result<Run>;

    fn call<P: Program>(self, program: P) -> Result<Run> {
        let Sampler {
            stop,
            machine,
            spec,
            cpus,
        } = self;
        let program = Rc::new(program);
        let mut simulation = Simulation::new(
            Rc::new(machine.clone()),
            program.clone(),
            &cpus,
            spec.seed,
            spec.check,
        );
        simulation.state().access_work = picos(spec.access_ns * machine.work_scale);
        if spec.explain {
            // From the start: a pass that the window counts may have begun before it.
            simulation.state().coherence.ledger = Some(Ledger::default());
        }
        let threads = program.threads();
        let progress: Vec<Rc<ThreadProgress<P::Counts>>> = (0..threads)
            .map(|_| {
                Rc::new(ThreadProgress {
                    counts: Cell::default(),
                    at: Cell::default(),
                })
            })
            .collect();
        for (id, progress) in progress.iter().enumerate() {
            let (program, progress) = (program.clone(), progress.clone());
            let thread = program.thread(id, spec.seed);
            let between_ns = spec.between_ns;
            simulation.spawn(move |m| run_for_ever(&*program, &m, thread, between_ns, &progress));
        }

        let counted: Vec<usize> = (0..threads)
            .filter(|id| program.role(*id).counted)
            .collect();
        let all = || -> Vec<(P::Counts, Picos)> {
            let of = |id: &usize| (progress[*id].counts.get(), progress[*id].at.get());
            counted.iter().map(of).collect()
        };
        let operations = || Operations::of(&*program, &counted, &all());
        let window = spec.faults_per_thread;
        let mut now = 0;
        // What each thread has done by then, and when that was.
        let mut until = |simulation: &mut Simulation, more: u64| -> Result<(Vec<_>, Picos)> {
            let from = operations();
            let (mut done, mut since) = (from.sum(), now);
            loop {
                let so_far = operations();
                if so_far.is_enough(&from, more) {
                    return Ok((all(), now));
                }
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                if so_far.sum() != done {
                    (done, since) = (so_far.sum(), now);
                }
                if now - since > LONGEST_PASS {
                    return Err(Error::Input(
                        "no thread finishes a pass in a simulated second: the threads wait for \
                         each other, or a pass is too long; look at its wait and work steps"
                            .to_owned(),
                    ));
                }
                if now > LONGEST_SAMPLE {
                    return Err(Error::Input(
                        "a role does not finish enough passes in 17 simulated seconds: it is held \
                         up by the others, or its passes are too long; give it less work, or fewer \
                         threads beside it"
                            .to_owned(),
                    ));
                }
                now += CHUNK;
                simulation.run(now);
            }
        };
        let (before, began) = until(&mut simulation, window / 4)?;
        let counts_before = simulation.state().coherence.counts;
        // Ledger and timeline are about the window, as the counts are.
        {
            let mut state = simulation.state();
            state.timeline = spec.timeline.then(|| Timeline::new(began));
            state.coherence.ledger.iter_mut().for_each(Ledger::begin);
        }
        let start = Instant::now();
        let (after, ended) = until(&mut simulation, window)?;
        let wall_seconds = start.elapsed().as_secs_f64();

        let mut tallies = vec![0; P::TALLIES.len()];
        let mut each = Vec::new();
        for (id, ((before, from), (after, to))) in counted.iter().zip(before.iter().zip(&after)) {
            let ends = program.passes(*id, after).into_iter();
            for ((role, after), (_, before)) in ends.zip(program.passes(*id, before)) {
                each.push(ThreadFaults {
                    role,
                    faults: after - before,
                    seconds: (to - from) as f64 * 1e-12,
                });
            }
            let ends = P::tallies(after).into_iter().zip(P::tallies(before));
            for (sum, (after, before)) in tallies.iter_mut().zip(ends) {
                *sum += after - before;
            }
        }
        let mut state = simulation.state();
        if let Some(timeline) = &mut state.timeline {
            timeline.end(ended);
        }
        let seat = |(id, cpu): (usize, &usize)| SeatedThread {
            role: program.role(id),
            core: machine.shape.core_of(*cpu) as u16,
        };
        let seats: Vec<SeatedThread> = cpus.iter().enumerate().map(seat).collect();
        Ok(Run {
            threads: each,
            counts: state.coherence.counts.since(&counts_before),
            tallies: P::TALLIES
                .iter()
                .map(|tally| tally.name)
                .zip(tallies)
                .collect(),
            wall_seconds,
            ledger: state.coherence.ledger.take(),
            timeline: state.timeline.take(),
            map: program.map(),
            roles: roles_of_cores(&seats),
            seats,
        })
    }
}

/// What one thread runs: it is dropped where it stands when the window ends.
fn run_for_ever<P: Program>(
    program: &P,
    m: &SimMemory<'_>,
    mut thread: P::Thread,
    between_ns: u32,
    progress: &ThreadProgress<P::Counts>,
) {
    let mut counts = P::Counts::default();
    program.enter(m, &mut thread);
    loop {
        if between_ns > 0 {
            m.compute(between_ns);
        }
        let (accesses, began) = (m.accesses(), m.now());
        program.run(m, &mut thread, &mut counts, 1);
        if m.accesses() == accesses {
            // Even an empty loop takes its time.
            if m.now() == began {
                m.compute(1);
            }
            m.give_way();
        }
        progress.counts.set(counts);
        progress.at.set(m.now());
        m.passed(began);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::fault::layouts::VmaLayout;
    use crate::program::fault::scenario::BuiltIn;

    #[test]
    fn a_sample_is_given_up_when_it_is_told_to_stop_and_not_before() {
        let machine = Machine::load("broadwell-ep").unwrap();
        let spec = SampleSpec::new(
            fault::Spec::new(VmaLayout::SplitPacked, BuiltIn::OneVma, 2),
            Placement::Compact,
            1,
            4,
        );
        let stop = AtomicBool::new(false);
        assert!(run_unless(&stop, &machine, &spec).is_ok());
        stop.store(true, Ordering::Relaxed);
        let stopped = run_unless(&stop, &machine, &spec);
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }

    #[test]
    fn threads_that_wait_for_each_other_are_an_error_and_no_endless_sample() {
        let case = r#"
            case = 1
            struct = "pair"
            about = "each waits for the other"
            source = "none"
            [[role]]
            name = "one"
            threads = 1
            steps = [{ wait = "f" }, { write = "g" }]
            [[role]]
            name = "other"
            threads = 1
            steps = [{ wait = "g" }, { write = "f" }]
            [[layout]]
            name = "apart"
            size = 128
            fields = { f = [0, 8], g = [64, 8] }
        "#;
        let program = crate::program::steps::StepsSpec {
            case: Arc::new(crate::case::Case::parse("pair", case).unwrap()),
            layout: 0,
            threads: 2,
            first_slot: 0,
            seed: 1,
        };
        let machine = Machine::load("skylake-sp").unwrap();
        let error = run(
            &machine,
            &SampleSpec::new(program, Placement::Compact, 1, 4),
        );
        let why = error.err().unwrap().to_string();
        assert!(why.contains("wait for each other"), "{why}");
    }
}
