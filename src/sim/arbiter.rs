//! Who gets a contended line next.
//!
//! Here: requests that wait for one line, by last-level cache, and the choice among them: the
//! cluster that has the line serves its own first, up to `far_limit` in a row, and then lets go
//! of it to the cluster that has waited longest. Not here: what serving a request does.

use super::machine::Shape;
use std::collections::VecDeque;

/// Requests for one line.
#[derive(Default)]
struct Waiting {
    /// By cluster, in order of arrival; each with its place in the order of all.
    clusters: Vec<VecDeque<(u64, u32)>>,
    /// Clusters that have a request.
    some: u64,
    /// Requests that have come since the first.
    arrived: u64,
    /// Services in a row in one cluster while another waited.
    row: u32,
}

/// All lines that someone waits for.
pub struct Arbiter {
    shape: Shape,
    far_limit: u32,
    /// Index into `queues` + 1 by line; 0 where nobody waits.
    by_line: Vec<u32>,
    queues: Vec<Waiting>,
    free: Vec<u32>,
}

impl Arbiter {
    /// For `lines` lines.
    pub fn new(shape: Shape, far_limit: u32, lines: usize) -> Arbiter {
        Arbiter {
            shape,
            far_limit,
            by_line: vec![0; lines],
            queues: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Whether anybody waits for the line.
    #[inline]
    pub fn is_waiting(&self, line: u32) -> bool {
        self.by_line[line as usize] != 0
    }

    /// Request `id` of `core` waits from now on; whether it is the first to wait for the line.
    pub fn wait(&mut self, line: u32, core: usize, id: u32) -> bool {
        let first = !self.is_waiting(line);
        if first {
            let index = self.free.pop().unwrap_or_else(|| {
                let clusters = self.shape.clusters();
                self.queues.push(Waiting {
                    clusters: vec![VecDeque::new(); clusters],
                    ..Waiting::default()
                });
                self.queues.len() as u32 - 1
            });
            self.by_line[line as usize] = index + 1;
        }
        let queue = &mut self.queues[self.by_line[line as usize] as usize - 1];
        let cluster = self.shape.cluster_of(core);
        queue.clusters[cluster].push_back((queue.arrived, id));
        queue.arrived += 1;
        queue.some |= 1 << cluster;
        first
    }

    /// Take the request that is served next, now that `holder` lets go of the line.
    pub fn next(&mut self, line: u32, holder: usize) -> Option<u32> {
        let index = (self.by_line[line as usize] as usize).checked_sub(1)?;
        let holder = self.shape.cluster_of(holder);
        let queue = &mut self.queues[index];
        let chosen = queue.choose(self.far_limit, holder);
        let (_, id) = queue.clusters[chosen].pop_front()?;
        if queue.clusters[chosen].is_empty() {
            queue.some &= !(1 << chosen);
        }
        if chosen != holder {
            queue.row = 0;
        }
        queue.row = match queue.some & !(1 << chosen) {
            0 => 0,
            _ => queue.row + 1,
        };
        self.release_if_empty(line, index);
        Some(id)
    }

    /// Take a request of `core` out of turn, if `is_it` picks one: its sibling has just been given
    /// the line.
    pub fn take(&mut self, line: u32, core: usize, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let index = (self.by_line[line as usize] as usize).checked_sub(1)?;
        let cluster = self.shape.cluster_of(core);
        let queue = &mut self.queues[index];
        let at = queue.clusters[cluster]
            .iter()
            .position(|(_, id)| is_it(*id))?;
        let (_, id) = queue.clusters[cluster].remove(at)?;
        if queue.clusters[cluster].is_empty() {
            queue.some &= !(1 << cluster);
        }
        self.release_if_empty(line, index);
        Some(id)
    }

    fn release_if_empty(&mut self, line: u32, index: usize) {
        let queue = &mut self.queues[index];
        if queue.some == 0 {
            (queue.arrived, queue.row) = (0, 0);
            self.by_line[line as usize] = 0;
            self.free.push(index as u32);
        }
    }
}

impl Waiting {
    /// The cluster whose oldest request is next.
    fn choose(&self, far_limit: u32, holder: usize) -> usize {
        let own = 1 << holder;
        let others = self.some & !own;
        if others == 0 || self.some & own != 0 && self.row < far_limit.max(1) {
            return holder;
        }
        (0..self.clusters.len())
            .filter(|cluster| others & 1 << cluster != 0)
            .min_by_key(|cluster| self.clusters[*cluster][0].0)
            .unwrap_or(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        sockets: 2,
        llcs_per_socket: 1,
        cores_per_llc: 4,
        threads_per_core: 1,
    };

    fn order(far_limit: u32, requests: &[(usize, u32)], holder: usize) -> Vec<u32> {
        order_on(SHAPE, far_limit, requests, holder)
    }

    fn order_on(
        shape: Shape,
        far_limit: u32,
        requests: &[(usize, u32)],
        holder: usize,
    ) -> Vec<u32> {
        let mut arbiter = Arbiter::new(shape, far_limit, 1);
        for &(core, id) in requests {
            arbiter.wait(0, core, id);
        }
        let mut holder = holder;
        let mut order = Vec::new();
        while let Some(id) = arbiter.next(0, holder) {
            holder = requests.iter().find(|(_, r)| *r == id).unwrap().0;
            order.push(id);
        }
        order
    }

    #[test]
    fn near_requests_are_served_first() {
        assert_eq!(order(9, &[(4, 0), (0, 1), (5, 2), (1, 3)], 0), [1, 3, 0, 2]);
    }

    #[test]
    fn a_far_request_is_passed_over_only_as_often_as_the_limit_says() {
        let requests = [(4, 0), (0, 1), (1, 2), (2, 3), (3, 4)];
        assert_eq!(order(2, &requests, 0), [1, 2, 0, 3, 4]);
    }

    #[test]
    fn of_several_far_clusters_the_one_that_has_waited_longest_is_next() {
        let four = Shape {
            llcs_per_socket: 2,
            ..SHAPE
        };
        // Each cluster serves two of its own before the line goes on.
        let requests = [
            (8, 0),
            (4, 1),
            (0, 2),
            (9, 3),
            (5, 4),
            (10, 5),
            (1, 6),
            (2, 7),
        ];
        assert_eq!(order_on(four, 2, &requests, 0), [2, 6, 0, 3, 1, 4, 5, 7]);
    }

    #[test]
    fn a_request_taken_out_of_turn_is_not_served_again() {
        let mut arbiter = Arbiter::new(SHAPE, 1, 2);
        arbiter.wait(1, 0, 7);
        arbiter.wait(1, 0, 8);
        assert_eq!(arbiter.take(1, 0, |id| id == 8), Some(8));
        assert_eq!(arbiter.next(1, 0), Some(7));
        assert!(!arbiter.is_waiting(1));
    }
}
