//! Which row of the catalogue each CPU belongs to.
//!
//! Here: the CPU before us by CPUID, or a described one for a folder of register files.

use super::catalogue::{CORES, Core, CoreType, Match, Vendor, amd_has_prefetch_control};
use super::cpulist;
use crate::error::{Error, Result};
use crate::machine::CpuId;
use std::collections::BTreeSet;

/// What decides the meaning of registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuModel {
    /// Vendor.
    pub vendor: Vendor,
    /// CPUID family, extended family added.
    pub family: u8,
    /// CPUID model, extended model included.
    pub model: u8,
    /// AMD: bit 13 of CPUID Fn8000_0021 EAX (PrefetchCtlMsr).
    pub prefetch_control: bool,
    /// Whether CPUID announces a hypervisor.
    pub hypervisor: bool,
    /// E-cores of a hybrid CPU.
    pub efficient: BTreeSet<CpuId>,
}

impl CpuModel {
    /// A machine that is not this one. Without `model`: Sapphire Rapids or Genoa.
    pub fn described(vendor: Vendor, model: Option<(u8, u8)>) -> CpuModel {
        let (family, model) = model.unwrap_or(match vendor {
            Vendor::Intel => (6, 0x8f),
            Vendor::Amd => (0x19, 0x11),
        });
        CpuModel {
            vendor,
            family,
            model,
            prefetch_control: vendor == Vendor::Amd && amd_has_prefetch_control(family, model),
            hypervisor: false,
            efficient: BTreeSet::new(),
        }
    }

    /// This machine.
    #[cfg(target_arch = "x86_64")]
    pub fn here() -> Result<CpuModel> {
        let cpuid = raw_cpuid::CpuId::new();
        let vendor = cpuid.get_vendor_info();
        let vendor = match vendor.as_ref().map(|vendor| vendor.as_str()) {
            Some("GenuineIntel") => Vendor::Intel,
            Some("AuthenticAMD") => Vendor::Amd,
            other => {
                return Err(Error::Refused(format!(
                    "no prefetcher register is known for CPUs of vendor '{}'; Intel and AMD only",
                    other.unwrap_or("unknown")
                )));
            }
        };
        let Some(features) = cpuid.get_feature_info() else {
            return Err(Error::Refused(
                "CPUID tells neither family nor model of this CPU, so its prefetcher registers \
                 are unknown"
                    .into(),
            ));
        };
        Ok(CpuModel {
            vendor,
            family: features.family_id(),
            model: features.model_id(),
            prefetch_control: vendor == Vendor::Amd
                && cpuid
                    .get_extended_feature_identification_2()
                    .is_some_and(|leaf| leaf.has_prefetch_ctl_msr()),
            hypervisor: features.has_hypervisor(),
            efficient: if is_hybrid() {
                efficient_cpus()?
            } else {
                BTreeSet::new()
            },
        })
    }

    /// This machine.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn here() -> Result<CpuModel> {
        Err(Error::Refused(
            "prefetcher registers are known for x86 only; on ARM they are set by firmware (EL3)"
                .into(),
        ))
    }

    /// The row of `cpu`.
    pub fn core(&self, cpu: CpuId) -> Result<&'static Core> {
        let kind = if self.efficient.contains(&cpu) {
            CoreType::Efficient
        } else {
            CoreType::Performance
        };
        CORES
            .iter()
            .find(|core| match core.matches {
                Match::Intel(models, of) => {
                    self.vendor == Vendor::Intel
                        && self.family == 6
                        && of == kind
                        && models.contains(&self.model)
                }
                Match::AmdPrefetchControl => self.vendor == Vendor::Amd && self.prefetch_control,
                Match::AmdFamilies(families) => {
                    self.vendor == Vendor::Amd
                        && !self.prefetch_control
                        && families.contains(&self.family)
                }
            })
            .ok_or_else(|| {
                Error::Refused(format!(
                    "no prefetcher register is known for {self}; a register whose bits are not \
                     known is not written"
                ))
            })
    }

    /// Why the documented AMD register is missing, if it is.
    pub fn why_undocumented(&self) -> Option<String> {
        if self.vendor != Vendor::Amd || self.prefetch_control {
            return None;
        }
        let cause = if self.hypervisor {
            "a hypervisor is present, and KVM hides this bit from guests: measure on the host"
        } else {
            "it came with Zen 3 servers and Zen 4"
        };
        Some(format!(
            "{self} does not announce register 0xc0000108 (CPUID 8000_0021 EAX[13] is 0; {cause})"
        ))
    }
}

