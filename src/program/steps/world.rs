//! The objects of a case in memory.
//!
//! Here: what is written there before any thread runs, and what each byte is called. Not here:
//! where they lie (`places`).

use super::lower::each;
use super::places::{Places, field};
use super::roles;
use crate::case::{Case, CaseField, CaseLayout, FieldRef, ObjectOf, Place, Step};
use crate::space::arena::Arena;
use crate::space::map::{Map, Object, Span};
use crate::space::memory::Addr;
use std::borrow::Cow;

/// The arena with everything in it.
pub struct World {
    arena: Arena,
    base: Addr,
}

impl World {
    /// Lay the objects out in `arena`, which is zero from its first free byte on.
    ///
    /// # Panics
    /// When the arena is smaller than [`Places::bytes`].
    pub fn new(mut arena: Arena, case: &Case, layout: &CaseLayout, places: &Places) -> World {
        let base = arena.alloc(places.bytes, crate::space::PAGE);
        let world = World { arena, base };
        for (number, part) in layout.parts.iter().enumerate() {
            let Some(via) = field(&layout.fields, &part.via) else {
                continue;
            };
            for (object, part) in places.objects.iter().zip(&places.parts[number]) {
                world.point(*object as usize + via.offset, *part);
            }
        }
        let structs = 0..case.companions.len();
        let structs = std::iter::once(ObjectOf::Struct).chain(structs.map(ObjectOf::Companion));
        for of in structs {
            world.link(case, layout, places, of);
        }
        for steps in &layout.steps {
            each(steps, &mut |step| match step {
                Step::Follow { field, to } => world.preset(case, layout, places, field, *to),
                Step::Percpu { name, batch, .. } => {
                    let words = places.percpu.iter().find(|(one, _)| one == name);
                    let Some((_, words)) = words else { return };
                    for (thread, word) in words.iter().enumerate() {
                        let phase = roles::phase(thread, words.len(), *batch);
                        let left = (*batch - phase).wrapping_neg();
                        world.arena.write(base.at(*word as usize), left);
                    }
                }
                _ => {}
            });
        }
        world
    }

    fn point(&self, at: usize, to: u32) {
        self.arena
            .write(self.base.at(at), self.base.at(to as usize).0);
    }

    /// The links of a chain: each object's leads towards the root, the root's to the leaf.
    fn link(&self, case: &Case, layout: &CaseLayout, places: &Places, of: ObjectOf) {
        let (objects, fields) = match of {
            ObjectOf::Struct => (&case.objects, &layout.fields),
            ObjectOf::Companion(number) => {
                let companion = &case.companions[number];
                (&companion.objects, &companion.fields)
            }
        };
        let Place::Chain { link, .. } = &objects.place else {
            return;
        };
        let Some(link) = field(fields, link) else {
            return;
        };
        let chain = places.of_struct(of);
        for (number, object) in chain.iter().enumerate() {
            let next = (number + chain.len() - 1) % chain.len();
            self.point(*object as usize + link.offset, chain[next]);
        }
    }

    /// The pointers in a field that is followed: element `e` of object `i` leads to object
    /// `i + e`, modulo how many there are.
    fn preset(
        &self,
        case: &Case,
        layout: &CaseLayout,
        places: &Places,
        followed: &FieldRef,
        to: ObjectOf,
    ) {
        let targets = places.of_struct(to);
        let point = |from: &[u32], field: &CaseField| {
            for (i, object) in from.iter().enumerate() {
                for element in 0..field.count {
                    let at = *object as usize + field.offset + element * field.bytes;
                    self.point(at, targets[(i + element) % targets.len()]);
                }
            }
        };
        let name = &followed.name;
        match followed.of {
            ObjectOf::Companion(number) => {
                let companion = &case.companions[number];
                if is_link(&companion.objects.place, name) && followed.of == to {
                    return;
                }
                if let Some(field) = field(&companion.fields, name) {
                    point(&places.companions[number], field);
                }
            }
            ObjectOf::Struct if is_link(&case.objects.place, name) && to == ObjectOf::Struct => {}
            ObjectOf::Struct => {
                if let Some(field) = field(&layout.fields, name) {
                    point(&places.objects, field);
                }
                for (part, placed) in layout.parts.iter().zip(&places.parts) {
                    if let Some(field) = field(&part.fields, name) {
                        point(placed, field);
                    }
                }
            }
        }
    }

    /// First byte of everything.
    pub fn base(&self) -> Addr {
        self.base
    }

    /// The memory everything lies in.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The arena, for the next world.
    pub fn into_arena(self) -> Arena {
        self.arena
    }

    /// What lies where.
    pub fn map(&self, case: &Case, layout: &CaseLayout, places: &Places) -> Map {
        let mut objects = Vec::new();
        let mut all = |name: &str, placed: &[u32], bytes: usize, fields: &[CaseField]| {
            let spans = spans(fields);
            for (number, place) in placed.iter().enumerate() {
                objects.push(Object {
                    name: Cow::Owned(name.to_owned()),
                    index: (placed.len() > 1).then_some(number),
                    start: self.base.at(*place as usize),
                    bytes,
                    fields: spans.clone(),
                });
            }
        };
        all(
            &case.struct_name,
            &places.objects,
            layout.bytes,
            &layout.fields,
        );
        for (part, placed) in layout.parts.iter().zip(&places.parts) {
            all(&part.name, placed, part.bytes, &part.fields);
        }
        for (companion, placed) in case.companions.iter().zip(&places.companions) {
            all(&companion.name, placed, companion.bytes, &companion.fields);
        }
        for (name, placed) in &places.percpu {
            all(name, placed, 8, &[]);
        }
        all("lock node", &places.nodes, 16, &[]);
        Map::new(self.arena.base(), objects)
    }
}

fn is_link(place: &Place, name: &str) -> bool {
    matches!(place, Place::Chain { link, .. } if link == name)
}

/// Fields as the map shows them: by offset, none inside another.
fn spans(fields: &[CaseField]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut sorted: Vec<&CaseField> = fields.iter().collect();
    sorted.sort_by_key(|field| (field.offset, std::cmp::Reverse(field.end())));
    for field in sorted {
        let end = spans.last().map_or(0, |span| span.offset + span.bytes);
        if field.offset < end || field.bytes == 0 {
            continue;
        }
        spans.push(Span {
            name: Cow::Owned(field.name.clone()),
            offset: field.offset,
            bytes: field.bytes * field.count,
            element: field.bytes,
        });
    }
    spans
}
