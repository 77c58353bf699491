//! A run while it is measured: its rows go to the folder and to the judge, its progress to stderr.

use crate::error::{Error, Result};
use crate::experiment::{Design, Point, Sample, Watch};
use crate::judge::Judge;
use crate::results::RunFolder;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Steps of the progress bar.
const STEPS: u64 = 1000;

/// A flag that Ctrl-C and the signals that end a process set from now on, instead of ending it: a
/// folder is not to be left half-written.
pub fn interrupted() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|e| Error::Refused(format!("cannot catch signal {signal}: {e}")))?;
    }
    Ok(interrupted)
}

/// Takes the rows of a run.
pub struct Progress {
    folder: RunFolder,
    judge: Judge,
    comparisons: usize,
    bar: ProgressBar,
}

impl Progress {
    /// Of a run of `design`, of which `there` is measured already.
    pub fn new(design: &Design, folder: RunFolder, there: &[Sample]) -> Progress {
        let baseline = design.arms[0].clone();
        let mut judge = Judge::new(baseline, design.margin, design.first_slot.is_some());
        for block in there.chunks(design.samples_per_block()) {
            judge.push_block(block);
        }
        let bar = ProgressBar::new(STEPS);
        // On stderr if that is a terminal, nothing otherwise.
        if let Ok(style) = ProgressStyle::with_template(
            "{wide_bar} {percent:>3} % of the time, at most {eta} left; {msg}",
        ) {
            bar.set_style(style);
        }
        Progress {
            folder,
            judge,
            comparisons: design.comparisons(),
            bar,
        }
    }

    /// The folder, when nothing more comes.
    pub fn finish(self) -> RunFolder {
        self.bar.finish_and_clear();
        self.folder
    }
}

impl Watch for Progress {
    fn block(&mut self, mut samples: Vec<Sample>, roles: Vec<Sample>) -> Result<()> {
        // A resumed file keeps its columns, even if more can be counted by now.
        for sample in &mut samples {
            let columns = self.folder.counters();
            sample.counters.retain(|role, _| columns.contains(role));
        }
        self.folder.append_roles(&roles)?;
        self.folder.append_block(&samples)?;
        self.judge.push_block(&samples);
        Ok(())
    }

    fn is_decided(&self, point: &Point) -> bool {
        self.judge.is_decided(point)
    }

    fn progress(&mut self, done: f64) {
        let (decided, all) = (self.judge.decided(), self.comparisons);
        self.bar.set_position((done * STEPS as f64) as u64);
        self.bar
            .set_message(format!("{decided} of {all} verdicts decided"));
    }
}
