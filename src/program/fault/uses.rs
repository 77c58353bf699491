//! How a fault uses each field: found out by running it once on a memory that takes notes.

use super::Spec;
use super::layouts::VmaLayout;
use super::scenario::BuiltIn;
use super::tree;
use super::world::{Size, World, start_of};
use crate::error::Result;
use crate::program::trace::{Access, Traced, Tracer, trace};
use crate::program::{Blueprint, Program, WithProgram};
use crate::space::arena::Arena;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Accesses of one fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Uses {
    /// Plain loads.
    pub loads: u32,
    /// Plain stores.
    pub stores: u32,
    /// Locked read-modify-writes.
    pub rmws: u32,
}

impl Uses {
    fn add(&mut self, more: Uses) {
        self.loads += more.loads;
        self.stores += more.stores;
        self.rmws += more.rmws;
    }
}

/// What an anonymous write fault does, by object (`vma`, `lock`, `mm`, nodes of the tree) and
/// field.
#[derive(Clone, Debug, Default)]
pub struct Footprint {
    by_field: BTreeMap<(Cow<'static, str>, String), Uses>,
    by_word: BTreeMap<(Cow<'static, str>, usize), (usize, Uses)>,
}

/// A word that a fault accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedWord {
    /// Bytes from the start of the object.
    pub offset: usize,
    /// Its size.
    pub bytes: usize,
    /// What the fault does with it.
    pub uses: Uses,
}

impl Footprint {
    /// What it does with one field, its parts among them.
    pub fn field(&self, object: &str, field: &str) -> Uses {
        let is_it = |name: &str| {
            let rest = name.strip_prefix(field);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.sum(|o, f| o == object && is_it(f))
    }

    /// The words of an object that it accesses, by offset.
    pub fn words<'f>(&'f self, object: &str) -> impl Iterator<Item = UsedWord> + use<'f> {
        let object = Cow::from(object.to_owned());
        let words = self
            .by_word
            .range((object.clone(), 0)..=(object, usize::MAX));
        words.map(|((_, offset), (bytes, uses))| UsedWord {
            offset: *offset,
            bytes: *bytes,
            uses: *uses,
        })
    }

    /// What it does with all fields of an object.
    pub fn object(&self, object: &str) -> Uses {
        self.sum(|o, _| o == object)
    }

    /// What it does with the nodes of the tree.
    pub fn tree(&self) -> Uses {
        self.sum(|o, _| tree::Level::ALL.iter().any(|level| level.name() == o))
    }

    fn sum(&self, is_it: impl Fn(&str, &str) -> bool) -> Uses {
        let mut sum = Uses::default();
        for ((object, field), uses) in &self.by_field {
            if is_it(object, field) {
                sum.add(*uses);
            }
        }
        sum
    }
}

/// The world in which the tree is walked for [`walk`].
pub const FOOTPRINT_SIZE: Size = Size {
    vmas: super::scenario::script::FEWEST_VMAS,
    spare_slots: 0,
    threads: 1,
    pages: false,
};

/// The footprint of one uncontended anonymous write fault under `layout`.
pub fn footprint(layout: VmaLayout) -> Result<Footprint> {
    struct Note;
    impl WithProgram for Note {
        type Out = Footprint;
        fn call<P: Program>(self, program: P) -> Footprint {
            let map = program.map();
            let mut footprint = Footprint::default();
            for Traced { at, bytes, access } in trace(&program, 0, 1) {
                let Some((object, offset)) = map.at(at) else {
                    continue;
                };
                let mut uses = Uses::default();
                match access {
                    Access::Load => uses.loads += 1,
                    Access::Store => uses.stores += 1,
                    Access::Rmw => uses.rmws += 1,
                }
                let field = object.field_at(offset).map(|field| field.name.to_string());
                let key = (object.name.clone(), field.unwrap_or_default());
                footprint.by_field.entry(key).or_default().add(uses);
                let word = footprint.by_word.entry((object.name.clone(), offset));
                let word = word.or_insert((bytes, Uses::default()));
                word.0 = word.0.max(bytes);
                word.1.add(uses);
            }
            footprint
        }
    }
    let spec = Spec::new(layout, BuiltIn::OneVma, 1);
    let arena = Arena::new(spec.bytes())?;
    spec.with_layout_at_run_time(arena, Note)
}

/// What a walk through the tree does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Loads, that of the root among them.
    pub loads: u32,
    /// Nodes searched.
    pub nodes: u32,
    /// Steps in all of them.
    pub steps: u32,
}

/// The walk to `region` in a world that nobody changes.
pub fn walk(world: &World, region: usize) -> Walk {
    let tracer = Tracer::new(world.arena());
    tree::walk(&tracer, world.mm(), start_of(region));
    let (nodes, steps) = tracer.searched();
    Walk {
        loads: tracer.into_log().len() as u32,
        nodes,
        steps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(loads: u32, stores: u32, rmws: u32) -> Uses {
        Uses {
            loads,
            stores,
            rmws,
        }
    }

    #[test]
    fn a_refcount_fault_is_two_read_modify_writes_and_no_store() {
        let footprint = footprint(VmaLayout::EmbeddedRefcount192).unwrap();
        let vma = footprint.object("vma");
        assert_eq!((vma.rmws, vma.stores), (2, 0));
        assert_eq!(footprint.field("vma", "vm_refcnt").rmws, 2);
        // mm_lock_seq, twice, and the root of the tree.
        assert_eq!(footprint.object("mm"), uses(3, 0, 0));
    }

    #[test]
    fn an_rwsem_fault_also_stores_the_owner() {
        // count and owner are loaded; CAS and fetch_sub; owner is stored.
        for layout in [VmaLayout::SplitPacked, VmaLayout::SplitAligned] {
            assert_eq!(footprint(layout).unwrap().object("lock"), uses(2, 1, 2));
        }
        let embedded = footprint(VmaLayout::EmbeddedUnaligned).unwrap();
        assert_eq!(embedded.field("vma", "rwsem.count"), uses(1, 0, 2));
        assert_eq!(embedded.field("vma", "rwsem.owner"), uses(1, 1, 0));
    }

    #[test]
    fn a_split_lock_costs_two_dependent_loads_of_its_pointer() {
        let footprint = footprint(VmaLayout::SplitPacked).unwrap();
        assert_eq!(footprint.field("vma", "vm_lock"), uses(2, 0, 0));
    }

    #[test]
    fn before_per_vma_locks_the_vma_was_only_read() {
        let footprint = footprint(VmaLayout::MmapLock).unwrap();
        let vma = footprint.object("vma");
        assert_eq!((vma.stores, vma.rmws), (0, 0));
        // The lock: count twice, owner loaded and stored, and the root of the tree.
        assert_eq!(footprint.object("mm"), uses(3, 1, 2));
    }

    #[test]
    fn fields_that_no_fault_reads_stay_untouched() {
        for &layout in VmaLayout::EVERY {
            let footprint = footprint(layout).unwrap();
            for field in ["anon_vma_chain", "shared.rb", "vm_private_data", ""] {
                let uses = footprint.field("vma", field);
                assert_eq!(uses, Uses::default(), "{}: {field}", layout.name());
            }
        }
    }
}
