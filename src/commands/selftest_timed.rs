//! The checks of `hitm selftest` that measure: differences of known size on this machine.
//!
//! Here: what is measured for how long, and what its verdict says of the machine. A machine that is
//! too busy to tell is no failure.

use super::run::seed_of_the_clock;
use super::selftest_tried::{Finding, Tried, design};
use crate::backend::faults::FaultArms;
use crate::backend::native::pool::Timing;
use crate::backend::native::two_words::TwoWords;
use crate::backend::native::{Build, Native};
use crate::error::Result;
use crate::experiment::{Arm, BackendKind, Design, Limits, Sample};
use crate::judge::{self, VerdictRow};
use crate::machine::{Placement, Topology, real_time};
use crate::space::LINE;
use crate::stats::Verdict;
use crate::study::conduct::conduct_unless;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// With fewer usable blocks nothing is concluded.
const FEWEST_BLOCKS: u64 = 10;
/// The layout that is measured.
const BASELINE: &str = "split-packed";

/// The baseline against itself.
pub fn same(stop: &AtomicBool) -> Result<Tried> {
    let design = design(BackendKind::Native, &[BASELINE, Arm::AGAIN], 1)?;
    Ok(faults(design, 15, stop)?.is_no_difference())
}

/// The baseline against the same accesses in other machine code.
pub fn placebo(stop: &AtomicBool) -> Result<Tried> {
    // Its loop is written otherwise, which costs something before it is optimised.
    if cfg!(debug_assertions) {
        return Ok(Tried::skip(
            "",
            "this build is not optimised; build with --release",
        ));
    }
    let design = design(BackendKind::Native, &[BASELINE, Arm::RECOMPILED], 1)?;
    Ok(faults(design, 15, stop)?.is_no_difference())
}

/// A regression of 5 %.
pub fn five_percent(stop: &AtomicBool) -> Result<Tried> {
    let arms = [BASELINE, "split-packed+5%"];
    let design = design(BackendKind::Native, &arms, 1)?;
    Ok(faults(design, 15, stop)?.is_slower_by(0.05))
}

/// A regression of 1 %, where half a per cent is still a difference.
pub fn one_percent(stop: &AtomicBool) -> Result<Tried> {
    let arms = [BASELINE, "split-packed+1%"];
    let design = Design {
        margin: 0.005,
        ..design(BackendKind::Native, &arms, 1)?
    };
    Ok(faults(design, 30, stop)?.is_slower_by(0.01))
}

/// Two threads on two words of one line, against two lines.
pub fn two_words(stop: &AtomicBool) -> Result<Tried> {
    if Placement::Compact.order(&Topology::here()?)?.len() < 2 {
        return Ok(Tried::skip("", "one CPU: two threads cannot run at once"));
    }
    let design = design(BackendKind::Native, &["two-lines", "one-line"], 2)?;
    let words = TwoWords::apart(&[LINE, 8]);
    Ok(measured(words, design, 10, stop)?.shares_a_line())
}

fn faults(design: Design, seconds: u64, stop: &AtomicBool) -> Result<Answers> {
    measured(FaultArms::of(&design)?, design, seconds, stop)
}

/// Measure until it is decided, or for so many seconds.
fn measured(build: impl Build, design: Design, seconds: u64, stop: &AtomicBool) -> Result<Answers> {
    let design = Design {
        seed: seed_of_the_clock(),
        ..design
    };
    let threads = design.points[0].threads;
    let plan = Placement::Compact.plan(&Topology::here()?, threads, false)?;
    let mut native = Native::new(build, vec![plan.cpus], Timing::default())?;
    // On a busy machine, as `hitm run` does.
    native.may_use_real_time(&real_time::permission());
    let limits = Limits {
        budget: Some(Duration::from_secs(seconds)),
        blocks: None,
    };
    let made = conduct_unless(stop, &design, limits, &mut native)?;
    let rows: Vec<&VerdictRow> = judge::shown(&made.verdicts).collect();
    let depends = rows.iter().any(|row| row.verdict == Verdict::Depends);
    let answers = rows.iter().filter(|row| row.verdict != Verdict::Depends);
    let mut answers: Vec<Answer> = answers
        .map(|row| Answer::new(Some(row), &made.samples))
        .collect();
    if answers.is_empty() {
        answers.push(Answer::new(None, &made.samples));
    }
    Ok(Answers { depends, answers })
}

/// What is known of a comparison: one answer, or one for each state of the machine that it depends
/// on.
#[derive(Clone, Debug)]
struct Answers {
    depends: bool,
    answers: Vec<Answer>,
}

