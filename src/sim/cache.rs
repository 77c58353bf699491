//! The tags of one set-associative cache: which lines it holds and which leaves next.
//!
//! Here: placement and replacement. Not here: coherence states (`coherence`), which are kept per
//! core and line, so that a hit need not search a set.

use super::machine::CacheSpec;

/// One set: which ways are taken, and which were used since the last time all had been.
#[derive(Clone, Copy, Default)]
struct Set {
    valid: u32,
    used: u32,
}

/// A cache with bit-PLRU replacement: the victim is the first way not used since every way had
/// been used once, which is what tree- and bit-PLRU hardware approximates LRU with.
pub struct Cache {
    spec: CacheSpec,
    /// `Some(sets - 1)` where the number of sets is a power of two.
    mask: Option<u32>,
    full: u32,
    /// The sets that more lines of the simulated memory fall into than they have ways. Lines that
    /// follow one another fall into sets in turn, so these are the first ones, and in the others
    /// none is ever evicted.
    sets: Vec<Set>,
    tags: Vec<u32>,
}

impl Cache {
    /// A cache for a memory of `lines` lines.
    pub fn new(spec: CacheSpec, lines: usize) -> Cache {
        let tracked = lines.saturating_sub(spec.sets * spec.ways).min(spec.sets);
        Cache {
            spec,
            mask: spec.sets.is_power_of_two().then_some(spec.sets as u32 - 1),
            full: u32::MAX >> (32 - spec.ways),
            sets: vec![Set::default(); tracked],
            tags: vec![0; tracked * spec.ways],
        }
    }

    #[inline(always)]
    fn set_of(&self, line: u32) -> usize {
        match self.mask {
            Some(mask) => (line & mask) as usize,
            None => (line % self.spec.sets as u32) as usize,
        }
    }

    /// Note a use of the line in `way`.
    #[inline(always)]
    pub fn touch(&mut self, line: u32, way: u32) {
        if self.sets.is_empty() {
            return;
        }
        let index = self.set_of(line);
        if let Some(set) = self.sets.get_mut(index) {
            let used = set.used | 1 << way;
            set.used = if used == self.full { 1 << way } else { used };
        }
    }

    /// Put a line in that is not there yet. Returns its way, and the line that had to leave.
    #[inline(always)]
    pub fn insert(&mut self, line: u32) -> (u32, Option<u32>) {
        if self.sets.is_empty() {
            return (0, None);
        }
        self.insert_tracked(line)
    }

    fn insert_tracked(&mut self, line: u32) -> (u32, Option<u32>) {
        let index = self.set_of(line);
        let Some(set) = self.sets.get_mut(index) else {
            return (0, None);
        };
        let free = !set.valid & self.full;
        let candidates = if free != 0 {
            free
        } else {
            !set.used & self.full
        };
        let way = candidates.trailing_zeros().min(self.spec.ways as u32 - 1);
        let tag = &mut self.tags[index * self.spec.ways + way as usize];
        let evicted = (set.valid & 1 << way != 0).then_some(*tag);
        *tag = line;
        set.valid |= 1 << way;
        self.touch(line, way);
        (way, evicted)
    }

    /// Take a line out.
    #[inline(always)]
    pub fn remove(&mut self, line: u32, way: u32) {
        if self.sets.is_empty() {
            return;
        }
        let index = self.set_of(line);
        if let Some(set) = self.sets.get_mut(index) {
            set.valid &= !(1 << way);
            set.used &= !(1 << way);
        }
    }

    /// The way of a line that is known to be in; 0 where lines are not tracked.
    pub fn way_of(&self, line: u32) -> u32 {
        let index = self.set_of(line);
        let Some(set) = self.sets.get(index) else {
            return 0;
        };
        let tags = &self.tags[index * self.spec.ways..][..self.spec.ways];
        (0..self.spec.ways as u32)
            .find(|way| set.valid & 1 << way != 0 && tags[*way as usize] == line)
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn spec(sets: usize, ways: usize) -> CacheSpec {
        CacheSpec {
            sets,
            ways,
            latency: 1,
        }
    }

    #[test]
    fn a_set_holds_as_many_lines_as_it_has_ways_and_then_evicts_one_not_just_used() {
        let mut cache = Cache::new(spec(3, 2), 100);
        assert_eq!(cache.insert(0).1, None);
        let (way, evicted) = cache.insert(3);
        assert_eq!(evicted, None);
        cache.touch(3, way);
        assert_eq!(cache.insert(6).1, Some(0));
        assert_eq!(cache.insert(1).1, None, "another set");
    }

    #[test]
    fn a_removed_line_makes_room() {
        let mut cache = Cache::new(spec(1, 2), 100);
        let (way, _) = cache.insert(5);
        cache.insert(6);
        cache.remove(5, way);
        assert_eq!(cache.insert(7), (way, None));
    }

    #[test]
    fn a_set_is_tracked_exactly_where_more_lines_fall_into_it_than_it_has_ways() {
        let mut cache = Cache::new(spec(4, 2), 10);
        let mut evicting = BTreeSet::new();
        for line in 0..10 {
            if let (_, Some(evicted)) = cache.insert(line) {
                assert_eq!(evicted % 4, line % 4);
                evicting.insert(line % 4);
            }
        }
        assert_eq!(
            evicting,
            BTreeSet::from([0, 1]),
            "lines 8 and 9 are too many"
        );
    }

    #[test]
    fn nothing_is_evicted_from_a_cache_that_holds_the_whole_memory() {
        let mut cache = Cache::new(spec(4, 2), 8);
        assert!((0..8).all(|line| cache.insert(line).1.is_none()));
    }
}
