//! Where objects of a struct lay while a profile was recorded: a person says it, or a symbol table.

use super::profile::hex;
use crate::error::{Error, Result};
use object::{Object as _, ObjectKind, ObjectSymbol as _};

/// Objects back to back from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Address of the first one.
    pub start: u64,
    /// The first address behind the last one; one object if none.
    pub end: Option<u64>,
}

/// What a person gives: addresses, or the name of a global variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtentSpec {
    /// Addresses.
    Known(Extent),
    /// The name of a variable.
    Variable(String),
}

impl std::str::FromStr for ExtentSpec {
    type Err = Error;

    /// `START`, `START..END` with hexadecimal addresses that begin with 0x, or a name.
    fn from_str(text: &str) -> Result<ExtentSpec> {
        let (start, end) = match text.split_once("..") {
            Some((start, end)) => (start, Some(end)),
            None => (text, None),
        };
        if !start.starts_with("0x")
            && end.is_none()
            && !text.starts_with(|c: char| c.is_ascii_digit())
        {
            return match text.is_empty() {
                true => Err(Error::Input(
                    "--at is empty; give START[..END] or a variable".to_owned(),
                )),
                false => Ok(ExtentSpec::Variable(text.to_owned())),
            };
        }
        let address = |text: &str| {
            text.strip_prefix("0x").and_then(hex).ok_or_else(|| {
                Error::Input(format!(
                    "'{}' is not an address; write it as 0x404080, in --at START[..END]",
                    text.escape_debug()
                ))
            })
        };
        let (start, end) = (address(start)?, end.map(address).transpose()?);
        if end.is_some_and(|end| end <= start) {
            return Err(Error::Input(format!(
                "--at {text}: END is not behind START"
            )));
        }
        Ok(ExtentSpec::Known(Extent { start, end }))
    }
}

impl Extent {
    /// Where the variable `name` lies, by the symbols of the ELF file `file` that was recorded.
    pub fn of_variable(name: &str, file: &str, bytes: &[u8]) -> Result<Extent> {
        let wrong = |what: String| Error::Input(format!("{file}: {what}"));
        let elf = object::File::parse(bytes).map_err(|e| wrong(format!("not an ELF file: {e}")))?;
        let data = |symbol: &object::Symbol| symbol.is_definition() && symbol.size() > 0;
        let symbols = || elf.symbols().chain(elf.dynamic_symbols()).filter(data);
        let Some(symbol) = symbols().find(|symbol| symbol.name() == Ok(name)) else {
            let names: Vec<&str> = symbols()
                .take(1 << 16)
                .filter_map(|s| s.name().ok())
                .collect();
            if names.is_empty() {
                return Err(wrong(
                    "it has no symbols; give the addresses with --at START..END".to_owned(),
                ));
            }
            return Err(Error::unknown(&format!("variable of {file}"), name, names));
        };
        if elf.kind() == ObjectKind::Dynamic {
            return Err(wrong(format!(
                "it may be loaded anywhere, so its symbols do not say where '{}' lay; give the addresses with --at START..END",
                name.escape_debug()
            )));
        }
        let end = symbol.address().checked_add(symbol.size());
        let end =
            end.ok_or_else(|| wrong(format!("'{}' has an impossible size", name.escape_debug())))?;
        Ok(Extent {
            start: symbol.address(),
            end: Some(end),
        })
    }
}

/// Objects of one size, in extents that have no byte in common.
#[derive(Clone, Debug)]
pub(super) struct PlacedObjects {
    /// Each extent's first address, how many objects it has, and how many are before it; by address.
    extents: Vec<(u64, u64, u64)>,
    /// Bytes from one object to the next.
    slot: u64,
    /// Bytes of an object.
    bytes: u64,
}

impl PlacedObjects {
    pub fn new(extents: &[Extent], bytes: u64, align: u64) -> Result<PlacedObjects> {
        let slot = bytes.next_multiple_of(align.max(1)).max(1);
        let mut sorted = extents.to_vec();
        sorted.sort_by_key(|extent| extent.start);
        let mut placed = PlacedObjects {
            extents: Vec::new(),
            slot,
            bytes,
        };
        let (mut behind, mut before) = (0, 0);
        for Extent { start, end } in sorted {
            let end = end.or(start.checked_add(bytes));
            let end = end.ok_or_else(|| {
                Error::Input(format!(
                    "--at {start:#x}: the object does not fit below the last address"
                ))
            })?;
            if start < behind {
                return Err(Error::Input(format!(
                    "--at {start:#x}: another one lies there already"
                )));
            }
            // The last one needs no padding behind it.
            let count =
                (end - start) / slot + u64::from((end - start) % slot >= bytes && bytes < slot);
            if count == 0 {
                return Err(Error::Input(format!(
                    "--at {start:#x}..{end:#x} is shorter than one object, which has {bytes} bytes"
                )));
            }
            placed.extents.push((start, count, before));
            (behind, before) = (end, before + count);
        }
        Ok(placed)
    }

