//! `hitm run` where the kernel refuses the counters: it measures on without them, and says why.
//!
//! Seccomp filters are those of the thread that starts `hitm`, and pass on to it.

mod seccomp;

use hitm::results::{RunRecord, read_samples};
use seccomp::{ERRNOS, refuse};
use std::path::Path;
use std::process::{Command, Output};

/// ioctls of counters, from `linux/perf_event.h`: `PERF_EVENT_IOC_ENABLE`, `_DISABLE`, `_ID`.
const IOCTLS: [(&str, u32); 3] = [("enable", 0x2400), ("disable", 0x2401), ("id", 0x8008_2407)];

/// The roles that every kernel counts.
const SOFTWARE: &str = "task_clock_ns,page_faults,cpu_migrations";

/// Two blocks of `hitm run` into `out`, where the kernel refuses a call; see [`refuse`].
fn run(out: &Path, call: i64, argument: Option<(u8, u32)>, errno: i32) -> Output {
    let start = || {
        refuse(call, argument, errno);
        let mut hitm = Command::new(env!("CARGO_BIN_EXE_hitm"));
        let run = ["run", "--layouts", "split-packed", "--scenario", "one-vma"];
        hitm.args(run).args(["--threads", "1", "--blocks", "2"]);
        hitm.args(["--counters", SOFTWARE, "--out"]).arg(out);
        hitm.output().unwrap()
    };
    std::thread::scope(|scope| scope.spawn(start).join().unwrap())
}

/// The run is whole, without the counters of the kernel; returns what it says of them.
fn whole_but_uncounted(out: &Path, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let file = read_samples(&out.join("samples.csv")).unwrap();
    // The baseline, again, and recompiled.
    assert_eq!(file.samples.len(), 2 * 3);
    for sample in &file.samples {
        assert!(sample.faults > 0);
        let counted: Vec<&String> = sample.counters.keys().collect();
        for role in SOFTWARE.split(',') {
            assert!(!sample.counters.contains_key(role), "{counted:?}");
        }
    }
    let text = std::fs::read_to_string(out.join("environment.json")).unwrap();
    let environment: serde_json::Value = serde_json::from_str(&text).unwrap();
    let run: RunRecord = serde_json::from_value(environment["run"].clone()).unwrap();
    let unmeasured = run.unmeasured.iter();
    let reasons: Vec<&str> = unmeasured
        .filter(|one| SOFTWARE.split(',').all(|role| one.what.contains(role)))
        .map(|one| one.why.as_str())
        .collect();
    assert_eq!(reasons.len(), 1, "each reason once: {text}");
    assert!(reasons[0].contains("; "), "no remedy: {}", reasons[0]);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("perf_event"), "the report says so, too");
    reasons[0].to_owned()
}

#[test]
fn a_run_without_perf_event_open_measures_on_and_names_cause_and_remedy() {
    for (errno, name) in ERRNOS {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let output = run(&out, libc::SYS_perf_event_open, None, errno);
        let why = whole_but_uncounted(&out, &output);
        assert!(why.contains(name), "{name}: {why}");
    }
}

#[test]
fn a_run_whose_counters_cannot_be_started_stopped_or_told_apart_measures_on() {
    for (name, request) in IOCTLS {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let output = run(&out, libc::SYS_ioctl, Some((1, request)), libc::EIO);
        let why = whole_but_uncounted(&out, &output);
        assert!(why.contains("EIO"), "{name}: {why}");
    }
}
