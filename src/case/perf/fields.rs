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
        let mut leaves: Vec<(&Member, usize, &str)> = Vec::new();
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
                leaves.push((member, member.offset, &member.name));
            } else {
                left_out += 1;
            }
        }
        let mut order: Vec<usize> = (0..leaves.len()).collect();
        order.sort_by_key(|&i| {
            leaves.get(i).map(|(member, ..)| {
                (
                    !named.contains(member.name.as_str()),
                    usize::MAX - member.bytes,
                    i,
                )
            })
        });
        let mut taken: BTreeMap<usize, CaseField> = BTreeMap::new();
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for (member, offset, name) in order.into_iter().filter_map(|i| leaves.get(i)) {
            if taken.len() == FIELDS {
                left_out += 1;
            } else if is_free(&taken, *offset, member.bytes) && names.insert(name) {
                taken.insert(*offset, field(member, (*name).to_owned(), *offset));
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
            left_out,
        })
    }

    /// The fields, by offset.
    pub fn fields(&self) -> &[CaseField] {
        &self.fields
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

fn field(member: &Member, name: String, offset: usize) -> CaseField {
    let whole = member.element == 0 || member.bytes % member.element != 0;
    CaseField {
        name,
        offset,
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
