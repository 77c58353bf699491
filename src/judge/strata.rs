//! States of the machine as factors: where they agree there is one answer, where they do not there
//! is one for each.
//!
//! Here: which factors matter to a comparison, and the looks at each stratum. Not here: what puts a
//! sample in a stratum (`experiment`), the test of two groups (`stats`).

use crate::experiment::{Ending, Stratum};
use crate::stats::{Comparison, Difference, Effect, Look, Rule, UnitOf, Units, Verdict};
use crate::text::words;
use std::collections::BTreeSet;

/// Probability that strata which agree are said to differ at one look, over all pairs of strata of a
/// comparison that are compared (Bonferroni).
const ERROR: f64 = 0.01;

words! {
    /// What may tell strata apart.
    pub enum Factor as "factor" {
        /// Parity of the slab slot.
        Slot = "slot",
        /// Mode of the line transfer.
        Transfer = "transfer_ns",
        /// Pace of the cores.
        Pace = "pace",
    }
}

impl Factor {
    /// The names of factors, joined with `;`.
    pub fn joined(factors: &[Factor]) -> String {
        let names: Vec<&str> = factors.iter().map(|factor| factor.name()).collect();
        names.join(";")
    }

    /// The factors that a stratum is told apart by.
    pub fn of(stratum: &Stratum) -> Vec<Factor> {
        let known = Factor::ALL.iter().copied();
        known
            .filter(|factor| factor.level(stratum) != Stratum::default())
            .collect()
    }

    /// The part of a stratum that this factor is about.
    fn level(self, stratum: &Stratum) -> Stratum {
        let mut level = Stratum::default();
        match self {
            Factor::Slot => level.slot = stratum.slot,
            Factor::Transfer => level.transfer_ns = stratum.transfer_ns,
            Factor::Pace => level.pace = stratum.pace,
        }
        level
    }
}

/// The part of a stratum that these factors are about.
fn projected(stratum: &Stratum, factors: &[Factor]) -> Stratum {
    let has = |factor| factors.contains(&factor);
    Stratum {
        slot: stratum.slot.filter(|_| has(Factor::Slot)),
        transfer_ns: stratum.transfer_ns.filter(|_| has(Factor::Transfer)),
        pace: stratum.pace.filter(|_| has(Factor::Pace)),
    }
}

/// An effect, and the state of the machine that it was seen in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub effect: Effect,
    pub stratum: Stratum,
}

/// What the strata of a comparison say.
#[derive(Clone, Debug, Default)]
pub(super) struct Strata {
    /// The factors whose levels do not agree.
    pub depends_on: Vec<Factor>,
    /// The looks at each combination of their levels that has eight units.
    pub shown: Vec<(Stratum, Look)>,
    /// Whether all of them have.
    pub are_all_shown: bool,
    /// The looks at each state that the machine was in, all factors told apart.
    pub cells: Vec<(Stratum, Look)>,
}

impl Strata {
    /// Of a comparison that ended so; strata with fewer than eight units are left out.
    pub fn of(seen: &[Seen], rule: Rule, ending: Ending) -> Strata {
        let mut depends_on = disagreeing(seen, rule.margin);
        let mut shown = match depends_on.is_empty() {
            true => Vec::new(),
            false => looks(seen, &depends_on, rule, ending),
        };
        // All of them too small to matter is one answer.
        let negligible = |(_, look): &(Stratum, Look)| look.verdict == Verdict::Equivalent;
        let all = shown.len() == strata(seen, &depends_on).len();
        if all && shown.iter().all(negligible) {
            depends_on.clear();
            shown.clear();
        }
        Strata {
            depends_on,
            shown,
            are_all_shown: all,
            cells: looks(seen, Factor::ALL, rule, ending),
        }
    }
}

