//! How a fault uses each field: found out by running it once on a memory that takes notes.

use super::path::{self, PageWork};
use super::tree;
use super::world::{Object, Size, World, start_of};
use crate::program::fault::vma::{Field, LockPlace, Table};
use crate::space::arena::Arena;
use crate::space::memory::{Addr, Memory, Node, Word};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

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
    /// Whether the fault touches it at all.
    pub fn any(&self) -> bool {
        *self != Uses::default()
    }
}

/// What an anonymous write fault does, by place.
#[derive(Clone, Debug, Default)]
pub struct Footprint {
    /// Each field of the VMA. The words of an embedded `rwsem` count as that field.
    pub fields: BTreeMap<Field, Uses>,
    /// The words of a split lock.
    pub split_lock: Uses,
    /// `mm_struct`.
    pub mm: Uses,
    /// Nodes of the tree.
    pub tree: Uses,
}

/// The world in which [`footprint`] faults: in its first region.
pub const FOOTPRINT_SIZE: Size = Size {
    vmas: crate::program::fault::scenario::FEWEST_VMAS,
    spare_slots: 0,
    threads: 1,
    pages: false,
};

/// The footprint of one uncontended anonymous write fault under `table`.
pub fn footprint(table: &Table) -> Footprint {
    let arena = Arena::new(World::bytes_for(table, FOOTPRINT_SIZE));
    let world = World::new(arena, table, FOOTPRINT_SIZE);
    let notes = Notes {
        world: &world,
        seen: RefCell::default(),
        walk: Cell::default(),
    };
    path::fault(
        &notes,
        &table,
        world.mm(),
        64,
        start_of(0),
        PageWork::None,
        Addr::NULL,
    );
    let mut footprint = Footprint::default();
    let objects = world.objects();
    for (at, uses) in notes.seen.into_inner() {
        let object = objects
            .iter()
            .rev()
            .find(|placed| placed.start <= at)
            .map(|placed| (placed.object, (at.0 - placed.start.0) as usize));
        let into = match object {
            Some((Object::Vma(_), offset)) => match table.field_at(offset) {
                Some(field) => footprint.fields.entry(field).or_default(),
                None => continue,
            },
            Some((Object::Lock(_), _)) => &mut footprint.split_lock,
            Some((Object::Mm, _)) => &mut footprint.mm,
            _ => &mut footprint.tree,
        };
        into.loads += uses.loads;
        into.stores += uses.stores;
        into.rmws += uses.rmws;
    }
    debug_assert!(matches!(table.lock, LockPlace::Split(_)) || !footprint.split_lock.any());
    footprint
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
    let notes = Notes {
        world,
        seen: RefCell::default(),
        walk: Cell::default(),
    };
    tree::walk(&notes, world.mm(), start_of(region));
    let loads = notes.seen.borrow().values().map(|uses| uses.loads).sum();
    Walk {
        loads,
        ..notes.walk.get()
    }
}

/// A memory that executes on the arena and writes down every access.
struct Notes<'w> {
    world: &'w World,
    seen: RefCell<BTreeMap<Addr, Uses>>,
    walk: Cell<Walk>,
}

impl Notes<'_> {
    fn note(&self, at: Addr, what: fn(&mut Uses)) {
        what(self.seen.borrow_mut().entry(at).or_default());
    }

    fn update<W: Word>(&self, at: Addr, new: impl FnOnce(u64) -> u64) -> W {
        self.note(at, |uses| uses.rmws += 1);
        let old: W = self.world.arena().read(at);
        self.world.arena().write(at, W::narrow(new(old.widen())));
        old
    }
}

