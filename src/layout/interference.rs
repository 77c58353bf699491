//! The interference map: which uses of fields by different threads meet in one line, or only in one
//! pair, within an object and across neighbouring slots, and what no layout can part.
//!
//! A weight says how many accesses a pass, of both sides together, may find that the other one has
//! taken the line away: where a reader and a writer meet, the rarer of the two counts. It knows no
//! time: to learn what a conflict costs, simulate or measure it.

use super::meet::meet;
use super::subject::{Elements, Region, Subject, Touch, Whose};
use crate::error::{Error, Result};
use crate::space::{LINE, PAIR};
use std::collections::BTreeMap;

crate::text::words! {
    /// Reach which objects a conflict is.
    pub enum Reach as "scope" {
        /// Fields of one object.
        Object = "object",
        /// Fields of two objects in slots near each other.
        Neighbour = "neighbour",
    }
}

crate::text::words! {
    /// What kind of conflict it is.
    pub enum Clash as "kind of conflict" {
        /// Several threads use the same bytes, and one of them writes: no layout parts them.
        TrueSharing = "true-sharing",
        /// Both sides write, to different bytes.
        WriterWriter = "writer-writer",
        /// The first writes, the second reads other bytes.
        WriterReader = "writer-reader",
    }
}

/// What an actor does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldUse {
    /// The field, by number.
    pub field: usize,
    /// The actor, by number.
    pub actor: usize,
}

/// Two uses by different threads that get in each other's way.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The kind of object, by number.
    pub region: usize,
    /// Reach which objects.
    pub between: Reach,
    /// Where they meet: in a line (64), or only in a pair (128), which an adjacent-line prefetcher
    /// fetches whole.
    pub within: usize,
    /// What kind it is.
    pub clash: Clash,
    /// One use: the writer, if only one writes.
    pub a: FieldUse,
    /// The other.
    pub b: FieldUse,
    /// The weight in each phase that a slot may start at in its pair, where it is not 0. Of two
    /// slots: that of the first one.
    pub phases: Vec<(usize, f64)>,
    /// The mean weight over the slots of a run.
    pub weight: f64,
}

/// How many objects of a full slab or array (of its first 65,536) have a conflict with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded {
    /// Those that share a line.
    pub lines: usize,
    /// Those that share a line or a pair.
    pub pairs: usize,
    /// Objects looked at.
    pub of: usize,
}

/// The interference map of a layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Interference {
    /// Conflicts, the heaviest first.
    pub conflicts: Vec<Conflict>,
    /// For each region.
    pub crowded: Vec<Crowded>,
}

/// Most pairs of uses that are looked at.
const MOST_PAIRS: usize = 4_000_000;
/// Most conflicts of a region, counted once for each phase.
const MOST_CONFLICTS: usize = 200_000;
/// Most objects of an array that are looked at to count the crowded ones.
const MOST_OBJECTS: usize = 65_536;
/// Most lines that all touches of a region lie in together.
const MOST_LINES: usize = 200_000;

impl Interference {
    /// The map of `subject`.
    pub fn of(subject: &Subject) -> Result<Interference> {
        let mut map = Interference {
            conflicts: Vec::new(),
            crowded: Vec::new(),
        };
        for (number, region) in subject.regions.iter().enumerate() {
            let mut found = RegionMap::new(subject, number, region)?;
            found.look()?;
            map.crowded.push(found.crowded());
            map.conflicts.extend(found.conflicts());
        }
        map.conflicts.sort_by(|x, y| {
            let key = |c: &Conflict| (c.region, c.between, c.within, c.clash, c.a, c.b);
            y.weight
                .total_cmp(&x.weight)
                .then_with(|| key(x).cmp(&key(y)))
        });
        Ok(map)
    }