impl Answers {
    /// Equivalent or undecided passes.
    fn is_no_difference(&self) -> Tried {
        match self.depends {
            true => Tried::fail(
                self.figures(),
                "depends on the state of the machine, where there is no difference",
            ),
            false => self.each(Answer::is_no_difference),
        }
    }

    /// A regression of about that size passes.
    fn is_slower_by(&self, injected: f64) -> Tried {
        self.each(|answer| answer.is_slower_by(injected))
    }

    /// Slower passes, in whatever states of the machine by different amounts.
    fn shares_a_line(&self) -> Tried {
        self.each(Answer::shares_a_line)
    }

    /// The worst of what is found of each: a failure, else what was skipped.
    fn each(&self, tried: impl Fn(&Answer) -> Tried) -> Tried {
        let tried: Vec<Tried> = self.answers.iter().map(tried).collect();
        let worst = [Finding::Fail, Finding::Skip, Finding::Pass];
        let mut found = worst
            .iter()
            .filter_map(|finding| tried.iter().find(|one| one.finding == *finding));
        match found.next() {
            Some(one) => Tried {
                figure: self.figures(),
                ..one.clone()
            },
            None => Tried::skip("", "nothing was measured"),
        }
    }

    fn figures(&self) -> String {
        let figures: Vec<String> = self.answers.iter().map(Answer::figure).collect();
        figures.join("; ")
    }
}

/// One answer.
#[derive(Clone, Debug)]
struct Answer {
    verdict: Verdict,
    /// Ratio of times, and its interval, where there is one.
    ratio: Option<[f64; 3]>,
    blocks: u64,
    samples: usize,
    invalid: usize,
    /// Why, in one case.
    such_as: String,
}

impl Answer {
    fn new(row: Option<&VerdictRow>, samples: &[Sample]) -> Answer {
        let invalid = || samples.iter().filter(|sample| !sample.valid);
        let ratio = row.and_then(|row| Some([row.ratio?, row.ratio_low?, row.ratio_high?]));
        let such_as = invalid().next_back().map(|s| s.invalid_reason.clone());
        Answer {
            verdict: row.map_or(Verdict::Inconclusive, |row| row.verdict),
            ratio,
            blocks: row.map_or(0, |row| row.blocks),
            samples: samples.len(),
            invalid: invalid().count(),
            such_as: such_as.unwrap_or_default(),
        }
    }

    fn figure(&self) -> String {
        let blocks = format!("{} blocks", self.blocks);
        match self.ratio {
            Some([ratio, low, high]) => {
                format!("ratio {ratio:.4} [{low:.4} to {high:.4}], {blocks}")
            }
            None => blocks,
        }
    }

    /// Why nothing can be concluded, if so; otherwise the ratio.
    fn usable(&self) -> std::result::Result<[f64; 3], Tried> {
        match self.ratio {
            Some(ratio) if self.blocks >= FEWEST_BLOCKS => Ok(ratio),
            _ => Err(Tried::skip(
                self.figure(),
                format!(
                    "too little was undisturbed: {} of {} samples were set aside{}; stop what else \
                     runs on this machine",
                    self.invalid,
                    self.samples,
                    match self.such_as.as_str() {
                        "" => String::new(),
                        such_as => format!(", such as: {such_as}"),
                    }
                ),
            )),
        }
    }

    /// Equivalent or undecided passes.
    fn is_no_difference(&self) -> Tried {
        if let Err(skipped) = self.usable() {
            return skipped;
        }
        let said = self.verdict.name();
        match self.verdict {
            Verdict::Equivalent | Verdict::Inconclusive | Verdict::CodeNoise => {
                Tried::pass(self.figure(), said)
            }
            Verdict::Regression | Verdict::Improvement | Verdict::Depends => Tried::fail(
                self.figure(),
                format!("{said}: a difference where there is none"),
            ),
        }
    }

    /// A regression of half to twice that size passes. Undecided is a failure only where the interval is narrow enough to tell.
    fn is_slower_by(&self, injected: f64) -> Tried {
        let [_, low, high] = match self.usable() {
            Ok(ratio) => ratio,
            Err(skipped) => return skipped,
        };
        let said = self.verdict.name();
        let is_wide = (high / low).ln() > injected.ln_1p();
        let is_of_that_size = high > 1.0 + injected / 2.0 && low < 1.0 + 2.0 * injected;
        match self.verdict {
            Verdict::Regression if is_of_that_size => Tried::pass(self.figure(), said),
            Verdict::Inconclusive if is_wide => Tried::skip(
                self.figure(),
                format!("{said}: too noisy here to tell {:.0} %", 100.0 * injected),
            ),
            _ => Tried::fail(
                self.figure(),
                format!("{said}: {:.0} % were injected", 100.0 * injected),
            ),
        }
    }

