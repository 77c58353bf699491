//! The sections of a file that DWARF is in, its units, and single entries of them.
//!
//! Every entry that is read counts: files are made so that looking up one struct reads a few of
//! them, and what would read endlessly is stopped.

use crate::error::{Error, Result};
use crate::layout::object_file::Elf;
use gimli::constants as dw;
use gimli::{AttributeValue, DebuggingInformationEntry, EndianSlice, RunTimeEndian, UnitOffset};
use object::Object;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// A piece of a section.
pub type Slice<'s> = EndianSlice<'s, RunTimeEndian>;
/// An entry of a unit, its attributes read.
pub type Entry<'s> = DebuggingInformationEntry<Slice<'s>>;
/// What an attribute says.
pub type Value<'s> = AttributeValue<Slice<'s>>;

/// Bytes of a name at most.
const LONGEST_NAME: usize = 4096;
/// Attributes of an entry at most; compilers write some 20.
const MOST_ATTRIBUTES: u64 = 256;
/// Bytes of entries that are read for one struct, in total.
const MOST_READ: u64 = 1 << 28;
/// How often all abbreviations are decoded; for one struct it is a few times.
const MOST_TIMES: usize = 32;
/// Bytes of abbreviations whose decoded form is kept.
const KEPT_ABBREVIATIONS: usize = 1 << 19;

/// The sections that types are in, unpacked.
pub struct Sections<'a> {
    endian: RunTimeEndian,
    abbreviations: Cow<'a, [u8]>,
    info: Cow<'a, [u8]>,
    types: Cow<'a, [u8]>,
    strings: Cow<'a, [u8]>,
    line_strings: Cow<'a, [u8]>,
    string_offsets: Cow<'a, [u8]>,
}

impl<'a> Sections<'a> {
    /// Those of an ELF file.
    pub fn of(bytes: &'a [u8]) -> Result<Sections<'a>> {
        let file = Elf::open(bytes)?;
        let found = |name| file.section(name).map(Option::unwrap_or_default);
        let info = found(".debug_info")?;
        if info.is_empty() {
            let split = file.file.section_by_name(".debug_info.dwo").is_some();
            return Err(Error::Input(
                match split {
                    true => "it holds the split half of DWARF (.dwo), which is not read; compile without -gsplit-dwarf",
                    false => "it has no section .debug_info; compile it with -g, or give the file with its debug data",
                }
                .to_owned(),
            ));
        }
        Ok(Sections {
            endian: match file.file.is_little_endian() {
                true => RunTimeEndian::Little,
                false => RunTimeEndian::Big,
            },
            abbreviations: found(".debug_abbrev")?,
            info,
            types: found(".debug_types")?,
            strings: found(".debug_str")?,
            line_strings: found(".debug_line_str")?,
            string_offsets: found(".debug_str_offsets")?,
        })
    }
}

/// An entry, and of an array which of its dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DwarfId {
    pub unit: usize,
    pub offset: usize,
    pub dimension: usize,
}

/// A unit, and what its entries need to be understood.
pub struct Unit<'s> {
    pub header: gimli::UnitHeader<Slice<'s>>,
    string_offsets: Cell<Option<usize>>,
    /// Whether the names of its structs are written after `struct`.
    pub c: Cell<bool>,
}

/// All units.
pub struct Units<'s> {
    sections: &'s Sections<'s>,
    pub all: Vec<Unit<'s>>,
    /// The units of types that others refer to by signature, and where the type is in them.
    signatures: HashMap<u64, (usize, usize)>,
    /// The `.dwo` file that the types of a unit are in instead.
    pub split: RefCell<Option<String>>,
    abbreviations: RefCell<HashMap<usize, (usize, Rc<gimli::Abbreviations>)>>,
    read: Cell<u64>,
    /// Bytes of abbreviations that were decoded.
    tables: Cell<usize>,
}

/// An error of the reader, for people.
pub fn damaged(why: gimli::Error) -> Error {
    Error::Input(format!("damaged DWARF: {why}"))
}

