//! The simulator's explanation: per field and role, what was waited for, who took the line of it,
//! and what that cost a fault. As a table for people and as rows.
//!
//! Not here: the tallies (`sim::explain`).

use super::columns::Columns;
use crate::machine::Distance;
use crate::sim::explain::{Taking, Waits};
use crate::sim::request::Want;
use crate::sim::run::Run;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Rows of each table at most: what costs less than these costs little.
const ROWS: usize = 16;

/// What the threads of a role asked and waited for, per fault of all threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waited {
    /// The role.
    pub role: String,
    /// Whether its faults are among those that are counted. Where they are not, it waits beside
    /// these.
    pub counted: bool,
    /// The word that was accessed.
    pub field: String,
    /// Requests that left the core.
    pub requests: f64,
    /// How often a thread waited: it does not wait for a store that its store buffer takes.
    pub waits: f64,
    /// Nanoseconds waited, queueing included.
    pub ns: f64,
    /// Of these, for a line that a prefetch had taken away.
    pub ns_after_prefetch: f64,
    /// The objects that have bytes in the line.
    pub line: String,
}

/// A line that the threads of one role took from those of another, per fault of all threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Taken {
    /// The role that took it.
    pub by: String,
    /// What it asked for.
    pub request: AskedFor,
    /// The word that it accessed; none for a prefetch.
    pub field: Option<String>,
    /// The role that lost it.
    pub from: String,
    /// The first word that the loser had used since it got the line; none if it had used none.
    pub used: Option<String>,
    /// How often.
    pub times: f64,
    /// The share of them that came from another socket.
    pub far: f64,
    /// How the line is shared.
    pub sharing: Sharing,
    /// Whether the loser had modified the line, and the taker got its data.
    pub hitm: bool,
    /// Whether the loser kept a copy to read.
    pub kept: bool,
    /// The objects that have bytes in the line.
    pub line: String,
    /// Those of the other line of its pair.
    pub partner: String,
}

crate::text::words! {
    /// What a core asks for.
    pub enum AskedFor as "kind of request" {
        /// A copy to read.
        Load = "load",
        /// The only copy, to write.
        Rfo = "RFO",
        /// A copy to read, for a prefetcher.
        Prefetch = "prefetch",
        /// The only copy, for a prefetcher.
        PrefetchRfo = "prefetch RFO",
    }
}

crate::text::words! {
    /// Why two cores want one line.
    pub enum Sharing as "kind of sharing" {
        /// The loser had used a word that the taker accesses: `true_sharing` of the counters.
        True = "true sharing",
        /// The loser had used other words only: `false_sharing` of the counters, as is the next.
        False = "false sharing in the line",
        /// The loser had not used it.
        Unused = "unused there",
        /// Nobody asked for it but a prefetcher: `pair_sharing` of the counters.
        Pair = "prefetch of the pair",
    }
}

/// Nanoseconds of all threads that are counted, for each of their faults. Of one role it is what the
/// sample says, `ns_per_fault`; of several the sample says the geometric mean of theirs.
pub fn ns_per_fault(run: &Run) -> f64 {
    let seconds: f64 = run.threads.iter().map(|thread| thread.seconds).sum();
    seconds * 1e9 / faults(run) as f64
}

fn faults(run: &Run) -> u64 {
    run.threads.iter().map(|thread| thread.faults).sum()
}

/// What a sample that kept a ledger says, what costs most first.
pub fn explanation(run: &Run) -> (Vec<Waited>, Vec<Taken>) {
    (waited(run), taken(run))
}

fn waited(run: &Run) -> Vec<Waited> {
    let Some(ledger) = &run.ledger else {
        return Vec::new();
    };
    // By line, word, role and whether it is counted: requests and waits.
    let mut sums: BTreeMap<(u32, u8, &str, bool), (u64, Waits)> = BTreeMap::new();
    let key = |line: u32, word: u8, thread: u16| {
        let role = run.seats.get(usize::from(thread)).map(|seat| &seat.role);
        let (name, counted) = role.map_or(("", true), |role| (&role.name, role.counted));
        (line, word, name, counted)
    };
    for ((line, word, thread), requests) in &ledger.requests {
        let Some(word) = word else { continue };
        sums.entry(key(*line, *word, *thread)).or_default().0 += requests;
    }
    for ((line, word, thread), waits) in &ledger.waits {
        let of = sums.entry(key(*line, *word, *thread)).or_default();
        of.1.add(*waits);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(key, (requests, waits))| (Reverse((waits.time, *requests)), *key));
    let faults = faults(run) as f64;
    let rows = sums.into_iter().map(|(key, (requests, waits))| {
        let (line, word, role, counted) = key;
        Waited {
            role: role.to_owned(),
            counted,
            field: run.map.word(line, word),
            requests: requests as f64 / faults,
            waits: waits.times as f64 / faults,
            ns: waits.time as f64 / 1000.0 / faults,
            ns_after_prefetch: waits.after_prefetch as f64 / 1000.0 / faults,
            line: run.map.line(line),
        }
    });
    rows.collect()
}

