//! Which orders are worth simulating: moves of what is in conflict, again and again from the best,
//! and what is used alike put together.
//!
//! Here: many orders, scored by what they are expected to cost. Not here: the simulator (`score`).

use super::expect::{Expectation, Taste};
use super::lumps::Lumps;
use super::order::{Order, Packed};
use crate::case::{Case, CaseLayout, Rule};
use crate::error::{Error, Result};
use crate::space::{LINE, PAIR};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

/// An order that may be simulated.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The order.
    pub order: Order,
    /// Where it puts everything.
    pub packed: Packed,
    /// How many lumps are moved.
    pub moves: usize,
    /// What it is expected to cost, by each of the [`TASTES`].
    expected: [f64; TASTES.len()],
}

/// What all orders of one way to cut the struct have in common.
pub struct Proposer<'a> {
    /// The case.
    pub case: &'a Case,
    /// The layout that it starts from.
    pub baseline: &'a CaseLayout,
    /// The struct cut up.
    pub lumps: &'a Lumps,
    /// How lumps are accessed.
    pub expect: &'a Expectation,
    /// Most bytes of the struct.
    pub max_bytes: usize,
    /// Threads that the rules of the case are held against.
    pub threads: usize,
    /// Set when all is to be given up.
    pub stop: &'a AtomicBool,
}

/// How much a meeting in a pair, of two writers, and a line count: orders that are best in any of
/// these ways are simulated.
const TASTES: [Taste; 3] = [
    Taste {
        pair: 0.3,
        writers: 1.0,
        line: 0.02,
    },
    Taste {
        pair: 0.02,
        writers: 1.0,
        line: 0.1,
    },
    Taste {
        pair: 0.3,
        writers: 0.0,
        line: 0.1,
    },
];
/// Orders that the next round of moves begins with, of each size by each taste.
const BEAM: usize = 3;
/// Rounds of moves.
const ROUNDS: usize = 3;
/// Most classes whose orders are all tried.
const MOST_CLASSES: usize = 4;
/// Most sizes of the struct, in lines, that are looked at for themselves.
const MOST_SIZES: usize = 4;
/// Most orders that are remembered.
const MOST_KNOWN: usize = 4096;
/// Most places that a group is moved to.
const PLACES: usize = 40;
/// Most groups that are moved.
const GROUPS: usize = 24;

/// Two orders that share this are the same to every cache: where accessed lumps lie.
type Key = (Vec<usize>, usize, usize);

