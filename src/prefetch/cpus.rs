//! Which row of the catalogue each CPU belongs to: those before us, or described ones for a folder
//! of register files.

use super::catalogue::{CORES, Match, Microarchitecture, amd_has_prefetch_control};
use crate::error::{Error, Result};
use crate::machine::cpu::{CoreKind, Processor, cpuid, efficiency_cpus};
use crate::machine::{CpuId, CpuModel, Vendor};
use std::collections::BTreeSet;

/// CPUs, as far as they decide the meaning of registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// Their model.
    pub model: CpuModel,
    /// AMD: bit 13 of CPUID Fn8000_0021 EAX (PrefetchCtlMsr).
    pub prefetch_control: bool,
    /// Whether a hypervisor is there.
    pub hypervisor: bool,
    /// E-cores of a hybrid CPU.
    pub efficient: BTreeSet<CpuId>,
}

impl Cpus {
    /// CPUs that are not of this machine. Without family and model: Sapphire Rapids or Genoa.
    pub fn described(vendor: Vendor, model: Option<(u8, u8)>) -> Cpus {
        let (family, model) = model.unwrap_or(match vendor {
            Vendor::Amd => (0x19, 0x11),
            _ => (6, 0x8f),
        });
        Cpus {
            model: CpuModel {
                vendor,
                family: family.into(),
                model: model.into(),
                stepping: 0,
            },
            prefetch_control: vendor == Vendor::Amd && amd_has_prefetch_control(family, model),
            hypervisor: false,
            efficient: BTreeSet::new(),
        }
    }

    /// Those of this machine.
    pub fn here() -> Result<Cpus> {
        let processor = Processor::here();
        let refused = |why| Error::Refused(format!("prefetcher registers are not known: {why}"));
        if cfg!(not(target_arch = "x86_64")) {
            return Err(refused(
                "they are x86's; on ARM firmware sets them (EL3)".into(),
            ));
        }
        let model = processor.cpu_model().map_err(refused)?;
        Ok(Cpus {
            model,
            prefetch_control: model.vendor == Vendor::Amd
                && cpuid(0x8000_0021).is_some_and(|[eax, ..]| eax & 1 << 13 != 0),
            hypervisor: processor.is_guest(),
            efficient: efficiency_cpus().map_err(|why| {
                Error::Refused(format!(
                    "cannot tell P-cores from E-cores, whose registers differ: {why}; the kernel \
                     needs its perf events (CONFIG_PERF_EVENTS)"
                ))
            })?,
        })
    }