    /// The object at an address, numbered over all extents, and the byte of it.
    pub fn at(&self, address: u64) -> Option<(u64, u64)> {
        let after = self
            .extents
            .partition_point(|(start, ..)| *start <= address);
        let (start, count, before) = self.extents.get(after.checked_sub(1)?)?;
        let (object, offset) = ((address - start) / self.slot, (address - start) % self.slot);
        (object < *count && offset < self.bytes).then_some((before + object, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_lie_back_to_back_and_what_is_between_or_behind_is_outside() {
        let extent = |start, end| Extent { start, end };
        let placed = PlacedObjects::new(
            &[extent(0x2000, None), extent(0x1000, Some(0x1000 + 3 * 192))],
            184,
            64,
        );
        let placed = placed.unwrap();
        assert_eq!(placed.at(0x1000), Some((0, 0)));
        assert_eq!(placed.at(0x1000 + 192 + 5), Some((1, 5)));
        assert_eq!(placed.at(0x1000 + 184), None);
        assert_eq!(placed.at(0x1000 + 3 * 192), None);
        assert_eq!(placed.at(0x2000 + 183), Some((3, 183)));
        assert_eq!(placed.at(0x2000 + 192), None);
        assert_eq!(placed.at(0xfff), None);
        for wrong in [
            [extent(0x1000, None), extent(0x1010, None)],
            [extent(0x1000, Some(0x1010)), extent(0x2000, None)],
            [extent(u64::MAX, None), extent(0, None)],
        ] {
            assert!(PlacedObjects::new(&wrong, 184, 64).is_err());
        }
    }

    #[test]
    fn places_are_addresses_with_0x_or_names() {
        let known = |start, end| ExtentSpec::Known(Extent { start, end });
        assert_eq!("0x10".parse::<ExtentSpec>().unwrap(), known(16, None));
        assert_eq!(
            "0x10..0x20".parse::<ExtentSpec>().unwrap(),
            known(16, Some(32))
        );
        assert_eq!(
            "table".parse::<ExtentSpec>().unwrap(),
            ExtentSpec::Variable("table".to_owned())
        );
        for wrong in [
            "",
            "0x",
            "404080",
            "0x20..0x10",
            "0x10..",
            "a..b",
            "0x10..0x10",
        ] {
            assert!(wrong.parse::<ExtentSpec>().is_err(), "{wrong}");
        }
    }

    /// An ELF file of kind `e_type` with one variable, `table`, of `bytes` bytes at `address`.
    fn elf(e_type: u16, address: u64, bytes: u64) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        let put = |file: &mut Vec<u8>, numbers: &[(u64, usize)]| {
            for (number, size) in numbers {
                file.extend(&number.to_le_bytes()[..*size]);
            }
        };
        let (symbols, strings, sections) = (64, 64 + 48, 64 + 48 + 8);
        let kind = [
            (u64::from(e_type), 2),
            (62, 2),
            (1, 4),
            (0, 8),
            (0, 8),
            (sections, 8),
        ];
        put(&mut file, &kind);
        put(
            &mut file,
            &[(0, 4), (64, 2), (0, 2), (0, 2), (64, 2), (4, 2), (2, 2)],
        );
        // The first symbol is empty.
        put(&mut file, &[(0, 8), (0, 8), (0, 8)]);
        put(
            &mut file,
            &[(1, 4), (0x11, 1), (0, 1), (3, 2), (address, 8), (bytes, 8)],
        );
        file.extend(b"\0table\0\0");
        let section = |kind, offset, size, link, entry| {
            [
                (0, 4),
                (kind, 4),
                (0, 8),
                (0, 8),
                (offset, 8),
                (size, 8),
                (link, 4),
                (1, 4),
                (1, 8),
                (entry, 8),
            ]
        };
        put(&mut file, &section(0, 0, 0, 0, 0));
        put(&mut file, &section(2, symbols, 48, 2, 24));
        put(&mut file, &section(3, strings, 8, 0, 0));
        put(&mut file, &section(8, 0, 0, 0, 0));
        file
    }

    #[test]
    fn a_variable_lies_where_the_symbols_say_unless_the_file_may_be_loaded_anywhere() {
        let (executable, shared) = (2, 3);
        let found = Extent::of_variable("table", "demo", &elf(executable, 0x404080, 512)).unwrap();
        assert_eq!(
            found,
            Extent {
                start: 0x404080,
                end: Some(0x404280)
            }
        );
        let refused = |name: &str, bytes: &[u8]| {
            Extent::of_variable(name, "demo", bytes)
                .unwrap_err()
                .to_string()
        };
        let line = refused("tabel", &elf(executable, 0x404080, 512));
        assert!(line.contains("nearest valid names are: table"), "{line}");
        let line = refused("table", &elf(shared, 0x4080, 512));
        assert!(line.contains("loaded anywhere"), "{line}");
        let line = refused("table", &elf(executable, u64::MAX, 512));
        assert!(line.contains("impossible size"), "{line}");
        assert!(refused("table", b"not ELF").contains("not an ELF file"));
    }
}
