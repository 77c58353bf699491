//! Values of a machine file, checked one by one; what is wrong with one is said by file, line and key.
//!
//! Here: numbers in their range and against each other. Not here: what the file holds (`file`), and
//! the ranges (`keys`).

use super::keys::{self, LINE, MAX_LATENCY_NS};
use super::model::{CacheSpec, Picos, picos};
use crate::error::{Error, Result};
use std::str::FromStr;
use toml::Spanned;

/// A number with its place in the file.
pub type Number = Spanned<f64>;
/// A whole number with its place in the file.
pub type Count = Spanned<i64>;

/// Where messages point to.
pub struct Source<'a> {
    /// Its text.
    pub text: &'a str,
    /// What messages call it.
    pub origin: &'a str,
}

impl Source<'_> {
    pub fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at.min(self.text.len())]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    }

    pub fn error<T>(&self, key: &str, value: &Spanned<T>, what: &str) -> Error {
        Error::Input(format!(
            "{}:{}: {key}: {what}",
            self.origin,
            self.line(value.span().start)
        ))
    }

    /// What the text cannot be read as, with the key if it is about one.
    pub fn unreadable(&self, error: &toml::de::Error) -> Error {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', "; ");
        let missing = message.strip_prefix("missing field `");
        let (key, what) = match missing.and_then(|rest| rest.strip_suffix('`')) {
            Some(name) => (Some(keys::in_table(self.text, at, name)), "missing".into()),
            None if message.starts_with("invalid type: ") => {
                let number = message.replace("i64", "a whole number");
                let number = number.replace("f64", "a number");
                (keys::of_value(self.text, at), number)
            }
            None => (None, message),
        };
        let allowed = key.as_ref().and_then(|key| keys::allowed(key));
        let allowed = allowed.map_or(String::new(), |allowed| format!(" (allowed: {allowed})"));
        let key = key.map_or(String::new(), |key| format!("{key}: "));
        Error::Input(format!(
            "{}:{}: {key}{what}{allowed}",
            self.origin,
            self.line(at)
        ))
    }

    fn within<T: Copy + std::fmt::Display>(
        &self,
        key: &str,
        value: &Spanned<T>,
        number: f64,
    ) -> Result<T> {
        let [low, high] = keys::range(key).expect("every number has its range");
        if (low..=high).contains(&number) {
            return Ok(*value.get_ref());
        }
        Err(self.error(
            key,
            value,
            &format!(
                "{} is out of range (allowed: {low} to {high})",
                value.get_ref()
            ),
        ))
    }

    pub fn number(&self, key: &str, value: &Number) -> Result<f64> {
        self.within(key, value, *value.get_ref())
    }

    pub fn latency(&self, key: &str, value: &Number) -> Result<Picos> {
        Ok(picos(self.number(key, value)?))
    }

    pub fn count(&self, key: &str, value: &Count) -> Result<usize> {
        Ok(self.within(key, value, *value.get_ref() as f64)? as usize)
    }

    /// One of the words that may stand there.
    pub fn word<T: FromStr>(&self, key: &str, value: &Spanned<String>) -> Result<T> {
        value.get_ref().parse().map_err(|_| {
            let allowed = keys::allowed(key).unwrap_or_default();
            let what = format!("'{}' is unknown (allowed: {allowed})", value.get_ref());
            self.error(key, value, &what)
        })
    }

    pub fn cache(
        &self,
        table: &str,
        bytes: &Count,
        ways: &Count,
        latency: &Number,
    ) -> Result<CacheSpec> {
        let ways_count = self.count(&format!("{table}.ways"), ways)?;
        let size = self.count(&format!("{table}.bytes"), bytes)?;
        let set = ways_count * LINE;
        if !size.is_multiple_of(set) {
            return Err(self.error(
                &format!("{table}.bytes"),
                bytes,
                &format!("{size} is not a multiple of {ways_count} ways of {LINE} bytes ({set})"),
            ));
        }
        Ok(CacheSpec {
            sets: size / set,
            ways: ways_count,
            latency: self.latency(&format!("{table}.latency_ns"), latency)?,
        })
    }

    /// A latency that must be there exactly when the topology has such a distance.
    pub fn distance(
        &self,
        key: &str,
        value: &Option<Number>,
        exists: bool,
        needed_by: &Count,
        why: &str,
    ) -> Result<Option<Picos>> {
        match (value, exists) {
            (Some(value), true) => self.latency(key, value).map(Some),
            (None, false) => Ok(None),
            (Some(value), false) => Err(self.error(
                key,
                value,
                &format!(
                    "contradicts {why} = {}: there is no such distance; delete it",
                    needed_by.get_ref()
                ),
            )),
            (None, true) => Err(self.error(
                key,
                needed_by,
                &format!(
                    "missing, and {why} = {} needs it (allowed: 0 to {MAX_LATENCY_NS})",
                    needed_by.get_ref()
                ),
            )),
        }
    }

    /// How far a front end runs ahead: by one access at least.
    pub fn window(&self, value: &Number, issue: Picos) -> Result<Picos> {
        const KEY: &str = "out_of_order.window_ns";
        let window = self.latency(KEY, value)?;
        if window >= issue {
            return Ok(window);
        }
        let (window, issue) = (window as f64 / 1000.0, issue as f64 / 1000.0);
        let what = format!(
            "{window} ns contradicts l1.issue_ns = {issue} ns (allowed: {issue} to {MAX_LATENCY_NS})"
        );
        Err(self.error(KEY, value, &what))
    }

    pub fn ordered<T>(
        &self,
        low: (&str, Picos),
        high: (&str, Picos),
        at: &Spanned<T>,
    ) -> Result<()> {
        if low.1 <= high.1 {
            return Ok(());
        }
        Err(self.error(
            low.0,
            at,
            &format!(
                "{} ns contradicts {} = {} ns (allowed: 0 to {})",
                low.1 as f64 / 1000.0,
                high.0,
                high.1 as f64 / 1000.0,
                high.1 as f64 / 1000.0
            ),
        ))
    }
}
