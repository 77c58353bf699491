//! The simulator's explanation for people: per field and line, who took it from whom, and what
//! it cost a fault.
//!
//! Not here: the tallies (`sim::explain`).

use crate::program::fault::vma::{Field, mm, rwsem};
use crate::program::fault::world::{Object, World};
use crate::sim::explain::Ledger;
use crate::space::LINE;
use crate::space::memory::Addr;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Rows of each table at most: what costs less than these costs little.
const ROWS: usize = 16;

/// Names for the words of a world.
pub struct Names<'w> {
    world: &'w World,
}

impl<'w> Names<'w> {
    /// Of `world`.
    pub fn of(world: &'w World) -> Names<'w> {
        Names { world }
    }

    /// The word `word` (of 4 bytes) of line `line`, as `vma 1 vm_refcnt`.
    pub fn word(&self, line: u32, word: Option<u8>) -> String {
        let at = self.world.arena().base().at(line as usize * LINE);
        match word {
            Some(word) => self.at(at.at(4 * word as usize)),
            None => format!("line of {}", self.at(at)),
        }
    }

    /// The objects that have bytes in line `line`, as `vma 1 [128..192)`.
    pub fn line(&self, line: u32) -> String {
        let start = self.world.arena().base().at(line as usize * LINE);
        let end = start.at(LINE);
        let inside: Vec<String> = self
            .world
            .objects()
            .iter()
            .filter(|placed| placed.start < end && placed.start.at(placed.bytes) > start)
            .map(|placed| {
                let from = start.0.saturating_sub(placed.start.0);
                let to = (end.0 - placed.start.0).min(placed.bytes as u64);
                format!("{} [{from}..{to})", object(placed.object))
            })
            .collect();
        inside.join(" + ")
    }

    fn at(&self, at: Addr) -> String {
        let objects = self.world.objects();
        let after = objects.partition_point(|placed| placed.start <= at);
        let Some(placed) = after.checked_sub(1).map(|i| objects[i]) else {
            return format!("{at:?}");
        };
        let offset = (at.0 - placed.start.0) as usize;
        let part = match placed.object {
            Object::Vma(_) => match self.world.table().field_at(offset) {
                Some(Field::rwsem) => {
                    let start = self.world.table().offset(Field::rwsem);
                    rwsem_word(offset - start)
                }
                Some(field) => field.name(),
                None => "(hole)".to_owned(),
            },
            Object::Lock(_) => rwsem_word(offset),
            Object::Mm => match offset {
                mm::MA_ROOT => "ma_root".to_owned(),
                mm::MM_LOCK_SEQ => "mm_lock_seq".to_owned(),
                mm::MAP_COUNT => "map_count".to_owned(),
                lock if (mm::MMAP_LOCK..mm::MMAP_LOCK + rwsem::BYTES).contains(&lock) => {
                    format!("mmap_lock {}", rwsem_word(lock - mm::MMAP_LOCK))
                }
                other => format!("+{other}"),
            },
            _ => format!("+{offset}"),
        };
        format!("{} {part}", object(placed.object))
    }
}

fn rwsem_word(offset: usize) -> String {
    match offset {
        rwsem::COUNT => "count".to_owned(),
        rwsem::OWNER => "owner".to_owned(),
        other => format!("rwsem+{other}"),
    }
}

fn object(object: Object) -> String {
    match object {
        Object::Mm => "mm".to_owned(),
        Object::Node => "node".to_owned(),
        Object::Vma(slot) => format!("vma {slot}"),
        Object::Lock(slot) => format!("lock {slot}"),
        Object::PerThread(thread) => format!("thread {thread}"),
        Object::Page(thread) => format!("page {thread}"),
    }
}

/// The explanation of one sample: what each word was waited for, and who took its line.
pub fn explain(ledger: &Ledger, world: &World, faults: u64) -> String {
    let names = Names::of(world);
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
            names.word(*line, *word),
            per_fault(asked.requests),
            asked.waited as f64 / 1000.0 / faults as f64,
            asked.waited_after_prefetch as f64 / 1000.0 / faults as f64,
            names.line(*line)
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
                Some(_) => names.word(line, word),
                None => format!("(pair) {}", names.line(line ^ 1)),
            },
            lost.map_or_else(|| names.line(line), |_| names.word(line, lost)),
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
