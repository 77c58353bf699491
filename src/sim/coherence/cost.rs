//! What a line costs that comes from elsewhere: distances between cores, and the nearest copy.

use super::{Coherence, NONE};
use crate::sim::machine::{Distance, Picos};
use crate::sim::request::DataFrom;

impl Coherence {
    /// Where a line that no core owns comes from, and what that costs.
    pub(super) fn clean_source(&self, core: usize, line: u32) -> (Picos, DataFrom) {
        let shape = &self.machine.shape;
        let entry = &self.directory[line as usize];
        let own = self.cluster_of(core);
        if entry.llc & 1 << own != 0 {
            return (self.machine.llc.latency, DataFrom::Llc);
        }
        let forwarder = match entry.forward {
            NONE => self.nearest_sharer(core, line),
            forward => Some(forward as usize),
        };
        if let Some(from) = forwarder {
            return (
                self.transfer(from, core, false),
                DataFrom::Core(from as u16),
            );
        }
        if entry.llc == 0 {
            return (self.machine.memory, DataFrom::Memory);
        }
        let socket = own / shape.llcs_per_socket;
        let near = (0..shape.clusters())
            .any(|c| entry.llc & 1 << c != 0 && c / shape.llcs_per_socket == socket);
        let latency = if near {
            self.machine.transfers.clean[Distance::OtherLlc as usize]
        } else {
            self.machine.memory_remote
        };
        (latency, DataFrom::Llc)
    }

    pub(super) fn nearest_sharer(&self, core: usize, line: u32) -> Option<usize> {
        let words = &self.sharers[line as usize * self.sharer_words..][..self.sharer_words];
        let mut nearest: Option<(Distance, usize)> = None;
        for (index, word) in words.iter().enumerate() {
            let mut bits = *word;
            while bits != 0 {
                let sharer = index * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let distance = self.distance(sharer, core);
                if sharer != core && nearest.is_none_or(|(best, _)| distance < best) {
                    nearest = Some((distance, sharer));
                }
            }
        }
        nearest.map(|(_, sharer)| sharer)
    }

    /// `Shape::distance`, without its divisions.
    #[inline(always)]
    pub(super) fn distance(&self, a: usize, b: usize) -> Distance {
        let ((cluster_a, socket_a), (cluster_b, socket_b)) = (self.places[a], self.places[b]);
        if socket_a != socket_b {
            Distance::OtherPackage
        } else if cluster_a != cluster_b {
            Distance::OtherLlc
        } else if a != b {
            Distance::SameLlc
        } else {
            Distance::SmtSibling
        }
    }

    #[inline(always)]
    pub(super) fn is_remote(&self, a: usize, b: usize) -> bool {
        self.places[a].1 != self.places[b].1
    }

    #[inline(always)]
    pub(super) fn cluster_of(&self, core: usize) -> usize {
        self.places[core].0.into()
    }

    /// What passes until a request of `core` for the line is put in order.
    #[inline]
    pub fn request(&self, core: usize, line: u32) -> Picos {
        let request = self.machine.request;
        let (share, owner) = (
            self.machine.transfers.request_share,
            self.directory[line as usize].owner,
        );
        if share == 0.0 || owner == NONE || usize::from(owner) == core {
            return request;
        }
        request.max((self.transfer(owner.into(), core, true) as f64 * share) as Picos)
    }

    /// Latency of a line taken from core `from` by core `to`.
    #[inline(always)]
    pub(super) fn transfer(&self, from: usize, to: usize, dirty: bool) -> Picos {
        let transfers = &self.machine.transfers;
        let distance = self.distance(from, to) as usize;
        if !dirty {
            transfers.clean[distance]
        } else if transfers.matrix.is_empty() {
            transfers.dirty[distance]
        } else {
            transfers.matrix[from * self.machine.shape.cores() + to].into()
        }
    }
}