    /// Slower passes.
    fn shares_a_line(&self) -> Tried {
        let [_, low, high] = match self.usable() {
            Ok(ratio) => ratio,
            Err(skipped) => return skipped,
        };
        match self.verdict {
            _ if low > 1.0 => Tried::pass(self.figure(), "one line costs more than two"),
            Verdict::Inconclusive if high > 1.0 => {
                Tried::skip(self.figure(), "too noisy here to tell")
            }
            _ => Tried::fail(
                self.figure(),
                "one line costs no more than two: do these CPUs run at once?",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(verdict: Verdict, low: f64, high: f64) -> Answer {
        Answer {
            verdict,
            ratio: Some([(low * high).sqrt(), low, high]),
            blocks: 40,
            samples: 80,
            invalid: 0,
            such_as: String::new(),
        }
    }

    #[test]
    fn a_difference_where_there_is_none_fails_and_an_undecided_one_does_not() {
        let finding = |verdict| comparison(verdict, 0.99, 1.01).is_no_difference().finding;
        assert_eq!(finding(Verdict::Equivalent), Finding::Pass);
        assert_eq!(finding(Verdict::Inconclusive), Finding::Pass);
        assert_eq!(finding(Verdict::Regression), Finding::Fail);
        assert_eq!(finding(Verdict::Improvement), Finding::Fail);
    }

    #[test]
    fn an_injected_regression_is_found_or_too_small_for_the_noise() {
        let finding =
            |verdict, low, high| comparison(verdict, low, high).is_slower_by(0.05).finding;
        assert_eq!(finding(Verdict::Regression, 1.04, 1.06), Finding::Pass);
        assert_eq!(finding(Verdict::Regression, 1.40, 1.60), Finding::Fail);
        assert_eq!(finding(Verdict::Regression, 1.005, 1.02), Finding::Fail);
        assert_eq!(finding(Verdict::Inconclusive, 0.97, 1.08), Finding::Skip);
        assert_eq!(finding(Verdict::Inconclusive, 0.99, 1.025), Finding::Fail);
        assert_eq!(finding(Verdict::Equivalent, 0.99, 1.01), Finding::Fail);
        assert_eq!(finding(Verdict::Improvement, 0.9, 0.95), Finding::Fail);
    }

    #[test]
    fn what_depends_on_the_state_is_a_difference_and_each_state_has_to_pass() {
        let of = |answers: &[Answer]| Answers {
            depends: true,
            answers: answers.to_vec(),
        };
        let slower = comparison(Verdict::Regression, 1.04, 1.06);
        let equal = comparison(Verdict::Equivalent, 0.99, 1.01);
        let both = of(&[slower.clone(), equal]);
        assert_eq!(both.is_no_difference().finding, Finding::Fail);
        assert_eq!(both.is_slower_by(0.05).finding, Finding::Fail);
        let slower = of(&[slower.clone(), slower]);
        assert_eq!(slower.is_slower_by(0.05).finding, Finding::Pass);
        assert!(slower.shares_a_line().figure.contains("; "));
    }

    #[test]
    fn a_machine_that_is_too_busy_is_skipped_with_the_reason() {
        let busy = Answer {
            blocks: 3,
            invalid: 70,
            such_as: "a thread was switched out".to_owned(),
            ..comparison(Verdict::Regression, 1.1, 1.2)
        };
        for tried in [
            busy.is_no_difference(),
            busy.is_slower_by(0.05),
            busy.shares_a_line(),
        ] {
            assert_eq!(tried.finding, Finding::Skip);
            assert!(tried.reason.contains("70 of 80 samples"), "{tried:?}");
            assert!(tried.reason.contains("switched out"), "{tried:?}");
        }
    }

    #[test]
    fn the_control_passes_whatever_the_size_of_what_it_finds() {
        let finding = |verdict, low, high| comparison(verdict, low, high).shares_a_line().finding;
        assert_eq!(finding(Verdict::Regression, 3.0, 9.0), Finding::Pass);
        assert_eq!(finding(Verdict::Inconclusive, 0.9, 4.0), Finding::Skip);
        assert_eq!(finding(Verdict::Equivalent, 0.99, 1.01), Finding::Fail);
    }
}
