//! Judging: from rows to verdicts.
//!
//! Here: which samples are compared, and which look at them counts. The same code decides when a
//! run has measured enough and what `hitm verdicts` says of its rows. Not here: what an interval
//! is (`stats`), and where rows come from (`results`).

mod judged;
mod placebo;
mod row;
mod strata;

pub use row::{Compared, VerdictRow, shown};
pub use strata::Factor;

use crate::experiment::{Arm, Ending, Point, Prefetch, Sample, Stratum};
use crate::program::fault::layouts::VmaLayout;
use crate::stats::{Comparison, Effect, Interval, Look, Parity, Rule, UnitOf, Verdict};
use judged::{Conclusion, Judged};
use placebo::Placebo;
use std::collections::BTreeMap;
use strata::Seen;

/// The comparisons of one run, as its blocks come in.
pub struct Judge {
    rule: Rule,
    baseline: Arm,
    one_slot: bool,
    points: BTreeMap<Point, Vec<Judged>>,
}

impl Judge {
    /// No block has come in. `one_slot`: every block begins in the same slab slot, so that units
    /// are couples by number.
    pub fn new(baseline: Arm, margin: f64, one_slot: bool) -> Judge {
        Judge {
            rule: Rule {
                margin,
                ..Rule::default()
            },
            baseline,
            one_slot,
            points: BTreeMap::new(),
        }
    }

