//! From types to the list of a struct's members, those of the structs in it included.
//!
//! What is in an anonymous struct or union, or in a base class, is named as if it stood in the
//! struct around it. Of an array of structs the first element alone is listed, `stats[0].sum`: the
//! others follow at multiples of the element's size.

use super::notation::type_name;
use super::struct_layout::{Bits, Member, StructLayout};
use super::types::{Composite, DEEPEST, MOST_TEXT, Part, Shape, Type, Types, natural, too_deep};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Members that one struct may have, those of the structs in it counted. The kernel's
/// `task_struct` has some 1,500.
const MOST_MEMBERS: usize = 1 << 16;
/// Bytes of a struct: what C compilers accept is far less.
const MOST_BYTES: u64 = 1 << 40;

/// The layout of the struct or union `id`, which is known by `name` and was read from `source`.
pub fn layout<T: Types>(types: &T, id: T::Id, name: &str, source: &str) -> Result<StructLayout> {
    let shape = Shape::of(types, id)?;
    let (Some((id, Type::Composite(composite))), 0) = (shape.element, shape.dimensions) else {
        return Err(Error::Input(format!(
            "'{name}' is neither a struct nor a union"
        )));
    };
    let mut list = List {
        types,
        struct_name: name,
        members: Vec::new(),
        visited: 0,
        text: 0,
        aligns: HashMap::new(),
        names: HashMap::new(),
    };
    if composite.bytes > MOST_BYTES {
        return Err(list.damaged(&format!("it has {} bytes", composite.bytes)));
    }
    let place = Place {
        prefix: "",
        byte: 0,
        depth: 0,
        nested: 0,
        in_union: false,
    };
    list.add(id, &composite, place)?;
    let align = list.align(id, 0)?;
    let mut members = list.members;
    members.sort_by_key(|member| member.offset);
    Ok(StructLayout {
        name: name.to_owned(),
        source: source.to_owned(),
        bytes: composite.bytes as usize,
        align: align as usize,
        members,
    })
}

struct List<'t, T: Types> {
    types: &'t T,
    struct_name: &'t str,
    members: Vec<Member>,
    /// Members met, also those that are not listed.
    visited: usize,
    text: usize,
    aligns: HashMap<T::Id, u64>,
    names: HashMap<T::Id, String>,
}

/// Where the struct lies whose members are being listed.
#[derive(Clone, Copy)]
struct Place<'p> {
    /// What their names begin with.
    prefix: &'p str,
    byte: u64,
    depth: usize,
    nested: usize,
    in_union: bool,
}

