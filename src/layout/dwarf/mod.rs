//! DWARF, the type data of what was compiled with `-g`: C, C++ and Rust.
//!
//! A base class's members are named as if they stood in the class itself, and by the base's name
//! (`Base.x`) where that would be ambiguous; of a Rust enum, all variants are members in a union.
//! Names of types are as their declarations give them, without namespaces. Not read: split DWARF,
//! and types that are local to a function. Virtual bases have no fixed place, and are refused.

mod find;
mod units;

use super::expand;
use super::struct_layout::StructLayout;
use super::types::{
    Composite, DEEPEST, MOST_TEXT, Name, Part, Shape, Type, Types, natural, too_deep,
};
use crate::error::{Error, Result, say};
use gimli::AttributeValue;
use gimli::constants as dw;
use units::{DwarfId, Entry, Units, Value};

pub use units::Sections;

/// Parameters of a function that are decoded; they only stand in names of types.
const MOST_PARAMETERS: usize = 32;

/// The types of one file.
pub struct Dwarf<'s> {
    units: Units<'s>,
}

/// Size and members, with the first bit and how many, of a definition.
type Outline = (u64, Vec<(String, u64, Option<u64>)>);

impl<'s> Dwarf<'s> {
    /// The types in those sections.
    pub fn of(sections: &'s Sections<'s>) -> Result<Dwarf<'s>> {
        Ok(Dwarf {
            units: Units::of(sections)?,
        })
    }

    /// The layout of the struct, class or union `name` (or of a typedef of one), in a namespace
    /// `outer::name`; `source` says of which file. Of several definitions it is the first, and it is
    /// said where others differ.
    pub fn struct_layout(&self, name: &str, source: &str) -> Result<StructLayout> {
        let found = find::find(&self.units, name)?;
        let Some((first, others)) = found.ids.split_first() else {
            return Err(self.unknown(name));
        };
        self.units.restart();
        let layout = expand::layout(self, *first, &found.name, source)?;
        let own = self.outline(*first)?;
        let mut differing = 0;
        for other in others {
            self.units.restart();
            differing += usize::from(self.outline(*other)? != own);
        }
        if differing > 0 {
            say(format_args!(
                "{source} has {} definitions of '{}' and {differing} of them differ from the first, which is used",
                found.ids.len(),
                found.name
            ));
        }
        Ok(layout)
    }

    /// The layouts of all structs, classes and unions that have a name, the first of each name.
    pub fn each(
        &self,
        source: &str,
        mut then: impl FnMut(Result<StructLayout>) -> Result<()>,
    ) -> Result<()> {
        for (name, id) in find::all(&self.units)? {
            self.units.restart();
            then(expand::layout(self, id, &name, source))?;
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> Error {
        if let Some(dwo) = self.units.split.borrow().as_ref() {
            return Error::Input(format!(
                "it has no struct '{}': its DWARF is split and the types are in files like {}, which are not read; compile without -gsplit-dwarf",
                name.escape_debug(),
                dwo.escape_debug()
            ));
        }
        match find::all(&self.units) {
            Ok(all) => {
                let names = all.iter().map(|(name, _)| name.as_str());
                Error::unknown("struct", name, names.filter(|name| name.len() <= 128))
            }
            Err(error) => error,
        }
    }

    /// A definition, to compare it with others.
    fn outline(&self, id: DwarfId) -> Result<Outline> {
        let Some((id, Type::Composite(composite))) = Shape::of(self, id)?.element else {
            return Ok((0, Vec::new()));
        };
        let parts = self.parts(id)?.into_iter();
        let parts = parts.map(|part| (part.name, part.bit, part.bits));
        Ok((composite.bytes, parts.collect()))
    }

    fn entry(&self, id: DwarfId) -> Result<Entry<'s>> {
        self.units.entry(id.unit, id.offset)
    }

    fn id(&self, unit: usize, value: &Value<'s>) -> Result<DwarfId> {
        let (unit, offset) = self.units.target(unit, value)?;
        Ok(DwarfId {
            unit,
            offset,
            dimension: 0,
        })
    }

    /// The type that an entry refers to; `None` is void.
    fn of_type(&self, unit: usize, entry: &Entry<'s>) -> Result<Option<DwarfId>> {
        let value = entry.attr_value(dw::DW_AT_type);
        value.map(|value| self.id(unit, &value)).transpose()
    }

    /// Its name, of a struct and the like as its language writes it.
    fn name(&self, unit: usize, entry: &Entry<'s>, keyword: &str) -> String {
        let name = self.units.name(unit, entry).unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        match self.units.all[unit].c.get() && !keyword.is_empty() && !name.is_empty() {
            true => format!("{keyword} {name}"),
            false => name.into_owned(),
        }
    }

    /// The counts of an array's dimensions; 0 where there is no bound.
    fn counts(&self, id: DwarfId) -> Result<Vec<u64>> {
        let mut counts = Vec::new();
        self.units.walk(id.unit, Some(id.offset), |child| {
            if child.depth() == 1 && child.tag() == dw::DW_TAG_subrange_type {
                let number = |name| child.attr_value(name).as_ref().and_then(number);
                let count = number(dw::DW_AT_count);
                // An upper bound of -1 means none.
                let upper = number(dw::DW_AT_upper_bound).map(|bound| bound.wrapping_add(1));
                counts.push(count.or(upper).unwrap_or(0));
            }
            Ok(counts.len() < DEEPEST)
        })?;
        Ok(counts)
    }

    fn array(&self, id: DwarfId, entry: &Entry<'s>) -> Result<Type<DwarfId>> {
        let counts = self.counts(id)?;
        let element = self.of_type(id.unit, entry)?;
        let element =
            element.ok_or_else(|| Error::Input("damaged DWARF: an array of nothing".to_owned()))?;
        let next = id.dimension + 1;
        Ok(Type::Array {
            count: counts.get(id.dimension).copied().unwrap_or(0),
            element: match next < counts.len() {
                true => DwarfId {
                    dimension: next,
                    ..id
                },
                false => element,
            },
        })
    }

    fn function(&self, id: DwarfId, entry: &Entry<'s>) -> Result<Type<DwarfId>> {
        let (mut parameters, mut more) = (Vec::new(), false);
        self.units.walk(id.unit, Some(id.offset), |child| {
            match child.tag() {
                dw::DW_TAG_formal_parameter if child.depth() == 1 => {
                    match parameters.len() < MOST_PARAMETERS {
                        true => parameters.push(self.of_type(id.unit, child)?),
                        false => more = true,
                    }
                }
                dw::DW_TAG_unspecified_parameters => more = true,
                _ => {}
            }
            Ok(!more)
        })?;
        Ok(Type::Function {
            returns: self.of_type(id.unit, entry)?,
            parameters,
            more,
        })
    }

    fn part(&self, id: DwarfId, entry: &Entry<'s>, shares: bool) -> Result<Option<Part<DwarfId>>> {
        let flag = |name| matches!(entry.attr_value(name), Some(AttributeValue::Flag(true)));
        let number = |name| entry.attr_value(name).as_ref().and_then(number);
        let base = entry.tag() == dw::DW_TAG_inheritance;
        // A static member lies elsewhere.
        if !base && (flag(dw::DW_AT_external) || flag(dw::DW_AT_declaration)) {
            return Ok(None);
        }
        let name = self.name(id.unit, entry, "");
        let place = entry.attr_value(dw::DW_AT_data_member_location);
        let virtual_base = base
            && matches!(entry.attr_value(dw::DW_AT_virtuality),
                Some(AttributeValue::Virtuality(v)) if v != dw::DW_VIRTUALITY_none);
        let byte = match place {
            _ if virtual_base => None,
            None => Some(0),
            Some(place) => self.byte(id.unit, &place),
        };
        let Some(byte) = byte else {
            return Err(Error::Input(match base {
                true => "it has a virtual base class, whose place is not the same in every object: it has no one layout".to_owned(),
                false => format!("the place of its member '{name}' is computed when the program runs, which is not supported"),
            }));
        };
        let Some(of) = self.of_type(id.unit, entry)? else {
            return Ok(None);
        };
        let bits = number(dw::DW_AT_bit_size);
        let far = || Error::Input(format!("damaged DWARF: the place of its member '{name}'"));
        let start = byte.checked_mul(8).ok_or_else(far)?;
        let bit = match (
            bits,
            number(dw::DW_AT_data_bit_offset),
            number(dw::DW_AT_bit_offset),
        ) {
            (_, Some(bit), _) => Some(bit),
            (Some(bits), None, Some(from_top)) => {
                // Of a storage unit, counted from its most significant bit.
                let unit = match number(dw::DW_AT_byte_size) {
                    Some(bytes) => bytes,
                    None => Shape::of(self, of)?.one(),
                };
                match self.units.big_endian() {
                    true => start.checked_add(from_top),
                    false => start
                        .checked_add(unit.saturating_mul(8))
                        .and_then(|end| end.checked_sub(from_top)?.checked_sub(bits)),
                }
            }
            _ => Some(start),
        };
        Ok(Some(Part {
            name: if base { String::new() } else { name.clone() },
            of,
            bit: bit.ok_or_else(far)?,
            bits,
            align: number(dw::DW_AT_alignment),
            shares,
        }))
    }

    /// Bytes from the start of the struct, where that is the same for every object.
    fn byte(&self, unit: usize, place: &Value<'s>) -> Option<u64> {
        let AttributeValue::Exprloc(expression) = place else {
            return number(place);
        };
        let mut steps = expression.operations(self.units.all[unit].header.encoding());
        match (steps.next().ok()?, steps.next().ok()?) {
            (Some(gimli::Operation::PlusConstant { value }), None) => Some(value),
            _ => None,
        }
    }

    /// Names that a struct's members have, those of anonymous ones and bases in it included.
    fn names(&self, id: DwarfId, nested: usize) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let shape = Shape::of(self, id)?;
        let Some((id, Type::Composite(_))) = shape.element else {
            return Ok(names);
        };
        for part in self.parts_in(id, nested)? {
            match part.name.is_empty() && part.bits.is_none() {
                true => names.extend(self.names(part.of, nested + 1)?),
                false => names.push(part.name),
            }
        }
        Ok(names)
    }

    fn parts_in(&self, id: DwarfId, nested: usize) -> Result<Vec<Part<DwarfId>>> {
        if nested > 16 {
            return Err(too_deep());
        }
        // Whether an entry of that depth holds members: the struct, and the variants of an enum.
        let mut holds = vec![true];
        let (mut parts, mut bases, mut text) = (Vec::new(), Vec::new(), 0);
        self.units.walk(id.unit, Some(id.offset), |child| {
            let Some(above) = usize::try_from(child.depth())
                .ok()
                .and_then(|depth| depth.checked_sub(1))
            else {
                return Ok(true);
            };
            holds.truncate(above + 1);
            let direct = holds.get(above) == Some(&true);
            match child.tag() {
                dw::DW_TAG_member | dw::DW_TAG_inheritance if direct => {
                    if let Some(mut part) = self.part(id, child, above > 0)? {
                        if child.tag() == dw::DW_TAG_inheritance {
                            bases.push(parts.len());
                        } else if part.name.is_empty() && above > 0 {
                            part.name = "__discriminant".to_owned();
                        }
                        text += part.name.len();
                        if text > MOST_TEXT {
                            return Err(Error::Input(
                                "damaged DWARF: the names in a struct do not end".to_owned(),
                            ));
                        }
                        parts.push(part);
                    }
                    holds.push(false);
                }
                dw::DW_TAG_variant_part | dw::DW_TAG_variant => holds.push(direct),
                _ => holds.push(false),
            }
            Ok(true)
        })?;
        if !bases.is_empty() {
            self.name_bases(&mut parts, &bases, nested)?;
        }
        Ok(parts)
    }

    /// Give the bases a name whose members could be taken for others.
    fn name_bases(
        &self,
        parts: &mut [Part<DwarfId>],
        bases: &[usize],
        nested: usize,
    ) -> Result<()> {
        let own = parts.iter().map(|part| part.name.clone());
        let mut taken: std::collections::HashSet<String> = own.collect();
        taken.remove("");
        for base in bases {
            let Some(part) = parts.get_mut(*base) else {
                continue;
            };
            let names = self.names(part.of, nested + 1)?;
            if names.iter().any(|name| taken.contains(name)) {
                let of = self.entry(part.of)?;
                part.name = self.name(part.of.unit, &of, "");
            }
            taken.extend(names);
        }
        Ok(())
    }
}

