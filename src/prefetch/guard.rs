//! Changing registers, and putting them back whatever happens.
//!
//! Only the bits of the prefetchers asked for are ever written, in both directions: what else
//! changes in a register meanwhile is another's business and stays. If nothing else writes, the
//! register ends as it began, bit for bit.

use super::catalogue::{Which, is_known};
use super::control::{Control, Selection, Switch};
use super::journal::{Journal, Lifetime, Saved};
use super::place::{Hold, Place};
use super::registers::{self, MsrFiles, Registers};
use super::signals::Deferred;
use crate::error::{Error, Result, say};
use crate::machine::{CpuId, cpu_list};
use std::fmt;

/// A register under control.
struct Managed {
    cpu: CpuId,
    register: u32,
    /// The bits to change.
    managed: u64,
    /// Those bits when the prefetchers are off.
    off: u64,
    /// The register before anything was changed.
    base: u64,
    /// What it should hold now.
    expected: u64,
}

/// Registers under control of this process; dropping it puts them back.
///
/// While it lives, no other process may change them, and SIGINT, SIGTERM and SIGHUP only make
/// [`set`](Guard::set) fail with [`Error::Interrupted`], so that the way out is the ordinary one.
/// `std::process::exit` would skip that way; SIGKILL does, and leaves the journal.
pub struct Guard<'a> {
    control: &'a Control,
    targets: Vec<Managed>,
    without: Vec<CpuId>,
    /// The journal from before, of a change that is to last.
    earlier: Option<Journal>,
    journal: Journal,
    armed: bool,
    signals: Deferred,
    _hold: Hold,
}

/// Registers that changed by themselves, or by another's hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift(Vec<Drifted>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Drifted {
    cpu: CpuId,
    register: u32,
    expected: u64,
    found: u64,
}

impl Drift {
    /// Whether every register held its value.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The CPUs whose register changed, ascending.
    pub fn cpus(&self) -> impl Iterator<Item = CpuId> {
        self.0.iter().map(|drifted| drifted.cpu)
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else {
            return f.write_str("no prefetcher register drifted");
        };
        write!(
            f,
            "prefetcher register {:#x} of CPU {} drifted from {:#x} to {:#x}",
            first.register, first.cpu, first.expected, first.found
        )?;
        match self.0.len() - 1 {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

/// What a change that is to last did.
#[derive(Debug)]
pub struct Applied {
    /// CPUs that are now as asked, as a list.
    pub cpus: String,
    /// CPUs without such a prefetcher, left alone; empty if all have it.
    pub without: String,
    /// Registers that had to be written for it.
    pub written: usize,
}

/// What [`restore`] found to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Restored {
    /// No journal: nothing is changed.
    Nothing,
    /// The journal of an earlier boot was discarded: the reboot reset its registers.
    AnotherBoot,
    /// The registers of these CPUs are as they were.
    PutBack(String),
}

impl Control {
    /// Take the prefetchers `which` of the selected CPUs under control, until the guard is dropped.
    ///
    /// On return every register was read, and the journal is on disk; nothing is changed yet.
    pub fn guard(&self, which: Which) -> Result<Guard<'_>> {
        self.begin(which, Lifetime::Run)
    }

    /// Switch the prefetchers `which` of the selected CPUs, until [`restore`].
    ///
    /// If one CPU fails, all are put back.
    pub fn apply(&self, which: Which, state: Switch) -> Result<Applied> {
        let mut guard = self.begin(which, Lifetime::UntilRestore)?;
        match guard.switch(state) {
            Ok(written) => {
                let applied = Applied {
                    cpus: cpu_list::format(guard.targets.iter().map(|target| target.cpu)),
                    without: cpu_list::format(guard.without.iter().copied()),
                    written,
                };
                guard.keep()?;
                Ok(applied)
            }
            Err(error) => match (guard.restore(), error) {
                (Ok(()), Error::Refused(error)) => Err(Error::Refused(format!(
                    "{error}; every register was put back"
                ))),
                (Ok(()), error) => Err(error),
                (Err(more), error) => Err(Error::Refused(format!("{error}; {more}"))),
            },
        }
    }

    fn begin(&self, which: Which, scope: Lifetime) -> Result<Guard<'_>> {
        let place = self.place();
        let selection = self.select(which)?;
        if let Some(why) = place.writes_forbidden() {
            return Err(Error::Refused(why));
        }
        let hold = place.hold()?;
        let earlier = Journal::load(place)?.filter(|journal| !journal.is_of_another_boot(place));
        if let (Some(journal), Lifetime::Run) = (&earlier, scope)
            && journal.scope == Lifetime::Run
        {
            return Err(Error::Refused(format!(
                "an earlier run (process {}) left prefetchers of CPUs {} changed; put them back \
                 first: `hitm prefetch restore`",
                journal.pid,
                journal.cpus()
            )));
        }
        let signals = Deferred::start().map_err(|error| {
            Error::Refused(format!(
                "cannot watch for signals: {error}; a Ctrl-C would leave registers changed, so \
                 they were left alone: look at the limits of the process (`ulimit -a`)"
            ))
        })?;
        let targets = self.targets(&selection)?;
        let saved = self.snapshot(&targets);
        let mut journal = Journal::new(place, scope, saved);
        if let Some(earlier) = &earlier {
            journal = journal.after(earlier);
        }
        if let Err(error) = journal.store(place) {
            if earlier.is_none() {
                let _ = Journal::remove(place);
            }
            return Err(error);
        }
        Ok(Guard {
            control: self,
            targets,
            without: selection.without,
            earlier,
            journal,
            armed: true,
            signals,
            _hold: hold,
        })
    }

