//! `perf c2c report --stdio`: rows of offsets below the lines they lie in.
//!
//! Which columns there are depends on perf's version, on the machine and on the keys of `-c`: the
//! row of names says it. A pasted part without that row is read by the number of its shares.

use super::profile::{
    CountUnit, FieldUse, ProfileText, UseCounts, UsePlace, UsedBy, decimal, hex, hundredths, words,
};
use crate::error::Result;
use crate::space::PAIR;

/// The title of the section with offsets.
const PARETO: &str = "Shared Cache Line Distribution Pareto";

/// A column of a row of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParetoColumn {
    // Shares of what the line has, in per cent.
    HitmRemote,
    HitmLocal,
    Peer,
    Stores,
    // One word each.
    Offset,
    Word,
    Pid,
    Records,
    Cpus,
    /// Number and name of a thread; a name may have blanks.
    Tid,
    Symbol,
    /// Not looked at, nor what follows it.
    Rest,
}

use ParetoColumn::{
    Cpus, HitmLocal, HitmRemote, Offset, Peer, Pid, Records, Rest, Stores, Symbol, Tid, Word,
};

/// The columns after the offset that perf prints unless told otherwise.
const USUAL: [ParetoColumn; 10] = [
    Offset, Word, Word, Word, Word, Word, Word, Records, Cpus, Symbol,
];

/// A line, whose offsets follow.
struct Heading {
    address: u64,
    /// The counts that the shares are of.
    totals: Vec<u64>,
}

/// Whether a line is of such a text.
pub(super) fn is_it(line: &str) -> bool {
    let titles = [
        PARETO,
        "Shared Data Cache Line Table",
        "Trace Event Information",
    ];
    titles.iter().any(|title| line.contains(title)) || is_row(line)
}

/// Whether a line is a row of offsets: four or more shares, and a hexadecimal number.
fn is_row(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let mut shares = 0;
    let next = words.find(|word| {
        let share = word.ends_with('%');
        shares += usize::from(share);
        !share
    });
    shares >= 4 && next.is_some_and(|word| word.starts_with("0x"))
}

/// Read it.
pub(super) fn read<'t>(
    text: ProfileText<'t>,
    found: &mut dyn FnMut(FieldUse<'t>),
) -> Result<Vec<String>> {
    let whole = text.text.contains("Shared Data Cache Line Table");
    let mut inside = !whole && !text.text.contains(PARETO);
    let (mut columns, mut heading): (Option<Vec<ParetoColumn>>, Option<Heading>) = (None, None);
    let (mut rows, mut locked, mut peers, mut old) = (0usize, 0, false, false);
    for line in text.lines() {
        let (number, line) = line?;
        if line.contains(PARETO) {
            inside = true;
        } else if let Some(count) = line.trim().strip_prefix("Locked Load/Store Operations") {
            locked = decimal(count.trim_start_matches([' ', ':'])).unwrap_or(0);
        }
        if !inside {
            continue;
        }
        if let Some(names) = line.strip_prefix('#') {
            peers = (peers || names.contains("Peer Snoop")) && !names.contains("HITM");
            if names.trim_start().starts_with("Num ") {
                columns = Some(named(names, peers));
            }
            continue;
        }
        let words = words(line);
        if words.first().is_some_and(|(_, word)| word.ends_with('%')) {
            let Some(heading) = &heading else {
                return Err(text.wrong(number, "an offset, but no line of memory above it"));
            };
            let shares = words
                .iter()
                .take_while(|(_, word)| word.ends_with('%'))
                .count();
            let usual = unnamed(shares);
            let named = columns.as_deref();
            old |= shares == 4;
            let columns = named.unwrap_or(&usual);
            let row = ParetoRow {
                line,
                words,
                shares,
                columns,
            };
            let read = row.read(heading, named.is_none());
            found(read.map_err(|what| text.wrong(number, what))?);
            rows += 1;
        } else if words.len() >= 3 {
            if let Some(next) = line_heading(&words) {
                heading = Some(next);
            } else if columns.is_some() && decimal(words[0].1).is_some() {
                return Err(text.wrong(number, "neither a line of memory nor an offset in one"));
            }
        }
    }
    if rows == 0 {
        return Err(text.unusable(format_args!(
            "no offsets: the section «{PARETO}» is missing or empty; write the text with: perf c2c report --stdio"
        )));
    }
    let mut remarks = vec![
        "perf c2c counts HITM of loads alone: what stores wait for is not in the text".to_owned(),
    ];
    if locked > 0 {
        remarks.push(format!(
            "{locked} of the records are of locked instructions; perf c2c does not say which"
        ));
    }
    if old {
        remarks.push(
            "this perf has no column for stores whose cache level is unknown: they count as loads"
                .to_owned(),
        );
    }
    Ok(remarks)
}

