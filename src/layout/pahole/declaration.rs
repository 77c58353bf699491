//! One line of pahole's text: a declaration, its attributes, and the comment beside it.

use crate::error::{Error, Result};
use crate::layout::types::{DEEPEST, natural};

/// What stands in the comment beside a member.
#[derive(Clone, Copy)]
pub struct Place {
    pub offset: u64,
    pub first_bit: u64,
    pub bytes: u64,
}

/// An error of a line.
pub fn at(line: usize, what: &str) -> Error {
    Error::Input(format!("line {line}: {what}"))
}

/// What stands before the comment at the end of a line, and what is in that.
pub fn split_comment(text: &str) -> (&str, Option<&str>) {
    match text.split_once("/*") {
        Some((code, comment)) => (code, comment.split("*/").next()),
        None => (text, None),
    }
}

/// `0 4`, `16: 0 1`, `0x10:0x3 0x1`.
pub fn place(comment: &str) -> Option<Place> {
    let (offset, rest) = match comment.split_once(':') {
        Some((offset, rest)) => (offset, rest.trim_start().split_once(char::is_whitespace)?),
        None => {
            let (offset, bytes) = comment.trim().split_once(char::is_whitespace)?;
            (offset, ("0", bytes))
        }
    };
    Some(Place {
        offset: number(offset)?,
        first_bit: number(rest.0)?,
        bytes: number(rest.1)?,
    })
}

/// Decimal, or hexadecimal with 0x.
pub fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The code without `__attribute__((…))`, and the alignment that one of them asks for.
pub fn without_attributes(code: &str) -> (String, Option<u64>) {
    const WORD: &str = "__attribute__((";
    let (mut text, mut align, mut rest) = (String::new(), None, code);
    while let Some((before, after)) = rest.split_once(WORD) {
        text.push_str(before.trim_end());
        let end = after.find("))").map_or(after.len(), |at| at + 2);
        let (attribute, mut others) = after.split_at(end);
        if let Some((_, asked)) = attribute.split_once("__aligned__(") {
            align = align.max(asked.split(')').next().and_then(number));
            // `__aligned__(64)))`: its own bracket was the first of those found.
            others = others.strip_prefix(')').unwrap_or(others);
        }
        rest = others;
        if !rest.starts_with(';') {
            text.push(' ');
        }
    }
    text.push_str(rest);
    (text, align.filter(|align| align.is_power_of_two()))
}

/// A member's declaration.
pub struct Declared {
    pub name: String,
    pub type_name: String,
    pub counts: Vec<u64>,
    pub bits: Option<u64>,
}

impl Declared {
    pub fn parse(line: usize, code: &str) -> Result<Declared> {
        if let Some((before, after)) = code.split_once("(*") {
            let name: String = after
                .chars()
                .take_while(|c| c.is_alphanumeric() || "_$".contains(*c))
                .collect();
            let rest = &after[name.len()..];
            return Ok(Declared {
                type_name: one_blank(&format!("{before}(*{rest}")),
                name,
                counts: Vec::new(),
                bits: None,
            });
        }
        let (code, bits) = match code.rsplit_once(':') {
            Some((before, bits)) if !before.ends_with(':') => {
                let bits = number(bits).filter(|bits| (1..=128).contains(bits));
                (
                    before,
                    Some(bits.ok_or_else(|| {
                        at(line, "a bit-field whose width is no number from 1 to 128")
                    })?),
                )
            }
            _ => (code, None),
        };
        let (code, counts) = dimensions(line, code)?;
        let start = code.rfind(|c: char| !(c.is_alphanumeric() || "_$.".contains(c)));
        let start = start.map_or(0, |at| {
            at + code[at..].chars().next().map_or(1, char::len_utf8)
        });
        let (of, name) = code.split_at(start);
        if name.is_empty() || of.trim().is_empty() {
            return Err(at(
                line,
                &format!("'{}' is no declaration of a member", shortened(code)),
            ));
        }
        Ok(Declared {
            name: name.to_owned(),
            type_name: one_blank(of),
            counts,
            bits,
        })
    }
}

/// What stands before `[2][10]`, and the numbers.
pub fn dimensions(line: usize, code: &str) -> Result<(&str, Vec<u64>)> {
    let Some((name, rest)) = code.split_once('[') else {
        return Ok((code.trim(), Vec::new()));
    };
    let rest = rest.trim_end().strip_suffix(']');
    let counts = rest.map(|rest| rest.split("]["));
    let counts: Option<Vec<u64>> = counts.and_then(|counts| {
        let count = |text: &str| {
            if text.is_empty() {
                Some(0)
            } else {
                number(text)
            }
        };
        counts.map(count).collect()
    });
    match counts {
        Some(counts) if counts.len() < DEEPEST => Ok((name.trim(), counts)),
        _ => Err(at(
            line,
            &format!("an array of unknown size: '{}'", shortened(code)),
        )),
    }
}

/// Blanks as C programmers set them: one between words, none between stars.
fn one_blank(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .replace("* *", "**")
        .replace("* *", "**")
        .replace("( ", "(")
}

/// The alignment of what C names so; 1 where the name does not tell it.
pub fn known_align(type_name: &str, bytes: u64) -> u64 {
    const NUMBERS: [&str; 14] = [
        "char", "short", "int", "long", "unsigned", "signed", "float", "double", "_Bool", "bool",
        "__int128", "const", "volatile", "enum",
    ];
    let pointer = type_name.contains('*');
    let number =
        type_name.starts_with("enum ") || type_name.split(' ').all(|word| NUMBERS.contains(&word));
    match pointer || number {
        true => natural(bytes),
        false => 1,
    }
}

/// As much of the text as an error needs.
pub fn shortened(text: &str) -> String {
    text.chars()
        .take(60)
        .collect::<String>()
        .escape_debug()
        .to_string()
}