fn taken(run: &Run) -> Vec<Taken> {
    let Some(ledger) = &run.ledger else {
        return Vec::new();
    };
    let role = |core: u16| run.roles.get(&core).map_or("", String::as_str);
    // The same for all distances and cores of a role: how often, and from another socket.
    let mut takings: BTreeMap<(Taking, &str, &str), (u64, u64)> = BTreeMap::new();
    for (taking, count) in &ledger.takings {
        let alike = Taking {
            by: 0,
            from: 0,
            distance: Distance::SameLlc,
            ..*taking
        };
        let key = (alike, role(taking.by), role(taking.from));
        let sums = takings.entry(key).or_default();
        sums.0 += count;
        if taking.distance == Distance::OtherPackage {
            sums.1 += count;
        }
    }
    let mut takings: Vec<_> = takings.into_iter().collect();
    takings.sort_by_key(|((taking, ..), (count, _))| (Reverse(*count), *taking));
    let faults = faults(run) as f64;
    let rows = takings
        .into_iter()
        .map(|((taking, by, from), (count, far))| {
            let name = |word: u8| run.map.word(taking.line, word);
            Taken {
                by: by.to_owned(),
                request: match (taking.word, taking.want) {
                    (Some(_), Want::Read) => AskedFor::Load,
                    (Some(_), Want::Own) => AskedFor::Rfo,
                    (None, Want::Read) => AskedFor::Prefetch,
                    (None, Want::Own) => AskedFor::PrefetchRfo,
                },
                field: taking.word.map(name),
                from: from.to_owned(),
                used: taking.lost_word.map(name),
                times: count as f64 / faults,
                far: far as f64 / count as f64,
                sharing: match (taking.word, taking.lost_word) {
                    (None, _) => Sharing::Pair,
                    (Some(_), _) if taking.same_word => Sharing::True,
                    (Some(_), Some(_)) => Sharing::False,
                    (Some(_), None) => Sharing::Unused,
                },
                hitm: taking.hitm,
                kept: !taking.invalidated,
                line: run.map.line(taking.line),
                partner: run.map.line(taking.line ^ 1),
            }
        });
    rows.collect()
}

/// The figures of the sample that the rows add up to, as its counters say them.
fn counted(run: &Run) -> String {
    let per_fault = |count: u64| count as f64 / faults(run) as f64;
    let of = &run.counts;
    format!(
        "  per fault: {:.3} true sharing, {:.3} false sharing, {:.3} taken by prefetches, {:.3} HITM, \
         {:.3} invalidations\n",
        per_fault(of.true_sharing),
        per_fault(of.false_sharing),
        per_fault(of.pair_sharing),
        per_fault(of.hitm_local + of.hitm_remote + of.rfo_hitm),
        per_fault(of.invalidations),
    )
}

/// The objects of a line, or that there are none: padding behind the last one.
fn some_name(line: &str) -> &str {
    match line {
        "" => "padding",
        line => line,
    }
}

/// The explanation of one sample for people.
pub fn explain(run: &Run) -> String {
    let (waited, taken) = explanation(run);
    let time = ns_per_fault(run);
    let in_them = waited.iter().filter(|row| row.counted);
    // A sum of nothing is -0.
    let waiting = 0.0 + in_them.map(|row| row.ns).sum::<f64>();
    let mut waits = Columns::new("<<>>><");
    waits.row([
        "  role",
        "waits for",
        "requests",
        "ns per fault",
        "after prefetch",
        "in line",
    ]);
    for row in waited.into_iter().take(ROWS) {
        let beside = if row.counted { "" } else { " (not counted)" };
        waits.row([
            format!("  {}{beside}", row.role),
            row.field,
            format!("{:.3}", row.requests),
            format!("{:.2}", row.ns),
            format!("{:.2}", row.ns_after_prefetch),
            row.line,
        ]);
    }
    let mut table = Columns::new("<<<<>><");
    table.row([
        "  taken by",
        "access to",
        "from",
        "that used",
        "per fault",
        "far",
        "sharing",
    ]);
    for row in taken.into_iter().take(ROWS) {
        let kind = match row.sharing {
            Sharing::Pair => format!(
                "prefetch of {}, beside {}",
                some_name(&row.line),
                some_name(&row.partner)
            ),
            Sharing::True => "true".to_owned(),
            Sharing::False => "false".to_owned(),
            Sharing::Unused => "unused".to_owned(),
        };
        let hitm = if row.hitm { ", HITM" } else { "" };
        let kept = if row.kept { ", kept" } else { "" };
        table.row([
            format!("  {}", row.by),
            row.field.unwrap_or("(pair)".to_owned()),
            row.from,
            row.used.unwrap_or("-".to_owned()),
            format!("{:.3}", row.times),
            format!("{:.0} %", 100.0 * row.far),
            kind + hitm + kept,
        ]);
    }
    format!(
        "  of {time:.1} ns per fault, {waiting:.1} ns are waits\n{}{waits}\n{table}",
        counted(run)
    )
}
