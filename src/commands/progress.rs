//! A run while it is measured: its rows go to the folder and to the judge, its progress to stderr.

use crate::error::{Error, Result, say};
use crate::experiment::{Code, Design, Point, Sample, Watch};
use crate::judge::Judge;
use crate::results::RunFolder;
use crate::units;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

/// Without a terminal, how far a run is gets said once in so long.
const EVERY: Duration = Duration::from_secs(5);
/// Before so long nothing is said of samples that were set aside.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes the rows of a run.
pub struct Progress {
    folder: RunFolder,
    judge: Judge,
    comparisons: usize,
    bar: ProgressBar,
    shown: Shown,
    begun: Instant,
    /// When a line was due last.
    due: Instant,
    so_far: SoFar,
    /// Whether it was said that most samples are set aside.
    is_advised: bool,
    /// Whether threads have a real-time policy by now; none, once that was said.
    real_time: Option<Arc<AtomicBool>>,
    /// Why they cannot have one, where that was wanted.
    no_real_time: Option<String>,
}

/// How a run's progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// A bar, on a terminal.
    Bar,
    /// A line every few seconds.
    Lines,
    /// Not at all.
    Not,
}

/// What came in since the run, or this part of it, began.
#[derive(Default)]
struct SoFar {
    blocks: u64,
    samples: u64,
    set_aside: u64,
    by_code: BTreeMap<Code, u64>,
}

impl SoFar {
    fn take_in(&mut self, samples: &[Sample]) {
        self.blocks += 1;
        self.samples += samples.len() as u64;
        for sample in samples.iter().filter(|sample| !sample.valid) {
            self.set_aside += 1;
            for code in &sample.invalid_code {
                *self.by_code.entry(*code).or_default() += 1;
            }
        }
    }

    /// Share of the samples that were set aside, in words.
    fn lost(&self) -> String {
        let share = self.set_aside as f64 / self.samples.max(1) as f64;
        format!("{:.0} % of samples set aside", 100.0 * share)
    }

    /// What spoils most samples, if more than half of them are spoiled.
    fn trouble(&self) -> Option<Code> {
        let most = self.by_code.iter().max_by_key(|(_, count)| **count);
        most.filter(|_| self.set_aside * 2 > self.samples)
            .map(|(code, _)| *code)
    }
}

/// What to do where most samples are spoiled by this; `no_real_time` says why threads cannot have
/// a real-time policy.
fn advice(trouble: Code, no_real_time: Option<&str>) -> String {
    let advice = trouble.advice();
    match (trouble, no_real_time) {
        (Code::Switched, Some(why)) => format!(
            "{advice}; or give hitm real-time priority, with `sudo chrt -f 10 hitm run …` or after \
             raising `ulimit -r` (it cannot take it by itself: {why})"
        ),
        _ => advice.to_owned(),
    }
}

impl Progress {
    /// Of a run of `design`, of which `there` is measured already; `quiet`: nothing is shown.
    pub fn new(design: &Design, folder: RunFolder, there: &[Sample], quiet: bool) -> Progress {
        let baseline = design.arms[0].clone();
        let mut judge = Judge::new(baseline, design.margin, design.first_slot.is_some());
        for block in there.chunks(design.samples_per_block()) {
            judge.push_block(block);
        }
        let shown = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Not,
            (false, true) => Shown::Bar,
            (false, false) => Shown::Lines,
        };
        let bar = match shown {
            Shown::Bar => ProgressBar::new(STEPS),
            Shown::Lines | Shown::Not => ProgressBar::hidden(),
        };
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
            shown,
            begun: Instant::now(),
            due: Instant::now(),
            so_far: SoFar::default(),
            is_advised: false,
            real_time: None,
            no_real_time: None,
        }
    }

    /// Say it when `in_samples` is set, which means that threads have a real-time policy in samples;
    /// `denied` is why they cannot, where that would help.
    pub fn watch_real_time(&mut self, in_samples: Arc<AtomicBool>, denied: Option<String>) {
        (self.real_time, self.no_real_time) = (Some(in_samples), denied);
    }

    /// The folder, when nothing more comes.
    pub fn finish(self) -> RunFolder {
        self.bar.finish_and_clear();
        self.folder
    }

    /// Say it beside the bar, unless nothing is to be said.
    fn note(&self, message: impl Display) {
        if self.shown != Shown::Not {
            self.bar.suspend(|| say(message));
        }
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
        self.so_far.take_in(&samples);
        Ok(())
    }

    fn is_decided(&self, point: &Point) -> bool {
        self.judge.is_decided(point)
    }

    fn progress(&mut self, done: f64) {
        let in_samples = |flag: &mut Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        if self.real_time.take_if(in_samples).is_some() {
            self.note(
                "something else runs on these CPUs: from now on threads have real-time priority \
                 (SCHED_FIFO) for the few milliseconds of each sample; --no-realtime refuses that",
            );
        }
        if !self.is_advised
            && self.begun.elapsed() >= PATIENCE
            && let Some(trouble) = self.so_far.trouble()
        {
            self.is_advised = true;
            self.note(format_args!(
                "so far {}; mostly, {}",
                self.so_far.lost(),
                advice(trouble, self.no_real_time.as_deref())
            ));
        }
        let verdicts = format!(
            "{} of {} verdicts decided",
            self.judge.decided(),
            self.comparisons
        );
        let lost = self.so_far.lost();
        if self.shown == Shown::Lines && self.due.elapsed() >= EVERY {
            self.due = Instant::now();
            self.note(format_args!(
                "{:.0} % done: {}, {verdicts}, {lost}",
                100.0 * done,
                units::count(self.so_far.blocks as usize, "block")
            ));
        }
        self.bar.set_position((done * STEPS as f64) as u64);
        self.bar.set_message(format!("{verdicts}, {lost}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Invalid;

    fn sample(invalid: &[Invalid]) -> Sample {
        let point = Point {
            scenario: "one-vma".parse().unwrap(),
            placement: "compact".parse().unwrap(),
            threads: 2,
        };
        let mut sample = Sample::new("a".parse().unwrap(), point);
        invalid.iter().for_each(|why| sample.invalidate(why));
        sample
    }

    #[test]
    fn more_than_half_set_aside_is_trouble_of_the_commonest_kind() {
        let (stolen, switched) = (Invalid::Stolen(1), Invalid::Switched(3));
        let mut so_far = SoFar::default();
        so_far.take_in(&[sample(&[stolen.clone()]), sample(&[])]);
        assert_eq!(
            (so_far.lost().as_str(), so_far.trouble()),
            ("50 % of samples set aside", None)
        );
        so_far.take_in(&[
            sample(&[switched.clone()]),
            sample(&[stolen, switched.clone()]),
        ]);
        so_far.take_in(&[sample(&[switched])]);
        assert_eq!(so_far.trouble(), Some(Code::Switched));
        assert_eq!(so_far.blocks, 3);
    }

    #[test]
    fn where_real_time_priority_would_help_the_command_is_named() {
        let said = advice(Code::Switched, Some("SCHED_FIFO: Operation not permitted"));
        assert!(said.contains("sudo chrt -f 10 hitm run"), "{said}");
        assert!(!advice(Code::Switched, None).contains("chrt"));
        assert!(!advice(Code::Stolen, Some("no")).contains("chrt"));
    }
}
