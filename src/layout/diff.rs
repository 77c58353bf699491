//! What is different between two layouts of a struct: fields, who is beside whom, conflicts.
//!
//! Lines and pairs are those of the first slot. Not here: what the difference costs.

use super::interference::{Clash, Interference, Reach};
use super::subject::{Region, Subject};
use crate::error::{Error, Result};
use crate::space::{LINE, PAIR};
use std::collections::{BTreeMap, BTreeSet};

/// What is different between two layouts.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutDiff {
    /// Fields that lie elsewhere, have another size, or are in one layout alone, and those that have
    /// other fields beside them; by offset after, then before.
    pub fields: Vec<FieldDiff>,
    /// Fields of which nothing is different.
    pub same: usize,
    /// Conflicts of which something is different: those that grow first.
    pub conflicts: Vec<ConflictDiff>,
}

/// A field in two layouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDiff {
    /// Its name.
    pub name: String,
    /// Where it was.
    pub before: Option<FieldPlace>,
    /// Where it is.
    pub after: Option<FieldPlace>,
    /// Fields that shared a line with it, and do no more. Where roles are known, fields that
    /// somebody touches; so below.
    pub left_line: Vec<String>,
    /// Fields that share a line with it, and did not.
    pub joined_line: Vec<String>,
    /// Fields that shared a pair with it, and do no more.
    pub left_pair: Vec<String>,
    /// Fields that share a pair with it, and did not.
    pub joined_pair: Vec<String>,
}

/// Where a field lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPlace {
    /// The struct, or the part that it is in.
    pub object: String,
    /// Whether that is a part that lies elsewhere.
    pub in_part: bool,
    /// Bytes from the start of the object.
    pub offset: usize,
    /// Bytes it takes.
    pub bytes: usize,
    /// The line that its first byte lies in.
    pub line: usize,
    /// The pair that its first byte lies in.
    pub pair: usize,
}

/// A conflict in two layouts.
#[derive(Clone, Debug, PartialEq)]
pub struct ConflictDiff {
    /// Reach which objects.
    pub between: Reach,
    /// Where they meet: in a line (64), or only in a pair (128).
    pub within: usize,
    /// What kind it is.
    pub clash: Clash,
    /// One field and its actor: the writer, if only one writes.
    pub a: (String, String),
    /// The other.
    pub b: (String, String),
    /// The weight before; 0 if there was none.
    pub before: f64,
    /// The weight after.
    pub after: f64,
}

/// Most fields in one line that are held against each other: more are there only in large unions.
const MOST_BESIDE: usize = 512;
/// Most times that fields lie in lines.
const MOST_PIECES: usize = 200_000;

impl LayoutDiff {
    /// The difference between two layouts and their maps.
    pub fn of(
        (before, map_before): (&Subject, &Interference),
        (after, map_after): (&Subject, &Interference),
    ) -> Result<LayoutDiff> {
        let (old, new) = (FieldPlaces::of(before)?, FieldPlaces::of(after)?);
        let names: BTreeSet<&str> = old
            .fields
            .keys()
            .chain(new.fields.keys())
            .copied()
            .collect();
        let mut fields = Vec::new();
        let mut same = 0;
        for name in names {
            let diff = FieldDiff::of(name, &old, &new);
            match diff.is_nothing() {
                true => same += 1,
                false => fields.push(diff),
            }
        }
        let offset =
            |place: &Option<FieldPlace>| place.as_ref().map(|place| (place.in_part, place.offset));
        fields.sort_by_key(|diff| {
            let place = offset(&diff.after).or_else(|| offset(&diff.before));
            (diff.after.is_none(), place)
        });
        Ok(LayoutDiff {
            fields,
            same,
            conflicts: conflicts((before, map_before), (after, map_after)),
        })
    }
}

impl FieldDiff {
    fn of(name: &str, old: &FieldPlaces<'_>, new: &FieldPlaces<'_>) -> FieldDiff {
        let (was, is) = (old.beside(name), new.beside(name));
        // A field that only one layout has is news by itself.
        let in_both =
            |other: &&str| old.fields.contains_key(other) && new.fields.contains_key(other);
        let not_in = |these: &BTreeSet<&str>, those: &BTreeSet<&str>| -> Vec<String> {
            let these = these.iter().copied().filter(|other| !those.contains(other));
            these.filter(in_both).map(str::to_owned).collect()
        };
        let both = old.fields.contains_key(name) && new.fields.contains_key(name);
        let not_in = |these, those| match both {
            true => not_in(these, those),
            false => Vec::new(),
        };
        FieldDiff {
            name: name.to_owned(),
            before: old.place(name),
            after: new.place(name),
            left_line: not_in(&was.0, &is.0),
            joined_line: not_in(&is.0, &was.0),
            left_pair: not_in(&was.1, &is.1),
            joined_pair: not_in(&is.1, &was.1),
        }
    }

