//! Where the objects of a case lie, from the first byte of an arena on.
//!
//! Here: arithmetic alone, so that a pass can be made without memory. Not here: what is written
//! there (`world`).

use crate::case::{Case, CaseField, CaseLayout, Count, ObjectOf, Objects, Place};
use crate::error::{Error, Result};
use crate::layout::{SLAB_CPUS, SlabCache};
use crate::space::{PAGE, PAIR};

/// Bytes that the objects of a case may take.
pub const MOST_BYTES: usize = 256 << 20;
/// Bytes into its page that the first object of each further struct begins: a store and a load at
/// the same offset in a page are taken for the same word by many cores, which compare the low 12
/// bits of addresses first. 48 packed locks of 40 bytes; a multiple of the pair, so that what
/// shares lines and pairs is as without.
const STAGGER: usize = 1920;

/// Where everything lies: offsets from the first byte of the arena.
#[derive(Clone, Debug)]
pub struct Places {
    /// The objects of the struct under question.
    pub objects: Vec<u32>,
    /// The objects of each part, one for each object of the struct.
    pub parts: Vec<Vec<u32>>,
    /// The objects of each companion.
    pub companions: Vec<Vec<u32>>,
    /// The words of each name of `percpu`, one for each thread: a pair each.
    pub percpu: Vec<(String, Vec<u32>)>,
    /// The nodes of queued locks: a pair for each thread.
    pub nodes: Vec<u32>,
    /// Bytes of it all.
    pub bytes: usize,
}

/// Hands out the arena from its first byte on.
struct Cursor(usize);

impl Cursor {
    fn take(&mut self, bytes: usize, align: usize) -> Result<usize> {
        let start = self.0.next_multiple_of(align);
        self.0 = start.saturating_add(bytes);
        match self.0 <= MOST_BYTES {
            true => Ok(start),
            false => Err(Error::Input(format!(
                "the objects of the case take more than {} MiB; give fewer objects or threads",
                MOST_BYTES >> 20
            ))),
        }
    }
}

impl Places {
    /// The places of `case` in `layout` with so many threads; the first object of a slab that is
    /// swept lies in slot `first_slot`.
    pub fn of(
        case: &Case,
        layout: &CaseLayout,
        percpu: &[String],
        threads: usize,
        first_slot: usize,
    ) -> Result<Places> {
        let mut cursor = Cursor(0);
        let first_slot = match (&case.objects.place, case.objects.sweep) {
            (Place::Slab, true) => first_slot,
            _ => 0,
        };
        let size = (layout.bytes, layout.align);
        let objects = place(&mut cursor, &case.objects, size, threads, first_slot, 0)?;
        let mut parts = Vec::new();
        for (number, part) in layout.parts.iter().enumerate() {
            let slab = Objects {
                count: Count::Of(objects.len()),
                place: Place::Slab,
                at: 0,
                enclosing_bytes: None,
                sweep: false,
            };
            let size = (part.bytes, part.align);
            let stagger = STAGGER * (number + 1);
            let placed = place(&mut cursor, &slab, size, threads, first_slot, stagger)?;
            parts.push(placed);
        }
        let mut companions = Vec::new();
        for (number, companion) in case.companions.iter().enumerate() {
            let size = (companion.bytes, companion.align);
            let stagger = PAIR * 5 * (number + 1);
            let placed = place(&mut cursor, &companion.objects, size, threads, 0, stagger)?;
            companions.push(placed);
        }
        let mut words = Vec::new();
        let pairs = |cursor: &mut Cursor| -> Result<Vec<u32>> {
            let start = cursor.take(threads * PAIR, PAIR)?;
            Ok((0..threads).map(|t| (start + t * PAIR) as u32).collect())
        };
        // On pages of their own.
        cursor.take(0, PAGE)?;
        for name in percpu {
            words.push((name.clone(), pairs(&mut cursor)?));
        }
        let nodes = pairs(&mut cursor)?;
        Ok(Places {
            objects,
            parts,
            companions,
            percpu: words,
            nodes,
            bytes: cursor.0,
        })
    }

    /// The objects of a struct.
    pub fn of_struct(&self, of: ObjectOf) -> &[u32] {
        match of {
            ObjectOf::Struct => &self.objects,
            ObjectOf::Companion(number) => &self.companions[number],
        }
    }
}

