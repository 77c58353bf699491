//! The journal: what registers held before they were changed, on disk before the first write.
//!
//! Whatever ends the process, the journal is either absent (nothing was changed, or all was put
//! back) or whole: it is written to a second file, synced, and renamed into place.

use super::place::Place;
use crate::error::{Error, Result, say};
use crate::machine::{CpuId, cpu_list};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Format of the file.
const VERSION: u32 = 1;

/// How long a change is meant to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// Until `hitm prefetch restore`.
    UntilRestore,
    /// While a process runs; if it is gone, it did not end as it should.
    Run,
}

/// One register of one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The CPU.
    pub cpu: CpuId,
    /// Number of the register.
    #[serde(with = "hex")]
    pub register: u32,
    /// What it held.
    #[serde(with = "hex")]
    pub original: u64,
    /// The bits that are ours to change and to put back; 0 if only other CPUs were to be changed.
    ///
    /// Those are recorded too: CPUs of one core, or of one module, share the register, so after
    /// the first write they no longer show what it held.
    #[serde(with = "hex")]
    pub managed: u64,
}

/// What is needed to put registers back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    version: u32,
    /// Boot during which the registers were changed; none for a folder of files.
    pub boot_id: Option<String>,
    /// How long the change is meant to last.
    pub scope: Lifetime,
    /// The process that wrote this.
    pub pid: u32,
    /// One register of one CPU in each row.
    pub registers: Vec<Saved>,
}

impl Journal {
    /// A journal of `registers`, by this process.
    pub fn new(place: &Place, scope: Lifetime, registers: Vec<Saved>) -> Journal {
        Journal {
            version: VERSION,
            boot_id: place.boot_id(),
            scope,
            pid: std::process::id(),
            registers,
        }
    }

    /// This journal as one that `earlier` precedes: what that one holds is never overwritten.
    pub fn after(mut self, earlier: &Journal) -> Journal {
        for saved in &earlier.registers {
            let same = |of: &&mut Saved| of.cpu == saved.cpu && of.register == saved.register;
            match self.registers.iter_mut().find(same) {
                Some(of) => {
                    of.original = saved.original;
                    of.managed |= saved.managed;
                }
                None => self.registers.push(saved.clone()),
            }
        }
        self.registers
            .sort_by_key(|saved| (saved.cpu, saved.register));
        self
    }

    /// Whether the registers were reset since, so that there is nothing to put back.
    ///
    /// A reboot resets them. A kernel that cannot tell its boot is taken for the same one.
    pub fn is_of_another_boot(&self, place: &Place) -> bool {
        match (&self.boot_id, place.boot_id()) {
            (Some(then), Some(now)) => *then != now,
            _ => false,
        }
    }

    /// The registers that are to be put back.
    pub fn managed(&self) -> impl Iterator<Item = &Saved> {
        self.registers.iter().filter(|saved| saved.managed != 0)
    }

    /// Their CPUs, as a list.
    pub fn cpus(&self) -> String {
        cpu_list::format(self.managed().map(|saved| saved.cpu))
    }

    /// Whether there is a journal of `place`, or the beginnings of one.
    pub fn leaves_a_trace(place: &Place) -> Result<bool> {
        let path = place.journal();
        let exists = |path: &Path| path.try_exists().map_err(|error| unusable(path, &error));
        Ok(exists(path)? || exists(&temporary(path))?)
    }

    /// The journal of `place`, if there is one.
    pub fn load(place: &Place) -> Result<Option<Journal>> {
        let path = place.journal();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                // Values taken for originals that are none would be lost for good: look twice.
                let exists = path.try_exists().map_err(|error| unusable(path, &error))?;
                return match error.kind() {
                    io::ErrorKind::NotFound if !exists => Ok(None),
                    _ => Err(unusable(path, &error)),
                };
            }
        };
        let journal: Journal =
            serde_json::from_str(&text).map_err(|error| unusable(path, &error))?;
        if journal.version != VERSION {
            let version = format!("version {} of its format, not {VERSION}", journal.version);
            return Err(unusable(path, &version));
        }
        Ok(Some(journal))
    }

    /// Write it, so that it outlives this process and the machine.
    pub fn store(&self, place: &Place) -> Result<()> {
        let path = place.journal();
        self.write(path).map_err(|error| {
            // Nothing was changed on its account yet.
            let _ = fs::remove_file(temporary(path));
            Error::Refused(format!(
                "cannot write the journal {}: {error}; without it registers could not be put back \
                 after a crash, so they were left alone: run as root, with a writable and not full \
                 file system",
                path.display()
            ))
        })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !folder.exists() {
            fs::create_dir_all(folder)?;
            sync_folder(folder.parent().unwrap_or(folder))?;
        }
        let temporary = temporary(path);
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let mut file = File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(folder)
    }

    /// Delete what a process killed while it wrote left of a journal; it was never in force.
    pub fn remove_unfinished(place: &Place) {
        let _ = fs::remove_file(temporary(place.journal()));
    }

    /// Delete the journal of `place`: everything in it was put back.
    pub fn remove(place: &Place) -> Result<()> {
        let path = place.journal();
        let folder = path.parent().unwrap_or(Path::new("/"));
        let removed = match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.and_then(|()| sync_folder(folder)),
        };
        removed.map_err(|error| {
            Error::Refused(format!(
                "the registers are put back, but the journal {} cannot be deleted: {error}; run \
                 `hitm prefetch restore` as root on a writable file system",
                path.display()
            ))
        })
    }
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Refused(format!(
        "unusable journal {}: {error}; it says what registers held before they were changed, so \
         nothing is touched: run as root, or read it, put the values back by hand (or reboot) and \
         delete it",
        path.display()
    ))
}