impl Proposer<'_> {
    /// The most promising orders: `most` of each size by each taste at most, the best of each first.
    pub fn propose(&self, most: usize) -> Result<Vec<Proposal>> {
        let cold = self.expect.cold(self.lumps);
        let mut known: BTreeMap<Key, Proposal> = BTreeMap::new();
        let aligns = self.aligns();
        let start: Vec<Order> = aligns
            .iter()
            .map(|align| Order::of_baseline(self.lumps, *align))
            .collect();
        for order in &start {
            self.note(order.clone(), &cold, &mut known);
            self.note(order.filled(self.lumps, &cold), &cold, &mut known);
        }
        self.by_class(&aligns, &cold, &mut known);
        let mut beam = start;
        let groups = self.groups();
        for _ in 0..ROUNDS {
            for order in &beam {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                for group in &groups {
                    for moved in self.moves(order, group, &cold) {
                        self.note(moved, &cold, &mut known);
                    }
                    prune(&mut known);
                }
            }
            let mut next: Vec<Order> = Vec::new();
            for (class, taste) in views(&known) {
                for key in best(&known, taste, Some(class)).into_iter().take(BEAM) {
                    let order = &known[key].order;
                    if !next.contains(order) {
                        next.push(order.clone());
                    }
                }
            }
            if next == beam {
                break;
            }
            beam = next;
        }
        let mut chosen: Vec<Proposal> = Vec::new();
        let mut seen: BTreeSet<&Key> = BTreeSet::new();
        let mut held: BTreeMap<&Key, bool> = BTreeMap::new();
        for (class, taste) in views(&known) {
            let mut taken = 0;
            let best = best(&known, taste, Some(class));
            // A rule is held against so many orders at most: those behind are no good anyway.
            for key in best.into_iter().take(most * 8) {
                if taken == most {
                    break;
                }
                let proposal = &known[key];
                let holds = match held.get(key) {
                    Some(holds) => *holds,
                    None => self.keeps_rules(proposal)?,
                };
                held.insert(key, holds);
                if holds {
                    taken += 1;
                    if seen.insert(key) {
                        chosen.push(proposal.clone());
                    }
                }
            }
        }
        Ok(chosen)
    }

    /// Orders one move away from `order`, as they are worth simulating.
    pub fn near(&self, order: &Order, most: usize) -> Result<Vec<Proposal>> {
        let cold = self.expect.cold(self.lumps);
        let mut known = BTreeMap::new();
        for group in self.groups() {
            for moved in self.moves(order, &group, &cold) {
                self.note(moved, &cold, &mut known);
            }
            prune(&mut known);
        }
        let mut chosen = Vec::new();
        for key in best(&known, 0, None).into_iter().take(most * 4) {
            if chosen.len() < most && self.keeps_rules(&known[key])? {
                chosen.push(known[key].clone());
            }
        }
        Ok(chosen)
    }

    /// What makes two proposals the same to every cache.
    pub fn key(&self, proposal: &Proposal) -> impl Ord + use<> {
        let cold = self.expect.cold(self.lumps);
        key(&proposal.order, &proposal.packed, &cold)
    }

    fn keeps_rules(&self, proposal: &Proposal) -> Result<bool> {
        if self.case.rules.is_empty() {
            return Ok(true);
        }
        let layout = proposal.order.layout(self.lumps, self.baseline, "order");
        let rules = self.case.check(&layout, self.threads)?;
        Ok(rules.iter().all(|rule| rule.breach.is_none()))
    }

    /// Alignments of the struct that are tried.
    fn aligns(&self) -> Vec<usize> {
        let at = self.case.objects.at;
        let own = self.baseline.align;
        let all = [own, own.min(8), LINE, PAIR];
        let mut aligns: Vec<usize> = Vec::new();
        for align in all {
            // Whole pairs are for objects of a line or less: counters of a thread each.
            let wanted = align != PAIR || own == PAIR || self.baseline.bytes <= LINE;
            if wanted && at.is_multiple_of(align) && !aligns.contains(&align) {
                aligns.push(align);
            }
        }
        aligns
    }

    /// Lumps that are moved together.
    fn groups(&self) -> Vec<Vec<usize>> {
        let conflicts = self.expect.in_conflict();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut add = |group: Vec<usize>| {
            if !group.is_empty() && groups.len() < GROUPS && !groups.contains(&group) {
                groups.push(group);
            }
        };
        for class in self.expect.classes() {
            add(class);
        }
        for rule in &self.case.rules {
            if let Rule::Together(fields) = rule {
                let lumps = fields.iter().filter_map(|name| self.lumps.lump_of(name));
                let lumps: BTreeSet<usize> = lumps.collect();
                add(lumps.into_iter().collect());
            }
        }
        for lump in conflicts {
            add(vec![lump]);
        }
        groups
    }

    /// Every order in which `group` lies elsewhere.
    fn moves(&self, order: &Order, group: &[usize], cold: &[bool]) -> Vec<Order> {
        let is_moved = |(lump, _): &(usize, bool)| group.contains(lump);
        let mut rest: Vec<(usize, bool)> = Vec::new();
        let mut carried = false;
        for one in &order.sequence {
            if is_moved(one) {
                carried |= one.1;
                continue;
            }
            rest.push((one.0, one.1 || carried));
            carried = false;
        }
        let mut moved = Vec::new();
        for at in places(rest.len()) {
            for (on_line, next_on_line) in [(false, false), (true, false), (true, true)] {
                let mut sequence = rest.clone();
                if next_on_line {
                    match sequence.get_mut(at) {
                        Some(next) => next.1 = true,
                        None => continue,
                    }
                }
                let first = group.iter().enumerate();
                let group = first.map(|(i, lump)| (*lump, on_line && i == 0));
                sequence.splice(at..at, group);
                let order = Order {
                    sequence,
                    align: order.align,
                };
                let filled = order.filled(self.lumps, cold);
                if filled != order {
                    moved.push(filled);
                }
                moved.push(order);
            }
        }
        moved
    }

    /// What is used alike in lines of its own, in every order of the classes.
    fn by_class(&self, aligns: &[usize], cold: &[bool], known: &mut BTreeMap<Key, Proposal>) {
        let mut classes = self.expect.classes();
        classes.truncate(MOST_CLASSES);
        let is_classed = |lump: &usize| classes.iter().any(|class| class.contains(lump));
        let all = 0..self.lumps.all.len();
        let others: Vec<usize> = all.filter(|lump| !is_classed(lump)).collect();
        for permutation in permutations(classes.len()) {
            for lines in 0..1usize << classes.len() {
                for others_first in [false, true] {
                    let mut sequence: Vec<(usize, bool)> = Vec::new();
                    if others_first {
                        sequence.extend(others.iter().map(|lump| (*lump, false)));
                    }
                    for (n, class) in permutation.iter().enumerate() {
                        let on_line = lines >> n & 1 == 1;
                        let class = classes[*class].iter().enumerate();
                        sequence.extend(class.map(|(i, lump)| (*lump, on_line && i == 0)));
                    }
                    if !others_first {
                        sequence.extend(others.iter().map(|lump| (*lump, false)));
                    }
                    for align in aligns {
                        let order = Order {
                            sequence: sequence.clone(),
                            align: *align,
                        };
                        self.note(order.filled(self.lumps, cold), cold, known);
                        self.note(order, cold, known);
                    }
                }
            }
            prune(known);
        }
    }

    /// Keep an order if it fits, and no order that caches cannot tell from it has fewer moves.
    fn note(&self, order: Order, cold: &[bool], known: &mut BTreeMap<Key, Proposal>) {
        let packed = order.pack(self.lumps);
        let lines = order.sequence.iter().any(|(_, on_line)| *on_line);
        let align = if lines {
            order.align.max(LINE)
        } else {
            order.align
        };
        let room = self.case.objects.enclosing_bytes;
        let fits = packed.bytes <= self.max_bytes
            && self.case.objects.at.is_multiple_of(align)
            && room.is_none_or(|room| self.case.objects.at + packed.bytes <= room);
        if !fits {
            return;
        }
        let order = Order { align, ..order };
        let expected = TASTES.map(|taste| self.expect.cost(&packed, align, taste));
        let proposal = Proposal {
            expected,
            moves: order.moved().len(),
            packed,
            order,
        };
        let key = key(&proposal.order, &proposal.packed, cold);
        match known.get(&key) {
            Some(old) if old.moves <= proposal.moves => {}
            _ => drop(known.insert(key, proposal)),
        }
    }
}

