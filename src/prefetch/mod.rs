//! Hardware prefetchers: which are on, switching them per CPU, and putting every register back.
//!
//! Here: [`Control`] (what can be switched and how it stands) and [`restore`]. In `guard`: changing
//! registers. In `catalogue`: which bit is what. A register is changed only after a journal of its
//! value is on disk, and only in the bits of the prefetchers asked for.

pub mod catalogue;
mod cpu_model;
pub mod cpulist;
mod guard;
mod journal;
mod place;
mod registers;
mod signals;
#[cfg(test)]
mod tests;

pub use catalogue::{Core, Prefetcher, Vendor, Which};
pub use cpu_model::CpuModel;
pub use guard::{Applied, Drift, Guard, Restored, State, restore};
pub use place::Place;
pub use registers::{Access, Fault, MsrFiles, Registers};

use crate::error::{Error, Result};
use crate::machine::CpuId;
use catalogue::Bit;
use journal::{Journal, Scope};
use std::collections::BTreeSet;

/// Which registers, and of which CPUs.
#[derive(Clone, Debug)]
pub struct Options {
    /// This machine's registers, or a folder shaped like them.
    pub place: Place,
    /// The CPUs in that folder; none for this machine's registers.
    pub described: Option<CpuModel>,
    /// CPUs to read and change; none for all.
    pub cpus: Option<BTreeSet<CpuId>>,
    /// Whether undocumented registers may be used.
    pub unsafe_msr: bool,
}

/// Registers whose meaning is known and whose files are open.
pub struct Control {
    place: Place,
    model: CpuModel,
    unsafe_msr: bool,
    /// CPUs to read and change.
    selected: Vec<CpuId>,
    /// Those and the others, whose registers may be the same ones.
    all: Vec<CpuId>,
    registers: Box<dyn Registers>,
}

/// One prefetcher of one CPU.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The CPU.
    pub cpu: CpuId,
    /// What it is.
    pub core: &'static Core,
    /// The bit that switches it.
    pub bit: Bit,
    /// The whole register.
    pub value: u64,
}

impl Reading {
    /// Whether the prefetcher is on.
    pub fn state(&self) -> State {
        if (self.value & self.bit.mask() != 0) == self.bit.off {
            State::Off
        } else {
            State::On
        }
    }
}

/// The bits of some prefetchers.
struct Selection {
    bits: Vec<(CpuId, &'static Core, Bit)>,
    /// CPUs that have none.
    without: Vec<CpuId>,
}

impl Control {
    /// Recognise the machine and open the registers; nothing is read or written yet.
    pub fn open(options: &Options) -> Result<Control> {
        let place = options.place.clone();
        let model = match &options.described {
            Some(model) => model.clone(),
            None => CpuModel::here()?,
        };
        let all = registers::list(&place).map_err(|error| {
            // Say at once what else is missing: loading a module for nothing is a poor remedy.
            let meaning = match model.core(CpuId(0)) {
                Err(error) => Some(error.to_string()),
                Ok(_) if options.unsafe_msr => None,
                Ok(_) => model.why_undocumented(),
            };
            match (meaning, place.is_machine()) {
                (Some(meaning), true) => Error::Refused(format!("{meaning}; also, {error}")),
                _ => error,
            }
        })?;
        let selected = match &options.cpus {
            None => all.clone(),
            Some(cpus) => {
                if let Some(cpu) = cpus.iter().find(|cpu| !all.contains(cpu)) {
                    return Err(Error::Input(format!(
                        "no CPU {cpu} under {}; there are {}",
                        place.root().display(),
                        cpulist::format(all)
                    )));
                }
                cpus.iter().copied().collect()
            }
        };
        // The selected ones first, in case there are not enough descriptors for all.
        let order = selected.iter().chain(&all).copied();
        let files = MsrFiles::open(place.root(), order);
        let unsafe_msr = options.unsafe_msr;
        Ok(Control {
            place,
            model,
            unsafe_msr,
            selected,
            all,
            registers: Box::new(files),
        })
    }

    /// A control of `cpus` through `registers`, whatever these are.
    pub fn with_registers(
        place: Place,
        model: CpuModel,
        cpus: Vec<CpuId>,
        registers: Box<dyn Registers>,
    ) -> Control {
        Control {
            place,
            model,
            unsafe_msr: false,
            selected: cpus.clone(),
            all: cpus,
            registers,
        }
    }

    /// The CPUs whose registers these are.
    pub fn model(&self) -> &CpuModel {
        &self.model
    }

    /// Where the registers lie.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The prefetcher that fetches the other line of a pair: Intel's adjacent-line, AMD's up/down.
    pub fn pair_completer(&self) -> Prefetcher {
        match self.model().vendor {
            Vendor::Intel => Prefetcher::Adjacent,
            Vendor::Amd => Prefetcher::UpDown,
        }
    }

    /// How every known prefetcher of the selected CPUs stands.
    pub fn status(&self) -> Result<Vec<Reading>> {
        let selection = self.select(Which::All)?;
        let bits = selection.bits.into_iter();
        bits.map(|(cpu, core, bit)| {
            Ok(Reading {
                cpu,
                core,
                bit,
                value: self.read(cpu, bit.register)?,
            })
        })
        .collect()
    }

    /// What `which` means on the selected CPUs; refused if on none of them anything.
    fn select(&self, which: Which) -> Result<Selection> {
        let (mut bits, mut without, mut refusal) = (Vec::new(), Vec::new(), None);
        for &cpu in &self.selected {
            let core = self.model.core(cpu)?;
            let selected = core.select(which, self.unsafe_msr);
            if selected.is_empty() {
                without.push(cpu);
                refusal.get_or_insert_with(|| core.refusal(which));
            }
            bits.extend(selected.into_iter().map(|bit| (cpu, core, bit)));
        }
        match refusal {
            Some(refusal) if bits.is_empty() => {
                Err(Error::Refused(match self.model.why_undocumented() {
                    Some(why) => format!("{why}; {refusal}"),
                    None => refusal,
                }))
            }
            _ => Ok(Selection { bits, without }),
        }
    }

    fn read(&self, cpu: CpuId, register: u32) -> Result<u64> {
        self.registers
            .read(cpu, register)
            .map_err(|fault| Error::Refused(fault.explain(cpu, register, &self.place)))
    }
}

/// Say in one line, on standard error, if prefetchers of this machine were not put back.
///
/// For the start of every command: one look for a file that is usually not there. Never fails.
pub fn notice_leftover() {
    if let Some(note) = leftover(&Place::machine()) {
        eprintln!("hitm: note: {note}");
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
        Scope::UntilRestore => format!(
            "prefetchers of CPUs {cpus} are as `hitm prefetch` left them; \
             `hitm prefetch restore` puts them back"
        ),
        Scope::Run => format!(
            "a run (process {}) ended before it could put the prefetchers of CPUs {cpus} back; \
             `hitm prefetch restore` does it",
            journal.pid
        ),
    })
}
