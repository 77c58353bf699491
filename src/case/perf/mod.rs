//! Recorded profiles: who used which field or address how often, as tools write it.
//!
//! Here: telling the format of a text, its readers (one file each), where objects lay (`place`), and
//! the uses of one struct's fields (`usage`). Not here: the case file that is written from them
//! (`case::write`).

mod annotate;
mod c2c;
mod cachelines;
mod data_source;
mod fields;
mod mem;
mod place;
mod profile;
mod script;
mod typeoff;
mod usage;

pub use fields::FieldCover;
pub use place::{Extent, ExtentSpec};
pub use profile::{CountUnit, FieldUse, ProfileFormat, UseCounts, UsePlace, UsedBy};
pub use usage::{GroupedBy, Passed, RecordedRole, RecordedUse, Usage};

use crate::error::{Error, Result};
use profile::ProfileText;

/// The format of a text; `None` if it is none that is read here.
pub fn format_of(text: &str) -> Option<ProfileFormat> {
    // A report begins with its titles; a pasted part of one, with rows.
    text.lines().find_map(|line| {
        let is_it = |(format, is_it): (ProfileFormat, bool)| is_it.then_some(format);
        [
            (ProfileFormat::C2c, c2c::is_it(line)),
            (ProfileFormat::Annotate, annotate::is_it(line)),
            (ProfileFormat::Script, line.contains(script::DECODED)),
            (ProfileFormat::Mem, mem::is_it(line)),
            (
                ProfileFormat::Cachelines,
                line.contains(cachelines::HEADING),
            ),
            (ProfileFormat::TypeOff, typeoff::is_it(line)),
        ]
        .into_iter()
        .find_map(is_it)
    })
}

/// Read a text, which a person calls `name`, and give each use in it to `found`. Returns its format
/// and what it cannot say or what was passed over.
pub fn read<'t>(
    name: &'t str,
    text: &'t str,
    found: &mut dyn FnMut(FieldUse<'t>),
) -> Result<(ProfileFormat, Vec<String>)> {
    if text.starts_with("PERFILE2") {
        return Err(Error::Input(format!(
            "{name} is what perf recorded, not a report of it; write one with: perf c2c report --stdio -i FILE"
        )));
    }
    let format = format_of(text).ok_or_else(|| {
        let known: Vec<&str> = ProfileFormat::ALL.iter().map(|one| one.name()).collect();
        Error::Input(format!(
            "{name} is no profile that hitm reads; give the output of one of: {}",
            known.join("; ")
        ))
    })?;
    let text = ProfileText { name, text };
    let remarks = match format {
        ProfileFormat::C2c => c2c::read(text, found),
        ProfileFormat::Mem => mem::read(text, found),
        ProfileFormat::Script => script::read(text, found),
        ProfileFormat::Annotate => annotate::read(text, found),
        ProfileFormat::TypeOff => typeoff::read(text, found),
        ProfileFormat::Cachelines => cachelines::read(text, found),
    }?;
    Ok((format, remarks))
}
