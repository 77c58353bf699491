//! What an order is expected to cost, without simulating it: how often accesses may find that
//! another thread has taken their line, or only its pair, and how many lines are touched.
//!
//! The weights are those of the interference map; they know no time, and only choose which orders
//! are simulated.

use super::lumps::{Lumps, Use};
use super::order::Packed;
use crate::case::{Case, CaseLayout};
use crate::error::Result;
use crate::layout::meet::meet;
use crate::layout::subject::{Subject, Touch, Whose};
use crate::space::{LINE, PAIR};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a lump that are accessed.
struct Touched {
    lump: usize,
    from: usize,
    to: usize,
    loads: f64,
    stores: f64,
}

/// Two accesses that get in each other's way where they meet.
struct Pairing {
    a: usize,
    b: usize,
    /// Slots from the object of the first to that of the second.
    distance: usize,
    weight: f64,
    /// Whether both write.
    both_write: bool,
}

/// What is known of the accesses to lumps.
pub struct Expectation {
    touched: Vec<Touched>,
    pairings: Vec<Pairing>,
    /// Offset of the object in its slot, and bytes of the slot where an enclosing object has them.
    at: usize,
    enclosing: Option<usize>,
    /// Whether slots may begin in either half of a pair.
    in_slab: bool,
    /// Accesses of a pass that are known, of all roles.
    accesses: f64,
}

/// How much the kinds of meeting count beside one in a line.
#[derive(Clone, Copy, Debug)]
pub struct Taste {
    /// One only in a pair.
    pub pair: f64,
    /// Two writers in a line: less than 1 where each misses anyway.
    pub writers: f64,
    /// A line that is touched.
    pub line: f64,
}

/// Most pairings that are looked at: the heaviest.
const MOST_PAIRINGS: usize = 1000;
/// Most accesses of lumps that are looked at: the heaviest.
const MOST: usize = 160;

impl Expectation {
    /// Of `layout`, from which `lumps` are cut, with so many threads.
    pub fn of(
        case: &Case,
        layout: &CaseLayout,
        lumps: &Lumps,
        threads: usize,
    ) -> Result<Expectation> {
        let subject = case.subject(layout, threads)?;
        let regions = 1 + layout.parts.len();
        let mut accesses = 0.0;
        for region in &subject.regions {
            let all = region.touches.iter();
            accesses += all.map(|touch| touch.loads + touch.stores).sum::<f64>();
        }
        let mut touches: Vec<(Touched, &Touch)> = Vec::new();
        for region in subject.regions.iter().take(regions) {
            for touch in &region.touches {
                let Some(spot) = region.fields.get(touch.field) else {
                    continue;
                };
                let fields = lumps.all.iter().enumerate().flat_map(|(n, lump)| {
                    let fields = lump.fields.iter();
                    fields.map(move |field| (n, field))
                });
                let found = fields
                    .into_iter()
                    .find(|(_, field)| field.name == spot.name);
                let Some((lump, field)) = found else {
                    continue;
                };
                let within = |byte: usize| field.offset + byte.saturating_sub(spot.offset);
                let touched = Touched {
                    lump,
                    from: within(touch.start),
                    to: within(touch.end),
                    loads: touch.loads,
                    stores: touch.stores,
                };
                touches.push((touched, touch));
            }
        }
        touches.sort_by(|(_, a), (_, b)| b.accesses().total_cmp(&a.accesses()));
        touches.truncate(MOST);
        let pairings = pairings(&subject, &touches);
        let touched = touches.into_iter().map(|(touched, _)| touched);
        let touched: Vec<Touched> = touched.collect();
        Ok(Expectation {
            pairings,
            touched,
            at: case.objects.at,
            enclosing: case.objects.enclosing_bytes,
            in_slab: subject.regions[0].packing.slot().is_some(),
            accesses: accesses.max(1.0),
        })
    }

    /// Accesses of a pass of every role together.
    pub fn accesses(&self) -> f64 {
        self.accesses
    }

    /// What is done with each lump.
    pub fn uses(&self, lumps: &Lumps) -> Vec<Use> {
        let mut uses = vec![Use::Cold; lumps.all.len()];
        for touched in &self.touched {
            let used = &mut uses[touched.lump];
            if touched.stores > 0.0 {
                *used = Use::Written;
            } else if *used == Use::Cold {
                *used = Use::Read;
            }
        }
        uses
    }

    /// Which lumps nobody accesses.
    pub fn cold(&self, lumps: &Lumps) -> Vec<bool> {
        let mut cold = vec![true; lumps.all.len()];
        for touched in &self.touched {
            cold[touched.lump] = false;
        }
        cold
    }

    /// Lumps that get in another one's way if they meet it.
    pub fn in_conflict(&self) -> BTreeSet<usize> {
        let both = |pairing: &Pairing| [self.touched[pairing.a].lump, self.touched[pairing.b].lump];
        self.pairings.iter().flat_map(both).collect()
    }

