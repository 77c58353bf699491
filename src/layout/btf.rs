//! BTF, the type data that a kernel carries of itself, of vmlinux and of its modules.
//!
//! Format: the kernel's `Documentation/bpf/btf.rst`; both byte orders, kinds 1 to 19. Sizes and
//! offsets are exact. Alignment is not recorded: it is what the members need, so a struct that its
//! declaration aligns further, as with `____cacheline_aligned`, is aligned better than is said.

use super::expand;
use super::struct_layout::StructLayout;
use super::types::{Composite, DEEPEST, MOST_TEXT, Name, Part, Type, Types, natural};
use crate::error::{Error, Result, say};

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// Parameters of a function that are decoded; they only stand in names of types.
const MOST_PARAMETERS: usize = 32;
/// Bytes of a name at most, its end included.
const LONGEST_NAME: usize = 4096;
/// Names longer than this are not suggested.
const LONGEST_SUGGESTED: usize = 128;

/// The types of one BTF file, over those of its base where it is split.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    big_endian: bool,
    /// Where each type begins in `types`.
    starts: Vec<u32>,
    /// The id of the first of them; id 0 is void.
    first: u32,
    /// Length of all strings before these.
    strings_before: u32,
    base: Option<&'a Btf<'a>>,
    pointer_bytes: u64,
}

/// What every type begins with.
#[derive(Clone, Copy)]
struct Head {
    name: u32,
    kind: u32,
    flag: bool,
    count: usize,
    /// A size or a type, by kind.
    word: u32,
    /// Where what follows begins.
    rest: usize,
}

fn damaged(what: String) -> Error {
    Error::Input(format!("{what}: not BTF, or cut short or damaged"))
}

