//! A machine file as text: its values by dotted key, each checked by itself.
//!
//! Here: what is wrong with one value, by file, line and key. Not here: what the keys mean together
//! (`file`), and the ranges (`keys`).

use super::keys;
use super::model::{Picos, picos};
use crate::error::{Error, Result};
use std::ops::Range;
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A machine file that is TOML, with no key that is not known.
pub struct Source<'a> {
    text: &'a str,
    origin: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Source<'a> {
    /// Read `text`; messages call it `origin`.
    pub fn new(text: &'a str, origin: &'a str) -> Result<Source<'a>> {
        let root = DeTable::parse(text).map_err(|error| {
            let line = line(text, error.span().map_or(0, |span| span.start));
            let what = error.message().replace('\n', "; ");
            Error::Input(format!("{origin}:{line}: {what}"))
        })?;
        let source = Source { text, origin, root };
        source.no_unknown(source.root.get_ref(), "")?;
        Ok(source)
    }

    fn no_unknown(&self, table: &DeTable<'_>, prefix: &str) -> Result<()> {
        for (name, value) in table {
            let known = keys::of_table(prefix);
            if !known.contains(&name.get_ref().as_ref()) {
                let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
                let (line, name) = (line(self.text, name.span().start), name.get_ref());
                let known = known.join(", ");
                return Err(Error::Input(format!(
                    "{}:{line}: {prefix}{name}: unknown field `{name}`, expected one of {known}",
                    self.origin
                )));
            }
            let key = format!("{prefix}{}", name.get_ref());
            match (
                value.get_ref(),
                keys::of_table(&format!("{key}.")).is_empty(),
            ) {
                (DeValue::Table(inner), _) => self.no_unknown(inner, &format!("{key}."))?,
                (_, false) => return Err(self.error(&key, "is a table: write it in brackets")),
                (_, true) => {}
            }
        }
        Ok(())
    }

    /// The value of a key and where it stands; where it would stand if there is none.
    fn find(&self, key: &str) -> (Option<&DeValue<'a>>, Range<usize>) {
        let (mut table, mut at) = (self.root.get_ref(), self.root.span());
        let mut value = None;
        for part in key.split('.') {
            let found = table.iter().find(|(name, _)| name.get_ref() == part);
            let Some((_, found)) = found else {
                return (None, at);
            };
            (at, value) = (found.span(), Some(found.get_ref()));
            if let DeValue::Table(inner) = found.get_ref() {
                table = inner;
            }
        }
        (value, at)
    }

    /// Whether the file has the key, or the table.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).0.is_some()
    }

    /// What is wrong with the value of a key.
    pub fn error(&self, key: &str, what: &str) -> Error {
        self.error_at(key, key, what)
    }

    /// What is wrong with a key because of what stands `at` another.
    pub fn error_at(&self, at: &str, key: &str, what: &str) -> Error {
        let line = line(self.text, self.find(at).1.start);
        Error::Input(format!("{}:{line}: {key}: {what}", self.origin))
    }

    /// The value of a key as `read` has it; `expected` says what that is.
    fn value<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&DeValue<'a>) -> Option<T>,
    ) -> Result<T> {
        let allowed = keys::allowed(key);
        let allowed = allowed.map_or(String::new(), |allowed| format!(" (allowed: {allowed})"));
        let (Some(value), at) = self.find(key) else {
            return Err(self.error(key, &format!("missing{allowed}")));
        };
        read(value).ok_or_else(|| {
            let (kind, found) = (value.type_str(), self.text[at].lines().next());
            let found = found.unwrap_or_default();
            let what = format!("{kind} `{found}`, expected {expected}{allowed}");
            self.error(key, &what)
        })
    }

    pub fn text(&self, key: &str) -> Result<String> {
        self.value(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub fn flag(&self, key: &str) -> Result<bool> {
        self.value(key, "true or false", DeValue::as_bool)
    }

    /// One of the words that may stand there.
    pub fn word<T: FromStr>(&self, key: &str) -> Result<T> {
        let word = self.text(key)?;
        word.parse().map_err(|_| {
            let allowed = keys::allowed(key).unwrap_or_default();
            self.error(key, &format!("'{word}' is unknown (allowed: {allowed})"))
        })
    }

    pub fn number(&self, key: &str) -> Result<f64> {
        let number = self.value(key, "a number", |value| match value {
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => integer(value).map(|whole| whole as f64),
        })?;
        self.within(key, number, number)
    }

    pub fn count(&self, key: &str) -> Result<usize> {
        let count = self.value(key, "a whole number", integer)?;
        Ok(self.within(key, count, count as f64)? as usize)
    }

    pub fn latency(&self, key: &str) -> Result<Picos> {
        self.number(key).map(picos)
    }

    /// What `read` makes of the key, if the file has it.
    pub fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Self, &str) -> Result<T>,
    ) -> Result<Option<T>> {
        self.has(key).then(|| read(self, key)).transpose()
    }

    fn within<T: std::fmt::Display>(&self, key: &str, value: T, number: f64) -> Result<T> {
        let [low, high] = keys::range(key).expect("every number has its range");
        if (low..=high).contains(&number) {
            return Ok(value);
        }
        let what = format!("{value} is out of range (allowed: {low} to {high})");
        Err(self.error(key, &what))
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let whole = value.as_integer()?;
    i64::from_str_radix(whole.as_str(), whole.radix()).ok()
}

fn line(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
