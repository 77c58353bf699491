//! The text that pahole prints: `-C`, `-E`, `--hex`, `-R`, and whole files of structs.
//!
//! It is meant for people, and some of it is wrong: pahole 1.24 does not know `_Atomic` and prints
//! such members with no size. What looks like that is refused with its cause, as is what is
//! ambiguous; `--btf` and `--dwarf` read the same data without a detour.

mod declaration;

use super::expand;
use super::struct_layout::StructLayout;
use super::types::{Composite, DEEPEST, Part, Type, Types};
use crate::error::{Error, Result};
use declaration::{Declared, Place, at, dimensions, known_align, number, place};
use declaration::{shortened, split_comment, without_attributes};

/// Members of all structs in one text.
const MOST_MEMBERS: usize = 1 << 20;

/// The structs in a text.
pub struct Pahole {
    types: Vec<Type<usize>>,
    /// Of the structs, by their type.
    members: Vec<Vec<Part<usize>>>,
    /// The outermost ones.
    structs: Vec<Printed>,
    /// Members met.
    count: usize,
}

/// A struct that the text prints.
struct Printed {
    name: String,
    /// Its type, or what is wrong with its text.
    of: std::result::Result<usize, String>,
    line: usize,
}

/// A struct whose end has not been met.
struct Body {
    /// `struct`, `union`, `class`, and its name if it has one.
    keyword: String,
    name: String,
    line: usize,
    members: Vec<Printing>,
    size: Option<u64>,
    align: Option<u64>,
    /// What is wrong with its text.
    wrong: Option<String>,
}

/// A member, at its place in the outermost struct.
struct Printing {
    name: String,
    of: usize,
    place: Place,
    bits: Option<u64>,
    align: Option<u64>,
    line: usize,
    /// It has no size although its type should have one.
    suspicious: bool,
}

