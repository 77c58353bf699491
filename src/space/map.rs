//! What lies at an address: the objects that a program has laid out, and their fields by name.
//!
//! The one place that names addresses: explanation, timeline, address map and reports ask here.
//! Not here: who lays the objects out (`program`).

use super::LINE;
use super::memory::Addr;
use std::borrow::Cow;

/// The name of what lies between fields.
pub const HOLE: &str = "(hole)";

/// A field of an object: a word, or an array of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its name, dotted where it is a part of a larger one: `mmap_lock.count`.
    pub name: Cow<'static, str>,
    /// Bytes from the start of the object.
    pub offset: usize,
    /// Bytes it takes, of all elements together.
    pub bytes: usize,
    /// Bytes of an element; the same as `bytes` unless it is an array.
    pub element: usize,
}

impl Span {
    /// A field that is no array.
    pub const fn word(name: &'static str, offset: usize, bytes: usize) -> Span {
        Span::array(name, offset, bytes, 1)
    }

    /// An array of `count` elements of `element` bytes.
    pub const fn array(name: &'static str, offset: usize, element: usize, count: usize) -> Span {
        Span {
            name: Cow::Borrowed(name),
            offset,
            bytes: element * count,
            element,
        }
    }

    /// The same as a part of the field `outer`, which starts at `offset`.
    pub fn within(self, outer: &str, offset: usize) -> Span {
        Span {
            name: format!("{outer}.{}", self.name).into(),
            offset: offset + self.offset,
            ..self
        }
    }
}

/// An object with its place.
#[derive(Clone, Debug)]
pub struct Object {
    /// What it is: `vma`, `lock`, `mm`, …
    pub name: Cow<'static, str>,
    /// Which of several: a slab slot, the number of a thread.
    pub index: Option<usize>,
    /// First byte.
    pub start: Addr,
    /// Bytes, without the padding behind it.
    pub bytes: usize,
    /// Its fields by offset; empty where it has none to tell apart.
    pub fields: Vec<Span>,
}

impl Object {
    /// `vma 1`, `mm`.
    pub fn title(&self) -> String {
        match self.index {
            Some(index) => format!("{} {index}", self.name),
            None => self.name.to_string(),
        }
    }

    /// The field that the byte at `offset` belongs to; `None` in a hole.
    pub fn field_at(&self, offset: usize) -> Option<&Span> {
        let after = self.fields.partition_point(|field| field.offset <= offset);
        let field = &self.fields[after.checked_sub(1)?];
        (offset < field.offset + field.bytes).then_some(field)
    }

    /// The name of the byte at `offset`: `vm_refcnt`, `pivot[3]`, `(hole)`, or `+16` where the
    /// object has no fields.
    fn part(&self, offset: usize) -> String {
        match self.field_at(offset) {
            Some(field) if field.element < field.bytes => {
                format!(
                    "{}[{}]",
                    field.name,
                    (offset - field.offset) / field.element
                )
            }
            Some(field) => field.name.to_string(),
            None if self.fields.is_empty() => format!("+{offset}"),
            None => HOLE.to_owned(),
        }
    }

    /// Its fields and the holes between them as `(name, offset, bytes)`, so that every byte is in
    /// one of them; one piece without a name where it has no fields.
    pub fn pieces(&self) -> Vec<(&str, usize, usize)> {
        let hole = if self.fields.is_empty() { "" } else { HOLE };
        let mut pieces = Vec::new();
        let mut end = 0;
        for field in &self.fields {
            if field.offset > end {
                pieces.push((hole, end, field.offset - end));
            }
            pieces.push((&*field.name, field.offset, field.bytes));
            end = field.offset + field.bytes;
        }
        if self.bytes > end {
            pieces.push((hole, end, self.bytes - end));
        }
        pieces
    }
}

/// All objects of a program, none of which overlap.
#[derive(Clone, Debug)]
pub struct Map {
    base: Addr,
    objects: Vec<Object>,
}

impl Map {
    /// Of `objects` in an arena that begins at `base`.
    pub fn new(base: Addr, mut objects: Vec<Object>) -> Map {
        objects.sort_by_key(|object| object.start);
        Map { base, objects }
    }

    /// The objects, by address.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The object at `at`, padding behind it included, and the offset into it.
    pub fn at(&self, at: Addr) -> Option<(&Object, usize)> {
        let after = self.objects.partition_point(|object| object.start <= at);
        let object = &self.objects[after.checked_sub(1)?];
        Some((object, (at.0 - object.start.0) as usize))
    }

    /// The name of what lies at `at`: `vma 1 vm_refcnt`, `mm mmap_lock.count`.
    pub fn name(&self, at: Addr) -> String {
        match self.at(at) {
            Some((object, offset)) => format!("{} {}", object.title(), object.part(offset)),
            None => format!("{at:?}"),
        }
    }

    /// The name of the 4-byte word `word` of line `line` of the arena.
    pub fn word(&self, line: u32, word: u8) -> String {
        self.name(self.start_of(line).at(4 * usize::from(word)))
    }

    /// The objects that have bytes in line `line` of the arena: `vma 1 [128..192)`.
    pub fn line(&self, line: u32) -> String {
        let start = self.start_of(line);
        let end = start.at(LINE);
        let inside: Vec<String> = self
            .objects
            .iter()
            .filter(|object| object.start < end && object.start.at(object.bytes) > start)
            .map(|object| {
                let from = start.0.saturating_sub(object.start.0);
                let to = (end.0 - object.start.0).min(object.bytes as u64);
                format!("{} [{from}..{to})", object.title())
            })
            .collect();
        inside.join(" + ")
    }

    fn start_of(&self, line: u32) -> Addr {
        self.base.at(line as usize * LINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_name() {
        let fields = vec![
            Span::word("count", 0, 8).within("lock", 0),
            Span::array("slot", 16, 8, 2),
        ];
        let vma = Object {
            name: "vma".into(),
            index: Some(3),
            start: Addr(4096),
            bytes: 40,
            fields,
        };
        let page = Object {
            name: "page".into(),
            index: None,
            start: Addr(8192),
            bytes: 4096,
            fields: Vec::new(),
        };
        let map = Map::new(Addr(4096), vec![page, vma]);
        let names = [4096, 4105, 4112 + 8, 4130, 8200].map(|at| map.name(Addr(at)));
        let expected = [
            "vma 3 lock.count",
            "vma 3 (hole)",
            "vma 3 slot[1]",
            "vma 3 (hole)",
            "page +8",
        ];
        assert_eq!(names, expected);
        assert_eq!(map.name(Addr(1)), "0x1");
        assert_eq!(map.line(0), "vma 3 [0..40)");
        assert_eq!(map.word(0, 4), "vma 3 slot[0]");
        let pieces: Vec<_> = map.objects()[0].pieces();
        assert_eq!(pieces.iter().map(|(_, _, bytes)| bytes).sum::<usize>(), 40);
    }
}
