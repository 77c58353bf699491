//! Criterion's iterations on the native backend: one iteration is one fault a thread.
//!
//! Criterion asks for a number of iterations. Threads that each did that many would not end
//! together, and the last one would run without the others that it is measured against. So whole
//! windows of `hitm run` are taken, about as many as the iterations need, and their time per
//! fault is scaled to the number asked for: what criterion prints is `ns_per_fault`.

use hitm::backend::native::pool::Timing;
use hitm::error::Result;
use hitm::experiment::{Backend, Design, Limits, Point, Sample, Watch, drive};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

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

    /// About `iterations` faults of each thread: how long so many take, and the rows behind that.
    pub fn take(&mut self, iterations: u64) -> Result<(Duration, Vec<Sample>)> {
        let window_ns = Timing::default().window.as_nanos() as f64;
        let wanted_ns = iterations as f64 * self.ns_per_fault.unwrap_or(0.0);
        let windows = (wanted_ns / window_ns).round().max(1.0) as u64;
        let limits = Limits {
            budget: None,
            blocks: Some(self.taken[0] + windows),
        };
        let mut rows = Rows(Vec::new());
        drive(
            &self.design,
            limits,
            &mut self.taken,
            &mut *self.backend,
            &mut rows,
            &AtomicBool::new(false),
        )?;
        let ns_per_fault = ns_per_fault(&rows.0);
        self.ns_per_fault = Some(ns_per_fault);
        let nanos = ns_per_fault * iterations as f64;
        Ok((Duration::from_secs_f64(nanos * 1e-9), rows.0))
    }
}

/// Over the rows that may be used; over all of them where none may, since criterion takes no
/// "not measured".
fn ns_per_fault(rows: &[Sample]) -> f64 {
    let any_valid = rows.iter().any(|row| row.valid);
    let used = || rows.iter().filter(|row| row.valid || !any_valid);
    let faults: f64 = used().map(|row| row.faults as f64).sum();
    let nanos: f64 = used().map(|row| row.ns_per_fault * row.faults as f64).sum();
    nanos / faults
}

/// The value, or the end of the bench: criterion knows no errors.
pub fn or_exit<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("hitm: {error}");
        std::process::exit(1)
    })
}

struct Rows(Vec<Sample>);

impl Watch for Rows {
    fn block(&mut self, samples: Vec<Sample>, _roles: Vec<Sample>) -> Result<()> {
        self.0.extend(samples);
        Ok(())
    }

    fn is_decided(&self, _point: &Point) -> bool {
        false
    }
}
