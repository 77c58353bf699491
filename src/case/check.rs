//! Whether a layout keeps the rules of its case.
//!
//! A rule holds in every slot that an object may lie in. Fields of neighbouring objects count as
//! well where different threads may be on these. Not here: what interference costs.

use super::{Case, CaseLayout, Does, RoleUse, Rule};
use crate::error::{Error, Result};
use crate::layout::meet::meet;
use crate::layout::subject::{Region, Subject, Touch};
use crate::space::{LINE, PAIR};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rule, and whether it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The rule.
    pub rule: Rule,
    /// How it is broken; none if it holds.
    pub breach: Option<Breach>,
}

/// How a layout breaks a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Breach {
    /// Two uses lie within reach of each other.
    Near {
        /// What the first role does.
        a: UsedBytes,
        /// What the second role does.
        b: UsedBytes,
        /// Bytes of the block that both lie in.
        within: usize,
        /// Slots from the first object to that of the second; 0 if it is the same.
        distance: isize,
        /// Where in its pair the first object starts.
        phase: usize,
    },
    /// Two fields lie in different lines.
    Split {
        /// One of them, with its offset and the first byte behind it.
        a: (String, usize, usize),
        /// The other.
        b: (String, usize, usize),
        /// Where in its pair the object starts.
        phase: usize,
    },
    /// Two fields lie in different objects.
    Elsewhere {
        /// One of them, and what it is in.
        a: (String, String),
        /// The other.
        b: (String, String),
    },
    /// The struct is larger.
    Larger {
        /// Bytes it has.
        bytes: usize,
        /// Bytes it may have.
        most: usize,
    },
}

/// Bytes of a field that a role uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedBytes {
    /// The field.
    pub field: String,
    /// The role.
    pub role: String,
    /// How it uses them.
    pub does: Does,
    /// First byte, from the start of the object.
    pub start: usize,
    /// First byte behind them.
    pub end: usize,
}

/// Most pairs of uses that are held against each other.
const MOST_PAIRS: usize = 4_000_000;

impl Case {
    /// Hold `layout` against every rule, with so many threads.
    pub fn check(&self, layout: &CaseLayout, threads: usize) -> Result<Vec<Checked>> {
        let subject = self.subject(layout, threads)?;
        let rules = self.rules.iter().map(|rule| {
            let breach = match rule {
                Rule::Apart { uses, within } => near(&subject, uses, *within)?,
                Rule::Together(fields) => split(&subject, self.regions_of_struct(layout), fields)?,
                Rule::MaxSize(most) => (layout.bytes > *most).then_some(Breach::Larger {
                    bytes: layout.bytes,
                    most: *most,
                }),
            };
            Ok(Checked {
                rule: rule.clone(),
                breach,
            })
        });
        rules.collect()
    }

    /// The struct and its parts are the first regions of a subject.
    fn regions_of_struct(&self, layout: &CaseLayout) -> usize {
        1 + layout.parts.len()
    }
}

/// The uses of a region's fields that a rule means.
fn meant<'a>(subject: &'a Subject, region: &'a Region, by: &RoleUse) -> Vec<&'a Touch> {
    let is_role = |touch: &&Touch| subject.actor_name(touch.actor) == by.role;
    let touches = || region.touches.iter().filter(is_role);
    let written: BTreeSet<usize> = touches()
        .filter(|touch| touch.stores > 0.0)
        .map(|touch| touch.field)
        .collect();
    touches()
        .filter(|touch| match by.does {
            Does::Write => touch.stores > 0.0,
            Does::Read => !written.contains(&touch.field),
        })
        .collect()
}

fn near(subject: &Subject, uses: &[RoleUse; 2], within: usize) -> Result<Option<Breach>> {
    let within = within.max(1);
    let mut looked = 0usize;
    for region in &subject.regions {
        let [a, b] = [&uses[0], &uses[1]].map(|by| meant(subject, region, by));
        if a.is_empty() || b.is_empty() {
            continue;
        }
        let slot = region.packing.slot().unwrap_or(0);
        let farthest = region.farthest();
        for distance in 0..=farthest {
            for (phase, _) in region.phases() {
                let blocks = |touch: &Touch, base: usize| {
                    (base + touch.start) / within..(base + touch.end).div_ceil(within)
                };
                // The rule has no order: the second use may lie in the first object.
                for (first, second, turned) in [(&a, &b, false), (&b, &a, true)] {
                    if turned && distance == 0 {
                        continue;
                    }
                    let mut in_block: BTreeMap<usize, Vec<&Touch>> = BTreeMap::new();
                    for touch in first {
                        for block in blocks(touch, phase) {
                            in_block.entry(block).or_default().push(touch);
                        }
                    }
                    for there in second {
                        let found = blocks(there, phase + distance * slot)
                            .filter_map(|block| in_block.get(&block));
                        for here in found.flatten() {
                            looked += 1;
                            if looked > MOST_PAIRS {
                                return Err(Error::Input(format!(
                                    "'{}': more than {MOST_PAIRS} pairs of uses lie near each \
                                     other; let its roles touch fewer fields",
                                    region.name.escape_debug()
                                )));
                            }
                            let is_itself = distance == 0 && here.field == there.field;
                            let meets = distance == 0
                                || meet(subject, region, here, there, distance as isize) > 0.0;
                            if is_itself || !meets {
                                continue;
                            }
                            let (a, b, distance) = match turned {
                                false => (here, there, distance as isize),
                                true => (there, here, -(distance as isize)),
                            };
                            return Ok(Some(Breach::Near {
                                a: used(region, a, &uses[0]),
                                b: used(region, b, &uses[1]),
                                within,
                                distance,
                                phase: match turned {
                                    false => phase,
                                    true => (phase + distance.unsigned_abs() * slot) % PAIR,
                                },
                            }));
                        }
                    }
                }
            }
        }
    }
    Ok(None)
}

