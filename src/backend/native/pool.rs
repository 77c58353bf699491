//! Persistent pinned workers, and what each does with one sample.
//!
//! Here: the workers and the steps warm-up, probe, window. Not here: what the program does
//! (`program`), and which sample comes next (`experiment`).

use super::loaded::{Loaded, Seat};
use super::rendezvous::{Failed, Rendezvous};
use crate::counters::{Open, Readings, Rotation};
use crate::error::{Error, Result};
use crate::machine::accounting::{ThreadCounts, ThreadWatch};
use crate::machine::transfer::Ring;
use crate::machine::{CpuId, pace, pin, real_time, threads};
use crate::program::Role;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The clock is read once in about so long: its 25 ns are then 0.25 % of what they time.
const BATCH: Duration = Duration::from_micros(10);
/// Steps between two readings of the clock at most.
const MOST_STEPS: u32 = 4096;

/// Lengths of the parts of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The program runs so long before anything is measured.
    pub warm_up: Duration,
    /// The line-transfer probe takes about so long.
    pub probe: Duration,
    /// The measured window.
    pub window: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            warm_up: Duration::from_micros(300),
            probe: Duration::from_micros(150),
            window: Duration::from_millis(4),
        }
    }
}

/// What one thread reports of one sample.
#[derive(Clone, Debug)]
pub struct WindowReport {
    /// Number of the thread.
    pub thread: usize,
    /// What it did.
    pub role: Role,
    /// Operations in the window, by role: one, unless roles share the thread.
    pub passes: Vec<(Arc<str>, u64)>,
    /// The program's tallies in the window, by name.
    pub tallies: Vec<(&'static str, u64)>,
    /// Its own length of the window.
    pub elapsed: Duration,
    /// One-way line-transfer latency of the ring of all threads just before, in nanoseconds; the
    /// first thread reports it.
    pub probe_ns: Option<f64>,
    /// Pace of the core right before and right after the window.
    pub pace_ns: [f64; 2],
    /// Context switches and page faults in the window.
    pub kernel: ThreadCounts,
    /// Hardware counters in the window.
    pub counters: Readings,
    /// Why the pin does not hold, if it does not.
    pub pin: Option<String>,
}

/// What all threads of one sample are told.
pub struct Job {
    /// What they run.
    pub program: Box<dyn Loaded>,
    /// Lengths of the parts of the sample.
    pub timing: Timing,
    /// For everything random in it.
    pub seed: u64,
    /// What is counted, and the block that decides which of it this time.
    pub counters: Arc<Rotation>,
    /// See `counters`.
    pub block: u64,
}

struct Order {
    job: Arc<Job>,
    thread: usize,
    ring: Arc<Ring>,
    rendezvous: Arc<Rendezvous>,
    /// Whether the thread has a real-time policy meanwhile.
    real_time: bool,
    reply: Sender<std::result::Result<WindowReport, Error>>,
}

struct Worker {
    orders: Option<Sender<Order>>,
    handle: Option<JoinHandle<()>>,
}

/// The workers: one for every CPU and every thread beyond the first on it.
#[derive(Default)]
pub struct Pool {
    workers: BTreeMap<CpuId, Vec<Worker>>,
    real_time: bool,
}

impl Pool {
    /// From now on threads have [a turn](real_time::Turn) of real-time scheduling while they take a
    /// sample, unless several of them share a CPU and would keep each other off it.
    pub fn use_real_time(&mut self) {
        self.real_time = true;
    }

    /// Do `job` once on `cpus` (index = thread) and return every thread's report, in the order of
    /// threads. The program comes back when all workers have let go of it.
    pub fn sample(
        &mut self,
        job: Job,
        cpus: &[CpuId],
    ) -> Result<(Vec<WindowReport>, Box<dyn Loaded>)> {
        let oversubscribed = is_oversubscribed(cpus);
        let real_time = self.real_time && !oversubscribed;
        let seats = self.seats(cpus)?;
        let job = Arc::new(job);
        let ring = Arc::new(Ring::new(cpus.len(), oversubscribed));
        let rendezvous = Arc::new(Rendezvous::new(cpus.len()));
        let (reply, replies) = channel();
        for (thread, seat) in seats.into_iter().enumerate() {
            let order = Order {
                job: Arc::clone(&job),
                thread,
                ring: Arc::clone(&ring),
                rendezvous: Arc::clone(&rendezvous),
                real_time,
                reply: reply.clone(),
            };
            if let Some(orders) = &seat.orders {
                // A worker that is gone drops its reply, which is noticed below.
                let _ = orders.send(order);
            }
        }
        drop(reply);
        let mut reports = Vec::with_capacity(cpus.len());
        let mut error = None;
        for report in replies {
            match report {
                Ok(report) => reports.push(report),
                // The others only say that one of them failed.
                Err(e) => {
                    error = match error {
                        Some(Error::Broken(why)) => Some(Error::Broken(why)),
                        _ => Some(e),
                    }
                }
            }
        }
        if let Some(error) = error {
            return Err(error);
        }
        reports.sort_by_key(|report: &WindowReport| report.thread);
        match Arc::into_inner(job) {
            Some(job) if reports.len() == cpus.len() => Ok((reports, job.program)),
            _ => Err(Error::Broken(
                "a worker thread ended unexpectedly; this is a bug of hitm".to_owned(),
            )),
        }
    }

