//! What the texts of recorded profiles are read into: uses of fields, and the lines they stand in.
//!
//! Here: the types, and what every reader needs of its text. Not here: the formats, one file each.

use crate::error::{Error, Result};

/// The longest line that a reader takes: perf's longest have some hundred bytes.
const LINE_BYTES: usize = 64 << 10;

crate::text::words! {
    /// A text that says who used which field, or which address, how often.
    pub enum ProfileFormat as "format of a recorded profile" {
        /// `perf c2c report --stdio`.
        C2c = "perf c2c report --stdio",
        /// `perf mem report -D -x,`.
        Mem = "perf mem report -D -x,",
        /// `perf script -F addr,data_src`.
        Script = "perf script -F addr,data_src",
        /// `perf annotate --data-type --stdio`.
        Annotate = "perf annotate --data-type --stdio",
        /// `perf report -s type,typeoff`.
        TypeOff = "perf report -s type,typeoff",
        /// The kernel's `Documentation/networking/net_cachelines`.
        Cachelines = "net_cachelines table",
    }
}

/// One use of a field or an address, or several alike that the text gives as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldUse<'t> {
    /// What was used.
    pub place: UsePlace<'t>,
    /// The event that was sampled; empty where the text does not say.
    pub event: &'t str,
    /// Who used it.
    pub by: UsedBy<'t>,
    /// How often.
    pub counts: UseCounts,
    /// What is counted.
    pub unit: CountUnit,
}

/// What was used, as the text names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsePlace<'t> {
    /// An address: of which object and field, the text cannot say.
    Address(u64),
    /// A field of a type.
    Typed {
        /// The type, as C writes it: `struct conn`.
        type_name: &'t str,
        /// Bytes from the start of the type; `None` where only the field is named.
        offset: Option<u64>,
        /// The field, dotted; empty where the text does not name it.
        field: String,
    },
}

/// Who used something, as far as the text says: empty or `None` where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsedBy<'t> {
    /// The function; of a table of the kernel, the path: `tx`, `rx`.
    pub symbol: &'t str,
    /// The name of the thread.
    pub comm: &'t str,
    /// Its process.
    pub pid: Option<u32>,
    /// The thread.
    pub tid: Option<u32>,
    /// The CPU it ran on.
    pub cpu: Option<u32>,
    /// On how many CPUs it was seen, where uses of several are given as one.
    pub cpus: Option<u64>,
}

/// How often something was used. Loads and stores may be fewer than all uses: the rest may be
/// either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UseCounts {
    /// All uses.
    pub all: u64,
    /// Of these, loads.
    pub loads: u64,
    /// Of these, stores.
    pub stores: u64,
    /// Of the loads and stores, those of locked instructions.
    pub locked: u64,
    /// Of the loads, those that hit a line modified in a cache of this socket.
    pub hitm_local: u64,
    /// Of the loads, those that hit a line modified in a cache of another socket.
    pub hitm_remote: u64,
    /// Of the loads, those that another core's cache answered, modified or not: Arm's sampling
    /// tells no more.
    pub peer: u64,
}

impl UseCounts {
    /// Uses of which only the event says whether they load or store.
    pub(super) fn of_event(event: &str, count: u64) -> UseCounts {
        let names = |what| event.to_ascii_lowercase().contains(what);
        let loads = names("load") || names("ldlat");
        let (loads, stores) = match (loads, names("store")) {
            (true, false) => (count, 0),
            (false, true) => (0, count),
            _ => (0, 0),
        };
        UseCounts {
            all: count,
            loads,
            stores,
            ..UseCounts::default()
        }
    }