    /// Take in the samples of a block at one point, and see what is decided by now. Each arm is
    /// there once in each state of the prefetcher.
    pub fn push_block<'a>(&mut self, samples: impl IntoIterator<Item = &'a Sample>) {
        let samples: Vec<&Sample> = samples.into_iter().collect();
        let looked = self.take_in(&samples);
        if let Some(first) = samples.first().filter(|_| looked) {
            let entries = self.points.entry(first.point.clone()).or_default();
            decide(entries, self.rule);
        }
    }

    /// Take in the samples of a block. Whether there was a look at any comparison.
    fn take_in(&mut self, samples: &[&Sample]) -> bool {
        let Some(&first) = samples.first() else {
            return false;
        };
        let slot = first.first_slot.filter(|_| !self.one_slot);
        let parity = Parity::of(slot.map_or(first.block, |slot| slot as u64));
        let find = |arm: &Arm, prefetch: Prefetch| {
            let mut samples = samples.iter();
            samples.find(|s| s.arm == *arm && s.prefetch == prefetch)
        };
        let effect = |arm: &Arm, prefetch: Prefetch| -> Option<Effect> {
            let (arm, baseline) = (find(arm, prefetch)?, find(&self.baseline, prefetch)?);
            Some(Effect {
                parity,
                log_ratio: (arm.ns_per_fault / baseline.ns_per_fault).ln(),
                valid: arm.valid && baseline.valid,
            })
        };
        let entries = self.points.entry(first.point.clone()).or_default();
        let mut looked = false;
        for sample in samples.iter().filter(|s| s.arm != self.baseline) {
            let arm = &sample.arm;
            let alone = effect(arm, sample.prefetch);
            let off = effect(arm, Prefetch::Off).filter(|_| sample.prefetch == Prefetch::On);
            let added = alone.zip(off).map(|(on, off)| on.less(&off));
            let found = [
                (sample.prefetch.into(), alone),
                (Compared::OnOverOff, added),
            ];
            let Some(baseline) = find(&self.baseline, sample.prefetch) else {
                continue;
            };
            for (compared, effect) in found {
                let Some(effect) = effect else { continue };
                let other_code = baseline.code != sample.code;
                let at = |entry: &Judged| entry.arm == *arm && entry.compared == compared;
                let at = entries.iter().position(at).unwrap_or_else(|| {
                    entries.push(Judged {
                        arm: arm.clone(),
                        compared,
                        other_code,
                        seen: Vec::new(),
                        comparison: Comparison::new(self.rule, UnitOf::SlotCouple),
                        decided: false,
                    });
                    entries.len() - 1
                });
                // In any block: another build may have gone on with the run.
                entries[at].other_code |= other_code;
                entries[at].seen.push(Seen {
                    effect,
                    // One for all samples of a block, since version 3 of the rows.
                    stratum: baseline.stratum,
                });
                looked |= entries[at].comparison.push(effect);
            }
        }
        looked
    }

    /// Whether every comparison at a point is decided.
    pub fn is_decided(&self, point: &Point) -> bool {
        let entries = self.points.get(point);
        entries.is_some_and(|entries| entries.iter().all(|entry| entry.decided))
    }

    /// How many comparisons are decided.
    pub fn decided(&self) -> usize {
        let entries = self.points.values().flatten();
        entries.filter(|entry| entry.decided).count()
    }

    /// The verdicts at a point of a run that ended so, in the order they are shown.
    fn rows(&self, like: &Sample, ending: Ending) -> Vec<VerdictRow> {
        let entries = self.points.get(&like.point).into_iter().flatten();
        let mut entries: Vec<&Judged> = entries.collect();
        entries.sort_by_cached_key(|e| (e.compared, rank(&e.arm, Some(&self.baseline))));
        let said = entries
            .iter()
            .map(|entry| (*entry, entry.said(self.rule, ending)));
        let said: Vec<(&Judged, Conclusion)> = said.collect();
        let mut rows = Vec::new();
        for (entry, of_it) in &said {
            let placebo = Placebo::of(entry, &said);
            let row = |stratum: Stratum, look: Option<Look>, verdict: Verdict| {
                let shown = look.filter(|_| verdict != Verdict::Depends);
                let ratio = |pick: fn(&Interval) -> f64| shown.map(|l| pick(&l.interval).exp());
                VerdictRow {
                    backend: like.backend,
                    machine: like.machine.clone(),
                    point: like.point.clone(),
                    prefetch: entry.compared,
                    baseline: self.baseline.clone(),
                    arm: entry.arm.clone(),
                    ratio: ratio(|i| i.estimate),
                    ratio_low: ratio(|i| i.low),
                    ratio_high: ratio(|i| i.high),
                    verdict,
                    blocks: look.map_or(0, |l| l.blocks),
                    blocks_invalid: match look {
                        Some(look) => look.blocks_invalid,
                        None => entry.comparison.units().blocks_invalid(),
                    },
                    stratum,
                    role: None,
                    run: like.run.clone(),
                    label: like.label.clone(),
                    depends_on: String::new(),
                    tail_share: None,
                    tail_ratio: None,
                }
            };
            let agree = of_it.strata.depends_on.is_empty();
            let tail = agree.then(|| entry.tail()).flatten();
            let whole = VerdictRow {
                tail_share: tail.map(|tail| tail.share),
                tail_ratio: tail.map(|tail| tail.factor),
                depends_on: Factor::joined(&of_it.strata.depends_on),
                ..row(
                    Stratum::default(),
                    of_it.look,
                    placebo.gate(Stratum::default(), of_it.look, of_it.verdict),
                )
            };
            rows.push(whole);
            let mut strata = of_it.strata.shown.clone();
            let cells = of_it.strata.cells.iter();
            let others = cells.filter(|(at, _)| strata.iter().all(|(shown, _)| shown != at));
            let others: Vec<(Stratum, Look)> = others.copied().collect();
            strata.extend(others);
            rows.extend(strata.into_iter().map(|(at, look)| {
                let verdict = placebo.gate(at, Some(look), look.verdict);
                row(at, Some(look), verdict)
            }));
        }
        rows
    }
}

/// See which of the comparisons at a point have an answer by now.
fn decide(entries: &mut [Judged], rule: Rule) {
    let said: Vec<(&Judged, Conclusion)> = entries
        .iter()
        .map(|entry| (entry, entry.said(rule, Ending::Decided)))
        .collect();
    let decided: Vec<bool> = said
        .iter()
        .map(|(entry, said_of_it)| {
            let placebo = Placebo::of(entry, &said);
            match said_of_it.verdict {
                Verdict::Depends => {
                    let mut strata = said_of_it.strata.shown.iter();
                    said_of_it.strata.are_all_shown
                        && strata
                            .all(|(at, look)| placebo.is_answer(*at, Some(*look), look.verdict))
                }
                verdict => placebo.is_answer(Stratum::default(), said_of_it.look, verdict),
            }
        })
        .collect();
    for (entry, decided) in entries.iter_mut().zip(decided) {
        entry.decided = decided;
    }
}