fn used(region: &Region, touch: &Touch, by: &RoleUse) -> UsedBytes {
    UsedBytes {
        field: region.field_name(touch.field).to_owned(),
        role: by.role.clone(),
        does: by.does,
        start: touch.start,
        end: touch.end,
    }
}

/// Whether fields of the struct, in the first `regions`, lie in different lines.
fn split(subject: &Subject, regions: usize, fields: &[String]) -> Result<Option<Breach>> {
    let mut found = Vec::new();
    for name in fields {
        let mut spots = subject.regions.iter().take(regions).flat_map(|region| {
            let spots = region.fields.iter().filter(|spot| spot.name == *name);
            spots.map(move |spot| (region, spot))
        });
        let Some((region, spot)) = spots.next() else {
            let regions = subject.regions.iter().take(regions);
            let names = regions.flat_map(|region| &region.fields);
            let what = format!("field of layout '{}'", subject.layout.escape_debug());
            return Err(Error::unknown(
                &what,
                name,
                names.map(|spot| spot.name.as_str()),
            ));
        };
        found.push((region, spot));
    }
    let Some(&(region, first)) = found.first() else {
        return Ok(None);
    };
    let is_elsewhere = |(other, _): &&(&Region, _)| !std::ptr::eq(*other, region);
    if let Some((other, spot)) = found.iter().find(is_elsewhere) {
        return Ok(Some(Breach::Elsewhere {
            a: (first.name.clone(), region.name.clone()),
            b: (spot.name.clone(), other.name.clone()),
        }));
    }
    let lowest = found
        .iter()
        .map(|(_, spot)| *spot)
        .min_by_key(|spot| spot.offset);
    let highest = found
        .iter()
        .map(|(_, spot)| *spot)
        .max_by_key(|spot| spot.end());
    let (Some(lowest), Some(highest)) = (lowest, highest) else {
        return Ok(None);
    };
    for (phase, _) in region.phases() {
        let last = (phase + highest.end()).saturating_sub(1);
        if (phase + lowest.offset) / LINE != last / LINE {
            let of =
                |spot: &crate::layout::subject::Spot| (spot.name.clone(), spot.offset, spot.end());
            return Ok(Some(Breach::Split {
                a: of(lowest),
                b: of(highest),
                phase,
            }));
        }
    }
    Ok(None)
}

impl fmt::Display for RoleUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = match self.does {
            Does::Read => "reads",
            Does::Write => "writes",
        };
        write!(f, "what '{}' {does}", self.role)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Apart {
                uses: [a, b],
                within,
            } => {
                write!(f, "{a} is apart from {b} by blocks of {within} bytes")
            }
            Rule::Together(fields) => {
                write!(f, "{} are in one line", fields.join(", "))
            }
            Rule::MaxSize(bytes) => write!(f, "at most {bytes} bytes"),
        }
    }
}

impl fmt::Display for UsedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = match self.does {
            Does::Read => "read",
            Does::Write => "written",
        };
        write!(
            f,
            "{} ({does} by '{}', bytes {} to {})",
            self.field,
            self.role,
            self.start,
            self.end.saturating_sub(1)
        )
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Breach::Near {
                a,
                b,
                within,
                distance,
                phase,
            } => {
                let block = if *within == LINE { "line" } else { "pair" };
                write!(
                    f,
                    "{a} shares {block} {} with {b}",
                    (phase + a.start) / within
                )?;
                match distance {
                    0 => {}
                    1 => f.write_str(" of the next object")?,
                    -1 => f.write_str(" of the object before")?,
                    n if *n < 0 => write!(f, " of the object {} slots before", n.unsigned_abs())?,
                    n => write!(f, " of the object {n} slots behind")?,
                }
                in_slot(f, *phase)
            }
            Breach::Split {
                a: (a, from, to),
                b: (b, from_b, to_b),
                phase,
            } => {
                if a == b {
                    write!(
                        f,
                        "{a} (bytes {from} to {}) crosses a line",
                        to.saturating_sub(1)
                    )?;
                } else {
                    let line = |from: &usize| (phase + from) / LINE;
                    let last = (phase + to_b).saturating_sub(1) / LINE;
                    write!(
                        f,
                        "{a} (bytes {from} to {}) is in line {}, {b} (bytes {from_b} to {}) ends in line {last}",
                        to.saturating_sub(1),
                        line(from),
                        to_b.saturating_sub(1)
                    )?;
                }
                in_slot(f, *phase)
            }
            Breach::Elsewhere {
                a: (a, of_a),
                b: (b, of_b),
            } => write!(f, "{a} is in {of_a}, {b} in {of_b}"),
            Breach::Larger { bytes, most } => write!(f, "{bytes} bytes, {most} allowed"),
        }
    }
}

/// Says which slots a breach is in, unless in the first one.
fn in_slot(f: &mut fmt::Formatter<'_>, phase: usize) -> fmt::Result {
    match phase {
        0 => Ok(()),
        phase => write!(f, ", in slots that start {phase} bytes into a pair"),
    }
}
