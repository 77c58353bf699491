//! The text of a case file: its values, each checked by itself.
//!
//! Here: what is wrong with one value, by file, line and key. Not here: what the keys mean.

use crate::error::{Error, Result};
use crate::units::parse_duration;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub type Value<'a> = Spanned<DeValue<'a>>;

/// Longest time that a case may state, in nanoseconds: private time of 10 ms is no step any more.
const LONGEST_NS: f64 = 1e7;

/// Longest piece of a file that a message repeats, in characters.
const SHOWN: usize = 60;

/// Longest name of a field, in bytes.
const NAME: usize = 128;

/// What a name of `[params]` stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Param {
    /// A number.
    Number(f64),
    /// A time in nanoseconds.
    Time(u32),
}

/// Parameters by name.
pub type Params = BTreeMap<String, Param>;

/// A file, as messages name it, and where its lines begin.
pub struct Source<'a> {
    origin: &'a str,
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub fn new(origin: &'a str, text: &str) -> Source<'a> {
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(behind).collect();
        Source { origin, starts }
    }

    /// Number of the line that this byte stands in.
    pub fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// What is wrong in this line.
    pub fn wrong(&self, line: usize, what: impl Display) -> Error {
        Error::Input(format!("{}:{line}: {what}", self.origin))
    }

    /// What is wrong with the value of a key.
    pub fn error(&self, key: &str, value: &Value<'_>, what: impl Display) -> Error {
        let line = self.line(value.span().start);
        self.wrong(line, format_args!("{}: {what}", clip(key)))
    }

    /// A name in this line that is not known, with the nearest that are.
    pub fn unknown<'n>(
        &self,
        line: usize,
        what: &str,
        given: &str,
        valid: impl IntoIterator<Item = &'n str>,
    ) -> Error {
        self.wrong(line, unknown(what, given, valid))
    }

    /// The same, with where it is asked for: a key, a role.
    pub fn unknown_in<'n>(
        &self,
        line: usize,
        place: &str,
        what: &str,
        given: &str,
        valid: impl IntoIterator<Item = &'n str>,
    ) -> Error {
        let unknown = unknown(what, given, valid);
        self.wrong(line, format_args!("{place}: {unknown}"))
    }

    fn expected<T>(
        &self,
        key: &str,
        value: &Value<'_>,
        expected: &str,
        read: Option<T>,
    ) -> Result<T> {
        read.ok_or_else(|| {
            let found = shown(value.get_ref());
            self.error(key, value, format_args!("{found}, expected {expected}"))
        })
    }

    pub fn text<'v>(&self, key: &str, value: &'v Value<'_>) -> Result<&'v str> {
        self.expected(key, value, "a string", value.get_ref().as_str())
    }

    pub fn flag(&self, key: &str, value: &Value<'_>) -> Result<bool> {
        self.expected(key, value, "true or false", value.get_ref().as_bool())
    }

    pub fn list<'v, 'a2>(&self, key: &str, value: &'v Value<'a2>) -> Result<&'v [Value<'a2>]> {
        let list = value.get_ref().as_array().map(|list| &list[..]);
        self.expected(key, value, "a list in brackets", list)
    }

    pub fn table<'v, 'a2>(&self, key: &str, value: &'v Value<'a2>) -> Result<&'v DeTable<'a2>> {
        self.expected(key, value, "a table", value.get_ref().as_table())
    }

    /// A number, as it is or as a parameter.
    pub fn number(
        &self,
        key: &str,
        value: &Value<'_>,
        range: RangeInclusive<f64>,
        params: &Params,
    ) -> Result<f64> {
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
            DeValue::String(name) => match self.param(key, value, name, params)? {
                Param::Number(number) => Some(number),
                Param::Time(_) => {
                    return Err(self.error(
                        key,
                        value,
                        format_args!("the parameter '{name}' is a time, expected a number"),
                    ));
                }
            },
            value => integer(value).map(|whole| whole as f64),
        };
        let expected = match params.is_empty() {
            true => "a number",
            false => "a number or the name of a parameter",
        };
        let number = self.expected(key, value, expected, number)?;
        if !range.contains(&number) {
            let (low, high) = range.into_inner();
            return Err(self.error(
                key,
                value,
                format_args!("{number} is out of range: from {low} to {high}"),
            ));
        }
        Ok(number)
    }

    /// A whole number, as it is or as a parameter.
    pub fn whole(
        &self,
        key: &str,
        value: &Value<'_>,
        range: RangeInclusive<usize>,
        params: &Params,
    ) -> Result<usize> {
        let (low, high) = range.into_inner();
        let number = self.number(key, value, low as f64..=high as f64, params)?;
        if number.fract() != 0.0 {
            return Err(self.error(key, value, format_args!("{number} is no whole number")));
        }
        Ok(number as usize)
    }

    /// A time with its unit, as it is or as a parameter, in nanoseconds.
    pub fn time(&self, key: &str, value: &Value<'_>, params: &Params) -> Result<u32> {
        let with_unit = "write a time with its unit, as in \"150ns\"";
        let Some(text) = value.get_ref().as_str() else {
            let found = shown(value.get_ref());
            return Err(self.error(key, value, format_args!("{found}; {with_unit}")));
        };
        if text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return nanos(text).map_err(|why| self.error(key, value, why));
        }
        match self.param(key, value, text, params)? {
            Param::Time(ns) => Ok(ns),
            Param::Number(_) => Err(self.error(
                key,
                value,
                format_args!("the parameter '{text}' is a number; {with_unit}"),
            )),
        }
    }

    fn param(&self, key: &str, value: &Value<'_>, name: &str, params: &Params) -> Result<Param> {
        params.get(name).copied().ok_or_else(|| {
            let line = self.line(value.span().start);
            let names = params.keys().map(String::as_str);
            self.unknown_in(line, &clip(key), "parameter", name, names)
        })
    }

    /// What a value of `[params]` stands for.
    pub fn param_value(&self, key: &str, value: &Value<'_>) -> Result<Param> {
        let none = Params::new();
        match value.get_ref() {
            DeValue::String(text) => nanos(text)
                .map(Param::Time)
                .map_err(|why| self.error(key, value, why)),
            _ => self
                .number(key, value, 0.0..=1e15, &none)
                .map(Param::Number),
        }
    }

    /// One of the words that may stand there.
    pub fn word<T: Copy>(&self, key: &str, value: &Value<'_>, words: &[(&str, T)]) -> Result<T> {
        let text = self.text(key, value)?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, one)| *one).ok_or_else(|| {
            let line = self.line(value.span().start);
            self.unknown(line, clip(key).as_ref(), text, words.iter().map(|w| w.0))
        })
    }
}

