//! How well the simulator, told what `hitm probe --calibrate` measures, predicts this machine.
//!
//! `cargo bench --bench prediction -- 40` takes 40 blocks at every design point (20 if no number
//! is given): all layouts and scenarios, at 1 and 2 threads. Every block begins with a round of
//! the calibration; every native sample is predicted with the transfer mode its own probe saw.
//! Nothing is fitted to time per fault.

use hitm::backend::faults::FaultArms;
use hitm::backend::native::pool::Timing;
use hitm::backend::native::{Native, PACE};
use hitm::calibrate::{About, Calibration, Findings, Geometry};
use hitm::error::Result;
use hitm::experiment::{
    Arm, Backend, BackendKind, Design, Ending, Limits, Measured, PlannedSample, Point, Sample,
    Scenario, Watch, drive,
};
use hitm::judge::{self, Terms, VerdictRow};
use hitm::machine::{CpuModel, Distance, Placement, Topology, Vendor};
use hitm::program::fault;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::path::PageWork;
use hitm::program::fault::scenario;
use hitm::program::totals::Totals;
use hitm::sim::Machine;
use hitm::sim::run::{SampleSpec, run};
use hitm::stats::{Spread, Verdict};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Blocks at every design point if nothing is said.
const BLOCKS: u64 = 20;
/// Calibration before the first block, in rounds: modes are known before they are needed.
const ROUNDS: usize = 100;
/// Tries to take a sample on undisturbed cores.
const TRIES: usize = 20;
/// Probes are told apart in steps of 3 %: as many simulations as that needs.
const STEP: f64 = 1.03;
/// FaultArms of a thread in a simulated window; 500 change no figure by 1 %.
const FAULTS: u64 = 2000;
/// Shorter than `hitm run`'s, so that more samples of a busy machine are undisturbed.
const WINDOW: Duration = Duration::from_micros(1500);
/// What the figure is to be.
const TARGET_PERCENT: f64 = 15.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (numbers, words): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .partition(|argument| argument.parse::<u64>().is_ok());
    // `cargo test` runs benches without `--bench`; `cargo bench -- WORD` asks for what has WORD
    // in its name.
    let wanted = words.iter().all(|word| "prediction".contains(*word));
    if !arguments.iter().any(|argument| argument == "--bench") || !wanted {
        return Ok(());
    }
    let blocks = numbers.first().and_then(|n| n.parse().ok());
    let session = measure(blocks.unwrap_or(BLOCKS))?;
    let predictions = predict(&session)?;
    report(&session, &predictions);
    Ok(())
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

