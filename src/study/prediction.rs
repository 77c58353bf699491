//! How well the simulator, told what `hitm probe --calibrate` measures, predicts this machine.
//!
//! All layouts and scenarios, at 1 and 2 threads. Every block begins with a round of the
//! calibration; every native sample is predicted with the transfer mode its own probe saw. Nothing
//! is fitted to time per fault.

use crate::backend::faults::FaultArms;
use crate::backend::native::pool::Timing;
use crate::backend::native::{Native, PACE};
use crate::calibrate::{About, Calibration, Findings, Geometry};
use crate::error::Result;
use crate::experiment::{
    Arm, Backend, BackendKind, Design, Ending, Limits, Measured, PlannedSample, Point, Sample,
    Scenario, Stratum, Watch, drive,
};
use crate::judge::{self, Terms, VerdictRow};
use crate::machine::{CpuModel, Distance, Placement, Topology, Vendor};
use crate::program::fault;
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario;
use crate::program::totals::Totals;
use crate::report::columns::Columns;
use crate::sim::Machine;
use crate::sim::run::{SampleSpec, run};
use crate::stats::{Spread, Verdict};
use crate::units::time;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Calibration before the first block, in rounds: modes are known before they are needed.
const ROUNDS: usize = 100;
/// Tries to take a sample on undisturbed cores.
const TRIES: usize = 20;
/// Probes are told apart in steps of 3 %: as many simulations as that needs.
const STEP: f64 = 1.03;
/// Faults of a thread in a simulated window; 500 change no figure by 1 %.
const FAULTS: u64 = 2000;
/// Shorter than `hitm run`'s, so that more samples of a busy machine are undisturbed.
const WINDOW: Duration = Duration::from_micros(1500);
/// What the figure is to be.
const TARGET_PERCENT: f64 = 15.0;

/// How long.
#[derive(clap::Args)]
pub struct Args {
    /// Blocks at every design point; an interval needs 10
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    blocks: u64,
    /// Seed of the order
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// What the simulator said beside what was measured.
pub struct Prediction {
    session: Session,
    /// One a layout and design point.
    pub rows: Vec<Predicted>,
}

/// Measure, then predict.
pub fn study(args: &Args) -> Result<Prediction> {
    let session = measure(args)?;
    let predictions = predict(&session)?;
    let rows = rows(&session, &predictions);
    Ok(Prediction { session, rows })
}

/// What was measured in one session.
struct Session {
    topology: Topology,
    findings: Findings,
    vendor: Option<Vendor>,
    samples: Vec<Sample>,
    verdicts: Vec<VerdictRow>,
}

impl Session {
    fn about(&self) -> About {
        About {
            name: "here".to_owned(),
            description: self.topology.summary(),
            vendor: self.vendor,
        }
    }
}

/// A round of the calibration before every block. The file describes cores that have all of
/// themselves, so a sample taken beside a working sibling is taken again.
struct Interleaved<'g> {
    native: Native<'g, FaultArms>,
    calibration: Calibration,
    undisturbed_ns: f64,
}

impl Backend for Interleaved<'_> {
    fn measure(&mut self, planned: &PlannedSample) -> Result<Measured> {
        if planned.order == 0 {
            self.calibration.round()?;
        }
        let mut measured = self.native.measure(planned)?;
        for _ in 1..TRIES {
            if !is_disturbed(&measured.counters, self.undisturbed_ns) {
                break;
            }
            measured = self.native.measure(planned)?;
        }
        Ok(measured)
    }
}

fn is_disturbed(counters: &BTreeMap<String, f64>, undisturbed_ns: f64) -> bool {
    counters.get(PACE).copied() > Some(undisturbed_ns)
}

struct Collect {
    samples: Vec<Sample>,
    undisturbed_ns: f64,
}