impl<'s> Units<'s> {
    /// The units of those sections.
    pub fn of(sections: &'s Sections<'s>) -> Result<Units<'s>> {
        let mut units = Units {
            sections,
            all: Vec::new(),
            signatures: HashMap::new(),
            split: RefCell::new(None),
            abbreviations: RefCell::default(),
            read: Cell::new(0),
            tables: Cell::new(0),
        };
        let mut info = gimli::DebugInfo::from(units.slice(&sections.info)).units();
        while let Some(header) = info.next().map_err(damaged)? {
            units.add(header);
        }
        let mut types = gimli::DebugTypes::from(units.slice(&sections.types)).units();
        while let Some(header) = types.next().map_err(damaged)? {
            units.add(header);
        }
        Ok(units)
    }

    fn add(&mut self, header: gimli::UnitHeader<Slice<'s>>) {
        if let gimli::UnitType::Type {
            type_signature,
            type_offset,
        } = header.type_()
        {
            let place = (self.all.len(), type_offset.0);
            self.signatures.insert(type_signature.0, place);
        }
        self.all.push(Unit {
            header,
            string_offsets: Cell::new(None),
            c: Cell::new(true),
        });
    }

    fn slice(&self, bytes: &'s [u8]) -> Slice<'s> {
        EndianSlice::new(bytes, self.sections.endian)
    }

    /// Whether the unit holds one type that others refer to.
    pub fn is_of_type(&self, unit: usize) -> bool {
        matches!(self.all[unit].header.type_(), gimli::UnitType::Type { .. })
    }

    pub fn big_endian(&self) -> bool {
        self.sections.endian == RunTimeEndian::Big
    }

    /// Begin to count anew what is read.
    pub fn restart(&self) {
        self.read.set(0);
    }

    fn count(&self, bytes: usize) -> Result<()> {
        let read = self.read.get() + bytes as u64 + 1;
        self.read.set(read);
        match read > MOST_READ {
            true => Err(Error::Input(
                "damaged DWARF: reading one struct does not end".to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// The abbreviations of a unit, and its string offsets and language, read once.
    fn opened(&self, unit: usize) -> Result<Rc<gimli::Abbreviations>> {
        let header = &self.all[unit].header;
        let at = header.debug_abbrev_offset().0;
        if let Some((_, known)) = self.abbreviations.borrow().get(&at) {
            return Ok(known.clone());
        }
        let section = self.slice(&self.sections.abbreviations);
        let bytes = table_bytes(section, at)?;
        // Tables may overlap in a file that is made to keep us busy.
        self.tables.set(self.tables.get() + bytes);
        if self.tables.get() > section.len().saturating_mul(MOST_TIMES).max(1 << 24) {
            return Err(Error::Input(
                "damaged DWARF: reading its abbreviations does not end".to_owned(),
            ));
        }
        let all = gimli::DebugAbbrev::from(self.slice(&self.sections.abbreviations));
        let table = Rc::new(header.abbreviations(&all).map_err(damaged)?);
        let mut kept = self.abbreviations.borrow_mut();
        if kept.values().map(|(bytes, _)| bytes).sum::<usize>() + bytes > KEPT_ABBREVIATIONS {
            kept.clear();
        }
        kept.insert(at, (bytes, table.clone()));
        Ok(table)
    }

    /// Look at the root of a unit: what its strings and names need. False where its types are
    /// elsewhere.
    pub fn open(&self, index: usize) -> Result<bool> {
        let unit = &self.all[index];
        let mut root = None;
        self.walk(index, None, |entry| {
            root = Some(entry.clone());
            Ok(false)
        })?;
        let Some(root) = root else { return Ok(true) };
        if let Some(AttributeValue::DebugStrOffsetsBase(base)) =
            root.attr_value(dw::DW_AT_str_offsets_base)
        {
            unit.string_offsets.set(Some(base.0));
        }
        if let Some(AttributeValue::Language(language)) = root.attr_value(dw::DW_AT_language) {
            let c = [
                dw::DW_LANG_C89,
                dw::DW_LANG_C,
                dw::DW_LANG_C99,
                dw::DW_LANG_C11,
                dw::DW_LANG_C17,
            ];
            unit.c.set(c.contains(&language));
        }
        let dwo = root
            .attr_value(dw::DW_AT_dwo_name)
            .or_else(|| root.attr_value(dw::DW_AT_GNU_dwo_name));
        if let Some(dwo) = dwo {
            let name = self.text(index, &dwo).unwrap_or_default();
            *self.split.borrow_mut() = Some(String::from_utf8_lossy(name).into_owned());
            return Ok(false);
        }
        Ok(true)
    }

    /// Go through the entries of a unit from `from` on (default: its root), until `then` says false
    /// or the unit ends. The depth of the first one is 0.
    pub fn walk(
        &self,
        unit: usize,
        from: Option<usize>,
        mut then: impl FnMut(&Entry<'s>) -> Result<bool>,
    ) -> Result<()> {
        let table = self.opened(unit)?;
        let header = &self.all[unit].header;
        let from = from.map(UnitOffset);
        let mut raw = header.entries_raw(&table, from).map_err(damaged)?;
        let mut entry = Entry::null();
        while !raw.is_empty() {
            let start = raw.next_offset().0;
            let present = raw.read_entry(&mut entry).map_err(damaged)?;
            self.count(raw.next_offset().0 - start)?;
            if present && !then(&entry)? {
                return Ok(());
            }
            // After the null that ends the children of the first entry.
            if raw.next_depth() <= 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One entry.
    pub fn entry(&self, unit: usize, offset: usize) -> Result<Entry<'s>> {
        let mut found = None;
        self.walk(unit, Some(offset), |entry| {
            found = Some(entry.clone());
            Ok(false)
        })?;
        found.ok_or_else(|| {
            Error::Input(format!(
                "damaged DWARF: no entry at byte {offset} of unit {unit}"
            ))
        })
    }

    /// Where a reference leads: unit and offset in it.
    pub fn target(&self, unit: usize, value: &Value<'s>) -> Result<(usize, usize)> {
        match value {
            AttributeValue::UnitRef(offset) => Ok((unit, offset.0)),
            AttributeValue::DebugInfoRef(offset) => {
                let start = |unit: &Unit| unit.header.debug_info_offset().map_or(usize::MAX, |at| at.0);
                let after = self.all.partition_point(|unit| start(unit) <= offset.0);
                let unit = after.checked_sub(1).ok_or_else(|| damaged(gimli::Error::OffsetOutOfBounds(offset.0 as u64)))?;
                Ok((unit, offset.0 - start(&self.all[unit])))
            }
            AttributeValue::DebugTypesRef(signature) => {
                let place = self.signatures.get(&signature.0).copied();
                place.ok_or_else(|| Error::Input(format!(
                    "the type of signature {:#x} is not in this file: is it linked, and not split?",
                    signature.0
                )))
            }
            AttributeValue::DebugInfoRefSup(_) => Err(Error::Input(
                "its types are in a file shared with others, as dwz makes: give the file before dwz".to_owned(),
            )),
            _ => Err(Error::Input("damaged DWARF: a reference of unknown form".to_owned())),
        }
    }

    /// The text of an attribute; `None` where it has none.
    pub fn text(&self, unit: usize, value: &Value<'s>) -> Option<&'s [u8]> {
        let of = |section: &'s Cow<[u8]>, offset: usize| -> Option<&'s [u8]> {
            let rest = section.get(offset..)?;
            let rest = &rest[..rest.len().min(LONGEST_NAME)];
            let end = rest.iter().position(|byte| *byte == 0)?;
            Some(&rest[..end])
        };
        match value {
            AttributeValue::String(text) => {
                Some(text.slice()).filter(|text| text.len() < LONGEST_NAME)
            }
            AttributeValue::DebugStrRef(at) => of(&self.sections.strings, at.0),
            AttributeValue::DebugLineStrRef(at) => of(&self.sections.line_strings, at.0),
            AttributeValue::DebugStrOffsetsIndex(index) => {
                let unit = &self.all[unit];
                let offsets =
                    gimli::DebugStrOffsets::from(self.slice(&self.sections.string_offsets));
                let format = unit.header.format();
                let base = gimli::DebugStrOffsetsBase(unit.string_offsets.get().unwrap_or(8));
                let at = offsets.get_str_offset(format, base, *index).ok()?;
                of(&self.sections.strings, at.0)
            }
            _ => None,
        }
    }

    /// The name of an entry.
    pub fn name(&self, unit: usize, entry: &Entry<'s>) -> Option<&'s [u8]> {
        self.text(unit, &entry.attr_value(dw::DW_AT_name)?)
    }
}

/// How long a table of abbreviations is, and that none of them asks for endless attributes.
fn table_bytes(section: Slice<'_>, at: usize) -> Result<usize> {
    use gimli::Reader;
    let mut rest = section;
    let read = || -> gimli::Result<Option<usize>> {
        rest.skip(at)?;
        let before = rest.len();
        while rest.read_uleb128()? != 0 {
            rest.read_uleb128()?;
            rest.read_u8()?;
            let mut count = 0;
            loop {
                let (name, form) = (rest.read_uleb128()?, rest.read_uleb128()?);
                if form == u64::from(dw::DW_FORM_implicit_const.0) {
                    rest.read_sleb128()?;
                }
                if (name, form) == (0, 0) {
                    break;
                }
                count += 1;
                if count > MOST_ATTRIBUTES {
                    return Ok(None);
                }
            }
        }
        Ok(Some(before - rest.len()))
    };
    let mut read = read;
    read().map_err(damaged)?.ok_or_else(|| {
        Error::Input(format!(
            "damaged DWARF: an abbreviation at byte {at} has more than {MOST_ATTRIBUTES} attributes"
        ))
    })
}
