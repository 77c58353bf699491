//! `perf mem report -D -x,`: a sample a row.

use super::data_source::DataSource;
use super::profile::{CountUnit, FieldUse, ProfileText, UsePlace, UsedBy, decimal, hex};
use crate::error::Result;

/// Columns before the last, `SYMBOL`, which may have separators in it.
#[derive(Clone, Copy, PartialEq)]
enum MemColumn {
    Pid,
    Tid,
    Ip,
    Address,
    Physical,
    PageSize,
    Weight,
    DataSource,
}

use MemColumn::{Address, DataSource as Source, Ip, PageSize, Physical, Pid, Tid, Weight};

/// The columns of every set of options that adds some.
const COLUMNS: [&[MemColumn]; 4] = [
    &[Pid, Tid, Ip, Address, Weight, Source],
    &[Pid, Tid, Ip, Address, Physical, Weight, Source],
    &[Pid, Tid, Ip, Address, PageSize, Weight, Source],
    &[Pid, Tid, Ip, Address, Physical, PageSize, Weight, Source],
];

/// Whether a line is the heading, or a row of such a text.
pub(super) fn is_it(line: &str) -> bool {
    heading(line).is_some()
        || (line.contains(',')
            && COLUMNS
                .iter()
                .any(|columns| row(line, ',', columns).is_some()))
}

/// Read it.
pub(super) fn read<'t>(
    text: ProfileText<'t>,
    found: &mut dyn FnMut(FieldUse<'t>),
) -> Result<Vec<String>> {
    let mut columns: Option<&[MemColumn]> = None;
    let mut separator = None;
    for line in text.lines() {
        let (number, line) = line?;
        if let Some(named) = heading(line) {
            columns = Some(named);
            continue;
        }
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let separator = *separator.get_or_insert_with(|| {
            let used = [',', ';', '\t', '|']
                .into_iter()
                .find(|c| line.contains(*c));
            used.unwrap_or(' ')
        });
        if separator == ' ' && is_garbled(line) {
            return Err(text.wrong(
                number,
                "without -x, perf writes a stray 016 before this row's address; write the text with: perf mem report -D -x,",
            ));
        }
        let fits = |columns: &&&[MemColumn]| row(line, separator, columns).is_some();
        let columns = *columns.get_or_insert_with(|| {
            let fitting = COLUMNS.iter().find(fits);
            fitting.copied().unwrap_or(COLUMNS[0])
        });
        let Some(use_of) = row(line, separator, columns) else {
            return Err(text.wrong(
                number,
                "not a row of PID, TID, IP, ADDR, LOCAL WEIGHT, DSRC, SYMBOL; write the text with: perf mem report -D -x,",
            ));
        };
        found(use_of);
    }
    Ok(Vec::new())
}

/// The columns that a heading names.
fn heading(line: &str) -> Option<&'static [MemColumn]> {
    let line = line.strip_prefix('#')?.trim_start();
    if !line.starts_with("PID") || !line.contains("ADDR") || !line.contains("DSRC") {
        return None;
    }
    let physical = line.contains("PHYS");
    let page_size = line.contains("PAGE SIZE");
    COLUMNS.into_iter().find(|columns| {
        (columns.contains(&Physical), columns.contains(&PageSize)) == (physical, page_size)
    })
}

/// Whether a row between blanks is one that perf writes a wrong address in: the instruction's is
/// padded to 16 digits there, and the padding of the other one is printed as if it were digits.
fn is_garbled(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace().skip(2);
    let (ip, address) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    ip.len() == 18 && address.starts_with("0x016")
}

/// A row, if it is one.
fn row<'t>(line: &'t str, separator: char, columns: &[MemColumn]) -> Option<FieldUse<'t>> {
    let mut rest = line.trim();
    let mut by = UsedBy::default();
    let (mut address, mut source) = (None, None);
    for column in columns {
        let (cell, after) = rest.split_once(separator)?;
        rest = after.trim_start();
        let cell = cell.trim();
        match column {
            // The idle task and what perf does not know have -1.
            Pid => by.pid = id(cell)?,
            Tid => by.tid = id(cell)?,
            Ip | Physical => drop(hex(cell)?),
            Address => address = Some(hex(cell)?),
            PageSize => {}
            Weight => drop(decimal(cell)?),
            Source => source = Some(hex(cell)?),
        }
    }
    by.symbol = symbol(rest.trim());
    Some(FieldUse {
        place: UsePlace::Address(address?),
        event: "",
        by,
        counts: DataSource(source?).counts(),
        unit: CountUnit::Records,
    })
}

fn id(cell: &str) -> Option<Option<u32>> {
    match cell {
        "-1" => Some(None),
        _ => Some(Some(u32::try_from(decimal(cell)?).ok()?)),
    }
}

/// The function of `FILE:function` or `[k] function`; empty where perf did not know it.
fn symbol(cell: &str) -> &str {
    if cell.starts_with('[') && cell.get(2..4) == Some("] ") {
        return cell[4..].trim();
    }
    // A name in C++ has two colons.
    let bytes = cell.as_bytes();
    let single = (0..bytes.len()).find(|&i| {
        bytes[i] == b':' && bytes.get(i + 1) != Some(&b':') && (i == 0 || bytes[i - 1] != b':')
    });
    match single.map(|i| cell[i + 1..].trim()) {
        Some("???") | None => "",
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_from_files_by_a_single_colon() {
        assert_eq!(symbol("/home/user/demo2:lookup"), "lookup");
        assert_eq!(symbol("/lib/x.so:ns::f(int, char)"), "ns::f(int, char)");
        assert_eq!(symbol("[k] vma_refcount_put"), "vma_refcount_put");
        assert_eq!(symbol("[kernel.kallsyms]:do_idle"), "do_idle");
        assert_eq!(symbol("/bin/x:???"), "");
        assert_eq!(symbol("???"), "");
    }
}