    /// Add what was counted elsewhere.
    pub fn add(&mut self, other: &UseCounts) {
        for (sum, more) in [
            (&mut self.all, other.all),
            (&mut self.loads, other.loads),
            (&mut self.stores, other.stores),
            (&mut self.locked, other.locked),
            (&mut self.hitm_local, other.hitm_local),
            (&mut self.hitm_remote, other.hitm_remote),
            (&mut self.peer, other.peer),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

crate::text::words! {
    /// What a profile counts.
    pub enum CountUnit as "unit" {
        /// Samples.
        Records = "records",
        /// Samples, each weighted by its period.
        Periods = "events",
        /// Hundredths of a per cent of an event's samples.
        Shares = "hundredths of a per cent",
        /// Nothing: who reads and writes is stated, not how often.
        Stated = "stated",
    }
}

/// A text to read, and what a person calls it.
#[derive(Clone, Copy)]
pub(super) struct ProfileText<'t> {
    /// The file's name.
    pub name: &'t str,
    /// What is in it.
    pub text: &'t str,
}

impl<'t> ProfileText<'t> {
    /// Its lines, numbered from 1.
    pub fn lines(self) -> impl Iterator<Item = Result<(usize, &'t str)>> {
        self.text.lines().enumerate().map(move |(i, line)| {
            if line.len() > LINE_BYTES {
                return Err(self.wrong(i + 1, "longer than 64 KiB; perf writes no such lines"));
            }
            Ok((i + 1, line))
        })
    }

    /// The error of a line.
    pub fn wrong(self, line: usize, what: impl std::fmt::Display) -> Error {
        Error::Input(format!("{}, line {line}: {what}", self.name))
    }

    /// The error of the whole text.
    pub fn unusable(self, what: impl std::fmt::Display) -> Error {
        Error::Input(format!("{}: {what}", self.name))
    }
}

/// `0x404084` or `404084`.
pub(super) fn hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let all = digits.bytes().all(|b| b.is_ascii_hexdigit());
    all.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Hexadecimal with `0x`, decimal without, as C's `%#x` prints 0.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => hex(digits),
        None => decimal(text),
    }
}

/// Decimal digits and nothing else.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let all = text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// `52.94%` or `52.94` as hundredths of a per cent: at most 100 %.
pub(super) fn hundredths(text: &str) -> Option<u64> {
    let text = text.strip_suffix('%').unwrap_or(text);
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part = match part.len() {
        1 => decimal(part)? * 10,
        2 => decimal(part)?,
        _ => return None,
    };
    let all = decimal(whole)?.checked_mul(100)?.checked_add(part)?;
    (all <= 10_000).then_some(all)
}

/// The words of a line between blanks, each with where it begins.
pub(super) fn words(line: &str) -> Vec<(usize, &str)> {
    let begin = line.as_ptr() as usize;
    line.split_ascii_whitespace()
        .map(|word| (word.as_ptr() as usize - begin, word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_perf_prints_them_and_nothing_else_is() {
        assert_eq!(hundredths("52.94%"), Some(5294));
        assert_eq!(hundredths("100.00"), Some(10_000));
        assert_eq!(hundredths("100.01%"), None);
        assert_eq!(hundredths("-1.00%"), None);
        assert_eq!(hundredths("99999999999999999999.00%"), None);
        assert_eq!(hundredths(""), None);
        assert_eq!(
            (number("0"), number("0x10"), number("16")),
            (Some(0), Some(16), Some(16))
        );
        assert_eq!(
            (hex("+5"), hex(""), hex("0x"), decimal("")),
            (None, None, None, None)
        );
    }

    #[test]
    fn an_event_says_whether_it_loads_or_stores_or_neither() {
        let of = |event| {
            let counts = UseCounts::of_event(event, 3);
            (counts.loads, counts.stores)
        };
        assert_eq!(of("cpu/mem-loads,ldlat=30/P"), (3, 0));
        assert_eq!(of("cpu/mem-stores/P"), (0, 3));
        assert_eq!(of("ibs_op//"), (0, 0));
        assert_eq!(of("arm_spe_0/load_filter=1,store_filter=1/"), (0, 0));
    }
}