    fn is_nothing(&self) -> bool {
        let lists = [
            &self.left_line,
            &self.joined_line,
            &self.left_pair,
            &self.joined_pair,
        ];
        let place = |place: &Option<FieldPlace>| {
            place
                .as_ref()
                .map(|place| (place.in_part, place.offset, place.bytes))
        };
        place(&self.before) == place(&self.after) && lists.iter().all(|list| list.is_empty())
    }
}

/// The fields of a struct and its parts, by name, and by line.
struct FieldPlaces<'a> {
    /// Region, number in it.
    fields: BTreeMap<&'a str, (usize, &'a Region, usize)>,
    /// Fields in a line of a region; where roles are known, touched ones.
    in_line: BTreeMap<(usize, usize), Vec<&'a str>>,
}

impl<'a> FieldPlaces<'a> {
    fn of(subject: &'a Subject) -> Result<FieldPlaces<'a>> {
        let mut placed = FieldPlaces {
            fields: BTreeMap::new(),
            in_line: BTreeMap::new(),
        };
        let mut pieces = 0usize;
        for (number, region) in subject.regions.iter().enumerate() {
            if !region.of_struct {
                continue;
            }
            let touched: BTreeSet<usize> = region.touches.iter().map(|touch| touch.field).collect();
            for (field, spot) in region.fields.iter().enumerate() {
                placed
                    .fields
                    .entry(&spot.name)
                    .or_insert((number, region, field));
                if spot.bytes == 0 || !subject.actors.is_empty() && !touched.contains(&field) {
                    continue;
                }
                for line in lines(region, spot.offset, spot.end()) {
                    pieces += 1;
                    if pieces > MOST_PIECES {
                        return Err(Error::Input(format!(
                            "'{}': its fields lie in more than {MOST_PIECES} lines together",
                            region.name.escape_debug()
                        )));
                    }
                    placed
                        .in_line
                        .entry((number, line))
                        .or_default()
                        .push(&spot.name);
                }
            }
        }
        Ok(placed)
    }

    fn place(&self, name: &str) -> Option<FieldPlace> {
        let (number, region, field) = *self.fields.get(name)?;
        let spot = region.fields.get(field)?;
        let base = region.first_phase();
        Some(FieldPlace {
            object: region.name.clone(),
            in_part: number > 0,
            offset: spot.offset,
            bytes: spot.bytes,
            line: (base % LINE + spot.offset) / LINE,
            pair: (base + spot.offset) / PAIR,
        })
    }

    /// The fields that share a line with this one, and those that share a pair.
    fn beside(&self, name: &str) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
        let mut beside = (BTreeSet::new(), BTreeSet::new());
        let Some((number, region, field)) = self.fields.get(name).copied() else {
            return beside;
        };
        let Some(spot) = region.fields.get(field) else {
            return beside;
        };
        let is_listed = |line| {
            let found = self.in_line.get(&(number, line));
            found.is_some_and(|found| found.contains(&name))
        };
        for line in lines(region, spot.offset, spot.end()).take(2 * MOST_BESIDE) {
            // A field that nobody touches has nobody beside it.
            if !is_listed(line) {
                continue;
            }
            for (line, to_pair) in [(line, false), (line, true), (line ^ 1, true)] {
                let found = self.in_line.get(&(number, line)).into_iter().flatten();
                let found = found.take(MOST_BESIDE).filter(|other| **other != name);
                match to_pair {
                    true => beside.1.extend(found),
                    false => beside.0.extend(found),
                }
            }
        }
        beside
    }
}

/// The lines from `start` to `end` of an object in the first slot, by address.
fn lines(region: &Region, start: usize, end: usize) -> std::ops::Range<usize> {
    let base = region.first_phase();
    (base + start) / LINE..(base.saturating_add(end)).div_ceil(LINE)
}

