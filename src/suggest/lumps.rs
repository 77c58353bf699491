//! The members of a struct as a search may move them: each alone, or as a lump that keeps together.
//!
//! Here: what has to move as one, its alignment, and the bytes that a case lists no member in. Not
//! here: in which order lumps lie (`order`).

use crate::case::{Case, CaseField, CaseLayout, ObjectOf, Part, Place, Step};
use crate::error::{Error, Result};
use crate::program::steps::lower::each;
use crate::space::LINE;
use std::collections::{BTreeMap, BTreeSet};

/// Members that keep their places relative to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lump {
    /// Its fields, with offsets from its first byte; none where the case lists no member.
    pub fields: Vec<CaseField>,
    /// Bytes of it.
    pub bytes: usize,
    /// Its first byte lies at `phase` modulo this.
    pub align: usize,
    /// See above.
    pub phase: usize,
    /// Where it lies in the baseline: in the struct, at this offset; none for one from a part.
    pub from: Option<usize>,
    /// Whether it begins on a line because it was asked to.
    pub on_line: bool,
}

impl Lump {
    /// Whether it stands for bytes that the case lists no member in.
    pub fn is_unlisted(&self) -> bool {
        self.fields.is_empty()
    }

    /// Its fields that are in no other field.
    pub fn outermost(&self) -> impl Iterator<Item = &CaseField> {
        self.fields.iter().filter(|field| {
            let dots = field.name.match_indices('.');
            let mut outer = dots.map(|(at, _)| &field.name[..at]);
            !outer.any(|outer| self.fields.iter().any(|field| field.name == outer))
        })
    }
}

/// What roles do with a lump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing.
    Cold,
    /// They read it.
    Read,
    /// They write it, or lock it.
    Written,
}

/// Most lumps of a struct that is searched.
const MOST: usize = 512;
/// Unlisted bytes of one hole are taken for so many members, and one more for the rest.
const MOST_IN_HOLE: usize = 32;

/// A struct cut into lumps.
#[derive(Clone, Debug)]
pub struct Lumps {
    /// In the order of the baseline; those from parts behind.
    pub all: Vec<Lump>,
    /// The parts that stay objects of their own.
    pub parts: Vec<Part>,
    /// Names of the parts whose fields are in the struct here.
    pub dissolved: Vec<String>,
    /// Pointers to those parts, which nothing needs any more.
    pub dropped: Vec<String>,
}

/// Bytes that keep together.
struct Span {
    from: usize,
    to: usize,
}

impl Lumps {
    /// Cut `layout`, with the fields of the parts `dissolved` (by number) in the struct, and the
    /// fields `keep` left as they are relative to each other.
    pub fn of(
        case: &Case,
        layout: &CaseLayout,
        dissolved: &[usize],
        keep: &[String],
    ) -> Result<Lumps> {
        let dropped = droppable(case, layout, dissolved);
        let kept = kept(layout, &dropped, keep)?;
        let is_dropped = |field: &&CaseField| !dropped.contains(&field.name);
        let own: Vec<&CaseField> = layout.fields.iter().filter(is_dropped).collect();
        let mut spans: Vec<Span> = match &layout.imported {
            Some(imported) => imported
                .members
                .iter()
                .filter(|member| member.depth == 0 && member.bytes > 0)
                .filter(|member| !dropped.contains(&member.name))
                .map(|member| Span {
                    from: member.offset,
                    to: member.offset + member.bytes,
                })
                .collect(),
            None => Vec::new(),
        };
        spans.extend(own.iter().map(|field| Span {
            from: field.offset,
            to: field.end(),
        }));
        spans.extend(kept);
        if layout.imported.is_none() {
            spans.extend(structs(&own));
        }
        // The place of a dropped pointer is free.
        let gone: Vec<Span> = layout
            .fields
            .iter()
            .filter(|field| dropped.contains(&field.name))
            .map(|field| Span {
                from: field.offset,
                to: field.end(),
            })
            .collect();
        let object = Object {
            fields: &own,
            bytes: layout.bytes,
            align: layout.align,
            // An import lists every member.
            complete: layout.imported.is_some(),
        };
        let mut all = object.cut(spans, &gone);
        let mut parts = Vec::new();
        let mut names = Vec::new();
        for (number, part) in layout.parts.iter().enumerate() {
            if !dissolved.contains(&number) {
                parts.push(part.clone());
                continue;
            }
            names.push(part.name.clone());
            let fields: Vec<&CaseField> = part.fields.iter().collect();
            let spans = fields.iter().map(|field| Span {
                from: field.offset,
                to: field.end(),
            });
            let object = Object {
                fields: &fields,
                bytes: part.bytes,
                align: part.align,
                complete: false,
            };
            let mut from_part = object.cut(spans.collect(), &[]);
            from_part.iter_mut().for_each(|lump| lump.from = None);
            all.extend(from_part);
        }
        if all.len() > MOST {
            return Err(Error::Input(format!(
                "case {}, layout '{}': {} members are more than the {MOST} that are searched; \
                 keep some together with --keep",
                case.name,
                layout.name,
                all.len()
            )));
        }
        Ok(Lumps {
            all,
            parts,
            dissolved: names,
            dropped,
        })
    }

