//! Every system call of the counters, made to fail in turn.
//!
//! The kernel is played by perf-event's hooks, which are a thread's own; reads cannot be hooked and
//! are refused by a seccomp filter on one descriptor of one thread. No PMU and no permission is
//! needed.

mod seccomp;

use hitm::counters::{Conditions, EventTable, Open, Pmu, Readings, Rotation, Scope};
use perf_event::hooks::sys::bindings::perf_event_attr;
use perf_event::hooks::{Hooks, set_thread_hooks};
use seccomp::{ERRNOS, refuse};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{c_int, c_uint, c_ulong};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::IntoRawFd;
use std::rc::Rc;

/// Calls that the hooks see.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Open,
    Id,
    Enable,
    Disable,
}

/// A kernel whose counters each count 100 times their own id in every window.
struct FakeKernel {
    /// The n-th call of a kind, from 0, fails with this errno.
    fails: Option<(Call, usize, i32)>,
    seen: Vec<Call>,
    /// Descriptors handed out, and our handle on each; the id is the position, from 1. The first
    /// is the group's placeholder.
    counters: Vec<(c_int, File)>,
    windows: u64,
    /// Changes the answer to a read before it is given.
    answer: fn(Vec<u64>) -> Vec<u64>,
    /// Bytes kept of the answer.
    keep: usize,
}

impl FakeKernel {
    fn new(fails: Option<(Call, usize, i32)>) -> FakeKernel {
        FakeKernel {
            fails,
            seen: Vec::new(),
            counters: Vec::new(),
            windows: 0,
            answer: |words| words,
            keep: usize::MAX,
        }
    }

    fn refuses(&mut self, call: Call) -> bool {
        let nth = self.seen.iter().filter(|seen| **seen == call).count();
        self.seen.push(call);
        let fails = self
            .fails
            .filter(|(which, n, _)| (*which, *n) == (call, nth));
        if let Some((_, _, errno)) = fails {
            // SAFETY: the address of this thread's errno is always valid.
            unsafe { *libc::__errno_location() = errno };
        }
        fails.is_some()
    }

    /// Put the next answer into the group's descriptor.
    fn write_answer(&mut self) {
        let time = 1000 * self.windows;
        let mut words = vec![self.counters.len() as u64, time, time];
        for id in 1..=self.counters.len() as u64 {
            words.extend([100 * id * self.windows, id]);
        }
        let words = (self.answer)(words);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let group = &mut self.counters[0].1;
        group.set_len(0).unwrap();
        group.rewind().unwrap();
        group
            .write_all(&bytes[..bytes.len().min(self.keep)])
            .unwrap();
        group.rewind().unwrap();
    }
}

/// The hooks of a thread, and its test's view of the same kernel.
#[derive(Clone)]
struct Shared(Rc<RefCell<FakeKernel>>);

impl Hooks for Shared {
    unsafe fn perf_event_open(
        &mut self,
        attrs: *mut perf_event_attr,
        pid: libc::pid_t,
        cpu: c_int,
        _group: c_int,
        _flags: c_ulong,
    ) -> c_int {
        // SAFETY: the caller passes its own struct.
        let attrs = unsafe { &*attrs };
        assert_eq!((pid, cpu), (0, -1), "this thread, on any CPU");
        assert_eq!((attrs.inherit(), attrs.exclude_hv()), (0, 1));
        let mut kernel = self.0.borrow_mut();
        if kernel.refuses(Call::Open) {
            return -1;
        }
        let ours = tempfile::tempfile().unwrap();
        // The duplicate is the caller's to close; both share one position in the file.
        let fd = ours.try_clone().unwrap().into_raw_fd();
        kernel.counters.push((fd, ours));
        fd
    }

    unsafe fn ID(&mut self, fd: c_int, id: *mut u64) -> c_int {
        let mut kernel = self.0.borrow_mut();
        let last = kernel.counters.len();
        assert_eq!(kernel.counters[last - 1].0, fd);
        if kernel.refuses(Call::Id) {
            kernel.counters.pop();
            return -1;
        }
        // SAFETY: the caller passes a pointer to its own variable.
        unsafe { *id = last as u64 };
        0
    }