/// The look of a comparison that counts, given how the run ended.
///
/// Where measuring stopped at a budget, all error that is left is spent on all blocks. Where the
/// number of blocks was fixed, there is one look and it is the only one. Where verdicts or a person
/// stopped it, the latest look stands: to look again at a moment chosen for its data is what the
/// error is controlled against.
pub(super) fn look_that_counts(comparison: &Comparison, ending: Ending) -> Option<Look> {
    match ending {
        Ending::BlocksTaken => comparison.only_look(),
        Ending::BudgetSpent => comparison.clone().finish(),
        Ending::Decided | Ending::Interrupted => comparison.latest().copied(),
    }
}

/// What a unit is in a stratum.
fn unit_of(stratum: &Stratum) -> UnitOf {
    match stratum.slot {
        Some(_) => UnitOf::Block,
        None => UnitOf::SlotCouple,
    }
}

/// The effects in the stratum `at` of these factors.
fn within<'s>(
    seen: &'s [Seen],
    factors: &'s [Factor],
    at: Stratum,
) -> impl Iterator<Item = Effect> + use<'s> {
    let seen = seen.iter();
    let seen = seen.filter(move |one| projected(&one.stratum, factors) == at);
    seen.map(|one| one.effect)
}

/// The strata of these factors that valid effects were seen in.
fn strata(seen: &[Seen], factors: &[Factor]) -> BTreeSet<Stratum> {
    let valid = seen.iter().filter(|one| one.effect.valid);
    let strata = valid.map(|one| projected(&one.stratum, factors));
    strata.filter(|at| *at != Stratum::default()).collect()
}

fn looks(seen: &[Seen], factors: &[Factor], rule: Rule, ending: Ending) -> Vec<(Stratum, Look)> {
    let look = |at: Stratum| {
        let mut comparison = Comparison::new(rule, unit_of(&at));
        for effect in within(seen, factors, at) {
            comparison.push(effect);
        }
        let enough = comparison.units().values().len() >= Difference::FEWEST;
        let look = look_that_counts(&comparison, ending).filter(|_| enough);
        look.map(|look| (at, look))
    };
    strata(seen, factors).into_iter().filter_map(look).collect()
}

fn units(seen: &[Seen], factors: &[Factor], at: Stratum) -> Units {
    let mut units = Units::new(unit_of(&at));
    within(seen, factors, at).for_each(|effect| units.push(effect));
    units
}

