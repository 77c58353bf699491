//! A record of passes, waits and line transfers that Perfetto and `chrome://tracing` open.
//!
//! Here: the slices of a window, and their file. A thread has a track of its passes with its waits
//! in them, and beside it tracks of what it does not wait for. Slices of one track lie in one
//! another or apart. Not here: the names of fields and objects (`space::map`).

use super::machine::Picos;
use super::request::{DataFrom, Origin, Transaction, Want};
use crate::space::map::Map;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Slices kept at most: 200,000 open in a browser in seconds, and show some milliseconds.
const LIMIT: usize = 200_000;

/// Shorter slices are left out: the unit of the file is the nanosecond.
const SHORTEST: Picos = 2000;

/// What a slice shows, in the order of the tracks of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Track {
    /// Passes, and the waits in them.
    Thread,
    /// Lines that stores in the store buffer wait for.
    Stores,
    /// Lines that the core asks for while its program waits for another.
    Ahead,
    /// Prefetches.
    Prefetches,
}

/// For whom a line was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sake {
    /// A store that has left the program behind.
    Store,
    /// An access that the program has not come to yet.
    Ahead,
    /// A prefetcher.
    Prefetch,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// What was asked for.
    pub want: Want,
    /// Where the data came from; `None` if the line had come before the request had its turn.
    pub from: Option<DataFrom>,
    /// How long the request waited for its turn.
    pub queued: Picos,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Pass,
    /// Why: an access that missed; where it came from is not known of a line that was on its way.
    Wait(Option<Delivery>),
    /// The store buffer was full, or had to be empty.
    Buffered,
    Fill(Delivery),
}

#[derive(Clone, Copy, Debug)]
struct TimeSlice {
    thread: u16,
    track: Track,
    what: What,
    line: u32,
    /// The words that were accessed; none for a prefetch and a pass.
    words: u32,
    begin: Picos,
    end: Picos,
}

/// What happened in a window.
#[derive(Debug, Default)]
pub struct Timeline {
    began: Picos,
    slices: Vec<TimeSlice>,
    /// Whether there were more than [`LIMIT`].
    cut: bool,
}

impl Timeline {
    /// Of a window that begins at `now`.
    pub(super) fn new(now: Picos) -> Timeline {
        Timeline {
            began: now,
            ..Timeline::default()
        }
    }

    /// The window ends at `now`.
    pub(super) fn end(&mut self, now: Picos) {
        self.slices.retain(|slice| slice.end <= now);
    }

    /// What began before the window is no part of it.
    fn push(&mut self, slice: TimeSlice) {
        if slice.begin < self.began || slice.end < slice.begin + SHORTEST {
            return;
        }
        match self.slices.len() < LIMIT {
            true => self.slices.push(slice),
            false => self.cut = true,
        }
    }

    /// A thread has ended a pass that it began at `begin`.
    pub(super) fn pass(&mut self, thread: usize, begin: Picos, end: Picos) {
        self.push(TimeSlice {
            thread: thread as u16,
            track: Track::Thread,
            what: What::Pass,
            line: 0,
            words: 0,
            begin,
            end,
        });
    }

    /// A thread has waited for a line: with `source`, for its own request.
    pub(super) fn wait(
        &mut self,
        thread: usize,
        (line, words): (u32, u32),
        source: Option<Delivery>,
        (begin, end): (Picos, Picos),
    ) {
        self.push(TimeSlice {
            thread: thread as u16,
            track: Track::Thread,
            what: What::Wait(source),
            line,
            words,
            begin,
            end,
        });
    }

    /// A thread has waited until a store of its had left the store buffer.
    pub(super) fn buffered(
        &mut self,
        thread: usize,
        (line, words): (u32, u32),
        (begin, end): (Picos, Picos),
    ) {
        self.push(TimeSlice {
            thread: thread as u16,
            track: Track::Thread,
            what: What::Buffered,
            line,
            words,
            begin,
            end,
        });
    }

    /// A line was brought, from when the request arrived until the data reached the core, and
    /// nobody waited for it, or not yet.
    pub(super) fn fill(
        &mut self,
        thread: u16,
        sake: Sake,
        asked: Transaction,
        source: Delivery,
        (begin, end): (Picos, Picos),
    ) {
        self.push(TimeSlice {
            thread,
            track: match sake {
                Sake::Store => Track::Stores,
                Sake::Ahead => Track::Ahead,
                Sake::Prefetch => Track::Prefetches,
            },
            what: What::Fill(source),
            line: asked.line,
            words: match asked.origin {
                Origin::Demand => asked.words,
                Origin::Prefetch => 0,
            },
            begin,
            end,
        });
    }

