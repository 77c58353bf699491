//! What scripts may rely on: exit statuses, one line on an error, columns, files of a run folder.
//!
//! Here: running the binary, which every test does, and reading what it wrote. Nothing depends on
//! how busy the machine is: where samples may be set aside, a test holds for that as well.

mod case;
mod case_new;
mod dry_run;
mod explain;
mod folder;
mod import;
mod interrupted;
mod layout_map;
mod layouts;
mod output;
mod refused;
mod resume;
mod study;
mod suggest;
mod verdicts;

use assert_cmd::Command;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

const SMALL: &str = "--layouts split-packed,split-aligned --scenario one-vma --threads 1";

/// `hitm`, started in `dir`.
fn hitm(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("hitm").unwrap();
    command.current_dir(dir).env_remove("NO_COLOR");
    command
}

/// The same where a test needs the running child.
fn hitm_child(dir: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("hitm"));
    command.current_dir(dir).env_remove("NO_COLOR");
    command
}

fn run(dir: &Path, args: &str) -> Output {
    hitm(dir)
        .args(args.split_whitespace())
        .timeout(Duration::from_secs(60))
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Succeeds, or says why not.
fn succeed(dir: &Path, args: &str) -> String {
    let output = run(dir, args);
    assert_eq!(output.status.code(), Some(0), "{args}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The rows of a CSV by column name.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .from_path(path)
        .unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

fn header(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let first = text.lines().find(|line| !line.starts_with('#'));
    first.unwrap().to_owned()
}

/// Asserts that blocks 0 to `count` are there, each with every arm and every position once.
fn whole_blocks(rows: &[BTreeMap<String, String>], count: u64) {
    let mut blocks: BTreeMap<u64, Vec<(&str, usize)>> = BTreeMap::new();
    for row in rows {
        let block = blocks.entry(row["block"].parse().unwrap()).or_default();
        block.push((&row["layout"], row["order"].parse().unwrap()));
    }
    assert_eq!(
        blocks.keys().copied().collect::<Vec<_>>(),
        (0..count).collect::<Vec<_>>()
    );
    let all: BTreeSet<&str> = rows.iter().map(|row| row["layout"].as_str()).collect();
    for (number, block) in blocks {
        assert_eq!(block.len(), all.len(), "block {number}: {block:?}");
        let arms: BTreeSet<&str> = block.iter().map(|(arm, _)| *arm).collect();
        let orders: BTreeSet<usize> = block.iter().map(|(_, order)| *order).collect();
        assert_eq!(arms, all, "block {number}");
        assert_eq!(orders, (0..block.len()).collect(), "block {number}");
    }
}

fn environment(out: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(out.join("environment.json")).unwrap()).unwrap()
}
