//! Objects and companions of a case file.

use super::source::{Keys, Params, Source, Value, clip};
use crate::case::{CaseField, Companion, Count, Objects, Place};
use crate::error::Result;
use crate::space::PAGE;
use std::collections::BTreeMap;

/// Largest struct, in bytes.
pub const STRUCT_BYTES: usize = 64 << 10;
/// Largest arena, in bytes.
const ARENA_BYTES: usize = 256 << 20;
/// Most fields of a struct.
pub const FIELDS: usize = 4096;
/// Threads that sizes are checked for where there is an object for each.
pub const ASSUMED_THREADS: usize = 1024;

/// What `[[companion]]` says of its objects; `[objects]` says more.
const PLACING: [&str; 4] = ["count", "place", "link", "packed"];
const OBJECTS: [&str; 7] = [
    "count",
    "place",
    "link",
    "packed",
    "at",
    "enclosing_size",
    "sweep",
];
const COMPANION: [&str; 8] = [
    "name", "size", "align", "fields", PLACING[0], PLACING[1], PLACING[2], PLACING[3],
];

/// `[objects]`; one object in a slab where there is none.
pub fn objects(source: &Source<'_>, value: Option<&Value<'_>>) -> Result<Objects> {
    let Some(value) = value else {
        return Ok(Objects {
            count: Count::Of(1),
            place: Place::Slab,
            at: 0,
            enclosing_bytes: None,
            sweep: false,
        });
    };
    let keys = Keys::new(source, "[objects]", value, &OBJECTS)?;
    let mut objects = placed(&keys)?;
    objects.at = keys.whole_or("at", 0..=STRUCT_BYTES, 0)?;
    if keys.has("enclosing_size") {
        objects.enclosing_bytes = Some(keys.whole("enclosing_size", 1..=STRUCT_BYTES)?);
    } else if objects.at > 0 {
        return Err(keys.error_at("at", "an offset needs the enclosing_size that it lies in"));
    }
    objects.sweep = keys.flag("sweep")?;
    if objects.sweep && objects.place != Place::Slab {
        return Err(keys.error_at("sweep", "only the slots of place = \"slab\" are swept"));
    }
    Ok(objects)
}

fn placed(keys: &Keys<'_, '_, '_>) -> Result<Objects> {
    let count = match keys.get("count") {
        None => Count::Of(1),
        Some(value) if value.get_ref().is_str() => {
            let words = [("threads", Count::Threads)];
            keys.source.word("count", value, &words)?
        }
        Some(_) => Count::Of(keys.whole("count", 1..=ARENA_BYTES / 8)?),
    };
    let kind = match keys.get("place") {
        None => "slab",
        Some(value) => {
            let words = ["slab", "array", "chain"].map(|word| (word, word));
            keys.source.word("place", value, &words)?
        }
    };
    let place = match kind {
        "chain" => Place::Chain {
            link: keys.text("link")?,
            packed: keys.flag("packed")?,
        },
        kind => {
            if let Some(key) = ["link", "packed"].into_iter().find(|key| keys.has(key)) {
                return Err(keys.error_at(key, "goes with place = \"chain\" only"));
            }
            match kind {
                "array" => Place::Array,
                _ => Place::Slab,
            }
        }
    };
    Ok(Objects {
        count,
        place,
        at: 0,
        enclosing_bytes: None,
        sweep: false,
    })
}

