//! `hitm selftest`: whether this machine and this build give the answers that are known.
//!
//! Here: the checks by name, what is printed of them, and those without a clock. Not here: those
//! that measure (`selftest_timed`), and how a check is made (`selftest_tried`).

use super::options::Format;
use super::progress::interrupted;
use super::selftest_timed as timed;
use super::selftest_tried::{Finding, Tried, design};
use crate::backend::faults::FaultArms;
use crate::backend::sim::Sim;
use crate::counters::preflight::{self, Status};
use crate::counters::{self, Pmu, Scope};
use crate::error::{Error, Result};
use crate::experiment::{BackendKind, Limits, Sample};
use crate::machine::Vendor;
use crate::prefetch::{Control, Cpus, Place, Restored, Selected, Switch, Which, restore};
use crate::report::columns::Columns;
use crate::sim::Machine;
use crate::study::conduct::conduct_unless;
use crate::text::words;
use serde::Serialize;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

/// Arguments of `hitm selftest`.
#[derive(clap::Args)]
pub struct Args {
    /// The checks to run [default: all, within two minutes]: same, placebo, five-percent,
    /// one-percent, two-words, determinism, counters, journal
    #[arg(value_name = "CHECK")]
    checks: Vec<SelfCheck>,
    /// How the findings are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

words! {
    /// A question to this machine and build whose answer is known.
    pub enum SelfCheck as "check" {
        /// The baseline against itself is no difference.
        Same = "same",
        /// Nor is it against the same accesses in other machine code.
        Placebo = "placebo",
        /// A regression of 5 % is found.
        FivePercent = "five-percent",
        /// And one of 1 %.
        OnePercent = "one-percent",
        /// Two words on one line cost two threads more than on two.
        TwoWords = "two-words",
        /// The simulator says the same twice.
        Determinism = "determinism",
        /// Hardware counters count what must happen.
        Counters = "counters",
        /// Registers that are switched are put back, on a folder of files.
        Journal = "journal",
    }
}

/// A check as a row.
#[derive(Serialize)]
struct CheckRow {
    check: SelfCheck,
    finding: Finding,
    figure: String,
    reason: String,
    seconds: f64,
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let stop = interrupted()?;
    let mut rows: Vec<CheckRow> = Vec::new();
    for &check in SelfCheck::ALL {
        if !args.checks.is_empty() && !args.checks.contains(&check) {
            continue;
        }
        let start = Instant::now();
        let tried = match tried(check, &stop) {
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            // What a machine does not allow says nothing about it.
            Err(Error::Refused(why)) => Tried::skip("", why),
            Err(error) => Tried::fail("", error.to_string()),
            Ok(tried) => tried,
        };
        rows.push(CheckRow {
            check,
            finding: tried.finding,
            figure: tried.figure,
            reason: tried.reason,
            seconds: start.elapsed().as_secs_f64(),
        });
    }
    super::print(&super::rows(args.format, &rows, table))?;
    let failed = rows.iter().filter(|row| row.finding == Finding::Fail);
    let failed: Vec<&str> = failed.map(|row| row.check.name()).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::Found(format!(
            "what is known was not found: {}; do not trust this build on this machine before it is \
             known why",
            failed.join(", ")
        ))),
    }
}

fn tried(check: SelfCheck, stop: &AtomicBool) -> Result<Tried> {
    match check {
        SelfCheck::Same => timed::same(stop),
        SelfCheck::Placebo => timed::placebo(stop),
        SelfCheck::FivePercent => timed::five_percent(stop),
        SelfCheck::OnePercent => timed::one_percent(stop),
        SelfCheck::TwoWords => timed::two_words(stop),
        SelfCheck::Determinism => determinism(stop),
        SelfCheck::Counters => counters_count(),
        SelfCheck::Journal => journal(),
    }
}

fn table(rows: &[CheckRow]) -> String {
    let mut table = Columns::new("<<><");
    for row in rows {
        let figure = match row.figure.is_empty() || row.reason.is_empty() {
            true => format!("{}{}", row.figure, row.reason),
            false => format!("{}: {}", row.figure, row.reason),
        };
        table.row([
            row.finding.to_string(),
            row.check.to_string(),
            format!("{:.1} s", row.seconds),
            figure,
        ]);
    }
    table.to_string()
}

