//! The fields of a struct as a case names them: no two have a byte in common.
//!
//! A compiler's members do overlap: structs and what is in them, members of a union. Here: which of
//! them are fields, and which field a byte lies in.

use crate::case::CaseField;
use crate::error::{Error, Result};
use crate::layout::{Member, StructLayout};
use std::collections::{BTreeMap, BTreeSet};

/// The largest struct of a case, in bytes.
const STRUCT_BYTES: usize = 64 << 10;
/// Most fields of a case.
const FIELDS: usize = 4096;

/// Fields that have no byte in common.
#[derive(Clone, Debug)]
pub struct FieldCover {
    /// By offset.
    fields: Vec<CaseField>,
    /// Offsets of those that are the storage unit of bit-fields.
    bit_fields: BTreeSet<usize>,
    /// Members that are no field, because there are too many or their names are none for a case.
    pub left_out: usize,
}

impl FieldCover {
    /// Fields that cover `layout`: those in `named` before others, and of members of a union the
    /// largest.
    pub fn of(layout: &StructLayout, named: &BTreeSet<&str>) -> Result<FieldCover> {
        if layout.bytes > STRUCT_BYTES || layout.bytes == 0 {
            return Err(Error::Input(format!(
                "struct '{}' has {} bytes; a case takes structs of 1 byte to 64 KiB",
                layout.name.escape_debug(),
                layout.bytes
            )));
        }
        let mut leaves: Vec<&Member> = Vec::new();
        let mut arrays: Vec<&Member> = Vec::new();
        let mut left_out = 0;
        for member in &layout.members {
            if member.bytes == 0
                || member.bytes > layout.bytes
                || member.offset > layout.bytes - member.bytes
            {
                continue;
            }
            if member.aggregate {
                if member.count() > 1 {
                    arrays.push(member);
                }
            } else if is_name(&member.name) {
                leaves.push(member);
            } else {
                left_out += 1;
            }
        }
        // Stable: members alike stay as declared.
        leaves.sort_by_key(|member| {
            let named = named.contains(member.name.as_str());
            (!named, std::cmp::Reverse(member.bytes))
        });
        let mut taken: BTreeMap<usize, CaseField> = BTreeMap::new();
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut bit_fields = BTreeSet::new();
        for member in leaves {
            if taken.len() == FIELDS {
                left_out += 1;
            } else if is_free(&taken, member.offset, member.bytes) && names.insert(&member.name) {
                taken.insert(member.offset, field(member));
                if member.bits.is_some() {
                    bit_fields.insert(member.offset);
                }
            }
        }
        let elements = further_elements(&arrays, &taken);
        for (offset, field) in elements {
            if taken.len() == FIELDS {
                left_out += 1;
            } else if is_free(&taken, offset, field.bytes.saturating_mul(field.count)) {
                taken.insert(offset, field);
            }
        }
        Ok(FieldCover {
            fields: taken.into_values().collect(),
            bit_fields,
            left_out,
        })
    }

    /// The fields, by offset.
    pub fn fields(&self) -> &[CaseField] {
        &self.fields
    }

    /// Whether the field of that number is the storage unit of bit-fields.
    pub fn is_bit_field(&self, number: usize) -> bool {
        let field = self.fields.get(number);
        field.is_some_and(|field| self.bit_fields.contains(&field.offset))
    }

    /// The number of the field that a byte lies in, and of the element if it is an array.
    pub fn at(&self, offset: usize) -> Option<(usize, Option<usize>)> {
        let after = self.fields.partition_point(|field| field.offset <= offset);
        let number = after.checked_sub(1)?;
        let field = self.fields.get(number)?;
        let into = offset - field.offset;
        if into >= field.bytes * field.count {
            return None;
        }
        Some((
            number,
            (field.count > 1).then_some(into / field.bytes.max(1)),
        ))
    }
}

/// Whether a case may have a field of that name.
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-[]".contains(c);
    !name.is_empty() && name.len() <= 128 && name.chars().all(fits)
}

fn field(member: &Member) -> CaseField {
    let whole = member.element == 0 || !member.bytes.is_multiple_of(member.element);
    CaseField {
        name: member.name.clone(),
        offset: member.offset,
        bytes: if whole { member.bytes } else { member.element },
        count: if whole { 1 } else { member.count() },
    }
}

