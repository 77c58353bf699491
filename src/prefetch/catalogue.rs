//! Which register bits hold which prefetcher, per vendor and core: data, each with its source.
//!
//! Here: the rows and the look-up. Not here: how a CPU is recognised (`cpus`) and how a register
//! is read or written (`registers`, `guard`). What has no row is refused by name, never tried.

use crate::error::{Error, Result};
use crate::machine::cpu::CoreKind;
use std::fmt;
use std::str::FromStr;

crate::text::words! {
    /// A hardware prefetcher, under the name its vendor gives it; in the order of `status`.
    pub enum Prefetcher as "prefetcher" {
        /// Intel L2: completes the 128-byte pair of a line.
        Adjacent = "adjacent",
        /// AMD L2: next or previous line, for all accesses.
        UpDown = "up-down",
        /// Intel E-core L2 next line; undocumented.
        NextLine = "next-line",
        /// Intel L2 streamer, AMD L2 stream.
        Streamer = "streamer",
        /// Intel L1D next line.
        Dcu = "dcu",
        /// Intel L1D, stride by instruction pointer.
        DcuIp = "dcu-ip",
        /// AMD L1 stream.
        L1Stream = "l1-stream",
        /// AMD L1 stride.
        L1Stride = "l1-stride",
        /// AMD L1 region.
        L1Region = "l1-region",
        /// AMD before Prefetch Control: all of L1; undocumented.
        L1All = "l1-all",
        /// AMD before Prefetch Control: all of L2; undocumented.
        L2All = "l2-all",
    }
}

/// What `--which` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every prefetcher the core has a known bit for.
    All,
    /// This one.
    One(Prefetcher),
}

impl FromStr for Which {
    type Err = Error;

    fn from_str(name: &str) -> Result<Which> {
        if name == "all" {
            return Ok(Which::All);
        }
        name.parse().map(Which::One).map_err(|_| {
            let names = Prefetcher::ALL.iter().map(|one| one.name());
            Error::unknown("prefetcher", name, names.chain(["all"]))
        })
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::All => f.write_str("all"),
            Which::One(prefetcher) => prefetcher.fmt(f),
        }
    }
}

crate::text::serde_as_text!(Which);

/// One bit of one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bit {
    /// What it switches.
    pub prefetcher: Prefetcher,
    /// Number of the model-specific register.
    pub register: u32,
    /// Number of the bit.
    pub bit: u8,
    /// The value of the bit with which the prefetcher is off.
    pub off: bool,
    /// Whether the vendor documents it; others need `--unsafe-msr`.
    pub documented: bool,
}

impl Bit {
    /// The bit as a mask.
    pub const fn mask(self) -> u64 {
        1 << self.bit
    }

    const fn disable(prefetcher: Prefetcher, register: u32, bit: u8) -> Bit {
        Bit {
            prefetcher,
            register,
            bit,
            off: true,
            documented: true,
        }
    }

    const fn undocumented(self) -> Bit {
        Bit {
            documented: false,
            ..self
        }
    }

    const fn enable(self) -> Bit {
        Bit { off: false, ..self }
    }
}

