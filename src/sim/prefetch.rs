//! The prefetchers: which lines a core asks for that its program has not asked for.
//!
//! Here: what each prefetcher does when it sees a request leave L1. Not here: what the requests do
//! to other cores (`coherence`), and when they get there (`engine`). None crosses a 4 KiB page
//! (Intel Optimization Manual, Sandy Bridge, 2.3.5.4; McCalpin's measurements agree).

use super::machine::{AdjacentLine, Prefetchers};
use super::request::Want;
use crate::space::{LINE, PAGE};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

/// Lines in a page.
const PAGE_LINES: u32 = (PAGE / LINE) as u32;
/// Streams a core follows: the Intel manual states 32 per core; 16 forward, 16 backward.
const STREAMS: usize = 32;
/// Steps in one direction after which a stream is believed.
const CONFIDENCE: u8 = 2;

/// How far a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// L2 answered it.
    L2,
    /// L2 had the line, but not the right to write it.
    Upgrade,
    /// It brought the line into L2.
    Fill,
}

/// What the prefetchers see.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Who asked.
    pub core: usize,
    /// For which line.
    pub line: u32,
    /// For what.
    pub want: Want,
    /// How far the request went.
    pub reach: Reach,
}

#[derive(Clone, Copy, Default)]
struct Stream {
    /// Page + 1; 0 is a free entry.
    page: u32,
    last: u32,
    up: bool,
    steps: u8,
}

struct Core {
    rng: Pcg32,
    last: u32,
    streams: Vec<Stream>,
    next: usize,
}

/// The prefetchers of every core.
pub struct PrefetchUnits {
    spec: Prefetchers,
    lines: u32,
    cores: Vec<Core>,
}

impl PrefetchUnits {
    /// The prefetchers of `cores` cores over a memory of `lines` lines.
    pub fn new(spec: Prefetchers, cores: usize, lines: usize, seed: u64) -> PrefetchUnits {
        let streams = if spec.streamer.is_some() { STREAMS } else { 0 };
        PrefetchUnits {
            spec,
            lines: lines as u32,
            cores: (0..cores as u64)
                .map(|core| Core {
                    rng: Pcg32::seed_from_u64(seed ^ (core + 1) << 32),
                    last: 0,
                    streams: vec![Stream::default(); streams],
                    next: 0,
                })
                .collect(),
        }
    }

    /// Whether any prefetcher is on.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.spec != Prefetchers::default()
    }

    /// A demand request left L1: put the lines to fetch into `wanted`, nearest first.
    pub fn see(&mut self, seen: Seen, wanted: &mut Vec<(u32, Want)>) {
        let Seen {
            core,
            line,
            want,
            reach,
        } = seen;
        let lines = self.lines;
        let core = &mut self.cores[core];
        let mut ask = |target: u32, want: Want| {
            if target < lines && target / PAGE_LINES == line / PAGE_LINES {
                wanted.push((target, want));
            }
        };
        if let Some(pair) = self.spec.adjacent_line
            && completes(pair, reach)
            && acts(&mut core.rng, pair.share)
        {
            let own = want == Want::Own && pair.ownership;
            ask(line ^ 1, if own { Want::Own } else { Want::Read });
        }
        if let Some(share) = self.spec.up_down
            && acts(&mut core.rng, share)
        {
            let up = line >= core.last;
            ask(if up { line + 1 } else { line.wrapping_sub(1) }, Want::Read);
        }
        if want == Want::Read
            && let Some(share) = self.spec.next_line
            && acts(&mut core.rng, share)
        {
            ask(line + 1, Want::Read);
        }
        if let Some(distance) = self.spec.streamer
            && let Some(up) = core.stream(line)
        {
            for step in 1..=distance {
                let target = if up {
                    line + step
                } else {
                    line.wrapping_sub(step)
                };
                ask(target, Want::Read);
            }
        }
        core.last = line;
    }
}