fn temporary(path: &Path) -> std::path::PathBuf {
    path.with_extension("json.new")
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Say in one line, on standard error, if prefetchers of this machine were not put back.
///
/// For the start of every command: one look for a file that is usually not there. Never fails.
pub fn notice_leftover() {
    if let Some(note) = leftover(&Place::machine()) {
        say(format_args!("note: {note}"));
    }
}

/// What registers of `place` are still changed, by whom, and what to do; none while the process
/// that changed them is at it, or if they are as they were.
pub fn leftover(place: &Place) -> Option<String> {
    let journal = match Journal::load(place) {
        Ok(journal) => journal?,
        Err(error) => return Some(error.to_string()),
    };
    if journal.is_of_another_boot(place) || place.holder().is_some() {
        return None;
    }
    let cpus = journal.cpus();
    Some(match journal.scope {
        Lifetime::UntilRestore => format!(
            "prefetchers of CPUs {cpus} are as `hitm prefetch` left them; \
             `hitm prefetch restore` puts them back"
        ),
        Lifetime::Run => format!(
            "a run (process {}) ended before it could put the prefetchers of CPUs {cpus} back; \
             `hitm prefetch restore` does it",
            journal.pid
        ),
    })
}

/// Numbers as a person would type them for `wrmsr`.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer, N: std::fmt::LowerHex>(n: &N, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{n:#x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, N: TryFrom<u64>>(d: D) -> Result<N, D::Error> {
        let text = String::deserialize(d)?;
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .and_then(|n| n.try_into().ok())
            .ok_or_else(|| D::Error::custom(format!("'{text}' is no number of the form 0x1f")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cpu");
        fs::create_dir(&root).unwrap();
        let place = Place::folder(&root).unwrap();
        (folder, place)
    }

    fn saved(cpu: usize, original: u64, managed: u64) -> Saved {
        Saved {
            cpu: CpuId(cpu),
            register: 0x1a4,
            original,
            managed,
        }
    }

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        let (_folder, place) = place();
        assert_eq!(Journal::load(&place).unwrap(), None);
        let journal = Journal::new(&place, Lifetime::Run, vec![saved(3, u64::MAX, 0xf)]);
        journal.store(&place).unwrap();
        assert_eq!(Journal::load(&place).unwrap(), Some(journal));
        Journal::remove(&place).unwrap();
        assert_eq!(Journal::load(&place).unwrap(), None);
    }

    #[test]
    fn an_original_value_is_never_overwritten() {
        let (_folder, place) = place();
        // CPU 4 shares its core with CPU 0, and so the register that was changed.
        let first = vec![saved(0, 0x20, 0x2), saved(4, 0x20, 0)];
        let first = Journal::new(&place, Lifetime::UntilRestore, first);
        let second = vec![saved(1, 0x1, 0xf), saved(4, 0x22, 0xf)];
        let second = Journal::new(&place, Lifetime::UntilRestore, second).after(&first);
        assert_eq!(
            second.registers,
            [saved(0, 0x20, 0x2), saved(1, 0x1, 0xf), saved(4, 0x20, 0xf)]
        );
    }

    #[test]
    fn a_journal_that_cannot_be_understood_is_refused_and_kept() {
        let (_folder, place) = place();
        for text in ["", "{", "{\"version\": 1}", "[]"] {
            fs::write(place.journal(), text).unwrap();
            let error = Journal::load(&place).unwrap_err();
            assert!(matches!(error, Error::Refused(_)), "{error}");
            assert_eq!(fs::read_to_string(place.journal()).unwrap(), text);
        }
    }

    #[test]
    fn a_journal_that_cannot_be_written_stops_before_any_change() {
        let (_folder, place) = place();
        fs::create_dir(temporary(place.journal())).unwrap();
        let journal = Journal::new(&place, Lifetime::Run, vec![saved(0, 0, 1)]);
        let error = journal.store(&place).unwrap_err().to_string();
        assert!(error.contains("left alone"), "{error}");
        assert_eq!(Journal::load(&place).unwrap(), None);
    }

    #[test]
    fn only_registers_of_the_machine_are_reset_by_a_boot() {
        let (_folder, folder) = place();
        let mut journal = Journal::new(&Place::machine(), Lifetime::Run, vec![]);
        assert!(!journal.is_of_another_boot(&Place::machine()));
        journal.boot_id = Some("another".into());
        assert!(journal.is_of_another_boot(&Place::machine()));
        assert!(!journal.is_of_another_boot(&folder));
    }
}
