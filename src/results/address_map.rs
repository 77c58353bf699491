//! Where every VMA, lock and field of a run lay: for the readers of `perf c2c` and `perf mem`.
//!
//! Here: the rows, their file, and the search in it. Not here: how addresses are found in what
//! `perf` prints (`commands::resolve`).

use super::write_whole;
use crate::error::{Error, Result};
use crate::space::map::Map;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One field of one object, or an object that has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    /// First byte, hexadecimal.
    pub start: String,
    /// Bytes.
    pub bytes: u64,
    /// The layout; `baseline-again` for the A/A arm.
    pub layout: String,
    /// Who faulted where.
    pub scenario: String,
    /// Threads that took part.
    pub threads: usize,
    /// `vma`, `lock`, `mm`, `root node`, `middle node`, `leaf node`, `thread`, `page`.
    pub object: String,
    /// Slab slot of a VMA or lock, number of a node (but the root) or thread; empty otherwise.
    pub slot: Option<usize>,
    /// The field, `(hole)` between fields, empty where the object has none to tell apart.
    pub field: String,
    /// Bytes from the start of the object.
    pub offset: usize,
}

impl Mapped {
    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        parse_hex(&self.start).unwrap_or(0)
    }
}

/// A hexadecimal number, with or without `0x`.
pub fn parse_hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

/// The rows of one program.
pub fn rows(map: &Map, layout: &str, scenario: &str, threads: usize) -> Vec<Mapped> {
    let mut rows = Vec::new();
    for object in map.objects() {
        for (field, offset, bytes) in object.pieces() {
            rows.push(Mapped {
                start: format!("{:#x}", object.start.0 + offset as u64),
                bytes: bytes as u64,
                layout: layout.to_owned(),
                scenario: scenario.to_owned(),
                threads,
                object: object.name.to_string(),
                slot: object.index,
                field: field.to_owned(),
                offset,
            });
        }
    }
    rows
}

/// Write a map, whole or not at all.
pub fn write(path: &Path, rows: &[Mapped]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        // Writing plain fields to memory cannot fail.
        let _ = writer.serialize(row);
    }
    write_whole(path, &writer.into_inner().unwrap_or_default())
}

/// A map that was read, ordered by address.
pub struct AddressMap(Vec<Mapped>);

impl AddressMap {
    /// Read the map at `path`.
    pub fn read(path: &Path) -> Result<AddressMap> {
        let wrong = |e: csv::Error| {
            Error::Input(format!(
                "cannot read {}: {e}; name a file written by run --address-map",
                path.display()
            ))
        };
        let mut reader = csv::Reader::from_path(path).map_err(wrong)?;
        let mut rows = reader
            .deserialize()
            .collect::<std::result::Result<Vec<Mapped>, _>>()
            .map_err(wrong)?;
        for (i, row) in rows.iter().enumerate() {
            if parse_hex(&row.start).is_none() {
                return Err(Error::Input(format!(
                    "{}, line {}: start '{}' is not a hexadecimal address",
                    path.display(),
                    i + 2,
                    row.start
                )));
            }
        }
        rows.sort_by_key(Mapped::address);
        Ok(AddressMap(rows))
    }

    /// What lies at `address`, and the offset into its object.
    pub fn at(&self, address: u64) -> Option<(&Mapped, u64)> {
        let after = self.0.partition_point(|row| row.address() <= address);
        let row = self.0[..after].last()?;
        let into = address - row.address();
        (into < row.bytes).then(|| (row, row.offset as u64 + into))
    }
}
