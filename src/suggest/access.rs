//! Another way to access fields, where no place helps: a store only if it changes something, a
//! larger batch, a counter per CPU.

use super::score::{Cost, Effort, Scorer};
use crate::case::{Case, CaseLayout, FieldRef, ObjectOf, Step};
use crate::error::Result;
use crate::program::steps::lower::each;

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The field is stored to only if the value is another one, and it never is.
    IfChanged(String),
    /// So many come together in the words of each CPU instead of so many.
    Batch {
        /// Name of the words.
        name: String,
        /// Before.
        from: u64,
        /// After.
        to: u64,
    },
    /// A counter for each CPU takes the place of the field.
    PerCpu(String),
}

/// What another way to access fields brings.
#[derive(Clone, Debug)]
pub struct Change {
    /// The way.
    pub way: Way,
    /// Time over that of the baseline, with the baseline's layout.
    pub alone: f64,
    /// Time over that of the baseline, with the best layout; none if no layout is better.
    pub with_best: Option<f64>,
}

/// A batch is made so many times as large.
const LARGER: u64 = 16;
/// A change that brings less is not worth its risk.
const WORTH: f64 = 0.9;
/// Most ways that are tried.
const MOST: usize = 12;

/// The changes that would bring much, the best first.
pub fn changes(
    case: &Case,
    scorer: &Scorer<'_>,
    baseline: &CaseLayout,
    best: Option<&CaseLayout>,
    effort: &Effort,
) -> Result<Vec<Change>> {
    let mut ways = ways(case, baseline);
    ways.truncate(MOST);
    let mut layouts = vec![baseline.clone()];
    for way in &ways {
        for of in std::iter::once(baseline).chain(best) {
            layouts.push(CaseLayout {
                steps: of
                    .steps
                    .iter()
                    .map(|steps| with(case, steps, way))
                    .collect(),
                ..of.clone()
            });
        }
    }
    if ways.is_empty() {
        return Ok(Vec::new());
    }
    let times = scorer.times(&layouts, effort)?;
    let ratio = |n: usize| Cost::of(&times[n], &times[0]).ratio;
    let each = 1 + usize::from(best.is_some());
    let changes = ways.into_iter().enumerate().map(|(n, way)| Change {
        way,
        alone: ratio(1 + n * each),
        with_best: best.map(|_| ratio(2 + n * each)),
    });
    let mut changes: Vec<Change> = changes.filter(|change| change.alone < WORTH).collect();
    changes.sort_by(|a, b| a.alone.total_cmp(&b.alone));
    Ok(changes)
}

/// A field as a person writes it.
fn full_name(case: &Case, field: &FieldRef) -> String {
    match field.of {
        ObjectOf::Struct => field.name.clone(),
        ObjectOf::Companion(number) => match case.companions.get(number) {
            Some(companion) => format!("{}.{}", companion.name, field.name),
            None => field.name.clone(),
        },
    }
}

/// Every way that the roles leave open.
fn ways(case: &Case, layout: &CaseLayout) -> Vec<Way> {
    // Fields whose value somebody waits for, or that are locks or counters of a sequence.
    let mut taken: Vec<String> = Vec::new();
    let mut counted: Vec<String> = Vec::new();
    let mut stored: Vec<String> = Vec::new();
    let mut batched: Vec<(String, u64)> = Vec::new();
    let note = |names: &mut Vec<String>, field: &FieldRef| {
        let name = full_name(case, field);
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for steps in &layout.steps {
        each(steps, &mut |step| match step {
            Step::Wait(field)
            | Step::Lock { field, .. }
            | Step::SeqRead { field, .. }
            | Step::SeqWrite { field, .. }
            | Step::Follow { field, .. } => note(&mut taken, field),
            Step::Write { field, if_changed } if *if_changed != Some(0.0) => {
                note(&mut stored, field);
            }
            Step::Rmw(field) => note(&mut counted, field),
            Step::Cas { field, then, .. } if then.is_empty() => note(&mut counted, field),
            // What is done after lost tries is another way to count.
            Step::Cas { field, .. } => note(&mut taken, field),
            Step::Percpu { name, batch, spill }
                if !spill.is_empty() && !batched.iter().any(|(known, _)| known == name) =>
            {
                batched.push((name.clone(), *batch));
            }
            _ => {}
        });
    }
    let free = |names: Vec<String>| {
        let names = names.into_iter();
        names
            .filter(|name| !taken.contains(name))
            .collect::<Vec<_>>()
    };
    let (stored, counted) = (free(stored), free(counted));
    let mixed: Vec<String> = stored
        .iter()
        .filter(|name| counted.contains(name))
        .cloned()
        .collect();
    let batches = batched.into_iter().map(|(name, from)| Way::Batch {
        name,
        from,
        to: from.saturating_mul(LARGER),
    });
    let stores = stored.into_iter().map(Way::IfChanged);
    let counters = counted.into_iter().filter(|name| !mixed.contains(name));
    stores
        .chain(batches)
        .chain(counters.map(Way::PerCpu))
        .collect()
}

/// Steps in which that is done.
fn with(case: &Case, steps: &[Step], way: &Way) -> Vec<Step> {
    map(steps, &|step| match (step, way) {
        (Step::Write { field, .. }, Way::IfChanged(name)) if full_name(case, field) == *name => {
            Some(Step::Write {
                field: field.clone(),
                if_changed: Some(0.0),
            })
        }
        (Step::Percpu { name, spill, .. }, Way::Batch { name: of, to, .. }) if name == of => {
            Some(Step::Percpu {
                name: name.clone(),
                batch: *to,
                spill: spill.clone(),
            })
        }
        (Step::Rmw(field) | Step::Cas { field, .. }, Way::PerCpu(name))
            if full_name(case, field) == *name =>
        {
            Some(Step::Percpu {
                // No name of a case has a blank in it.
                name: format!("{name} per CPU"),
                batch: 1 << 32,
                spill: Vec::new(),
            })
        }
        _ => None,
    })
}

/// The steps with guessed work at that place of its range: 0 its low end, 1 its high end.
pub fn with_work_at(steps: &[Vec<Step>], at: f64) -> Vec<Vec<Step>> {
    let fixed = |steps: &Vec<Step>| {
        map(steps, &|step| match step {
            Step::Work { from_ns, to_ns } => {
                let range = f64::from(to_ns.saturating_sub(*from_ns));
                let nanos = from_ns.saturating_add((range * at) as u32);
                Some(Step::Work {
                    from_ns: nanos,
                    to_ns: nanos,
                })
            }
            _ => None,
        })
    };
    steps.iter().map(fixed).collect()
}

/// The steps, those inside others too, with those replaced that `change` has another one for.
fn map(steps: &[Step], change: &dyn Fn(&Step) -> Option<Step>) -> Vec<Step> {
    let one = |step: &Step| {
        let mut step = change(step).unwrap_or_else(|| step.clone());
        match &mut step {
            Step::Cas { then: inside, .. }
            | Step::SeqRead { body: inside, .. }
            | Step::SeqWrite { body: inside, .. }
            | Step::Percpu { spill: inside, .. }
            | Step::Every { steps: inside, .. }
            | Step::Repeat { steps: inside, .. } => *inside = map(inside, change),
            Step::Choose(lists) => {
                for (_, inside) in lists {
                    *inside = map(inside, change);
                }
            }
            _ => {}
        }
        step
    };
    steps.iter().map(one).collect()
}
