//! Arms: what is compared. The one parser of their names.
//!
//! Not here: whether a layout exists, which the design asks when it is made: a file from elsewhere
//! may name layouts that this program does not know.

use crate::error::{Error, Result};
use crate::text::{layout_name_fault, serde_as_text};
use std::fmt;
use std::str::FromStr;

/// What is measured under one name in a block.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arm {
    /// The baseline once more, the A/A arm: `baseline-again`.
    Again,
    /// The baseline in other machine code that makes the same accesses, the placebo:
    /// `baseline-recompiled`.
    Recompiled,
    /// A layout: `NAME`, `NAME@CONFIG`, or `NAME+5%` with a handicap.
    Layout {
        /// Its name.
        layout: LayoutName,
        /// Uncounted extra faults: a regression of known size. 0 for the layout as it is.
        handicap: Permille,
    },
}

/// A name that a layout may have: not empty, without `,`, `+`, `%` and control characters, not
/// beginning with `baseline-`, with at most one `@`, between the name and a kernel configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayoutName(String);

/// Thousandths, up to one whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permille(u16);

impl Arm {
    /// How the A/A arm is written.
    pub const AGAIN: &str = "baseline-again";
    /// How the placebo is written.
    pub const RECOMPILED: &str = "baseline-recompiled";

    /// The layout and the handicap, those of `baseline` for the A/A arm and the placebo; none where
    /// `baseline` is one of these.
    pub fn measured<'a>(&'a self, baseline: &'a Arm) -> Option<(&'a LayoutName, Permille)> {
        match (self, baseline) {
            (Arm::Layout { layout, handicap }, _) => Some((layout, *handicap)),
            (_, Arm::Layout { layout, handicap }) => Some((layout, *handicap)),
            _ => None,
        }
    }
}

impl LayoutName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Permille {
    /// The number of thousandths.
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }

    /// From per cent with at most one digit after the point, above 0 and up to 100.
    fn from_percent(text: &str) -> Option<Permille> {
        let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(tenth) || tenth.len() != 1 {
            return None;
        }
        let permille = whole.parse::<u16>().ok()?.checked_mul(10)? + tenth.parse::<u16>().ok()?;
        (1..=1000).contains(&permille).then_some(Permille(permille))
    }
}

impl FromStr for LayoutName {
    type Err = Error;

    fn from_str(name: &str) -> Result<LayoutName> {
        let wrong = |why: &str| Err(Error::Input(format!("layout '{name}': {why}")));
        if let Some(fault) = layout_name_fault(name) {
            return wrong(fault);
        }
        match name.split_once('@') {
            Some((before, after))
                if before.is_empty() || after.is_empty() || after.contains('@') =>
            {
                wrong("an @ stands between the name and a kernel configuration")
            }
            _ => Ok(LayoutName(name.to_owned())),
        }
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Arm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Arm> {
        if text == Arm::AGAIN {
            return Ok(Arm::Again);
        }
        if text == Arm::RECOMPILED {
            return Ok(Arm::Recompiled);
        }
        let Some((layout, handicap)) = text.split_once('+') else {
            let (layout, handicap) = (text.parse()?, Permille::default());
            return Ok(Arm::Layout { layout, handicap });
        };
        let handicap = handicap.strip_suffix('%').and_then(Permille::from_percent);
        match handicap {
            Some(handicap) => Ok(Arm::Layout {
                layout: layout.parse()?,
                handicap,
            }),
            None => Err(Error::Input(format!(
                "'{text}' has no usable handicap; write LAYOUT+P% with P from above 0 to 100 in \
                 steps of 0.1"
            ))),
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arm::Again => f.pad(Arm::AGAIN),
            Arm::Recompiled => f.pad(Arm::RECOMPILED),
            Arm::Layout { layout, handicap } => match handicap.0 {
                0 => f.pad(&layout.0),
                whole if whole % 10 == 0 => f.pad(&format!("{layout}+{}%", whole / 10)),
                permille => f.pad(&format!("{layout}+{}.{}%", permille / 10, permille % 10)),
            },
        }
    }
}

serde_as_text!(Arm);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_printed_as_it_is_parsed() {
        for text in [
            "baseline-again",
            "baseline-recompiled",
            "split-packed",
            "split-packed@all",
            "split-packed+5%",
            "split-packed+1.1%",
            "split-packed@all+0.1%",
            "my own layout",
            "a+100%",
        ] {
            assert_eq!(text.parse::<Arm>().unwrap().to_string(), text);
        }
        assert_eq!("a+5.0%".parse::<Arm>().unwrap(), "a+5%".parse().unwrap());
    }

    #[test]
    fn a_name_that_another_kind_of_arm_could_have_is_refused() {
        for text in [
            "",
            "baseline-",
            "baseline-recompiled+5%",
            "baseline-rebuilt",
            "a,b",
            "a%",
            "a+b",
            "a+5",
            "a+0%",
            "a+100.1%",
            "a+0.01%",
            "a+-1%",
            "a+1.%",
            "a+99999999%",
            "+5%",
            "a@",
            "@a",
            "a@b@c",
            "a\n",
        ] {
            assert!(text.parse::<Arm>().is_err(), "{text:?}");
        }
    }
}
