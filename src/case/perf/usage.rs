//! Recorded uses of the fields of one struct, added up by who made them.
//!
//! Here: from addresses and types to bytes of the struct, and the groups that become roles. What is
//! kept is bounded by the struct, not by the text.

use super::fields::FieldCover;
use super::place::{Extent, PlacedObjects};
use super::profile::{CountUnit, FieldUse, UseCounts, UsePlace, UsedBy};
use crate::error::{Error, Result};
use crate::layout::StructLayout;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most groups of name and function that are told apart while reading.
const GROUPS: usize = 1024;
/// Most sums that are kept while groups are told apart.
const SUMS: usize = 1 << 17;
/// Most threads, and most objects, that are told apart in a group.
const TOLD_APART: usize = 4096;
/// Most roles of a case.
const ROLES: usize = 8;

/// Uses of the fields of a struct.
pub struct Usage<'l, 't> {
    layout: &'l StructLayout,
    objects: Option<PlacedObjects>,
    members: HashMap<&'l str, usize>,
    /// By the last part of a dotted name, the one that is in the fewest structs; `None` if several.
    inner: HashMap<&'l str, Option<usize>>,
    groups: HashMap<(&'t str, &'t str), UsageGroup>,
    sums: usize,
    /// Whether there were too many groups to tell them apart.
    merged: bool,
    unit: Option<CountUnit>,
    named: BTreeSet<&'l str>,
    whole: BTreeSet<&'l str>,
    found_inside: BTreeSet<&'l str>,
    /// What was not counted.
    pub passed: Passed,
}

/// Uses that are of no field of the struct.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// At addresses, where nobody said which objects lie where.
    pub unplaced: u64,
    /// At addresses outside the objects.
    pub outside: u64,
    /// Of other types.
    pub other_types: u64,
    /// Beyond the struct's last byte, though it is called so.
    pub beyond: u64,
    /// Fields that the profile has elsewhere than the layout, or that the layout lacks: the first
    /// few of them.
    pub differing: Vec<String>,
    /// Uses of all such fields.
    pub different: u64,
}

/// Who made uses of a struct's bytes, and which.
#[derive(Clone, Debug, Default)]
struct UsageGroup {
    /// By byte of the struct.
    sums: BTreeMap<usize, UseCounts>,
    threads: BTreeSet<u32>,
    /// Each object touched, and the thread if it was one alone.
    objects: BTreeMap<u64, Option<u32>>,
}

/// What one group of accesses to a struct did: a role of a case.
#[derive(Clone, Debug)]
pub struct RecordedRole {
    /// Function or thread's name; empty where neither is known.
    pub name: String,
    /// By field and element: the most used first; by offset where no number is stated.
    pub uses: Vec<RecordedUse>,
    /// Uses in holes of the struct.
    pub holes: u64,
    /// Its threads, where they are known.
    pub threads: BTreeSet<u32>,
    /// Objects that it touched, and the thread if it was one alone.
    pub objects: BTreeMap<u64, Option<u32>>,
}

/// What a group did with one field.
#[derive(Clone, Debug)]
pub struct RecordedUse {
    /// Number of the field in the cover.
    pub field: usize,
    /// Element of an array.
    pub element: Option<usize>,
    /// How often.
    pub counts: UseCounts,
}

/// How groups are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupedBy {
    /// By the names of threads.
    Comm,
    /// By functions; in tables of the kernel, by paths.
    Symbol,
    /// Not at all.
    Nothing,
}

impl<'l, 't> Usage<'l, 't> {
    /// No uses yet of `layout`, whose objects lie in `extents`.
    pub fn new(layout: &'l StructLayout, extents: &[Extent]) -> Result<Usage<'l, 't>> {
        let objects = match extents {
            [] => None,
            _ => Some(PlacedObjects::new(
                extents,
                layout.bytes as u64,
                layout.align as u64,
            )?),
        };
        let mut members = HashMap::new();
        let mut inner: HashMap<&str, (usize, Option<usize>)> = HashMap::new();
        for (number, member) in layout.members.iter().enumerate() {
            members.entry(member.name.as_str()).or_insert(number);
            let Some((_, last)) = member.name.rsplit_once('.') else {
                continue;
            };
            let (depth, only) = inner.entry(last).or_insert((member.depth, Some(number)));
            if member.depth < *depth {
                (*depth, *only) = (member.depth, Some(number));
            } else if member.depth == *depth && *only != Some(number) {
                *only = None;
            }
        }
        Ok(Usage {
            layout,
            objects,
            members,
            inner: inner
                .into_iter()
                .map(|(last, (_, only))| (last, only))
                .collect(),
            groups: HashMap::new(),
            sums: 0,
            merged: false,
            unit: None,
            named: BTreeSet::new(),
            found_inside: BTreeSet::new(),
            whole: BTreeSet::new(),
            passed: Passed::default(),
        })
    }