fn measure(blocks: u64) -> Result<Session> {
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
        blocks: Some(blocks),
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
struct Case {
    layout: String,
    scenario: Scenario,
    threads: usize,
    first_slot: usize,
    /// The sample's probe in steps of [`STEP`] from 1 ns on; none for one thread.
    probe: Option<i32>,
}

impl Case {
    fn of(sample: &Sample) -> Case {
        let layout = match &sample.arm {
            Arm::Again | Arm::Recompiled => VmaLayout::SplitPacked.name().to_owned(),
            arm => arm.to_string(),
        };
        let probe = sample
            .probe_ns
            .map(|ns| (ns.ln() / STEP.ln()).round() as i32);
        Case {
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

fn predict(session: &Session) -> Result<BTreeMap<Case, f64>> {
    let cases: BTreeSet<Case> = valid(session).map(Case::of).collect();
    cases
        .into_par_iter()
        .map(|case| {
            let ns = case.nanoseconds(session)?;
            Ok((case, ns))
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
struct Row {
    predicted_ns: f64,
    measured_ns: f64,
    /// Predicted over measured, the median of the samples.
    ratio: f64,
}

fn report(session: &Session, predictions: &BTreeMap<Case, f64>) {
    println!("{}", session.findings.to_toml(&session.about()));
    let mut cells: BTreeMap<(usize, String, String), Vec<(f64, f64)>> = BTreeMap::new();
    for sample in valid(session) {
        let key = (
            sample.point.threads,
            sample.point.scenario.to_string(),
            sample.arm.to_string(),
        );
        let pair = (predictions[&Case::of(sample)], sample.ns_per_fault);
        cells.entry(key).or_default().push(pair);
    }
    println!(
        "{} of {} samples are valid.",
        valid(session).count(),
        session.samples.len()
    );
    println!(
        "Nanoseconds a fault, medians; verdicts and ratios against {}.\n",
        VmaLayout::SplitPacked.name()
    );
    println!(
        "{:<3} {:<16} {:<24} {:>9} {:>9} {:>7}   {:<13} {:>7} {:>9}",
        "thr",
        "scenario",
        "layout",
        "predicted",
        "measured",
        "error",
        "verdict",
        "ratio",
        "predicted"
    );
    let rows: BTreeMap<_, Row> = cells
        .into_iter()
        .filter_map(|(key, pairs)| {
            let row = Row {
                predicted_ns: median(pairs.iter().map(|p| p.0))?,
                measured_ns: median(pairs.iter().map(|p| p.1))?,
                ratio: median(pairs.iter().map(|p| p.0 / p.1))?,
            };
            Some((key, row))
        })
        .collect();
    let (mut right, mut decided) = (0, 0);
    for ((threads, scenario, layout), row) in &rows {
        print!(
            "{threads:<3} {scenario:<16} {layout:<24} {:>9.1} {:>9.1} {:>+6.1}%",
            row.predicted_ns,
            row.measured_ns,
            100.0 * (row.ratio - 1.0)
        );
        let verdict = session.verdicts.iter().find(|v| {
            (v.point.threads, v.point.scenario.name()) == (*threads, scenario)
                && v.arm.to_string() == *layout
        });
        let predicted = predicted_ratio(session, predictions, (*threads, scenario, layout));
        if let (Some(verdict), Some(predicted)) = (verdict, predicted) {
            let side = match verdict.verdict {
                Verdict::Regression => Some(predicted > 1.0),
                Verdict::Improvement => Some(predicted < 1.0),
                _ => None,
            };
            decided += usize::from(side.is_some());
            right += usize::from(side == Some(true));
            print!(
                "   {:<13} {:>7.3} {predicted:>9.3}{}",
                verdict.verdict,
                verdict.ratio.unwrap_or(f64::NAN),
                if side == Some(false) {
                    "  wrong side"
                } else {
                    ""
                }
            );
        }
        println!();
    }
    println!();
    let points: BTreeSet<(usize, &str)> = rows.keys().map(|(t, s, _)| (*t, s.as_str())).collect();
    for (threads, scenario) in points {
        let of = rows
            .iter()
            .filter(|((t, s, _), _)| *t == threads && s == scenario);
        summarise(
            &format!("{scenario}, {threads} threads"),
            of.map(|(_, row)| row),
        );
    }
    for threads in [1, 2] {
        let of = rows.iter().filter(|((t, ..), _)| *t == threads);
        summarise(&format!("{threads} threads"), of.map(|(_, row)| row));
    }
    summarise("all", rows.values());
    println!("target: median error at most {TARGET_PERCENT} %; order preserved");
    println!("order: {right} of {decided} decided verdicts are on the predicted side");
}

/// The layout's predicted time over the baseline's, paired within blocks as the verdicts are: two
/// blocks of different slot parity are different experiments.
fn predicted_ratio(
    session: &Session,
    predictions: &BTreeMap<Case, f64>,
    (threads, scenario, layout): (usize, &str, &str),
) -> Option<f64> {
    let of = |name: &str| -> BTreeMap<u64, f64> {
        valid(session)
            .filter(|s| {
                (s.point.threads, s.point.scenario.name()) == (threads, scenario)
                    && s.arm.to_string() == name
            })
            .map(|s| (s.block, predictions[&Case::of(s)]))
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

fn summarise<'r>(what: &str, rows: impl Iterator<Item = &'r Row>) {
    let errors: Vec<f64> = rows.map(|row| 100.0 * (row.ratio - 1.0).abs()).collect();
    let within = errors.iter().filter(|e| **e <= TARGET_PERCENT).count();
    let of = errors.len();
    if let Some(median) = median(errors) {
        println!("{what}: median error {median:.1} % ({within} of {of} within {TARGET_PERCENT} %)");
    }
}