    /// The conflicts that a layout could part, the heaviest first.
    pub fn false_sharing(&self) -> impl Iterator<Item = &Conflict> {
        let conflicts = self.conflicts.iter();
        conflicts.filter(|conflict| conflict.clash != Clash::TrueSharing)
    }

    /// What no layout removes, the heaviest first.
    pub fn true_sharing(&self) -> impl Iterator<Item = &Conflict> {
        let conflicts = self.conflicts.iter();
        conflicts.filter(|conflict| conflict.clash == Clash::TrueSharing)
    }
}

/// A line that a touch lies in.
#[derive(Clone, Copy)]
struct InLine {
    line: usize,
    touch: usize,
    /// The part of its accesses that goes to this line.
    share: f64,
    /// Elements of it in this line.
    elements: usize,
}

/// What is added up for two touches at one phase and distance.
#[derive(Default)]
struct Sum {
    same_bytes: f64,
    line: f64,
    pair: f64,
    in_line: bool,
}

/// What a conflict is known by.
type ConflictKey = (Reach, usize, Clash, FieldUse, FieldUse);

/// The conflicts of one region, as far as they are found.
struct RegionMap<'a> {
    subject: &'a Subject,
    number: usize,
    region: &'a Region,
    /// Farthest slot that may share a pair.
    farthest: usize,
    /// By conflict, the weight at each phase, and the sum of weights over the slots of a run.
    sums: BTreeMap<ConflictKey, (BTreeMap<usize, f64>, f64)>,
    /// The distances at which slots of a phase share a line (true) or only a pair.
    shared: Vec<(usize, usize, bool)>,
    /// Pairs of uses looked at.
    looked: usize,
    /// Those of them that are conflicts.
    booked: usize,
}