    /// What is counted, if anything was.
    pub fn unit(&self) -> Option<CountUnit> {
        self.unit
    }

    /// Structs within the struct that were named as a whole: which of their members was used, the
    /// profile does not say.
    pub fn whole(&self) -> &BTreeSet<&'l str> {
        &self.whole
    }

    /// Members of structs within the struct that the profile names without those structs.
    pub fn found_inside(&self) -> &BTreeSet<&'l str> {
        &self.found_inside
    }

    /// Add a use. It is an error if it is counted in another unit than those before.
    pub fn add(&mut self, found: &FieldUse<'t>) -> Result<()> {
        let Some((object, offset)) = self.byte(found) else {
            return Ok(());
        };
        match self.unit {
            None => self.unit = Some(found.unit),
            Some(unit) if unit != found.unit => {
                return Err(Error::Input(format!(
                    "one profile counts {unit}, another {}: they cannot be added; give profiles of one kind",
                    found.unit
                )));
            }
            Some(_) => {}
        }
        let key = (found.by.comm, found.by.symbol);
        let full = self.groups.len() >= GROUPS && !self.groups.contains_key(&key);
        if !self.merged && (full || self.sums >= SUMS) {
            self.merge();
        }
        let group = self
            .groups
            .entry(if self.merged { ("", "") } else { key })
            .or_default();
        let before = group.sums.len();
        group.sums.entry(offset).or_default().add(&found.counts);
        self.sums += group.sums.len() - before;
        group.met(&found.by, object);
        Ok(())
    }

    /// The object and the byte of it that was used.
    fn byte(&mut self, found: &FieldUse<'t>) -> Option<(Option<u64>, usize)> {
        let count = found.counts.all;
        let passed = &mut self.passed;
        let add = |to: &mut u64| *to = to.saturating_add(count);
        let (offset, field) = match &found.place {
            UsePlace::Address(address) => {
                let Some(objects) = &self.objects else {
                    add(&mut passed.unplaced);
                    return None;
                };
                let Some((object, offset)) = objects.at(*address) else {
                    add(&mut passed.outside);
                    return None;
                };
                return Some((Some(object), offset as usize));
            }
            UsePlace::Typed {
                type_name,
                offset,
                field,
            } => {
                if bare(type_name) != bare(&self.layout.name) {
                    add(&mut passed.other_types);
                    return None;
                }
                (*offset, field)
            }
        };
        let mut number = self.members.get(field.as_str()).copied();
        if number.is_none() && offset.is_none() {
            number = self.inner.get(field.as_str()).copied().flatten();
            let member = number.and_then(|number| self.layout.members.get(number));
            self.found_inside
                .extend(member.map(|member| member.name.as_str()));
        }
        let member = number.and_then(|number| self.layout.members.get(number));
        let Some(offset) = offset.or(member.map(|member| member.offset as u64)) else {
            let what = format!(
                "the layout has no '{}'",
                field.chars().take(128).collect::<String>().escape_debug()
            );
            passed.differ(what, count);
            return None;
        };
        if offset >= self.layout.bytes as u64 {
            add(&mut passed.beyond);
            return None;
        }
        match member {
            Some(member)
                if (member.offset as u64..).contains(&offset)
                    && offset < (member.offset + member.bytes.max(1)) as u64 =>
            {
                self.named.insert(&member.name);
                if member.aggregate {
                    self.whole.insert(&member.name);
                }
            }
            Some(member) => passed.differ(
                format!(
                    "'{field}' lies at byte {offset} in the profile, at {} in the layout",
                    member.offset
                ),
                count,
            ),
            // Elements, anonymous members: names are not written alike everywhere.
            None => {}
        }
        Some((None, offset as usize))
    }

    /// Put all groups together.
    fn merge(&mut self) {
        let mut all = UsageGroup::default();
        for (_, group) in self.groups.drain() {
            all.join(group);
        }
        self.sums = all.sums.len();
        self.groups.insert(("", ""), all);
        self.merged = true;
    }

    /// The fields, and what each group did with them.
    pub fn roles(self) -> Result<(FieldCover, GroupedBy, Vec<RecordedRole>)> {
        let cover = FieldCover::of(self.layout, &self.named)?;
        let comms: BTreeSet<&str> = self.groups.keys().map(|(comm, _)| *comm).collect();
        let symbols: BTreeSet<&str> = self.groups.keys().map(|(_, symbol)| *symbol).collect();
        let by = if (2..=ROLES).contains(&comms.len()) && !comms.contains("") {
            GroupedBy::Comm
        } else if symbols.len() <= ROLES && symbols.iter().any(|symbol| !symbol.is_empty()) {
            GroupedBy::Symbol
        } else {
            GroupedBy::Nothing
        };
        let mut grouped: BTreeMap<&str, UsageGroup> = BTreeMap::new();
        for ((comm, symbol), group) in self.groups {
            let name = match by {
                GroupedBy::Comm => comm,
                GroupedBy::Symbol => symbol,
                GroupedBy::Nothing => "",
            };
            grouped.entry(name).or_default().join(group);
        }
        let mut roles: Vec<RecordedRole> = grouped
            .into_iter()
            .map(|(name, group)| group.role(name, &cover, self.unit))
            .collect();
        roles.retain(|role| !role.uses.is_empty());
        roles.sort_by_key(|role| std::cmp::Reverse(role.all()));
        Ok((cover, by, roles))
    }
}