impl Memory for Notes<'_> {
    fn load<W: Word>(&self, at: Addr, _order: Ordering) -> W {
        self.note(at, |uses| uses.loads += 1);
        self.world.arena().read(at)
    }
    fn store<W: Word>(&self, at: Addr, value: W, _order: Ordering) {
        self.note(at, |uses| uses.stores += 1);
        self.world.arena().write(at, value);
    }
    fn compare_exchange<W: Word>(
        &self,
        at: Addr,
        current: W,
        new: W,
        _success: Ordering,
        _failure: Ordering,
    ) -> Result<W, W> {
        let found: W = self.update(at, |old| {
            if old == current.widen() {
                new.widen()
            } else {
                old
            }
        });
        if found == current {
            Ok(found)
        } else {
            Err(found)
        }
    }
    fn fetch_add<W: Word>(&self, at: Addr, delta: W, _order: Ordering) -> W {
        self.update(at, |old| old.wrapping_add(delta.widen()))
    }
    fn fetch_sub<W: Word>(&self, at: Addr, delta: W, _order: Ordering) -> W {
        self.update(at, |old| old.wrapping_sub(delta.widen()))
    }
    fn fence(&self, _order: Ordering) {}
    fn compute(&self, _nanos: u32) {}
    fn clear_page(&self, _page: Addr) {}
    fn relax(&self) {}
    fn searched(&self, _node: Node, steps: usize) {
        let walk = self.walk.get();
        self.walk.set(Walk {
            nodes: walk.nodes + 1,
            steps: walk.steps + steps as u32,
            ..walk
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::fault::vma::BuiltIn;

    #[test]
    fn a_refcount_fault_is_two_read_modify_writes_and_no_store() {
        let footprint = footprint(BuiltIn::EmbeddedRefcount192.table());
        let all: Vec<Uses> = footprint.fields.values().copied().collect();
        assert_eq!(all.iter().map(|u| u.rmws).sum::<u32>(), 2);
        assert_eq!(all.iter().map(|u| u.stores).sum::<u32>(), 0);
        assert_eq!(footprint.fields[&Field::vm_refcnt].rmws, 2);
        // mm_lock_seq, twice, and the root of the tree.
        assert_eq!(
            footprint.mm,
            Uses {
                loads: 3,
                stores: 0,
                rmws: 0
            }
        );
    }

    #[test]
    fn an_rwsem_fault_also_stores_the_owner() {
        for layout in [BuiltIn::SplitPacked, BuiltIn::SplitAligned] {
            let lock = footprint(layout.table()).split_lock;
            // count and owner are loaded; CAS and fetch_sub; owner is stored.
            assert_eq!(
                lock,
                Uses {
                    loads: 2,
                    stores: 1,
                    rmws: 2
                }
            );
        }
        let embedded = footprint(BuiltIn::EmbeddedUnaligned.table());
        assert_eq!(
            embedded.fields[&Field::rwsem],
            Uses {
                loads: 2,
                stores: 1,
                rmws: 2
            }
        );
    }

    #[test]
    fn a_split_lock_costs_two_dependent_loads_of_its_pointer() {
        let footprint = footprint(BuiltIn::SplitPacked.table());
        assert_eq!(footprint.fields[&Field::vm_lock].loads, 2);
    }

    #[test]
    fn before_per_vma_locks_the_vma_was_only_read() {
        let footprint = footprint(BuiltIn::MmapLock.table());
        assert!(
            footprint
                .fields
                .values()
                .all(|u| u.stores == 0 && u.rmws == 0)
        );
        // The lock: count twice, owner loaded and stored, and the root of the tree.
        assert_eq!(
            footprint.mm,
            Uses {
                loads: 3,
                stores: 1,
                rmws: 2
            }
        );
    }

    #[test]
    fn fields_that_no_fault_reads_stay_untouched() {
        for layout in BuiltIn::ALL {
            let footprint = footprint(layout.table());
            for field in [Field::anon_vma_chain, Field::shared, Field::vm_private_data] {
                assert!(
                    !footprint.fields.contains_key(&field),
                    "{}: {field:?}",
                    layout.name()
                );
            }
        }
    }
}
