//! Where registers and their journal lie, and who may touch them: one process at a time.
//!
//! Here: the machine's registers or a folder shaped like them, the kernel's rules for writing, and
//! the lock. Not here: the journal's content (`journal`).

use crate::error::{Error, Result};
use crate::machine::environment;
use crate::machine::files::chosen;
use rustix::fs::{FlockOperation, flock, fstat, major, minor};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A set of registers.
#[derive(Clone, Debug)]
pub struct Place {
    root: PathBuf,
    journal: PathBuf,
    machine: bool,
}

impl Place {
    /// The registers of this machine. Their journal is the machine's, whoever changes them.
    pub fn machine() -> Place {
        Place {
            root: "/dev/cpu".into(),
            journal: "/var/lib/hitm/prefetch.json".into(),
            machine: true,
        }
    }

    /// A folder shaped like `/dev/cpu`; the journal lies beside it.
    pub fn folder(root: &Path) -> Result<Place> {
        let unusable = |error: &dyn std::fmt::Display| {
            Error::Input(format!(
                "unusable --msr-root {}: {error}; give a folder shaped like /dev/cpu",
                root.display()
            ))
        };
        let root = fs::canonicalize(root).map_err(|error| unusable(&error))?;
        let Some(name) = root.file_name() else {
            return Err(unusable(&"the journal would lie beside it"));
        };
        let mut journal = name.to_owned();
        journal.push(".prefetch.json");
        Ok(Place {
            journal: root.with_file_name(journal),
            root,
            machine: false,
        })
    }

    /// The folder with a folder per CPU.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The journal.
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    /// Whether these are the registers of this machine.
    pub fn is_machine(&self) -> bool {
        self.machine
    }

    /// What the registers' content lasts as long as: this boot of the machine. Files last for ever.
    pub fn boot_id(&self) -> Option<String> {
        self.machine.then(environment::boot_id)?
    }

    /// Why the kernel would not let anyone write, with the remedy, if so.
    pub fn writes_forbidden(&self) -> Option<String> {
        if !self.machine {
            return None;
        }
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        forbidden(
            &read("/sys/kernel/security/lockdown"),
            &read("/sys/module/msr/parameters/allow_writes"),
        )
    }

    /// What writing does to the running kernel, if it has not happened yet.
    pub fn taint_note(&self) -> Option<&'static str> {
        // Flag S, TAINT_CPU_OUT_OF_SPEC: Linux Documentation/admin-guide/tainted-kernels.rst.
        const OUT_OF_SPEC: u64 = 1 << 2;
        let tainted = fs::read_to_string("/proc/sys/kernel/tainted").ok();
        let tainted: u64 = tainted.and_then(|t| t.trim().parse().ok()).unwrap_or(0);
        (self.machine && tainted & OUT_OF_SPEC == 0).then_some(
            "writing a model-specific register taints the kernel (flag S) until the next boot and \
             leaves a line in dmesg",
        )
    }

    /// The process that has these registers under control, if it can be told.
    pub fn holder(&self) -> Option<u32> {
        let folder = File::open(&self.root).ok()?;
        holder(&folder, &fs::read_to_string("/proc/locks").ok()?)
    }

    /// Keep every other process from changing these registers, until drop.
    pub fn hold(&self) -> Result<Hold> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Error::Refused(format!(
                "cannot {what} {}: {error}; without the lock two processes could change the same \
                 registers, so nothing was changed: run as root on a local file system",
                self.root.display()
            ))
        };
        let folder = File::open(&self.root).map_err(|error| failed("open", &error))?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Hold { _folder: folder }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let who = match self.holder() {
                    Some(pid) => format!("process {pid}"),
                    None => "another process".to_owned(),
                };
                Err(Error::Refused(format!(
                    "{who} has the prefetcher registers of {} under control; wait for its end, or \
                     end it",
                    self.root.display()
                )))
            }
            Err(error) => Err(failed("lock", &error)),
        }
    }
}

/// The exclusive right to change registers. The kernel takes it back when the process dies.
///
/// The lock is on the register folder itself, so that it excludes whoever changes the same
/// registers, and leaves no file behind.
pub struct Hold {
    _folder: File,
}

/// The owner of the lock on `folder`, from the text of `/proc/locks`.
fn holder(folder: &File, locks: &str) -> Option<u32> {
    let stat = fstat(folder).ok()?;
    let (major, minor) = (major(stat.st_dev), minor(stat.st_dev));
    let inode = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _, _) = (words.next()?, words.next()?, words.next()?);
        let (pid, of) = (words.next()?, words.next()?);
        (kind == "FLOCK" && of == inode).then(|| pid.parse().ok())?
    })
}

/// Linux `arch/x86/kernel/msr.c`: lockdown beyond `none`, or `allow_writes=off`.
fn forbidden(lockdown: &str, allow_writes: &str) -> Option<String> {
    if let Some(level) = chosen(lockdown).filter(|level| *level != "none") {
        return Some(format!(
            "the kernel is locked down (/sys/kernel/security/lockdown: {level}), which forbids \
             register writes: boot without Secure Boot or without lockdown="
        ));
    }
    (allow_writes.trim() == "off").then(|| {
        "the msr module forbids writes (/sys/module/msr/parameters/allow_writes: off): `echo on` \
         into it, or `modprobe -r msr; modprobe msr allow_writes=on`"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_and_allow_writes_are_told_apart() {
        let lockdown = forbidden("none [integrity] confidentiality\n", "default\n").unwrap();
        assert!(lockdown.contains("lockdown: integrity"), "{lockdown}");
        let off = forbidden("[none] integrity confidentiality\n", "off\n").unwrap();
        assert!(off.contains("allow_writes"), "{off}");
        assert_eq!(forbidden("[none] integrity confidentiality", "on"), None);
        assert_eq!(forbidden("", ""), None);
    }

    #[test]
    fn the_second_to_ask_for_a_folder_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::folder(folder.path()).unwrap();
        assert_eq!(place.holder(), None);
        let hold = place.hold().unwrap();
        assert_eq!(place.holder(), Some(std::process::id()));
        let error = place.hold().err().unwrap();
        assert!(matches!(error, Error::Refused(_)));
        let pid = std::process::id().to_string();
        assert!(error.to_string().contains(&pid), "{error}");
        drop(hold);
        place.hold().unwrap();
    }
}