impl std::fmt::Display for CpuModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CpuModel {
            vendor,
            family,
            model,
            ..
        } = self;
        write!(f, "{vendor} family {family:#x} model {model:#x}")
    }
}

/// CPUID Fn7 EDX[15].
#[cfg(target_arch = "x86_64")]
fn is_hybrid() -> bool {
    let highest = core::arch::x86_64::__cpuid(0).eax;
    highest >= 7 && core::arch::x86_64::__cpuid_count(7, 0).edx & (1 << 15) != 0
}

/// The E-cores, as the kernel lists them.
#[cfg(target_arch = "x86_64")]
fn efficient_cpus() -> Result<BTreeSet<CpuId>> {
    const LIST: &str = "/sys/devices/cpu_atom/cpus";
    let list = std::fs::read_to_string(LIST).map_err(|error| {
        Error::Refused(format!(
            "cannot tell P-cores from E-cores, whose registers differ: {LIST}: {error}; the \
             kernel needs its perf events (CONFIG_PERF_EVENTS)"
        ))
    })?;
    cpulist::parse(&list)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{Prefetcher, Which};
    use super::*;

    fn bits(model: &CpuModel, cpu: usize, which: Which, unsafe_msr: bool) -> Vec<(u32, u8)> {
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
            let model = CpuModel::described(Vendor::Intel, Some((6, number)));
            assert_eq!(bits(&model, 0, ADJACENT, false), [(0x1a4, 1)]);
            assert_eq!(
                bits(&model, 0, Which::All, true),
                [(0x1a4, 0), (0x1a4, 1), (0x1a4, 2), (0x1a4, 3)]
            );
        }
    }

    #[test]
    fn e_cores_of_a_hybrid_cpu_have_no_adjacent_bit() {
        let mut model = CpuModel::described(Vendor::Intel, Some((6, 0x97)));
        model.efficient = [CpuId(16), CpuId(17)].into();
        assert_eq!(bits(&model, 0, ADJACENT, true), [(0x1a4, 1)]);
        assert_eq!(bits(&model, 16, ADJACENT, true), []);
        let next_line = Which::One(Prefetcher::NextLine);
        assert_eq!(bits(&model, 16, next_line, false), []);
        assert_eq!(bits(&model, 16, next_line, true), [(0x1321, 40)]);
    }

    #[test]
    fn goldmont_has_streamer_and_dcu_only() {
        let model = CpuModel::described(Vendor::Intel, Some((6, 0x5c)));
        assert_eq!(bits(&model, 0, Which::All, true), [(0x1a4, 0), (0x1a4, 2)]);
    }

    #[test]
    fn knights_landing_swaps_the_first_two_bits() {
        let model = CpuModel::described(Vendor::Intel, Some((6, 0x57)));
        let dcu = Which::One(Prefetcher::Dcu);
        let streamer = Which::One(Prefetcher::Streamer);
        assert_eq!(bits(&model, 0, dcu, false), [(0x1a4, 0)]);
        assert_eq!(bits(&model, 0, streamer, false), [(0x1a4, 1)]);
    }

    #[test]
    fn core_2_uses_misc_enable() {
        let model = CpuModel::described(Vendor::Intel, Some((6, 0x17)));
        assert_eq!(
            bits(&model, 0, Which::All, false),
            [(0x1a0, 9), (0x1a0, 19), (0x1a0, 37), (0x1a0, 39)]
        );
    }

    #[test]
    fn amd_registers_follow_the_announcement() {
        let genoa = CpuModel::described(Vendor::Amd, None);
        let register = 0xc000_0108;
        assert_eq!(
            bits(&genoa, 0, Which::All, false),
            [0, 1, 2, 3, 5].map(|bit| (register, bit))
        );
        let rome = CpuModel::described(Vendor::Amd, Some((0x17, 0x31)));
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
            let model = CpuModel::described(vendor, Some(number));
            let error = model.core(CpuId(0)).unwrap_err();
            assert!(matches!(error, Error::Refused(_)));
            assert!(error.to_string().contains(&format!("{:#x}", number.1)));
        }
    }
}