/// Where an arm stands among others: the baseline, its second measurement, the placebo, the built-in
/// layouts by age, all others by name.
pub fn rank(arm: &Arm, baseline: Option<&Arm>) -> impl Ord + use<> {
    let layout = arm.measured(arm).map(|(layout, _)| layout.as_str());
    let age = match arm {
        // One with a handicap stands among the others, beside its like.
        Arm::Layout { handicap, .. } if handicap.get() > 0 => None,
        _ => VmaLayout::EVERY
            .iter()
            .position(|built_in| Some(built_in.name()) == layout),
    };
    (
        Some(arm) != baseline,
        match arm {
            Arm::Again => 0,
            Arm::Recompiled => 1,
            Arm::Layout { .. } => 2,
        },
        age.unwrap_or(usize::MAX),
        arm.to_string(),
    )
}

/// What rows are judged by, beside themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The arm that the others are compared with.
    pub baseline: Arm,
    /// Margin of equivalence, a fraction.
    pub margin: f64,
    /// How the run ended, which decides the look that counts.
    pub ending: Ending,
}

/// The verdicts on the rows of one run, each of which is there once.
pub fn verdicts(samples: &[Sample], terms: &Terms) -> Vec<VerdictRow> {
    let slots = || samples.iter().filter_map(|s| s.first_slot);
    let one_slot = slots().all(|slot| Some(slot) == slots().next());
    let mut judge = Judge::new(terms.baseline.clone(), terms.margin, one_slot);
    // Points in the order they come in, blocks by number: shards may have been sorted.
    let mut points: Vec<&Sample> = Vec::new();
    let mut blocks: BTreeMap<(&Point, u64), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        if !blocks.contains_key(&(&sample.point, sample.block))
            && points.iter().all(|like| like.point != sample.point)
        {
            points.push(sample);
        }
        let block = blocks.entry((&sample.point, sample.block)).or_default();
        block.push(sample);
    }
    for block in blocks.into_values() {
        judge.take_in(&block);
    }
    // A number of blocks that was set later may have been chosen for what was seen.
    let ending = match terms.ending {
        Ending::BlocksTaken => ending_of(samples).unwrap_or(Ending::Interrupted),
        other => other,
    };
    let rows = points.iter().map(|like| judge.rows(like, ending));
    rows.flatten().collect()
}

/// The verdicts on the rows of single roles, of one run.
pub fn verdicts_of_roles(roles: &BTreeMap<String, Vec<Sample>>, terms: &Terms) -> Vec<VerdictRow> {
    let of_role = |(role, samples): (&String, &Vec<Sample>)| {
        let rows = verdicts(samples, terms).into_iter();
        let rows = rows.map(|row| VerdictRow {
            role: Some(role.clone()),
            ..row
        });
        rows.collect::<Vec<_>>()
    };
    roles.iter().flat_map(of_role).collect()
}

/// How a run ended, as far as its rows say it: all the blocks were taken that were planned from the
/// beginning.
pub fn ending_of(samples: &[Sample]) -> Option<Ending> {
    let planned = samples.first()?.blocks_planned?;
    if samples.iter().any(|s| s.blocks_planned != Some(planned)) {
        return None;
    }
    let mut last: BTreeMap<&Point, &Sample> = BTreeMap::new();
    for sample in samples {
        let at = last.entry(&sample.point).or_insert(sample);
        if sample.block >= at.block {
            *at = sample;
        }
    }
    let taken = |s: &&Sample| s.block.checked_add(1) == Some(planned);
    last.values().all(taken).then_some(Ending::BlocksTaken)
}