/// `0 4 17 16 4 0 0x404080`: number of the line, its counts, its address.
fn line_heading(words: &[(usize, &str)]) -> Option<Heading> {
    let ((_, last), counts) = words.split_last()?;
    let address = last.strip_prefix("0x").and_then(hex)?;
    let counts: Option<Vec<u64>> = counts.iter().map(|(_, word)| decimal(word)).collect();
    Some(Heading {
        address,
        totals: counts?.get(1..)?.to_vec(),
    })
}

/// The columns of a row of names. Some names are two words.
fn named(names: &str, peers: bool) -> Vec<ParetoColumn> {
    let words: Vec<&str> = names.split_ascii_whitespace().skip(1).collect();
    let mut columns = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let next = words.get(at + 1).copied().unwrap_or("");
        let behind = columns.contains(&Offset);
        let (column, length) = match (*word, next) {
            ("RmtHitm", _) => (HitmRemote, 1),
            ("LclHitm", _) => (HitmLocal, 1),
            ("Rmt" | "Lcl", _) if peers => (Peer, 1),
            ("Rmt", _) => (HitmRemote, 1),
            ("Lcl", _) => (HitmLocal, 1),
            ("Peer", _) => (Peer, 1),
            ("L1", "Hit" | "Miss") => (Stores, 2),
            ("N/A", _) => (Stores, 1),
            ("Offset", _) => (Offset, 1),
            ("PA", "cnt") | ("Code", "address") | ("rmt" | "lcl", "hitm" | "peer") => (Word, 2),
            ("Pid", _) => (Pid, 1),
            ("Tid", _) => (Tid, 1),
            ("records", _) => (Records, 1),
            ("cnt", _) => (Cpus, 1),
            ("Symbol", _) => (Symbol, 1),
            ("Object" | "Source:Line", _) => (Rest, 1),
            _ if behind && word.starts_with("Node{") => (Rest, 1),
            _ => (Word, 1),
        };
        columns.push(column);
        if column == Symbol || column == Rest {
            break;
        }
        at += length;
    }
    columns
}

/// The columns of a part whose names were left out, by the number of its shares.
fn unnamed(shares: usize) -> Vec<ParetoColumn> {
    let mut columns = vec![HitmRemote, HitmLocal];
    columns.extend((shares == 6).then_some(Peer));
    columns.resize(shares, Stores);
    columns.extend(USUAL);
    columns
}

