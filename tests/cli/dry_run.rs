//! `--dry-run`: it says what would be done, and does not do it.

use super::{SMALL, run, stderr, succeed};
use std::fs;
use tempfile::TempDir;

#[test]
fn a_dry_run_says_what_would_be_measured_and_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let threads = "--threads 1,2 --oversubscribe";
    for (args, says) in [
        (
            format!("run {SMALL} --blocks 10 --dry-run --out folder"),
            "1 design point x ",
        ),
        (
            format!("run --case dentry {threads} --dry-run"),
            "2 design points x ",
        ),
        (
            format!("run --case dentry {threads} --shard 2/2 --dry-run"),
            "1 design point x ",
        ),
        (
            "sim --machine zen4 --case dentry --threads 2 --dry-run --out folder".to_owned(),
            "About ",
        ),
        (
            format!("sim --machine zen4,skylake-sp {SMALL} --dry-run"),
            "sim on ",
        ),
        (
            format!("run {SMALL} --budget 30s --dry-run"),
            "At most 30.0 s in all",
        ),
    ] {
        let text = succeed(dir.path(), &args);
        assert!(text.contains(says), "{args}: {text}");
        assert!(text.contains("Nothing was written."), "{args}: {text}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_dry_run_of_a_run_adds_up_the_parts_of_its_samples() {
    let dir = TempDir::new().unwrap();
    let csv = succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 10 --dry-run --format csv"),
    );
    let mut lines = csv.lines();
    let header = "scenario,placement,threads,samples_per_block,block_seconds,blocks";
    assert_eq!(lines.next(), Some(header));
    let cells: Vec<&str> = lines.next().unwrap().split(',').collect();
    let samples: f64 = cells[3].parse().unwrap();
    let seconds: f64 = cells[4].parse().unwrap();
    // Warm-up, probe and window.
    assert!((seconds - samples * 4.45e-3).abs() < 1e-9, "{csv}");
    assert_eq!(cells[5], "10");
}

#[test]
fn a_dry_run_refuses_what_the_run_would() {
    let dir = TempDir::new().unwrap();
    for args in [
        "sim --machine zen4 --case dentry --threads 100000 --dry-run",
        "run --case dentri --dry-run",
        "run --resume folder --dry-run",
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args}: {}", stderr(&output));
    }
}