    /// Whether the window had more than a browser shows, and the rest is left out.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Write it in the Trace Event Format: `process` is what was simulated, `threads` are their
    /// names, and `map` names fields and objects.
    pub fn write(
        &self,
        out: &mut dyn Write,
        process: &str,
        threads: &[String],
        map: &Map,
    ) -> io::Result<()> {
        let mut events = vec![metadata("process_name", 0, json!({ "name": process }))];
        let mut tracks: BTreeMap<(u16, Track), Vec<&TimeSlice>> = BTreeMap::new();
        for slice in &self.slices {
            let of = tracks.entry((slice.thread, slice.track)).or_default();
            of.push(slice);
        }
        let mut id = 0;
        for ((thread, track), slices) in tracks {
            let name = threads.get(usize::from(thread));
            let name = track.title(name.map_or("thread", String::as_str));
            for (number, lane) in lanes(track, slices).into_iter().enumerate() {
                let name = match number {
                    0 => name.clone(),
                    more => format!("{name} ({})", more + 1),
                };
                events.push(metadata("thread_name", id, json!({ "name": name })));
                let sort = json!({ "sort_index": id });
                events.push(metadata("thread_sort_index", id, sort));
                events.extend(lane.iter().map(|slice| self.event(slice, id, map)));
                id += 1;
            }
        }
        writeln!(out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        for (index, event) in events.iter().enumerate() {
            let comma = if index + 1 < events.len() { "," } else { "" };
            writeln!(out, "{event}{comma}")?;
        }
        writeln!(out, "]}}")
    }

    fn event(&self, slice: &TimeSlice, track: u32, map: &Map) -> Value {
        // Whole nanoseconds, and each slice ends one early: however a reader rounds, a slice ends
        // before the next begins.
        let nanos = |at: Picos| (at - self.began) / 1000;
        let (begin, end) = (nanos(slice.begin), nanos(slice.end));
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let place = match slice.words {
            0 => map.line(slice.line),
            words => map.word(slice.line, words.trailing_zeros() as u8),
        };
        let (name, category, source) = match slice.what {
            What::Pass => ("pass".to_owned(), "pass", None),
            What::Wait(None) => (format!("on its way: {place}"), "on its way", None),
            What::Wait(Some(source)) => {
                let kind = kind(source.want, false);
                (format!("{kind} {place}"), kind, Some(source))
            }
            What::Buffered => (format!("store buffer: {place}"), "store buffer", None),
            What::Fill(source) => {
                let kind = kind(source.want, slice.track == Track::Prefetches);
                (format!("{kind} {place}"), kind, Some(source))
            }
        };
        let args = source.map_or(
            json!({}),
            |source| json!({ "from": from(source.from), "queued_ns": source.queued as f64 / 1e3 }),
        );
        json!({
            "name": name,
            "cat": category,
            "ph": "X",
            "pid": 0,
            "tid": track,
            "ts": micros(begin),
            "dur": micros(end - begin - 1),
            "args": args,
        })
    }
}

impl Track {
    fn title(self, thread: &str) -> String {
        match self {
            Track::Thread => thread.to_owned(),
            Track::Stores => format!("{thread}: store buffer"),
            Track::Ahead => format!("{thread}: asked for ahead"),
            Track::Prefetches => format!("{thread}: prefetches"),
        }
    }
}

fn metadata(what: &str, track: u32, args: Value) -> Value {
    json!({ "name": what, "ph": "M", "pid": 0, "tid": track, "args": args })
}

fn kind(want: Want, is_prefetch: bool) -> &'static str {
    match (is_prefetch, want) {
        (false, Want::Read) => "load",
        (false, Want::Own) => "RFO",
        (true, Want::Read) => "prefetch",
        (true, Want::Own) => "prefetch RFO",
    }
}

fn from(from: Option<DataFrom>) -> String {
    match from {
        None => "its own core, meanwhile".to_owned(),
        Some(DataFrom::Itself) => "upgrade".to_owned(),
        Some(DataFrom::Core(core)) => format!("core {core}"),
        Some(DataFrom::Llc) => "LLC".to_owned(),
        Some(DataFrom::Memory) => "memory".to_owned(),
    }
}

/// Slices by when they begin, in as many lanes as it takes that none cuts into another. Waits may
/// lie in a pass; on all other tracks slices of a lane lie apart.
fn lanes(track: Track, mut slices: Vec<&TimeSlice>) -> Vec<Vec<&TimeSlice>> {
    slices.sort_by_key(|slice| (slice.begin, Reverse(slice.end)));
    // Each with the ends of the slices that are open at its end.
    let mut lanes: Vec<(Vec<&TimeSlice>, Vec<Picos>)> = Vec::new();
    for slice in slices {
        let fits = |(_, open): &mut (Vec<&TimeSlice>, Vec<Picos>)| {
            while open.last().is_some_and(|end| *end <= slice.begin) {
                open.pop();
            }
            match open.last() {
                None => true,
                Some(end) => track == Track::Thread && slice.end <= *end,
            }
        };
        let lane = match lanes.iter_mut().position(fits) {
            Some(lane) => lane,
            None => {
                lanes.push(Default::default());
                lanes.len() - 1
            }
        };
        lanes[lane].0.push(slice);
        lanes[lane].1.push(slice.end);
    }
    lanes.into_iter().map(|(slices, _)| slices).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(begin: Picos, end: Picos) -> TimeSlice {
        TimeSlice {
            thread: 0,
            track: Track::Thread,
            what: What::Pass,
            line: 0,
            words: 0,
            begin,
            end,
        }
    }

    #[test]
    fn what_overlaps_is_put_on_lanes_of_its_own() {
        let all = [slice(0, 10), slice(2, 5), slice(5, 10), slice(9, 12)];
        let ends = |track| -> Vec<Vec<Picos>> {
            let lanes = lanes(track, all.iter().collect());
            let ends = |lane: &Vec<&TimeSlice>| lane.iter().map(|slice| slice.end).collect();
            lanes.iter().map(ends).collect()
        };
        assert_eq!(ends(Track::Thread), [vec![10, 5, 10], vec![12]]);
        assert_eq!(ends(Track::Stores), [vec![10], vec![5, 10], vec![12]]);
    }

    #[test]
    fn only_the_window_is_kept() {
        let mut timeline = Timeline::new(10_000);
        timeline.pass(0, 9_999, 15_000);
        timeline.pass(0, 10_000, 15_000);
        timeline.pass(0, 15_000, 20_001);
        timeline.end(20_000);
        assert_eq!(timeline.slices.len(), 1);
    }
}
