//! What a report is drawn from: the rows of one or several runs, and what lies beside them.

use super::arms::{self, ArmTime};
use crate::error::{Error, Result};
use crate::experiment::Sample;
use crate::judge::VerdictRow;
use crate::results::{EnvironmentFile, RunRecord, read_samples, read_verdicts, samples_path};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;

/// Rows and what lies beside them.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// All samples, run after run.
    pub samples: Vec<Sample>,
    /// All verdicts.
    pub verdicts: Vec<VerdictRow>,
    /// Whether there was a `verdicts.csv`, if only an empty one.
    pub verdicts_found: bool,
    /// The counter columns of the samples.
    pub counters: Vec<String>,
    /// What was asked, where exactly one run says so.
    pub run: RunRecord,
    /// The machine, as the run that says so recorded it.
    pub machine: Option<Value>,
    /// What is not there, or was passed over, one sentence each.
    pub warnings: Vec<String>,
}

impl Record {
    /// Read `samples.csv` files or run folders; `verdicts.csv` and `environment.json` are taken
    /// from beside them, where present. No sample at all is [`Error::Input`].
    pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Record> {
        let mut record = Record::default();
        let mut environments = Vec::new();
        for path in paths {
            let samples = samples_path(path.as_ref());
            let mut read = read_samples(&samples)?;
            let known: HashSet<String> = record.samples.iter().map(|s| s.run.clone()).collect();
            if let Some(again) = read.samples.iter().find(|s| known.contains(&s.run)) {
                let run = &again.run;
                record
                    .warnings
                    .push(format!("run {run} is given twice and counts once"));
                continue;
            }
            record.samples.append(&mut read.samples);
            record.warnings.append(&mut read.warnings);
            for role in read.counters {
                if !record.counters.contains(&role) {
                    record.counters.push(role);
                }
            }
            let verdicts = samples.with_file_name("verdicts.csv");
            if verdicts.exists() {
                record.verdicts.append(&mut read_verdicts(&verdicts)?);
                record.verdicts_found = true;
            } else {
                record.warnings.push(format!(
                    "no verdicts: there is no verdicts.csv beside {}",
                    samples.display()
                ));
            }
            let environment = samples.with_file_name("environment.json");
            if environment.exists() {
                environments.push(EnvironmentFile::read(&environment)?);
            } else {
                record.warnings.push(format!(
                    "machine and command line are not recorded: there is no environment.json \
                     beside {}",
                    samples.display()
                ));
            }
        }
        if record.samples.is_empty() {
            let first = paths
                .first()
                .map(|path| samples_path(path.as_ref()))
                .unwrap_or_default();
            return Err(Error::Input(format!(
                "{} holds no samples; a run has to finish a block first",
                first.display()
            )));
        }
        let several = environments.len() > 1;
        if let (Some(environment), false) = (environments.pop(), several) {
            record.run = environment.run;
            record.machine = environment.machine;
        } else if several {
            record.warnings.push(
                "several runs: their machines and command lines are in their own folders"
                    .to_owned(),
            );
        }
        Ok(record)
    }

    /// The time per fault of every arm.
    pub fn arms(&self) -> Vec<ArmTime> {
        arms::arms(&self.samples, &self.verdicts)
    }
}