    /// The lump that a field is in.
    pub fn lump_of(&self, name: &str) -> Option<usize> {
        let has = |lump: &Lump| lump.fields.iter().any(|field| field.name == name);
        self.all.iter().position(has)
    }

    /// Bytes of all of them, without holes.
    pub fn bytes(&self) -> usize {
        self.all.iter().map(|lump| lump.bytes).sum()
    }

    /// Bytes in which the case lists no member.
    pub fn unlisted(&self) -> usize {
        let unlisted = self.all.iter().filter(|lump| lump.is_unlisted());
        unlisted.map(|lump| lump.bytes).sum()
    }
}

/// An object with everything that is known of its bytes.
struct Object<'a> {
    fields: &'a [&'a CaseField],
    bytes: usize,
    align: usize,
    complete: bool,
}

impl Object<'_> {
    /// Lumps by offset; `gone` bytes are nobody's any more.
    fn cut(&self, mut spans: Vec<Span>, gone: &[Span]) -> Vec<Lump> {
        spans.sort_by_key(|span| (span.from, span.to));
        let mut merged: Vec<Span> = Vec::new();
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.from < last.to => last.to = last.to.max(span.to),
                _ => merged.push(span),
            }
        }
        let mut lumps = Vec::new();
        let mut end = 0;
        for span in &merged {
            let mut lump = self.lump(span);
            let padding = span.from - end;
            let by_line = self.is_line_padding(padding, span.from);
            lump.on_line = by_line && padding > 0;
            let explained = end.next_multiple_of(lump.align.max(1)) == span.from || by_line;
            if !self.complete && !explained {
                unlisted(end, span.from, gone, &mut lumps);
            }
            lumps.push(lump);
            end = span.to;
        }
        let explained = end.next_multiple_of(self.align.max(1)) == self.bytes;
        if !self.complete && !explained {
            unlisted(end, self.bytes, gone, &mut lumps);
        }
        lumps
    }

    /// Whether so many bytes before `at` are there because what follows begins a line.
    fn is_line_padding(&self, padding: usize, at: usize) -> bool {
        self.align >= LINE && padding < LINE && at.is_multiple_of(LINE)
    }

    fn lump(&self, span: &Span) -> Lump {
        let inside = |field: &&&CaseField| span.from <= field.offset && field.end() <= span.to;
        let fields: Vec<CaseField> = self
            .fields
            .iter()
            .filter(inside)
            .map(|field| CaseField {
                offset: field.offset - span.from,
                ..(*field).clone()
            })
            .collect();
        let align = self.fields.iter().filter(inside).map(|f| natural(f)).max();
        // Members that no role names are not listed: their alignment is that of their place.
        let align = align.unwrap_or_else(|| power_in(span.from | (span.to - span.from)));
        Lump {
            fields,
            bytes: span.to - span.from,
            align,
            phase: span.from % align,
            from: Some(span.from),
            on_line: false,
        }
    }
}

/// The largest power of two up to 8 that divides the number.
fn power_in(number: usize) -> usize {
    match number {
        0 => 8,
        number => 1 << number.trailing_zeros().min(3),
    }
}