impl Watch for Collect {
    fn block(&mut self, samples: Vec<Sample>, _roles: Vec<Sample>) -> Result<()> {
        for mut sample in samples {
            sample.valid &= !is_disturbed(&sample.counters, self.undisturbed_ns);
            self.samples.push(sample);
        }
        Ok(())
    }

    fn is_decided(&self, _point: &Point) -> bool {
        false
    }
}

fn measure(args: &Args) -> Result<Session> {
    let topology = Topology::here()?;
    let baseline = VmaLayout::SplitPacked;
    let others = VmaLayout::ALL.iter().filter(|layout| **layout != baseline);
    let arms = std::iter::once(&baseline).chain(others);
    let arms = arms.map(|layout| layout.name().parse());
    let placement = Placement::Compact;
    let most = placement.order(&topology)?.len().min(2);
    let points: Vec<Point> = scenario::BuiltIn::ALL
        .iter()
        .flat_map(|s| (s.min_threads()..=most).map(move |threads| (*s, threads)))
        .map(|(scenario, threads)| Point {
            scenario: Scenario::BuiltIn(scenario),
            placement: placement.clone(),
            threads,
        })
        .collect();
    let design = Design {
        run: "prediction".to_owned(),
        seed: args.seed,
        ..Design::new(
            BackendKind::Native,
            "here",
            Design::with_again(arms.collect::<Result<_>>()?),
            points,
        )
    };
    let cpus = design
        .points
        .iter()
        .map(|point| Ok(placement.plan(&topology, point.threads, false)?.cpus))
        .collect::<Result<_>>()?;
    let build = FaultArms::of(&design)?;
    let timing = Timing {
        window: WINDOW,
        ..Timing::default()
    };
    let mut backend = Interleaved {
        native: Native::new(build, cpus, timing)?,
        calibration: Calibration::new(&topology, Geometry::here(&topology)?)?,
        undisturbed_ns: f64::INFINITY,
    };
    for _ in 0..ROUNDS {
        backend.calibration.round()?;
    }
    backend.undisturbed_ns = backend.calibration.findings().undisturbed_ns;
    let mut collect = Collect {
        samples: Vec::new(),
        undisturbed_ns: backend.undisturbed_ns,
    };
    let limits = Limits {
        budget: None,
        blocks: Some(args.blocks),
    };
    let never = AtomicBool::new(false);
    drive(
        &design,
        limits,
        &mut vec![0; design.points.len()],
        &mut backend,
        &mut collect,
        &never,
    )?;
    let terms = Terms {
        baseline: design.arms[0].clone(),
        margin: design.margin,
        ending: Ending::BlocksTaken,
    };
    let verdicts = judge::verdicts(&collect.samples, &terms);
    Ok(Session {
        findings: backend.calibration.findings(),
        topology,
        vendor: CpuModel::here().ok().map(|model| model.vendor),
        samples: collect.samples,
        verdicts,
    })
}

/// Everything that decides a prediction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Circumstances {
    layout: String,
    scenario: Scenario,
    threads: usize,
    first_slot: usize,
    /// The sample's probe in steps of [`STEP`] from 1 ns on; none for one thread.
    probe: Option<i32>,
}

impl Circumstances {
    fn of(sample: &Sample) -> Circumstances {
        let layout = match &sample.arm {
            Arm::Again | Arm::Recompiled => VmaLayout::SplitPacked.name().to_owned(),
            arm => arm.to_string(),
        };
        let probe = sample
            .probe_ns
            .map(|ns| (ns.ln() / STEP.ln()).round() as i32);
        Circumstances {
            layout,
            scenario: sample.point.scenario.clone(),
            threads: sample.point.threads,
            first_slot: sample.first_slot.unwrap_or(0),
            probe,
        }
    }

