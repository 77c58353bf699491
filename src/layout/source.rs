//! Where a layout is read from: a file with type data, or the running kernel.

use super::btf::Btf;
use super::dwarf::{Dwarf, Sections};
use super::object_file::{Elf, is_elf, read_file};
use super::pahole::Pahole;
use super::struct_layout::StructLayout;
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The type data of the running kernel, which everybody may read.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// Where they and those of its modules are.
const KERNEL_BTF_FOLDER: &str = "/sys/kernel/btf";

/// A file that says how structs are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutFile {
    /// BTF, as such or in the section `.BTF` of an ELF file.
    Btf {
        /// The file.
        file: PathBuf,
        /// The BTF that split BTF was made against. Without it: that of the running kernel for its
        /// modules, the section `.BTF.base` of an ELF file that has one, else none.
        base: Option<PathBuf>,
    },
    /// DWARF, in an ELF file.
    Dwarf(PathBuf),
    /// The text that pahole prints.
    Pahole(PathBuf),
}

impl LayoutFile {
    /// The BTF of the running kernel.
    pub fn running_kernel() -> LayoutFile {
        LayoutFile::Btf {
            file: KERNEL_BTF.into(),
            base: None,
        }
    }

    /// The layout of the struct `name`, which only the text of pahole can do without: if it prints
    /// no other.
    pub fn read(&self, name: Option<&str>) -> Result<StructLayout> {
        let named = || name.ok_or_else(|| Error::Input("which struct? give --struct S".to_owned()));
        match self {
            LayoutFile::Btf { file, base } => {
                let name = named()?;
                with_btf(file, base.as_deref(), |btf| {
                    btf.struct_layout(name, &described(file))
                })
            }
            LayoutFile::Dwarf(file) => {
                let name = named()?;
                with_dwarf(file, |dwarf| dwarf.struct_layout(name, &described(file)))
            }
            LayoutFile::Pahole(file) => {
                with_pahole(file, |pahole| pahole.struct_layout(name, &described(file)))
            }
        }
    }

    /// The layouts of all structs that have a name, one after the other, or why one has none.
    pub fn each(&self, mut then: impl FnMut(Result<StructLayout>) -> Result<()>) -> Result<()> {
        match self {
            LayoutFile::Btf { file, base } => with_btf(file, base.as_deref(), |btf| {
                btf.layouts(&described(file)).try_for_each(then)
            }),
            LayoutFile::Dwarf(file) => with_dwarf(file, |dwarf| dwarf.each(&described(file), then)),
            LayoutFile::Pahole(file) => with_pahole(file, |pahole| {
                let source = described(file);
                pahole.layouts(&source).try_for_each(&mut then)
            }),
        }
    }
}

/// The file, and of the running kernel its release.
fn described(file: &Path) -> String {
    let name = file.display();
    match file.starts_with(KERNEL_BTF_FOLDER) {
        true => {
            let system = rustix::system::uname();
            format!("{name} (Linux {})", system.release().to_string_lossy())
        }
        false => name.to_string(),
    }
}

/// Errors about what is in a file say which.
fn of<T>(file: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|error| match error {
        Error::Input(what) => Error::Input(format!("{}: {what}", file.display())),
        other => other,
    })
}

/// The BTF in a file, and the BTF in it that it is based on.
struct BtfBytes<'a> {
    own: Cow<'a, [u8]>,
    base: Option<Cow<'a, [u8]>>,
}

fn btf_bytes(bytes: &[u8]) -> Result<BtfBytes<'_>> {
    if !is_elf(bytes) {
        return Ok(BtfBytes {
            own: bytes.into(),
            base: None,
        });
    }
    let elf = Elf::open(bytes)?;
    let own = elf.section(".BTF")?.ok_or_else(|| {
        Error::Input(
            "it has no section .BTF; if it was compiled with -g, give it with --dwarf".to_owned(),
        )
    })?;
    Ok(BtfBytes {
        own,
        base: elf.section(".BTF.base")?,
    })
}

fn with_btf<T>(
    file: &Path,
    base: Option<&Path>,
    then: impl FnOnce(&Btf) -> Result<T>,
) -> Result<T> {
    let bytes = read_file(file)?;
    let found = of(file, btf_bytes(&bytes))?;
    let kernel = file.starts_with(KERNEL_BTF_FOLDER) && file != Path::new(KERNEL_BTF);
    let base = match (base, &found.base) {
        (Some(_), Some(_)) => {
            return of(file, Err(Error::Input(
                "it brings the base of its BTF with it, in the section .BTF.base: leave --btf-base out".to_owned(),
            )));
        }
        (None, None) if kernel => Some(Path::new(KERNEL_BTF)),
        (base, _) => base,
    };
    let base_bytes = base.map(read_file).transpose()?;
    let base_found = match (base, &base_bytes) {
        (Some(path), Some(bytes)) => Some(of(path, btf_bytes(bytes))?.own),
        _ => found.base,
    };
    let parsed = base_found.as_deref().map(|bytes| Btf::parse(bytes, None));
    let parsed = of(base.unwrap_or(file), parsed.transpose())?;
    of(
        file,
        Btf::parse(&found.own, parsed.as_ref()).and_then(|btf| then(&btf)),
    )
}

fn with_dwarf<T>(file: &Path, then: impl FnOnce(&Dwarf) -> Result<T>) -> Result<T> {
    let bytes = read_file(file)?;
    let sections = of(file, Sections::of(&bytes))?;
    of(file, Dwarf::of(&sections).and_then(|dwarf| then(&dwarf)))
}

fn with_pahole<T>(file: &Path, then: impl FnOnce(&Pahole) -> Result<T>) -> Result<T> {
    let bytes = read_file(file)?;
    let text = std::str::from_utf8(&bytes);
    let text =
        text.map_err(|_| Error::Input("it is no text; of a binary file, give --dwarf".to_owned()));
    of(
        file,
        text.and_then(Pahole::parse)
            .and_then(|pahole| then(&pahole)),
    )
}
