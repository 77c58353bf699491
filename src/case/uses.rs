//! Who touches which bytes under a layout of a case: its roles' steps as numbers a pass.
//!
//! Probabilities, batches and repeats become expected counts. Not here: which uses get in each
//! other's way (`layout::interference`).

use super::{
    Case, CaseField, CaseLayout, Count, Element, FieldRef, ObjectOf, Objects, Pick, Place, Step,
    Threads, Times,
};
use crate::error::{Error, Result};
use crate::layout::subject::{Actor, Elements, Packing, Region, Spot, Subject, Touch, Whose};
use crate::space::PAIR;
use std::collections::BTreeMap;

/// How often all tries of a compare-and-swap are lost, which only a run can tell: what is done then
/// is counted so often.
const LOST: f64 = 0.01;
/// Most steps that are looked at in one role; a case file has no more accesses in a pass.
const MOST_STEPS: usize = 1 << 16;

impl Case {
    /// The layout of that name.
    pub fn layout(&self, name: &str) -> Result<&CaseLayout> {
        let found = self.layouts.iter().find(|layout| layout.name == name);
        let names = self.layouts.iter().map(|layout| layout.name.as_str());
        found.ok_or_else(|| Error::unknown("layout of the case", name, names))
    }

    /// `layout` and what the roles do with it, `threads` of them together.
    pub fn subject(&self, layout: &CaseLayout, threads: usize) -> Result<Subject> {
        let threads = threads.max(self.least_threads()).max(2);
        let mut walk = Walk::new(self, layout, threads);
        for (actor, steps) in layout.steps.iter().enumerate() {
            walk.actor = actor;
            walk.steps_left = MOST_STEPS;
            walk.list(steps, 1.0, &Context::default())?;
        }
        Ok(walk.finish(actors(self, threads)))
    }
}

/// The roles, with the threads that each has on average.
fn actors(case: &Case, threads: usize) -> Vec<Actor> {
    let own: usize = case.roles.iter().fold(0, |sum, role| match role.threads {
        Threads::Of(count) => sum.saturating_add(count),
        _ => sum,
    });
    let rest = threads.saturating_sub(own) as f64;
    let shared: f64 = case
        .roles
        .iter()
        .map(|role| match role.threads {
            Threads::Share(share) => share,
            _ => 0.0,
        })
        .sum();
    let roles = case.roles.iter().enumerate();
    roles
        .map(|(number, role)| {
            // Group 0 is dealt out pass by pass; a role with threads of its own is its own group.
            let (count, group, group_threads) = match role.threads {
                Threads::Of(count) => (count as f64, number + 1, count as f64),
                Threads::Rest => (rest * (1.0 - shared).max(0.0), 0, rest),
                Threads::Share(share) => (rest * share, 0, rest),
            };
            Actor {
                name: role.name.clone(),
                threads: count,
                group,
                group_threads,
            }
        })
        .collect()
}

/// Which object of each struct a list of steps is at.
#[derive(Clone, Default)]
struct Context(BTreeMap<ObjectOf, Whose>);

impl Context {
    fn at(&self, of: ObjectOf) -> Whose {
        self.0.get(&of).copied().unwrap_or(Whose::At(0))
    }

    fn go(&mut self, of: ObjectOf, to: Whose) {
        self.0.insert(of, to);
    }
}

/// Where a field is that steps name.
#[derive(Clone, Copy)]
struct Found<'a> {
    region: usize,
    spot: usize,
    field: &'a CaseField,
    /// The pointer field through which it is reached, if it is in a part.
    via: Option<&'a str>,
}

