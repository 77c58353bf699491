//! What other machine code of the same accesses makes: the baseline's placebo, and the gate that
//! keeps verdicts on layouts from being verdicts on code.

use super::judged::{Conclusion, Judged};
use super::row::Compared;
use crate::experiment::Stratum;
use crate::stats::{Look, Verdict};
use std::collections::BTreeMap;

/// What the placebo of a comparison shows.
pub(super) struct Placebo {
    /// Whether verdicts are held against it: not where there is none, or where the arm's code is the
    /// baseline's.
    gates: bool,
    /// By stratum.
    looks: BTreeMap<Stratum, Shows>,
}

/// As log-ratios without their sign.
#[derive(Clone, Copy)]
struct Shows {
    /// How far from no effect its interval reaches.
    reach: f64,
    /// How far from no effect its estimate is.
    estimate: f64,
}

impl Placebo {
    /// The placebo beside `entry`, of all comparisons at its point.
    pub fn of(entry: &Judged, said: &[(&Judged, Conclusion)]) -> Placebo {
        let gated = entry.other_code
            && !entry.is_placebo()
            // Both effects that an attribution compares are of the same two codes.
            && entry.compared != Compared::OnOverOff;
        let mut said = said.iter().filter(|_| gated);
        let found = said.find(|(one, _)| one.is_placebo() && one.compared == entry.compared);
        let Some((_, placebo)) = found else {
            return Placebo {
                gates: false,
                looks: BTreeMap::new(),
            };
        };
        let whole = placebo.look.map(|look| (Stratum::default(), look));
        let strata = placebo.strata.shown.iter().chain(&placebo.strata.cells);
        let looks = whole.into_iter().chain(strata.copied());
        let shows = |(at, look): (Stratum, Look)| {
            let interval = look.interval;
            let shows = Shows {
                reach: interval.low.abs().max(interval.high.abs()),
                estimate: interval.estimate.abs(),
            };
            (at, shows)
        };
        Placebo {
            gates: true,
            looks: looks.map(shows).collect(),
        }
    }

    /// What it shows in this stratum, or over all where it has too few units there.
    fn at(&self, at: Stratum) -> Option<Shows> {
        let whole = || self.looks.get(&Stratum::default());
        self.looks.get(&at).or_else(whole).copied()
    }

    /// The verdict, if the difference goes further than the placebo: the whole interval lies beyond
    /// the end of the placebo's that is further from no effect.
    pub fn gate(&self, at: Stratum, look: Option<Look>, verdict: Verdict) -> Verdict {
        if !self.gates || !verdict.is_difference() {
            return verdict;
        }
        match (self.at(at), look) {
            (Some(shows), Some(look)) => {
                let interval = look.interval;
                match interval.low.abs().min(interval.high.abs()) > shows.reach {
                    true => verdict,
                    false => Verdict::CodeNoise,
                }
            }
            // Of the placebo nothing is known yet.
            _ => Verdict::Inconclusive,
        }
    }

    /// Whether more blocks are not expected to change the verdict. The placebo's interval becomes
    /// narrower with them, and its estimate does not.
    pub fn is_answer(&self, at: Stratum, look: Option<Look>, verdict: Verdict) -> bool {
        match self.gate(at, look, verdict) {
            Verdict::CodeNoise => look
                .zip(self.at(at))
                .is_some_and(|(look, shows)| look.interval.estimate.abs() <= shows.estimate),
            verdict => verdict.is_decided(),
        }
    }
}
