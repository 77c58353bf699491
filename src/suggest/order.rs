//! An order of lumps, as a C compiler would lay it out: one behind the other, some on lines of
//! their own.

use super::lumps::{Lump, Lumps};
use crate::case::{Case, CaseField, CaseLayout};
use crate::space::LINE;

/// Lumps in an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Each lump by number, and whether it begins a line.
    pub sequence: Vec<(usize, bool)>,
    /// Alignment of the struct in bytes.
    pub align: usize,
}

/// Where an order puts every lump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Offset of each lump, by number.
    pub offsets: Vec<usize>,
    /// Bytes of the struct.
    pub bytes: usize,
}

impl Order {
    /// That of the baseline, with what comes from parts behind.
    pub fn of_baseline(lumps: &Lumps, align: usize) -> Order {
        let all = lumps.all.iter().enumerate();
        Order {
            sequence: all.map(|(n, lump)| (n, lump.on_line)).collect(),
            align,
        }
    }

    /// Where everything lies.
    pub fn pack(&self, lumps: &Lumps) -> Packed {
        let mut offsets = vec![0; lumps.all.len()];
        let mut end = 0;
        for (number, on_line) in &self.sequence {
            let lump = &lumps.all[*number];
            let at = place(lump, end, *on_line);
            offsets[*number] = at;
            end = at + lump.bytes;
        }
        let lines = self.sequence.iter().any(|(_, on_line)| *on_line);
        let align = if lines {
            self.align.max(LINE)
        } else {
            self.align
        };
        Packed {
            offsets,
            bytes: end.next_multiple_of(align.max(1)).max(1),
        }
    }

    /// The same with cold lumps from further behind in its holes, the last ones first and those of
    /// unlisted bytes before others.
    pub fn filled(&self, lumps: &Lumps, is_cold: &[bool]) -> Order {
        let mut order = self.clone();
        let mut end = 0;
        let mut at = 0;
        while at < order.sequence.len() {
            let (number, on_line) = order.sequence[at];
            let lump = &lumps.all[number];
            let start = place(lump, end, on_line);
            if start > end {
                // Those that leave no crumbs first, then those of unlisted bytes.
                let rank = |k: usize| {
                    let (other, _) = order.sequence[k];
                    let cold = &lumps.all[other];
                    let from = place(cold, end, false);
                    let to = from + cold.bytes;
                    let crumbs = from > end || to < start && !to.is_multiple_of(8);
                    let fits = is_cold[other] && to <= start;
                    fits.then_some((crumbs, !cold.is_unlisted()))
                };
                let behind = (at + 1..order.sequence.len()).rev();
                let ranked = behind.filter_map(|k| Some((rank(k)?, k)));
                let found = ranked.min_by_key(|(rank, _)| *rank).map(|(_, k)| k);
                if let Some(k) = found {
                    let (cold, was_on_line) = order.sequence.remove(k);
                    // What came behind a lump that began a line begins it now.
                    if let (true, Some(next)) = (was_on_line, order.sequence.get_mut(k)) {
                        next.1 = true;
                    }
                    order.sequence.insert(at, (cold, false));
                    end = place(&lumps.all[cold], end, false) + lumps.all[cold].bytes;
                    at += 1;
                    continue;
                }
            }
            end = start + lump.bytes;
            at += 1;
        }
        order
    }

    /// Lumps of the struct that no longer come in the order of the baseline: the fewest that would
    /// have to be moved to get from one to the other.
    pub fn moved(&self) -> Vec<usize> {
        // The longest run of ascending numbers stays: `ends` has, for each length, where the run of
        // that length with the lowest end ends.
        let numbers: Vec<usize> = self.sequence.iter().map(|(number, _)| *number).collect();
        let mut ends: Vec<usize> = Vec::new();
        let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
        for (i, number) in numbers.iter().enumerate() {
            let length = ends.partition_point(|end| numbers[*end] < *number);
            before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
            match ends.get_mut(length) {
                Some(end) => *end = i,
                None => ends.push(i),
            }
        }
        let mut stays = vec![false; numbers.len()];
        let mut next = ends.last().copied();
        while let Some(i) = next {
            stays[i] = true;
            next = before[i];
        }
        let moved = numbers.iter().zip(&stays).filter(|(_, stays)| !**stays);
        moved.map(|(number, _)| *number).collect()
    }

    /// As a layout of the case: `of` with everything where this order puts it.
    pub fn layout(&self, lumps: &Lumps, of: &CaseLayout, name: &str) -> CaseLayout {
        let packed = self.pack(lumps);
        let mut fields: Vec<CaseField> = Vec::new();
        for (lump, offset) in lumps.all.iter().zip(&packed.offsets) {
            fields.extend(lump.fields.iter().map(|field| CaseField {
                offset: offset + field.offset,
                ..field.clone()
            }));
        }
        fields.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
        let lines = self.sequence.iter().any(|(_, on_line)| *on_line);
        CaseLayout {
            name: name.to_owned(),
            bytes: packed.bytes,
            align: if lines {
                self.align.max(LINE)
            } else {
                self.align
            },
            fields,
            parts: lumps.parts.clone(),
            imported: None,
            steps: of.steps.clone(),
        }
    }
}

/// Bytes that an object takes, with its parts.
pub fn footprint(case: &Case, layout: &CaseLayout) -> usize {
    let own = case.objects.enclosing_bytes.unwrap_or(layout.bytes);
    let parts = layout.parts.iter();
    let parts = parts.map(|part| part.bytes.next_multiple_of(part.align.max(8)));
    own.next_multiple_of(layout.align.max(1)) + parts.sum::<usize>()
}

/// The first place from `end` on where a lump may begin.
fn place(lump: &Lump, end: usize, on_line: bool) -> usize {
    let least = match on_line {
        true => end.next_multiple_of(LINE),
        false => end,
    };
    let align = lump.align.max(1);
    let behind = (lump.phase + align - least % align) % align;
    least + behind
}
