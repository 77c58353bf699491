//! What tables, plots and reports promise.

mod fake;

use hitm::results::{RunFolder, RunRecord, Sample, Unmeasured};
use std::path::{Path, PathBuf};

/// A run folder with these points; kept after the test, so that the plots can be looked at.
fn run_folder(name: &str, points: &[(&str, usize, u64)], edit: fn(&mut Sample)) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    let mut folder = RunFolder::create(Some(&dir), "fake", &[]).unwrap();
    let mut verdicts = Vec::new();
    for (scenario, threads, blocks) in points {
        let mut samples = fake::samples(scenario, *threads, *blocks);
        samples.iter_mut().for_each(edit);
        folder.append_block(&samples).unwrap();
        verdicts.extend(fake::verdicts(scenario, *threads, *blocks));
    }
    folder.write_verdicts(&verdicts).unwrap();
    let run = RunRecord {
        run: Some("fake".into()),
        version: Some("0.1.0".into()),
        started: Some("2025-11-14T22:13:20Z".into()),
        command_line: ["hitm", "run", "--scenario", "one-vma"]
            .map(str::to_owned)
            .into(),
        seed: Some(42),
        margin: Some(0.02),
        interrupted: false,
        unmeasured: vec![Unmeasured {
            what: "hitm_local".into(),
            why: "this virtual machine has no performance counters".into(),
        }],
    };
    let machine = serde_json::json!({
        "cpu": {"model": "Example EPYC 9B14", "cpus": 2, "smt": true},
        "kernel": "6.1.0", "mitigations": ["spectre_v2: <retpolines>", "mds: not affected"],
        "governor": null,
    });
    folder
        .write_environment(&serde_json::json!({"run": run, "machine": machine}))
        .unwrap();
    dir
}

fn plot(args: &[&Path]) -> assert_cmd::assert::Assert {
    assert_cmd::Command::cargo_bin("hitm")
        .unwrap()
        .arg("plot")
        .args(args)
        .assert()
}

#[test]
fn a_run_of_two_thread_counts() {
    let dir = run_folder("few", &[("one-vma", 1, 120), ("one-vma", 2, 120)], |_| ());
    plot(&[&dir]).success();
}

#[test]
fn a_run_of_many_thread_counts() {
    let points = [1, 2, 4, 7, 14, 28, 56].map(|n| ("vma-per-thread", n, 60));
    let dir = run_folder("many", &points, |_| ());
    plot(&[&dir]).success();
}

#[test]
fn a_long_run() {
    let dir = run_folder("long", &[("one-vma", 2, 1500)], |_| ());
    plot(&[&dir]).success();
}
