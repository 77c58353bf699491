//! Files that hold layouts: reading them, and the sections of object files.

use crate::error::{Error, Result};
use object::{Object, ObjectSection};
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

/// Bytes that are read from what is no ordinary file, as a pipe.
const MOST_PIPED: u64 = 1 << 28;
/// A compressed section may claim this many bytes, or [`MOST_TIMES`] its compressed size.
const MOST_UNPACKED: u64 = 1 << 23;
/// How many times its compressed size a section may be: type data shrink to a third or a fifth.
const MOST_TIMES: u64 = 20;

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
pub fn elf(bytes: &[u8]) -> Result<object::File<'_>> {
    if !is_elf(bytes) {
        return Err(Error::Input("it is not an ELF file".to_owned()));
    }
    object::File::parse(bytes).map_err(|why| Error::Input(format!("a damaged ELF file: {why}")))
}

/// A section of it, unpacked where it is compressed; `None` if it has none of that name.
pub fn section<'a>(file: &object::File<'a>, name: &str) -> Result<Option<Cow<'a, [u8]>>> {
    let Some(section) = file.section_by_name(name) else {
        return Ok(None);
    };
    let damaged = |why: object::Error| Error::Input(format!("section {name}: {why}"));
    let packed = section.compressed_data().map_err(damaged)?;
    let (bytes, unpacked) = (packed.data.len() as u64, packed.uncompressed_size);
    if unpacked > bytes.saturating_mul(MOST_TIMES).max(MOST_UNPACKED) {
        return Err(Error::Input(format!(
            "section {name} has {bytes} bytes and claims to be {unpacked} unpacked, which is not believed; unpack it with objcopy --decompress-debug-sections"
        )));
    }
    packed.decompress().map_err(damaged).map(Some)
}
