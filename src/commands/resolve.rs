//! `hitm layout resolve`: from the addresses that perf prints to layout, slot, field, line, pair.

use super::options::Format;
use crate::error::{Error, Result, say};
use crate::report::columns::Columns;
use crate::results::address_map::{AddressMap, Mapped, parse_hex};
use crate::space::{LINE, PAIR};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

/// Arguments of `hitm layout resolve`.
#[derive(clap::Args)]
pub struct Args {
    /// The map, written by `hitm run --address-map`
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// Hexadecimal addresses; without any, the output of `perf c2c report --stdio` or
    /// `perf script` is read from standard input
    addresses: Vec<String>,
    /// How the rows are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A resolved address, with how often it was met.
#[derive(Serialize)]
struct ResolvedRow {
    address: String,
    times: usize,
    layout: String,
    scenario: String,
    threads: usize,
    object: String,
    slot: Option<usize>,
    field: String,
    offset: u64,
    line: String,
    pair: String,
    half_of_pair: u64,
}

/// Run it.
pub fn run(args: &Args) -> Result<String> {
    let map = AddressMap::read(&args.map)?;
    let mut met: BTreeMap<u64, usize> = BTreeMap::new();
    if args.addresses.is_empty() {
        let mut stdin = std::io::stdin();
        if stdin.is_terminal() {
            return Err(Error::Input(
                "no addresses; give some, or pipe in the output of perf c2c report --stdio or perf script".to_owned(),
            ));
        }
        let mut bytes = Vec::new();
        stdin
            .read_to_end(&mut bytes)
            .map_err(|e| Error::Input(format!("cannot read standard input: {e}")))?;
        for address in addresses_in(&String::from_utf8_lossy(&bytes)) {
            *met.entry(address).or_default() += 1;
        }
    }
    let mut outside = Vec::new();
    for text in &args.addresses {
        let address = parse_hex(text).ok_or_else(|| {
            Error::Input(format!(
                "'{text}' is not a hexadecimal address; write 0x7f12a0c0"
            ))
        })?;
        *met.entry(address).or_default() += 1;
        if map.at(address).is_none() {
            outside.push(text.as_str());
        }
    }
    if !outside.is_empty() {
        say(format_args!("not in the map: {}", outside.join(", ")));
    }
    let rows: Vec<ResolvedRow> = met
        .into_iter()
        .filter_map(|(address, times)| Some(row(address, times, map.at(address)?)))
        .collect();
    if rows.is_empty() {
        return Err(Error::Input(format!(
            "no address met lies in {}; record perf while the run that wrote the map is running",
            args.map.display()
        )));
    }
    Ok(super::rows(args.format, &rows, table))
}

fn row(address: u64, times: usize, (mapped, offset): (&Mapped, u64)) -> ResolvedRow {
    let (line, pair) = (LINE as u64, PAIR as u64);
    ResolvedRow {
        address: format!("{address:#x}"),
        times,
        layout: mapped.layout.clone(),
        scenario: mapped.scenario.clone(),
        threads: mapped.threads,
        object: mapped.object.clone(),
        slot: mapped.slot,
        field: mapped.field.clone(),
        offset,
        line: format!("{:#x}", address / line * line),
        pair: format!("{:#x}", address / pair * pair),
        half_of_pair: address % pair / line,
    }
}

fn table(rows: &[ResolvedRow]) -> String {
    let mut table = Columns::new("<><<><><<");
    table.row([
        "address", "times", "layout", "scenario", "threads", "object", "offset", "pair", "half",
    ]);
    for row in rows {
        let slot = row.slot.map(|slot| format!("{slot} ")).unwrap_or_default();
        let object = format!("{} {slot}{}", row.object, row.field);
        table.row([
            row.address.clone(),
            row.times.to_string(),
            row.layout.clone(),
            row.scenario.clone(),
            row.threads.to_string(),
            object.trim_end().to_owned(),
            row.offset.to_string(),
            row.pair.clone(),
            row.half_of_pair.to_string(),
        ]);
    }
    table.to_string()
}

/// Every address in what perf prints.
///
/// Any hexadecimal word of six digits or more may be one. Below the heading of a line, `perf c2c
/// report` prints shares in per cent and the offset into that line instead.
fn addresses_in(text: &str) -> Vec<u64> {
    let mut found = Vec::new();
    let mut heading = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let hex = |word: &&str| -> Option<u64> { parse_hex(word.trim_end_matches([':', ','])) };
        if words.iter().any(|word| word.ends_with('%')) {
            let offset = words
                .iter()
                .filter(|word| word.starts_with("0x"))
                .find_map(hex);
            if let (Some(heading), Some(offset)) = (heading, offset)
                && offset < PAIR as u64
            {
                // An address near the end of all is none of ours, but may well be in there.
                found.push(u64::saturating_add(heading, offset));
                continue;
            }
        }
        for word in words {
            let digits = word
                .strip_prefix("0x")
                .unwrap_or(word)
                .trim_end_matches([':', ',']);
            if digits.len() >= 6
                && let Some(address) = parse_hex(digits)
            {
                found.push(address);
                heading = Some(address);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_perf_script() {
        let text = " hitm 4711 [001] 12.5:  cpu/mem-loads/P:     7f12a0c04080 |OP LOAD|LVL L3 or HITM 55d0c1e2\n";
        assert_eq!(addresses_in(text), [0x7f12a0c04080, 0x55d0c1e2]);
    }

    #[test]
    fn offsets_below_a_heading_of_perf_c2c_are_added_to_its_line() {
        let text = "\
      0       98      225        0        0      0x7f12a0c04080
  -------------------------------------------------------------
           0.00%   45.10%    0.00%    0.00%                 0x8     0       1      0x55d0c1e2
";
        assert_eq!(addresses_in(text), [0x7f12a0c04080, 0x7f12a0c04088]);
    }
}