    /// Accessed lumps that are used alike: read alone, or written, by the same lumps' enemies.
    pub fn classes(&self) -> Vec<Vec<usize>> {
        let mut enemies: BTreeMap<usize, (bool, BTreeSet<usize>)> = BTreeMap::new();
        for touched in &self.touched {
            enemies.entry(touched.lump).or_default().0 |= touched.stores > 0.0;
        }
        for pairing in &self.pairings {
            let (a, b) = (self.touched[pairing.a].lump, self.touched[pairing.b].lump);
            enemies.entry(a).or_default().1.insert(b);
            enemies.entry(b).or_default().1.insert(a);
        }
        // Members of a class are enemies of each other where both are written.
        let mut classes: BTreeMap<(bool, BTreeSet<usize>), Vec<usize>> = BTreeMap::new();
        for (lump, (writes, mut of)) in enemies {
            if writes {
                of.insert(lump);
            }
            classes.entry((writes, of)).or_default().push(lump);
        }
        classes.into_values().collect()
    }

    /// What an order of `align` is expected to cost a pass.
    pub fn cost(&self, packed: &Packed, align: usize, taste: Taste) -> f64 {
        let slot = self
            .enclosing
            .unwrap_or(packed.bytes)
            .next_multiple_of(align.max(1));
        let phases = match (self.in_slab, slot % PAIR) {
            (false, _) | (_, 0) => 1,
            (true, _) => (PAIR / gcd(slot, PAIR)).min(8),
        };
        let lies = |touched: &Touched, phase: usize| {
            let base = phase + packed.offsets[touched.lump];
            (
                base + touched.from,
                base + touched.to.max(touched.from + 1) - 1,
            )
        };
        let mut cost = 0.0;
        for number in 0..phases {
            let phase = (number * slot + self.at) % PAIR;
            for pairing in &self.pairings {
                let (a, b) = (&self.touched[pairing.a], &self.touched[pairing.b]);
                let (a, b) = (lies(a, phase), lies(b, phase + pairing.distance * slot));
                let meets = |unit: usize| a.0 / unit <= b.1 / unit && b.0 / unit <= a.1 / unit;
                let weight = match pairing.both_write {
                    true => pairing.weight * taste.writers,
                    false => pairing.weight,
                };
                if meets(LINE) {
                    cost += weight;
                } else if meets(PAIR) {
                    cost += weight * taste.pair;
                }
            }
            let lines: BTreeSet<usize> = self
                .touched
                .iter()
                .filter(|touched| touched.loads + touched.stores > 0.05)
                .flat_map(|touched| {
                    let (from, to) = lies(touched, phase);
                    from / LINE..=to / LINE
                })
                .collect();
            cost += taste.line * lines.len() as f64;
        }
        cost / phases as f64
    }
}

/// Everything that gets in another one's way, in one object or in neighbouring ones.
fn pairings(subject: &Subject, touches: &[(Touched, &Touch)]) -> Vec<Pairing> {
    let region = &subject.regions[0];
    let objects = region.objects.unwrap_or(1);
    let farthest = match region.packing.slot() {
        Some(_) => objects.saturating_sub(1).min(2),
        None => 0,
    };
    let mut pairings = Vec::new();
    for (a, (at_a, u)) in touches.iter().enumerate() {
        for (b, (at_b, v)) in touches.iter().enumerate() {
            if u.stores <= 0.0 && v.stores <= 0.0 {
                continue;
            }
            for distance in 0..=farthest {
                // Nothing parts a lump from itself.
                if distance == 0 && (b <= a || at_a.lump == at_b.lump) {
                    continue;
                }
                let there = |of, by, distance| meet(subject, region, of, by, distance);
                let ahead = there(u, v, distance as isize);
                let back = there(v, u, -(distance as isize));
                let weight = lost(u, v, ahead, objects) + lost(v, u, back, objects);
                if weight > 1e-6 {
                    pairings.push(Pairing {
                        a,
                        b,
                        distance,
                        weight,
                        both_write: u.stores > 0.0 && v.stores > 0.0,
                    });
                }
            }
        }
    }
    pairings.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    pairings.truncate(MOST_PAIRINGS);
    pairings
}

/// How many accesses of `of` a pass may find their line taken away by `by`, as the interference map
/// counts them.
fn lost(of: &Touch, by: &Touch, there: f64, objects: usize) -> f64 {
    let by_stores = of.accesses().min(by.stores * there);
    let by_accesses = of.stores.min(by.accesses() * there);
    let each = match of.whose {
        Whose::Each => objects as f64,
        _ => 1.0,
    };
    by_stores.max(by_accesses) * each
}

fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        b => gcd(b, a % b),
    }
}
