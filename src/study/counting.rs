//! What it costs to count: the same arm with the counters of `hitm run` open, and without.

use super::conduct::{Either, cpus, design};
use super::ratios::{Args, Ratios};
use crate::backend::faults::FaultArms;
use crate::backend::native::Native;
use crate::backend::native::pool::Timing;
use crate::counters::{Pmu, Rotation, Scope, roles};
use crate::error::{Error, Result};
use crate::experiment::{Arm, Backend, PlannedSample};
use crate::program::fault::path::PageWork;
use crate::program::fault::scenario;

const POINT: &str = "one-vma";
const ARMS: [&str; 3] = ["closed", Arm::AGAIN, "open"];

/// A fault with the counters of `hitm run` open over one with them closed, one thread. Also: the
/// roles that were counted.
pub fn study(args: &Args) -> Result<(Ratios, String)> {
    let all: Vec<&str> = roles().iter().map(|role| role.name.as_str()).collect();
    let plan = Rotation::new(&Pmu::here(), &all, Scope::User)?;
    let counted = plan.roles().join(", ");
    if counted.is_empty() {
        let reasons = Rotation::reasons(&plan.missing);
        let why = reasons.first().map_or("no role is known", |(why, _)| *why);
        return Err(Error::Refused(format!(
            "nothing can be counted here: {why}"
        )));
    }
    let cpus = cpus(1)?;
    let native = || {
        let faults = FaultArms::new(
            &["split-packed".parse()?],
            vec![(scenario::BuiltIn::OneVma, 1)],
            PageWork::None,
        )?;
        Native::new(faults, vec![cpus.clone()], Timing::default())
    };
    let mut closed = native()?;
    let mut open = native()?;
    open.count(plan);
    let mut backend = Either {
        first: open,
        first_takes: |planned| (planned.arm == 2).then_some(PlannedSample { arm: 0, ..*planned }),
        second: |planned: &PlannedSample| closed.measure(&PlannedSample { arm: 0, ..*planned }),
    };
    let ratios = args.ratios(design(&ARMS, &[(POINT, 1)])?, &mut backend, false)?;
    Ok((ratios, counted))
}