/// `[[companion]]`, each.
pub fn companions(
    source: &Source<'_>,
    list: &[Value<'_>],
    struct_name: &str,
) -> Result<Vec<Companion>> {
    let mut companions: Vec<Companion> = Vec::new();
    for value in list {
        let keys = Keys::new(source, "[[companion]]", value, &COMPANION)?;
        let name = keys.name("name", "_-")?;
        if name == struct_name || companions.iter().any(|one| one.name == name) {
            return Err(keys.error_at("name", format_args!("there is a struct '{name}' already")));
        }
        let bytes = keys.whole("size", 1..=STRUCT_BYTES)?;
        let align = align(&keys)?;
        let fields = fields(&keys)?;
        inside(&keys, &name, bytes, &fields)?;
        apart(&keys, &name, &fields)?;
        let objects = placed(&keys)?;
        companions.push(Companion {
            name,
            objects,
            bytes,
            align,
            fields,
        });
    }
    Ok(companions)
}

/// Alignment of objects: 8, as slabs have it, where nothing is said.
pub fn align(keys: &Keys<'_, '_, '_>) -> Result<usize> {
    let align = keys.whole_or("align", 1..=PAGE, 8)?;
    match align.is_power_of_two() {
        true => Ok(align),
        false => Err(keys.error_at("align", format_args!("{align} is not a power of two"))),
    }
}

/// `fields = { F = [offset, size], G = [offset, size, n] }`, by offset.
pub fn fields(keys: &Keys<'_, '_, '_>) -> Result<Vec<CaseField>> {
    let mut fields = Vec::new();
    for (name, value) in keys.dotted("fields")? {
        fields.push(field(keys.source, &name, value)?);
        if fields.len() > FIELDS {
            let what = format_args!("more than {FIELDS} fields");
            return Err(keys.error_at("fields", what));
        }
    }
    fields.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    Ok(fields)
}

fn field(source: &Source<'_>, name: &str, value: &Value<'_>) -> Result<CaseField> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-[]".contains(c);
    if name.is_empty() || !name.chars().all(fits) {
        return Err(source.error(
            name,
            value,
            "a name of a field is letters, digits, _ and dots",
        ));
    }
    let list = source.list(name, value)?;
    let none = Params::new();
    let number = |at: usize, low: usize| {
        list.get(at)
            .map(|value| source.whole(name, value, low..=STRUCT_BYTES, &none))
    };
    match (
        list.len(),
        number(0, 0).transpose()?,
        number(1, 1).transpose()?,
        number(2, 1).transpose()?,
    ) {
        (2 | 3, Some(offset), Some(bytes), count) => Ok(CaseField {
            name: name.to_owned(),
            offset,
            bytes,
            count: count.unwrap_or(1),
        }),
        _ => Err(source.error(
            name,
            value,
            "a field is [offset, size], and an array [offset, size, elements]",
        )),
    }
}

/// All fields lie within so many bytes.
pub fn inside(
    keys: &Keys<'_, '_, '_>,
    what: &str,
    bytes: usize,
    fields: &[CaseField],
) -> Result<()> {
    match fields.iter().find(|field| field.end() > bytes) {
        Some(field) => Err(keys.error(format_args!(
            "'{}' ends at byte {}, and {what} has {bytes}",
            clip(&field.name),
            field.end()
        ))),
        None => Ok(()),
    }
}

/// No two fields, which are in the order of their offsets, have a byte in common.
pub fn apart(keys: &Keys<'_, '_, '_>, what: &str, fields: &[CaseField]) -> Result<()> {
    for (a, b) in fields.iter().zip(fields.iter().skip(1)) {
        if a.end() > b.offset {
            return Err(overlap(keys, what, a, b));
        }
    }
    Ok(())
}

/// Two fields have bytes in common.
pub fn overlap(
    keys: &Keys<'_, '_, '_>,
    what: &str,
    a: &CaseField,
    b: &CaseField,
) -> crate::error::Error {
    keys.error(format_args!(
        "'{}' (bytes {} to {}) and '{}' (bytes {} to {}) of {what} overlap; move one of them",
        clip(&a.name),
        a.offset,
        a.end(),
        clip(&b.name),
        b.offset,
        b.end()
    ))
}

/// Bytes that objects take in the arena; `bytes` and `align` are those of one.
pub fn arena_bytes(objects: &Objects, bytes: usize, align: usize) -> usize {
    let one = objects.enclosing_bytes.unwrap_or(bytes);
    let slot = match objects.place {
        Place::Chain { packed: false, .. } => one.next_multiple_of(PAGE),
        _ => one.next_multiple_of(align),
    };
    most(objects.count).saturating_mul(slot)
}

/// How many objects there may be.
pub fn most(count: Count) -> usize {
    match count {
        Count::Of(count) => count,
        Count::Threads => ASSUMED_THREADS,
    }
}

/// Fields by name: those of one struct, with the number of the part that each lies in.
pub type Index<'l> = BTreeMap<&'l str, (Option<usize>, &'l CaseField)>;

/// Accesses that loading `bytes` bytes from `offset` takes: naturally aligned pieces of 1, 2, 4 or
/// 8 bytes, none across a line.
pub fn pieces(offset: usize, bytes: usize) -> usize {
    let end = offset + bytes;
    let head = offset.next_multiple_of(8).min(end);
    let words = (end - head) / 8;
    let small = |mut at: usize, end: usize| {
        let mut pieces = 0;
        while at < end {
            let fits = |piece: &usize| at.is_multiple_of(*piece) && at + piece <= end;
            at += [4, 2].into_iter().find(fits).unwrap_or(1);
            pieces += 1;
        }
        pieces
    };
    small(offset, head) + words + small(head + 8 * words, end)
}

/// Whether so many bytes fit into an arena.
pub fn fits_arena(keys: &Keys<'_, '_, '_>, bytes: usize) -> Result<()> {
    match bytes <= ARENA_BYTES {
        true => Ok(()),
        false => Err(keys.error(format_args!(
            "the objects take {} MiB, and an arena has {} MiB at most; give fewer or smaller ones",
            bytes >> 20,
            ARENA_BYTES >> 20
        ))),
    }
}
