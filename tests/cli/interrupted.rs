//! Runs that are stopped, or killed, and what goes on from there.

use super::{SMALL, environment, header, hitm_child, rows, run, stderr, succeed, whole_blocks};
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Starts a long run and waits until it has finished blocks.
fn started(dir: &Path) -> Child {
    let args = format!("run {SMALL} --blocks 1000000 --out out");
    let samples = dir.join("out/samples.csv");
    started_until(dir, &args, || {
        fs::read_to_string(&samples).map_or(0, |text| text.lines().count()) >= 10
    })
}

/// Starts `hitm` and waits until `there` says that it is where the test wants it.
fn started_until(dir: &Path, args: &str, there: impl Fn() -> bool) -> Child {
    let child = hitm_child(dir)
        .args(args.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(60), "not in a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: sends a signal to our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// How many blocks there are, all of them whole.
fn blocks_in(out: &Path) -> u64 {
    let rows = rows(&out.join("samples.csv"));
    let blocks = rows.len() as u64 / 4;
    whole_blocks(&rows, blocks);
    blocks
}

#[test]
fn an_interrupted_run_keeps_its_blocks_and_goes_on_from_there() {
    for signalled in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let dir = TempDir::new().unwrap();
        let out = dir.path().join("out");
        let child = started(dir.path());
        signal(&child, signalled);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let said = stderr(&output);
        assert!(
            said.lines()
                .last()
                .unwrap()
                .starts_with("hitm: interrupted"),
            "{said}"
        );
        assert!(environment(&out)["run"]["interrupted"].as_bool().unwrap());
        assert_eq!(rows(&out.join("verdicts.csv")).len(), 3);
        let report = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(report.contains("was interrupted"));

        let before = blocks_in(&out);
        succeed(
            dir.path(),
            &format!("run --resume out --blocks {}", before + 3),
        );
        assert_eq!(blocks_in(&out), before + 3);
        assert!(!environment(&out)["run"]["interrupted"].as_bool().unwrap());
        let report = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(!report.contains("was interrupted"));
    }
}

#[test]
fn a_simulation_is_interrupted_in_the_middle_of_a_block_and_leaves_none_of_it() {
    for signalled in [libc::SIGINT, libc::SIGTERM] {
        let dir = TempDir::new().unwrap();
        let out = dir.path().join("out");
        // A block of this takes minutes, on a fast host many seconds.
        let args = "sim --machine zen5 --scenario one-vma --threads 256 --blocks 2 --out out";
        let child = started_until(dir.path(), args, || out.join("environment.json").exists());
        std::thread::sleep(Duration::from_millis(200));
        signal(&child, signalled);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert_eq!(stderr(&output), "hitm: interrupted\n");
        assert!(environment(&out)["run"]["interrupted"].as_bool().unwrap());
        assert!(rows(&out.join("samples.csv")).is_empty());
    }
}

#[test]
fn a_killed_run_goes_on_even_if_its_last_block_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let mut child = started(dir.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let before = blocks_in(&out);
    assert!(before >= 3);

    // As after a loss of power: a row and a half of the last block are missing.
    let samples = out.join("samples.csv");
    let text = fs::read_to_string(&samples).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (half, whole) = (lines[lines.len() - 2], &lines[..lines.len() - 2]);
    fs::write(&samples, whole.join("\n") + "\n" + &half[..half.len() / 2]).unwrap();

    succeed(
        dir.path(),
        &format!("run --resume out --blocks {}", before + 1),
    );
    assert_eq!(blocks_in(&out), before + 1);
}

#[test]
fn a_resumed_run_keeps_the_columns_of_its_file() {
    let dir = TempDir::new().unwrap();
    let samples = dir.path().join("out/samples.csv");
    succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 1 --counters none --out out"),
    );
    let columns = header(&samples);
    succeed(dir.path(), "run --resume out --blocks 2");
    assert_eq!(header(&samples), columns);
    assert_eq!(blocks_in(&dir.path().join("out")), 2);
}

#[test]
fn a_run_that_is_being_written_is_not_resumed() {
    let dir = TempDir::new().unwrap();
    let mut child = started(dir.path());
    let output = run(dir.path(), "run --resume out --blocks 1");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        stderr(&output).contains("another run"),
        "{}",
        stderr(&output)
    );
}

/// The threads have given back what they held open when the rows are read, judged and drawn.
#[test]
fn a_run_that_needs_every_file_descriptor_is_judged() {
    let dir = TempDir::new().unwrap();
    let run = format!(
        "ulimit -n 64 && exec '{}' run --layouts split-packed,mmap-lock --scenario one-vma \
         --threads 100 --oversubscribe --blocks 1 --out out",
        env!("CARGO_BIN_EXE_hitm")
    );
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", &run]).current_dir(dir.path()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for name in ["verdicts.csv", "report.html"] {
        assert!(dir.path().join("out").join(name).exists(), "{name}");
    }
}
