//! Reading and writing model-specific registers: a trait, and its implementation on `/dev/cpu/N/msr`.
//!
//! A folder of regular files of the same shape serves as well: the 8 bytes at the offset of a
//! register's number are the register. Here also: what each failing system call means and what to
//! do about it. Not here: which register, and which value.

use super::place::Place;
use crate::error::{Error, Result};
use crate::machine::CpuId;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The system call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Opening the CPU's register file.
    Open,
    /// Reading a register.
    Read,
    /// Writing a register.
    Write,
}

/// A failed access to a register.
#[derive(Debug)]
pub struct Fault {
    /// What was tried.
    pub access: Access,
    /// What the system said.
    pub error: io::Error,
}

/// The registers of some CPUs.
pub trait Registers {
    /// The value of `register` on `cpu`.
    fn read(&self, cpu: CpuId, register: u32) -> std::result::Result<u64, Fault>;
    /// Set `register` on `cpu` to `value`.
    fn write(&self, cpu: CpuId, register: u32, value: u64) -> std::result::Result<(), Fault>;
}

/// Registers behind `ROOT/N/msr`.
///
/// The files stay open, so that putting registers back cannot fail for want of a descriptor.
pub struct MsrFiles {
    files: BTreeMap<CpuId, io::Result<File>>,
}

impl MsrFiles {
    /// Open the files of `cpus`. One that cannot be opened fails at its first access.
    pub fn open(root: &Path, cpus: impl IntoIterator<Item = CpuId>) -> MsrFiles {
        let mut files = BTreeMap::new();
        for cpu in cpus {
            files.entry(cpu).or_insert_with(|| {
                let path = root.join(cpu.to_string()).join("msr");
                OpenOptions::new().read(true).write(true).open(path)
            });
        }
        MsrFiles { files }
    }

    fn file(&self, cpu: CpuId) -> std::result::Result<&File, Fault> {
        let error = match self.files.get(&cpu) {
            Some(Ok(file)) => return Ok(file),
            Some(Err(error)) => match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            },
            None => io::ErrorKind::NotFound.into(),
        };
        Err(Fault {
            access: Access::Open,
            error,
        })
    }
}

impl Registers for MsrFiles {
    // A register is moved by a single system call, or not at all: two halves of different moments
    // make no value.

    fn read(&self, cpu: CpuId, register: u32) -> std::result::Result<u64, Fault> {
        let mut bytes = [0; 8];
        let length = self.file(cpu)?.read_at(&mut bytes, register.into());
        whole(length, io::ErrorKind::UnexpectedEof).map_err(|error| Fault {
            access: Access::Read,
            error,
        })?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&self, cpu: CpuId, register: u32, value: u64) -> std::result::Result<(), Fault> {
        let bytes = value.to_le_bytes();
        let length = self.file(cpu)?.write_at(&bytes, register.into());
        whole(length, io::ErrorKind::WriteZero).map_err(|error| Fault {
            access: Access::Write,
            error,
        })
    }
}

fn whole(length: io::Result<usize>, short: io::ErrorKind) -> io::Result<()> {
    match length? {
        8 => Ok(()),
        _ => Err(short.into()),
    }
}

/// The CPUs with a register file under `place`, ascending.
pub fn list(place: &Place) -> Result<Vec<CpuId>> {
    let root = place.root();
    let failed = |found: String| match place.is_machine() {
        true => no_msr_module(&found),
        false => Error::Input(format!(
            "unusable --msr-root: {found}; give a folder shaped like /dev/cpu"
        )),
    };
    let cpus = cpus_under(root).map_err(|error| failed(format!("{}: {error}", root.display())))?;
    match cpus.is_empty() {
        true => Err(failed(format!("no {}/*/msr", root.display()))),
        false => Ok(cpus),
    }
}

fn cpus_under(root: &Path) -> io::Result<Vec<CpuId>> {
    let mut cpus = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(cpu) = name.to_str().and_then(|name| name.parse().ok()).map(CpuId)
            && entry.path().join("msr").try_exists()?
        {
            cpus.push(cpu);
        }
    }
    cpus.sort_unstable();
    Ok(cpus)
}

fn no_msr_module(found: &str) -> Error {
    Error::Refused(format!(
        "{found}: the kernel offers no register files; load the module with `modprobe msr` (a \
         kernel built without CONFIG_X86_MSR, and most containers and microVMs, have none)"
    ))
}

impl Fault {
    /// One line: what happened, the likely cause, what to do.
    pub fn explain(&self, cpu: CpuId, register: u32, place: &Place) -> String {
        let path = place.root().join(cpu.to_string()).join("msr");
        let what = match self.access {
            Access::Open => format!("cannot open {}", path.display()),
            Access::Read => format!("cannot read register {register:#x} of CPU {cpu}"),
            Access::Write => format!("cannot write register {register:#x} of CPU {cpu}"),
        };
        let error = match self.error.kind() {
            io::ErrorKind::UnexpectedEof => "short read".to_owned(),
            io::ErrorKind::WriteZero => "short write".to_owned(),
            _ => self.error.to_string(),
        };
        format!("{what}: {error}: {}", self.remedy(cpu, place))
    }

    /// Likely cause and remedy. What each error means: Linux `arch/x86/kernel/msr.c`.
    fn remedy(&self, cpu: CpuId, place: &Place) -> String {
        use rustix::io::Errno;
        if matches!(
            self.error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero
        ) {
            return "the file ends before the register: this is no register file; give one that \
                    reaches past the register's number (sparse files do)"
                .into();
        }
        match (Errno::from_io_error(&self.error), self.access) {
            (Some(Errno::PERM), Access::Write) => place.writes_forbidden().unwrap_or_else(|| {
                "the kernel forbids register writes: see /sys/kernel/security/lockdown and \
                 /sys/module/msr/parameters/allow_writes, and run as root outside of containers"
                    .into()
            }),
            (Some(Errno::PERM), _) => {
                "CAP_SYS_RAWIO is missing: run as root, outside of containers that drop it".into()
            }
            (Some(Errno::ACCESS), _) => "no permission for the file: run as root".into(),
            (Some(Errno::ROFS), _) => {
                "it lies on a read-only file system: mount it writable".into()
            }
            (Some(Errno::NOENT), _) | (None, Access::Open) => match place.is_machine() {
                true => format!(
                    "CPU {cpu} has no register file, so it is offline, or the msr module is not \
                     loaded: `echo 1 > /sys/devices/system/cpu/cpu{cpu}/online` or `modprobe msr`"
                ),
                false => format!("the folder has no CPU {cpu}: add the file"),
            },
            (Some(Errno::NXIO | Errno::NODEV), _) => format!(
                "CPU {cpu} is offline: bring it back with `echo 1 > \
                 /sys/devices/system/cpu/cpu{cpu}/online`"
            ),
            (Some(Errno::IO), _) => "the CPU raised #GP: this core has no such register, or a \
                                     hypervisor hides it; measure on the host"
                .into(),
            (Some(Errno::MFILE | Errno::NFILE), _) => {
                "too many open files: raise `ulimit -n` well above the number of CPUs".into()
            }
            (Some(Errno::INVAL), _) => "the msr driver refused the access, so this is no register \
                                        file or not the msr driver of Linux: check `ls -l` of it \
                                        and reload the module with `modprobe -r msr; modprobe msr`"
                .into(),
            _ => {
                "unexpected; look into `dmesg`, and check the msr module with `modprobe msr`".into()
            }
        }
    }
}