impl Passed {
    fn differ(&mut self, what: String, count: u64) {
        const NAMED: usize = 8;
        if self.differing.len() < NAMED && !self.differing.contains(&what) {
            self.differing.push(what);
        }
        self.different = self.different.saturating_add(count);
    }
}

impl UsageGroup {
    fn met(&mut self, by: &UsedBy, object: Option<u64>) {
        if let Some(tid) = by.tid
            && self.threads.len() < TOLD_APART
        {
            self.threads.insert(tid);
        }
        if let Some(object) = object
            && (self.objects.len() < TOLD_APART || self.objects.contains_key(&object))
        {
            let one = self.objects.entry(object).or_insert(by.tid);
            if *one != by.tid {
                *one = None;
            }
        }
    }

    fn join(&mut self, other: UsageGroup) {
        for (offset, counts) in other.sums {
            self.sums.entry(offset).or_default().add(&counts);
        }
        self.threads.extend(other.threads);
        for (object, tid) in other.objects {
            let one = self.objects.entry(object).or_insert(tid);
            if *one != tid {
                *one = None;
            }
        }
    }

    fn role(self, name: &str, cover: &FieldCover, unit: Option<CountUnit>) -> RecordedRole {
        let mut uses: BTreeMap<(usize, Option<usize>), UseCounts> = BTreeMap::new();
        let mut holes = 0u64;
        for (offset, counts) in self.sums {
            match cover.at(offset) {
                Some(field) => uses.entry(field).or_default().add(&counts),
                None => holes = holes.saturating_add(counts.all),
            }
        }
        let mut uses: Vec<RecordedUse> = uses
            .into_iter()
            .map(|((field, element), counts)| RecordedUse {
                field,
                element,
                counts,
            })
            .collect();
        // Fields used alike stay in the order of their offsets.
        if unit != Some(CountUnit::Stated) {
            uses.sort_by_key(|one| std::cmp::Reverse(one.counts.all));
        }
        RecordedRole {
            name: name.to_owned(),
            uses,
            holes,
            threads: self.threads,
            objects: self.objects,
        }
    }
}

impl RecordedRole {
    /// All its uses of fields.
    pub fn all(&self) -> u64 {
        self.uses
            .iter()
            .fold(0, |sum, one| sum.saturating_add(one.counts.all))
    }
}

/// A type's name without the word that C puts before it.
fn bare(name: &str) -> &str {
    let name = name.trim();
    ["struct ", "union ", "class "]
        .into_iter()
        .find_map(|word| name.strip_prefix(word))
        .unwrap_or(name)
        .trim()
}