impl<'a> Btf<'a> {
    /// The types of a whole BTF file. Split BTF, as a kernel module's, needs the `base` that it was
    /// made against: that of the kernel.
    pub fn parse(bytes: &'a [u8], base: Option<&'a Btf<'a>>) -> Result<Btf<'a>> {
        let big_endian = match bytes.first_chunk().copied().map(u16::from_be_bytes) {
            Some(MAGIC) => true,
            Some(other) if other.swap_bytes() == MAGIC => false,
            _ => return Err(damaged("it does not begin with the mark 0xeb9f".to_owned())),
        };
        let mut btf = Btf {
            types: &[],
            strings: &[],
            big_endian,
            starts: Vec::new(),
            first: base.map_or(1, Btf::end),
            strings_before: base.map_or(0, |base| base.strings_before + base.strings.len() as u32),
            base,
            pointer_bytes: base.map_or(8, |base| base.pointer_bytes),
        };
        let header = |at| btf.word(bytes, at);
        if bytes.get(2) != Some(&1) {
            return Err(damaged("at byte 2: a version other than 1".to_owned()));
        }
        let header_bytes = header(4)? as usize;
        if header_bytes < HEADER {
            return Err(damaged(format!(
                "at byte 4: a header of {header_bytes} bytes"
            )));
        }
        let section = |at| {
            let (offset, length) = (header(at)? as usize, header(at + 4)? as usize);
            let section = bytes.get(header_bytes..).and_then(|all| all.get(offset..));
            section.and_then(|all| all.get(..length)).ok_or_else(|| {
                damaged(format!(
                    "at byte {at}: a section of {length} bytes at {offset} in a file of {}",
                    bytes.len()
                ))
            })
        };
        let (types, strings) = (section(8)?, section(16)?);
        (btf.types, btf.strings) = (types, strings);
        if base.is_none() && strings.first() != Some(&0) {
            return Err(Error::Input(
                "its strings do not begin with the empty one: is this split BTF, of a kernel module? Give the BTF of its kernel with --btf-base".to_owned(),
            ));
        }
        if base.is_some_and(|base| base.big_endian != big_endian) {
            return Err(Error::Input(
                "its byte order is not that of its base: is the base the BTF of another machine?"
                    .to_owned(),
            ));
        }
        btf.index(header_bytes)?;
        Ok(btf)
    }

    /// Find where every type begins, and how large pointers are: as large as a `long`.
    fn index(&mut self, before: usize) -> Result<()> {
        let mut at = 0;
        while at < self.types.len() {
            self.starts.push(at as u32);
            let head = self.head_at(at)?;
            let rest = match head.kind {
                INT | VAR | DECL_TAG => 4,
                ARRAY => 12,
                STRUCT | UNION | DATASEC | ENUM64 => 12 * head.count,
                ENUM | FUNC_PROTO => 8 * head.count,
                PTR | FWD..=FUNC | FLOAT | TYPE_TAG => 0,
                kind => {
                    let at = before + at;
                    return Err(damaged(format!(
                        "at byte {at}: a type of kind {kind}, where 1 to 19 are known"
                    )));
                }
            };
            if head.kind == INT
                && matches!(
                    self.name(head)?,
                    "long int" | "long" | "long unsigned int" | "unsigned long"
                )
            {
                self.pointer_bytes = u64::from(head.word).clamp(4, 8);
            }
            at = head.rest + rest;
        }
        match at == self.types.len() {
            true => Ok(()),
            false => Err(damaged("its last type is cut off".to_owned())),
        }
    }

    /// The id after the last one.
    fn end(&self) -> u32 {
        self.first + self.starts.len() as u32
    }

    fn word(&self, bytes: &[u8], at: usize) -> Result<u32> {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
        match word {
            Some(word) if self.big_endian => Ok(u32::from_be_bytes(*word)),
            Some(word) => Ok(u32::from_le_bytes(*word)),
            None => Err(damaged(format!(
                "it ends before byte {at} of its header or its types"
            ))),
        }
    }

    /// A word of the types.
    fn at(&self, at: usize) -> Result<u32> {
        self.word(self.types, at)
    }

    fn head_at(&self, at: usize) -> Result<Head> {
        let info = self.at(at + 4)?;
        Ok(Head {
            name: self.at(at)?,
            kind: (info >> 24) & 0x1f,
            flag: info >> 31 == 1,
            count: (info & 0xffff) as usize,
            word: self.at(at + 8)?,
            rest: at + 12,
        })
    }

    /// The BTF that has the type `id`, and its head.
    fn head(&self, id: u32) -> Result<(&Btf<'a>, Head)> {
        let mut btf = self;
        while let (true, Some(base)) = (id < btf.first, btf.base) {
            btf = base;
        }
        let start = id
            .checked_sub(btf.first)
            .and_then(|n| btf.starts.get(n as usize));
        match start {
            Some(start) => Ok((btf, btf.head_at(*start as usize)?)),
            None => Err(damaged(format!(
                "type {id} is not there (the last one is {})",
                self.end() - 1
            ))),
        }
    }

    /// The text at an offset of the strings of this and its base.
    fn text(&self, offset: u32) -> Result<&'a str> {
        let mut btf = self;
        while let (true, Some(base)) = (offset < btf.strings_before, btf.base) {
            btf = base;
        }
        let from = offset.saturating_sub(btf.strings_before) as usize;
        let rest = btf.strings.get(from..).unwrap_or_default();
        let rest = &rest[..rest.len().min(LONGEST_NAME)];
        let end = rest.iter().position(|byte| *byte == 0);
        let text = end.and_then(|end| std::str::from_utf8(&rest[..end]).ok());
        text.ok_or_else(|| damaged(format!("there is no text at {offset} of its strings")))
    }

