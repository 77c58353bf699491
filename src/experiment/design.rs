//! A design: what is compared with what, where, and what a design must be to be measured.
//!
//! Not here: the order of samples (`plan`), and how a design is asked for (`commands`).

use super::{Arm, CaseFile, LayoutName, Point, Scenario};
use crate::error::{Error, Result};
use crate::prefetch::{self, Which};
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::path::PageWork;
use crate::program::fault::vma::ImportedLayout;
use crate::program::steps::{StepsSpec, places};
use crate::program::{Blueprint, fault};
use crate::text::words;
use std::time::Duration;

words! {
    /// What executes samples.
    pub enum BackendKind as "backend" {
        /// Pinned threads of this machine.
        Native = "native",
        /// A machine model.
        Sim = "sim",
        /// Page faults of the running kernel.
        Kernel = "kernel",
    }
}

words! {
    /// State of the prefetcher during a sample.
    pub enum Prefetch as "state of the prefetcher" {
        /// As the machine has it; nothing is switched.
        AsIs = "as-is",
        /// Switched on.
        On = "on",
        /// Switched off.
        Off = "off",
    }
}

impl Prefetch {
    /// What the prefetcher is switched to, if anything.
    pub fn state(self) -> Option<prefetch::Switch> {
        match self {
            Prefetch::AsIs => None,
            Prefetch::On => Some(prefetch::Switch::On),
            Prefetch::Off => Some(prefetch::Switch::Off),
        }
    }
}

/// What is compared with what, and where. Written to `environment.json`, so that a run can go on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// Identifier of the run.
    pub run: String,
    /// What executes it.
    pub backend: BackendKind,
    /// The machine.
    pub machine: String,
    /// Name of the host; empty for the simulator.
    #[serde(default)]
    pub host: String,
    /// The kernel's identifier of the boot; empty for the simulator.
    #[serde(default)]
    pub boot_id: String,
    /// What the user calls the run.
    #[serde(default)]
    pub label: String,
    /// The case that takes the place of the fault path, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseFile>,
    /// Layouts of the VMA that were read elsewhere, for arms of their names. Where there is one, all
    /// arms are made alike: with tables that are read while the path runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imported: Vec<ImportedLayout>,
    /// The design points.
    pub points: Vec<Point>,
    /// The arms. The first is the baseline; [`Arm::Again`] is among the others, and so is
    /// [`Arm::Recompiled`] in a native run, unless an earlier version of `hitm` began it.
    pub arms: Vec<Arm>,
    /// Prefetcher states each arm is measured in: as it is, or on and off.
    pub prefetch: Vec<Prefetch>,
    /// The prefetcher that is switched, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefetcher: Option<Which>,
    /// Slab slot of the first VMA in every block, or none for slots 0 and 1 in turn.
    pub first_slot: Option<usize>,
    /// Everything random follows from it, and from what a design point is.
    pub seed: u64,
    /// What each fault does beside reading fields.
    pub page_work: PageWork,
    /// Equivalence margin: 0.02 makes ratios from 1/1.02 to 1.02 equivalent.
    pub margin: f64,
}

/// The margin where none is given.
pub const DEFAULT_MARGIN: f64 = 0.02;

/// A part of a design that cannot be measured.
#[derive(Clone, Debug)]
pub struct Flaw {
    /// The key in `environment.json`.
    pub key: String,
    /// What is wrong, in one line.
    pub why: String,
}

impl From<Flaw> for Error {
    fn from(flaw: Flaw) -> Error {
        Error::Input(flaw.why)
    }
}

impl Flaw {
    /// What is wrong with the part `key`.
    pub fn of(key: impl Into<String>, why: impl ToString) -> Flaw {
        Flaw {
            key: key.into(),
            why: why.to_string(),
        }
    }
}

impl Design {
    /// These arms at these points, and of everything else what is usual.
    pub fn new(backend: BackendKind, machine: &str, arms: Vec<Arm>, points: Vec<Point>) -> Design {
        Design {
            run: String::new(),
            backend,
            machine: machine.to_owned(),
            host: String::new(),
            boot_id: String::new(),
            label: String::new(),
            case: None,
            imported: Vec::new(),
            points,
            arms,
            prefetch: vec![Prefetch::AsIs],
            prefetcher: None,
            first_slot: None,
            seed: 1,
            page_work: PageWork::None,
            margin: DEFAULT_MARGIN,
        }
    }

    /// The arms as asked for, with the A/A arm after the baseline.
    pub fn with_again(mut arms: Vec<Arm>) -> Vec<Arm> {
        arms.insert(1.min(arms.len()), Arm::Again);
        arms
    }

    /// The arms as asked for, with those after the baseline that every run has: the A/A arm, and the
    /// placebo where machine code of ours is executed.
    pub fn with_controls(backend: BackendKind, arms: Vec<Arm>) -> Vec<Arm> {
        let mut arms = Design::with_again(arms);
        if backend == BackendKind::Native {
            arms.insert(2.min(arms.len()), Arm::Recompiled);
        }
        arms
    }

