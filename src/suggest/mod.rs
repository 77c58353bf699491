//! Looking for a better layout: orders of a struct's members, scored by the simulator.
//!
//! Here: the search, from a case to what is left of it: the orders for which no other is both
//! smaller and cheaper, what another way to access fields would bring, and how much all that hangs
//! on guesses. Not here: how it is said (`report`).

pub mod access;
pub mod expect;
pub mod lumps;
pub mod order;
pub mod propose;
pub mod score;
mod search;
pub mod written;

use self::expect::Expectation;
use self::lumps::{Lumps, Use};
use self::order::{Order, footprint};
use self::propose::Proposer;
use self::score::{Cost, Scorer};
use self::search::Search;
use crate::case::{Case, CaseLayout, Rule, Step};
use crate::error::{Error, Result};
use crate::layout::interference::Interference;
use crate::program::steps::lower::each;
use crate::program::steps::roles;
use crate::sim::Machine;
use crate::space::LINE;
use std::sync::atomic::AtomicBool;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The layout to begin with, by number.
    pub baseline: usize,
    /// Most bytes of the struct; if none, those of the baseline with its parts, in whole lines.
    pub max_bytes: Option<usize>,
    /// Fields that keep their places relative to each other.
    pub keep: Vec<String>,
    /// Machine models, by name.
    pub machines: Vec<String>,
    /// Thread counts; if none, a few and many.
    pub threads: Vec<usize>,
    /// Everything random follows from this.
    pub seed: u64,
    /// How thoroughly is searched: 1 is usual, less is faster.
    pub effort: f64,
}

/// The machines where none are named: one of each kind, the most different ones first.
pub const MACHINES: [&str; 6] = [
    "broadwell-ep",
    "sapphire-rapids",
    "zen4",
    "skylake-sp",
    "icelake-sp",
    "graviton4",
];

/// A layout that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The layout, called `suggested-N`.
    pub layout: CaseLayout,
    /// The order that makes it.
    pub order: Order,
    /// The struct cut up as the order has it.
    pub lumps: Lumps,
    /// What is done with each lump.
    pub uses: Vec<Use>,
    /// Bytes of an object with its parts.
    pub footprint: usize,
    /// What it costs beside the baseline.
    pub cost: Cost,
}

/// A layout of the case, for comparison.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Bytes of an object with its parts.
    pub footprint: usize,
    /// What it costs beside the baseline.
    pub cost: Cost,
}

/// What the search brought.
#[derive(Clone, Debug)]
pub struct Suggestions {
    /// The layout that it began with.
    pub baseline: CaseLayout,
    /// Most bytes that a struct was allowed to have.
    pub max_bytes: usize,
    /// Machine models.
    pub machines: Vec<String>,
    /// Machine (by number) and threads of each figure.
    pub points: Vec<(usize, usize)>,
    /// Orders looked at, and simulated.
    pub looked: (usize, usize),
    /// No other one is both smaller and cheaper; the smallest first. Only what is better than the
    /// baseline, in size or in cost.
    pub front: Vec<Found>,
    /// All layouts of the case, the baseline first.
    pub known: Vec<Known>,
    /// Ways to access fields that would bring much.
    pub accesses: Vec<access::Change>,
    /// What the best layout costs with guessed work at its low end, in the middle, at its high end;
    /// none where no work is a guess.
    pub guesses: Option<[f64; 3]>,
    /// Fields of which several threads use the same bytes, and one of them writes.
    pub shared: Vec<String>,
    /// Rules of the case that the baseline breaks.
    pub broken: Vec<Rule>,
    /// Bytes of the struct that the case lists no member in.
    pub unlisted: usize,
}

/// Less than this is no gain.
pub const LEAST_GAIN: f64 = 0.01;

impl Suggestions {
    /// The cheapest, if it is cheaper than the baseline.
    pub fn best(&self) -> Option<&Found> {
        let cheaper = self.front.iter().filter(|found| is_gain(&found.cost));
        cheaper.min_by(|a, b| a.cost.ratio.total_cmp(&b.cost.ratio))
    }
}

/// Whether it is cheaper by more than noise, and by more than a per cent.
fn is_gain(cost: &Cost) -> bool {
    cost.ratio.ln() < -LEAST_GAIN.max(3.0 * cost.error)
}