/// The factors of which two levels differ: shown to (Yuen's test), and by more than the margin.
///
/// Compared are levels of one factor over all states of the others, and cells that differ in this
/// factor alone: what another factor does can hide a difference in the first, and what depends on
/// both at once shows in the second only.
fn disagreeing(seen: &[Seen], margin: f64) -> Vec<Factor> {
    let cells = strata(seen, Factor::ALL);
    let cells: Vec<(Stratum, Units)> = cells
        .into_iter()
        .map(|at| (at, units(seen, Factor::ALL, at)))
        .collect();
    let mut pairs: Vec<(Factor, Difference)> = Vec::new();
    for &factor in Factor::ALL {
        let levels = strata(seen, &[factor]);
        let levels = levels
            .into_iter()
            .map(|at| (at, units(seen, &[factor], at)));
        let levels: Vec<(Stratum, Units)> = levels.collect();
        let others: Vec<Factor> = Factor::ALL
            .iter()
            .copied()
            .filter(|f| *f != factor)
            .collect();
        let others = |at: &Stratum| projected(at, &others);
        for groups in [&levels, &cells] {
            for (n, (at, first)) in groups.iter().enumerate() {
                let alone = groups[n + 1..].iter();
                let alone = alone.filter(|(other, _)| others(other) == others(at));
                let found =
                    alone.filter_map(|(_, second)| Difference::of(first.values(), second.values()));
                pairs.extend(found.map(|difference| (factor, difference)));
            }
        }
    }
    let error = ERROR / pairs.len().max(1) as f64;
    let differ = |difference: &Difference| {
        difference.p < error && difference.estimate.abs() > margin.ln_1p()
    };
    let is_one = |factor: &Factor| pairs.iter().any(|(of, pair)| of == factor && differ(pair));
    Factor::ALL.iter().copied().filter(is_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Pace, TransferBin};
    use crate::stats::Parity;

    /// Blocks in turn at both slots, with the log-ratio that `of` gives to the slot, the block, and
    /// a little noise.
    fn seen(blocks: u64, of: impl Fn(u64, u64) -> (f64, Stratum)) -> Vec<Seen> {
        let one = |number: u64| {
            let slot = number % 2;
            let (log_ratio, stratum) = of(slot, number);
            let noise = (number.wrapping_mul(0x9e37_79b9) % 101) as f64 / 101.0 - 0.5;
            Seen {
                effect: Effect {
                    parity: Parity::of(slot),
                    log_ratio: log_ratio + 0.01 * noise,
                    valid: true,
                },
                stratum: Stratum {
                    slot: Some(slot as u32),
                    ..stratum
                },
            }
        };
        (0..blocks).map(one).collect()
    }

    fn near() -> Stratum {
        Stratum {
            transfer_ns: Some(TransferBin::Near),
            pace: Some(Pace::Full),
            ..Stratum::default()
        }
    }

    fn of(seen: &[Seen]) -> Strata {
        Strata::of(seen, Rule::default(), Ending::BudgetSpent)
    }

    #[test]
    fn slots_that_contradict_each_other_have_an_answer_each() {
        let seen = seen(40, |slot, _| (if slot == 0 { -0.5 } else { 0.05 }, near()));
        let strata = of(&seen);
        assert_eq!(strata.depends_on, [Factor::Slot]);
        let said: Vec<(Option<u32>, Verdict)> = strata
            .shown
            .iter()
            .map(|(at, look)| (at.slot, look.verdict))
            .collect();
        let expected = [
            (Some(0), Verdict::Improvement),
            (Some(1), Verdict::Regression),
        ];
        assert_eq!(said, expected);
        assert!(strata.shown.iter().all(|(at, _)| at.transfer_ns.is_none()));
        assert_eq!(strata.cells.len(), 2);
    }

    #[test]
    fn strata_that_agree_have_one_answer() {
        let strata = of(&seen(40, |_, _| (0.1, near())));
        assert_eq!(strata.depends_on, []);
        assert!(strata.shown.is_empty());
    }

    #[test]
    fn two_factors_that_matter_are_crossed() {
        let seen = seen(80, |slot, number| {
            let far = number / 2 % 2 == 1;
            let effect = 0.2 * slot as f64 + if far { 0.5 } else { 0.0 };
            let bin = if far {
                TransferBin::Far
            } else {
                TransferBin::Near
            };
            let stratum = Stratum {
                transfer_ns: Some(bin),
                ..near()
            };
            (effect, stratum)
        });
        let strata = of(&seen);
        assert_eq!(strata.depends_on, [Factor::Slot, Factor::Transfer]);
        assert_eq!(strata.shown.len(), 4);
        assert_eq!(Factor::of(&strata.shown[0].0), strata.depends_on);
    }

    #[test]
    fn a_difference_within_the_margin_does_not_matter() {
        let strata = of(&seen(400, |slot, _| (0.1 + 0.015 * slot as f64, near())));
        assert_eq!(strata.depends_on, []);
    }

    #[test]
    fn strata_that_are_all_equivalent_agree() {
        let effect = |slot| if slot == 0 { -0.012 } else { 0.012 };
        let strata = of(&seen(400, |slot, _| (effect(slot), near())));
        assert_eq!(strata.depends_on, []);
    }

    #[test]
    fn a_stratum_of_seven_units_tells_nothing() {
        // Seven blocks in the slow pace, far off.
        let seen = seen(60, |_, number| match number {
            0..7 => (
                0.7,
                Stratum {
                    pace: Some(Pace::Shared),
                    ..near()
                },
            ),
            _ => (0.0, near()),
        });
        let strata = of(&seen);
        assert_eq!(strata.depends_on, []);
        assert!(
            strata
                .cells
                .iter()
                .all(|(at, _)| at.pace == Some(Pace::Full))
        );
    }
}
