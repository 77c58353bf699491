//! Design points: where a comparison is made.

use crate::error::{Error, Result};
use crate::machine::Placement;
use crate::program::fault::scenario::BuiltIn;
use crate::text::serde_as_text;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Who accesses what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scenario {
    /// A scenario of page faults.
    BuiltIn(BuiltIn),
    /// The case of that name: small letters, digits, dots, dashes and underscores.
    Case(String),
}

impl Scenario {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Scenario::BuiltIn(scenario) => scenario.name(),
            Scenario::Case(name) => name,
        }
    }

    /// The scenarios of page faults that a name stands for: `all` for every one, `churn` for both of
    /// its reclaim policies.
    pub fn named(name: &str) -> Result<Vec<BuiltIn>> {
        match name {
            "" => Err(Error::Input("the name of a scenario is empty".to_owned())),
            "all" => Ok(BuiltIn::ALL.to_vec()),
            "churn" => Ok(vec![BuiltIn::ChurnCallRcu, BuiltIn::ChurnTypesafe]),
            name => Ok(vec![name.parse::<Scenario>()?.built_in()?]),
        }
    }

    /// The scenario of page faults that it is, or an error with the nearest ones.
    pub fn built_in(&self) -> Result<BuiltIn> {
        match self {
            Scenario::BuiltIn(scenario) => Ok(*scenario),
            Scenario::Case(name) => {
                let names = BuiltIn::ALL.iter().map(|scenario| scenario.name());
                Err(Error::unknown("scenario", name, names.chain(["churn"])))
            }
        }
    }
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(name: &str) -> Result<Scenario> {
        if let Some(found) = BuiltIn::ALL.iter().find(|one| one.name() == name) {
            return Ok(Scenario::BuiltIn(*found));
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        match !name.is_empty() && name.chars().all(allowed) {
            true => Ok(Scenario::Case(name.to_owned())),
            false => Err(Error::Input(format!(
                "'{}' is neither a scenario nor a name of a case, which has small letters, digits, \
                 dots, dashes and underscores",
                name.escape_debug()
            ))),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// By name.
impl Ord for Scenario {
    fn cmp(&self, other: &Scenario) -> Ordering {
        self.name().cmp(other.name())
    }
}

impl PartialOrd for Scenario {
    fn partial_cmp(&self, other: &Scenario) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

serde_as_text!(Scenario);

/// Where in the design space a comparison is made.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Who accesses what.
    pub scenario: Scenario,
    /// Which CPUs the threads are pinned to.
    pub placement: Placement,
    /// Threads that take part.
    pub threads: usize,
}

impl Point {
    /// A number for what is random at this point: it follows from what the point is, not from
    /// where it stands in a design, so that a shard draws what the whole run draws there.
    pub fn hash(&self) -> u64 {
        content_hash(&format!(
            "{} {} {}",
            self.scenario, self.placement, self.threads
        ))
    }
}

/// FNV-1a of 64 bits (Fowler, Noll and Vo; offset basis and prime as they give them): the same in
/// every build and on every machine.
pub fn content_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of draft-eastlake-fnv.
        assert_eq!(content_hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(content_hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(content_hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_scenario_is_built_in_or_a_case() {
        let parse = |name: &str| name.parse::<Scenario>();
        assert_eq!(
            parse("one-vma").unwrap(),
            Scenario::BuiltIn(BuiltIn::OneVma)
        );
        assert_eq!(
            parse("net_dst.2").unwrap(),
            Scenario::Case("net_dst.2".into())
        );
        for wrong in ["", "One", "a b", "a,b", "a\n"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
