//! The argument of `--import`: an arm whose layout is read from somewhere.

use crate::error::Result;
use crate::layout::LayoutFile;
use crate::program::fault::vma::ImportedLayout;
use std::path::Path;

/// What a run with an imported layout says of itself.
pub const READ_AT_RUN_TIME: &str = "one layout is imported: every layout of this run is read from a \
    table at run time, which costs the fault path about a third at one thread; compare with no \
    other run";

/// `NAME=SOURCE`.
#[derive(Clone, Debug)]
pub struct Import {
    name: String,
    file: LayoutFile,
}

impl Import {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Read it. The slabs are those of the running kernel if the layout is, and if they may be read.
    pub fn read(&self) -> Result<ImportedLayout> {
        let layout = ImportedLayout::of_kernel(&self.name, |name| self.file.read(Some(name)))?;
        Ok(match self.file == LayoutFile::running_kernel() {
            true => layout.packed_as_below(Path::new("/")),
            false => layout,
        })
    }
}

impl std::str::FromStr for Import {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Import, String> {
        let wrong = || {
            format!(
                "'{text}' is not NAME=SOURCE; SOURCE is btf (the running kernel), btf:FILE, \
                 dwarf:FILE or pahole:FILE"
            )
        };
        let (name, source) = text.split_once('=').ok_or_else(wrong)?;
        let (form, file) = match source.split_once(':') {
            Some((_, "")) => return Err(wrong()),
            Some((form, file)) => (form, Some(file)),
            None => (source, None),
        };
        let file = match (form, file) {
            ("btf", None) => LayoutFile::running_kernel(),
            ("btf", Some(file)) => LayoutFile::Btf {
                file: file.into(),
                base: None,
            },
            ("dwarf", Some(file)) => LayoutFile::Dwarf(file.into()),
            ("pahole", Some(file)) => LayoutFile::Pahole(file.into()),
            _ => return Err(wrong()),
        };
        Ok(Import {
            name: name.trim().to_owned(),
            file,
        })
    }
}