impl Core {
    /// Follow the stream of the line's page: its direction, once it is believed.
    fn stream(&mut self, line: u32) -> Option<bool> {
        let page = line / PAGE_LINES + 1;
        let known = self.streams.iter_mut().find(|stream| stream.page == page);
        let Some(stream) = known else {
            self.streams[self.next] = Stream {
                page,
                last: line,
                up: true,
                steps: 0,
            };
            self.next = (self.next + 1) % self.streams.len();
            return None;
        };
        if line == stream.last {
            return None;
        }
        let up = line > stream.last;
        stream.steps = if up == stream.up {
            stream.steps.saturating_add(1)
        } else {
            1
        };
        stream.up = up;
        stream.last = line;
        (stream.steps >= CONFIDENCE).then_some(up)
    }
}

/// Whether a request makes the adjacent-line prefetcher complete the pair: a fill does. An upgrade
/// does where RFOs are what it reacts to. If upgrades triggered reads of the neighbour, two cores
/// with a counter each in one pair would never come to rest; on Skylake they do
/// (concurrency-hierarchy-bench 1b3f7f8, `cas multi`).
fn completes(pair: AdjacentLine, reach: Reach) -> bool {
    reach == Reach::Fill || (reach == Reach::Upgrade && pair.ownership)
}

fn acts(rng: &mut Pcg32, share: f64) -> bool {
    share >= 1.0 || f64::from(rng.next_u32()) < share * f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(spec: Prefetchers, seen: &[(u32, Want, Reach)]) -> Vec<(u32, Want)> {
        let mut prefetch = PrefetchUnits::new(spec, 1, 256, 1);
        let mut wanted = Vec::new();
        for &(line, want, reach) in seen {
            prefetch.see(
                Seen {
                    core: 0,
                    line,
                    want,
                    reach,
                },
                &mut wanted,
            );
        }
        wanted
    }

    #[test]
    fn the_adjacent_line_prefetcher_completes_the_pair_of_an_l2_miss_and_nothing_else() {
        let pair = |ownership| Prefetchers {
            adjacent_line: Some(AdjacentLine {
                ownership,
                share: 1.0,
            }),
            ..Prefetchers::default()
        };
        let seen = [
            (4, Want::Own, Reach::Fill),
            (7, Want::Read, Reach::Fill),
            (9, Want::Own, Reach::L2),
        ];
        assert_eq!(asked(pair(true), &seen), [(5, Want::Own), (6, Want::Read)]);
        assert_eq!(
            asked(pair(false), &seen),
            [(5, Want::Read), (6, Want::Read)]
        );
    }

    #[test]
    fn an_upgrade_takes_the_pair_only_where_the_prefetcher_asks_with_ownership() {
        for (ownership, expected) in [(true, vec![(5, Want::Own)]), (false, vec![])] {
            let spec = Prefetchers {
                adjacent_line: Some(AdjacentLine {
                    ownership,
                    share: 1.0,
                }),
                ..Prefetchers::default()
            };
            assert_eq!(asked(spec, &[(4, Want::Own, Reach::Upgrade)]), expected);
        }
    }

    #[test]
    fn up_down_follows_the_direction_of_the_last_two_requests() {
        let spec = Prefetchers {
            up_down: Some(1.0),
            ..Prefetchers::default()
        };
        let seen = [(10, Want::Read, Reach::Fill), (9, Want::Read, Reach::Fill)];
        assert_eq!(asked(spec, &seen), [(11, Want::Read), (8, Want::Read)]);
    }

    #[test]
    fn the_streamer_runs_ahead_of_a_stream_and_stops_at_the_page() {
        let spec = Prefetchers {
            streamer: Some(2),
            ..Prefetchers::default()
        };
        let seen = [60, 61, 62, 63].map(|line| (line, Want::Read, Reach::Fill));
        assert_eq!(asked(spec, &seen), [(63, Want::Read)]);
    }
}