/// How CPUs are matched to a row.
#[derive(Clone, Copy, Debug)]
pub enum Match {
    /// By CPUID family 6 and one of these models.
    Intel(&'static [u8], CoreKind),
    /// By bit 13 of CPUID Fn8000_0021 EAX (PrefetchCtlMsr).
    AmdPrefetchControl,
    /// By one of these families, where that bit is 0.
    AmdFamilies(&'static [u8]),
}

/// Cores whose registers mean the same.
#[derive(Debug)]
pub struct Microarchitecture {
    /// Microarchitectures.
    pub name: &'static str,
    /// Which CPUs.
    pub matches: Match,
    /// Their bits.
    pub bits: &'static [Bit],
    /// Where the meaning of the bits is written.
    pub source: &'static str,
}

/// MSR_MISC_FEATURE_CONTROL, in newer SDM tables MSR_PREFETCH_CONTROL.
const INTEL_CONTROL: u32 = 0x1a4;
/// IA32_MISC_ENABLE, which holds prefetcher bits only before Nehalem.
const INTEL_MISC_ENABLE: u32 = 0x1a0;
/// Tuning register of Gracemont and Crestmont.
const INTEL_ECORE_TUNING: u32 = 0x1321;
/// Prefetch Control.
const AMD_CONTROL: u32 = 0xc000_0108;
/// DC_CFG.
const AMD_DC_CFG: u32 = 0xc001_1022;
/// CU_CFG3.
const AMD_CU_CFG3: u32 = 0xc001_102b;

const STREAMER: Bit = Bit::disable(Prefetcher::Streamer, INTEL_CONTROL, 0);
const ADJACENT: Bit = Bit::disable(Prefetcher::Adjacent, INTEL_CONTROL, 1);
const DCU: Bit = Bit::disable(Prefetcher::Dcu, INTEL_CONTROL, 2);
const DCU_IP: Bit = Bit::disable(Prefetcher::DcuIp, INTEL_CONTROL, 3);

/// Bits 4 (L1 next page) and 5 (L2 adaptive multipath) of 0x1A4 exist on newer cores; sources
/// disagree on them, so they are left as they are, by `all` too.
const CORE_BITS: &[Bit] = &[STREAMER, ADJACENT, DCU, DCU_IP];
const CORE_SOURCE: &str = "Intel, \"Disclosure of Hardware Prefetcher Control on Some Intel Processors\"; SDM, tables of MSR 1A4H; models and scope as in pepc";

const E_CORE_BITS: &[Bit] = &[
    STREAMER,
    DCU,
    DCU_IP,
    Bit::disable(Prefetcher::NextLine, INTEL_ECORE_TUNING, 40).undocumented(),
];
const E_CORE_SOURCE: &str =
    "uart/hardwarePrefetching atom_msr.h: no adjacent-line bit; MSR 1321H is not in the SDM";

const ATOM_BITS: &[Bit] = &[STREAMER, DCU];
const ATOM_SOURCE: &str = "SDM, MSR 1A4H of Silvermont and Goldmont; Linux get_prefetch_disable_bits() in resctrl/pseudo_lock.c";

const CORE_2_BITS: &[Bit] = &[
    Bit::disable(Prefetcher::Streamer, INTEL_MISC_ENABLE, 9),
    Bit::disable(Prefetcher::Adjacent, INTEL_MISC_ENABLE, 19),
    Bit::disable(Prefetcher::Dcu, INTEL_MISC_ENABLE, 37),
    Bit::disable(Prefetcher::DcuIp, INTEL_MISC_ENABLE, 39),
];
const CORE_2_SOURCE: &str = "SDM, IA32_MISC_ENABLE (1A0H) of the Core microarchitecture";

/// Not the order of the other cores: bit 0 is L1D, bit 1 is L2.
const PHI_BITS: &[Bit] = &[
    Bit::disable(Prefetcher::Dcu, INTEL_CONTROL, 0),
    Bit::disable(Prefetcher::Streamer, INTEL_CONTROL, 1),
];
const PHI_SOURCE: &str = "SDM, MSR 1A4H of Xeon Phi";

const AMD_CONTROL_BITS: &[Bit] = &[
    Bit::disable(Prefetcher::L1Stream, AMD_CONTROL, 0),
    Bit::disable(Prefetcher::L1Stride, AMD_CONTROL, 1),
    Bit::disable(Prefetcher::L1Region, AMD_CONTROL, 2),
    Bit::disable(Prefetcher::Streamer, AMD_CONTROL, 3),
    Bit::disable(Prefetcher::UpDown, AMD_CONTROL, 5),
];
const AMD_EARLIER_BITS: &[Bit] = &[
    Bit::disable(Prefetcher::L1All, AMD_DC_CFG, 13).undocumented(),
    Bit::disable(Prefetcher::L2All, AMD_CU_CFG3, 0)
        .enable()
        .undocumented(),
];

const fn intel(
    name: &'static str,
    models: &'static [u8],
    bits: &'static [Bit],
    source: &'static str,
) -> Microarchitecture {
    Microarchitecture {
        name,
        matches: Match::Intel(models, CoreKind::Performance),
        bits,
        source,
    }
}

const fn e_core(name: &'static str, models: &'static [u8]) -> Microarchitecture {
    Microarchitecture {
        name,
        matches: Match::Intel(models, CoreKind::Efficiency),
        bits: E_CORE_BITS,
        source: E_CORE_SOURCE,
    }
}

/// Every core with known bits. Model numbers: Linux `arch/x86/include/asm/intel-family.h`.
#[rustfmt::skip]
pub const CORES: &[Microarchitecture] = &[
    intel("Core 2", &[0x0f, 0x16, 0x17, 0x1d], CORE_2_BITS, CORE_2_SOURCE),
    intel("Nehalem", &[0x1a, 0x1e, 0x1f, 0x2e], CORE_BITS, CORE_SOURCE),
    intel("Westmere", &[0x25, 0x2c, 0x2f], CORE_BITS, CORE_SOURCE),
    intel("Sandy Bridge", &[0x2a, 0x2d], CORE_BITS, CORE_SOURCE),
    intel("Ivy Bridge", &[0x3a, 0x3e], CORE_BITS, CORE_SOURCE),
    intel("Haswell", &[0x3c, 0x3f, 0x45, 0x46], CORE_BITS, CORE_SOURCE),
    intel("Broadwell", &[0x3d, 0x47, 0x4f, 0x56], CORE_BITS, CORE_SOURCE),
    intel("Skylake", &[0x4e, 0x5e], CORE_BITS, CORE_SOURCE),
    intel("Skylake-SP, Cascade Lake", &[0x55], CORE_BITS, CORE_SOURCE),
    intel("Kaby Lake, Coffee Lake", &[0x8e, 0x9e], CORE_BITS, CORE_SOURCE),
    intel("Cannon Lake", &[0x66], CORE_BITS, CORE_SOURCE),
    intel("Comet Lake", &[0xa5, 0xa6], CORE_BITS, CORE_SOURCE),
    intel("Ice Lake", &[0x6a, 0x6c, 0x7d, 0x7e], CORE_BITS, CORE_SOURCE),
    intel("Tiger Lake", &[0x8c, 0x8d], CORE_BITS, CORE_SOURCE),
    intel("Rocket Lake", &[0xa7], CORE_BITS, CORE_SOURCE),
    intel("Alder Lake", &[0x97, 0x9a], CORE_BITS, CORE_SOURCE),
    intel("Raptor Lake", &[0xb7, 0xba, 0xbf], CORE_BITS, CORE_SOURCE),
    intel("Meteor Lake", &[0xaa, 0xac], CORE_BITS, CORE_SOURCE),
    intel("Sapphire Rapids", &[0x8f], CORE_BITS, CORE_SOURCE),
    intel("Emerald Rapids", &[0xcf], CORE_BITS, CORE_SOURCE),
    intel("Granite Rapids", &[0xad, 0xae], CORE_BITS, CORE_SOURCE),
    e_core("Gracemont", &[0x97, 0x9a, 0xb7, 0xba, 0xbf]),
    e_core("Crestmont", &[0xaa, 0xac]),
    // Alder Lake-N, Sierra Forest, Grand Ridge: no P-cores beside them.
    intel("Gracemont", &[0xbe], E_CORE_BITS, E_CORE_SOURCE),
    intel("Crestmont", &[0xaf, 0xb6], E_CORE_BITS, E_CORE_SOURCE),
    intel("Silvermont", &[0x37, 0x4a, 0x4d], ATOM_BITS, ATOM_SOURCE),
    intel("Airmont", &[0x4c, 0x5a, 0x75], ATOM_BITS, ATOM_SOURCE),
    intel("Goldmont", &[0x5c, 0x5f, 0x7a], ATOM_BITS, ATOM_SOURCE),
    intel("Tremont", &[0x86, 0x96, 0x9c], ATOM_BITS, ATOM_SOURCE),
    intel("Knights Landing, Knights Mill", &[0x57, 0x85], PHI_BITS, PHI_SOURCE),
    Microarchitecture {
        name: "Zen 3 server, Zen 4, Zen 5",
        matches: Match::AmdPrefetchControl,
        bits: AMD_CONTROL_BITS,
        source: "bits as in CoreFreq amd_reg.h and likwid; announced by CPUID Fn8000_0021 EAX[13], Linux kcpuid cpuid.csv",
    },
    Microarchitecture {
        name: "Zen, Zen 2, Zen 3 client",
        matches: Match::AmdFamilies(&[0x17, 0x19]),
        bits: AMD_EARLIER_BITS,
        source: "not documented for these families; names of the family 15h BKDG, used by Revizor and CoreFreq",
    },
];

impl Microarchitecture {
    /// The bits that `which` means on these cores; empty if they have none.
    pub fn select(&self, which: Which, unsafe_msr: bool) -> Vec<Bit> {
        self.bits
            .iter()
            .copied()
            .filter(|bit| match which {
                Which::All => true,
                Which::One(prefetcher) => bit.prefetcher == prefetcher,
            })
            .filter(|bit| bit.documented || unsafe_msr)
            .collect()
    }

    /// Why [`select`](Self::select) found nothing.
    pub fn refusal(&self, which: Which) -> String {
        if !self.select(which, true).is_empty() {
            return format!(
                "{}: the register for '{which}' is not documented by the vendor; --unsafe-msr uses it all the same, at your risk",
                self.name
            );
        }
        let names: Vec<&str> = self.bits.iter().map(|bit| bit.prefetcher.name()).collect();
        format!(
            "{}: no known register bit for '{which}'; known are: {}",
            self.name,
            names.join(", ")
        )
    }
}

/// Whether `mask` of `register` holds nothing but known prefetcher bits.
///
/// The last check before a value from a journal reaches a register.
pub fn is_known(register: u32, mask: u64) -> bool {
    let known = CORES
        .iter()
        .flat_map(|core| core.bits)
        .filter(|bit| bit.register == register)
        .fold(0, |known, bit| known | bit.mask());
    mask & !known == 0
}

/// Whether an AMD CPU of this family and model has bit 13 of CPUID Fn8000_0021 EAX.
///
/// For a folder of register files, whose CPU cannot be asked. From CPUID dumps of InstLatX64: Milan,
/// every Zen 4 and Zen 5 have it; Vermeer, Cezanne and Rembrandt (models 0x20 to 0x5f) do not.
pub fn amd_has_prefetch_control(family: u8, model: u8) -> bool {
    family == 0x1a || family == 0x19 && !(0x20..=0x5f).contains(&model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cpu_matches_two_rows() {
        let mut seen = std::collections::HashSet::new();
        for core in CORES {
            if let Match::Intel(models, kind) = core.matches {
                for model in models {
                    assert!(seen.insert((*model, kind as u8)), "model {model:#x}");
                }
            }
        }
    }

    #[test]
    fn a_row_names_each_prefetcher_and_each_bit_once() {
        for core in CORES {
            for (i, a) in core.bits.iter().enumerate() {
                for b in &core.bits[i + 1..] {
                    assert_ne!(a.prefetcher, b.prefetcher, "{}", core.name);
                    assert_ne!((a.register, a.bit), (b.register, b.bit), "{}", core.name);
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_prefetcher_bit_is_not_known() {
        assert!(is_known(0x1a4, 0xf));
        assert!(!is_known(0x1a4, 0x20));
        assert!(!is_known(0x1a0, 0xf));
        assert!(is_known(0xc000_0108, 0x2f));
        assert!(!is_known(0xc000_0108, 0x10));
        assert!(!is_known(0x6d, 1));
    }

    #[test]
    fn every_name_of_the_command_line_is_read_back() {
        for &prefetcher in Prefetcher::ALL {
            assert_eq!(
                prefetcher.name().parse::<Which>().unwrap(),
                Which::One(prefetcher)
            );
        }
        let error = "adjacant".parse::<Which>().unwrap_err().to_string();
        assert!(error.contains("adjacent"), "{error}");
    }
}