impl Pahole {
    /// The structs in `text`.
    pub fn parse(text: &str) -> Result<Pahole> {
        let mut pahole = Pahole {
            types: Vec::new(),
            members: Vec::new(),
            structs: Vec::new(),
            count: 0,
        };
        let mut open: Vec<Body> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            if let Err(wrong) = pahole.line(line, text.trim(), &mut open) {
                // It matters to who asks for this struct.
                match open.first_mut() {
                    Some(body) => body.wrong = body.wrong.take().or(Some(wrong.to_string())),
                    None => return Err(wrong),
                }
            }
        }
        if let Some(body) = open.first() {
            return Err(at(
                body.line,
                &format!(
                    "the struct '{}' that begins here does not end: is the text cut short?",
                    body.name
                ),
            ));
        }
        Ok(pahole)
    }

    /// The layout of the struct `name`; without a name, of the only one there is.
    pub fn struct_layout(&self, name: Option<&str>, source: &str) -> Result<StructLayout> {
        let names = self.structs.iter().map(|printed| printed.name.as_str());
        let Some(first) = self.structs.first() else {
            return Err(Error::Input(
                "no struct is printed in it: is this the output of pahole -C?".to_owned(),
            ));
        };
        let wanted = match name {
            Some(name) => bare(name),
            None if self
                .structs
                .iter()
                .all(|printed| printed.name == first.name) =>
            {
                &first.name
            }
            None => {
                return Err(Error::Input(format!(
                    "it prints {} structs, among them '{}': which one? give --struct",
                    self.structs.len(),
                    first.name
                )));
            }
        };
        let mut same = self.structs.iter().filter(|printed| printed.name == wanted);
        let Some(printed) = same.next() else {
            return Err(Error::unknown("struct", wanted, names));
        };
        let layout = self.layout(printed, source)?;
        for other in same {
            if self.layout(other, source)? != layout {
                return Err(at(
                    other.line,
                    &format!(
                        "struct '{wanted}' is printed again, and not as in line {}: which one is meant? leave one out",
                        printed.line
                    ),
                ));
            }
        }
        Ok(layout)
    }

    /// The layouts of all its structs, one after the other.
    pub fn layouts(&self, source: &str) -> impl Iterator<Item = Result<StructLayout>> {
        self.structs
            .iter()
            .map(move |printed| self.layout(printed, source))
    }

    fn layout(&self, printed: &Printed, source: &str) -> Result<StructLayout> {
        match &printed.of {
            Ok(of) => expand::layout(self, *of, &printed.name, source),
            Err(wrong) => Err(Error::Input(wrong.clone())),
        }
    }

    fn line(&mut self, line: usize, text: &str, open: &mut Vec<Body>) -> Result<()> {
        if text.contains("<ERROR") {
            return Err(at(
                line,
                "pahole could not print this type (<ERROR): it does not know _Atomic; give the file itself with --dwarf",
            ));
        }
        let (code, comment) = split_comment(text);
        let (code, align) = without_attributes(code);
        let code = code.trim();
        if let Some(head) = code.strip_suffix('{') {
            return self.begin(line, head.trim(), open);
        }
        if code.starts_with('}') {
            return match open.pop() {
                Some(body) => self.end(line, body, code, align, comment, open),
                None => Err(at(line, "a } that closes nothing")),
            };
        }
        let Some(body) = open.last_mut() else {
            // What stands between structs says nothing of them.
            return Ok(());
        };
        if ["", "enum"].contains(&body.keyword.as_str()) {
            return Ok(());
        }
        if code.is_empty() {
            return note(line, text, body);
        }
        if code.contains("<ancestor>") {
            return Err(at(
                line,
                "base classes are not read from text; give the file itself with --dwarf",
            ));
        }
        // Methods, types and access of C++ have no place.
        let place = match comment.and_then(place) {
            Some(place) => place,
            None if code.ends_with(':') || code.ends_with(')') || code.starts_with("static ") => {
                return Ok(());
            }
            None if code.ends_with(");") && !code.contains("(*") => return Ok(()),
            // A bit-field without a name is padding.
            None if code.contains(" :") => return Ok(()),
            None => {
                return Err(at(
                    line,
                    &format!(
                        "'{}' has no comment with offset and size beside it",
                        shortened(code)
                    ),
                ));
            }
        };
        let printing = self.member(line, code, align, place)?;
        body.members.push(printing);
        self.met(line)
    }

    fn met(&mut self, line: usize) -> Result<()> {
        self.count += 1;
        match self.count > MOST_MEMBERS {
            true => Err(at(line, &format!("more than {MOST_MEMBERS} members"))),
            false => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, head: &str, open: &mut Vec<Body>) -> Result<()> {
        let mut head = head.split(" : ").next().unwrap_or(head);
        for word in ["typedef ", "const ", "volatile "] {
            head = head.strip_prefix(word).unwrap_or(head);
        }
        let (keyword, name) = head.split_once(' ').unwrap_or((head, ""));
        if !["struct", "union", "class", "enum"].contains(&keyword) {
            // It ends all the same, and says nothing of a struct unless it is in one.
            let alone = open.is_empty();
            open.push(Body::new(line, "", ""));
            return match alone {
                true => Ok(()),
                false => Err(at(
                    line,
                    &format!("'{}' begins nothing that is known", shortened(head)),
                )),
            };
        }
        if open.len() >= DEEPEST {
            return Err(at(line, &format!("structs nested deeper than {DEEPEST}")));
        }
        open.push(Body::new(line, keyword, name.trim()));
        Ok(())
    }

    fn end(
        &mut self,
        line: usize,
        body: Body,
        code: &str,
        align: Option<u64>,
        comment: Option<&str>,
        open: &mut [Body],
    ) -> Result<()> {
        if body.keyword.is_empty() {
            return Ok(());
        }
        let declared = code
            .trim_start_matches('}')
            .trim()
            .trim_end_matches(';')
            .trim();
        let align = body.align.max(align);
        if body.keyword == "enum" && open.is_empty() {
            return Ok(());
        }
        let Some(outer) = open.last_mut() else {
            let (name, line) = (
                if body.name.is_empty() {
                    declared
                } else {
                    &body.name
                }
                .to_owned(),
                body.line,
            );
            let of = self.whole(body, align).map_err(|wrong| wrong.to_string());
            self.structs.push(Printed { name, of, line });
            return Ok(());
        };
        let Some(place) = comment.and_then(place) else {
            return Err(at(
                line,
                "the end of a nested struct has no comment with offset and size",
            ));
        };
        // Of an enum, and of a struct that is only pointed to, the body has no place here.
        if body.keyword == "enum" || declared.starts_with('*') {
            let code = format!("{} {} {declared}", body.keyword, body.name);
            let printing = self.member(line, &code, align, place)?;
            outer.members.push(printing);
            return self.met(line);
        }
        let (name, counts) = dimensions(line, declared)?;
        let of = self.composite(body, place.offset, one(place.bytes, &counts), None)?;
        let of = self.array(of, &counts);
        outer.members.push(Printing {
            name: name.to_owned(),
            of,
            place,
            bits: None,
            align,
            line,
            suspicious: false,
        });
        self.met(line)
    }

    /// A struct that is in no other.
    fn whole(&mut self, body: Body, align: Option<u64>) -> Result<usize> {
        match (&body.wrong, body.size) {
            (Some(wrong), _) => Err(Error::Input(wrong.clone())),
            (None, Some(size)) => self.composite(body, 0, size, align),
            (None, None) if body.keyword == "union" => Err(at(
                body.line,
                "pahole does not print how large a union is; read it with --btf or --dwarf",
            )),
            (None, None) => Err(at(
                body.line,
                &format!(
                    "struct '{}' has no comment that gives its size: is the text cut short?",
                    body.name
                ),
            )),
        }
    }

    /// A struct that lies at `offset` of the outermost one.
    fn composite(
        &mut self,
        body: Body,
        offset: u64,
        bytes: u64,
        align: Option<u64>,
    ) -> Result<usize> {
        let mut parts = Vec::with_capacity(body.members.len());
        let union = body.keyword == "union";
        for (n, member) in body.members.iter().enumerate() {
            let next = body
                .members
                .get(n + 1)
                .map_or(offset.saturating_add(bytes), |next| next.place.offset);
            if member.suspicious && !union && next > member.place.offset {
                return Err(at(
                    member.line,
                    &format!(
                        "the member '{}' has no size and a hole after it: pahole 1.24 prints what is _Atomic so, wrongly, and what is empty, and its text does not tell which; give the file itself with --dwarf or --btf",
                        member.name
                    ),
                ));
            }
            let start = member.place.offset.checked_sub(offset);
            let bit =
                start.and_then(|byte| byte.checked_mul(8)?.checked_add(member.place.first_bit));
            let Some(bit) = bit else {
                return Err(at(
                    member.line,
                    &format!(
                        "the member '{}' does not lie in the struct around it",
                        member.name
                    ),
                ));
            };
            parts.push(Part {
                name: member.name.clone(),
                of: member.of,
                bit,
                bits: member.bits,
                align: member.align,
                shares: false,
            });
        }
        let name = match body.name.is_empty() {
            true => String::new(),
            false => format!("{} {}", body.keyword, body.name),
        };
        Ok(self.add(
            Type::Composite(Composite {
                name,
                union,
                bytes,
                align,
            }),
            parts,
        ))
    }

    fn add(&mut self, of: Type<usize>, parts: Vec<Part<usize>>) -> usize {
        self.types.push(of);
        self.members.push(parts);
        self.types.len() - 1
    }

    fn array(&mut self, of: usize, counts: &[u64]) -> usize {
        counts.iter().rev().fold(of, |element, count| {
            self.add(
                Type::Array {
                    element,
                    count: *count,
                },
                Vec::new(),
            )
        })
    }

    fn member(
        &mut self,
        line: usize,
        code: &str,
        align: Option<u64>,
        place: Place,
    ) -> Result<Printing> {
        let code = code.trim_end_matches(';').trim();
        let declared = Declared::parse(line, code)?;
        let bytes = one(place.bytes, &declared.counts);
        let (of, suspicious) = match declared.counts.contains(&0) {
            true => (bytes, false),
            false => (
                bytes,
                place.bytes == 0
                    && !["struct ", "union ", "class "]
                        .iter()
                        .any(|word| declared.type_name.starts_with(word)),
            ),
        };
        let scalar = Type::Scalar {
            align: known_align(&declared.type_name, of),
            name: declared.type_name,
            bytes: of,
        };
        let of = self.add(scalar, Vec::new());
        Ok(Printing {
            name: declared.name,
            of: self.array(of, &declared.counts),
            place,
            bits: declared.bits,
            align,
            line,
            suspicious,
        })
    }
}