    /// The registers of `selection`, read.
    fn targets(&self, selection: &Selection) -> Result<Vec<Managed>> {
        let mut targets: Vec<Managed> = Vec::new();
        for &(cpu, _, bit) in &selection.bits {
            let off = if bit.off { bit.mask() } else { 0 };
            let same = |of: &&mut Managed| of.cpu == cpu && of.register == bit.register;
            if let Some(target) = targets.iter_mut().find(same) {
                target.managed |= bit.mask();
                target.off |= off;
                continue;
            }
            let base = self.read(cpu, bit.register)?;
            targets.push(Managed {
                cpu,
                register: bit.register,
                managed: bit.mask(),
                off,
                base,
                expected: base,
            });
        }
        Ok(targets)
    }

    /// What is to be in the journal: `targets`, and the same registers of the other CPUs, which
    /// may share them.
    fn snapshot(&self, targets: &[Managed]) -> Vec<Saved> {
        let mut saved: Vec<Saved> = targets
            .iter()
            .map(|target| Saved {
                cpu: target.cpu,
                register: target.register,
                original: target.base,
                managed: target.managed,
            })
            .collect();
        let mut numbers: Vec<u32> = targets.iter().map(|target| target.register).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for &cpu in &self.all {
            for &register in &numbers {
                if saved.iter().any(|s| s.cpu == cpu && s.register == register) {
                    continue;
                }
                // A CPU that cannot be read, or has no such register, shares it with nobody.
                if let Ok(original) = self.registers.read(cpu, register) {
                    saved.push(Saved {
                        cpu,
                        register,
                        original,
                        managed: 0,
                    });
                }
            }
        }
        saved
    }
}

impl Guard<'_> {
    /// Switch the prefetchers. Registers that are as asked already are read, not written.
    ///
    /// On error some may be switched; drop the guard, which puts all of them back.
    pub fn set(&mut self, state: Switch) -> Result<()> {
        self.switch(state).map(|_| ())
    }

    /// The same; returns how many registers were written.
    fn switch(&mut self, state: Switch) -> Result<usize> {
        let mut written = 0;
        for target in &mut self.targets {
            if self.signals.caught() {
                return Err(Error::Interrupted);
            }
            let bits = match state {
                Switch::Off => target.off,
                Switch::On => target.managed & !target.off,
            };
            let change = Change {
                cpu: target.cpu,
                register: target.register,
                managed: target.managed,
                bits,
            };
            let (value, wrote) = change
                .make(&*self.control.registers, &self.control.place)
                .map_err(Error::Refused)?;
            target.expected = value;
            written += usize::from(wrote);
        }
        Ok(written)
    }

    /// Read the registers again: which do not hold what [`set`](Self::set) left in them?
    pub fn verify(&self) -> Result<Drift> {
        let mut drift = Drift::default();
        for target in &self.targets {
            let found = self.control.read(target.cpu, target.register)?;
            if found != target.expected {
                drift.0.push(Drifted {
                    cpu: target.cpu,
                    register: target.register,
                    expected: target.expected,
                    found,
                });
            }
        }
        Ok(drift)
    }

    /// Whether SIGINT, SIGTERM or SIGHUP came.
    pub fn interrupted(&self) -> bool {
        self.signals.caught()
    }

    /// Selected CPUs that have no such prefetcher and are left alone (E-cores, for one).
    pub fn without(&self) -> &[CpuId] {
        &self.without
    }

    /// Put the registers back, as dropping does, and say how it went.
    pub fn restore(mut self) -> Result<()> {
        self.put_back()
    }

    fn put_back(&mut self) -> Result<()> {
        self.armed = false;
        let place = &self.control.place;
        let changes = self.targets.iter().map(|target| Change {
            cpu: target.cpu,
            register: target.register,
            managed: target.managed,
            bits: target.base & target.managed,
        });
        make_all(changes, &*self.control.registers, place)?;
        match &self.earlier {
            Some(earlier) => earlier.store(place),
            None => Journal::remove(place),
        }
    }

    /// Leave the registers as they are, and the journal for [`restore`].
    fn keep(mut self) -> Result<()> {
        self.armed = false;
        let as_before = self.journal.managed().all(|saved| {
            let now = self.control.registers.read(saved.cpu, saved.register);
            now.is_ok_and(|now| (now ^ saved.original) & saved.managed == 0)
        });
        match as_before {
            true => Journal::remove(&self.control.place),
            false => Ok(()),
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.armed
            && let Err(error) = self.put_back()
        {
            say(error);
        }
    }
}