/// Search.
pub fn suggest(case: &Case, request: &Request, stop: &AtomicBool) -> Result<Suggestions> {
    let baseline = case
        .layouts
        .get(request.baseline)
        .ok_or_else(|| Error::Input(format!("case {} has no such layout", case.name)))?;
    let max_bytes = max_bytes(case, baseline, request.max_bytes);
    let threads = threads(case, &request.threads)?;
    let machines = request.machines.iter().map(|name| Machine::load(name));
    let machines: Vec<Machine> = machines.collect::<Result<_>>()?;
    let most_threads = threads.iter().copied().max().unwrap_or(2);

    let cuts = cuts(case, baseline, &request.keep)?;
    let least = cuts.iter().map(Lumps::bytes).min().unwrap_or(0);
    if least > max_bytes {
        return Err(Error::Input(format!(
            "the members of layout '{}' take {least} bytes, and {max_bytes} are allowed; give a \
             larger --max-size, or change the rule of the case",
            baseline.name
        )));
    }
    let expects = cuts
        .iter()
        .map(|lumps| Expectation::of(case, baseline, lumps, most_threads));
    let expects: Vec<Expectation> = expects.collect::<Result<_>>()?;
    let proposers: Vec<Proposer<'_>> = cuts
        .iter()
        .zip(&expects)
        .map(|(lumps, expect)| Proposer {
            case,
            baseline,
            lumps,
            expect,
            max_bytes,
            threads: most_threads,
            stop,
        })
        .collect();
    let scorer = Scorer {
        case,
        machines,
        threads,
        seed: request.seed,
        accesses: expects.first().map_or(1.0, Expectation::accesses),
        stop,
    };
    let mut search = Search {
        baseline,
        proposers: &proposers,
        scorer: &scorer,
        scale: request.effort,
        simulated: 0,
    };
    let (finalists, looked) = search.finalists()?;

    // The last look: finalists and all layouts of the case, closely.
    let effort = search.effort(usize::MAX, usize::MAX, 6, 8, 150_000.0);
    let layouts = finalists.iter().map(|(cut, one)| search.layout(*cut, one));
    let mut layouts: Vec<CaseLayout> = layouts.collect();
    let found = layouts.len();
    layouts.push(baseline.clone());
    layouts.extend(
        case.layouts
            .iter()
            .filter(|one| one.name != baseline.name)
            .cloned(),
    );
    let times = scorer.times(&layouts, &effort)?;
    search.simulated += layouts.len();
    let cost = |n: usize| Cost::of(&times[n], &times[found]);
    let known = (found..layouts.len()).map(|n| Known {
        name: layouts[n].name.clone(),
        footprint: footprint(case, &layouts[n]),
        cost: cost(n),
    });
    let known: Vec<Known> = known.collect();
    let all = finalists
        .iter()
        .enumerate()
        .map(|(n, (cut, proposal))| Found {
            layout: layouts[n].clone(),
            order: proposal.order.clone(),
            lumps: cuts[*cut].clone(),
            uses: expects[*cut].uses(&cuts[*cut]),
            footprint: footprint(case, &layouts[n]),
            cost: cost(n),
        });
    let front = front(all.collect(), footprint(case, baseline));
    let best = front
        .iter()
        .filter(|found| is_gain(&found.cost))
        .min_by(|a, b| a.cost.ratio.total_cmp(&b.cost.ratio));
    let best_layout = best.map(|found| &found.layout);
    let guesses = match best_layout {
        Some(best) => guesses(&mut search, best)?,
        None => None,
    };
    let accesses = access::changes(
        case,
        &scorer,
        baseline,
        best_layout,
        &search.effort(3, 1, 2, 2, 60_000.0),
    )?;
    let rules = case.check(baseline, most_threads)?;
    let unlisted = front.iter().map(|found| found.lumps.unlisted()).max();
    let unlisted = unlisted.unwrap_or(cuts[0].unlisted());
    Ok(Suggestions {
        max_bytes,
        machines: request.machines.clone(),
        points: scorer.points(&effort),
        looked: (looked, search.simulated),
        front,
        known,
        accesses,
        guesses,
        broken: rules
            .into_iter()
            .filter(|rule| rule.breach.is_some())
            .map(|rule| rule.rule)
            .collect(),
        unlisted,
        shared: shared(case, baseline, most_threads)?,
        baseline: baseline.clone(),
    })
}

