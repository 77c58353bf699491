//! The processor: who made it, which model it is, which kind of core runs a thread, and whether a
//! hypervisor stands in between. Whoever decides by one of these asks here.
//!
//! Not here: what follows from it for events (`counters`) and registers (`prefetch`).

use super::cpu_list;
use super::files::{Known, read, value_of};
use super::topology::CpuId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// Who made a CPU.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// Intel
    Intel,
    /// AMD
    Amd,
    /// Arm
    #[value(skip)]
    Arm,
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Vendor::Intel => "Intel",
            Vendor::Amd => "AMD",
            Vendor::Arm => "Arm",
        })
    }
}

/// Kind of core. On a CPU that is not hybrid every core is a performance core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CoreKind {
    /// P-core.
    Performance,
    /// E-core.
    Efficiency,
}

impl CoreKind {
    /// Of the core that the calling thread runs on: CPUID leaf 1Ah, EAX[31:24] (Intel SDM volume
    /// 2), which is 0 on CPUs that are not hybrid.
    pub fn current() -> CoreKind {
        match cpuid(0x1a) {
            Some([eax, ..]) if eax >> 24 == 0x20 => CoreKind::Efficiency,
            _ => CoreKind::Performance,
        }
    }
}

/// The numbers that tell models apart.
///
/// On Arm, `family` is the implementer, `model` the part number and `stepping` the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuModel {
    /// Who made it.
    pub vendor: Vendor,
    /// Display family.
    pub family: u32,
    /// Display model.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
}

impl fmt::Display for CpuModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CpuModel {
            vendor,
            family,
            model,
            ..
        } = self;
        write!(f, "{vendor} family {family:#x} model {model:#x}")
    }
}

impl CpuModel {
    /// The CPU before us; on Arm, that which the calling thread runs on.
    pub fn here() -> Known<CpuModel> {
        if !cfg!(target_arch = "aarch64") {
            return Processor::here().cpu_model();
        }
        let cpu = rustix::thread::sched_getcpu();
        let path = format!("sys/devices/system/cpu/cpu{cpu}/regs/identification/midr_el1");
        let midr = read(Path::new("/"), &path)?;
        CpuModel::from_midr(&midr).ok_or_else(|| format!("/{path}: {midr} is no CPU of Arm"))
    }

    /// The CPU that a `midr_el1` file of sysfs names; `None` for an implementer other than Arm.
    pub fn from_midr(text: &str) -> Option<CpuModel> {
        let midr = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()?;
        let family = (midr >> 24) as u32 & 0xff;
        (family == 0x41).then_some(CpuModel {
            vendor: Vendor::Arm,
            family,
            model: (midr >> 4) as u32 & 0xfff,
            stepping: (midr >> 20) as u32 & 0xf,
        })
    }
}

/// How the processor describes itself, in `/proc/cpuinfo` and by CPUID.
#[derive(Clone, Debug)]
pub struct Processor {
    /// `GenuineIntel`, `AuthenticAMD`, …
    pub vendor: Known<String>,
    /// The marketing name.
    pub name: Known<String>,
    /// Family number.
    pub family: Known<u32>,
    /// Model number.
    pub model: Known<u32>,
    /// Stepping.
    pub stepping: Known<u32>,
    /// Microcode revision, hexadecimal.
    pub microcode: Known<String>,
    /// The hypervisor; `None` on bare metal.
    pub hypervisor: Known<Option<String>>,
}

impl Processor {
    /// The one before us.
    pub fn here() -> Processor {
        Processor::below(Path::new("/"))
    }

    /// The one whose `/proc` lies below `root`; a hypervisor is asked for by CPUID in any case.
    pub fn below(root: &Path) -> Processor {
        let cpuinfo = read(root, "proc/cpuinfo");
        let field = |name: &str| {
            let text = cpuinfo.as_ref().map_err(String::clone)?;
            let found = value_of(text, name).map(str::to_owned);
            found.ok_or_else(|| format!("no '{name}' in /proc/cpuinfo"))
        };
        let number = |name: &str| {
            let text = field(name)?;
            text.parse::<u32>()
                .map_err(|why| format!("'{name}' in /proc/cpuinfo is '{text}': {why}"))
        };
        Processor {
            vendor: field("vendor_id"),
            name: field("model name"),
            family: number("cpu family"),
            model: number("model"),
            stepping: number("stepping"),
            microcode: field("microcode"),
            hypervisor: hypervisor(),
        }
    }