/// Whether no field has a byte of these.
fn is_free(taken: &BTreeMap<usize, CaseField>, offset: usize, bytes: usize) -> bool {
    let before = taken.range(..=offset).next_back();
    before.is_none_or(|(_, field)| field.end() <= offset)
        && taken
            .range(offset..offset.saturating_add(bytes))
            .next()
            .is_none()
}

/// Of an array of structs, a layout lists what is in the first element alone, `stats[0].sum`: the
/// same in the other elements.
fn further_elements(
    arrays: &[&Member],
    taken: &BTreeMap<usize, CaseField>,
) -> Vec<(usize, CaseField)> {
    let mut further = Vec::new();
    for array in arrays {
        let prefix = format!("{}[0].", array.name);
        let first: Vec<&CaseField> = taken
            .range(array.offset..array.offset.saturating_add(array.element))
            .map(|(_, field)| field)
            .filter(|field| field.name.starts_with(&prefix))
            .collect();
        for element in 1..array.count() {
            for field in &first {
                if further.len() > FIELDS {
                    return further;
                }
                let rest = field.name.get(prefix.len()..).unwrap_or("");
                let offset = field.offset + element * array.element;
                let name = format!("{}[{element}].{rest}", array.name);
                further.push((
                    offset,
                    CaseField {
                        name,
                        offset,
                        ..(*field).clone()
                    },
                ));
            }
            if first.is_empty() {
                break;
            }
        }
    }
    further
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, offset: usize, bytes: usize, element: usize, aggregate: bool) -> Member {
        Member {
            name: name.to_owned(),
            type_name: String::new(),
            offset,
            bytes,
            element,
            bits: None,
            in_union: false,
            aggregate,
            depth: name.matches('.').count(),
        }
    }

    fn layout(members: Vec<Member>) -> StructLayout {
        StructLayout {
            name: "s".to_owned(),
            source: "test".to_owned(),
            bytes: 64,
            align: 8,
            members,
        }
    }

    fn names(cover: &FieldCover) -> Vec<(&str, usize)> {
        cover
            .fields()
            .iter()
            .map(|f| (f.name.as_str(), f.offset))
            .collect()
    }

    #[test]
    fn of_a_union_the_largest_is_a_field_unless_another_was_named() {
        let layout = layout(vec![
            member("u", 0, 8, 8, true),
            member("u.a", 0, 4, 4, false),
            member("u.p", 0, 8, 8, false),
            member("list", 8, 4, 1, false),
        ]);
        let cover = FieldCover::of(&layout, &BTreeSet::new()).unwrap();
        assert_eq!(names(&cover), [("u.p", 0), ("list", 8)]);
        assert_eq!(cover.at(7), Some((0, None)));
        assert_eq!(cover.at(10), Some((1, Some(2))));
        assert_eq!(cover.at(12), None);
        let cover = FieldCover::of(&layout, &["u.a"].into()).unwrap();
        assert_eq!(names(&cover), [("u.a", 0), ("list", 8)]);
        assert_eq!(cover.at(7), None);
    }

    #[test]
    fn every_element_of_an_array_of_structs_has_fields() {
        let layout = layout(vec![
            member("s", 8, 48, 16, true),
            member("s[0].sum", 8, 8, 8, false),
            member("s[0].n", 16, 4, 4, false),
        ]);
        let cover = FieldCover::of(&layout, &BTreeSet::new()).unwrap();
        let expected = [
            ("s[0].sum", 8),
            ("s[0].n", 16),
            ("s[1].sum", 24),
            ("s[1].n", 32),
            ("s[2].sum", 40),
            ("s[2].n", 48),
        ];
        assert_eq!(names(&cover), expected);
        assert_eq!(cover.at(47), Some((4, None)));
    }

    #[test]
    fn sizes_and_offsets_that_cannot_be_are_no_reason_to_panic() {
        let layout = layout(vec![
            member("a", usize::MAX, 8, 8, false),
            member("b", 0, usize::MAX, 1, false),
            member("c", 60, 8, 8, false),
            member("d", 0, 0, 0, false),
            member("e", 0, 7, 2, false),
            member("f\n", 8, 8, 8, false),
            member("g", 0, 64, 0, true),
        ]);
        let cover = FieldCover::of(&layout, &BTreeSet::new()).unwrap();
        assert_eq!(names(&cover), [("e", 0)]);
        assert_eq!(cover.left_out, 1);
    }
}