    fn name(&self, head: Head) -> Result<&'a str> {
        self.text(head.name)
    }

    /// Every struct and union that has a name, and its size, in the order of the file; those of a
    /// base are not among them.
    pub fn structs(&self) -> impl Iterator<Item = (&'a str, u64)> {
        self.named(&[STRUCT, UNION])
            .map(|(_, head, name)| (name, u64::from(head.word)))
    }

    fn named(&self, kinds: &'static [u32]) -> impl Iterator<Item = (u32, Head, &'a str)> {
        (self.first..)
            .zip(&self.starts)
            .filter_map(move |(id, start)| {
                let head = self.head_at(*start as usize).ok()?;
                if !kinds.contains(&head.kind) {
                    return None;
                }
                let name = self.name(head).ok().filter(|name| !name.is_empty())?;
                Some((id, head, name))
            })
    }

    /// The ids that `name` has: those of structs, else of unions, else of typedefs; of this file,
    /// else of its base.
    fn ids(&self, name: &str) -> Vec<u32> {
        let of_kind = |kind: &'static [u32]| -> Vec<u32> {
            let same = self.named(kind).filter(|(_, _, other)| *other == name);
            same.map(|(id, _, _)| id).collect()
        };
        let kinds: [&'static [u32]; 3] = [&[STRUCT], &[UNION], &[TYPEDEF]];
        let found = kinds.into_iter().map(of_kind).find(|ids| !ids.is_empty());
        match (found, self.base) {
            (Some(ids), _) => ids,
            (None, Some(base)) => base.ids(name),
            (None, None) => Vec::new(),
        }
    }

    /// Whether there is a struct or union of that name.
    pub fn has(&self, name: &str) -> bool {
        !self.ids(name).is_empty()
    }

    /// The layout of the struct (or union, or typedef of one) `name`; `source` says of which file.
    /// Of several structs of one name it is the first, and it is said where others differ.
    pub fn struct_layout(&self, name: &str, source: &str) -> Result<StructLayout> {
        let name = bare(name);
        let ids = self.ids(name);
        let Some((first, others)) = ids.split_first() else {
            return Err(self.unknown(name));
        };
        let layout = expand::layout(self, *first, name, source)?;
        let differs = |id: &&u32| {
            // A handful is looked at: each costs as much as the first.
            expand::layout(self, **id, name, source).is_ok_and(|other| other != layout)
        };
        let differing = others.iter().take(8).filter(differs).count();
        if differing > 0 {
            say(format_args!(
                "{source} has {} structs '{name}' and {differing} of them differ from the first, which is used",
                ids.len()
            ));
        }
        Ok(layout)
    }

    /// The layouts of all structs and unions that have a name, in the order of the file.
    pub fn layouts(&self, source: &str) -> impl Iterator<Item = Result<StructLayout>> {
        self.named(&[STRUCT, UNION])
            .map(move |(id, _, name)| expand::layout(self, id, name, source))
    }

    fn unknown(&self, name: &str) -> Error {
        let mut names: Vec<&str> = Vec::new();
        let mut btf = Some(self);
        while let Some(one) = btf {
            names.extend(one.structs().map(|(name, _)| name));
            btf = one.base;
        }
        names.retain(|name| name.len() <= LONGEST_SUGGESTED);
        names.sort_unstable();
        names.dedup();
        Error::unknown("struct", name, names)
    }

    /// The type that a struct's member, or anything but void, must have.
    fn some(id: u32) -> Option<u32> {
        (id != 0).then_some(id)
    }

    /// How many bits of its bytes an int has, and where they begin: how bit-fields were written
    /// before members could say so themselves.
    fn int_bits(&self, id: u32) -> Result<Option<(u64, u64)>> {
        let mut id = id;
        for _ in 0..DEEPEST {
            if id == 0 {
                break;
            }
            let (btf, head) = self.head(id)?;
            match head.kind {
                TYPEDEF | CONST | VOLATILE | RESTRICT | TYPE_TAG if head.word != 0 => {
                    id = head.word
                }
                INT => {
                    let encoding = btf.at(head.rest)?;
                    let (bits, first) = (encoding & 0xff, (encoding >> 16) & 0xff);
                    let all = u64::from(head.word) * 8;
                    let part = bits != 0 && u64::from(bits) < all;
                    return Ok(part.then_some((bits.into(), first.into())));
                }
                _ => break,
            }
        }
        Ok(None)
    }
}

