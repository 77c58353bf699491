//! The simulator's explanation for people: per field and line, who took it from whom, and what
//! it cost a fault.
//!
//! Not here: the tallies (`sim::explain`).

use super::columns::Columns;
use crate::machine::Distance;
use crate::sim::explain::Ledger;
use crate::space::map::Map;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Rows of each table at most: what costs less than these costs little.
const ROWS: usize = 16;

/// The explanation of one sample: what each word was waited for, and who took its line.
pub fn explain(ledger: &Ledger, map: &Map, faults: u64) -> String {
    let per_fault = |count: u64| count as f64 / faults as f64;
    let mut waits = Columns::new("<>>><");
    waits.row([
        "  waited for",
        "times",
        "ns per fault",
        "after a prefetch",
        "in line",
    ]);
    let asked = ledger.asked.iter();
    let mut asked: Vec<_> = asked
        .filter_map(|((line, word), asked)| Some(((*line, (*word)?), asked)))
        .collect();
    asked.sort_by_key(|(key, asked)| (Reverse(asked.waited), *key));
    for ((line, word), asked) in asked.into_iter().take(ROWS) {
        let ns = |waited: u64| waited as f64 / 1000.0 / faults as f64;
        waits.row([
            format!("  {}", map.word(line, word)),
            format!("{:.3}", per_fault(asked.requests)),
            format!("{:.2}", ns(asked.waited)),
            format!("{:.2} ns", ns(asked.waited_after_prefetch)),
            map.line(line),
        ]);
    }
    // The same for all distances: by what was asked for and what was lost.
    let mut takings = BTreeMap::<_, (u64, u64)>::new();
    for (taking, count) in &ledger.takings {
        let key = (
            taking.line,
            taking.word,
            taking.lost_word,
            taking.invalidated,
        );
        let sums = takings.entry(key).or_default();
        sums.0 += count;
        if taking.distance == Distance::OtherPackage {
            sums.1 += count;
        }
    }
    let mut takings: Vec<_> = takings.into_iter().collect();
    takings.sort_by_key(|(key, (count, _))| (Reverse(*count), *key));
    let mut table = Columns::new("<<>><");
    let names = ["  taken by access to", "from a core that used"];
    table.row(
        names
            .into_iter()
            .chain(["per fault", "other socket", "kind"]),
    );
    for ((line, word, lost, invalidated), (count, far)) in takings.into_iter().take(ROWS) {
        let kind = match (word, lost) {
            (None, _) => format!(
                "prefetch of {}, beside {}",
                map.line(line),
                map.line(line ^ 1)
            ),
            (Some(word), Some(lost)) if word == lost => "true sharing".to_owned(),
            (Some(_), Some(_)) => "false sharing in the line".to_owned(),
            (Some(_), None) => "unused there".to_owned(),
        };
        let name = |word: Option<u8>, none: &str| match word {
            Some(word) => map.word(line, word),
            None => none.to_owned(),
        };
        let kept = if invalidated {
            ""
        } else {
            ", kept for reading"
        };
        table.row([
            format!("  {}", name(word, "(pair)")),
            name(lost, "-"),
            format!("{:.3}", per_fault(count)),
            format!("{:.0} %", 100.0 * far as f64 / count as f64),
            kind + kept,
        ]);
    }
    format!("{waits}\n{table}")
}
