//! One comparison while its blocks come in, and what is said of it.

use super::row::Compared;
use super::strata::{Seen, Strata, look_that_counts};
use crate::experiment::{Arm, Ending};
use crate::stats::{Comparison, Look, Rule, Tail, Verdict};

/// One arm against the baseline.
pub(super) struct Judged {
    pub arm: Arm,
    pub compared: Compared,
    /// Whether its machine code differs from the baseline's in more than displacements.
    pub other_code: bool,
    pub seen: Vec<Seen>,
    /// Over all strata.
    pub comparison: Comparison,
    /// Whether there was an answer at the latest look.
    pub decided: bool,
}

/// What is said of a comparison.
pub(super) struct Conclusion {
    pub look: Option<Look>,
    pub verdict: Verdict,
    pub strata: Strata,
}

impl Judged {
    /// What the blocks say of a run that ended so, but for the placebo.
    pub fn said(&self, rule: Rule, ending: Ending) -> Conclusion {
        let look = look_that_counts(&self.comparison, ending);
        let strata = Strata::of(&self.seen, rule, ending);
        let verdict = match (look, strata.depends_on.is_empty()) {
            (Some(_), false) => Verdict::Depends,
            (Some(look), true) => look.verdict,
            (None, _) => Verdict::Inconclusive,
        };
        Conclusion {
            look,
            verdict,
            strata,
        }
    }

    /// What the interval does not see.
    pub fn tail(&self) -> Option<Tail> {
        let usable = self.seen.iter().map(|one| one.effect);
        let usable = usable.filter(|effect| effect.valid && effect.log_ratio.is_finite());
        let effects: Vec<f64> = usable.map(|effect| effect.log_ratio).collect();
        Tail::of(&effects)
    }

    pub fn is_placebo(&self) -> bool {
        self.arm == Arm::Recompiled
    }
}
