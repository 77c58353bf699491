//! Samples: one measured arm in one block, and why it may not be used.

use super::{Arm, BackendKind, Point, Prefetch};
use crate::text::words;
use std::collections::BTreeMap;
use std::fmt;

/// One measured arm in one block: one row of `samples.csv`.
///
/// A figure that could not be measured is `None` and an empty cell, never 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Identifier of the run.
    pub run: String,
    /// What executed it.
    pub backend: BackendKind,
    /// The machine: CPU model, or the name of a machine file.
    pub machine: String,
    /// What was measured.
    pub arm: Arm,
    /// Where in the design.
    pub point: Point,
    /// State of the prefetcher.
    pub prefetch: Prefetch,
    /// Number of the block, from 0, within its design point.
    pub block: u64,
    /// Position of the arm in its block, from 0.
    pub order: usize,
    /// Faults completed by all threads in the window.
    pub faults: u64,
    /// Length of the window in seconds: the mean over threads of their own elapsed time.
    pub seconds: f64,
    /// `faults / seconds`; not a number, and an empty cell, where it was not measured.
    pub faults_per_second: f64,
    /// Time one thread spends on one fault: `threads x seconds / faults`, in nanoseconds; not a
    /// number, and an empty cell, where it was not measured.
    pub ns_per_fault: f64,
    /// Faults of the thread that completed fewest.
    pub slowest_thread_faults: u64,
    /// Faults of the thread that completed most.
    pub fastest_thread_faults: u64,
    /// Line-transfer latency between the threads just before the window, one way, in ns.
    pub probe_ns: Option<f64>,
    /// Whether the sample may be used for a verdict.
    pub valid: bool,
    /// Why not, if not; several reasons are joined with `; `.
    pub invalid_reason: String,
    /// The same as codes; empty in files of version 1.
    pub invalid_code: Vec<Code>,
    /// Simulator: memory accesses charged to the model, in the measured window like the faults.
    pub accesses: Option<u64>,
    /// Simulator: seconds of host time in which the model ran that window. Over these, `accesses`
    /// are its speed; the warm-up and the laying out of the world are in neither.
    pub wall_seconds: Option<f64>,
    /// Slab slot of the first VMA in use: its parity decides the 128-byte neighbours. `None` where
    /// it cannot be known, as in the running kernel.
    pub first_slot: Option<usize>,
    /// Name of the host; empty for the simulator.
    pub host: String,
    /// What the user called the run.
    pub label: String,
    /// The kernel's identifier of the boot; empty for the simulator.
    pub boot_id: String,
    /// The arm that the others are compared with; `None` in files of version 1.
    pub baseline: Option<Arm>,
    /// Equivalence margin of the run, a fraction; `None` in files of version 1.
    pub margin: Option<f64>,
    /// Blocks of each design point, where their number was fixed beforehand.
    pub blocks_planned: Option<u64>,
    /// State of the machine while the block was taken: every sample of a block has the same.
    pub stratum: Stratum,
    /// How often it was taken, the last time counts; `None` for the simulator.
    pub attempts: Option<u32>,
    /// The role whose threads are counted; empty for all.
    pub role: Option<String>,
    /// The machine code of the arm but for displacements: arms of one design point with the same
    /// text differ in displacements alone. Empty where no machine code of ours was executed.
    pub code: String,
    /// Counters by role, totals over all threads in the window.
    pub counters: BTreeMap<String, f64>,
}

/// A state of the machine that samples are told apart by; a part that is empty is not known, or,
/// in a verdict, not told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Stratum {
    /// Parity of the slab slot that the first object lies in.
    pub slot: Option<u32>,
    /// Mode of the line transfer, from the probe.
    pub transfer_ns: Option<TransferBin>,
    /// Pace of the cores.
    pub pace: Option<Pace>,
}

words! {
    /// Whether cores had all of themselves. An SMT sibling at work, known or hidden by a hypervisor,
    /// takes its share.
    pub enum Pace as "pace" {
        /// Every thread had a core to itself.
        Full = "full",
        /// The sibling of some thread's CPU was at work.
        Shared = "shared",
    }
}

words! {
    /// Line transfers in fixed bins, in nanoseconds one way: virtual CPUs have been seen 11, 27 and
    /// 120 ns apart.
    pub enum TransferBin as "transfer mode" {
        /// Below 20 ns.
        Near = "<20",
        /// From 20 to 60 ns.
        Middle = "20-60",
        /// Above 60 ns.
        Far = ">60",
    }
}

impl TransferBin {
    /// The bin of a probe.
    pub fn of(probe_ns: f64) -> TransferBin {
        match probe_ns {
            ns if ns < 20.0 => TransferBin::Near,
            ns if ns <= 60.0 => TransferBin::Middle,
            _ => TransferBin::Far,
        }
    }
}

words! {
    /// Why a sample was set aside, in a word that does not change.
    pub enum Code as "code of an invalid sample" {
        /// A thread was switched out.
        Switched = "switched",
        /// The hypervisor took CPU time away.
        Stolen = "stolen",
        /// A thread lost its pin.
        Unpinned = "unpinned",
        /// A thread moved to another CPU.
        Migrated = "migrated",
        /// Its probe was in another mode than its block's.
        OtherMode = "other-mode",
        /// Its pace was another than its block's, or changed during the window.
        OtherPace = "other-pace",
        /// A prefetcher register changed.
        Drifted = "drifted",
        /// No fault was completed.
        NoFaults = "no-faults",
    }
}

