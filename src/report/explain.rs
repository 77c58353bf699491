//! The simulator's explanation for people: per field and line, who took it from whom, and what
//! it cost a fault.
//!
//! Not here: the tallies (`sim::explain`).

use crate::sim::explain::Ledger;
use crate::space::map::Map;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Rows of each table at most: what costs less than these costs little.
const ROWS: usize = 16;

/// The explanation of one sample: what each word was waited for, and who took its line.
pub fn explain(ledger: &Ledger, map: &Map, faults: u64) -> String {
    let name_of = |line: u32, word: Option<u8>| match word {
        Some(word) => map.word(line, word),
        None => map.line(line),
    };
    let per_fault = |count: u64| count as f64 / faults as f64;
    let mut text = String::new();
    let mut asked: Vec<_> = ledger
        .asked
        .iter()
        .filter(|((_, word), _)| word.is_some())
        .collect();
    asked.sort_by_key(|(key, asked)| (std::cmp::Reverse(asked.waited), **key));
    let _ = writeln!(
        text,
        "  {:<28} {:>9} {:>11} {:>16}   in line",
        "waited for", "times", "ns a fault", "after a prefetch"
    );
    for ((line, word), asked) in asked.into_iter().take(ROWS) {
        let _ = writeln!(
            text,
            "  {:<28} {:>9.3} {:>11.2} {:>13.2} ns   {}",
            name_of(*line, *word),
            per_fault(asked.requests),
            asked.waited as f64 / 1000.0 / faults as f64,
            asked.waited_after_prefetch as f64 / 1000.0 / faults as f64,
            map.line(*line)
        );
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
        if taking.distance == crate::machine::Distance::OtherPackage {
            sums.1 += count;
        }
    }
    let mut takings: Vec<_> = takings.into_iter().collect();
    takings.sort_by_key(|(key, (count, _))| (std::cmp::Reverse(*count), *key));
    let _ = writeln!(
        text,
        "\n  {:<28} {:<28} {:>9} {:>13}   kind",
        "taken by an access to", "from a core that had used", "a fault", "other socket"
    );
    for ((line, word, lost, invalidated), (count, far)) in takings.into_iter().take(ROWS) {
        let kind = match (word, lost) {
            (None, _) => "prefetch within the pair",
            (Some(word), Some(lost)) if word == lost => "true sharing",
            (Some(_), Some(_)) => "false sharing in the line",
            (Some(_), None) => "unused there",
        };
        let _ = writeln!(
            text,
            "  {:<28} {:<28} {:>9.3} {:>11.0} %   {kind}{}",
            match word {
                Some(asked) => map.word(line, asked),
                None => format!("(pair) {}", map.line(line ^ 1)),
            },
            name_of(line, lost),
            per_fault(count),
            100.0 * far as f64 / count as f64,
            if invalidated {
                ""
            } else {
                ", kept for reading"
            }
        );
    }
    text
}