/// Starting slots that make every phase of the objects of `layout`, and of its parts, in a pair: 1
/// where every slot begins a pair, or nothing is swept.
pub fn phases(case: &Case, layout: &CaseLayout) -> usize {
    match (&case.objects.place, case.objects.sweep) {
        (Place::Slab, true) => {
            let slot = slot(&case.objects, (layout.bytes, layout.align));
            let of = |slot, align| PAIR / gcd(cache(slot, align).slot, PAIR);
            let parts = layout.parts.iter().map(|part| of(part.bytes, part.align));
            // Powers of two: the most of them go through all of the others.
            parts.fold(of(slot, layout.align), usize::max)
        }
        _ => 1,
    }
}

/// Bytes from one object to the next.
fn slot(objects: &Objects, (bytes, align): (usize, usize)) -> usize {
    let whole = objects.enclosing_bytes.unwrap_or(bytes);
    whole.next_multiple_of(align).max(align)
}

fn place(
    cursor: &mut Cursor,
    objects: &Objects,
    size: (usize, usize),
    threads: usize,
    first_slot: usize,
    stagger: usize,
) -> Result<Vec<u32>> {
    let count = match objects.count {
        Count::Of(count) => count,
        Count::Threads => threads,
    };
    let (slot, align) = (slot(objects, size), size.1);
    let at = |start: usize| (start + objects.at) as u32;
    let in_slab = match &objects.place {
        Place::Slab => true,
        Place::Chain { packed, .. } => *packed,
        Place::Array => false,
    };
    if in_slab {
        let cache = cache(slot, align);
        // Whole phases of the slot size, so that the first slot in use is in phase 0.
        let unit = PAIR / gcd(cache.slot, PAIR);
        let skip = stagger.div_ceil(unit * cache.slot) * unit;
        let first = skip + first_slot;
        let start = cursor.take(cache.pages_for(first + count) * PAGE, PAGE)?;
        let slots = first..first + count;
        return Ok(slots.map(|i| at(start + cache.offset(i))).collect());
    }
    match &objects.place {
        Place::Chain { .. } => {
            let pages = slot.div_ceil(PAGE) + 1;
            let start = cursor.take(count.saturating_mul(pages * PAGE), PAGE)?;
            // Each at another place of its page, by whole pairs.
            let steps = (PAGE / PAIR).max(1);
            let object = |i: usize| {
                let shift = (i * 5 % steps * PAIR).next_multiple_of(align);
                at(start + i * pages * PAGE + shift)
            };
            Ok((0..count).map(object).collect())
        }
        _ => {
            let skip = stagger.next_multiple_of(PAIR.max(align));
            let start = cursor.take(skip + count.saturating_mul(slot), PAGE)? + skip;
            Ok((0..count).map(|i| at(start + i * slot)).collect())
        }
    }
}

/// The slab cache of objects of that slot size.
fn cache(slot: usize, align: usize) -> SlabCache {
    let chosen = SlabCache::chosen(slot, align, SLAB_CPUS);
    chosen.unwrap_or(SlabCache::new(slot, align, slot.div_ceil(PAGE)))
}

/// The largest number (at most 8) that divides every one of `places`: what an object of the struct
/// is surely aligned to.
pub fn granule(places: &[u32]) -> usize {
    places.iter().fold(8, |of, place| gcd(of, *place as usize))
}

/// The greatest common divisor.
pub fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        b => gcd(b, a % b),
    }
}

/// Pieces of `bytes` bytes at `offset` of an object aligned to `granule`: naturally aligned words
/// of at most 8 bytes, as `(offset, bytes)`.
pub fn pieces(offset: usize, bytes: usize, granule: usize) -> impl Iterator<Item = (usize, usize)> {
    let (mut at, end) = (offset, offset + bytes);
    std::iter::from_fn(move || {
        let left = end - at;
        let fits = |size: &usize| at.is_multiple_of(*size) && *size <= granule && *size <= left;
        let size = [8, 4, 2, 1].into_iter().find(fits)?;
        let piece = (at, size);
        at += size;
        Some(piece)
    })
}

/// The field of that name.
pub fn field<'a>(fields: &'a [CaseField], name: &str) -> Option<&'a CaseField> {
    fields.iter().find(|field| field.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_words_that_cover_the_field() {
        let of = |offset, bytes, granule| pieces(offset, bytes, granule).collect::<Vec<_>>();
        assert_eq!(of(56, 18, 8), [(56, 8), (64, 8), (72, 2)]);
        assert_eq!(of(3, 6, 8), [(3, 1), (4, 4), (8, 1)]);
        assert_eq!(of(8, 8, 4), [(8, 4), (12, 4)]);
        assert_eq!(of(5, 0, 8), []);
    }
}