impl Body {
    fn new(line: usize, keyword: &str, name: &str) -> Body {
        Body {
            keyword: keyword.to_owned(),
            name: name.to_owned(),
            line,
            members: Vec::new(),
            size: None,
            align: None,
            wrong: None,
        }
    }
}

/// Bytes of one element.
fn one(bytes: u64, counts: &[u64]) -> u64 {
    let all = counts
        .iter()
        .try_fold(1_u64, |all, count| all.checked_mul(*count));
    all.and_then(|all| bytes.checked_div(all)).unwrap_or(0)
}

/// A comment on a line of its own.
fn note(line: usize, text: &str, body: &mut Body) -> Result<()> {
    if text.contains("BRAIN FART ALERT") {
        return Err(at(
            line,
            "pahole says that its sums do not match: it did not understand a type; give the file itself with --dwarf",
        ));
    }
    if let Some(size) = text.strip_prefix("/* size: ") {
        let size = size.split([',', '*']).next().and_then(number);
        body.size = Some(size.ok_or_else(|| at(line, "a size that is no number"))?);
    }
    Ok(())
}

fn bare(name: &str) -> &str {
    let name = name.trim();
    let keywords = ["struct ", "union ", "class "];
    let rest = keywords.iter().find_map(|word| name.strip_prefix(word));
    rest.unwrap_or(name).trim_start()
}

impl Types for Pahole {
    type Id = usize;

    fn get(&self, id: usize) -> Result<Type<usize>> {
        let found = self.types.get(id).cloned();
        found.ok_or_else(|| Error::Input("a type that is not there".to_owned()))
    }

    fn parts(&self, id: usize) -> Result<Vec<Part<usize>>> {
        Ok(self.members.get(id).cloned().unwrap_or_default())
    }

    fn big_endian(&self) -> bool {
        false
    }
}
