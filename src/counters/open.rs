//! A group of counters of one thread: opened, started, stopped and read by that thread.
//!
//! Nothing here fails as a whole. A counter that cannot be opened, started, stopped or read is
//! missing with its reason, and the others go on.

use super::refusal::{Call, Conditions};
use perf_event::{Builder, Counter};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A role without a value, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The role.
    pub role: &'static str,
    /// What happened, the likely cause, what to do: one line.
    pub reason: String,
}

/// A role with the event that serves it, in perf's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerfEvent {
    /// The role.
    pub role: &'static str,
    /// `perf_event_attr.type`.
    pub kind: u32,
    /// `perf_event_attr.config`.
    pub config: u64,
    /// `perf_event_attr.config1`.
    pub config1: u64,
    /// The kernel is excluded.
    pub exclude_kernel: bool,
}

/// A group of counters of the thread that opened it.
pub struct Open {
    group: Option<perf_event::Group>,
    /// Dropping a `Counter` takes it out of the group.
    counters: Vec<(&'static str, Counter)>,
    last: Snapshot,
    missing: Vec<Missing>,
    conditions: Conditions,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CounterValue {
    /// Events in the window, in the role's unit.
    pub value: f64,
    /// The counter shared its hardware, and the value was scaled up to the whole window.
    pub scaled: bool,
}

/// The values of one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// By role. A role that was not measured is not here.
    pub values: BTreeMap<&'static str, CounterValue>,
    /// The roles of the group that were not measured.
    pub missing: Vec<Missing>,
}

impl Readings {
    /// The total over threads. A role that one thread misses is missing: a partial sum would
    /// lie.
    pub fn total(threads: impl IntoIterator<Item = Readings>) -> Readings {
        let mut total = Readings::default();
        for thread in threads {
            for (role, count) in thread.values {
                let sum = total.values.entry(role).or_insert(CounterValue {
                    value: 0.0,
                    scaled: false,
                });
                sum.value += count.value;
                sum.scaled |= count.scaled;
            }
            total.missing.extend(thread.missing);
        }
        for gone in &total.missing {
            total.values.remove(gone.role);
        }
        total.missing.sort();
        total.missing.dedup();
        total
    }
}

/// What a read of the group returned: running totals since it was opened.
#[derive(Debug, Default)]
struct Snapshot {
    time_enabled: u64,
    time_running: u64,
    /// By the kernel's id of the event.
    values: BTreeMap<u64, u64>,
}

impl Open {
    pub(super) fn new(events: &[PerfEvent], conditions: &Conditions) -> Open {
        let mut open = Open {
            group: None,
            counters: Vec::new(),
            last: Snapshot::default(),
            missing: Vec::new(),
            conditions: conditions.clone(),
        };
        if events.is_empty() {
            return open;
        }
        let mut group = match perf_event::Group::new() {
            Ok(group) => group,
            Err(error) => {
                let reason = conditions.explain(Call::Open, &error);
                open.missing = events
                    .iter()
                    .map(|event| Missing {
                        role: event.role,
                        reason: reason.clone(),
                    })
                    .collect();
                return open;
            }
        };
        for event in events {
            match open_one(event, &mut group) {
                Ok(counter) => open.counters.push((event.role, counter)),
                Err(error) => open.missing.push(Missing {
                    role: event.role,
                    reason: conditions.explain(Call::Open, &error),
                }),
            }
        }
        open.group = Some(group);
        open
    }

    /// The roles that count.
    pub fn roles(&self) -> impl Iterator<Item = &'static str> {
        self.counters.iter().map(|(role, _)| *role)
    }

    /// The roles that do not, and why.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Start counting: one system call.
    pub fn enable(&mut self) {
        if let Some(Err(error)) = self.group.as_mut().map(perf_event::Group::enable) {
            self.give_up(self.conditions.explain(Call::Enable, &error));
        }
    }

    /// Stop counting: one system call.
    pub fn disable(&mut self) {
        if let Some(Err(error)) = self.group.as_mut().map(perf_event::Group::disable) {
            self.give_up(self.conditions.explain(Call::Disable, &error));
        }
    }