    fn nanoseconds(&self, session: &Session) -> Result<f64> {
        let spec = SampleSpec::new(
            fault::Spec {
                layout: VmaLayout::parse(&self.layout)?,
                scenario: self.scenario.built_in()?,
                threads: self.threads,
                first_slot: self.first_slot,
                work: PageWork::None,
            },
            Placement::Compact,
            1,
            FAULTS,
        );
        let machine = machine(session, self.probe.map(|steps| STEP.powi(steps)))?;
        Ok(Totals::of(&run(&machine, &spec)?.threads).ns_per_fault)
    }
}

/// The calibrated machine; for a sample with a probe, of the rounds in that mode, its transfers
/// stretched by what lies between the probe and the median of the mode.
fn machine(session: &Session, probe_ns: Option<f64>) -> Result<Machine> {
    let findings = match probe_ns {
        Some(ns) => session.findings.in_mode(ns),
        None => session.findings.clone(),
    };
    let mut machine = Machine::parse(&findings.to_toml(&session.about()), "calibration")?;
    let links = &findings.links;
    let cores = links
        .iter()
        .find(|l| l.pair.distance != Distance::SmtSibling);
    if let (Some(ns), Some(link)) = (probe_ns, cores) {
        let stretch = ns / link.mode.ns;
        let transfers = &mut machine.transfers;
        for latency in transfers.dirty[1..]
            .iter_mut()
            .chain(&mut transfers.clean[1..])
        {
            *latency = (*latency as f64 * stretch) as u64;
        }
        transfers.upgrade = (transfers.upgrade as f64 * stretch) as u64;
        machine.request = (machine.request as f64 * stretch) as u64;
    }
    Ok(machine)
}

fn predict(session: &Session) -> Result<BTreeMap<Circumstances, f64>> {
    let all: BTreeSet<Circumstances> = valid(session).map(Circumstances::of).collect();
    all.into_par_iter()
        .map(|one| {
            let ns = one.nanoseconds(session)?;
            Ok((one, ns))
        })
        .collect()
}

fn valid(session: &Session) -> impl Iterator<Item = &Sample> {
    session.samples.iter().filter(|sample| sample.valid)
}

fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

/// One layout at one design point.
#[derive(Serialize)]
pub struct Predicted {
    threads: usize,
    scenario: String,
    layout: String,
    predicted_ns: f64,
    measured_ns: f64,
    /// Of predicted over measured, the median of the samples.
    error_percent: f64,
    /// Against the baseline; empty for the baseline.
    verdict: Option<Verdict>,
    ratio: Option<f64>,
    predicted_ratio: Option<f64>,
}

impl Predicted {
    /// Whether a decided verdict is on the predicted side.
    fn is_right(&self) -> Option<bool> {
        let predicted = self.predicted_ratio?;
        match self.verdict? {
            Verdict::Regression => Some(predicted > 1.0),
            Verdict::Improvement => Some(predicted < 1.0),
            _ => None,
        }
    }
}

fn rows(session: &Session, predictions: &BTreeMap<Circumstances, f64>) -> Vec<Predicted> {
    let mut cells: BTreeMap<(usize, String, String), Vec<(f64, f64)>> = BTreeMap::new();
    for sample in valid(session) {
        let key = (
            sample.point.threads,
            sample.point.scenario.to_string(),
            sample.arm.to_string(),
        );
        let pair = (predictions[&Circumstances::of(sample)], sample.ns_per_fault);
        cells.entry(key).or_default().push(pair);
    }
    let row = |((threads, scenario, layout), pairs): ((usize, String, String), Vec<(f64, f64)>)| {
        let key = (threads, &*scenario, &*layout);
        let verdict = session.verdicts.iter().find(|v| {
            (
                v.point.threads,
                v.point.scenario.name(),
                &*v.arm.to_string(),
            ) == key
                && (&v.stratum, &v.role) == (&Stratum::default(), &None)
        });
        let predicted_ratio = verdict.and_then(|_| predicted_ratio(session, predictions, key));
        Some(Predicted {
            predicted_ns: median(pairs.iter().map(|p| p.0))?,
            measured_ns: median(pairs.iter().map(|p| p.1))?,
            error_percent: 100.0 * (median(pairs.iter().map(|p| p.0 / p.1))? - 1.0),
            verdict: verdict.map(|row| row.verdict),
            ratio: verdict.and_then(|row| row.ratio),
            predicted_ratio,
            threads,
            scenario,
            layout,
        })
    };
    cells.into_iter().filter_map(row).collect()
}

