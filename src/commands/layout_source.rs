//! The arguments that say where the layout of a struct is read.

use crate::error::{Error, Result};
use crate::layout::{KERNEL_BTF, LayoutFile, StructLayout};
use std::path::PathBuf;

/// Where a struct is read, and which.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct LayoutSource {
    /// Read BTF: of the running kernel, or of FILE (BTF as such, or an ELF file with a section
    /// .BTF)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = KERNEL_BTF)]
    #[arg(conflicts_with_all = ["dwarf", "pahole"])]
    pub btf: Option<PathBuf>,
    /// The kernel's BTF that the split BTF of a module refers to [default for files in
    /// /sys/kernel/btf: vmlinux there]
    #[arg(long, value_name = "FILE", requires = "btf")]
    pub btf_base: Option<PathBuf>,
    /// Read DWARF: an ELF file compiled with -g, from C, C++ or Rust
    #[arg(long, value_name = "FILE", conflicts_with = "pahole")]
    pub dwarf: Option<PathBuf>,
    /// Read the text that pahole -C prints
    #[arg(long, value_name = "FILE")]
    pub pahole: Option<PathBuf>,
    /// The struct, union or typedef of one; in --pahole it may be left out
    #[arg(long = "struct", value_name = "S")]
    pub struct_name: Option<String>,
}

impl LayoutSource {
    /// Whether there is one.
    pub fn is_given(&self) -> bool {
        self.btf.is_some() || self.dwarf.is_some() || self.pahole.is_some()
    }

    /// The file that was given.
    pub fn file(&self) -> Result<LayoutFile> {
        match self {
            LayoutSource {
                btf: Some(file), ..
            } => Ok(LayoutFile::Btf {
                file: file.clone(),
                base: self.btf_base.clone(),
            }),
            LayoutSource {
                dwarf: Some(file), ..
            } => Ok(LayoutFile::Dwarf(file.clone())),
            LayoutSource {
                pahole: Some(file), ..
            } => Ok(LayoutFile::Pahole(file.clone())),
            _ => Err(Error::Input(
                "no source of the struct: give --btf, --dwarf FILE or --pahole FILE".to_owned(),
            )),
        }
    }

    /// The layout of the struct that was given.
    pub fn read(&self) -> Result<StructLayout> {
        self.file()?.read(self.struct_name.as_deref())
    }
}