    unsafe fn ENABLE(&mut self, _fd: c_int, _flags: c_uint) -> c_int {
        -c_int::from(self.0.borrow_mut().refuses(Call::Enable))
    }

    unsafe fn DISABLE(&mut self, _fd: c_int, _flags: c_uint) -> c_int {
        let mut kernel = self.0.borrow_mut();
        if kernel.refuses(Call::Disable) {
            return -1;
        }
        kernel.windows += 1;
        kernel.write_answer();
        0
    }
}

/// Run `test` on a thread whose kernel is `kernel`.
fn with<T: Send>(
    kernel: impl FnOnce() -> FakeKernel + Send,
    test: impl FnOnce(Shared) -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let run = move || {
            let shared = Shared(Rc::new(RefCell::new(kernel())));
            // SAFETY: no counter of this thread exists yet; it ends with the test.
            unsafe { set_thread_hooks(Box::new(shared.clone())) };
            test(shared)
        };
        scope
            .spawn(run)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn pmu() -> Pmu {
    Pmu {
        cpu: None,
        table: Some(EventTable::parse("broadwell-ep").unwrap()),
        number: Some(4),
        conditions: Conditions {
            paranoid: Some(2),
            nmi_watchdog: false,
            hypervisor: true,
        },
    }
}

fn window(open: &mut Open) -> Readings {
    open.enable();
    open.disable();
    open.read()
}

/// What one failing call may do: nothing worse than roles that are missing and say why.
fn explained(readings: &Readings, roles: &BTreeSet<&str>, says: &str) {
    let counted: BTreeSet<&str> = readings.values.keys().copied().collect();
    let missing: BTreeSet<&str> = readings.missing.iter().map(|one| one.role).collect();
    assert!(!missing.is_empty());
    assert!(counted.is_disjoint(&missing));
    assert_eq!(&(&counted | &missing), roles);
    for one in &readings.missing {
        assert!(one.reason.contains(says), "{says}: {}", one.reason);
        assert!(one.reason.contains("; "), "no remedy: {}", one.reason);
        assert!(!one.reason.contains('\n'), "{}", one.reason);
    }
}

#[test]
fn every_call_that_fails_names_cause_and_remedy_and_the_other_counters_go_on() {
    let rotation = Rotation::everything(&pmu(), Scope::User);
    let group = &rotation.groups[0];
    let roles: BTreeSet<&str> = group.iter().map(|planned| planned.role).collect();
    let opens = group.len() + 1;
    let mut cases = 0;
    for (errno, name) in ERRNOS {
        let opening = [Call::Open, Call::Id]
            .into_iter()
            .flat_map(|c| (0..opens).map(move |n| (c, n)));
        for (call, nth) in opening.chain([(Call::Enable, 0), (Call::Disable, 0)]) {
            let readings = with(
                move || FakeKernel::new(Some((call, nth, errno))),
                |_| window(&mut rotation.open(0)),
            );
            explained(&readings, &roles, name);
            let lost = match (call, nth) {
                (Call::Open | Call::Id, 1..) => 1,
                _ => roles.len(),
            };
            assert_eq!(readings.missing.len(), lost, "{call:?} {nth} {name}");
            cases += 1;
        }
    }
    assert_eq!(cases, ERRNOS.len() * (2 * opens + 2));
}

#[test]
fn a_read_that_fails_names_cause_and_remedy() {
    let rotation = Rotation::everything(&pmu(), Scope::User);
    let roles: BTreeSet<&str> = rotation.groups[0]
        .iter()
        .map(|planned| planned.role)
        .collect();
    for (errno, name) in ERRNOS {
        let readings = with(
            || FakeKernel::new(None),
            |kernel| {
                let mut open = rotation.open(0);
                let fd = kernel.0.borrow().counters[0].0;
                refuse(libc::SYS_read, Some((0, fd as u32)), errno);
                let first = window(&mut open);
                // What failed stays failed, and is no worse the second time.
                assert_eq!(window(&mut open), first);
                first
            },
        );
        explained(&readings, &roles, name);
    }
}

#[test]
fn a_short_read_is_no_value() {
    let rotation = Rotation::everything(&pmu(), Scope::User);
    let roles: BTreeSet<&str> = rotation.groups[0]
        .iter()
        .map(|planned| planned.role)
        .collect();
    let words = 3 + 2 * (roles.len() + 1);
    for keep in [0, 1, 8, 24, 8 * words - 8, 8 * words - 1] {
        let readings = with(
            || FakeKernel {
                keep,
                ..FakeKernel::new(None)
            },
            |_| window(&mut rotation.open(0)),
        );
        assert!(readings.values.is_empty());
        explained(&readings, &roles, &format!("{keep} of {} bytes", 8 * words));
    }
}

#[test]
fn each_window_has_its_own_counts() {
    let rotation = Rotation::everything(&pmu(), Scope::User);
    with(
        || FakeKernel::new(None),
        |_| {
            let mut open = rotation.open(0);
            let first = window(&mut open);
            assert!(first.missing.is_empty());
            assert_eq!(first.values.len(), rotation.groups[0].len());
            for (index, planned) in rotation.groups[0].iter().enumerate() {
                // Id 1 is the group's placeholder.
                let reading = first.values[planned.role];
                assert_eq!(reading.value, 100.0 * (index + 2) as f64);
                assert!(!reading.scaled);
            }
            assert_eq!(window(&mut open), first);
        },
    );
}

#[test]
fn a_multiplexed_counter_is_scaled_and_says_so() {
    let rotation = Rotation::everything(&pmu(), Scope::User);
    let quarter = |mut words: Vec<u64>| {
        words[2] /= 4;
        words
    };
    let readings = with(
        || FakeKernel {
            answer: quarter,
            ..FakeKernel::new(None)
        },
        |_| window(&mut rotation.open(0)),
    );
    let first = readings.values[rotation.groups[0][0].role];
    assert_eq!((first.value, first.scaled), (800.0, true));
}

#[test]
fn a_counter_that_never_got_onto_the_hardware_is_missing_and_not_0() {
    let never = |mut words: Vec<u64>| {
        words[2] = 0;
        words
    };
    for (nmi_watchdog, says) in [(true, "nmi_watchdog=0"), (false, "another perf session")] {
        let mut pmu = pmu();
        pmu.conditions.nmi_watchdog = nmi_watchdog;
        let rotation = Rotation::everything(&pmu, Scope::User);
        let roles: BTreeSet<&str> = rotation.groups[0]
            .iter()
            .map(|planned| planned.role)
            .collect();
        let readings = with(
            || FakeKernel {
                answer: never,
                ..FakeKernel::new(None)
            },
            |_| window(&mut rotation.open(0)),
        );
        assert!(readings.values.is_empty());
        explained(&readings, &roles, says);
    }
}

#[test]
fn a_window_that_was_never_opened_has_no_values() {
    let rotation = Rotation::everything(&pmu(), Scope::User);
    let readings = with(
        || FakeKernel::new(None),
        |kernel| {
            let mut open = rotation.open(0);
            kernel.0.borrow_mut().write_answer();
            open.read()
        },
    );
    assert!(readings.values.is_empty());
    assert_eq!(readings.missing.len(), rotation.groups[0].len());
}

#[test]
fn the_paranoid_level_is_named_with_its_fix() {
    let rotation = Rotation::new(&pmu(), &["context_switches"], Scope::User).unwrap();
    let readings = with(
        || FakeKernel::new(Some((Call::Open, 1, libc::EACCES))),
        |_| window(&mut rotation.open(0)),
    );
    let reason = &readings.missing[0].reason;
    assert!(reason.contains("perf_event_paranoid is 2"), "{reason}");
    assert!(
        reason.contains("sysctl kernel.perf_event_paranoid=1"),
        "{reason}"
    );
}
