//! Files that hold layouts: reading them, and the sections of object files.

use crate::error::{Error, Result};
use object::{Object, ObjectKind, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget};
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

/// Bytes that are read from what is no ordinary file, as a pipe.
const MOST_PIPED: u64 = 1 << 28;
/// A section may be this large unpacked, or [`MOST_TIMES`] what it is packed, and all of one name
/// together [`MOST_TIMES`] the file.
const MOST_UNPACKED: u64 = 1 << 23;
/// Type data shrink to a third or a fifth of their size.
const MOST_TIMES: u64 = 8;

/// The bytes of a file.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let refused =
        |why: std::io::Error| Error::Input(format!("cannot read {}: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(refused)?;
    if file.metadata().map_err(refused)?.is_file() {
        return std::fs::read(path).map_err(refused);
    }
    let mut bytes = Vec::new();
    file.take(MOST_PIPED + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    match bytes.len() as u64 > MOST_PIPED {
        true => Err(Error::Input(format!(
            "{} is no ordinary file and goes on after {MOST_PIPED} bytes",
            path.display()
        ))),
        false => Ok(bytes),
    }
}

/// Whether the bytes are those of an ELF file.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// An ELF file, opened.
pub struct Elf<'a> {
    /// Its parts.
    pub file: object::File<'a>,
    bytes: u64,
}

impl<'a> Elf<'a> {
    /// The ELF file in `bytes`.
    pub fn open(bytes: &'a [u8]) -> Result<Elf<'a>> {
        if !is_elf(bytes) {
            return Err(Error::Input("it is not an ELF file".to_owned()));
        }
        let file = object::File::parse(bytes);
        Ok(Elf {
            file: file.map_err(|why| Error::Input(format!("a damaged ELF file: {why}")))?,
            bytes: bytes.len() as u64,
        })
    }

    /// A section, unpacked where it is compressed, and linked where it is of an object file that is
    /// not: such a file may have several of one name, which are put together. `None` if it has
    /// none.
    pub fn section(&self, name: &str) -> Result<Option<Cow<'a, [u8]>>> {
        let mut whole: Option<Cow<'a, [u8]>> = None;
        for section in self.file.sections() {
            if section.name() != Ok(name) {
                continue;
            }
            let piece = self.one(&section, name)?;
            match &mut whole {
                None => whole = Some(piece),
                Some(whole) => whole.to_mut().extend_from_slice(&piece),
            }
            let all = whole.as_ref().map_or(0, |whole| whole.len() as u64);
            if all > self.bytes.saturating_mul(MOST_TIMES).max(MOST_UNPACKED) {
                return Err(Error::Input(format!(
                    "its sections {name} are {all} bytes together, which is not believed: is it damaged?"
                )));
            }
            if self.file.kind() != ObjectKind::Relocatable {
                break;
            }
        }
        Ok(whole)
    }

    fn one(&self, section: &object::Section<'a, '_>, name: &str) -> Result<Cow<'a, [u8]>> {
        let damaged = |why: object::Error| Error::Input(format!("section {name}: {why}"));
        let packed = section.compressed_data().map_err(damaged)?;
        let (bytes, unpacked) = (packed.data.len() as u64, packed.uncompressed_size);
        if unpacked > bytes.saturating_mul(MOST_TIMES).max(MOST_UNPACKED) {
            return Err(Error::Input(format!(
                "section {name} has {bytes} bytes and claims to be {unpacked} unpacked, which is not believed; unpack it with objcopy --decompress-debug-sections"
            )));
        }
        let mut unpacked = packed.decompress().map_err(damaged)?;
        if self.file.kind() == ObjectKind::Relocatable {
            link(&self.file, section, &mut unpacked);
        }
        Ok(unpacked)
    }
}

/// Write the offsets into a section that the linker would: those into the other sections. Of those
/// that are not simple sums, as differences of addresses are, type data have none.
fn link<'a>(file: &object::File<'a>, section: &object::Section<'a, '_>, bytes: &mut Cow<'a, [u8]>) {
    for (at, relocation) in section.relocations() {
        let (RelocationKind::Absolute, RelocationTarget::Symbol(symbol)) =
            (relocation.kind(), relocation.target())
        else {
            continue;
        };
        let Ok(symbol) = file.symbol_by_index(symbol) else {
            continue;
        };
        let width = usize::from(relocation.size() / 8);
        let at = usize::try_from(at).ok();
        let range = at.and_then(|at| Some(at..at.checked_add(width)?));
        let place = range.and_then(|range| bytes.to_mut().get_mut(range));
        let value = symbol.address().wrapping_add_signed(relocation.addend());
        let Some(place) = place else { continue };
        // Rela sections bring the whole sum with them; the others add to what is there.
        let value = match (relocation.has_implicit_addend(), file.is_little_endian()) {
            (true, little) => value.wrapping_add(word(place, little)),
            (false, _) => value,
        };
        match file.is_little_endian() {
            true => {
                let value = value.to_le_bytes();
                place
                    .iter_mut()
                    .zip(value)
                    .for_each(|(to, from)| *to = from);
            }
            false => {
                let value = value.to_be_bytes();
                place
                    .iter_mut()
                    .rev()
                    .zip(value.into_iter().rev())
                    .for_each(|(to, from)| *to = from);
            }
        }
    }
}

/// The number in those bytes.
fn word(bytes: &[u8], little_endian: bool) -> u64 {
    let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    match little_endian {
        true => bytes.iter().rev().fold(0, add),
        false => bytes.iter().fold(0, add),
    }
}