/// The value of a constant.
fn number(value: &Value<'_>) -> Option<u64> {
    match value {
        AttributeValue::Data1(n) => Some((*n).into()),
        AttributeValue::Data2(n) => Some((*n).into()),
        AttributeValue::Data4(u32::MAX) => Some(u64::MAX),
        AttributeValue::Data4(n) => Some((*n).into()),
        AttributeValue::Data8(n) | AttributeValue::Udata(n) => Some(*n),
        AttributeValue::Sdata(n) => Some(*n as u64),
        _ => None,
    }
}

impl Types for Dwarf<'_> {
    type Id = DwarfId;

    fn get(&self, id: DwarfId) -> Result<Type<DwarfId>> {
        let (entry, unit) = (self.entry(id)?, id.unit);
        let number = |name| entry.attr_value(name).as_ref().and_then(number);
        let bytes = number(dw::DW_AT_byte_size);
        let pointer = || bytes.unwrap_or(self.units.all[unit].header.address_size().into());
        let to = || self.of_type(unit, &entry);
        let alias = |name| -> Result<_> { Ok(Type::Alias { name, to: to()? }) };
        let scalar = |name, bytes| Type::Scalar {
            name,
            bytes,
            align: natural(bytes),
        };
        Ok(match entry.tag() {
            dw::DW_TAG_base_type => {
                let bits = number(dw::DW_AT_bit_size).map(|bits| bits.div_ceil(8));
                scalar(self.name(unit, &entry, ""), bytes.or(bits).unwrap_or(0))
            }
            dw::DW_TAG_enumeration_type => {
                let name = match self.name(unit, &entry, "enum") {
                    name if name.is_empty() => "enum".to_owned(),
                    name => name,
                };
                let bytes = match (bytes, to()?) {
                    (Some(bytes), _) => bytes,
                    (None, Some(of)) => Shape::of(self, of)?.one(),
                    (None, None) => 0,
                };
                scalar(name, bytes)
            }
            dw::DW_TAG_pointer_type => Type::Pointer {
                to: to()?,
                bytes: pointer(),
                mark: "*",
            },
            dw::DW_TAG_reference_type => Type::Pointer {
                to: to()?,
                bytes: pointer(),
                mark: "&",
            },
            dw::DW_TAG_rvalue_reference_type => Type::Pointer {
                to: to()?,
                bytes: pointer(),
                mark: "&&",
            },
            // To a function it is two words, as the C++ ABI of Itanium has it.
            dw::DW_TAG_ptr_to_member_type => {
                let function = match to()? {
                    Some(of) => matches!(
                        Shape::of(self, of)?.element,
                        Some((_, Type::Function { .. }))
                    ),
                    None => false,
                };
                let word = u64::from(self.units.all[unit].header.address_size());
                Type::Scalar {
                    name: "pointer to member".to_owned(),
                    bytes: bytes.unwrap_or(if function { 2 * word } else { word }),
                    align: word,
                }
            }
            dw::DW_TAG_array_type => self.array(id, &entry)?,
            dw::DW_TAG_subroutine_type => self.function(id, &entry)?,
            tag @ (dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type) => {
                let union = tag == dw::DW_TAG_union_type;
                let name = self.name(unit, &entry, if union { "union" } else { "struct" });
                let declared = matches!(
                    entry.attr_value(dw::DW_AT_declaration),
                    Some(AttributeValue::Flag(true))
                );
                match (declared, entry.attr_value(dw::DW_AT_signature), bytes) {
                    (_, Some(signature), None) => Type::Alias {
                        name: Name::Qualifier(""),
                        to: Some(self.id(unit, &signature)?),
                    },
                    (false, _, Some(bytes)) => Type::Composite(Composite {
                        name,
                        union,
                        bytes,
                        align: number(dw::DW_AT_alignment),
                    }),
                    _ => Type::Incomplete { name },
                }
            }
            dw::DW_TAG_typedef | dw::DW_TAG_template_alias => {
                alias(Name::Typedef(self.name(unit, &entry, "")))?
            }
            dw::DW_TAG_const_type => alias(Name::Qualifier("const"))?,
            dw::DW_TAG_volatile_type => alias(Name::Qualifier("volatile"))?,
            dw::DW_TAG_restrict_type => alias(Name::Qualifier("restrict"))?,
            dw::DW_TAG_atomic_type => alias(Name::Qualifier("_Atomic"))?,
            dw::DW_TAG_subrange_type
            | dw::DW_TAG_immutable_type
            | dw::DW_TAG_packed_type
            | dw::DW_TAG_shared_type => alias(Name::Qualifier(""))?,
            dw::DW_TAG_unspecified_type => Type::Incomplete {
                name: self.name(unit, &entry, ""),
            },
            tag => {
                return Err(Error::Input(format!(
                    "damaged DWARF: the entry at byte {} of unit {unit} is used as a type and is {tag}",
                    id.offset
                )));
            }
        })
    }

    fn parts(&self, id: DwarfId) -> Result<Vec<Part<DwarfId>>> {
        self.parts_in(id, 0)
    }

    fn big_endian(&self) -> bool {
        self.units.big_endian()
    }
}