/// The simulator, twice from one seed.
fn determinism(stop: &AtomicBool) -> Result<Tried> {
    let arms = ["split-packed", "baseline-again", "embedded-refcount-192"];
    let design = design(BackendKind::Sim, &arms, 4)?;
    let limits = Limits {
        budget: None,
        blocks: Some(2),
    };
    let once = || -> Result<Vec<Sample>> {
        let machine = Machine::load("broadwell-ep")?;
        let mut sim = Sim::new(machine, FaultArms::of(&design)?, &design)?;
        let mut samples = conduct_unless(stop, &design, limits, &mut sim)?.samples;
        for sample in &mut samples {
            // Of this computer, not of the model.
            sample.wall_seconds = None;
        }
        Ok(samples)
    };
    let (first, second) = (once()?, once()?);
    let figure = format!("{} rows, twice", first.len());
    Ok(match first == second {
        true => Tried::pass(figure, "the same"),
        false => Tried::fail(figure, "rows of one seed differ"),
    })
}

/// Hardware counters on a load that must raise them.
fn counters_count() -> Result<Tried> {
    let pmu = Pmu::here();
    if pmu.number.is_none() {
        return Ok(Tried::skip(
            "",
            "no PMU here: hardware events cannot be counted",
        ));
    }
    let checked = preflight::check(&pmu, Scope::User)?;
    let of = |status: Status| -> Vec<&str> {
        let is_it = |one: &&preflight::Checked| {
            let hardware = counters::role(one.role).is_ok_and(|role| !role.is_software());
            one.status == status && hardware
        };
        checked.iter().filter(is_it).map(|one| one.role).collect()
    };
    let (works, dead) = (of(Status::Works), of(Status::Dead));
    let figure = format!("{} count, {} stay at 0", works.len(), dead.len());
    Ok(match (works.is_empty(), dead.is_empty()) {
        (false, true) => Tried::pass(figure, ""),
        // What is dead is left out of runs and named as unmeasured.
        (false, false) => Tried::pass(figure, format!("left out of runs: {}", dead.join(", "))),
        (true, false) => Tried::fail(figure, "no counter rises on a load that must raise it"),
        (true, true) => Tried::skip(figure, "no hardware counter can be tried here"),
    })
}

/// The register that switches the prefetchers of Intel cores.
const CONTROL: u64 = 0x1a4;
/// CPUs of the folder that stands for registers.
const CPUS: u64 = 4;

/// Prefetchers off and back, on files.
fn journal() -> Result<Tried> {
    let folder = TempFolder::new()?;
    let root = folder.0.join("cpu");
    let failed = |what: &str, error: std::io::Error| {
        Error::Refused(format!("cannot {what} in {}: {error}", root.display()))
    };
    let file = |cpu: u64| root.join(cpu.to_string()).join("msr");
    for cpu in 0..CPUS {
        fs::create_dir_all(root.join(cpu.to_string())).map_err(|e| failed("make a folder", e))?;
        // Each CPU has other bits set, of the prefetchers and beside them.
        let value = (0x5a00_0000_0000_0020 | cpu << 40 | ((cpu * 5) & 0xf)).to_le_bytes();
        File::create(file(cpu))
            .and_then(|file| file.write_all_at(&value, CONTROL))
            .map_err(|e| failed("write a register", e))?;
    }
    let bytes = || -> Result<Vec<Vec<u8>>> {
        let read = |cpu| fs::read(file(cpu)).map_err(|e| failed("read a register", e));
        (0..CPUS).map(read).collect()
    };
    let before = bytes()?;
    let place = Place::folder(&root)?;
    let control = Control::open(&Selected {
        place: place.clone(),
        described: Some(Cpus::described(Vendor::Intel, None)),
        cpus: None,
        unsafe_msr: false,
    })?;
    let applied = control.apply(Which::All, Switch::Off)?;
    let all_off = control.status()?.iter().all(|s| s.state() == Switch::Off);
    let noted = place.journal().exists();
    let during = bytes()?;
    let restored = restore(&place)?;
    let figure = format!("{} registers switched", applied.written);
    let wrong = [
        (!all_off || during == before, "off did not switch them off"),
        (!noted, "there was no journal while they were off"),
        (
            !matches!(restored, Restored::PutBack(_)),
            "restore found nothing to put back",
        ),
        (bytes()? != before, "restore did not give every byte back"),
        (place.journal().exists(), "the journal is still there"),
    ];
    let wrong: Vec<&str> = wrong.into_iter().filter(|w| w.0).map(|w| w.1).collect();
    Ok(match wrong.is_empty() {
        true => Tried::pass(figure, "every byte is back, and the journal is gone"),
        false => Tried::fail(figure, wrong.join("; ")),
    })
}

/// A folder of this process alone, gone when dropped.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new() -> Result<TempFolder> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = since.map_or(0, |time| time.subsec_nanos());
        let name = format!("hitm-selftest-{}-{nanos}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A folder that is there already is somebody else's, and refused.
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            Error::Refused(format!(
                "cannot make {}: {error}; name a writable folder in TMPDIR",
                path.display()
            ))
        })?;
        Ok(TempFolder(path))
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