impl<'a> RegionMap<'a> {
    fn new(subject: &'a Subject, number: usize, region: &'a Region) -> Result<RegionMap<'a>> {
        let lines: usize = region
            .touches
            .iter()
            .map(|touch| touch.end.saturating_sub(touch.start) / LINE + 2)
            .sum();
        if lines > MOST_LINES {
            return Err(Error::Input(format!(
                "'{}': its roles touch more than {MOST_LINES} lines; name fewer or smaller fields",
                region.name.escape_debug()
            )));
        }
        Ok(RegionMap {
            subject,
            number,
            region,
            farthest: region.farthest(),
            sums: BTreeMap::new(),
            shared: Vec::new(),
            looked: 0,
            booked: 0,
        })
    }

    fn look(&mut self) -> Result<()> {
        let slot = self.region.packing.slot().unwrap_or(0);
        for (phase, _) in self.region.phases() {
            let here = self.lines(phase);
            for distance in 0..=self.farthest {
                let there = match distance {
                    0 => here.clone(),
                    _ => self.lines(phase + distance * slot),
                };
                self.join(phase, distance, &here, &there)?;
            }
        }
        Ok(())
    }

    /// The lines that touches of an object at `base` lie in, by line.
    fn lines(&self, base: usize) -> Vec<InLine> {
        let mut lines = Vec::new();
        for (number, touch) in self.region.touches.iter().enumerate() {
            let (start, end) = (base + touch.start, base + touch.end);
            if start >= end {
                continue;
            }
            for line in start / LINE..=(end - 1) / LINE {
                let from = start.max(line * LINE);
                let to = end.min((line + 1) * LINE);
                let (share, elements) = match touch.spread() {
                    Some((count, bytes)) if bytes > 0 => {
                        let first = (from - start) / bytes;
                        let last = ((to - 1 - start) / bytes).min(count - 1);
                        let elements = (last + 1).saturating_sub(first);
                        (elements as f64 / count as f64, elements)
                    }
                    _ => (1.0, 1),
                };
                lines.push(InLine {
                    line,
                    touch: number,
                    share,
                    elements,
                });
            }
        }
        lines.sort_by_key(|in_line| in_line.line);
        lines
    }

    /// Everything that the touches `here` have with those of the object `distance` slots behind.
    fn join(
        &mut self,
        phase: usize,
        distance: usize,
        here: &[InLine],
        there: &[InLine],
    ) -> Result<()> {
        let pair = |in_line: &InLine| in_line.line * LINE / PAIR;
        let mut sums: BTreeMap<(usize, usize), Sum> = BTreeMap::new();
        for bucket in here.chunk_by(|x, y| pair(x) == pair(y)) {
            let Some(first) = bucket.first() else {
                continue;
            };
            let from = there.partition_point(|in_line| pair(in_line) < pair(first));
            let to = there.partition_point(|in_line| pair(in_line) <= pair(first));
            let others = there.get(from..to).unwrap_or_default();
            self.looked = self.looked.saturating_add(bucket.len() * others.len());
            if self.looked > MOST_PAIRS || self.booked + sums.len() > MOST_CONFLICTS {
                return Err(Error::Input(format!(
                    "'{}': too many uses lie near each other for a map; let its roles touch fewer \
                     fields",
                    self.region.name.escape_debug()
                )));
            }
            for x in bucket {
                for y in others {
                    if distance > 0 || x.touch <= y.touch {
                        self.add(&mut sums, distance, x, y);
                    }
                }
            }
        }
        self.booked += sums.len();
        self.take(phase, distance, sums);
        Ok(())
    }

    /// Add what two touches have in one line, or in the two lines of a pair.
    fn add(
        &self,
        sums: &mut BTreeMap<(usize, usize), Sum>,
        distance: usize,
        x: &InLine,
        y: &InLine,
    ) {
        let touches = &self.region.touches;
        let (Some(u), Some(v)) = (touches.get(x.touch), touches.get(y.touch)) else {
            return;
        };
        if u.stores <= 0.0 && v.stores <= 0.0 {
            return;
        }
        let meets = |of, by, distance| meet(self.subject, self.region, of, by, distance);
        let (ahead, back) = (
            meets(u, v, distance as isize),
            meets(v, u, -(distance as isize)),
        );
        let in_line = x.line == y.line;
        let (mut share_x, mut share_y, mut same) = (x.share, y.share, 0.0);
        if distance == 0 && in_line {
            same = f64::from(u.start < v.end && v.start < u.end);
            if u.field == v.field && u.spread().is_some() && v.spread().is_some() {
                same = 1.0 / x.elements.max(1) as f64;
                let each_its_own = |elements| match elements {
                    Elements::Own(count) => self.subject.threads <= count,
                    _ => false,
                };
                if each_its_own(u.elements) && each_its_own(v.elements) {
                    same = 0.0;
                    // Another thread is on another element.
                    let left = |in_line: &InLine| {
                        let all = in_line.elements as f64 / in_line.share;
                        (in_line.elements as f64 - 1.0) / (all - 1.0).max(1.0)
                    };
                    (share_x, share_y) = (left(x), left(y));
                }
            }
        }
        let mut weight = self.lost(u, v, x.share, share_y, ahead);
        if distance > 0 || x.touch != y.touch {
            weight += self.lost(v, u, y.share, share_x, back);
        }
        if weight <= 0.0 {
            return;
        }
        let sum = sums.entry((x.touch, y.touch)).or_default();
        if in_line {
            sum.in_line = true;
            sum.same_bytes += weight * same;
            sum.line += weight * (1.0 - same);
        } else {
            sum.pair += weight;
        }
    }

    /// How many accesses of `of` a pass may find their line taken away by `by`, when on average so
    /// many threads of that are there.
    fn lost(&self, of: &Touch, by: &Touch, share_of: f64, share_by: f64, there: f64) -> f64 {
        let by_stores = (of.accesses() * share_of).min(by.stores * share_by * there);
        let by_accesses = (of.stores * share_of).min(by.accesses() * share_by * there);
        let objects = match of.whose {
            Whose::Each => self.region.objects.unwrap_or(1) as f64,
            _ => 1.0,
        };
        by_stores.max(by_accesses) * objects
    }

    /// Book what was added up at a phase and distance.
    fn take(&mut self, phase: usize, distance: usize, sums: BTreeMap<(usize, usize), Sum>) {
        let between = match distance {
            0 => Reach::Object,
            _ => Reach::Neighbour,
        };
        let slots = self.slots(phase, distance) as f64;
        if slots == 0.0 {
            return;
        }
        let mut shared = [false; 2];
        for ((x, y), sum) in sums {
            let touches = &self.region.touches;
            let (Some(u), Some(v)) = (touches.get(x), touches.get(y)) else {
                continue;
            };
            let (within, weight) = match sum.in_line {
                true => (LINE, sum.line),
                false => (PAIR, sum.pair),
            };
            shared[usize::from(sum.in_line)] = true;
            let clash = match u.stores > 0.0 && v.stores > 0.0 {
                true => Clash::WriterWriter,
                false => Clash::WriterReader,
            };
            let of = |touch: &Touch| FieldUse {
                field: touch.field,
                actor: touch.actor,
            };
            let (mut a, mut b) = (of(u), of(v));
            let swap = match clash {
                Clash::WriterReader => u.stores <= 0.0,
                _ => b < a,
            };
            if swap {
                (a, b) = (b, a);
            }
            for (clash, within, weight) in [
                (clash, within, weight),
                (Clash::TrueSharing, LINE, sum.same_bytes),
            ] {
                if weight > 0.0 {
                    let key = (between, within, clash, a, b);
                    let (phases, total) = self.sums.entry(key).or_default();
                    *phases.entry(phase).or_default() += weight;
                    *total += weight * slots;
                }
            }
        }
        if distance > 0 && (shared[0] || shared[1]) {
            self.shared.push((phase, distance, shared[1]));
        }
    }

    /// Slots of a full run that start at `phase` and have another one `distance` slots behind.
    fn slots(&self, phase: usize, distance: usize) -> usize {
        let slot = self.region.packing.slot().unwrap_or(0);
        let run = self.region.packing.run().saturating_sub(distance);
        let first =
            (0..run.min(PAIR)).filter(|k| (k * (slot % PAIR) + self.region.at) % PAIR == phase);
        first.map(|k| (run - k).div_ceil(PAIR)).sum()
    }

    fn crowded(&self) -> Crowded {
        let slot = self.region.packing.slot().unwrap_or(0);
        let run = self.region.packing.run().min(MOST_OBJECTS);
        let mut marks = vec![(false, false); if self.shared.is_empty() { 0 } else { run }];
        let mut by_phase: BTreeMap<usize, Vec<(usize, bool)>> = BTreeMap::new();
        for &(phase, distance, line) in &self.shared {
            by_phase.entry(phase).or_default().push((distance, line));
        }
        for k in 0..marks.len() {
            let phase = (k % PAIR * (slot % PAIR) + self.region.at) % PAIR;
            for &(distance, line) in by_phase.get(&phase).into_iter().flatten() {
                if k + distance < marks.len() {
                    for k in [k, k + distance] {
                        if let Some(mark) = marks.get_mut(k) {
                            *mark = (mark.0 || line, true);
                        }
                    }
                }
            }
        }
        Crowded {
            lines: marks.iter().filter(|mark| mark.0).count(),
            pairs: marks.iter().filter(|mark| mark.1).count(),
            of: run,
        }
    }

    fn conflicts(self) -> Vec<Conflict> {
        let run = self.region.packing.run() as f64;
        let number = self.number;
        let sums = self.sums.into_iter();
        sums.map(
            |((between, within, clash, a, b), (phases, total))| Conflict {
                region: number,
                between,
                within,
                clash,
                a,
                b,
                phases: phases.into_iter().collect(),
                weight: total / run,
            },
        )
        .collect()
    }
}
