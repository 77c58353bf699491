//! The simulator's explanation: per field and role, what was waited for, who took the line of it,
//! and what that cost a fault. As a table for people and as rows.
//!
//! Not here: the tallies (`sim::explain`).

use super::columns::Columns;
use crate::machine::Distance;
use crate::sim::explain::{Asked, Taking};
use crate::sim::run::Run;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Rows of each table at most: what costs less than these costs little.
const ROWS: usize = 16;

/// What the threads of a role waited for, per fault of all threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waited {
    /// The role.
    pub role: String,
    /// The word that was accessed.
    pub field: String,
    /// Requests that left the core.
    pub times: f64,
    /// Nanoseconds waited for them, queueing included.
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
    /// Whether the loser kept a copy to read.
    pub kept: bool,
    /// The objects that have bytes in the line.
    pub line: String,
    /// Those of the other line of its pair.
    pub partner: String,
}

crate::text::words! {
    /// Why two cores want one line.
    pub enum Sharing as "kind of sharing" {
        /// The same word.
        True = "true sharing",
        /// Different words of it.
        False = "false sharing in the line",
        /// The loser had not used it.
        Unused = "unused there",
        /// Nobody asked for it but a prefetcher.
        Pair = "prefetch of the pair",
    }
}

/// What a sample that kept a ledger says, what costs most first.
pub fn explanation(run: &Run) -> (Vec<Waited>, Vec<Taken>) {
    let Some(ledger) = &run.ledger else {
        return (Vec::new(), Vec::new());
    };
    let faults: u64 = run.threads.iter().map(|t| t.faults).sum();
    let per_fault = |count: u64| count as f64 / faults as f64;
    let role = |core: u16| run.roles.get(&core).cloned().unwrap_or_default();
    let mut asked: BTreeMap<(u32, u8, String), Asked> = BTreeMap::new();
    for ((line, word, core), of) in &ledger.asked {
        let Some(word) = word else { continue };
        let sum = asked.entry((*line, *word, role(*core))).or_default();
        sum.requests += of.requests;
        sum.waited += of.waited;
        sum.waited_after_prefetch += of.waited_after_prefetch;
    }
    let mut asked: Vec<_> = asked.into_iter().collect();
    asked.sort_by_key(|((line, word, _), asked)| (Reverse(asked.waited), *line, *word));
    let ns = |waited: u64| waited as f64 / 1000.0 / faults as f64;
    let waited = asked.into_iter().map(|((line, word, role), asked)| Waited {
        role,
        field: run.map.word(line, word),
        times: per_fault(asked.requests),
        ns: ns(asked.waited),
        ns_after_prefetch: ns(asked.waited_after_prefetch),
        line: run.map.line(line),
    });
    // The same for all distances and cores of a role.
    let mut takings: BTreeMap<(Taking, String, String), (u64, u64)> = BTreeMap::new();
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
    let taken = takings
        .into_iter()
        .map(|((taking, by, from), (count, far))| {
            let name = |word: u8| run.map.word(taking.line, word);
            Taken {
                by,
                field: taking.word.map(name),
                from,
                used: taking.lost_word.map(name),
                times: per_fault(count),
                far: far as f64 / count as f64,
                sharing: match (taking.word, taking.lost_word) {
                    (None, _) => Sharing::Pair,
                    (Some(word), Some(lost)) if word == lost => Sharing::True,
                    (Some(_), Some(_)) => Sharing::False,
                    (Some(_), None) => Sharing::Unused,
                },
                kept: !taking.invalidated,
                line: run.map.line(taking.line),
                partner: run.map.line(taking.line ^ 1),
            }
        });
    (waited.collect(), taken.collect())
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
    let mut waits = Columns::new("<<>>><");
    waits.row([
        "  role",
        "waited for",
        "times",
        "ns per fault",
        "after a prefetch",
        "in line",
    ]);
    for row in waited.into_iter().take(ROWS) {
        waits.row([
            format!("  {}", row.role),
            row.field,
            format!("{:.3}", row.times),
            format!("{:.2}", row.ns),
            format!("{:.2} ns", row.ns_after_prefetch),
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
        "other socket",
        "kind",
    ]);
    for row in taken.into_iter().take(ROWS) {
        let kind = match row.sharing {
            Sharing::Pair => format!(
                "prefetch of {}, beside {}",
                some_name(&row.line),
                some_name(&row.partner)
            ),
            sharing => sharing.to_string(),
        };
        let kept = if row.kept { ", kept for reading" } else { "" };
        table.row([
            format!("  {}", row.by),
            row.field.unwrap_or("(pair)".to_owned()),
            row.from,
            row.used.unwrap_or("-".to_owned()),
            format!("{:.3}", row.times),
            format!("{:.0} %", 100.0 * row.far),
            kind + kept,
        ]);
    }
    format!("{waits}\n{table}")
}
