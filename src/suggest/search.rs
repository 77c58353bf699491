//! A search by halving: many orders are simulated shortly on a few machines, then what lies near the
//! best of them, then fewer on all machines.

use super::order::footprint;
use super::propose::{Proposal, Proposer};
use super::score::{Cost, Effort, Scorer};
use crate::case::CaseLayout;
use crate::error::Result;

/// A search: which orders are simulated, and how closely.
pub struct Search<'a> {
    /// The layout that everything is held against.
    pub baseline: &'a CaseLayout,
    /// Orders of each cut.
    pub proposers: &'a [Proposer<'a>],
    /// The simulator.
    pub scorer: &'a Scorer<'a>,
    /// How thoroughly is searched: 1 is usual.
    pub scale: f64,
    /// Layouts simulated so far.
    pub simulated: usize,
}

/// Which cut an order belongs to, and the order.
pub type Candidate = (usize, Proposal);

impl Search<'_> {
    /// How closely is looked, at the scale of this search.
    pub fn effort(
        &self,
        machines: usize,
        threads: usize,
        repeats: u64,
        phases: usize,
        accesses: f64,
    ) -> Effort {
        let machines = machines.min(self.scorer.machines.len());
        Effort {
            machines,
            threads,
            repeats: ((repeats as f64 * self.scale.sqrt()).round() as u64).max(1),
            phases,
            accesses: accesses * self.scale,
        }
    }

    fn some(&self, many: usize) -> usize {
        ((many as f64 * self.scale) as usize).max(4)
    }

    /// An order as a layout.
    pub fn layout(&self, cut: usize, proposal: &Proposal) -> CaseLayout {
        let lumps = self.proposers[cut].lumps;
        proposal.order.layout(lumps, self.baseline, "candidate")
    }

    /// The best of many, by halving: more look at fewer.
    pub fn finalists(&mut self) -> Result<(Vec<Candidate>, usize)> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for (cut, proposer) in self.proposers.iter().enumerate() {
            let most = self.some(36) / self.proposers.len().min(2);
            let proposals = proposer.propose(most.max(4))?;
            candidates.extend(proposals.into_iter().map(|one| (cut, one)));
        }
        let mut looked = candidates.len();
        let first = self.effort(3, 1, 1, 2, 40_000.0);
        let mut ranked = self.ranked(candidates, &first)?;
        // Refine: what lies one move away from the best.
        for _ in 0..2 {
            let mut near: Vec<Candidate> = Vec::new();
            for (_, (cut, proposal)) in ranked.iter().take(3) {
                let proposer = &self.proposers[*cut];
                for one in proposer.near(&proposal.order, self.some(16))? {
                    let known = |(_, (of, other)): &(f64, Candidate)| {
                        of == cut && proposer.key(other) == proposer.key(&one)
                    };
                    let twice = |(of, other): &Candidate| {
                        of == cut && proposer.key(other) == proposer.key(&one)
                    };
                    if !ranked.iter().any(known) && !near.iter().any(twice) {
                        near.push((*cut, one));
                    }
                }
            }
            looked += near.len();
            ranked.extend(self.ranked(near, &first)?);
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        let second = self.effort(usize::MAX, usize::MAX, 2, 2, 60_000.0);
        let half = self.by_size(ranked, self.some(24));
        let ranked = self.ranked(half, &second)?;
        Ok((self.by_size(ranked, self.some(10)), looked))
    }

    /// With their costs, the cheapest first.
    fn ranked(
        &mut self,
        candidates: Vec<Candidate>,
        effort: &Effort,
    ) -> Result<Vec<(f64, Candidate)>> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let layouts = candidates.iter().map(|(cut, one)| self.layout(*cut, one));
        let mut layouts: Vec<CaseLayout> = layouts.collect();
        layouts.push(self.baseline.clone());
        self.simulated += layouts.len();
        let times = self.scorer.times(&layouts, effort)?;
        let baseline = &times[layouts.len() - 1];
        let mut ranked: Vec<(f64, Candidate)> = candidates
            .into_iter()
            .zip(&times)
            .map(|(one, times)| (Cost::of(times, baseline).ratio, one))
            .collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(ranked)
    }

    /// The best `most`, with the best of every size among them.
    fn by_size(&self, ranked: Vec<(f64, Candidate)>, most: usize) -> Vec<Candidate> {
        let size = |(cut, one): &Candidate| {
            let layout = self.layout(*cut, one);
            footprint(self.scorer.case, &layout)
        };
        let mut chosen: Vec<Candidate> = Vec::new();
        let mut rest: Vec<Candidate> = Vec::new();
        let mut sizes: Vec<usize> = Vec::new();
        for (_, one) in ranked {
            let size = size(&one);
            match sizes.contains(&size) {
                true => rest.push(one),
                false => {
                    sizes.push(size);
                    chosen.push(one);
                }
            }
        }
        let sizes = most.div_ceil(2);
        if chosen.len() > sizes {
            rest.splice(0..0, chosen.drain(sizes..));
        }
        let room = most - chosen.len();
        chosen.extend(rest.into_iter().take(room));
        chosen
    }
}