    /// What was counted since the last read (or since it was opened).
    pub fn read(&mut self) -> Readings {
        let mut values = BTreeMap::new();
        match self.snapshot() {
            Ok(Some(now)) => {
                let enabled = now.time_enabled.saturating_sub(self.last.time_enabled);
                let running = now.time_running.saturating_sub(self.last.time_running);
                if running == 0 {
                    let reason = match enabled {
                        0 => "the counters were never started".to_owned(),
                        _ => self.conditions.never_scheduled(),
                    };
                    let missing = self
                        .all_missing(reason)
                        .chain(self.missing.clone())
                        .collect();
                    self.last = now;
                    return Readings { values, missing };
                }
                for (role, counter) in &self.counters {
                    let total = |shot: &Snapshot| shot.values.get(&counter.id()).copied();
                    let Some(after) = total(&now) else { continue };
                    let count = after.saturating_sub(total(&self.last).unwrap_or(0)) as f64;
                    let scaled = running != enabled;
                    let value = if scaled {
                        count * enabled as f64 / running as f64
                    } else {
                        count
                    };
                    values.insert(*role, CounterValue { value, scaled });
                }
                self.last = now;
            }
            Ok(None) => {}
            Err(reason) => self.give_up(reason),
        }
        Readings {
            values,
            missing: self.missing.clone(),
        }
    }

    fn snapshot(&self) -> Result<Option<Snapshot>, String> {
        let Some(group) = &self.group else {
            return Ok(None);
        };
        // nr, time_enabled, time_running, then value and id of the group's own placeholder and of
        // each counter: the read format that perf_event::Group asks for. Its own `read` panics on
        // a short answer, so we read the descriptor ourselves.
        let words = 3 + 2 * (1 + self.counters.len());
        let mut buffer = vec![0u8; 8 * words];
        // SAFETY: the descriptor belongs to `group`, which is borrowed for longer than it is used.
        let fd = unsafe { BorrowedFd::borrow_raw(group.as_raw_fd()) };
        let got = loop {
            match rustix::io::read(fd, &mut buffer) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other,
            }
        };
        let got = got.map_err(|errno| self.conditions.explain(Call::Read, &errno.into()))?;
        decode(&buffer[..got])
            .filter(|_| got == buffer.len())
            .map(Some)
            .ok_or_else(|| self.conditions.short_read(got, buffer.len()))
    }

    fn all_missing(&self, reason: String) -> impl Iterator<Item = Missing> {
        self.roles().map(move |role| Missing {
            role,
            reason: reason.clone(),
        })
    }

    fn give_up(&mut self, reason: String) {
        let missing: Vec<Missing> = self.all_missing(reason).collect();
        self.missing.extend(missing);
        self.counters.clear();
        self.group = None;
    }
}

/// The answer to a group read, if it is whole.
fn decode(bytes: &[u8]) -> Option<Snapshot> {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    let (&[events, time_enabled, time_running], pairs) = words.split_first_chunk::<3>()?;
    let whole = rest.is_empty() && pairs.len() as u64 == events.checked_mul(2)?;
    whole.then(|| Snapshot {
        time_enabled,
        time_running,
        values: pairs
            .chunks_exact(2)
            .map(|pair| (pair[1], pair[0]))
            .collect(),
    })
}

fn open_one(event: &PerfEvent, group: &mut perf_event::Group) -> io::Result<Counter> {
    // This thread, any CPU, not inherited, the hypervisor excluded: the builder's defaults.
    let mut builder = Builder::new().group(group);
    builder.exclude_kernel(event.exclude_kernel);
    let attrs = builder.attrs_mut();
    attrs.type_ = event.kind;
    attrs.config = event.config;
    attrs.__bindgen_anon_3.config1 = event.config1;
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(value: f64, scaled: bool) -> CounterValue {
        CounterValue { value, scaled }
    }

    #[test]
    fn a_total_has_no_role_that_one_thread_misses() {
        let whole = Readings {
            values: [("loads", count(3.0, false)), ("stores", count(1.0, true))].into(),
            missing: vec![],
        };
        let part = Readings {
            values: [("stores", count(2.0, false))].into(),
            missing: vec![Missing {
                role: "loads",
                reason: "why".into(),
            }],
        };
        let total = Readings::total([whole, part.clone(), part]);
        assert_eq!(total.values, [("stores", count(5.0, true))].into());
        assert_eq!(total.missing.len(), 1);
    }

    #[test]
    fn an_answer_of_the_wrong_length_is_not_decoded() {
        let words = |words: &[u64]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_ne_bytes()).collect()
        };
        assert!(decode(&words(&[1, 9, 9, 42, 7])).is_some());
        assert!(decode(&words(&[2, 9, 9, 42, 7])).is_none());
        assert!(decode(&words(&[u64::MAX, 9, 9, 42, 7])).is_none());
        assert!(decode(&words(&[1, 9])).is_none());
        assert!(decode(&words(&[1, 9, 9, 42, 7])[..39]).is_none());
        assert!(decode(&[]).is_none());
    }
}
