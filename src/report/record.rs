//! What a report is drawn from: the rows of one or several runs, and what lies beside them.

use super::arms::{self, ArmTime};
use crate::error::{Error, Result};
use crate::experiment::{Design, Sample};
use crate::judge::VerdictRow;
use crate::results::{
    EnvironmentFile, RunRecord, folder_of, read_roles, read_rows, read_verdicts, samples_path,
};
use serde_json::Value;
use std::path::Path;

/// Rows and what lies beside them.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// All samples, run after run.
    pub samples: Vec<Sample>,
    /// All samples of single roles.
    pub roles: Vec<Sample>,
    /// All verdicts.
    pub verdicts: Vec<VerdictRow>,
    /// Whether there was a `verdicts.csv`, if only an empty one.
    pub verdicts_found: bool,
    /// The counter columns of the samples.
    pub counters: Vec<String>,
    /// What was asked, where exactly one run says so.
    pub run: RunRecord,
    /// What was compared, where exactly one run says so.
    pub design: Option<Design>,
    /// The machine, as the run that says so recorded it.
    pub machine: Option<Value>,
    /// What is not there, or was passed over, one sentence each.
    pub warnings: Vec<String>,
}

impl Record {
    /// Read `samples.csv` files or run folders; `verdicts.csv` and `environment.json` are taken
    /// from beside them, where present. No sample at all is [`Error::Input`].
    pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Record> {
        let rows = read_rows(paths)?;
        let mut record = Record {
            samples: rows.samples,
            counters: rows.counters,
            warnings: rows.warnings,
            ..Record::default()
        };
        let mut environments = Vec::new();
        for path in paths {
            let samples = samples_path(path.as_ref());
            let verdicts = samples.with_file_name("verdicts.csv");
            if verdicts.exists() {
                for row in read_verdicts(&verdicts)? {
                    if !record.verdicts.contains(&row) {
                        record.verdicts.push(row);
                    }
                }
                record.verdicts_found = true;
            } else {
                record.warnings.push(format!(
                    "no verdicts: there is no verdicts.csv beside {}",
                    samples.display()
                ));
            }
            let folder = folder_of(&samples);
            let roles = read_roles(folder, &record.samples)?;
            record.roles.extend(roles.into_values().flatten());
            let environment = samples.with_file_name("environment.json");
            if environment.exists() {
                let environment = EnvironmentFile::read(&environment)?;
                if !environments.contains(&environment) {
                    environments.push(environment);
                }
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
            record.design = environment.design;
            record.machine = environment.machine;
        } else if several {
            record.warnings.push(
                "several runs: their machines and command lines are in their own folders"
                    .to_owned(),
            );
        }
        Ok(record)
    }

    /// The margin of equivalence that it was judged by.
    pub fn margin(&self) -> Option<f64> {
        self.design.as_ref().map(|design| design.margin)
    }

    /// The time per fault of every arm.
    pub fn arms(&self) -> Vec<ArmTime> {
        let mut arms = arms::arms(&self.samples, &self.verdicts);
        arms.extend(arms::arms(&self.roles, &self.verdicts));
        arms
    }
}