/// A table of which every key is known.
pub struct Keys<'s, 'v, 'a> {
    pub source: &'s Source<'s>,
    table: &'v DeTable<'a>,
    /// The line that it begins in.
    pub line: usize,
    /// What it is, in messages: `[[layout]]`.
    what: &'s str,
}

impl<'s, 'v, 'a> Keys<'s, 'v, 'a> {
    pub fn new(
        source: &'s Source<'s>,
        what: &'s str,
        value: &'v Value<'a>,
        known: &[&str],
    ) -> Result<Keys<'s, 'v, 'a>> {
        let table = source.table(what, value)?;
        for name in table.keys() {
            if !known.contains(&name.get_ref().as_ref()) {
                let line = source.line(name.span().start);
                let what = format!("key of {what}");
                let known = known.iter().copied();
                return Err(source.unknown(line, &what, name.get_ref(), known));
            }
        }
        let line = source.line(value.span().start);
        Ok(Keys {
            source,
            table,
            line,
            what,
        })
    }

    pub fn get(&self, key: &str) -> Option<&'v Value<'a>> {
        self.table.get(key)
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn required(&self, key: &str) -> Result<&'v Value<'a>> {
        self.get(key)
            .ok_or_else(|| self.error(format_args!("'{key}' is missing")))
    }

    /// What is wrong with the table.
    pub fn error(&self, what: impl Display) -> Error {
        let what = format!("{}: {what}", self.what);
        self.source.wrong(self.line, what)
    }

    /// What is wrong with a key, or with the table where the key is not given.
    pub fn error_at(&self, key: &str, what: impl Display) -> Error {
        match self.get(key) {
            Some(value) => self.source.error(key, value, what),
            None => self.error(what),
        }
    }

    pub fn text(&self, key: &str) -> Result<String> {
        let value = self.required(key)?;
        Ok(self.source.text(key, value)?.to_owned())
    }

    /// The text, or nothing where there is none.
    pub fn text_or_empty(&self, key: &str) -> Result<String> {
        match self.has(key) {
            true => self.text(key),
            false => Ok(String::new()),
        }
    }

    pub fn flag(&self, key: &str) -> Result<bool> {
        self.get(key)
            .map_or(Ok(false), |value| self.source.flag(key, value))
    }

    /// A whole number that is no parameter.
    pub fn whole(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize> {
        let value = self.required(key)?;
        self.source.whole(key, value, range, &Params::new())
    }

    pub fn whole_or(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
        otherwise: usize,
    ) -> Result<usize> {
        match self.has(key) {
            true => self.whole(key, range),
            false => Ok(otherwise),
        }
    }

    /// A list of tables or other things; empty where the key is not given.
    pub fn list(&self, key: &str) -> Result<&'v [Value<'a>]> {
        match self.get(key) {
            Some(value) => self.source.list(key, value),
            None => Ok(&[]),
        }
    }

    /// The entries of a table; none where the key is not given.
    pub fn entries(
        &self,
        key: &str,
    ) -> Result<impl Iterator<Item = (&'v str, &'v Value<'a>)> + use<'s, 'v, 'a>> {
        let table = match self.get(key) {
            Some(value) => Some(self.source.table(key, value)?),
            None => None,
        };
        let entries = table.into_iter().flat_map(|table| table.iter());
        Ok(entries.map(|(name, value)| (name.get_ref().as_ref(), value)))
    }

    /// The entries of a table, those of tables in it with dotted names: `d_name.len`.
    pub fn dotted(&self, key: &str) -> Result<Vec<(String, &'v Value<'a>)>> {
        let mut found = Vec::new();
        let entries = self.entries(key)?;
        let mut open: Vec<_> = entries.map(|(n, value)| (n.to_owned(), value)).collect();
        while let Some((name, value)) = open.pop() {
            if name.len() > NAME {
                let what = format_args!("a name of a field has {NAME} bytes at most");
                return Err(self.source.error(&name, value, what));
            }
            match value.get_ref() {
                DeValue::Table(inner) => {
                    let inner = inner
                        .iter()
                        .map(|(n, v)| (format!("{name}.{}", n.get_ref()), v));
                    open.extend(inner);
                }
                _ => found.push((name, value)),
            }
        }
        Ok(found)
    }

    /// A name of a person's choosing: letters, digits and the marks in `marks`.
    pub fn name(&self, key: &str, marks: &str) -> Result<String> {
        let name = self.text(key)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(self.error_at(
                key,
                format_args!(
                    "'{}' is no name: 1 to 64 letters, digits and {}",
                    clip(&name),
                    marks
                        .chars()
                        .map(String::from)
                        .collect::<Vec<_>>()
                        .join(" ")
                ),
            ));
        }
        Ok(name)
    }
}

