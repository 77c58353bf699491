//! The loop: block after block at every point that is not decided, until time or blocks run out.
//!
//! Here: which block comes next, what of it is taken again, and when it is enough. Not here: the
//! state that a block was taken in, and its rows (`block`).

use super::block::Taken;
use super::{Backend, Block, Design, Limits, Point, Sample};
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How many times the unusable samples of a block are taken again at most. What disturbs one is
/// mostly over after the next; what is not over after three will not be soon.
const ROUNDS: u32 = 3;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every verdict is decided.
    Decided,
    /// The budget is spent.
    BudgetSpent,
    /// The blocks asked for are taken.
    BlocksTaken,
    /// Ctrl-C, a signal, or an error.
    Interrupted,
}

impl Ending {
    /// An end that was asked for, or the error of one that was not.
    pub fn finished(self) -> Result<()> {
        match self {
            Ending::Interrupted => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }
}

/// Who takes the rows, and says when it is enough.
pub trait Watch {
    /// A block is finished: these are its rows, and those of the roles of each where there are
    /// several.
    fn block(&mut self, samples: Vec<Sample>, roles: Vec<Sample>) -> Result<()>;
    /// Whether every verdict at this point is decided.
    fn is_decided(&self, point: &Point) -> bool;
    /// So much of the run is done (0 to 1).
    fn progress(&mut self, _done: f64) {}
}

/// Run the experiment. `taken` counts the blocks of each design point: those of an earlier part of
/// the run are not repeated.
pub fn drive(
    design: &Design,
    limits: Limits,
    taken: &mut [u64],
    backend: &mut dyn Backend,
    watch: &mut dyn Watch,
    interrupted: &AtomicBool,
) -> Result<Ending> {
    let start = Instant::now();
    let mut retakes = Retakes::default();
    loop {
        let mut measured_any = false;
        for (point, at) in design.points.iter().enumerate() {
            let next = taken[point];
            let wanted = match limits.blocks {
                Some(blocks) => next < blocks,
                // A couple of blocks is the unit of analysis: never stop in the middle of one.
                None => !watch.is_decided(at) || !next.is_multiple_of(2),
            };
            if !wanted {
                continue;
            }
            measured_any = true;
            let block = Block::of(design, point, next);
            if interrupted.load(Ordering::Relaxed) {
                return Ok(Ending::Interrupted);
            }
            let measured = match backend.measure_block(&block, interrupted) {
                Ok(measured) => measured,
                Err(Error::Interrupted) => return Ok(Ending::Interrupted),
                Err(error) => return Err(error),
            };
            let mut block = Taken::new(design, limits, block, measured);
            retakes.first_passes += block.plan().samples.len() as u64;
            let go_on = || {
                let is_time = limits.budget.is_none_or(|budget| start.elapsed() < budget);
                is_time && !interrupted.load(Ordering::Relaxed)
            };
            retakes.of(&mut block, backend, go_on)?;
            let (samples, roles) = block.rows();
            watch.block(samples, roles)?;
            taken[point] += 1;
            let time = limits.budget.map_or(0.0, |budget| {
                start.elapsed().as_secs_f64() / budget.as_secs_f64()
            });
            let counted = limits.blocks.map_or(0.0, |blocks| {
                let taken: u64 = taken.iter().sum();
                taken as f64 / (blocks as f64 * design.points.len() as f64)
            });
            watch.progress(time.max(counted).min(1.0));
            if time >= 1.0 {
                return Ok(Ending::BudgetSpent);
            }
        }
        if !measured_any {
            return Ok(match limits.blocks {
                Some(_) => Ending::BlocksTaken,
                None => Ending::Decided,
            });
        }
    }
}

/// Samples that were taken again, over all blocks: never more than first passes took, so that at
/// most half of the time goes into them however disturbed a machine is.
#[derive(Default)]
struct Retakes {
    first_passes: u64,
    taken: u64,
}

impl Retakes {
    /// Take the samples of `block` again that cannot be used, in its order, as long as `go_on` says
    /// so. What makes the state of the block is looked at anew after each round.
    fn of(
        &mut self,
        block: &mut Taken,
        backend: &mut dyn Backend,
        go_on: impl Fn() -> bool,
    ) -> Result<()> {
        for _ in 0..ROUNDS {
            for at in block.unusable() {
                if self.taken >= self.first_passes || !go_on() {
                    return Ok(());
                }
                match backend.measure(&block.plan().samples[at]) {
                    Ok(measured) => block.replace(at, measured),
                    // The block is whole as it is.
                    Err(Error::Interrupted) => return Ok(()),
                    Err(error) => return Err(error),
                }
                self.taken += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{
        BackendKind, Code, Invalid, Measured, Pace, PlannedSample, TransferBin,
    };
    use crate::program::totals::ThreadFaults;
    use std::collections::VecDeque;
    use std::time::Duration;

    /// Yields what it was given, then good samples.
    #[derive(Default)]
    struct Fake<'a> {
        first: VecDeque<Measured>,
        /// Arms in the order they were measured.
        measured: Vec<usize>,
        /// Stop the run with the sample of this number.
        stop_at: Option<(usize, &'a AtomicBool)>,
        /// Every sample is of this kind once the others are used up.
        then: Option<Measured>,
    }

    impl Backend for Fake<'_> {
        fn measure(&mut self, planned: &PlannedSample) -> Result<Measured> {
            self.measured.push(planned.arm);
            if let Some((at, stop)) = self.stop_at
                && self.measured.len() == at
            {
                stop.store(true, Ordering::Relaxed);
            }
            let next = self.first.pop_front().or_else(|| self.then.clone());
            Ok(next.unwrap_or_else(good))
        }
    }

    fn good() -> Measured {
        Measured {
            threads: vec![ThreadFaults {
                role: "r".into(),
                faults: 100,
                seconds: 0.004,
            }],
            probe_ns: Some(25.0),
            pace: Some(Pace::Full),
            ..Measured::default()
        }
    }

    fn switched() -> Measured {
        Measured {
            invalid: vec![Invalid::Switched(1)],
            ..good()
        }
    }

    #[derive(Default)]
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

    fn design(backend: BackendKind) -> Design {
        let point = Point {
            scenario: "one-vma".parse().unwrap(),
            placement: "compact".parse().unwrap(),
            threads: 2,
        };
        let arms = ["a", "baseline-again", "b"].map(|arm| arm.parse().unwrap());
        Design {
            seed: 7,
            ..Design::new(backend, "m", arms.to_vec(), vec![point])
        }
    }

    /// The rows of so many blocks, and how that ended.
    fn rows(fake: &mut Fake, blocks: u64, stop: &AtomicBool) -> (Vec<Sample>, Ending) {
        let limits = Limits {
            budget: None,
            blocks: Some(blocks),
        };
        let mut rows = Rows::default();
        let design = design(BackendKind::Native);
        let ended = drive(&design, limits, &mut [0], fake, &mut rows, stop).unwrap();
        (rows.0, ended)
    }

    fn attempts(rows: &[Sample]) -> Vec<u32> {
        rows.iter().map(|row| row.attempts.unwrap()).collect()
    }

    static NEVER: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_disturbed_sample_is_taken_again_after_the_pass_and_its_row_is_the_last_attempt() {
        let mut fake = Fake {
            first: [good(), switched(), good(), switched()].into(),
            ..Fake::default()
        };
        let (rows, ended) = rows(&mut fake, 2, &NEVER);
        assert_eq!(ended, Ending::BlocksTaken);
        assert_eq!(attempts(&rows), [1, 3, 1, 1, 1, 1]);
        assert!(rows.iter().all(|row| row.valid));
        // Twice after the pass over all arms of the first block, before the second.
        assert_eq!(fake.measured.len(), 8);
        assert_eq!([fake.measured[3], fake.measured[4]], [fake.measured[1]; 2]);
    }

    #[test]
    fn what_will_not_pass_is_not_taken_again() {
        let empty = Measured {
            threads: Vec::new(),
            ..good()
        };
        let unpinned = Measured {
            invalid: vec![Invalid::Unpinned("moved".to_owned()), Invalid::Switched(1)],
            ..good()
        };
        let mut fake = Fake {
            first: [empty, unpinned].into(),
            ..Fake::default()
        };
        let (rows, _) = rows(&mut fake, 1, &NEVER);
        assert_eq!(attempts(&rows), [1; 3]);
        assert_eq!(rows.iter().filter(|row| row.valid).count(), 1);
    }

    #[test]
    fn on_a_machine_that_stays_disturbed_retakes_are_as_many_as_first_attempts_at_most() {
        let mut fake = Fake {
            then: Some(switched()),
            ..Fake::default()
        };
        let (rows, _) = rows(&mut fake, 40, &NEVER);
        assert_eq!(rows.len(), 40 * 3);
        assert!(rows.iter().all(|row| !row.valid));
        assert_eq!(fake.measured.len(), 2 * 40 * 3);
    }

    #[test]
    fn after_a_calm_time_a_sample_is_taken_again_in_three_rounds_at_most() {
        let calm = std::iter::repeat_with(good).take(30);
        let mut fake = Fake {
            first: calm
                .chain(std::iter::repeat_with(switched).take(100))
                .collect(),
            ..Fake::default()
        };
        let (rows, _) = rows(&mut fake, 11, &NEVER);
        assert_eq!(attempts(&rows[30..]), [1 + ROUNDS; 3]);
    }

    #[test]
    fn a_stop_ends_the_attempts_and_keeps_the_block_whole() {
        let stop = AtomicBool::new(false);
        let mut fake = Fake {
            stop_at: Some((4, &stop)),
            then: Some(switched()),
            ..Fake::default()
        };
        let (rows, ended) = rows(&mut fake, 5, &stop);
        assert_eq!(ended, Ending::Interrupted);
        assert_eq!((rows.len(), fake.measured.len()), (3, 4));
    }

    #[test]
    fn nothing_is_taken_again_when_the_budget_is_spent() {
        let limits = Limits {
            budget: Some(Duration::from_nanos(1)),
            blocks: None,
        };
        let mut fake = Fake {
            then: Some(switched()),
            ..Fake::default()
        };
        let mut rows = Rows::default();
        let design = design(BackendKind::Native);
        let ended = drive(&design, limits, &mut [0], &mut fake, &mut rows, &NEVER).unwrap();
        assert_eq!((ended, fake.measured.len()), (Ending::BudgetSpent, 3));
    }

    #[test]
    fn all_samples_of_a_block_carry_its_one_stratum() {
        let (far, shared) = (|| Some(110.0), || Some(Pace::Shared));
        let odd = |probe_ns, pace| Measured {
            probe_ns,
            pace,
            ..good()
        };
        // Whatever is tried, one sample of each block stays far and one shared.
        let first = [
            odd(far(), Some(Pace::Full)),
            odd(Some(25.0), shared()),
            good(),
        ];
        let again = [odd(far(), Some(Pace::Full)), odd(Some(25.0), shared())];
        let again = std::iter::repeat_n(again, ROUNDS as usize).flatten();
        let mut fake = Fake {
            first: first.into_iter().chain(again).collect(),
            ..Fake::default()
        };
        let (rows, _) = rows(&mut fake, 2, &NEVER);
        for row in &rows[..3] {
            assert_eq!(row.stratum, rows[0].stratum);
            assert_eq!(row.stratum.transfer_ns, Some(TransferBin::Middle));
            assert_eq!(row.stratum.pace, Some(Pace::Full));
        }
        let codes: Vec<_> = rows[..3]
            .iter()
            .map(|row| row.invalid_code.clone())
            .collect();
        assert_eq!(
            codes,
            [vec![Code::OtherMode], vec![Code::OtherPace], vec![]]
        );
    }

    #[test]
    fn a_block_follows_the_machine_into_the_state_that_its_retakes_find() {
        let moved = || Measured {
            pace: Some(Pace::Shared),
            ..good()
        };
        let mut fake = Fake {
            first: [good(), good(), moved()].into(),
            then: Some(moved()),
            ..Fake::default()
        };
        let (rows, _) = rows(&mut fake, 1, &NEVER);
        // The third was the odd one until attempts at it ended; the machine stayed as it was then.
        assert_eq!(rows[0].stratum.pace, Some(Pace::Full));
        assert_eq!(attempts(&rows), [1, 1, 1 + ROUNDS]);
    }

    #[test]
    fn a_simulated_sample_has_no_attempts() {
        let limits = Limits {
            budget: None,
            blocks: Some(1),
        };
        let (mut fake, mut rows) = (Fake::default(), Rows::default());
        let design = design(BackendKind::Sim);
        drive(&design, limits, &mut [0], &mut fake, &mut rows, &NEVER).unwrap();
        assert!(rows.0.iter().all(|row| row.attempts.is_none()));
    }
}