/// The name without the keyword that C writes before it.
fn bare(name: &str) -> &str {
    let name = name.trim();
    let rest = name
        .strip_prefix("struct ")
        .or_else(|| name.strip_prefix("union "));
    rest.unwrap_or(name).trim_start()
}

impl Types for Btf<'_> {
    type Id = u32;

    fn get(&self, id: u32) -> Result<Type<u32>> {
        if id == 0 {
            let (name, to) = (Name::Qualifier(""), None);
            return Ok(Type::Alias { name, to });
        }
        let (btf, head) = self.head(id)?;
        let name = || btf.name(head);
        let after = |keyword: &str| match name()? {
            "" => Ok(String::new()),
            name => Ok::<_, Error>(format!("{keyword} {name}")),
        };
        let alias = |name| Type::Alias {
            name,
            to: Btf::some(head.word),
        };
        Ok(match head.kind {
            INT | FLOAT => Type::Scalar {
                name: name()?.to_owned(),
                bytes: head.word.into(),
                align: natural(head.word.into()),
            },
            ENUM | ENUM64 => Type::Scalar {
                name: match after("enum")? {
                    name if name.is_empty() => "enum".to_owned(),
                    name => name,
                },
                bytes: head.word.into(),
                align: natural(head.word.into()),
            },
            PTR => Type::Pointer {
                to: Btf::some(head.word),
                bytes: self.pointer_bytes,
                mark: "*",
            },
            ARRAY => Type::Array {
                element: btf.at(head.rest)?,
                count: btf.at(head.rest + 8)?.into(),
            },
            STRUCT | UNION => Type::Composite(Composite {
                name: after(if head.kind == UNION {
                    "union"
                } else {
                    "struct"
                })?,
                union: head.kind == UNION,
                bytes: head.word.into(),
                align: None,
            }),
            FWD => Type::Incomplete {
                name: after(if head.flag { "union" } else { "struct" })?,
            },
            TYPEDEF => alias(Name::Typedef(name()?.to_owned())),
            VOLATILE => alias(Name::Qualifier("volatile")),
            CONST => alias(Name::Qualifier("const")),
            RESTRICT => alias(Name::Qualifier("restrict")),
            TYPE_TAG | FUNC => alias(Name::Qualifier("")),
            FUNC_PROTO => {
                let count = head.count.min(MOST_PARAMETERS);
                let mut parameters = (0..count)
                    .map(|n| btf.at(head.rest + 8 * n + 4).map(Btf::some))
                    .collect::<Result<Vec<_>>>()?;
                // A last parameter of no type is "...".
                let variadic = parameters.last() == Some(&None);
                if variadic {
                    parameters.pop();
                }
                Type::Function {
                    returns: Btf::some(head.word),
                    parameters,
                    more: variadic || count < head.count,
                }
            }
            kind => {
                return Err(damaged(format!(
                    "type {id}, of kind {kind}, is used as the type of something"
                )));
            }
        })
    }

    fn parts(&self, id: u32) -> Result<Vec<Part<u32>>> {
        let (btf, head) = self.head(id)?;
        let (mut parts, mut text) = (Vec::with_capacity(head.count), 0);
        for n in 0..head.count {
            let at = head.rest + 12 * n;
            let (of, place) = (btf.at(at + 4)?, btf.at(at + 8)?);
            let (mut bit, mut bits) = (u64::from(place), None);
            if head.flag {
                bit = u64::from(place & 0xff_ffff);
                bits = Some(u64::from(place >> 24)).filter(|bits| *bits != 0);
            } else if let Some((count, first)) = self.int_bits(of)? {
                bit += first;
                bits = Some(count);
            }
            let name = btf.text(btf.at(at)?)?;
            text += name.len();
            if text > MOST_TEXT {
                return Err(damaged(format!("the names in type {id} do not end")));
            }
            parts.push(Part {
                name: name.to_owned(),
                of,
                bit,
                bits,
                align: None,
                shares: false,
            });
        }
        Ok(parts)
    }

    fn big_endian(&self) -> bool {
        self.big_endian
    }
}

#[cfg(test)]
mod tests;
