//! Layouts by a name that says where they come from, and layouts of cases.

use crate::case::{Case, CaseLayout};
use crate::error::{Error, Result};
use crate::layout::LayoutFile;
use crate::layout::interference::Interference;
use crate::layout::subject::Subject;
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::mapped;
use std::path::Path;

/// Threads that are mapped where nobody says how many.
pub const THREADS: usize = 16;
/// Most threads that are mapped.
pub const MOST_THREADS: usize = 1 << 16;

/// What the argument of `layout diff` may be.
pub const FORMS: &str = "A and B are each NAME (a built-in layout), case:CASE:LAYOUT, \
    btf:STRUCT (of the running kernel), btf:FILE:STRUCT or dwarf:FILE:STRUCT; with --case C, names \
    of its layouts.";

/// The argument of `--threads`.
pub fn threads(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(count) if (2..=MOST_THREADS).contains(&count) => Ok(count),
        _ => Err(format!(
            "'{text}' is not a number of threads from 2 to {MOST_THREADS}"
        )),
    }
}

/// The layouts of `case` that were asked for: one, or all.
pub fn of_case<'c>(case: &'c Case, name: Option<&str>) -> Result<Vec<&'c CaseLayout>> {
    match name {
        Some(name) => Ok(vec![case.layout(name)?]),
        None => Ok(case.layouts.iter().collect()),
    }
}

/// A layout and its map.
pub struct Mapped {
    /// The layout and who accesses it.
    pub subject: Subject,
    /// The map.
    pub map: Interference,
}

impl Mapped {
    /// The map of `subject`.
    pub fn of(subject: Subject) -> Result<Mapped> {
        let map = Interference::of(&subject)?;
        Ok(Mapped { subject, map })
    }

    /// A built-in layout of the VMA.
    pub fn built_in(name: &str, threads: usize) -> Result<Mapped> {
        Mapped::of(mapped::subject(VmaLayout::parse(name)?, threads)?)
    }

    /// A layout by one of the [`FORMS`].
    pub fn named(text: &str, threads: usize) -> Result<Mapped> {
        let Some((form, rest)) = text.split_once(':') else {
            return Mapped::built_in(text, threads);
        };
        let parts = rest.rsplit_once(':');
        let subject = match (form, parts) {
            ("case", Some((case, layout))) => {
                let case = Case::load(case)?;
                case.subject(case.layout(layout)?, threads)?
            }
            ("btf", None) => Subject::of_struct(&LayoutFile::running_kernel().read(rest)?),
            ("btf", Some((file, name))) => {
                let (file, base) = (Path::new(file).to_owned(), None);
                Subject::of_struct(&LayoutFile::Btf { file, base }.read(name)?)
            }
            ("dwarf", Some((file, name))) => {
                Subject::of_struct(&LayoutFile::Dwarf(file.into()).read(name)?)
            }
            ("case" | "dwarf", None) => {
                return Err(Error::Input(format!(
                    "'{}' names no layout; {FORMS}",
                    text.escape_debug()
                )));
            }
            _ => {
                return Err(Error::unknown(
                    "form of a layout",
                    form,
                    ["case", "btf", "dwarf"],
                ));
            }
        };
        Mapped::of(subject)
    }
}