impl Code {
    /// Whether the same sample may well come out usable when it is taken again at once.
    pub fn is_passing(self) -> bool {
        match self {
            Code::Switched | Code::Stolen | Code::Migrated | Code::OtherMode | Code::OtherPace => {
                true
            }
            Code::Unpinned | Code::Drifted | Code::NoFaults => false,
        }
    }

    /// What is behind it, and what to do: said where it spoiled much of a run.
    pub fn advice(self) -> &'static str {
        match self {
            Code::Switched | Code::Unpinned | Code::Migrated => {
                "something else ran on these CPUs: stop it, or give --placement other CPUs"
            }
            Code::Stolen => "the hypervisor ran something else: try again, or use bare metal",
            Code::OtherMode => {
                "the CPUs of this virtual machine move between near and far cores: longer runs help"
            }
            Code::OtherPace => {
                "something else ran on the other half of these cores, here or beside this virtual \
                 machine: stop it, give --placement other CPUs, or try again"
            }
            Code::Drifted => "something else writes prefetcher registers: stop it",
            Code::NoFaults => "no fault was completed: give fewer threads or less --page-work",
        }
    }
}

/// Why a sample may not be used, with its figures.
#[derive(Clone, Debug, PartialEq)]
pub enum Invalid {
    /// Involuntary context switches.
    Switched(u64),
    /// Nanoseconds stolen by the hypervisor.
    Stolen(u64),
    /// Why a pin does not hold.
    Unpinned(String),
    /// Migrations to another CPU.
    Migrated(f64),
    /// Nanoseconds of the probe, and of the median probe of the block.
    OtherMode(f64, f64),
    /// Its pace, and that of the block.
    OtherPace(Pace, Pace),
    /// The pace of a thread before the window and after it.
    PaceChanged(Pace, Pace),
    /// Which register drifted, and how.
    Drifted(String),
    /// No fault was completed.
    NoFaults,
}

impl Invalid {
    /// Its code.
    pub fn code(&self) -> Code {
        match self {
            Invalid::Switched(_) => Code::Switched,
            Invalid::Stolen(_) => Code::Stolen,
            Invalid::Unpinned(_) => Code::Unpinned,
            Invalid::Migrated(_) => Code::Migrated,
            Invalid::OtherMode(..) => Code::OtherMode,
            Invalid::OtherPace(..) | Invalid::PaceChanged(..) => Code::OtherPace,
            Invalid::Drifted(_) => Code::Drifted,
            Invalid::NoFaults => Code::NoFaults,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Switched(count) => write!(f, "{count} involuntary context switches"),
            Invalid::Stolen(ns) => write!(f, "{} ms stolen by the hypervisor", ns / 1_000_000),
            Invalid::Unpinned(why) | Invalid::Drifted(why) => f.write_str(why),
            Invalid::Migrated(count) => write!(f, "{count} migrations to another CPU"),
            Invalid::OtherMode(probe, median) => write!(
                f,
                "probe {probe:.0} ns where the block's median is {median:.0} ns"
            ),
            Invalid::OtherPace(pace, block) => {
                write!(f, "{pace} pace where that of the block is {block}")
            }
            Invalid::PaceChanged(before, after) => {
                write!(
                    f,
                    "{before} pace before the window and {after} pace after it"
                )
            }
            Invalid::NoFaults => f.write_str("no fault was completed"),
        }
    }
}

impl Sample {
    /// A row of `arm` at `point` in which nothing has been measured yet.
    pub fn new(arm: Arm, point: Point) -> Sample {
        Sample {
            run: String::new(),
            backend: BackendKind::Native,
            machine: String::new(),
            arm,
            point,
            prefetch: Prefetch::AsIs,
            block: 0,
            order: 0,
            faults: 0,
            seconds: 0.0,
            faults_per_second: f64::NAN,
            ns_per_fault: f64::NAN,
            slowest_thread_faults: 0,
            fastest_thread_faults: 0,
            probe_ns: None,
            valid: true,
            invalid_reason: String::new(),
            invalid_code: Vec::new(),
            accesses: None,
            wall_seconds: None,
            first_slot: None,
            host: String::new(),
            label: String::new(),
            boot_id: String::new(),
            baseline: None,
            margin: None,
            blocks_planned: None,
            stratum: Stratum::default(),
            attempts: None,
            role: None,
            code: String::new(),
            counters: BTreeMap::new(),
        }
    }

    /// Set it aside for this reason, beside those it has.
    pub fn invalidate(&mut self, why: &Invalid) {
        self.valid = false;
        if !self.invalid_reason.is_empty() {
            self.invalid_reason.push_str("; ");
        }
        self.invalid_reason.push_str(&why.to_string());
        if !self.invalid_code.contains(&why.code()) {
            self.invalid_code.push(why.code());
        }
    }
}