    /// Slab slots that the first object lies in by turns: one of each phase in a pair.
    pub fn first_slots(&self) -> usize {
        let Some(case) = &self.case else {
            return fault::FIRST_SLOTS.len();
        };
        let case = case.get();
        let layouts = case.layouts.iter();
        let phases = layouts.map(|layout| places::phases(case, layout));
        // Blocks come in couples of one even and one odd slot.
        phases.max().unwrap_or(1).max(fault::FIRST_SLOTS.len())
    }

    /// Samples of one block.
    pub fn samples_per_block(&self) -> usize {
        self.arms.len() * self.prefetch.len()
    }

    /// Comparisons of all design points.
    pub fn comparisons(&self) -> usize {
        let states = match self.prefetch.len() {
            1 => 1,
            // On, off, and on over off.
            states => states + 1,
        };
        self.points.len() * (self.arms.len() - 1) * states
    }

    /// Whether it can be measured, wherever it comes from. What the machine lacks is found out
    /// when a backend is made.
    pub fn check(&self) -> std::result::Result<(), Flaw> {
        self.check_imported()?;
        self.check_arms()?;
        self.check_points()?;
        match self.prefetch[..] {
            [Prefetch::AsIs] | [Prefetch::On, Prefetch::Off] => {}
            _ => return Err(Flaw::of("prefetch", "must be as-is alone, or on and off")),
        }
        if let Some(slot) = self.first_slot {
            fault::check_first_slot(slot).map_err(|why| Flaw::of("first_slot", why))?;
        }
        check_margin(self.margin).map_err(|why| Flaw::of("margin", why))?;
        let texts = [
            ("run", &self.run),
            ("machine", &self.machine),
            ("host", &self.host),
            ("boot_id", &self.boot_id),
            ("label", &self.label),
        ];
        for (key, text) in texts {
            if text.contains(char::is_control) {
                let why = format!("the {key} holds a control character; give plain text");
                return Err(Flaw::of(key, why));
            }
        }
        Ok(())
    }

    /// The built-in or imported layout of that name. An imported one has a table of its own each
    /// time.
    pub fn vma_layout(&self, name: &LayoutName) -> Result<VmaLayout> {
        match self.imported_layout(name) {
            Some(imported) => imported.table().map(VmaLayout::Imported),
            None => VmaLayout::parse(name.as_str()).map_err(|error| {
                let imported = self.imported.iter().map(|layout| layout.name.as_str());
                let built_in = VmaLayout::EVERY.iter().map(|layout| layout.name());
                match self.imported.is_empty() {
                    true => error,
                    false => Error::unknown("layout", name.as_str(), imported.chain(built_in)),
                }
            }),
        }
    }

    fn imported_layout(&self, name: &LayoutName) -> Option<&ImportedLayout> {
        let mut imported = self.imported.iter();
        imported.find(|layout| layout.name == name.as_str())
    }

    /// The layouts that arms are of.
    fn measured(&self) -> impl Iterator<Item = &LayoutName> {
        let measured = self.arms.iter().filter_map(|arm| arm.measured(arm));
        measured.map(|(layout, _)| layout)
    }

    fn check_imported(&self) -> std::result::Result<(), Flaw> {
        for (at, layout) in self.imported.iter().enumerate() {
            let flaw = |part: &str, why: &dyn ToString| {
                Flaw::of(format!("imported[{at}]{part}"), why.to_string())
            };
            let name: LayoutName = layout.name.parse().map_err(|why| flaw(".name", &why))?;
            if self.case.is_some() {
                return Err(flaw("", &"a case has layouts of its own"));
            }
            if VmaLayout::parse(name.as_str()).is_ok() {
                let why = format!("'{name}' is a built-in layout; give the import another name");
                return Err(flaw(".name", &why));
            }
            if self.imported[..at]
                .iter()
                .any(|other| other.name == layout.name)
            {
                return Err(flaw(".name", &format!("two imports are named '{name}'")));
            }
            if !self.measured().any(|measured| *measured == name) {
                let why = format!("imported layout '{name}' is not among the layouts to compare");
                return Err(flaw("", &why));
            }
            if layout.source.contains(char::is_control) {
                let why = "the source holds a control character; give a file of plain name";
                return Err(flaw(".source", &why));
            }
            layout.check().map_err(|why| flaw("", &why))?;
        }
        Ok(())
    }