impl<T: Types> List<'_, T> {
    fn damaged(&self, what: &str) -> Error {
        Error::Input(format!(
            "struct '{}': {what}: the type data are damaged",
            self.struct_name.escape_debug()
        ))
    }

    fn add(&mut self, id: T::Id, composite: &Composite, place: Place<'_>) -> Result<()> {
        if place.nested > DEEPEST {
            return Err(too_deep());
        }
        let parts = self.types.parts(id)?;
        let between = neighbours(self.types, &parts, composite)?;
        for (part, between) in parts.iter().zip(between) {
            self.visited += 1;
            if self.visited > MOST_MEMBERS {
                return Err(Error::Input(format!(
                    "struct '{}' has more than {MOST_MEMBERS} members, with those of the structs in it",
                    self.struct_name.escape_debug()
                )));
            }
            self.part(part, composite, between, place)?;
        }
        Ok(())
    }

    fn part(
        &mut self,
        part: &Part<T::Id>,
        composite: &Composite,
        between: Between,
        place: Place<'_>,
    ) -> Result<()> {
        let in_union = place.in_union || composite.union || part.shares;
        let shape = Shape::of(self.types, part.of)?;
        let (one, count, bytes) = (shape.one(), shape.count, shape.bytes()?);
        if let (Some((_, Type::Incomplete { name })), true) = (&shape.element, count > 0) {
            return Err(Error::Input(format!(
                "struct '{}': the type '{}' of its member '{}' is only declared in this file, so its size is not known; compile with -fstandalone-debug, or give the linked program",
                self.struct_name.escape_debug(),
                name.escape_debug(),
                part.name.escape_debug()
            )));
        }
        if shape.element.is_none() && count > 0 {
            return Err(Error::Input(format!(
                "struct '{}': its member '{}' has no type: pahole 1.24 writes BTF so of what is _Atomic; read the DWARF that it was made from with --dwarf",
                self.struct_name.escape_debug(),
                part.name.escape_debug()
            )));
        }
        let inner = match shape.element {
            Some((id, Type::Composite(inner))) if part.bits.is_none() => Some((id, inner)),
            _ => None,
        };
        let (byte, bytes, bits) = match part.bits {
            None => (part.bit / 8, bytes, None),
            Some(bits) => {
                let unit = unit(part.bit, bits, bytes, between, self.types.big_endian());
                let bits = Bits {
                    first: unit.first as usize,
                    count: bits as usize,
                };
                (unit.byte, unit.bytes, Some(bits))
            }
        };
        let end = byte.checked_add(bytes);
        if end.is_none_or(|end| end > composite.bytes) {
            return Err(self.damaged(&format!(
                "its member '{}' at {byte} with {bytes} bytes does not lie in the {} bytes of {}",
                part.name, composite.bytes, composite.name
            )));
        }
        let offset = place.byte + byte;
        let unnamed = part.name.is_empty();
        let name = format!("{}{}", place.prefix, part.name);
        let inside = Place {
            prefix: &match unnamed {
                true => name.clone(),
                false => format!("{name}{}.", "[0]".repeat(shape.dimensions)),
            },
            byte: offset,
            depth: place.depth + usize::from(!unnamed),
            nested: place.nested + 1,
            in_union,
        };
        // An unnamed bit-field is padding.
        if !unnamed {
            let type_name = self.type_name(part.of)?;
            self.text += name.len() + type_name.len();
            if self.text > MOST_TEXT {
                return Err(self.damaged("the names of its members are endless"));
            }
            self.members.push(Member {
                name,
                type_name,
                offset: offset as usize,
                bytes: bytes as usize,
                element: if bits.is_some() { bytes } else { one } as usize,
                bits,
                in_union,
                aggregate: inner.is_some(),
                depth: place.depth,
            });
        }
        match inner {
            // An array of no elements has no first one.
            Some((id, inner)) if count > 0 => self.add(id, &inner, inside),
            _ => Ok(()),
        }
    }

    fn type_name(&mut self, id: T::Id) -> Result<String> {
        if let Some(name) = self.names.get(&id) {
            return Ok(name.clone());
        }
        let name = type_name(self.types, Some(id))?;
        self.names.insert(id, name.clone());
        Ok(name)
    }

    /// The alignment of a type: what its declaration says, or what its members need. A struct that
    /// has a member where such alignment does not allow it is packed, and has none.
    fn align(&mut self, id: T::Id, nested: usize) -> Result<u64> {
        if nested > DEEPEST {
            return Err(too_deep());
        }
        let Some((id, of)) = Shape::of(self.types, id)?.element else {
            return Ok(1);
        };
        let composite = match of {
            Type::Composite(composite) => composite,
            Type::Scalar { align, .. } => return Ok(align),
            Type::Pointer { bytes, .. } => return Ok(natural(bytes)),
            _ => return Ok(1),
        };
        if let Some(known) = self.aligns.get(&id) {
            return Ok(*known);
        }
        let (mut most, mut packed) = (1, false);
        for part in self.types.parts(id)? {
            let align = self
                .align(part.of, nested + 1)?
                .max(part.align.unwrap_or(1));
            packed |= part.bits.is_none() && !(part.bit / 8).is_multiple_of(align);
            most = most.max(align);
        }
        packed |= !composite.bytes.is_multiple_of(most);
        let align = match packed {
            true => 1,
            false => most,
        };
        let align = align.max(composite.align.unwrap_or(1));
        self.aligns.insert(id, align);
        Ok(align)
    }
}

/// Bytes that a bit-field may take, without touching a member that is none.
#[derive(Clone, Copy)]
struct Between {
    from: u64,
    to: u64,
}

/// For each member, where the ones before and after it that are no bit-fields end and begin.
fn neighbours<T: Types>(
    types: &T,
    parts: &[Part<T::Id>],
    composite: &Composite,
) -> Result<Vec<Between>> {
    let whole = Between {
        from: 0,
        to: composite.bytes,
    };
    let mut between = vec![whole; parts.len()];
    if composite.union || parts.iter().all(|part| part.bits.is_none()) {
        return Ok(between);
    }
    // What has no bytes is in nobody's way.
    let mut ends = Vec::with_capacity(parts.len());
    for part in parts {
        let bytes = match part.bits {
            None => Shape::of(types, part.of)?.bytes()?,
            Some(_) => 0,
        };
        let byte = part.bit / 8;
        ends.push((bytes > 0).then(|| (byte, byte.saturating_add(bytes))));
    }
    let mut from = 0;
    for (end, between) in ends.iter().zip(&mut between) {
        between.from = from;
        from = end.map_or(from, |(_, end)| end);
    }
    let mut to = composite.bytes;
    for (end, between) in ends.iter().zip(&mut between).rev() {
        between.to = to;
        to = end.map_or(to, |(byte, _)| byte);
    }
    Ok(between)
}

/// The storage unit of a bit-field.
struct Unit {
    byte: u64,
    bytes: u64,
    /// First bit in it, from the least significant.
    first: u64,
}

/// The unit of the declared type that the bits lie in. Only the bytes of the bits where that unit
/// would reach into other members, which a compiler does not touch when it writes the bits, or
/// where they cross it (packed), or are counted from the other end.
fn unit(bit: u64, bits: u64, declared: u64, between: Between, big_endian: bool) -> Unit {
    let end = bit.saturating_add(bits);
    let declared = declared.max(1);
    let byte = bit / 8 / declared * declared;
    let fits = byte >= between.from
        && byte.saturating_add(declared) <= between.to
        && end <= byte.saturating_add(declared).saturating_mul(8);
    if fits && !big_endian {
        return Unit {
            byte,
            bytes: declared,
            first: bit - byte * 8,
        };
    }
    let (byte, last) = (bit / 8, end.div_ceil(8));
    Unit {
        byte,
        bytes: last - byte,
        first: match big_endian {
            true => last * 8 - end,
            false => bit % 8,
        },
    }
}
