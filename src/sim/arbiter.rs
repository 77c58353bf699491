//! Who gets a contended line next.
//!
//! Here: requests that wait for one line, by last-level cache, and the choice among them: near
//! requests first, but those from afar are passed over only so often. Fabrics do this because a
//! request from the same ring or socket meets the line before one that has to cross a link. Not
//! here: what serving a request does.

use super::machine::Shape;
use std::collections::VecDeque;

/// Requests for one line.
#[derive(Default)]
struct Waiting {
    /// By cluster, in order of arrival.
    clusters: Vec<VecDeque<u32>>,
    /// How often each cluster has been passed over while it had a request.
    passed: Vec<u32>,
    /// Clusters that have a request.
    some: u64,
    len: usize,
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
                    passed: vec![0; clusters],
                    ..Waiting::default()
                });
                self.queues.len() as u32 - 1
            });
            self.by_line[line as usize] = index + 1;
        }
        let queue = &mut self.queues[self.by_line[line as usize] as usize - 1];
        let cluster = self.shape.cluster_of(core);
        queue.clusters[cluster].push_back(id);
        queue.some |= 1 << cluster;
        queue.len += 1;
        first
    }

    /// Take the request that is served next, now that `holder` lets go of the line.
    pub fn next(&mut self, line: u32, holder: usize) -> Option<u32> {
        let index = (self.by_line[line as usize] as usize).checked_sub(1)?;
        let shape = self.shape;
        let queue = &mut self.queues[index];
        let chosen = queue.choose(&shape, self.far_limit, shape.cluster_of(holder));
        let id = queue.clusters[chosen].pop_front();
        queue.len -= 1;
        queue.passed[chosen] = 0;
        if queue.clusters[chosen].is_empty() {
            queue.some &= !(1 << chosen);
        }
        queue.pass_over(chosen);
        self.release_if_empty(line, index);
        id
    }

    /// Take a request of `core` out of turn, if `is_it` picks one: its sibling has just been given
    /// the line.
    pub fn take(&mut self, line: u32, core: usize, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let index = (self.by_line[line as usize] as usize).checked_sub(1)?;
        let cluster = self.shape.cluster_of(core);
        let queue = &mut self.queues[index];
        let at = queue.clusters[cluster].iter().position(|id| is_it(*id))?;
        let id = queue.clusters[cluster].remove(at);
        queue.len -= 1;
        if queue.clusters[cluster].is_empty() {
            queue.some &= !(1 << cluster);
            queue.passed[cluster] = 0;
        }
        self.release_if_empty(line, index);
        id
    }

    fn release_if_empty(&mut self, line: u32, index: usize) {
        if self.queues[index].len == 0 {
            self.by_line[line as usize] = 0;
            self.free.push(index as u32);
        }
    }
}

impl Waiting {
    /// The cluster whose oldest request is next.
    fn choose(&self, shape: &Shape, far_limit: u32, holder: usize) -> usize {
        let waiting = |cluster: &usize| self.some & 1 << cluster != 0;
        let clusters = 0..self.clusters.len();
        let starved = clusters
            .clone()
            .filter(waiting)
            .filter(|cluster| self.passed[*cluster] >= far_limit.max(1))
            .max_by_key(|cluster| self.passed[*cluster]);
        if let Some(cluster) = starved {
            return cluster;
        }
        let socket = |cluster: usize| cluster / shape.llcs_per_socket;
        let from_holder = |cluster: &usize| {
            let turn = (cluster + self.clusters.len() - holder) % self.clusters.len();
            (socket(*cluster) != socket(holder), turn)
        };
        clusters
            .filter(waiting)
            .min_by_key(from_holder)
            .unwrap_or(holder)
    }

    fn pass_over(&mut self, chosen: usize) {
        let mut others = self.some & !(1 << chosen);
        while others != 0 {
            self.passed[others.trailing_zeros() as usize] += 1;
            others &= others - 1;
        }
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
        let mut arbiter = Arbiter::new(SHAPE, far_limit, 1);
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
    fn a_request_taken_out_of_turn_is_not_served_again() {
        let mut arbiter = Arbiter::new(SHAPE, 1, 2);
        arbiter.wait(1, 0, 7);
        arbiter.wait(1, 0, 8);
        assert_eq!(arbiter.take(1, 0, |id| id == 8), Some(8));
        assert_eq!(arbiter.next(1, 0), Some(7));
        assert!(!arbiter.is_waiting(1));
    }
}