/// Put back what the journal of `place` holds.
///
/// Every CPU is tried; the journal goes last, and only if all were put back. May be repeated.
pub fn restore(place: &Place) -> Result<Restored> {
    if !Journal::leaves_a_trace(place)? {
        return Ok(Restored::Nothing);
    }
    restore_through(
        place,
        &MsrFiles::open(place.root(), registers::list(place)?),
    )
}

/// The same, through `registers`.
pub(super) fn restore_through(place: &Place, registers: &dyn Registers) -> Result<Restored> {
    let _hold = place.hold()?;
    // Ctrl-C should not stop this half-way; if it cannot be deferred, the journal still helps.
    let _signals = Deferred::start();
    let journal = Journal::load(place)?;
    Journal::remove_unfinished(place);
    let Some(journal) = journal else {
        return Ok(Restored::Nothing);
    };
    let restored = if journal.is_of_another_boot(place) {
        Restored::AnotherBoot
    } else {
        put_back(&journal, registers, place)?;
        Restored::PutBack(journal.cpus())
    };
    Journal::remove(place)?;
    Ok(restored)
}

fn put_back(journal: &Journal, registers: &dyn Registers, place: &Place) -> Result<()> {
    if let Some(saved) = journal
        .managed()
        .find(|saved| !is_known(saved.register, saved.managed))
    {
        return Err(Error::Refused(format!(
            "the journal {} names bits {:#x} of register {:#x}, which are no prefetcher's; nothing \
             was written: read it, and delete it if it is not `hitm`'s",
            place.journal().display(),
            saved.managed,
            saved.register
        )));
    }
    let changes = journal.managed().map(|saved| Change {
        cpu: saved.cpu,
        register: saved.register,
        managed: saved.managed,
        bits: saved.original & saved.managed,
    });
    make_all(changes, registers, place)
}

/// Put registers back: try every one, whatever happens to the others.
fn make_all(
    changes: impl Iterator<Item = Change>,
    registers: &dyn Registers,
    place: &Place,
) -> Result<()> {
    let failed: Vec<(CpuId, String)> = changes
        .filter_map(|change| {
            let error = change.make(registers, place).err()?;
            Some((change.cpu, error))
        })
        .collect();
    let Some((_, first)) = failed.first() else {
        return Ok(());
    };
    Err(Error::Refused(format!(
        "NOT put back: CPUs {}: {first}; the journal {} is kept: when the cause is gone, run \
         `hitm prefetch restore`",
        cpu_list::format(failed.iter().map(|(cpu, _)| *cpu)),
        place.journal().display()
    )))
}

/// Bits to be written to a register.
struct Change {
    cpu: CpuId,
    register: u32,
    managed: u64,
    bits: u64,
}

impl Change {
    /// Read, modify, write, read back. The value now, and whether it had to be written; or why not.
    fn make(
        &self,
        registers: &dyn Registers,
        place: &Place,
    ) -> std::result::Result<(u64, bool), String> {
        let &Change {
            cpu,
            register,
            managed,
            bits,
        } = self;
        let explain = |fault: registers::Fault| fault.explain(cpu, register, place);
        let before = registers.read(cpu, register).map_err(explain)?;
        let wanted = (before & !managed) | bits;
        if wanted == before {
            return Ok((before, false));
        }
        registers.write(cpu, register, wanted).map_err(explain)?;
        let after = registers.read(cpu, register).map_err(explain)?;
        if after & managed != bits {
            return Err(format!(
                "CPU {cpu} ignored the write to register {register:#x} (wrote {wanted:#x}, reads \
                 {after:#x}): a hypervisor or the firmware keeps it; measure on the host, or \
                 unlock it in the BIOS"
            ));
        }
        Ok((after, true))
    }
}
