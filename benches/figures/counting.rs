//! What it costs to count: the same arm with the counters of `hitm run` open, and without.

use crate::conduct::{Args, Either, cpus, design};
use hitm::backend::faults::FaultArms;
use hitm::backend::native::Native;
use hitm::backend::native::pool::Timing;
use hitm::counters::{Pmu, Rotation, Scope, roles};
use hitm::error::{Error, Result};
use hitm::experiment::{Arm, Backend, PlannedSample};
use hitm::program::fault::path::PageWork;
use hitm::program::fault::scenario;

const POINT: &str = "one-vma";
const ARMS: [&str; 3] = ["closed", Arm::AGAIN, "open"];

/// The figure.
pub fn figure(args: &Args) -> Result<String> {
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
    let figure = args.conduct(design(&ARMS, &[(POINT, 1)])?, &mut backend)?;
    Ok(format!(
        "counting: counters open over closed, split-packed, 1 thread: {} ({} over {}; A/A {}); \
         counted: {counted}; {}",
        figure.ratio(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[0]),
        figure.ratio(POINT, Arm::AGAIN),
        figure.disturbed
    ))
}
