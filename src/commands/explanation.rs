//! `hitm sim --explain` and `--timeline`: one sample of each layout and design point, looked into.
//!
//! Here: which samples, the rows of `explanation.csv`, the file of the timeline. Not here: what a
//! row says (`report::explain`) and what is drawn (`sim::timeline`).

use crate::backend::arms::Arms;
use crate::backend::sim::Sim;
use crate::error::{Error, Result, say};
use crate::experiment::{Arm, Block, Design, PlannedSample, Prefetch};
use crate::report::explain::{AskedFor, Sharing, explain, explanation, ns_per_fault};
use crate::results::write_whole;
use crate::sim::run;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A row of `explanation.csv`: what a role waited for (`requests`, `waits`, `ns`), or took from
/// another (`from`, `used`, `sharing`), per fault.
#[derive(Serialize)]
pub struct Explained {
    machine: String,
    layout: String,
    scenario: String,
    placement: String,
    threads: usize,
    prefetch: Prefetch,
    first_slot: usize,
    ns_per_fault: f64,
    event: &'static str,
    role: String,
    counted: Option<bool>,
    request: Option<AskedFor>,
    field: Option<String>,
    times: f64,
    waits: Option<f64>,
    ns: Option<f64>,
    ns_after_prefetch: Option<f64>,
    from: Option<String>,
    used: Option<String>,
    sharing: Option<Sharing>,
    hitm: Option<bool>,
    kept: Option<bool>,
    other_socket: Option<f64>,
    line: String,
}

/// Which samples are looked into, and how.
pub struct Explaining<'a, A> {
    /// Of this design.
    pub design: &'a Design,
    /// On this machine,
    pub sim: &'a Sim<A>,
    /// as it was named.
    pub machine: &'a str,
    /// Whether who waits for what is asked for.
    pub explain: bool,
    /// Where the last sample is drawn.
    pub timeline: Option<&'a Path>,
    /// Whether each sample is printed for people.
    pub as_table: bool,
}

impl<A: Arms> Explaining<'_, A> {
    /// One sample of every layout at every point, explained; and the timeline of the last.
    pub fn look(&self, stop: &AtomicBool) -> Result<Vec<Explained>> {
        let design = self.design;
        let samples: Vec<PlannedSample> = (0..design.points.len())
            .flat_map(|point| {
                let mut samples = Block::of(design, point, 0).samples;
                samples.retain(|planned| design.arms[planned.arm] != Arm::Again);
                samples.sort_by_key(|planned| (planned.arm, planned.prefetch));
                samples
            })
            .collect();
        let mut explained = Vec::new();
        for (number, planned) in samples.iter().enumerate() {
            let is_last = number + 1 == samples.len();
            let spec = run::SampleSpec {
                explain: self.explain,
                timeline: is_last && self.timeline.is_some(),
                ..self.sim.spec(planned)
            };
            if !spec.explain && !spec.timeline {
                continue;
            }
            let machine = self.sim.machine(planned.prefetch);
            let sample = run::run_unless(stop, machine, &spec)?;
            let title = self.title(planned);
            if spec.explain && self.as_table {
                super::print(&format!("{title}, one sample\n{}\n", explain(&sample)))?;
            }
            if spec.explain {
                explained.extend(self.rows(&sample, planned));
            }
            if let Some(path) = self.timeline.filter(|_| is_last) {
                write_timeline(&sample, &title, path)?;
            }
        }
        Ok(explained)
    }

    fn title(&self, planned: &PlannedSample) -> String {
        let point = &self.design.points[planned.point];
        format!(
            "{} on {}, {}, {} threads, {}, prefetch {}, slot {}",
            self.design.arms[planned.arm],
            self.machine,
            point.scenario,
            point.threads,
            point.placement,
            planned.prefetch,
            planned.first_slot,
        )
    }

    /// The rows of one sample.
    fn rows(&self, run: &run::Run, planned: &PlannedSample) -> Vec<Explained> {
        let (waited, taken) = explanation(run);
        let point = &self.design.points[planned.point];
        let time = ns_per_fault(run);
        let row = |event, role: String, times, line: String| Explained {
            machine: self.machine.to_owned(),
            layout: self.design.arms[planned.arm].to_string(),
            scenario: point.scenario.to_string(),
            placement: point.placement.to_string(),
            threads: point.threads,
            prefetch: planned.prefetch,
            first_slot: planned.first_slot,
            ns_per_fault: time,
            event,
            role,
            counted: None,
            request: None,
            field: None,
            times,
            waits: None,
            ns: None,
            ns_after_prefetch: None,
            from: None,
            used: None,
            sharing: None,
            hitm: None,
            kept: None,
            other_socket: None,
            line,
        };
        let waited = waited.into_iter().map(|of| Explained {
            counted: Some(of.counted),
            field: Some(of.field),
            waits: Some(of.waits),
            ns: Some(of.ns),
            ns_after_prefetch: Some(of.ns_after_prefetch),
            ..row("waited", of.role, of.requests, of.line)
        });
        let taken = taken.into_iter().map(|of| Explained {
            request: Some(of.request),
            field: of.field,
            from: Some(of.from),
            used: of.used,
            sharing: Some(of.sharing),
            hitm: Some(of.hitm),
            kept: Some(of.kept),
            other_socket: Some(of.far),
            ..row("taken", of.by, of.times, of.line)
        });
        waited.chain(taken).collect()
    }
}

fn write_timeline(sample: &run::Run, title: &str, path: &Path) -> Result<()> {
    let Some(timeline) = &sample.timeline else {
        return Ok(());
    };
    let name = |(number, seat): (usize, &run::SeatedThread)| {
        format!("{} {number}, core {}", seat.role.name, seat.core)
    };
    let threads: Vec<String> = sample.seats.iter().enumerate().map(name).collect();
    let mut trace = Vec::new();
    timeline
        .write(&mut trace, title, &threads, &sample.map)
        .map_err(|e| Error::Refused(format!("cannot draw the timeline: {e}")))?;
    if timeline.is_cut() {
        say("the timeline ends before the window does: it has as many slices as a browser shows");
    }
    write_whole(path, &trace)?;
    say(format_args!(
        "{} is written; open it in ui.perfetto.dev",
        path.display()
    ));
    Ok(())
}
