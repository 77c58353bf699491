//! Registers whose meaning is known: what can be switched, and how it stands.
//!
//! Not here: changing them (`guard`).

use super::catalogue::{Bit, Microarchitecture, Prefetcher, Which};
use super::cpus::Cpus;
use super::place::Place;
use super::registers::{self, MsrFiles, Registers};
use crate::error::{Error, Result};
use crate::machine::preflight::Check;
use crate::machine::{CpuId, Vendor, cpu_list};
use std::collections::BTreeSet;

/// Which registers, and of which CPUs.
#[derive(Clone, Debug)]
pub struct Selected {
    /// This machine's registers, or a folder shaped like them.
    pub place: Place,
    /// The CPUs in that folder; none for this machine's registers.
    pub described: Option<Cpus>,
    /// CPUs to read and change; none for all.
    pub cpus: Option<BTreeSet<CpuId>>,
    /// Whether undocumented registers may be used.
    pub unsafe_msr: bool,
}

/// Registers whose meaning is known and whose files are open.
pub struct Control {
    pub(super) place: Place,
    pub(super) cpus: Cpus,
    unsafe_msr: bool,
    /// CPUs to read and change, ascending.
    pub(super) selected: Vec<CpuId>,
    /// Those and the others, whose registers may be the same ones.
    pub(super) all: Vec<CpuId>,
    pub(super) registers: Box<dyn Registers>,
}

crate::text::words! {
    /// What a prefetcher is switched to.
    pub enum Switch as "state of a prefetcher" {
        /// It prefetches.
        On = "on",
        /// It does not.
        Off = "off",
    }
}

/// How one prefetcher of one CPU stands.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The CPU.
    pub cpu: CpuId,
    /// What it is.
    pub core: &'static Microarchitecture,
    /// The bit that switches it.
    pub bit: Bit,
    /// The whole register.
    pub value: u64,
}

impl Setting {
    /// Whether the prefetcher is on.
    pub fn state(&self) -> Switch {
        if (self.value & self.bit.mask() != 0) == self.bit.off {
            Switch::Off
        } else {
            Switch::On
        }
    }
}

/// Whether the prefetchers of this machine can be read.
pub fn check() -> Check {
    let wanted = Selected {
        place: Place::machine(),
        described: None,
        cpus: None,
        unsafe_msr: false,
    };
    let settings = Control::open(&wanted).and_then(|control| control.status());
    let finding = match settings {
        Ok(settings) => {
            let cpus = cpu_list::format(settings.iter().map(|setting| setting.cpu));
            Ok(format!("those of CPUs {cpus} can be read"))
        }
        Err(why) => Err((
            why.to_string(),
            "use bare metal, as root, with `modprobe msr`",
        )),
    };
    Check::of("prefetcher registers", finding)
}

/// The bits of some prefetchers.
pub(super) struct Selection {
    pub bits: Vec<(CpuId, &'static Microarchitecture, Bit)>,
    /// CPUs that have none.
    pub without: Vec<CpuId>,
}

impl Control {
    /// Recognise the machine and open the registers; nothing is read or written yet.
    pub fn open(wanted: &Selected) -> Result<Control> {
        let place = wanted.place.clone();
        let cpus = match &wanted.described {
            Some(cpus) => cpus.clone(),
            None => Cpus::here()?,
        };
        let all = registers::list(&place).map_err(|error| {
            // Say at once what else is missing: loading a module for nothing is a poor remedy.
            let meaning = match cpus.core(CpuId(0)) {
                Err(error) => Some(error.to_string()),
                Ok(_) if wanted.unsafe_msr => None,
                Ok(_) => cpus.why_undocumented(),
            };
            match (meaning, place.is_machine()) {
                (Some(meaning), true) => Error::Refused(format!("{meaning}; also, {error}")),
                _ => error,
            }
        })?;
        let selected = match &wanted.cpus {
            None => all.clone(),
            Some(few) if few.is_empty() => {
                return Err(Error::Input(
                    "no CPU is selected; write --cpus like 0-3,8".into(),
                ));
            }
            Some(few) => {
                if let Some(cpu) = few.iter().find(|cpu| !all.contains(cpu)) {
                    return Err(Error::Input(format!(
                        "no CPU {cpu} under {}; there are {}",
                        place.root().display(),
                        cpu_list::format(all)
                    )));
                }
                few.iter().copied().collect()
            }
        };
        // The selected ones first, in case there are not enough descriptors for all.
        let order = selected.iter().chain(&all).copied();
        let files = MsrFiles::open(place.root(), order);
        let unsafe_msr = wanted.unsafe_msr;
        Ok(Control {
            place,
            cpus,
            unsafe_msr,
            selected,
            all,
            registers: Box::new(files),
        })
    }

    /// A control of `all` of some CPUs, ascending, through `registers`, whatever these are.
    pub fn with_registers(
        place: Place,
        cpus: Cpus,
        all: Vec<CpuId>,
        registers: Box<dyn Registers>,
    ) -> Control {
        Control {
            place,
            cpus,
            unsafe_msr: false,
            selected: all.clone(),
            all,
            registers,
        }
    }

    /// The CPUs whose registers these are.
    pub fn cpus(&self) -> &Cpus {
        &self.cpus
    }

    /// Where the registers lie.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The prefetcher that fetches the other line of a pair: Intel's adjacent-line, AMD's up/down.
    pub fn pair_completer(&self) -> Prefetcher {
        match self.cpus.model.vendor {
            Vendor::Amd => Prefetcher::UpDown,
            _ => Prefetcher::Adjacent,
        }
    }

    /// How every known prefetcher of the selected CPUs stands.
    pub fn status(&self) -> Result<Vec<Setting>> {
        let selection = self.select(Which::All)?;
        let bits = selection.bits.into_iter();
        bits.map(|(cpu, core, bit)| {
            Ok(Setting {
                cpu,
                core,
                bit,
                value: self.read(cpu, bit.register)?,
            })
        })
        .collect()
    }

    /// What `which` means on the selected CPUs; refused if on none of them anything.
    pub(super) fn select(&self, which: Which) -> Result<Selection> {
        let (mut bits, mut without, mut refusal) = (Vec::new(), Vec::new(), None);
        for &cpu in &self.selected {
            let core = self.cpus.core(cpu)?;
            let selected = core.select(which, self.unsafe_msr);
            if selected.is_empty() {
                without.push(cpu);
                refusal.get_or_insert_with(|| core.refusal(which));
            }
            bits.extend(selected.into_iter().map(|bit| (cpu, core, bit)));
        }
        match refusal {
            Some(refusal) if bits.is_empty() => {
                Err(Error::Refused(match self.cpus.why_undocumented() {
                    Some(why) => format!("{why}; {refusal}"),
                    None => refusal,
                }))
            }
            _ => Ok(Selection { bits, without }),
        }
    }

    pub(super) fn read(&self, cpu: CpuId, register: u32) -> Result<u64> {
        self.registers
            .read(cpu, register)
            .map_err(|fault| Error::Refused(fault.explain(cpu, register, &self.place)))
    }
}