    /// Its numbers, if it is of a vendor that is known here.
    pub fn cpu_model(&self) -> Known<CpuModel> {
        let vendor = match self.vendor.clone()?.as_str() {
            "GenuineIntel" => Vendor::Intel,
            "AuthenticAMD" => Vendor::Amd,
            other => return Err(format!("CPUs of vendor '{other}' are not known here")),
        };
        Ok(CpuModel {
            vendor,
            family: self.family.clone()?,
            model: self.model.clone()?,
            stepping: self.stepping.clone()?,
        })
    }

    /// Whether a hypervisor is known to be there.
    pub fn is_guest(&self) -> bool {
        matches!(self.hypervisor, Ok(Some(_)))
    }
}

/// The E-cores of a hybrid CPU (CPUID leaf 7, EDX[15]), as the kernel lists those online; none of
/// any other.
pub fn efficiency_cpus() -> Known<BTreeSet<CpuId>> {
    const LIST: &str = "sys/devices/cpu_atom/cpus";
    if cpuid(7).is_none_or(|[.., edx]| edx & (1 << 15) == 0) {
        return Ok(BTreeSet::new());
    }
    let cpus = cpu_list::parse(&read(Path::new("/"), LIST)?);
    cpus.map(BTreeSet::from_iter).map_err(|why| why.to_string())
}

/// EAX, EBX, ECX and EDX of a CPUID leaf, subleaf 0, where there is that leaf.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub fn cpuid(leaf: u32) -> Option<[u32; 4]> {
    let highest = raw_cpuid::cpuid!(leaf & 0xf000_0000).eax;
    let found = raw_cpuid::cpuid!(leaf, 0);
    (leaf <= highest).then_some([found.eax, found.ebx, found.ecx, found.edx])
}

/// As above, where there is no CPUID.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
pub fn cpuid(_leaf: u32) -> Option<[u32; 4]> {
    None
}

/// The hypervisor by CPUID: leaf 1, ECX[31] says whether, leaf 0x4000_0000 says which.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn hypervisor() -> Known<Option<String>> {
    use raw_cpuid::Hypervisor::Unknown;
    if cpuid(1).is_none_or(|[_, _, ecx, _]| ecx >> 31 == 0) {
        return Ok(None);
    }
    let info = raw_cpuid::CpuId::new().get_hypervisor_info();
    Ok(Some(match info.map(|info| info.identify()) {
        Some(Unknown(b, c, d)) => {
            let signature: Vec<u8> = [b, c, d].into_iter().flat_map(u32::to_le_bytes).collect();
            format!("unknown ({})", signature.escape_ascii())
        }
        Some(known) => format!("{known:?}"),
        None => "unknown (it does not say which)".to_owned(),
    }))
}

/// As above, where there is no CPUID.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn hypervisor() -> Known<Option<String>> {
    Err("found by CPUID, which only x86 has".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(cpuinfo: &str) -> Processor {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("proc/cpuinfo"), cpuinfo).unwrap();
        Processor::below(root.path())
    }

    #[test]
    fn a_model_is_known_by_vendor_and_three_numbers() {
        let text = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n\
                    model name\t: A CPU\nstepping\t: 1\n\nvendor_id\t: GenuineIntel\n";
        let model = below(text).cpu_model().unwrap();
        assert_eq!(model.to_string(), "AMD family 0x19 model 0x11");
        assert_eq!(model.stepping, 1);
        let why = below(&text.replace("25", "many")).cpu_model().unwrap_err();
        assert!(
            why.contains("'cpu family'") && why.contains("many"),
            "{why}"
        );
        let why = below("vendor_id : CentaurHauls\n").cpu_model().unwrap_err();
        assert!(why.contains("CentaurHauls"), "{why}");
        assert!(below("").cpu_model().is_err());
    }

    #[test]
    fn the_numbers_of_this_machine_are_those_of_cpuid() {
        let Some([eax, ..]) = cpuid(1) else { return };
        // Intel SDM volume 2, CPUID leaf 1: extended family and model.
        let [stepping, model, family] = [0, 4, 8].map(|shift| eax >> shift & 0xf);
        let processor = Processor::here();
        let extended = if family == 0xf { eax >> 20 & 0xff } else { 0 };
        assert_eq!(processor.family, Ok(family + extended));
        assert_eq!(processor.model, Ok((eax >> 16 & 0xf) << 4 | model));
        assert_eq!(processor.stepping, Ok(stepping));
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flag = flags.split_whitespace().any(|word| word == "hypervisor");
        assert_eq!(processor.is_guest(), flag);
    }
}
