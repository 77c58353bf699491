//! A built-in layout of the VMA as the interference map looks at it, with what a fault touches.
//!
//! Not here: the map (`layout::interference`).

use super::layouts::VmaLayout;
use super::uses::{UsedWord, footprint};
use super::vma::{Field, Table, mm, rwsem};
use super::world::vma_fields;
use crate::error::Result;
use crate::layout::subject::{Actor, Elements, Packing, Region, Spot, Subject, Touch, Whose};
use crate::space::map::Span;

/// What `mm_struct` is called.
const MM: &str = "mm";
/// What a thread that takes anonymous write faults is called.
pub const ACTOR: &str = "fault";

/// The VMA, its lock where that is split, and `mm_struct`, as `threads` of them fault. Nothing is
/// said of who faults in which VMA: any two may meet in one, and in neighbouring ones.
pub fn subject(layout: VmaLayout, threads: usize) -> Result<Subject> {
    let table: &Table = layout.table();
    let footprint = footprint(layout)?;
    let region = |name: &str, bytes, packing, objects, whose, fields: Vec<Span>| {
        let words = footprint.words().iter().filter(|word| word.object == name);
        Region {
            name: name.to_owned(),
            of_struct: name != MM,
            bytes,
            objects,
            packing,
            at: 0,
            touches: words
                .filter_map(|word| touch(word, &fields, whose))
                .collect(),
            fields: fields.into_iter().map(spot).collect(),
        }
    };
    let slab = Packing::Slab(table.cache);
    let mut regions = vec![region(
        "vma",
        table.bytes,
        slab,
        None,
        Whose::Any,
        vma_fields(table),
    )];
    if let Some(cache) = table.lock_cache() {
        // Under the names that an embedded one has.
        let words = rwsem::FIELDS.map(|word| word.within(Field::rwsem.name(), 0));
        let words = words.to_vec();
        let slab = Packing::Slab(cache);
        regions.push(region("lock", rwsem::BYTES, slab, None, Whose::Any, words));
    }
    let one = Whose::At(0);
    regions.push(region(
        MM,
        mm::BYTES,
        Packing::Pages,
        Some(1),
        one,
        mm::fields(),
    ));
    let threads = threads.max(2);
    Ok(Subject {
        layout: layout.name().to_owned(),
        threads,
        actors: vec![Actor {
            name: ACTOR.to_owned(),
            threads: threads as f64,
            group: 0,
            group_threads: threads as f64,
        }],
        regions,
    })
}

fn touch(word: &UsedWord, fields: &[Span], whose: Whose) -> Option<Touch> {
    let field = fields
        .iter()
        .position(|span| (span.offset..span.offset + span.bytes).contains(&word.offset))?;
    Some(Touch {
        actor: 0,
        field,
        start: word.offset,
        end: word.offset + word.bytes,
        elements: Elements::All,
        whose,
        loads: f64::from(word.uses.loads),
        stores: f64::from(word.uses.stores + word.uses.rmws),
    })
}

fn spot(span: Span) -> Spot {
    Spot {
        name: span.name.into_owned(),
        offset: span.offset,
        bytes: span.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::interference::{Between, Clash, Conflict, Interference};
    use crate::space::{LINE, PAIR};

    fn map(layout: VmaLayout) -> (Subject, Interference) {
        let subject = subject(layout, 16).unwrap();
        let map = Interference::of(&subject).unwrap();
        (subject, map)
    }

    fn names<'a>(subject: &'a Subject, conflict: &Conflict) -> (&'a str, &'a str) {
        let region = &subject.regions[conflict.region];
        (
            region.field_name(conflict.a.field),
            region.field_name(conflict.b.field),
        )
    }

    #[test]
    fn of_102_packed_locks_in_a_page_89_share_a_line_with_another() {
        let (subject, map) = map(VmaLayout::SplitPacked);
        let lock = subject
            .regions
            .iter()
            .position(|r| r.name == "lock")
            .unwrap();
        let crowded = map.crowded[lock];
        assert_eq!((crowded.lines, crowded.of), (89, 102));
        assert_eq!(crowded.pairs, 102);
    }

    #[test]
    fn aligned_locks_meet_only_in_pairs() {
        let (subject, map) = map(VmaLayout::SplitAligned);
        let lock = subject
            .regions
            .iter()
            .position(|r| r.name == "lock")
            .unwrap();
        let crowded = map.crowded[lock];
        assert_eq!((crowded.lines, crowded.pairs), (0, crowded.of));
    }

    #[test]
    fn even_and_odd_slots_of_the_192_byte_vma_differ_in_pairs() {
        let (subject, map) = map(VmaLayout::EmbeddedRefcount192);
        let within_vma = |conflict: &&Conflict| {
            conflict.region == 0 && conflict.between == Between::Object && conflict.within == PAIR
        };
        let pairs: Vec<_> = map.false_sharing().filter(within_vma).collect();
        // The reference count is in the last line, which has a partner only in odd slots.
        let (a, b) = (("vm_refcnt", "vm_ops"), ("vm_refcnt", "vm_pgoff"));
        let found: Vec<_> = pairs.iter().map(|c| names(&subject, c)).collect();
        assert!(found.contains(&a) || found.contains(&b), "{found:?}");
        for conflict in pairs.iter().filter(|c| names(&subject, c).0 == "vm_refcnt") {
            let phases: Vec<usize> = conflict.phases.iter().map(|(phase, _)| *phase).collect();
            assert_eq!(phases, [LINE], "{:?}", names(&subject, conflict));
        }
        // And in even slots its partner is the first line of the next VMA.
        let next = map.false_sharing().find(|c| {
            c.between == Between::Neighbour
                && c.within == PAIR
                && names(&subject, c) == ("vm_refcnt", "vm_start")
        });
        let phases: Vec<usize> = next
            .unwrap()
            .phases
            .iter()
            .map(|(phase, _)| *phase)
            .collect();
        assert_eq!(phases, [0]);
    }

    #[test]
    fn what_all_threads_write_is_true_sharing() {
        let (subject, map) = map(VmaLayout::EmbeddedRefcount192);
        let found: Vec<_> = map.true_sharing().map(|c| names(&subject, c)).collect();
        assert_eq!(found, [("vm_refcnt", "vm_refcnt")]);
        assert!(map.true_sharing().all(|c| c.clash == Clash::TrueSharing));
    }
}
