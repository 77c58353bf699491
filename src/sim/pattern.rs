//! Access patterns of a defined order, to hold the coherence model against others.
//!
//! Here: the patterns, run through the same model with its timing on, one access after the other
//! in the order the pattern defines. Not here: programs whose order the timing decides (`engine`).

use super::coherence::Coherence;
use super::counts::Counts;
use super::machine::{Machine, Picos};
use super::request::{Origin, Transaction, Want, words};
use crate::error::{Error, Result};
use crate::space::LINE;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::rc::Rc;
use std::time::Instant;

/// A pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pattern {
    /// Rounds in which every core reads its word, then every core writes it; the words are 4
    /// bytes apart.
    SameLine,
    /// The same, the words 64 bytes apart.
    Padded,
    /// Cores in turn; 20 % of accesses go to 16 KiB that all share, the rest to 1 MiB of the
    /// core's own; 30 % write.
    Mixed,
}

/// What a pattern did.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What was counted.
    pub counts: Counts,
    /// Simulated time of the core that took longest, in nanoseconds.
    pub simulated_ns: f64,
    /// Host time.
    pub wall_seconds: f64,
}

/// Bytes that all cores share in `mixed`.
const SHARED: usize = 16 << 10;
/// Bytes of each core's own in `mixed`.
const PRIVATE: usize = 1 << 20;
/// Bytes from one word to the next in `same-line`.
const WORD: usize = 4;

/// Run `accesses` accesses of `cores` cores. Prefetchers stay off: the order leaves none to hide.
pub fn run(
    machine: Machine,
    pattern: Pattern,
    cores: usize,
    accesses: u64,
    seed: u64,
) -> Result<Report> {
    let most = machine.shape.cores();
    if cores == 0 || cores > most {
        return Err(Error::Input(format!(
            "--cores {cores}: machine {} has {most} cores (allowed: 1 to {most})",
            machine.name
        )));
    }
    if pattern == Pattern::SameLine && cores > LINE / WORD {
        return Err(Error::Input(format!(
            "--cores {cores}: a line has {} words of {WORD} bytes (allowed: 1 to {})",
            LINE / WORD,
            LINE / WORD
        )));
    }
    let bytes = match pattern {
        Pattern::SameLine => LINE,
        Pattern::Padded => cores * LINE,
        Pattern::Mixed => SHARED + cores * PRIVATE,
    };
    let started = Instant::now();
    let mut run = PatternRun {
        coherence: Coherence::new(Rc::new(machine), cores, bytes / LINE, false),
        clocks: vec![0; cores],
    };
    match pattern {
        Pattern::SameLine => run.rounds(WORD, accesses),
        Pattern::Padded => run.rounds(LINE, accesses),
        Pattern::Mixed => run.mixed(accesses, seed),
    }
    let longest = run.clocks.iter().copied().max().unwrap_or(0);
    Ok(Report {
        counts: run.coherence.counts,
        simulated_ns: longest as f64 / 1000.0,
        wall_seconds: started.elapsed().as_secs_f64(),
    })
}

struct PatternRun {
    coherence: Coherence,
    clocks: Vec<Picos>,
}

impl PatternRun {
    #[inline(always)]
    fn access(&mut self, core: usize, at: usize, write: bool) {
        let (line, touched) = ((at / LINE) as u32, words(at % LINE, WORD));
        match self.coherence.l1_hit(core, line, touched, write) {
            Some(latency) => self.clocks[core] += latency,
            None => self.beyond_l1(core, line, touched, write),
        }
    }

    #[inline]
    fn beyond_l1(&mut self, core: usize, line: u32, touched: u32, write: bool) {
        if self.coherence.holds(core, line, write) {
            let latency = self.coherence.l2_hit(core, line, touched, write);
            self.clocks[core] += latency.unwrap_or(0);
            return;
        }
        let (request, occupancy) = {
            let machine = self.coherence.machine();
            (machine.request, machine.llc_occupancy)
        };
        let served = (self.clocks[core] + request).max(self.coherence.line(line).free);
        let want = if write { Want::Own } else { Want::Read };
        let outcome = self.coherence.transact(Transaction {
            core: core as u16,
            line,
            want,
            origin: Origin::Demand,
            words: touched,
        });
        let ready = served + outcome.latency - request;
        self.coherence.line(line).free = if outcome.exclusive {
            ready
        } else {
            served + occupancy
        };
        self.clocks[core] = ready;
    }

    fn rounds(&mut self, apart: usize, accesses: u64) {
        let cores = self.clocks.len();
        let mut left = accesses;
        loop {
            for write in [false, true] {
                let turn = left.min(cores as u64);
                for core in 0..turn as usize {
                    self.access(core, core * apart, write);
                }
                left -= turn;
                if left == 0 {
                    return;
                }
            }
        }
    }

    fn mixed(&mut self, accesses: u64, seed: u64) {
        let cores = self.clocks.len();
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut core = 0;
        // Fractions of 2^16.
        const IS_SHARED: u64 = (1 << 16) / 5;
        const IS_WRITE: u64 = (1 << 16) * 3 / 10;
        for _ in 0..accesses {
            let random = rng.next_u64();
            let place = (random >> 32) as usize;
            let at = if random & 0xffff < IS_SHARED {
                place % SHARED
            } else {
                SHARED + core * PRIVATE + place % PRIVATE
            };
            self.access(core, at & !(WORD - 1), random >> 16 & 0xffff < IS_WRITE);
            core += 1;
            if core == cores {
                core = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(pattern: Pattern, cores: usize, accesses: u64) -> Counts {
        let machine = Machine::load("plain-mesi").unwrap();
        run(machine, pattern, cores, accesses, 1).unwrap().counts
    }

    #[test]
    fn every_write_of_two_cores_on_one_line_invalidates_the_other_and_on_padded_lines_none() {
        assert_eq!(report(Pattern::SameLine, 2, 50_000).invalidations, 25_000);
        let padded = report(Pattern::Padded, 2, 50_000);
        assert_eq!(padded.invalidations, 0);
        assert_eq!(padded.write_backs, 0);
        assert_eq!(padded.hits, 50_000 - 2, "one cold miss a core");
    }

    #[test]
    fn every_access_is_counted_once() {
        for pattern in [Pattern::SameLine, Pattern::Padded, Pattern::Mixed] {
            assert_eq!(report(pattern, 3, 10_001).accesses, 10_001);
        }
    }

    #[test]
    fn sharing_of_words_four_bytes_apart_is_false_sharing_only() {
        let counts = report(Pattern::SameLine, 4, 10_000);
        assert_eq!(counts.true_sharing, 0);
        assert!(counts.false_sharing > 0);
    }
}
