//! What a check of `hitm selftest` comes to, and the design of one that is an experiment.
//!
//! Not here: the checks (`selftest`, `selftest_timed`).

use crate::error::Result;
use crate::experiment::{BackendKind, Design, Point};
use crate::machine::Placement;
use crate::text::words;

words! {
    /// What came of a check.
    pub enum Finding as "finding" {
        /// The known answer.
        Pass = "PASS",
        /// Another one.
        Fail = "FAIL",
        /// None: this machine does not let it be asked, or is too busy.
        Skip = "SKIP",
    }
}

/// A check that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// What came of it.
    pub finding: Finding,
    /// What was found, in figures; empty where there are none.
    pub figure: String,
    /// Why it is that finding.
    pub reason: String,
}

impl Tried {
    /// The known answer.
    pub fn pass(figure: impl Into<String>, reason: impl Into<String>) -> Tried {
        Tried::new(Finding::Pass, figure, reason)
    }

    /// Another one.
    pub fn fail(figure: impl Into<String>, reason: impl Into<String>) -> Tried {
        Tried::new(Finding::Fail, figure, reason)
    }

    /// None.
    pub fn skip(figure: impl Into<String>, reason: impl Into<String>) -> Tried {
        Tried::new(Finding::Skip, figure, reason)
    }

    fn new(finding: Finding, figure: impl Into<String>, reason: impl Into<String>) -> Tried {
        Tried {
            finding,
            figure: figure.into(),
            reason: reason.into(),
        }
    }
}

/// A design of these arms where so many threads fault in one VMA.
pub fn design(backend: BackendKind, arms: &[&str], threads: usize) -> Result<Design> {
    let arms: Vec<_> = arms.iter().map(|arm| arm.parse()).collect::<Result<_>>()?;
    let point = Point {
        scenario: "one-vma".parse()?,
        placement: Placement::Compact,
        threads,
    };
    Ok(Design::new(backend, "this", arms, vec![point]))
}
