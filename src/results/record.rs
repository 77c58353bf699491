//! What a run was asked and what became of it: the `run` part of `environment.json`.
//!
//! Here: what reports and resumed runs need beside the rows. Not here: the machine it ran on
//! (`machine`), which is the other part of that file.

use serde::{Deserialize, Serialize};

/// The `run` part of `environment.json`. A part that is absent in the file is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRecord {
    /// Identifier of the run, as in its rows.
    pub run: Option<String>,
    /// Version of `hitm` that measured.
    pub version: Option<String>,
    /// UTC date and time of the start, RFC 3339.
    pub started: Option<String>,
    /// Program and arguments.
    pub command_line: Vec<String>,
    /// Seed of the randomised order.
    pub seed: Option<u64>,
    /// Equivalence margin as a fraction: 0.02 takes ratios from 1/1.02 to 1.02 as equal.
    pub margin: Option<f64>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// What could not be measured.
    pub unmeasured: Vec<Unmeasured>,
    /// Counters of which some value was scaled up to the whole window, having counted a part.
    pub scaled: Vec<String>,
}

impl RunRecord {
    /// Note figures that could not be measured; a resumed run may have noted them before.
    pub fn note_unmeasured(&mut self, figures: Vec<Unmeasured>) {
        for figure in figures {
            if !self.unmeasured.contains(&figure) {
                self.unmeasured.push(figure);
            }
        }
    }
}

/// A figure that is absent, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unmeasured {
    /// The figure: a counter role, a probe, a part of the environment.
    pub what: String,
    /// Why, and what would help.
    pub why: String,
}