fn unknown<'n>(what: &str, given: &str, valid: impl IntoIterator<Item = &'n str>) -> String {
    let mut valid = valid.into_iter().peekable();
    match valid.peek() {
        Some(_) => Error::unknown(what, &clip(given), valid).to_string(),
        None => format!("unknown {what} '{}'; there is none here", clip(given)),
    }
}

/// As much of a text as a message repeats.
pub fn clip(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// A value as messages show it.
fn shown(value: &DeValue<'_>) -> String {
    let kind = value.type_str();
    match value {
        DeValue::String(text) => format!("{kind} '{}'", clip(text)),
        DeValue::Integer(number) => format!("{kind} {}", clip(number.as_str())),
        DeValue::Float(number) => format!("{kind} {}", clip(number.as_str())),
        _ => kind.to_owned(),
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A time with its unit, in nanoseconds.
fn nanos(text: &str) -> std::result::Result<u32, String> {
    let wrong = || {
        format!(
            "'{}' is not a time; write a number and its unit, as in \"150ns\" or \"1.5us\"",
            clip(text)
        )
    };
    let number = text.trim_end_matches(char::is_alphabetic);
    if number.len() == text.len() || text.len() > SHOWN {
        return Err(wrong());
    }
    // No time at all is a time here: a layout may have nothing to do where others have.
    let ns = match number.parse::<f64>() {
        Ok(0.0) => 0.0,
        _ => parse_duration(text).map_err(|_| wrong())?.as_secs_f64() * 1e9,
    };
    if ns > LONGEST_NS {
        return Err(format!("'{text}' is out of range: 10 ms at most"));
    }
    Ok(ns.round() as u32)
}