/// A row of offsets.
struct ParetoRow<'t, 'r> {
    line: &'t str,
    words: Vec<(usize, &'t str)>,
    /// How many words of it are shares.
    shares: usize,
    columns: &'r [ParetoColumn],
}

impl<'t> ParetoRow<'t, '_> {
    /// What it says; of a pasted part, the end may be missing.
    fn read(&self, heading: &Heading, pasted: bool) -> std::result::Result<FieldUse<'t>, String> {
        let expected = self
            .columns
            .iter()
            .take_while(|column| **column != Offset)
            .count();
        if self.shares != expected || heading.totals.len() != self.shares {
            return Err(format!(
                "{} shares in per cent, but {expected} names and {} counts of the line above them",
                self.shares,
                heading.totals.len()
            ));
        }
        let mut counts = self.counts(heading)?;
        let mut by = UsedBy::default();
        let mut offset = None;
        let mut records = None;
        let mut at = self.shares;
        for (i, column) in self.columns.iter().enumerate().skip(self.shares) {
            let Some((begin, word)) = self.words.get(at).copied() else {
                break;
            };
            at += 1;
            match column {
                Offset => offset = word.strip_prefix("0x").and_then(hex),
                Pid => by.pid = decimal(word).and_then(|pid| u32::try_from(pid).ok()),
                Records => records = decimal(word),
                Cpus => by.cpus = decimal(word),
                Tid => {
                    at = self.behind_thread(i, at);
                    (by.tid, by.comm) = self.thread(begin, at);
                }
                Symbol => by.symbol = self.symbol(begin),
                _ => {}
            }
        }
        let offset = offset.ok_or("no hexadecimal offset behind the shares")?;
        if offset >= PAIR as u64 {
            return Err(format!("offset {offset:#x} is beyond the line"));
        }
        let address = heading.address.checked_add(offset);
        let address = address.ok_or("the address is beyond the last one")?;
        let known = counts.stores + counts.hitm_local + counts.hitm_remote + counts.peer;
        counts.all = match records {
            // Shares are rounded.
            Some(records) => records.max(counts.stores),
            None if pasted => known.max(1),
            None => return Err("ends before its number of records".to_owned()),
        };
        counts.loads = counts.all - counts.stores;
        Ok(FieldUse {
            place: UsePlace::Address(address),
            event: "",
            by,
            counts,
            unit: CountUnit::Records,
        })
    }

    /// The shares, as counts again.
    fn counts(&self, heading: &Heading) -> std::result::Result<UseCounts, String> {
        let mut counts = UseCounts::default();
        let shares = self.words.iter().zip(self.columns).zip(&heading.totals);
        for (((_, word), column), total) in shares.take(self.shares) {
            let share = hundredths(word).ok_or_else(|| format!("'{word}' is not a share"))?;
            // At most the total.
            let part = (u128::from(share) * u128::from(*total) + 5_000) / 10_000;
            let part = u64::try_from(part).unwrap_or(*total);
            let sum = match column {
                HitmRemote => &mut counts.hitm_remote,
                HitmLocal => &mut counts.hitm_local,
                Peer => &mut counts.peer,
                _ => &mut counts.stores,
            };
            *sum = sum.saturating_add(part);
        }
        let all = [
            counts.hitm_remote,
            counts.hitm_local,
            counts.peer,
            counts.stores,
        ];
        match all.into_iter().try_fold(0, u64::checked_add) {
            Some(_) => Ok(counts),
            None => Err("more records than can be counted".to_owned()),
        }
    }

    /// The word that a thread's name ends before: the columns behind it are numbers, up to the
    /// function in its brackets. `at` is the word behind the name's first.
    fn behind_thread(&self, column: usize, at: usize) -> usize {
        let behind = self.columns.get(column + 1..).unwrap_or(&[]);
        let numbers = behind
            .iter()
            .take_while(|c| !matches!(c, Symbol | Rest))
            .count();
        let fits = |from: &usize| {
            let numeric = |(_, word): &(usize, &str)| hex(word).is_some();
            let end = from + numbers;
            self.words
                .get(*from..end)
                .is_some_and(|words| words.iter().all(numeric))
                && (!behind.contains(&Symbol)
                    || self
                        .words
                        .get(end)
                        .is_some_and(|(_, word)| word.starts_with('[')))
        };
        (at..self.words.len()).find(fits).unwrap_or(at)
    }

    /// Number and name of the thread that is written from byte `begin` to the word `end`.
    fn thread(&self, begin: usize, end: usize) -> (Option<u32>, &'t str) {
        let end = self
            .words
            .get(end)
            .map_or(self.line.len(), |(begin, _)| *begin);
        let text = self.line.get(begin..end).unwrap_or("").trim();
        let (tid, comm) = text.split_once(':').unwrap_or((text, ""));
        let tid = decimal(tid).and_then(|tid| u32::try_from(tid).ok());
        // The name of a thread that perf does not know is its number.
        (tid, if comm.starts_with(':') { "" } else { comm })
    }

    /// The function of `[.] get     demo2`: two blanks end it where columns are padded.
    fn symbol(&self, begin: usize) -> &'t str {
        let text = self.line.get(begin..).unwrap_or("");
        let name = match text.split_once("] ") {
            Some((_, name)) if text.starts_with('[') => name.trim_start(),
            _ => text,
        };
        let end = match name.find("  ") {
            Some(end) => end,
            None => name.find(' ').unwrap_or(name.len()),
        };
        let name = name.get(..end).unwrap_or("");
        // What has no name is an address.
        if name.starts_with("0x") { "" } else { name }
    }
}
