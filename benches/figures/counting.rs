//! What it costs to count: the same arm with the counters of `hitm run` open, and without.

use crate::conduct::{Args, Either, cpus, design};
use hitm::backend::native::pool::Timing;
use hitm::backend::native::{Faults, Native};
use hitm::counters::{Pmu, Rotation, Scope, roles};
use hitm::error::{Error, Result};
use hitm::experiment::{BASELINE_AGAIN, Backend, Cell};
use hitm::program::fault::path::PageWork;
use hitm::program::fault::scenario;

const POINT: &str = "one-vma";
const ARMS: [&str; 3] = ["closed", BASELINE_AGAIN, "open"];

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
        let faults = Faults {
            arms: vec!["split-packed".parse()?],
            points: vec![(scenario::BuiltIn::OneVma, 1)],
            work: PageWork::None,
        };
        Native::new(faults, vec![cpus.clone()], Timing::default())
    };
    let mut closed = native()?;
    let mut open = native()?;
    open.count(plan);
    let mut backend = Either {
        first: open,
        first_takes: |cell| (cell.arm == 2).then_some(Cell { arm: 0, ..*cell }),
        second: |cell: &Cell| closed.measure(&Cell { arm: 0, ..*cell }),
    };
    let figure = args.conduct(design(&ARMS, &[(POINT, 1)]), &mut backend)?;
    Ok(format!(
        "counting: counters open over closed, split-packed, 1 thread: {} ({} over {}; A/A {}); \
         counted: {counted}; {}",
        figure.ratio(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[2]),
        figure.nanos(POINT, ARMS[0]),
        figure.ratio(POINT, BASELINE_AGAIN),
        figure.disturbed
    ))
}