    fn check_arms(&self) -> std::result::Result<(), Flaw> {
        let flaw = |at: usize, why: &dyn ToString| Flaw::of(format!("arms[{at}]"), why.to_string());
        let Some(baseline @ Arm::Layout { .. }) = self.arms.first() else {
            return Err(Flaw::of(
                "arms",
                "the first arm must be a layout, the baseline",
            ));
        };
        if !self.arms.contains(&Arm::Again) {
            return Err(Flaw::of("arms", format!("{} is missing", Arm::Again)));
        }
        for (at, arm) in self.arms.iter().enumerate() {
            if self.arms[..at].contains(arm) {
                let why = format!(
                    "layout '{arm}' is named twice; the baseline is measured twice anyway, as {}",
                    Arm::Again
                );
                return Err(flaw(at, &why));
            }
            if *arm == Arm::Recompiled && self.backend != BackendKind::Native {
                let why = format!(
                    "{arm} is measured where machine code is executed, and a {} run executes none; \
                     leave it out",
                    self.backend
                );
                return Err(flaw(at, &why));
            }
            if let Some((layout, _)) = arm.measured(baseline) {
                let known = match &self.case {
                    Some(case) => case.get().layout_number(layout.as_str()).map(|_| ()),
                    None if self.imported_layout(layout).is_some() => Ok(()),
                    None => self.vma_layout(layout).map(|_| ()),
                };
                known.map_err(|why| flaw(at, &why))?;
            }
        }
        Ok(())
    }

    fn check_points(&self) -> std::result::Result<(), Flaw> {
        if self.points.is_empty() {
            return Err(Flaw::of("points", "there is no design point"));
        }
        for (at, point) in self.points.iter().enumerate() {
            let flaw = |part: &str, why: String| Flaw::of(format!("points[{at}]{part}"), why);
            match &self.case {
                Some(case) => {
                    if point.scenario != Scenario::Case(case.get().name.clone()) {
                        let why = format!("the scenario is not {}, the case", case.get().name);
                        return Err(flaw(".scenario", why));
                    }
                    self.check_case(case, point.threads)
                        .map_err(|why| flaw(".threads", why.to_string()))?;
                }
                None => {
                    let scenario = point
                        .scenario
                        .built_in()
                        .map_err(|why| flaw(".scenario", why.to_string()))?;
                    fault::check_threads(scenario, point.threads)
                        .map_err(|why| flaw(".threads", why.to_string()))?;
                    for layout in &self.imported {
                        fault::check_fields(scenario, &layout.name, |field| {
                            layout.fields.contains_key(&field)
                        })
                        .map_err(|why| flaw(".scenario", why.to_string()))?;
                    }
                }
            }
            if self.points[..at].contains(point) {
                return Err(flaw("", "the design point is there twice".to_owned()));
            }
        }
        Ok(())
    }
}

impl Design {
    /// Whether every arm of the case runs with so many threads.
    fn check_case(&self, case: &CaseFile, threads: usize) -> Result<()> {
        let case = case.get();
        let measured = self
            .arms
            .iter()
            .filter_map(|arm| arm.measured(&self.arms[0]));
        for (layout, _) in measured {
            let spec = StepsSpec {
                case: case.clone(),
                layout: case.layout_number(layout.as_str())?,
                threads,
                first_slot: self.first_slots() - 1,
                seed: self.seed,
            };
            spec.check()?;
        }
        Ok(())
    }
}

/// Whether a margin of equivalence, a fraction, can be judged by.
pub fn check_margin(margin: f64) -> Result<()> {
    match (0.0..=1.0).contains(&margin) {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "{} is no margin; give per cent from 0 to 100",
            margin * 100.0
        ))),
    }
}

/// When to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Stop when so much time has passed.
    pub budget: Option<Duration>,
    /// Take exactly so many blocks at every point, decided or not.
    pub blocks: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(backend: BackendKind, arms: &[&str]) -> bool {
        let arms = arms.iter().map(|arm| arm.parse().unwrap()).collect();
        let point = Point {
            scenario: "one-vma".parse().unwrap(),
            placement: "compact".parse().unwrap(),
            threads: 1,
        };
        Design::new(backend, "m", arms, vec![point]).check().is_ok()
    }

    #[test]
    fn a_native_run_has_the_placebo_unless_it_was_begun_without() {
        let arms = vec![
            "split-packed".parse().unwrap(),
            "mmap-lock".parse().unwrap(),
        ];
        let native = Design::with_controls(BackendKind::Native, arms.clone());
        let native: Vec<String> = native.iter().map(Arm::to_string).collect();
        let expected = ["split-packed", Arm::AGAIN, Arm::RECOMPILED, "mmap-lock"];
        assert_eq!(native, expected);
        assert!(checked(BackendKind::Native, &expected));
        assert!(checked(BackendKind::Native, &["split-packed", Arm::AGAIN]));
        let sim = Design::with_controls(BackendKind::Sim, arms);
        assert!(!sim.contains(&Arm::Recompiled));
        assert!(!checked(BackendKind::Sim, &expected));
        assert!(!checked(
            BackendKind::Native,
            &["split-packed", Arm::RECOMPILED]
        ));
    }
}