fn conflicts(
    before: (&Subject, &Interference),
    after: (&Subject, &Interference),
) -> Vec<ConflictDiff> {
    let mut all: BTreeMap<_, (f64, f64)> = BTreeMap::new();
    for (is_after, (subject, map)) in [(false, before), (true, after)] {
        for conflict in &map.conflicts {
            let side = |of: super::interference::FieldUse| {
                let field = subject.field_name(conflict.region, of.field);
                (field, subject.actor_name(of.actor).to_owned())
            };
            let (mut a, mut b) = (side(conflict.a), side(conflict.b));
            if conflict.clash != Clash::WriterReader && b < a {
                (a, b) = (b, a);
            }
            let key = (conflict.between, conflict.within, conflict.clash, a, b);
            let weights = all.entry(key).or_default();
            match is_after {
                false => weights.0 += conflict.weight,
                true => weights.1 += conflict.weight,
            }
        }
    }
    let all = all.into_iter();
    let mut changed: Vec<ConflictDiff> = all
        .map(
            |((between, within, clash, a, b), (before, after))| ConflictDiff {
                between,
                within,
                clash,
                a,
                b,
                before,
                after,
            },
        )
        .filter(|diff| (diff.after - diff.before).abs() > 1e-9)
        .collect();
    changed.sort_by(|x, y| (y.after - y.before).total_cmp(&(x.after - x.before)));
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::subject::{Packing, Spot};

    fn subject(bytes: usize, fields: &[(&str, usize, usize)]) -> Subject {
        let spot = |&(name, offset, bytes): &(&str, usize, usize)| Spot {
            name: name.to_owned(),
            offset,
            bytes,
        };
        Subject {
            layout: "l".into(),
            threads: 2,
            actors: Vec::new(),
            regions: vec![Region {
                name: "s".into(),
                of_struct: true,
                bytes,
                objects: None,
                packing: Packing::in_slab(bytes, 64),
                at: 0,
                fields: fields.iter().map(spot).collect(),
                touches: Vec::new(),
            }],
        }
    }

    fn diff(a: &Subject, b: &Subject) -> LayoutDiff {
        let maps = [a, b].map(|s| Interference::of(s).unwrap());
        LayoutDiff::of((a, &maps[0]), (b, &maps[1])).unwrap()
    }

    #[test]
    fn a_field_that_moves_says_whom_it_leaves_and_whom_it_joins() {
        let a = subject(
            192,
            &[
                ("lock", 0, 8),
                ("name", 8, 40),
                ("next", 64, 8),
                ("end", 128, 8),
            ],
        );
        let b = subject(
            192,
            &[
                ("lock", 72, 8),
                ("name", 8, 40),
                ("next", 64, 8),
                ("end", 128, 8),
            ],
        );
        let diff = diff(&a, &b);
        let lock = diff.fields.iter().find(|f| f.name == "lock").unwrap();
        assert_eq!(
            (lock.left_line.as_slice(), lock.joined_line.as_slice()),
            (
                ["name".to_owned()].as_slice(),
                ["next".to_owned()].as_slice()
            )
        );
        // All three stay in one pair.
        assert_eq!((lock.left_pair.len(), lock.joined_pair.len()), (0, 0));
        let place = |place: &Option<FieldPlace>| place.as_ref().map(|p| (p.offset, p.line, p.pair));
        assert_eq!(
            (place(&lock.before), place(&lock.after)),
            (Some((0, 0, 0)), Some((72, 1, 0)))
        );
        // The others are news only as far as the lock left or joined them.
        let names: Vec<&str> = diff.fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["name", "next", "lock"]);
        assert_eq!(diff.same, 1);
    }

    #[test]
    fn fields_of_one_layout_alone_are_listed_once() {
        let a = subject(64, &[("x", 0, 8), ("gone", 8, 8)]);
        let b = subject(64, &[("x", 0, 8), ("new", 16, 4)]);
        let diff = diff(&a, &b);
        let found: Vec<_> = diff
            .fields
            .iter()
            .map(|f| (f.name.as_str(), f.before.is_some(), f.after.is_some()))
            .collect();
        assert_eq!(found, [("new", false, true), ("gone", true, false)]);
    }

    #[test]
    fn a_layout_is_no_different_from_itself() {
        let a = subject(64, &[("x", 0, 8), ("y", 8, 8)]);
        let diff = diff(&a, &a.clone());
        assert_eq!(
            (diff.fields.len(), diff.same, diff.conflicts.len()),
            (0, 2, 0)
        );
    }
}
