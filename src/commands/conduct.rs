//! What `run` and its kin have in common: a run folder, progress, Ctrl-C, verdicts, report.
//!
//! Not here: arguments (`options`), and the backends.

use super::options::{FailOn, Format, Options};
use crate::error::{Error, Result};
use crate::experiment::{self, Backend, Design, Ending, Limits, Remarks, Verdicts};
use crate::report::{self, Record};
use crate::results::address_map::{self, Mapped};
use crate::results::{
    BASELINE_AGAIN, RunFolder, RunRecord, Sample, Unmeasured, VerdictRow, read_samples,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

/// `environment.json`: what was asked, and of which machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnvironmentFile {
    /// What was asked, and what became of it.
    pub run: RunRecord,
    /// What is compared with what; a run goes on from here.
    pub design: Design,
    /// The machine.
    pub machine: serde_json::Value,
}

/// A run to conduct.
pub struct Run {
    /// What was asked, and of which machine.
    pub environment: EnvironmentFile,
    /// Counter columns, in the order of the CSV.
    pub counters: Vec<String>,
    /// When to stop.
    pub limits: Limits,
    /// Where it goes.
    pub folder: Folder,
    /// A file beside a new folder that says where everything lies in memory.
    pub address_map: Option<(PathBuf, Vec<Mapped>)>,
}

/// The run folder of a run.
pub enum Folder {
    /// A new one, at this path or in `results/`.
    New(Option<PathBuf>),
    /// One that is there already.
    Resumed(PathBuf),
}

/// Read the `environment.json` of the run folder `dir`.
pub fn read_environment(dir: &Path) -> Result<EnvironmentFile> {
    let path = dir.join("environment.json");
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Error::Input(format!(
            "cannot read {}: {e}; name the folder of a run that was stopped",
            path.display()
        ))
    })?;
    serde_json::from_str(&text).map_err(|e| {
        Error::Input(format!(
            "{}: {e}; it was not written by this version of hitm",
            path.display()
        ))
    })
}

/// The `run` part of `environment.json` of a run that begins now.
pub fn run_record(design: &Design, unmeasured: Vec<Unmeasured>) -> RunRecord {
    RunRecord {
        run: Some(design.run.clone()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        started: Some(humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        command_line: std::env::args().collect(),
        seed: Some(design.seed),
        margin: Some(design.margin),
        interrupted: false,
        unmeasured,
        scaled: Vec::new(),
    }
}

/// Conduct `run` on `backend`: measure, judge, write, print.
pub fn conduct(run: Run, backend: &mut dyn Backend, options: &Options) -> Result<()> {
    let Run {
        mut environment,
        counters,
        limits,
        folder,
        address_map,
    } = run;
    let design = environment.design.clone();
    let mut verdicts = Verdicts::new(&design);
    // From here on there is a folder, which a signal must not leave half-written.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|e| Error::Refused(format!("cannot catch signal {signal}: {e}")))?;
    }
    let folder = match folder {
        Folder::New(dir) => {
            let folder = RunFolder::create(dir.as_deref(), &design.run, &counters)?;
            // Not before there is a folder, which may be refused, and may be where the map goes.
            if let Some((path, rows)) = address_map
                && let Err(error) = address_map::write(&path, &rows)
            {
                folder.discard();
                return Err(error);
            }
            folder
        }
        Folder::Resumed(dir) => {
            let (mut folder, mut there) = RunFolder::open_for_resume(&dir)?;
            for warning in &there.warnings {
                eprintln!("hitm: {warning}");
            }
            let cut_short = rows_of_unfinished_block(&design, &there.samples);
            folder.forget_last(cut_short)?;
            there.samples.truncate(there.samples.len() - cut_short);
            verdicts.replay(&design, &there.samples);
            folder
        }
    };
    // Written at once, so that a run that is killed can go on.
    folder.write_environment(&environment)?;

    let mut watch = Progress { folder, bar: bar() };
    let ended = experiment::drive(
        &design,
        limits,
        backend,
        &mut verdicts,
        &mut watch,
        &interrupted,
    );
    let Progress { folder, bar } = watch;
    bar.finish_and_clear();

    // What was measured before an error is judged and kept as after Ctrl-C.
    let ending = *ended.as_ref().unwrap_or(&Ending::Interrupted);
    environment.run.interrupted = ending == Ending::Interrupted;
    remark(&mut environment.run, backend.remarks());
    let rows = verdicts.rows(&design, ending);
    folder.write_verdicts(&rows)?;
    folder.write_environment(&environment)?;
    let dir = folder.path().to_owned();
    drop(folder);
    let empty = read_samples(&dir.join("samples.csv"))?.samples.is_empty();
    if !empty {
        let record = Record::read(&[&dir])?;
        report::write(&record, &dir)?;
        let text = report::table::render(options.format, &rows, &record.arms());
        super::print(&text)?;
        if options.format == Format::Table {
            let counted = report::why::counted(&record);
            super::print(&report::table::counters(&counted))?;
        }
        warn_of_invalid(&record.samples);
        if options.format == Format::Table {
            super::print(&format!("\n{}\n", said(ending, &rows, &dir)))?;
        }
    }
    match ended? {
        Ending::Interrupted => Err(Error::Interrupted),
        _ => fail_on(options.fail_on, &rows),
    }
}

/// Put on record what the backend found out about its counters.
fn remark(run: &mut RunRecord, remarks: Remarks) {
    run.note_unmeasured(remarks.unmeasured);
    if !remarks.scaled.is_empty() {
        eprintln!(
            "hitm: counted during a part of some windows and scaled up: {}; another user of the \
             counters had them meanwhile: stop other perf sessions",
            remarks.scaled.join(", ")
        );
    }
    for role in remarks.scaled {
        if !run.scaled.contains(&role) {
            run.scaled.push(role);
        }
    }
}

/// How many rows at the end belong to a block of which some are missing: it is measured again.
fn rows_of_unfinished_block(design: &Design, samples: &[Sample]) -> usize {
    let block_of = |s: &Sample| (s.scenario.clone(), s.placement.clone(), s.threads, s.block);
    let Some(last) = samples.last().map(block_of) else {
        return 0;
    };
    let rows = samples
        .iter()
        .rev()
        .take_while(|s| block_of(s) == last)
        .count();
    if rows < design.arms.len() * design.prefetch.len() {
        rows
    } else {
        0
    }
}

struct Progress {
    folder: RunFolder,
    bar: ProgressBar,
}

/// Steps of the progress bar.
const STEPS: u64 = 1000;

/// A bar on stderr if that is a terminal, nothing otherwise.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(STEPS);
    if let Ok(style) = ProgressStyle::with_template(
        "{wide_bar} {percent:>3} % of the time, at most {eta} left; {msg}",
    ) {
        bar.set_style(style);
    }
    bar
}

