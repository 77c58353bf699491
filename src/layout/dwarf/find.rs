//! Where in DWARF the structs are that have a name.

use super::units::{DwarfId, Entry, Units};
use crate::error::{Error, Result};
use crate::layout::types::DEEPEST;
use gimli::AttributeValue;
use gimli::constants as dw;
use std::collections::HashSet;

/// Definitions of one name that are looked at.
const MOST_DEFINITIONS: usize = 4096;
/// Names, with those that are around them, of one file together.
const MOST_TEXT: usize = 1 << 25;

/// What was found of a name.
pub struct Found {
    /// The name with its namespaces.
    pub name: String,
    /// Its definitions, in the order of the file.
    pub ids: Vec<DwarfId>,
}

/// The definitions of `name`: of structs before typedefs, and with exactly these namespaces before
/// any others. Of several structs that the name fits equally well, the first.
pub fn find(units: &Units<'_>, name: &str) -> Result<Found> {
    let name = name.trim();
    let keywords = ["struct ", "class ", "union "];
    let bare = keywords.iter().find_map(|word| name.strip_prefix(word));
    let name = bare.unwrap_or(name).trim_start();
    let last = last_part(name).as_bytes();
    let mut found: [Found; 4] = std::array::from_fn(|_| Found {
        name: String::new(),
        ids: Vec::new(),
    });
    scan(units, true, |known| {
        if known.name != last {
            return Ok(());
        }
        let whole = known.qualified();
        let rank = usize::from(whole != name) + 2 * usize::from(known.typedef);
        // A unit of one type does not say what that is in.
        let alone = known.around.is_empty() && known.unit_of_type;
        let fits = whole == name || whole.ends_with(&format!("::{name}")) || alone;
        let found = &mut found[rank];
        if fits
            && (found.ids.is_empty() || found.name == whole)
            && found.ids.len() < MOST_DEFINITIONS
        {
            found.name = whole;
            found.ids.push(known.id);
        }
        Ok(())
    })?;
    let best = found
        .into_iter()
        .reduce(|best, next| if best.ids.is_empty() { next } else { best });
    best.ok_or_else(|| Error::Input("no names".to_owned()))
}

/// All structs, classes and unions that have a name, with their namespaces; the first of each name.
pub fn all(units: &Units<'_>) -> Result<Vec<(String, DwarfId)>> {
    let (mut seen, mut all, mut text) = (HashSet::new(), Vec::new(), 0);
    scan(units, false, |known| {
        let name = known.qualified();
        text += name.len();
        if text > MOST_TEXT {
            return Err(Error::Input("damaged DWARF: names without end".to_owned()));
        }
        if seen.insert(name.clone()) {
            all.push((name, known.id));
        }
        Ok(())
    })?;
    Ok(all)
}

/// The part of a name after its namespaces; generic arguments have some of their own.
fn last_part(name: &str) -> &str {
    let (mut depth, mut start) = (0_usize, 0);
    let bytes = name.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => start = at + 1,
            _ => {}
        }
    }
    name.get(start..).unwrap_or(name)
}

/// A definition that has a name.
struct Known<'a, 's> {
    name: &'s [u8],
    typedef: bool,
    unit_of_type: bool,
    id: DwarfId,
    /// The names of what it is in, outermost first.
    around: &'a [(isize, &'s [u8])],
}

impl Known<'_, '_> {
    fn qualified(&self) -> String {
        let mut text = String::new();
        for (_, name) in self.around {
            text.push_str(&String::from_utf8_lossy(name));
            text.push_str("::");
        }
        text + &String::from_utf8_lossy(self.name)
    }
}

/// Go through the structs, classes and unions that are defined, and with `typedefs` those as well.
fn scan<'s>(
    units: &Units<'s>,
    typedefs: bool,
    mut then: impl FnMut(Known<'_, 's>) -> Result<()>,
) -> Result<()> {
    for unit in 0..units.all.len() {
        units.restart();
        if !units.open(unit)? {
            continue;
        }
        let mut around: Vec<(isize, &[u8])> = Vec::new();
        // Depth of a function: what is in it is its own.
        let mut inside: Option<isize> = None;
        units.walk(unit, None, |entry| {
            let depth = entry.depth();
            if inside.is_some_and(|function| depth > function) {
                return Ok(true);
            }
            inside = None;
            while around.last().is_some_and(|(outer, _)| *outer >= depth) {
                around.pop();
            }
            let composite = match entry.tag() {
                dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => true,
                dw::DW_TAG_typedef if typedefs => false,
                dw::DW_TAG_namespace | dw::DW_TAG_module | dw::DW_TAG_enumeration_type => {
                    let name = units.name(unit, entry).unwrap_or(b"{anonymous}");
                    enter(&mut around, depth, name);
                    return Ok(true);
                }
                dw::DW_TAG_subprogram | dw::DW_TAG_lexical_block => {
                    inside = Some(depth);
                    return Ok(true);
                }
                _ => return Ok(true),
            };
            let Some(name) = name_of(units, unit, entry)? else {
                return Ok(true);
            };
            let declared = matches!(
                entry.attr_value(dw::DW_AT_declaration),
                Some(AttributeValue::Flag(true))
            );
            if !declared && (!composite || entry.has_attr(dw::DW_AT_byte_size)) {
                then(Known {
                    name,
                    typedef: !composite,
                    unit_of_type: units.is_of_type(unit),
                    id: DwarfId {
                        unit,
                        offset: entry.offset().0,
                        dimension: 0,
                    },
                    around: &around,
                })?;
            }
            if composite {
                enter(&mut around, depth, name);
            }
            Ok(true)
        })?;
    }
    units.restart();
    Ok(())
}

/// Names deeper than any program nests are left out.
fn enter<'s>(around: &mut Vec<(isize, &'s [u8])>, depth: isize, name: &'s [u8]) {
    if around.len() < DEEPEST {
        around.push((depth, name));
    }
}

/// The name of a definition, which may stand with its declaration.
fn name_of<'s>(units: &Units<'s>, unit: usize, entry: &Entry<'s>) -> Result<Option<&'s [u8]>> {
    if let Some(name) = units.name(unit, entry) {
        return Ok(Some(name));
    }
    let Some(of) = entry.attr_value(dw::DW_AT_specification) else {
        return Ok(None);
    };
    let (unit, offset) = units.target(unit, &of)?;
    Ok(units.name(unit, &units.entry(unit, offset)?))
}
