//! Bad input, and what the machine cannot do: refused before anything is measured or written.

use super::{run, stderr};
use std::fs;
use tempfile::TempDir;

/// Asserts exit status, one line on stderr, silence on stdout and that no file was left.
fn refused(args: &str, status: i32, says: &[&str]) {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "no,samples\n1,2\n").unwrap();
    let output = run(dir.path(), args);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(status), "{args}: {message}");
    assert!(output.stdout.is_empty(), "{args}: {output:?}");
    assert!(message.starts_with("hitm: "), "{args}: {message}");
    assert_eq!(message.matches('\n').count(), 1, "{args}: {message}");
    for part in says {
        assert!(message.contains(part), "{args}: no '{part}' in {message}");
    }
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["file"], "{args}: something was left behind");
}

#[test]
fn an_unknown_name_comes_with_the_nearest_valid_ones() {
    refused("run --layouts split-paked", 2, &["split-packed"]);
    refused("run --layouts split-packed,nope", 2, &["layout 'nope'"]);
    refused("run --scenario vma-per-thraed", 2, &["vma-per-thread"]);
    refused("run --placement compakt", 2, &["compact"]);
    refused(
        "layout show embeded-refcount-192",
        2,
        &["embedded-refcount-192"],
    );
    refused("run --thread 1", 2, &["--threads"]);
    refused("prob", 2, &["probe"]);
}

#[test]
fn a_missing_command_is_an_error_that_says_where_to_look() {
    refused("", 2, &["--help"]);
    refused("layout", 2, &["--help"]);
}

#[test]
fn a_number_out_of_its_range_is_refused() {
    refused("run --threads 0", 2, &["0 threads"]);
    refused("run --threads 1,0", 2, &["0 threads"]);
    refused("run --threads two", 2, &["'two'"]);
    refused("run --threads -1", 2, &[]);
    refused("run --threads 4-2", 2, &["'4-2'"]);
    refused("run --threads 1-999999999", 2, &["'1-999999999'"]);
    refused("run --page-work 200", 2, &["'200' has no unit", "200ns"]);
    refused("run --layouts ,", 2, &["layout", "empty"]);
    refused("run --layouts split-packed,", 2, &["layout", "empty"]);
    refused("run --scenario one-vma,", 2, &["scenario", "empty"]);
    refused("run --layouts baseline-again", 2, &["baseline"]);
    refused("run --layouts baseline-recompiled", 2, &["baseline"]);
    refused(
        "run --layouts split-packed,baseline-recompiled",
        2,
        &["'baseline-recompiled' is named twice"],
    );
    refused(
        "sim --machine zen4 --layouts split-packed,baseline-recompiled",
        2,
        &["baseline-recompiled", "a sim run executes none"],
    );
    refused("run --budget 0", 2, &["above 0"]);
    refused("run --budget 0s", 2, &["above 0"]);
    refused("run --budget forever", 2, &["60s"]);
    refused("run --blocks 0", 2, &["--blocks"]);
    refused("run --margin 200", 2, &["0 to 100"]);
    refused("run --margin NaN", 2, &["0 to 100"]);
    refused("run --first-slot 2", 2, &["--first-slot"]);
    refused("run --page-work lots", 2, &["clear-page"]);
    refused("run --page-work 5s", 2, &["longer than 4 seconds"]);
    refused("run --layouts split-packed+101%", 2, &["0 to 100"]);
    refused("run --seed 18446744073709551616", 2, &["--seed"]);
}

#[test]
fn a_shard_that_is_none_or_empty_is_refused() {
    for shard in ["0/2", "3/2", "1/0", "1", "a/b", "1/2/3"] {
        refused(&format!("run --shard {shard}"), 2, &["I/N"]);
    }
    refused("run --threads 1 --shard 9/9", 2, &["empty"]);
}

#[test]
fn an_impossible_placement_is_refused_by_what_the_machine_lacks() {
    refused(
        "run --threads 100000",
        3,
        &["100000 threads", "--oversubscribe"],
    );
    refused("run --placement 0,8191 --threads 2", 3, &["CPU 8191"]);
    refused("run --placement 0,0", 2, &["twice"]);
    refused("run --placement 3-1", 2, &["backwards"]);
    refused(
        "run --scenario readers-writer --threads 1",
        2,
        &["2 threads"],
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_found_out_before_anything_is_measured() {
    refused("run --out file/below", 2, &["file/below", "--out"]);
    refused(
        "run --out /proc/hitm-has-no-folder-here",
        3,
        &["/proc/", "--out"],
    );
    refused("run --out /proc", 2, &["not empty"]);
    refused("plot file --out file/below", 2, &["file"]);
}

#[test]
fn a_folder_that_holds_anything_is_not_overwritten() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("precious"), "data").unwrap();
    let output = run(dir.path(), "run --blocks 1 --threads 1 --out out");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not empty"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn an_input_that_is_no_run_is_refused_with_its_path() {
    refused("plot", 2, &["<FILES>"]);
    refused("plot nowhere.csv", 2, &["nowhere.csv"]);
    refused("plot file", 2, &["file", "column 'run'"]);
    refused("verdicts", 2, &["<FILES>"]);
    refused("verdicts nowhere.csv", 2, &["nowhere.csv"]);
    refused("verdicts file", 2, &["file", "column 'run'"]);
    refused("run --resume nowhere", 2, &["nowhere"]);
    refused("run --resume .", 2, &["environment.json"]);
}

#[test]
fn a_fault_time_that_cannot_be_had_is_refused_with_what_a_fault_takes() {
    let simulated = "sim --machine zen5 --scenario one-vma --threads 1 --fault-time";
    refused(&format!("{simulated} 5ns"), 2, &["split-packed", "takes 2"]);
    refused(&format!("{simulated} 2s"), 2, &["1ms at most"]);
    refused(&format!("{simulated} soon"), 2, &["'soon'"]);
    refused(
        &format!("{simulated} 517ns --page-work 100ns"),
        2,
        &["--page-work"],
    );
    let simulated = "sim --machine zen5 --scenario one-vma --threads 1 --page-work";
    refused(&format!("{simulated} 40ms"), 2, &["40ms", "1ms at most"]);
}

#[test]
fn a_machine_that_is_unknown_or_too_small_is_refused() {
    refused("sim", 2, &["--machine"]);
    refused("sim --machine brodwell-ep", 2, &["broadwell-ep"]);
    refused("sim --machine file", 2, &["file"]);
    refused("sim --machine zen4 --threads 0", 2, &["0 threads"]);
    refused("sim --machine skylake-client --threads 1000", 2, &["1000"]);
    refused(
        "sim --machine zen4 --scenario nope",
        2,
        &["scenario 'nope'"],
    );
    refused("sim --machine zen4 --threads 2 --out file/x", 2, &["--out"]);
}

#[test]
fn a_resumed_run_takes_no_design_of_its_own() {
    for option in [
        "--layouts split-packed",
        "--import own=btf",
        "--scenario one-vma",
        "--threads 1",
        "--placement compact",
        "--margin 5",
        "--page-work 1us",
        "--first-slot 1",
        "--seed 1",
        "--shard 1/2",
        "--out there",
        "--counters none",
        "--address-map map",
        "--label text",
        "--oversubscribe",
        "--which streamer",
        "--cpus 0",
        "--msr-root there",
    ] {
        refused(&format!("run --resume there {option}"), 2, &["--resume"]);
    }
}