impl experiment::Watch for Progress {
    fn block(&mut self, samples: &[Sample]) -> Result<()> {
        let mut samples = samples.to_vec();
        // A resumed file keeps its columns, even if more can be counted by now.
        for sample in &mut samples {
            let columns = self.folder.counters();
            sample.counters.retain(|role, _| columns.contains(role));
        }
        self.folder.append_block(&samples)
    }

    fn progress(&mut self, done: f64, decided: usize, verdicts: usize) {
        self.bar.set_position((done * STEPS as f64) as u64);
        self.bar
            .set_message(format!("{decided} of {verdicts} verdicts decided"));
    }
}

/// How it ended and where everything is.
fn said(ending: Ending, rows: &[VerdictRow], dir: &Path) -> String {
    let undecided = rows
        .iter()
        .filter(|row| row.verdict == "inconclusive")
        .count();
    let ending = match ending {
        Ending::Decided => "Every verdict is decided.".to_owned(),
        Ending::BudgetSpent if undecided == 0 => {
            "The budget is spent; every verdict is decided.".to_owned()
        }
        Ending::BudgetSpent => format!(
            "The budget is spent with {undecided} of {} verdicts undecided{}.",
            rows.len(),
            match rows[0].backend.as_str() {
                "native" => format!("; `hitm run --resume {}` goes on", dir.display()),
                _ => String::new(),
            }
        ),
        Ending::BlocksTaken => "All blocks are taken.".to_owned(),
        Ending::Interrupted => "Interrupted.".to_owned(),
    };
    format!("{ending} Report: {}", dir.join("report.html").display())
}

/// Say once what spoiled most of the samples, if much was spoiled.
fn warn_of_invalid(samples: &[Sample]) {
    let invalid: Vec<&Sample> = samples.iter().filter(|s| !s.valid).collect();
    if invalid.len() * 5 < samples.len() {
        return;
    }
    let with = |what: &str| {
        invalid
            .iter()
            .filter(|s| s.invalid_reason.contains(what))
            .count()
    };
    let causes = [
        (
            with("context switches"),
            "something else ran on these CPUs: stop it, or give --placement other CPUs",
        ),
        (
            with("stolen"),
            "the hypervisor ran something else: try again, or use bare metal",
        ),
        (
            with("probe"),
            "the CPUs of this virtual machine move between near and far cores: longer runs help",
        ),
    ];
    let cause = causes
        .iter()
        .max_by_key(|(count, _)| *count)
        .map_or("", |(_, cause)| cause);
    eprintln!(
        "hitm: {} of {} samples were disturbed and set aside; mostly, {cause}",
        invalid.len(),
        samples.len()
    );
}

fn fail_on(fail_on: Option<FailOn>, rows: &[VerdictRow]) -> Result<()> {
    let found: Vec<String> = rows
        .iter()
        .filter(|row| row.verdict == "regression" && row.layout != BASELINE_AGAIN)
        .map(|row| format!("{} ({}, {} threads)", row.layout, row.scenario, row.threads))
        .collect();
    match fail_on {
        Some(FailOn::Regression) if !found.is_empty() => Err(Error::Regression(format!(
            "regressions against {}: {}",
            rows[0].baseline,
            found.join(", ")
        ))),
        _ => Ok(()),
    }
}