    /// The row of `cpu`.
    pub fn core(&self, cpu: CpuId) -> Result<&'static Microarchitecture> {
        let kind = if self.efficient.contains(&cpu) {
            CoreKind::Efficiency
        } else {
            CoreKind::Performance
        };
        let CpuModel {
            vendor,
            family,
            model,
            ..
        } = self.model;
        let listed = |models: &[u8], number: u32| models.iter().any(|n| u32::from(*n) == number);
        CORES
            .iter()
            .find(|core| match core.matches {
                Match::Intel(models, of) => {
                    vendor == Vendor::Intel && family == 6 && of == kind && listed(models, model)
                }
                Match::AmdPrefetchControl => vendor == Vendor::Amd && self.prefetch_control,
                Match::AmdFamilies(families) => {
                    vendor == Vendor::Amd && !self.prefetch_control && listed(families, family)
                }
            })
            .ok_or_else(|| {
                Error::Refused(format!(
                    "no prefetcher register is known for {}; a register whose bits are not \
                     known is not written",
                    self.model
                ))
            })
    }

    /// Why the documented AMD register is missing, if it is.
    pub fn why_undocumented(&self) -> Option<String> {
        if self.model.vendor != Vendor::Amd || self.prefetch_control {
            return None;
        }
        let cause = if self.hypervisor {
            "a hypervisor is present, and KVM hides this bit from guests: measure on the host"
        } else {
            "it came with Zen 3 servers and Zen 4"
        };
        Some(format!(
            "{} does not announce register 0xc0000108 (CPUID 8000_0021 EAX[13] is 0; {cause})",
            self.model
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{Prefetcher, Which};
    use super::*;

    fn bits(model: &Cpus, cpu: usize, which: Which, unsafe_msr: bool) -> Vec<(u32, u8)> {
        let core = model.core(CpuId(cpu)).unwrap();
        core.select(which, unsafe_msr)
            .iter()
            .map(|bit| (bit.register, bit.bit))
            .collect()
    }

    const ADJACENT: Which = Which::One(Prefetcher::Adjacent);

    #[test]
    fn broadwell_and_sapphire_rapids_have_the_four_bits_of_1a4() {
        for number in [0x4f, 0x56, 0x8f] {
            let model = Cpus::described(Vendor::Intel, Some((6, number)));
            assert_eq!(bits(&model, 0, ADJACENT, false), [(0x1a4, 1)]);
            assert_eq!(
                bits(&model, 0, Which::All, true),
                [(0x1a4, 0), (0x1a4, 1), (0x1a4, 2), (0x1a4, 3)]
            );
        }
    }

    #[test]
    fn e_cores_of_a_hybrid_cpu_have_no_adjacent_bit() {
        let mut model = Cpus::described(Vendor::Intel, Some((6, 0x97)));
        model.efficient = [CpuId(16), CpuId(17)].into();
        assert_eq!(bits(&model, 0, ADJACENT, true), [(0x1a4, 1)]);
        assert_eq!(bits(&model, 16, ADJACENT, true), []);
        let next_line = Which::One(Prefetcher::NextLine);
        assert_eq!(bits(&model, 16, next_line, false), []);
        assert_eq!(bits(&model, 16, next_line, true), [(0x1321, 40)]);
    }

    #[test]
    fn goldmont_has_streamer_and_dcu_only() {
        let model = Cpus::described(Vendor::Intel, Some((6, 0x5c)));
        assert_eq!(bits(&model, 0, Which::All, true), [(0x1a4, 0), (0x1a4, 2)]);
    }

    #[test]
    fn knights_landing_swaps_the_first_two_bits() {
        let model = Cpus::described(Vendor::Intel, Some((6, 0x57)));
        let dcu = Which::One(Prefetcher::Dcu);
        let streamer = Which::One(Prefetcher::Streamer);
        assert_eq!(bits(&model, 0, dcu, false), [(0x1a4, 0)]);
        assert_eq!(bits(&model, 0, streamer, false), [(0x1a4, 1)]);
    }

    #[test]
    fn core_2_uses_misc_enable() {
        let model = Cpus::described(Vendor::Intel, Some((6, 0x17)));
        assert_eq!(
            bits(&model, 0, Which::All, false),
            [(0x1a0, 9), (0x1a0, 19), (0x1a0, 37), (0x1a0, 39)]
        );
    }

    #[test]
    fn amd_registers_follow_the_announcement() {
        let genoa = Cpus::described(Vendor::Amd, None);
        let register = 0xc000_0108;
        assert_eq!(
            bits(&genoa, 0, Which::All, false),
            [0, 1, 2, 3, 5].map(|bit| (register, bit))
        );
        let rome = Cpus::described(Vendor::Amd, Some((0x17, 0x31)));
        assert_eq!(bits(&rome, 0, Which::All, false), []);
        assert_eq!(
            bits(&rome, 0, Which::All, true),
            [(0xc001_1022, 13), (0xc001_102b, 0)]
        );
    }

    #[test]
    fn a_model_without_a_row_is_refused_by_name() {
        for (vendor, number) in [
            (Vendor::Intel, (6, 0x1c)),
            (Vendor::Intel, (15, 4)),
            (Vendor::Amd, (0x15, 2)),
        ] {
            let model = Cpus::described(vendor, Some(number));
            let error = model.core(CpuId(0)).unwrap_err();
            assert!(matches!(error, Error::Refused(_)));
            assert!(error.to_string().contains(&format!("{:#x}", number.1)));
        }
    }
}
