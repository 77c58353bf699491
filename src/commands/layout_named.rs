//! Layouts by a name that says where they come from, and layouts of cases.

use crate::case::{Case, CaseLayout};
use crate::error::{Error, Result};
use crate::layout::interference::Interference;
use crate::layout::subject::Subject;
use crate::layout::{LayoutFile, StructLayout};
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::mapped;
use std::path::Path;
use std::sync::Arc;

/// Threads that are mapped where nobody says how many.
pub const THREADS: usize = 16;
/// Most threads that are mapped.
pub const MOST_THREADS: usize = 1 << 16;

/// What the argument of `layout diff` may be.
pub const FORMS: &str = "A and B are each NAME (a built-in layout), case:CASE:LAYOUT, \
    btf:STRUCT (of the running kernel), btf:FILE:STRUCT, dwarf:FILE:STRUCT, pahole:FILE:STRUCT or \
    pahole:FILE; with --case C, names of its layouts.";

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

/// Where a layout comes from, as far as a program is known that runs on it.
pub enum Named {
    /// A built-in layout of the VMA.
    BuiltIn(VmaLayout),
    /// That number of a case.
    OfCase(Arc<Case>, usize),
    /// A struct: nobody knows who accesses it.
    Struct,
}

/// A layout and its map.
pub struct MappedLayout {
    /// Where it comes from.
    pub named: Named,
    /// The layout and who accesses it.
    pub subject: Subject,
    /// The map.
    pub map: Interference,
}

impl MappedLayout {
    fn new(named: Named, subject: Subject) -> Result<MappedLayout> {
        let map = Interference::of(&subject)?;
        Ok(MappedLayout {
            named,
            subject,
            map,
        })
    }

    /// A struct that nobody is known to access.
    pub fn of_struct(layout: &StructLayout) -> Result<MappedLayout> {
        MappedLayout::new(Named::Struct, Subject::of_struct(layout))
    }

    /// A layout of `case`, with what its roles do.
    pub fn of_case(case: &Arc<Case>, name: &str, threads: usize) -> Result<MappedLayout> {
        let number = case.layout_number(name)?;
        let subject = case.subject(case.layout(name)?, threads)?;
        MappedLayout::new(Named::OfCase(Arc::clone(case), number), subject)
    }

    /// A built-in layout of the VMA.
    pub fn built_in(name: &str, threads: usize) -> Result<MappedLayout> {
        let layout = VmaLayout::parse(name)?;
        MappedLayout::new(Named::BuiltIn(layout), mapped::subject(layout, threads)?)
    }

    /// A layout by one of the [`FORMS`].
    pub fn named(text: &str, threads: usize) -> Result<MappedLayout> {
        let Some((form, rest)) = text.split_once(':') else {
            return MappedLayout::built_in(text, threads);
        };
        // What a file's name has of colons, the last one is not.
        let parts = rest.rsplit_once(':');
        let (file, name) = match (form, parts) {
            ("case", Some((case, layout))) => {
                let case = Arc::new(Case::load(case)?);
                return MappedLayout::of_case(&case, layout, threads);
            }
            ("btf", None) => (LayoutFile::running_kernel(), Some(rest)),
            ("btf", Some((file, name))) => {
                let (file, base) = (file.into(), None);
                (LayoutFile::Btf { file, base }, Some(name))
            }
            ("dwarf", Some((file, name))) => (LayoutFile::Dwarf(file.into()), Some(name)),
            ("pahole", None) => (LayoutFile::Pahole(rest.into()), None),
            ("pahole", Some(_)) if Path::new(rest).exists() => {
                (LayoutFile::Pahole(rest.into()), None)
            }
            ("pahole", Some((file, name))) => (LayoutFile::Pahole(file.into()), Some(name)),
            ("case" | "dwarf", None) => {
                return Err(Error::Input(format!(
                    "'{}' names no layout; {FORMS}",
                    text.escape_debug()
                )));
            }
            _ => {
                let forms = ["case", "btf", "dwarf", "pahole"];
                return Err(Error::unknown("form of a layout", form, forms));
            }
        };
        MappedLayout::of_struct(&file.read(name)?)
    }
}
