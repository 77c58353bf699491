//! `hitm layout resolve`: from the addresses that perf prints to layout, slot, field, line, pair.

use super::options::Format;
use crate::case::perf::{ProfileFormat, UseCounts, UsePlace, format_of, read};
use crate::error::{Error, Result, say};
use crate::report::columns::Columns;
use crate::results::address_map::{AddressMap, Mapped, parse_hex};
use crate::space::{LINE, PAIR};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Read as _};
use std::path::PathBuf;

/// Arguments of `hitm layout resolve`.
#[derive(clap::Args)]
pub struct Args {
    /// The map, written by `hitm run --address-map`
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// Hexadecimal addresses; without any, the output of `perf c2c report --stdio`,
    /// `perf mem report -D -x,` or `perf script` is read from standard input
    addresses: Vec<String>,
    /// How the rows are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A resolved address, with how often it was met.
#[derive(Serialize)]
struct ResolvedRow {
    address: String,
    times: u64,
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
    // Empty where the input is addresses alone.
    loads: Option<u64>,
    stores: Option<u64>,
    hitm_local: Option<u64>,
    hitm_remote: Option<u64>,
    peer: Option<u64>,
}

/// What was met at an address.
#[derive(Default)]
struct Met {
    counts: UseCounts,
    /// Whether more than the address is known.
    counted: bool,
}

/// Run it.
pub fn run(args: &Args) -> Result<String> {
    let map = AddressMap::read(&args.map)?;
    let mut met: BTreeMap<u64, Met> = BTreeMap::new();
    if args.addresses.is_empty() {
        let mut stdin = std::io::stdin();
        if stdin.is_terminal() {
            return Err(Error::Input(
                "no addresses; give some, or pipe in the output of perf c2c report --stdio, perf mem report -D -x, or perf script".to_owned(),
            ));
        }
        let mut bytes = Vec::new();
        stdin
            .read_to_end(&mut bytes)
            .map_err(|e| Error::Input(format!("cannot read standard input: {e}")))?;
        met_in(&String::from_utf8_lossy(&bytes), &map, &mut met)?;
    }
    let mut outside = Vec::new();
    for text in &args.addresses {
        let address = parse_hex(text).ok_or_else(|| {
            Error::Input(format!(
                "'{text}' is not a hexadecimal address; write 0x7f12a0c0"
            ))
        })?;
        met.entry(address).or_default().counts.all += 1;
        if map.at(address).is_none() {
            outside.push(text.as_str());
        }
    }
    if !outside.is_empty() {
        say(format_args!("not in the map: {}", outside.join(", ")));
    }
    let rows: Vec<ResolvedRow> = met
        .into_iter()
        .filter_map(|(address, met)| Some(row(address, &met, map.at(address)?)))
        .collect();
    if rows.is_empty() {
        return Err(Error::Input(format!(
            "no address met lies in {}; record perf while the run that wrote the map is running",
            args.map.display()
        )));
    }
    Ok(super::rows(args.format, &rows, table))
}

fn row(address: u64, met: &Met, (mapped, offset): (&Mapped, u64)) -> ResolvedRow {
    let (line, pair) = (LINE as u64, PAIR as u64);
    let counts = &met.counts;
    let counted = |count: u64| met.counted.then_some(count);
    ResolvedRow {
        address: format!("{address:#x}"),
        times: counts.all,
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
        loads: counted(counts.loads),
        stores: counted(counts.stores),
        hitm_local: counted(counts.hitm_local),
        hitm_remote: counted(counts.hitm_remote),
        peer: counted(counts.peer),
    }
}

fn table(rows: &[ResolvedRow]) -> String {
    let mut table = Columns::new("<>>><<><><<");
    table.row([
        "address", "times", "hitm", "peer", "layout", "scenario", "threads", "object", "offset",
        "pair", "half",
    ]);
    for row in rows {
        let slot = row.slot.map(|slot| format!("{slot} ")).unwrap_or_default();
        let object = format!("{} {slot}{}", row.object, row.field);
        let hitm = row.hitm_local.zip(row.hitm_remote);
        let hitm = hitm.map(|(local, remote)| local.saturating_add(remote));
        let shown = |count: Option<u64>| count.map_or(String::new(), |count| count.to_string());
        table.row([
            row.address.clone(),
            row.times.to_string(),
            shown(hitm),
            shown(row.peer),
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

/// What is met at each address of the map in what perf prints.
fn met_in(text: &str, map: &AddressMap, met: &mut BTreeMap<u64, Met>) -> Result<()> {
    let mut add = |address: u64, counts: &UseCounts, counted: bool| {
        // What lies elsewhere is not kept: a profile may have millions of addresses.
        if map.at(address).is_some() {
            let met = met.entry(address).or_default();
            met.counts.add(counts);
            met.counted |= counted;
        }
    };
    match format_of(text) {
        Some(ProfileFormat::C2c | ProfileFormat::Mem | ProfileFormat::Script) => {
            read("standard input", text, &mut |found| {
                if let UsePlace::Address(address) = found.place {
                    add(address, &found.counts, true);
                }
            })?;
        }
        Some(format) => {
            return Err(Error::Input(format!(
                "{format} has types and no addresses; give the output of perf c2c report --stdio, perf mem report -D -x, or perf script"
            )));
        }
        None => {
            let once = UseCounts {
                all: 1,
                ..UseCounts::default()
            };
            addresses_in(text).for_each(|address| add(address, &once, false));
        }
    }
    Ok(())
}

/// Every address in any other text: each hexadecimal word of six digits or more may be one.
fn addresses_in(text: &str) -> impl Iterator<Item = u64> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',');
    words.filter_map(|word| {
        let digits = word.trim_end_matches(':');
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        (digits.len() >= 6).then(|| parse_hex(digits)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_any_text() {
        let text = " hitm 4711 12.5: 7f12a0c04080 lookup\n4711,0x55d0c1e2,0x7f12a0c04088\n";
        let found: Vec<u64> = addresses_in(text).collect();
        assert_eq!(found, [0x7f12a0c04080, 0x55d0c1e2, 0x7f12a0c04088]);
    }
}