/// Fields that threads share truly, the heaviest first.
fn shared(case: &Case, baseline: &CaseLayout, threads: usize) -> Result<Vec<String>> {
    let subject = case.subject(baseline, threads)?;
    let map = Interference::of(&subject)?;
    let mut names: Vec<String> = Vec::new();
    for conflict in map.true_sharing() {
        let name = subject.field_name(conflict.region, conflict.a.field);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The most bytes that a struct may have.
fn max_bytes(case: &Case, baseline: &CaseLayout, asked: Option<usize>) -> usize {
    let parts: usize = baseline.parts.iter().map(|part| part.bytes).sum();
    let whole = (baseline.bytes + parts).next_multiple_of(LINE);
    let largest = case.layouts.iter().map(|layout| layout.bytes).max();
    let usual = match case.layouts.len() {
        1 => whole,
        _ => whole
            .min(largest.unwrap_or(whole).next_multiple_of(LINE))
            .max(baseline.bytes),
    };
    let by_rule = case.rules.iter().filter_map(|rule| match rule {
        Rule::MaxSize(most) => Some(*most),
        _ => None,
    });
    let asked = asked.unwrap_or(usual);
    by_rule.chain([asked]).min().unwrap_or(asked)
}

/// The thread counts, in ascending order.
fn threads(case: &Case, asked: &[usize]) -> Result<Vec<usize>> {
    let least = case.least_threads();
    let mut threads = match (asked, roles::has_rest(case)) {
        ([], false) => vec![least],
        ([], true) => vec![least.max(4), least.max(16)],
        (asked, _) => asked.to_vec(),
    };
    threads.sort_unstable();
    threads.dedup();
    for count in &threads {
        roles::duties(case, *count)?;
    }
    Ok(threads)
}

/// The ways to cut the struct: with its parts left alone, all in the struct, and each.
fn cuts(case: &Case, baseline: &CaseLayout, keep: &[String]) -> Result<Vec<Lumps>> {
    let parts = baseline.parts.len();
    let mut ways: Vec<Vec<usize>> = vec![Vec::new()];
    if parts > 0 {
        ways.push((0..parts).collect());
    }
    if parts > 1 {
        ways.extend((0..parts).map(|part| vec![part]));
    }
    let cuts = ways.iter().map(|way| Lumps::of(case, baseline, way, keep));
    cuts.collect()
}

/// Those for which no other is both smaller and no dearer, the smallest first; only what is better
/// than a baseline of so many bytes.
fn front(mut all: Vec<Found>, baseline: usize) -> Vec<Found> {
    // Of those whose costs cannot be told from each other, that with the fewest moves.
    let moves = |found: &Found| found.order.moved().len() + found.lumps.dissolved.len();
    all.sort_by(|a, b| {
        a.footprint
            .cmp(&b.footprint)
            .then_with(|| a.cost.ratio.total_cmp(&b.cost.ratio))
    });
    let mut front: Vec<Found> = Vec::new();
    for group in all.chunk_by(|a, b| a.footprint == b.footprint) {
        let Some(cheapest) = group.first() else {
            continue;
        };
        let alike = group
            .iter()
            .filter(|one| one.cost.ratio <= cheapest.cost.ratio * (1.0 + LEAST_GAIN / 2.0));
        let chosen = alike.min_by_key(|one| moves(one)).unwrap_or(cheapest);
        let smaller = front.last();
        let is_cheaper = smaller
            .is_none_or(|smaller| chosen.cost.ratio < smaller.cost.ratio * (1.0 - LEAST_GAIN));
        let is_better = is_gain(&chosen.cost)
            || chosen.footprint < baseline && chosen.cost.ratio < 1.0 + LEAST_GAIN;
        if is_cheaper && is_better {
            front.push(chosen.clone());
        }
    }
    for (n, found) in front.iter_mut().enumerate() {
        found.layout.name = format!("suggested-{}", n + 1);
    }
    front
}

/// The best layout's cost where guessed work is at its low end, in the middle, at its high end.
fn guesses(search: &mut Search<'_>, best: &CaseLayout) -> Result<Option<[f64; 3]>> {
    let mut guessed = false;
    for steps in &best.steps {
        each(steps, &mut |step| {
            guessed |= matches!(step, Step::Work { from_ns, to_ns } if from_ns < to_ns);
        });
    }
    if !guessed {
        return Ok(None);
    }
    let effort = search.effort(usize::MAX, usize::MAX, 2, 2, 60_000.0);
    let mut costs = [1.0; 3];
    for (cost, at) in costs.iter_mut().zip([0.0, 0.5, 1.0]) {
        let fixed = |layout: &CaseLayout| CaseLayout {
            steps: access::with_work_at(&layout.steps, at),
            ..layout.clone()
        };
        let times = search
            .scorer
            .times(&[fixed(best), fixed(search.baseline)], &effort)?;
        *cost = Cost::of(&times[0], &times[1]).ratio;
    }
    Ok(Some(costs))
}
