//! `environment.json`: everything that was asked of a run, of which machine, and what became of it.
//!
//! Not here: the machine itself (`machine`), and whether a design can be measured (`experiment`).

use crate::error::{Error, Result};
use crate::experiment::{BackendKind, Design, Ending, Flaw, Limits, Remarks, Unmeasured};
use crate::machine::real_time::RealTime;
use crate::machine::{Vendor, environment::command_line};
use crate::program::steps::machine_code::atomics;
use crate::units::LONGEST_SECONDS;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// `environment.json`. A part that is absent in the file is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvironmentFile {
    /// When and by what it was measured, and what became of it.
    pub run: RunRecord,
    /// What is compared with what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub design: Option<Design>,
    /// How it is measured; absent in files of version 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<RunSettings>,
    /// The machine.
    pub machine: Option<Value>,
}

/// When and by what a run was measured, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRecord {
    /// Version of `hitm` that measured.
    pub version: Option<String>,
    /// UTC date and time of the start, RFC 3339.
    pub started: Option<String>,
    /// Program and arguments.
    pub command_line: Vec<String>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// How it ended; absent while it is measured, after a crash, and in files of version 1.
    pub ended: Option<Ending>,
    /// What could not be measured.
    pub unmeasured: Vec<Unmeasured>,
    /// Counters of which some value was scaled up to the whole window, having counted a part.
    pub scaled: Vec<String>,
    /// What atomic steps of a case were made of, on machines that leave a choice: `LSE` or `LL/SC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atomics: Option<String>,
    /// What real-time scheduling did for it, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real_time: Option<RealTime>,
}

/// How a run is measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// Stop after so many seconds.
    pub budget_seconds: Option<f64>,
    /// Take exactly so many blocks.
    pub blocks: Option<u64>,
    /// Nanoseconds that a fault of the baseline takes at one thread, where local work was added for
    /// that; the simulator only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_time_ns: Option<f64>,
    /// Counter roles that were asked for, or `all` or `none` alone.
    pub counters: Vec<String>,
    /// Where the address map goes, for a run whose arms keep their places.
    pub address_map: Option<PathBuf>,
    /// More threads than CPUs are allowed.
    pub oversubscribe: bool,
    /// Threads get no real-time policy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_realtime: bool,
    /// Which registers are switched, where some are.
    pub registers: Option<RegisterSettings>,
}

/// Which prefetcher registers are meant: by a run, and by every command that switches some.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct RegisterSettings {
    /// CPUs, as in 0-3,8 [default: all; those of the run]
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<String>,
    /// A folder shaped like /dev/cpu, used instead of this machine's registers
    #[arg(long, value_name = "DIR")]
    pub msr_root: Option<PathBuf>,
    /// Vendor of the CPUs in that folder
    #[arg(long, value_enum, requires = "msr_root")]
    pub vendor: Option<Vendor>,
    /// CPUID family and model of those CPUs, as in 6:0x4f [default: a current server]
    #[arg(long, value_name = "FAMILY:MODEL", requires = "vendor")]
    pub model: Option<String>,
    /// Use registers that the vendor does not document, too
    #[arg(long)]
    pub unsafe_msr: bool,
}

impl RunSettings {
    /// When to stop.
    pub fn limits(&self) -> Limits {
        Limits {
            budget: self.budget_seconds.map(Duration::from_secs_f64),
            blocks: self.blocks,
        }
    }

    /// Whether a run can stop by them.
    pub fn check(&self) -> std::result::Result<(), Flaw> {
        if let Some(seconds) = self.budget_seconds
            && !(seconds > 0.0 && seconds <= LONGEST_SECONDS)
        {
            let why = "a budget must be above 0 and at most 100 days";
            return Err(Flaw::of("budget_seconds", why));
        }
        let unusable = |path: &&Path| {
            path.file_name().is_none() || path.to_string_lossy().contains(char::is_control)
        };
        if self.address_map.as_deref().filter(unusable).is_some() {
            return Err(Flaw::of(
                "address_map",
                "the address map needs the name of a file",
            ));
        }
        match self.blocks {
            Some(0) => Err(Flaw::of("blocks", "give at least 1 block")),
            _ => Ok(()),
        }
    }
}

impl RunRecord {
    /// That of a run that this process begins now.
    pub fn begin() -> RunRecord {
        RunRecord {
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            started: Some(humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
            command_line: command_line(),
            ..RunRecord::default()
        }
    }

    /// Note figures that could not be measured; a resumed run may have noted them before.
    pub fn note_unmeasured(&mut self, figures: impl IntoIterator<Item = Unmeasured>) {
        for figure in figures {
            if !self.unmeasured.contains(&figure) {
                self.unmeasured.push(figure);
            }
        }
    }

    /// Note how it ended, and what the backend says of its counters.
    pub fn end(&mut self, ending: Ending, remarks: Remarks) {
        self.ended = Some(ending);
        self.interrupted = ending == Ending::Interrupted;
        self.note_unmeasured(remarks.unmeasured);
        for role in remarks.scaled {
            if !self.scaled.contains(&role) {
                self.scaled.push(role);
            }
        }
    }
}

impl EnvironmentFile {
    /// That of a run of `design` that begins now.
    pub fn begin(design: Design, settings: RunSettings, machine: Value) -> EnvironmentFile {
        let made = design.backend == BackendKind::Native && design.case.is_some();
        EnvironmentFile {
            run: RunRecord {
                atomics: atomics().filter(|_| made).map(str::to_owned),
                ..RunRecord::begin()
            },
            design: Some(design),
            settings: Some(settings),
            machine: Some(machine),
        }
    }

    /// Read the file; an error names it, and the key that is wrong.
    pub fn read(path: &Path) -> Result<EnvironmentFile> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::Input(format!("cannot read {}: {e}", path.display())))?;
        let mut json = serde_json::Deserializer::from_str(&text);
        let wrong = |key: String, why: String| {
            let why = why.replace(|c: char| c.is_control(), " ");
            Error::Input(format!("{}, {key}: {why}", path.display()))
        };
        let read = serde_path_to_error::deserialize(&mut json)
            .map_err(|e| wrong(e.path().to_string(), e.inner().to_string()))?;
        json.end()
            .map_err(|e| wrong("at the end".to_owned(), e.to_string()))?;
        Ok(read)
    }

    /// What a native run goes on with: design and settings of the file at `path`, which this is,
    /// validated as the command line is.
    pub fn resumable(&self, path: &Path) -> Result<(Design, RunSettings)> {
        let wrong =
            |key: &str, why: &str| Error::Input(format!("{}, {key}: {why}", path.display()));
        let Some(design) = self.design.clone() else {
            return Err(wrong("design", "is missing, so this run cannot go on"));
        };
        let Some(settings) = self.settings.clone() else {
            let why = "is missing, as in runs of earlier versions of hitm; begin a new run";
            return Err(wrong("settings", why));
        };
        if design.backend != BackendKind::Native {
            let why = format!("a {} run cannot go on; begin a new one", design.backend);
            return Err(wrong("design.backend", &why));
        }
        design
            .check()
            .map_err(|flaw| wrong(&format!("design.{}", flaw.key), &flaw.why))?;
        settings
            .check()
            .map_err(|flaw| wrong(&format!("settings.{}", flaw.key), &flaw.why))?;
        Ok((design, settings))
    }
}