    /// The worker for each entry of `cpus`, started and pinned on first use.
    fn seats(&mut self, cpus: &[CpuId]) -> Result<Vec<&Worker>> {
        let mut turns = Vec::with_capacity(cpus.len());
        let mut taken: BTreeMap<CpuId, usize> = BTreeMap::new();
        for &cpu in cpus {
            let taken = taken.entry(cpu).or_default();
            let there = self.workers.entry(cpu).or_default();
            if there.len() == *taken {
                there.push(Worker::start(cpu)?);
            }
            turns.push((cpu, *taken));
            *taken += 1;
        }
        Ok(turns
            .into_iter()
            .map(|(cpu, at)| &self.workers[&cpu][at])
            .collect())
    }
}

/// Whether several threads share a CPU.
pub fn is_oversubscribed(cpus: &[CpuId]) -> bool {
    cpus.iter().collect::<BTreeSet<_>>().len() < cpus.len()
}

impl Worker {
    fn start(cpu: CpuId) -> Result<Worker> {
        let (orders, inbox) = channel();
        let (ready, pinned) = channel();
        let handle = std::thread::Builder::new()
            .name(format!("hitm-cpu{}", cpu.0))
            .spawn(move || {
                let pinned = pin::pin_current_thread(cpu);
                let stop = pinned.is_err();
                let _ = ready.send(pinned);
                if !stop {
                    serve(cpu, &inbox);
                }
            })
            .map_err(threads::refused)?;
        pinned.recv().unwrap_or_else(|_| {
            Err(Error::Refused(format!(
                "the thread for CPU {} ended at once",
                cpu.0
            )))
        })?;
        Ok(Worker {
            orders: Some(orders),
            handle: Some(handle),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

fn serve(cpu: CpuId, inbox: &Receiver<Order>) {
    let mut counters = OpenCounters::default();
    for order in inbox {
        let outcome = catch_unwind(AssertUnwindSafe(|| take_sample(cpu, &order, &mut counters)));
        let Order {
            job,
            rendezvous,
            ring,
            reply,
            ..
        } = order;
        // The program must be free again before the reply is seen.
        drop(job);
        let answer = match outcome {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Broken(
                "a worker thread panicked (see above); this is a bug of hitm".to_owned(),
            )),
        };
        if answer.is_err() {
            rendezvous.fail();
            ring.abandon();
        }
        let _ = reply.send(answer);
    }
}

/// The counters a worker has open, by group: opening takes longer than a window is worth.
#[derive(Default)]
struct OpenCounters(BTreeMap<usize, Open>);

impl OpenCounters {
    fn of(&mut self, job: &Job) -> Option<&mut Open> {
        let group = job.counters.group_of(job.block)?;
        Some(
            self.0
                .entry(group)
                .or_insert_with(|| job.counters.open(job.block)),
        )
    }
}

fn take_sample(cpu: CpuId, order: &Order, open: &mut OpenCounters) -> Result<WindowReport> {
    let Order {
        job, rendezvous, ..
    } = order;
    let Job {
        program, timing, ..
    } = &**job;
    let mut counters = open.of(job);
    let stopped = |_: Failed| Error::Refused("another thread of the sample failed".to_owned());
    let mut seat = program.seat(order.thread, job.seed);

    rendezvous.wait().map_err(stopped)?;
    // Not before all are here: whoever sends orders may need this CPU until then. From here on
    // threads wait for nobody but each other, and each has a CPU.
    let turn = order.real_time.then(real_time::Turn::begin);
    seat.enter();
    let steps = warm_up(&mut *seat, timing.warm_up);
    seat.leave();

    rendezvous.wait().map_err(stopped)?;
    let probe_ns = order.ring.run(order.thread, timing.probe);

    let pace_before = pace::pace_ns();
    let watch = ThreadWatch::start();
    let (passes, tallies) = (seat.passes(), seat.tallies());
    rendezvous.wait().map_err(stopped)?;
    seat.enter();
    if let Some(counters) = &mut counters {
        counters.enable();
    }
    // Between these two readings of the clock: batches of the program, and one reading a batch.
    let start = Instant::now();
    seat.until(start + timing.window);
    let mut elapsed = Duration::ZERO;
    while elapsed < timing.window {
        seat.run(steps);
        elapsed = start.elapsed();
    }
    if let Some(counters) = &mut counters {
        counters.disable();
    }
    seat.leave();
    let kernel = watch.counts();
    let pace_after = pace::pace_ns();
    drop(turn);

    Ok(WindowReport {
        thread: order.thread,
        role: program.role(order.thread),
        passes: seat
            .passes()
            .into_iter()
            .zip(passes)
            .map(|((role, now), (_, then))| (role, now - then))
            .collect(),
        tallies: seat
            .tallies()
            .into_iter()
            .zip(tallies)
            .map(|((name, now), (_, then))| (name, now - then))
            .collect(),
        elapsed,
        probe_ns,
        pace_ns: [pace_before, pace_after],
        kernel,
        counters: counters.map(Open::read).unwrap_or_default(),
        pin: pin::verify(cpu).err().map(|e| e.to_string()),
    })
}

/// Run for `time` and find how many steps take about [`BATCH`].
fn warm_up(seat: &mut dyn Seat, time: Duration) -> u32 {
    let start = Instant::now();
    seat.until(start + time);
    let mut steps = 1;
    let mut last = Duration::ZERO;
    loop {
        seat.run(steps);
        let now = start.elapsed();
        if now >= time {
            return steps;
        }
        if now - last < BATCH / 2 {
            steps = (steps * 2).min(MOST_STEPS);
        } else if now - last > BATCH * 2 {
            steps = (steps / 2).max(1);
        }
        last = now;
    }
}