impl Prediction {
    /// For reading: the calibrated machine, every row, and how far they are off.
    pub fn table(&self) -> String {
        let Prediction { session, rows } = self;
        let mut out = format!("{}\n", session.findings.to_toml(&session.about()));
        out += &format!(
            "{} of {} samples are valid.\nMedians; verdicts and ratios against {}.\n\n",
            valid(session).count(),
            session.samples.len(),
            VmaLayout::SplitPacked.name()
        );
        let mut columns = Columns::new("><<>>><>><");
        columns.row([
            "threads",
            "scenario",
            "layout",
            "predicted",
            "measured",
            "error",
            "verdict",
            "ratio",
            "predicted",
            "",
        ]);
        for row in rows {
            let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |r| format!("{r:.3}"));
            let side = match row.is_right() {
                Some(false) => "wrong side",
                _ => "",
            };
            columns.row([
                row.threads.to_string(),
                row.scenario.clone(),
                row.layout.clone(),
                time(row.predicted_ns),
                time(row.measured_ns),
                format!("{:+.1} %", row.error_percent),
                row.verdict.map_or(String::new(), |v| v.to_string()),
                ratio(row.ratio),
                ratio(row.predicted_ratio),
                side.to_owned(),
            ]);
        }
        out += &format!("{columns}\n");
        let points: BTreeSet<_> = rows.iter().map(|r| (r.threads, &r.scenario)).collect();
        for point in points {
            let of = rows.iter().filter(|r| (r.threads, &r.scenario) == point);
            out += &summary(&format!("{}, {} threads", point.1, point.0), of);
        }
        for threads in [1, 2] {
            let of = rows.iter().filter(|row| row.threads == threads);
            out += &summary(&format!("{threads} threads"), of);
        }
        out += &summary("all", rows.iter());
        let decided: Vec<bool> = rows.iter().filter_map(Predicted::is_right).collect();
        out + &format!(
            "target: median error at most {TARGET_PERCENT} %; order preserved\n\
             order: {} of {} decided verdicts are on the predicted side\n",
            decided.iter().filter(|right| **right).count(),
            decided.len()
        )
    }
}

/// The layout's predicted time over the baseline's, paired within blocks as the verdicts are: two
/// blocks of different slot parity are different experiments.
fn predicted_ratio(
    session: &Session,
    predictions: &BTreeMap<Circumstances, f64>,
    (threads, scenario, layout): (usize, &str, &str),
) -> Option<f64> {
    let of = |name: &str| -> BTreeMap<u64, f64> {
        valid(session)
            .filter(|s| {
                (s.point.threads, s.point.scenario.name()) == (threads, scenario)
                    && s.arm.to_string() == name
            })
            .map(|s| (s.block, predictions[&Circumstances::of(s)]))
            .collect()
    };
    let (arm, baseline) = (of(layout), of(VmaLayout::SplitPacked.name()));
    let logs: Vec<f64> = arm
        .iter()
        .filter_map(|(block, ns)| Some((ns / baseline.get(block)?).ln()))
        .collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    (!logs.is_empty()).then(|| mean.exp())
}

fn summary<'r>(what: &str, rows: impl Iterator<Item = &'r Predicted>) -> String {
    let errors: Vec<f64> = rows.map(|row| row.error_percent.abs()).collect();
    let within = errors.iter().filter(|e| **e <= TARGET_PERCENT).count();
    let of = errors.len();
    median(errors).map_or(String::new(), |median| {
        format!("{what}: median error {median:.1} % ({within} of {of} within {TARGET_PERCENT} %)\n")
    })
}
