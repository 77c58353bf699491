//! What other machine code of the same accesses makes: the baseline's placebo, and the gate that
//! keeps verdicts on layouts from being verdicts on code.

use super::judged::{Judged, Said};
use super::row::Compared;
use crate::experiment::Stratum;
use crate::stats::{Look, Verdict};
use std::collections::BTreeMap;

/// What the placebo of a comparison shows: how far from no effect its interval reaches, as a
/// log-ratio, by stratum. Empty where there is none, or where the arm's code is the baseline's.
pub(super) struct Placebo(BTreeMap<Stratum, f64>);

impl Placebo {
    /// The placebo beside `entry`, of all comparisons at its point.
    pub fn of(entry: &Judged, said: &[(&Judged, Said)]) -> Placebo {
        let gated = entry.other_code
            && !entry.is_placebo()
            // Both effects that an attribution compares are of the same two codes.
            && entry.compared != Compared::OnOverOff;
        let mut said = said.iter().filter(|_| gated);
        let found = said.find(|(one, _)| one.is_placebo() && one.compared == entry.compared);
        let Some((_, placebo)) = found else {
            return Placebo(BTreeMap::new());
        };
        let whole = placebo.look.map(|look| (Stratum::default(), look));
        let strata = placebo.strata.shown.iter().chain(&placebo.strata.cells);
        let looks = whole.into_iter().chain(strata.copied());
        let reach = |(at, look): (Stratum, Look)| {
            let interval = look.interval;
            (at, interval.low.abs().max(interval.high.abs()))
        };
        Placebo(looks.map(reach).collect())
    }

    /// How far the placebo reaches in this stratum, or over all where it has none there.
    fn reach(&self, at: Stratum) -> Option<f64> {
        let whole = || self.0.get(&Stratum::default());
        self.0.get(&at).or_else(whole).copied()
    }

    /// The verdict, if the difference goes further than the placebo: the whole interval lies beyond
    /// the end of the placebo's that is further from no effect.
    pub fn gate(&self, at: Stratum, look: Option<Look>, verdict: Verdict) -> Verdict {
        match (self.reach(at), look) {
            (Some(reach), Some(look)) if verdict.is_difference() => {
                let interval = look.interval;
                match interval.low.abs().min(interval.high.abs()) > reach {
                    true => verdict,
                    false => Verdict::CodeNoise,
                }
            }
            _ => verdict,
        }
    }

    /// Whether more blocks are not expected to change the verdict: of an estimate beyond the
    /// placebo's reach they may.
    pub fn is_answer(&self, at: Stratum, look: Option<Look>, verdict: Verdict) -> bool {
        match self.gate(at, look, verdict) {
            Verdict::CodeNoise => look
                .zip(self.reach(at))
                .is_some_and(|(look, reach)| look.interval.estimate.abs() <= reach),
            verdict => verdict.is_decided(),
        }
    }
}