/// Lines that a struct takes: smaller ones are of interest though they cost more.
fn lines(proposal: &Proposal) -> usize {
    proposal.packed.bytes.div_ceil(LINE)
}

/// The sizes, each by each of the [`TASTES`]; of many sizes the smallest and the largest.
fn views(known: &BTreeMap<Key, Proposal>) -> Vec<(usize, usize)> {
    let sizes: BTreeSet<usize> = known.values().map(lines).collect();
    let mut sizes: Vec<usize> = sizes.into_iter().collect();
    if sizes.len() > MOST_SIZES {
        sizes.drain(MOST_SIZES / 2..sizes.len() - MOST_SIZES / 2);
    }
    let tastes = |size| (0..TASTES.len()).map(move |taste| (size, taste));
    sizes.into_iter().flat_map(tastes).collect()
}

/// Orders by what they are expected to cost by a taste, the cheapest first: of so many lines, or
/// all.
fn best(known: &BTreeMap<Key, Proposal>, taste: usize, size: Option<usize>) -> Vec<&Key> {
    let all = known.iter();
    let of_size = |(_, one): &(&Key, &Proposal)| size.is_none_or(|size| lines(one) == size);
    let mut all: Vec<(&Key, &Proposal)> = all.filter(of_size).collect();
    all.sort_by(|(key, a), (other, b)| {
        let rest = |of: &Proposal| (of.packed.bytes, of.moves);
        a.expected[taste]
            .total_cmp(&b.expected[taste])
            .then_with(|| rest(a).cmp(&rest(b)))
            .then_with(|| key.cmp(other))
    });
    all.into_iter().map(|(key, _)| key).collect()
}

/// Forget all but the best, where there are many.
fn prune(known: &mut BTreeMap<Key, Proposal>) {
    if known.len() <= MOST_KNOWN {
        return;
    }
    let views = views(known);
    let each = MOST_KNOWN / 2 / views.len().max(1);
    let mut kept: BTreeSet<Key> = BTreeSet::new();
    for (size, taste) in views {
        let best = best(known, taste, Some(size)).into_iter();
        kept.extend(best.take(each).cloned());
    }
    known.retain(|key, _| kept.contains(key));
}

fn key(order: &Order, packed: &Packed, cold: &[bool]) -> Key {
    let offsets = packed.offsets.iter().zip(cold);
    let hot = offsets.filter(|(_, cold)| !**cold);
    let places = hot.map(|(offset, _)| match order.align.is_multiple_of(LINE) {
        // Where in its line a lump lies makes no difference.
        true => offset / LINE,
        false => *offset,
    });
    (places.collect(), packed.bytes, order.align)
}

/// Places between so many lumps, all or evenly spread.
fn places(lumps: usize) -> impl Iterator<Item = usize> {
    let step = (lumps + 1).div_ceil(PLACES).max(1);
    (0..=lumps).filter(move |at| at % step == 0 || *at == lumps)
}

/// Every order of so many things.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for number in 0..count {
        let longer = all.iter().flat_map(|shorter: &Vec<usize>| {
            (0..=shorter.len()).map(move |at| {
                let mut longer = shorter.clone();
                longer.insert(at, number);
                longer
            })
        });
        all = longer.collect();
    }
    all
}