/// The alignment that a field is taken to need.
fn natural(field: &CaseField) -> usize {
    power_in(field.offset | field.bytes)
}

/// Bytes from `from` to `to` as members of 8 bytes, or less where a hole is cut so.
fn unlisted(from: usize, to: usize, gone: &[Span], lumps: &mut Vec<Lump>) {
    let (mut at, mut count) = (from, 0);
    while at < to {
        if let Some(span) = gone.iter().find(|span| span.from <= at && at < span.to) {
            at = span.to;
            continue;
        }
        let next = gone.iter().map(|span| span.from).find(|from| *from > at);
        let end = to.min(next.unwrap_or(to));
        let stop = match count < MOST_IN_HOLE {
            true => end.min((at / 8 + 1) * 8),
            false => end,
        };
        count += 1;
        let align = power_in(at | (stop - at));
        lumps.push(Lump {
            fields: Vec::new(),
            bytes: stop - at,
            align,
            phase: 0,
            from: Some(at),
            on_line: false,
        });
        at = stop;
    }
}

/// Pointers to the dissolved parts that nothing else needs.
fn droppable(case: &Case, layout: &CaseLayout, dissolved: &[usize]) -> Vec<String> {
    let mut needed: BTreeSet<&str> = BTreeSet::new();
    for (number, part) in layout.parts.iter().enumerate() {
        if !dissolved.contains(&number) {
            needed.insert(&part.via);
        }
    }
    if let Place::Chain { link, .. } = &case.objects.place {
        needed.insert(link);
    }
    for steps in &layout.steps {
        each(steps, &mut |step| {
            needed.extend(named(step).into_iter().filter_map(|field| match field.of {
                ObjectOf::Struct => Some(field.name.as_str()),
                ObjectOf::Companion(_) => None,
            }));
        });
    }
    let parts = layout.parts.iter().enumerate();
    let dissolved = parts.filter(|(number, _)| dissolved.contains(number));
    let mut pointers: Vec<String> = dissolved
        .map(|(_, part)| part.via.clone())
        .filter(|via| !needed.contains(via.as_str()))
        .collect();
    pointers.sort();
    pointers.dedup();
    pointers
}

/// The fields that a step itself names.
pub fn named(step: &Step) -> Vec<&crate::case::FieldRef> {
    match step {
        Step::Read { fields, .. } => fields.iter().collect(),
        Step::Write { field, .. }
        | Step::Rmw(field)
        | Step::Cas { field, .. }
        | Step::Lock { field, .. }
        | Step::Unlock { field, .. }
        | Step::SeqRead { field, .. }
        | Step::SeqWrite { field, .. }
        | Step::Sum(field)
        | Step::Follow { field, .. }
        | Step::Wait(field) => vec![field],
        _ => Vec::new(),
    }
}

/// What structs within the struct take up, as far as dotted names tell: `d_name.len` and
/// `d_name.name` are of one.
fn structs(fields: &[&CaseField]) -> Vec<Span> {
    let mut spans: BTreeMap<&str, Span> = BTreeMap::new();
    for field in fields {
        let Some((outer, _)) = field.name.split_once('.') else {
            continue;
        };
        let (from, to) = (field.offset, field.end());
        let span = spans.entry(outer).or_insert(Span { from, to });
        (span.from, span.to) = (span.from.min(from), span.to.max(to));
    }
    spans.into_values().collect()
}

/// The bytes from the first to the last of the fields that are kept.
fn kept(layout: &CaseLayout, dropped: &[String], keep: &[String]) -> Result<Option<Span>> {
    let mut span: Option<Span> = None;
    for name in keep {
        let own = || {
            let fields = layout.fields.iter();
            fields.filter(|field| !dropped.contains(&field.name))
        };
        let found = own().find(|field| field.name == *name);
        let Some(field) = found else {
            return Err(Error::unknown(
                &format!("field of layout '{}' to keep", layout.name),
                name,
                own().map(|field| field.name.as_str()),
            ));
        };
        let old = span.unwrap_or(Span {
            from: field.offset,
            to: field.end(),
        });
        span = Some(Span {
            from: old.from.min(field.offset),
            to: old.to.max(field.end()),
        });
    }
    Ok(span)
}
