//! Criterion's iterations on the native backend: one iteration is one fault a thread.
//!
//! Criterion asks for a number of iterations. Threads that each did that many would not end
//! together, and the last one would run without the others that it is measured against. So whole
//! windows of `hitm run` are taken, about as many as the iterations need, and their time per
//! fault is scaled to the number asked for: what criterion prints is `ns_per_fault`. Disturbed
//! windows are taken again; criterion is given the others only.

use crate::config::is_measured;
use hitm::backend::native::pool::Timing;
use hitm::error::Result;
use hitm::experiment::{Backend, Design, Limits, Point, Sample, Watch, drive};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Why criterion is given nothing.
pub const DISTURBED: &str =
    "every window was disturbed; run it on a quiet machine, or under `chrt --fifo 10`";
/// Windows after which none is to be expected that is not disturbed.
const PATIENCE: u64 = 40;
/// Times as many windows as are wanted, so that some are undisturbed.
const TIMES: u64 = 4;

/// Windows of one arm at one point.
pub struct Windows {
    design: Design,
    backend: Box<dyn Backend>,
    /// Blocks taken at the point.
    taken: [u64; 1],
    /// As the last windows had it; none before the first.
    ns_per_fault: Option<f64>,
}

impl Windows {
    /// For the one arm and the one point of `design`.
    pub fn new(design: Design, backend: impl Backend + 'static) -> Windows {
        Windows {
            backend: Box::new(backend),
            taken: [0],
            design,
            ns_per_fault: None,
        }
    }

    /// About `iterations` faults of each thread: how long so many take, and the rows behind that,
    /// the disturbed ones among them. No time: no window was undisturbed.
    pub fn take(&mut self, iterations: u64) -> Result<(Option<Duration>, Vec<Sample>)> {
        let window_ns = Timing::default().window.as_nanos() as f64;
        let wanted_ns = iterations as f64 * self.ns_per_fault.unwrap_or(0.0);
        let wanted = (wanted_ns / window_ns).round().max(1.0) as u64;
        let mut rows = Rows(Vec::new());
        loop {
            let (taken, valid) = (rows.0.len() as u64, rows.valid().count() as u64);
            let enough = taken >= TIMES * wanted && (valid > 0 || taken >= PATIENCE);
            // To see that it runs, any window will do.
            if valid >= wanted || enough || taken > 0 && !is_measured() {
                break;
            }
            let limits = Limits {
                budget: None,
                blocks: Some(self.taken[0] + wanted - valid),
            };
            drive(
                &self.design,
                limits,
                &mut self.taken,
                &mut *self.backend,
                &mut rows,
                &AtomicBool::new(false),
            )?;
        }
        self.ns_per_fault = match rows.ns_per_fault() {
            None if !is_measured() => Some(1.0),
            ns_per_fault => ns_per_fault,
        };
        let time = |ns: f64| Duration::from_secs_f64(ns * iterations as f64 * 1e-9);
        Ok((self.ns_per_fault.map(time), rows.0))
    }
}

struct Rows(Vec<Sample>);

impl Rows {
    fn valid(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(|row| row.valid)
    }

    /// Over the rows that may be used; none where there are none.
    fn ns_per_fault(&self) -> Option<f64> {
        let faults: f64 = self.valid().map(|row| row.faults as f64).sum();
        let nanos = self.valid().map(|row| row.ns_per_fault * row.faults as f64);
        let nanos: f64 = nanos.sum();
        (faults > 0.0 && nanos > 0.0).then_some(nanos / faults)
    }
}

impl Watch for Rows {
    fn block(&mut self, samples: Vec<Sample>, _roles: Vec<Sample>) -> Result<()> {
        self.0.extend(samples);
        Ok(())
    }

    fn is_decided(&self, _point: &Point) -> bool {
        false
    }
}
