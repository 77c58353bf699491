//! `hitm run --prefetch ab` on a folder of register files: what the run does to them and to its
//! own rows.

mod prefetch_tree;

use hitm::experiment::Sample;
use hitm::results::{read_samples, read_verdicts};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prefetch_tree::{CONTROL, Tree, stderr};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn samples(out: &Path) -> Vec<Sample> {
    read_samples(&out.join("samples.csv")).unwrap().samples
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Wait until the run in `out` has written a block, doing `meanwhile` again and again.
fn until_a_block(out: &Path, child: &mut Child, mut meanwhile: impl FnMut()) {
    let begin = Instant::now();
    let rows = || std::fs::read_to_string(out.join("samples.csv")).map_or(0, |t| t.lines().count());
    while rows() < 2 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended without a block"
        );
        assert!(begin.elapsed() < Duration::from_secs(20));
        meanwhile();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_arm_is_measured_with_the_prefetcher_on_and_off_in_every_block() {
    let (tree, out) = (Tree::new(), tempfile::tempdir().unwrap());
    let before = tree.bytes();
    let out = out.path().join("run");
    let output = tree
        .measure(&out, &["--cpus", "0-7", "--blocks", "2"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(tree.bytes(), before);
    let rows: BTreeSet<_> = samples(&out)
        .into_iter()
        .map(|row| (row.block, row.prefetch, row.arm))
        .collect();
    assert_eq!(rows.len(), 2 * 2 * 3);
    let verdicts = read_verdicts(&out.join("verdicts.csv")).unwrap();
    let states: Vec<&str> = verdicts.iter().map(|row| row.prefetch.name()).collect();
    // The baseline again, and recompiled.
    assert_eq!(states, ["on", "on", "off", "off", "on-off", "on-off"]);
}

#[test]
fn an_interrupted_run_puts_the_registers_back_itself_and_keeps_its_blocks() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (tree, out) = (Tree::new(), tempfile::tempdir().unwrap());
        let before = tree.bytes();
        let out = out.path().join("run");
        let mut child = start(tree.measure(&out, &["--cpus", "0-7", "--budget", "60s"]));
        until_a_block(&out, &mut child, || ());
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert_eq!(tree.bytes(), before, "{signal}");
        let rows = samples(&out);
        assert!(
            !rows.is_empty() && rows.len().is_multiple_of(6),
            "whole blocks: {}",
            rows.len()
        );
        let environment = std::fs::read_to_string(out.join("environment.json")).unwrap();
        assert!(environment.contains(r#""interrupted": true"#));
        assert!(out.join("report.html").exists());
    }
}

#[test]
fn samples_during_which_a_register_drifted_are_invalid_and_kept() {
    const CPU: usize = 5;
    let (tree, out) = (Tree::new(), tempfile::tempdir().unwrap());
    let before = tree.bytes();
    let out = out.path().join("run");
    let mut child = start(tree.measure(&out, &["--cpus", "0-7", "--blocks", "1"]));
    // Another program counts in a byte of the register that hitm has no business with.
    let path = tree.root().join(CPU.to_string()).join("msr");
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let mut count = 0;
    until_a_block(&out, &mut child, || {
        count = (count + 1) % 256;
        file.write_all_at(&[count as u8], CONTROL + 7).unwrap();
    });
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let rows = samples(&out);
    assert_eq!(rows.len(), 6);
    let drifted = rows.iter().filter(|row| {
        let reason = "prefetcher register 0x1a4 of CPU 5 drifted from ";
        row.invalid_reason.contains(reason)
    });
    let drifted: Vec<&Sample> = drifted.collect();
    assert!(!drifted.is_empty() && drifted.iter().all(|row| !row.valid && row.faults > 0));
    // What the other program wrote is its own business; hitm's bits are as they were.
    let original = before.iter().find(|(path, _)| path.ends_with("5/msr"));
    let low = original.unwrap().1[CONTROL as usize];
    assert_eq!(tree.register(CPU) & 0xff, u64::from(low));
    assert!(!tree.journal().exists());
}

#[test]
fn a_run_that_goes_on_switches_the_same_registers() {
    let (tree, out) = (Tree::new(), tempfile::tempdir().unwrap());
    let before = tree.bytes();
    let out = out.path().join("run");
    let args = ["--cpus", "0-7", "--blocks", "1", "--which", "streamer"];
    let output = tree.measure(&out, &args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut resume = Command::new(env!("CARGO_BIN_EXE_hitm"));
    resume.args(["run", "--blocks", "3", "--resume"]).arg(&out);
    let output = resume.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(tree.bytes(), before);
    let rows = samples(&out);
    assert_eq!(rows.len(), 3 * 6);
    assert!(rows.iter().all(|row| row.prefetch.state().is_some()));
    let environment = std::fs::read_to_string(out.join("environment.json")).unwrap();
    assert!(environment.contains(r#""prefetcher": "streamer""#));
}

#[test]
fn registers_are_back_before_anything_is_printed() {
    let (tree, out) = (Tree::new(), tempfile::tempdir().unwrap());
    let before = tree.bytes();
    let out = out.path().join("run");
    // A pipe that is full, and that nobody reads.
    let (reader, writer) = std::io::pipe().unwrap();
    let set_flags = |flags: i32| {
        // SAFETY: sets the flags of a descriptor that we own.
        assert_eq!(
            unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, flags) },
            0
        );
    };
    set_flags(libc::O_NONBLOCK);
    while (&writer).write(&[b'x'; 512]).is_ok() {}
    set_flags(0);
    let mut command = tree.measure(&out, &["--cpus", "0-7", "--blocks", "2"]);
    command
        .stdout(writer.try_clone().unwrap())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    while !out.join("verdicts.csv").exists() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(tree.bytes(), before);
    assert!(!tree.journal().exists());
    assert!(!out.join("report.html").exists());
    assert!(child.try_wait().unwrap().is_none(), "it waits for a reader");
    drop(reader);
    assert!(child.wait().unwrap().success());
    assert!(out.join("report.html").exists());
}