/// Every field that steps may name.
fn named<'a>(
    case: &'a Case,
    layout: &'a CaseLayout,
    regions: &[Region],
) -> BTreeMap<(ObjectOf, &'a str), Found<'a>> {
    let own = std::iter::once((ObjectOf::Struct, &layout.fields, None));
    let parts = layout.parts.iter();
    let parts = parts.map(|part| (ObjectOf::Struct, &part.fields, Some(part.via.as_str())));
    let companions = case.companions.iter().enumerate();
    let companions =
        companions.map(|(number, one)| (ObjectOf::Companion(number), &one.fields, None));
    let mut named = BTreeMap::new();
    for (number, (of, fields, via)) in own.chain(parts).chain(companions).enumerate() {
        let spots = regions
            .get(number)
            .into_iter()
            .flat_map(|region| &region.fields);
        let spots: BTreeMap<&str, usize> = spots
            .enumerate()
            .map(|(spot, one)| (one.name.as_str(), spot))
            .collect();
        for field in fields {
            if let Some(&spot) = spots.get(field.name.as_str()) {
                named.entry((of, field.name.as_str())).or_insert(Found {
                    region: number,
                    spot,
                    field,
                    via,
                });
            }
        }
    }
    named
}

/// Touches that are the same in all but number.
type Key = (usize, usize, usize, usize, usize, Elements, Whose);

/// A walk through the steps of a case's roles.
struct Walk<'a> {
    case: &'a Case,
    layout: &'a CaseLayout,
    threads: usize,
    regions: Vec<Region>,
    /// What steps name.
    fields: BTreeMap<(ObjectOf, &'a str), Found<'a>>,
    /// The role whose steps these are.
    actor: usize,
    steps_left: usize,
    /// Loads and stores.
    found: BTreeMap<Key, (f64, f64)>,
    /// Region of the words of each thread's own, by their name.
    percpu: BTreeMap<String, usize>,
}

impl<'a> Walk<'a> {
    fn new(case: &'a Case, layout: &'a CaseLayout, threads: usize) -> Walk<'a> {
        let objects = &case.objects;
        let region = |name: &str, bytes, align, fields: &[CaseField], objects: &Objects| Region {
            name: name.to_owned(),
            of_struct: true,
            bytes,
            objects: Some(count(objects, threads)),
            packing: packing(objects, bytes, align, threads),
            at: objects.at,
            fields: fields.iter().map(spot).collect(),
            touches: Vec::new(),
        };
        let mut regions = vec![region(
            &case.struct_name,
            layout.bytes,
            layout.align,
            &layout.fields,
            objects,
        )];
        // One part for each object, in a slab of their own.
        let beside = Objects {
            place: Place::Slab,
            at: 0,
            enclosing_bytes: None,
            ..objects.clone()
        };
        for part in &layout.parts {
            regions.push(region(
                &part.name,
                part.bytes,
                part.align,
                &part.fields,
                &beside,
            ));
        }
        for companion in &case.companions {
            let (fields, objects) = (&companion.fields, &companion.objects);
            regions.push(Region {
                of_struct: false,
                ..region(
                    &companion.name,
                    companion.bytes,
                    companion.align,
                    fields,
                    objects,
                )
            });
        }
        if let (Some(imported), Some(first)) = (&layout.imported, regions.first_mut()) {
            add_members(first, imported);
        }
        Walk {
            case,
            layout,
            threads,
            fields: named(case, layout, &regions),
            regions,
            actor: 0,
            steps_left: 0,
            found: BTreeMap::new(),
            percpu: BTreeMap::new(),
        }
    }

    fn list(&mut self, steps: &[Step], times: f64, context: &Context) -> Result<()> {
        let mut context = context.clone();
        self.go(steps, times, &mut context)
    }

    /// Walk a list and leave the context as it is at its end.
    fn go(&mut self, steps: &[Step], times: f64, context: &mut Context) -> Result<()> {
        for step in steps {
            self.steps_left = self.steps_left.checked_sub(1).ok_or_else(|| {
                Error::Input(format!(
                    "case '{}': a pass of role '{}' has more than {MOST_STEPS} steps; let it do less",
                    self.case.name.escape_debug(),
                    self.role().escape_debug()
                ))
            })?;
            self.step(step, times, context)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, times: f64, context: &mut Context) -> Result<()> {
        match step {
            Step::Read { fields, bytes } => {
                for field in fields {
                    self.touch(field, *bytes, times, 0.0, context)?;
                }
            }
            Step::Write { field, if_changed } => match if_changed {
                Some(chance) => self.touch(field, None, times, times * chance, context)?,
                None => self.touch(field, None, 0.0, times, context)?,
            },
            Step::Rmw(field) | Step::Lock { field, .. } | Step::Unlock { field, .. } => {
                self.touch(field, None, 0.0, times, context)?;
            }
            Step::Cas { field, then, .. } => {
                self.touch(field, None, times, times, context)?;
                self.list(then, times * LOST, context)?;
            }
            Step::SeqRead { field, body } => {
                self.touch(field, None, 2.0 * times, 0.0, context)?;
                self.list(body, times, context)?;
            }
            Step::SeqWrite { field, body } => {
                self.touch(field, None, 0.0, 2.0 * times, context)?;
                self.list(body, times, context)?;
            }
            Step::Percpu { name, batch, spill } => {
                self.touch_percpu(name, Whose::Own(0), times, times);
                self.list(spill, times / (*batch).max(1) as f64, context)?;
            }
            Step::Sum(field) => {
                let mut all = context.clone();
                all.go(field.of, Whose::Each);
                self.touch(field, None, times, 0.0, &all)?;
            }
            Step::SumPercpu(name) => self.touch_percpu(name, Whose::Each, times, 0.0),
            Step::Wait(field) => self.touch(field, None, times, 0.0, context)?,
            Step::Follow { field, to } => {
                self.touch(field, None, times, 0.0, context)?;
                let from = context.at(field.of);
                let to_object = match *to == field.of {
                    true => self.towards_root(*to, from),
                    false => from,
                };
                context.go(*to, to_object);
            }
            Step::Pick { which, of } => {
                let last = self.count_of(*of).saturating_sub(1);
                context.go(
                    *of,
                    match which {
                        Pick::Own => Whose::Own(0),
                        Pick::Neighbour => Whose::Own(1),
                        Pick::Random => Whose::Random,
                        Pick::Leaf => Whose::At(last),
                        Pick::At(index) => Whose::At(*index),
                    },
                );
            }
            Step::Choose(choices) => {
                for (chance, steps) in choices {
                    self.list(steps, times * chance, context)?;
                }
            }
            Step::Every { passes, steps } => {
                self.list(steps, times / (*passes).max(1) as f64, context)?;
            }
            Step::Repeat {
                times: again,
                steps,
            } => {
                self.repeat(*again, steps, times, context)?;
            }
            Step::Work { .. } => {}
        }
        Ok(())
    }

    /// Steps over again: where one turn ends, the next one goes on.
    fn repeat(
        &mut self,
        again: Times,
        steps: &[Step],
        times: f64,
        context: &Context,
    ) -> Result<()> {
        let moves = |step: &Step| matches!(step, Step::Follow { .. } | Step::Pick { .. });
        let mut context = context.clone();
        match again {
            Times::Of(count) if steps.iter().any(moves) => {
                for _ in 0..count {
                    self.go(steps, times, &mut context)?;
                }
                Ok(())
            }
            Times::Of(count) => self.list(steps, times * count as f64, &context),
            Times::ToRoot => {
                let chain = chain_of(steps);
                let count = self.count_of(chain).max(1) as f64;
                // Every object from here to the root: all from the leaf, half of them on average
                // from one's own.
                let (part, whose) = match context.at(chain) {
                    Whose::At(0) => (1.0, Whose::At(0)),
                    Whose::At(index) => ((index as f64 + 1.0).min(count) / count, Whose::Each),
                    _ => ((count + 1.0) / (2.0 * count), Whose::Each),
                };
                context.go(chain, whose);
                self.list(steps, times * part, &context)
            }
        }
    }

    /// The next object towards the root; the root's is the leaf.
    fn towards_root(&self, of: ObjectOf, from: Whose) -> Whose {
        let last = self.count_of(of).saturating_sub(1);
        match from {
            Whose::At(index) => Whose::At(index.checked_sub(1).unwrap_or(last)),
            Whose::Own(shift) => Whose::Own(shift.checked_sub(1).unwrap_or(last)),
            other => other,
        }
    }

    fn count_of(&self, of: ObjectOf) -> usize {
        let objects = match of {
            ObjectOf::Struct => Some(&self.case.objects),
            ObjectOf::Companion(number) => self.case.companions.get(number).map(|one| &one.objects),
        };
        objects.map_or(1, |objects| count(objects, self.threads))
    }

    /// A field, or the pointer to the part it is in and then the field.
    fn touch(
        &mut self,
        field: &FieldRef,
        most: Option<usize>,
        loads: f64,
        stores: f64,
        context: &Context,
    ) -> Result<()> {
        let whose = context.at(field.of);
        let Some(&found) = self.fields.get(&(field.of, field.name.as_str())) else {
            return Err(self.lacks(field));
        };
        if let Some(via) = found.via {
            let Some(&pointer) = self.fields.get(&(ObjectOf::Struct, via)) else {
                return Err(self.lacks(&FieldRef {
                    name: via.to_owned(),
                    ..field.clone()
                }));
            };
            self.add(pointer, None, None, whose, (loads.max(stores), 0.0));
        }
        self.add(found, field.element, most, whose, (loads, stores));
        Ok(())
    }

    fn add(
        &mut self,
        Found {
            region,
            spot,
            field,
            ..
        }: Found<'a>,
        element: Option<Element>,
        most: Option<usize>,
        whose: Whose,
        (loads, stores): (f64, f64),
    ) {
        let count = field.count.max(1);
        let (first, so_many, elements) = match element {
            None => (0, count, Elements::All),
            Some(Element::At(index)) => (index.min(count - 1), 1, Elements::All),
            Some(Element::Own) => {
                let used = count.min(self.threads);
                (0, used, Elements::Own(used))
            }
            Some(Element::Random) => (0, count, Elements::Random(count)),
        };
        let start = field
            .offset
            .saturating_add(field.bytes.saturating_mul(first));
        let bytes = field.bytes.saturating_mul(so_many);
        let bytes = match elements {
            Elements::All => most.map_or(bytes, |most| bytes.min(most)),
            _ => bytes,
        };
        let end = start.saturating_add(bytes);
        let key = (self.actor, region, spot, start, end, elements, whose);
        let sum = self.found.entry(key).or_default();
        *sum = (sum.0 + loads, sum.1 + stores);
    }

    /// A word of the thread's own, or that of every thread.
    fn touch_percpu(&mut self, name: &str, whose: Whose, loads: f64, stores: f64) {
        let next = self.regions.len();
        let region = *self.percpu.entry(name.to_owned()).or_insert(next);
        if region == next {
            self.regions.push(Region {
                name: format!("percpu {name}"),
                of_struct: false,
                bytes: PAIR,
                objects: Some(self.threads),
                packing: Packing::Array {
                    slot: PAIR,
                    objects: self.threads,
                },
                at: 0,
                fields: vec![Spot {
                    name: name.to_owned(),
                    offset: 0,
                    bytes: 8,
                }],
                touches: Vec::new(),
            });
        }
        let key = (self.actor, region, 0, 0, 8, Elements::All, whose);
        let sum = self.found.entry(key).or_default();
        *sum = (sum.0 + loads, sum.1 + stores);
    }

    fn role(&self) -> &str {
        self.case
            .roles
            .get(self.actor)
            .map_or("", |role| &role.name)
    }

    fn lacks(&self, field: &FieldRef) -> Error {
        let names = self.fields.keys().filter(|(of, _)| *of == field.of);
        let what = format!(
            "field of layout '{}' in role '{}':",
            self.layout.name.escape_debug(),
            self.role().escape_debug()
        );
        Error::unknown(&what, &field.name, names.map(|(_, name)| *name))
    }

    fn finish(mut self, actors: Vec<Actor>) -> Subject {
        for ((actor, region, field, start, end, elements, whose), (loads, stores)) in self.found {
            if let Some(region) = self.regions.get_mut(region) {
                region.touches.push(Touch {
                    actor,
                    field,
                    start,
                    end,
                    elements,
                    whose,
                    loads,
                    stores,
                });
            }
        }
        Subject {
            layout: self.layout.name.clone(),
            threads: self.threads,
            actors,
            regions: self.regions,
        }
    }
}

/// The chain that steps repeated to its root move along.
fn chain_of(steps: &[Step]) -> ObjectOf {
    let followed = steps.iter().find_map(|step| match step {
        Step::Follow { field, to } if field.of == *to => Some(*to),
        _ => None,
    });
    followed.unwrap_or(ObjectOf::Struct)
}

fn spot(field: &CaseField) -> Spot {
    Spot {
        name: field.name.clone(),
        offset: field.offset,
        bytes: field.bytes.saturating_mul(field.count),
    }
}

/// The members of an imported struct that no role names, so that the map shows them.
fn add_members(region: &mut Region, imported: &crate::layout::StructLayout) {
    let named: std::collections::BTreeSet<(usize, usize)> = region
        .fields
        .iter()
        .map(|spot| (spot.offset, spot.bytes))
        .collect();
    let more = Spot::all_of(imported);
    let more = more
        .into_iter()
        .filter(|spot| !named.contains(&(spot.offset, spot.bytes)));
    region.fields.extend(more);
    region.fields.sort_by_key(|spot| spot.offset);
}

/// Objects there are.
fn count(objects: &Objects, threads: usize) -> usize {
    match objects.count {
        Count::Of(count) => count.max(1),
        Count::Threads => threads,
    }
}

fn packing(objects: &Objects, bytes: usize, align: usize, threads: usize) -> Packing {
    let (bytes, align) = (
        objects.enclosing_bytes.unwrap_or(bytes).max(1),
        align.max(1),
    );
    match &objects.place {
        Place::Slab | Place::Chain { packed: true, .. } => Packing::in_slab(bytes, align),
        Place::Array => Packing::Array {
            slot: bytes.next_multiple_of(align),
            objects: count(objects, threads),
        },
        Place::Chain { packed: false, .. } => Packing::Pages,
    }
}

#[cfg(test)]
mod tests;
