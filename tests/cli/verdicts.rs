//! Verdicts from rows alone: the same that the run wrote, and the same from shards.

use super::{hitm_child, rows, run, stderr, succeed};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

/// What `hitm verdicts` prints as CSV, without the times per fault that it adds.
fn judged(dir: &Path, args: &str) -> String {
    let text = succeed(dir, &format!("verdicts {args} --format csv"));
    let cut = |line: &str| line.rsplitn(3, ',').last().unwrap().to_owned() + "\n";
    text.lines().map(cut).collect()
}

fn written(out: &Path) -> String {
    fs::read_to_string(out.join("verdicts.csv")).unwrap()
}

const SIM: &str = "sim --machine broadwell-ep --scenario one-vma,random-vma --threads 1,4 \
                   --layouts split-packed,split-aligned,embedded-refcount-192";

#[test]
fn rows_alone_give_the_verdicts_of_the_simulated_run() {
    let dir = TempDir::new().unwrap();
    for (out, how) in [
        ("blocks", "--blocks 12"),
        ("ab", "--blocks 10 --prefetch ab"),
    ] {
        succeed(dir.path(), &format!("{SIM} {how} --out {out}"));
        let written = written(&dir.path().join(out));
        assert_eq!(judged(dir.path(), out), written, "{how}");
        // A fixed number of blocks is in the rows; the margin is the usual one.
        fs::copy(
            dir.path().join(out).join("samples.csv"),
            dir.path().join("alone.csv"),
        )
        .unwrap();
        assert_eq!(judged(dir.path(), "alone.csv"), written, "{how}");
    }
    let states = rows(&dir.path().join("ab/verdicts.csv"));
    let states: BTreeSet<String> = states.iter().map(|row| row["prefetch"].clone()).collect();
    assert_eq!(states, ["off", "on", "on-off"].map(str::to_owned).into());
}

#[test]
fn rows_alone_give_the_verdicts_of_a_run_and_of_one_that_went_on() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let args = "--layouts split-packed,mmap-lock,split-packed+50% --scenario one-vma --threads 1";
    succeed(
        dir.path(),
        &format!("run {args} --budget 1s --margin 5 --out out"),
    );
    assert_eq!(judged(dir.path(), "out"), written(&out));
    let blocks = rows(&out.join("samples.csv")).len() / 4;
    succeed(
        dir.path(),
        &format!("run --resume out --blocks {}", blocks + 20),
    );
    assert_eq!(judged(dir.path(), "out"), written(&out));
    succeed(dir.path(), "run --resume out --budget 1s");
    assert_eq!(judged(dir.path(), "out"), written(&out));
}

#[test]
fn what_rows_do_not_say_is_assumed_and_said() {
    let dir = TempDir::new().unwrap();
    succeed(dir.path(), &format!("{SIM} --budget 300ms --out out"));
    fs::copy(dir.path().join("out/samples.csv"), dir.path().join("x.csv")).unwrap();
    let said = stderr(&run(dir.path(), "verdicts x.csv"));
    assert!(said.contains("taken as interrupted"), "{said}");
    let said = stderr(&run(dir.path(), "verdicts out"));
    assert_eq!(said, "");
    let said = stderr(&run(dir.path(), "verdicts out out"));
    assert!(said.contains("counts once"), "{said}");
}

#[test]
fn the_margin_is_that_of_the_rows() {
    let dir = TempDir::new().unwrap();
    let args = "--layouts split-packed,embedded-refcount-192 --scenario one-vma --threads 1";
    succeed(
        dir.path(),
        &format!("sim --machine zen4 {args} --blocks 12 --margin 90 --out out"),
    );
    let alone = dir.path().join("alone.csv");
    fs::copy(dir.path().join("out/samples.csv"), &alone).unwrap();
    assert!(
        rows(&alone)
            .iter()
            .all(|row| row["margin"].parse() == Ok(0.9))
    );
    let written = written(&dir.path().join("out"));
    assert!(!written.contains(",improvement,"), "{written}");
    assert_eq!(judged(dir.path(), "alone.csv"), written);
    let asked = judged(dir.path(), "alone.csv --margin 2");
    assert!(asked.contains(",improvement,"), "{asked}");
    // Rows of version 1 do not say it.
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/reference-zen4-vm");
    fs::copy(old.join("samples.csv"), dir.path().join("old.csv")).unwrap();
    let said = stderr(&run(dir.path(), "verdicts old.csv --baseline split-packed"));
    assert!(said.contains("2 % is taken"), "{said}");
}

#[test]
fn files_of_version_1_are_judged_once_they_have_a_baseline() {
    let dir = TempDir::new().unwrap();
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/reference-zen4-vm");
    // Its environment.json names the baseline.
    let text = judged(dir.path(), old.to_str().unwrap());
    assert_eq!(text.lines().count(), 1 + 4 * 8);
    fs::copy(old.join("samples.csv"), dir.path().join("old.csv")).unwrap();
    let output = run(dir.path(), "verdicts old.csv");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--baseline"), "{output:?}");
    assert_eq!(judged(dir.path(), "old.csv --baseline split-packed"), text);
    let other = judged(dir.path(), "old.csv --baseline mmap-lock");
    assert!(other.contains(",mmap-lock,split-packed,"), "{other}");
    // One that no row has, or that contradicts what is recorded, is not judged by.
    for (asked, says) in [
        ("old.csv --baseline mmap-lok".to_owned(), "mmap-lock"),
        (
            format!("{} --baseline mmap-lock", old.display()),
            "leave it out",
        ),
    ] {
        let output = run(dir.path(), &format!("verdicts {asked}"));
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(says), "{output:?}");
    }
}

#[test]
fn a_file_of_a_later_version_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    succeed(dir.path(), &format!("{SIM} --blocks 1 --out out"));
    let samples = dir.path().join("out/samples.csv");
    let text = fs::read_to_string(&samples).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let at = header.split(',').position(|name| name == "schema").unwrap();
    let later = lines.map(|line| {
        let mut cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[at], "3");
        cells[at] = "4";
        cells.join(",") + "\n"
    });
    let text = format!("{header}\n{}", later.collect::<String>());
    fs::write(&samples, text).unwrap();
    for command in ["verdicts out", "plot out"] {
        let output = run(dir.path(), command);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains("later version of hitm"), "{said}");
        assert!(said.contains("samples.csv"), "{said}");
    }
}

/// Rows as lines of CSV without run id and wall time, sorted.
fn comparable(files: &[&Path]) -> Vec<String> {
    let all = files.iter().flat_map(|file| rows(file));
    let mut lines: Vec<String> = all
        .map(|mut row: BTreeMap<String, String>| {
            row.remove("run");
            row.remove("wall_seconds");
            format!("{row:?}")
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn three_shards_together_are_the_whole_run() {
    let dir = TempDir::new().unwrap();
    let run = |more: &str| succeed(dir.path(), &format!("{SIM} --blocks 10 --seed 5 {more}"));
    run("--out whole");
    for shard in 1..=3 {
        run(&format!("--shard {shard}/3 --out shard{shard}"));
    }
    let shards = [1, 2, 3].map(|shard| dir.path().join(format!("shard{shard}")));
    for file in ["samples.csv", "verdicts.csv"] {
        let parts = shards.each_ref().map(|shard| shard.join(file));
        let parts = parts.each_ref().map(|path| path.as_path());
        let whole = dir.path().join("whole").join(file);
        let (parts, whole) = (comparable(&parts), comparable(&[&whole]));
        assert!(!whole.is_empty());
        assert_eq!(parts, whole, "{file}");
    }
    // As one file, too.
    let texts = shards.map(|shard| fs::read_to_string(shard.join("samples.csv")).unwrap());
    fs::write(dir.path().join("joined.csv"), texts.concat()).unwrap();
    // The last five cells of a line are those of run, label, depends_on and the tail.
    let but_run = |line: &str| line.rsplitn(6, ',').last().map(str::to_owned);
    let sorted = |text: String| text.lines().map(but_run).collect::<BTreeSet<_>>();
    let joined = sorted(judged(dir.path(), "joined.csv"));
    assert_eq!(joined, sorted(written(&dir.path().join("whole"))));
}

#[test]
fn a_row_that_is_there_twice_is_one_sample() {
    let dir = TempDir::new().unwrap();
    succeed(dir.path(), &format!("{SIM} --blocks 10 --out out"));
    let text = fs::read_to_string(dir.path().join("out/samples.csv")).unwrap();
    fs::write(dir.path().join("twice.csv"), text.repeat(2)).unwrap();
    let once = judged(dir.path(), "out");
    assert_eq!(judged(dir.path(), "twice.csv"), once);
    assert_eq!(judged(dir.path(), "out twice.csv"), once);
}

/// Writes the lines of `text` that `part` keeps, below its header.
fn part(text: &str, path: &Path, part: impl Fn(usize, &str) -> bool) {
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let kept = lines.enumerate().filter(|(at, line)| part(*at, line));
    let kept = kept.map(|(_, line)| format!("{line}\n"));
    fs::write(path, format!("{header}\n{}", kept.collect::<String>())).unwrap();
}

#[test]
fn a_run_that_lies_in_several_files_is_judged_as_one() {
    let dir = TempDir::new().unwrap();
    succeed(dir.path(), &format!("{SIM} --blocks 12 --out out"));
    let text = fs::read_to_string(dir.path().join("out/samples.csv")).unwrap();
    let (one, two) = (dir.path().join("p1.csv"), dir.path().join("p2.csv"));
    let once = judged(dir.path(), "out");
    // By design point, and in the middle of blocks.
    part(&text, &one, |_, line| line.contains(",one-vma,"));
    part(&text, &two, |_, line| !line.contains(",one-vma,"));
    assert_eq!(judged(dir.path(), "p1.csv p2.csv"), once);
    part(&text, &one, |at, _| at % 3 == 0);
    part(&text, &two, |at, _| at % 3 != 0);
    assert_eq!(judged(dir.path(), "p1.csv p2.csv"), once);
    assert_eq!(stderr(&run(dir.path(), "verdicts p1.csv p2.csv")), "");
    // The report has them all, too.
    let drawn = |files: &str, out: &str| {
        succeed(dir.path(), &format!("plot {files} --out {out}"));
        let entries = fs::read_dir(dir.path().join(out)).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name())
            .collect::<BTreeSet<_>>()
    };
    fs::copy(
        dir.path().join("out/verdicts.csv"),
        dir.path().join("verdicts.csv"),
    )
    .unwrap();
    assert_eq!(drawn("p1.csv p2.csv", "parts"), drawn("out", "whole"));
}

#[test]
fn two_rows_of_one_sample_with_different_figures_are_refused_by_line() {
    let dir = TempDir::new().unwrap();
    succeed(dir.path(), &format!("{SIM} --blocks 2 --out out"));
    let samples = dir.path().join("out/samples.csv");
    let text = fs::read_to_string(&samples).unwrap();
    let at = text.split(',').position(|name| name == "faults").unwrap();
    let other = text.lines().enumerate().map(|(line, text)| {
        let mut cells: Vec<String> = text.split(',').map(str::to_owned).collect();
        if line == 5 {
            cells[at] += "1";
        }
        cells.join(",") + "\n"
    });
    fs::write(dir.path().join("other.csv"), other.collect::<String>()).unwrap();
    for command in ["verdicts out other.csv", "plot out other.csv --out drawn"] {
        let output = run(dir.path(), command);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = stderr(&output);
        assert!(said.contains("other.csv, line 6: "), "{said}");
        assert_eq!(said.matches('\n').count(), 1, "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn nothing_is_printed_of_files_of_which_one_cannot_be_judged() {
    let dir = TempDir::new().unwrap();
    succeed(dir.path(), &format!("{SIM} --blocks 2 --out good"));
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/reference-zen4-vm");
    fs::copy(old.join("samples.csv"), dir.path().join("old.csv")).unwrap();
    for bad in ["nosuch.csv", "old.csv"] {
        let output = run(dir.path(), &format!("verdicts good {bad}"));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

/// Rows in which the second layout takes 90 ns with the prefetcher on and 70 with it off, and the
/// baseline 100: faster in both states, and yet slower by what the prefetcher does.
#[test]
fn the_attribution_is_no_regression() {
    let dir = TempDir::new().unwrap();
    let args = "--scenario one-vma --threads 1 --layouts split-packed,split-aligned";
    succeed(
        dir.path(),
        &format!("sim --machine broadwell-ep {args} --prefetch ab --blocks 12 --out out"),
    );
    let text = fs::read_to_string(dir.path().join("out/samples.csv")).unwrap();
    let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let (layout, prefetch, time) = (column("layout"), column("prefetch"), column("ns_per_fault"));
    let edited = |aligned_on: &str, file: &str| {
        let lines = text.lines().enumerate().map(|(line, text)| {
            let mut cells: Vec<&str> = text.split(',').collect();
            if line > 0 {
                cells[time] = match (cells[layout], cells[prefetch]) {
                    ("split-aligned", "on") => aligned_on,
                    ("split-aligned", _) => "70",
                    _ => "100",
                };
            }
            cells.join(",") + "\n"
        });
        fs::write(dir.path().join(file), lines.collect::<String>()).unwrap();
        run(
            dir.path(),
            &format!("verdicts {file} --fail-on regression --format csv"),
        )
    };
    let faster = edited("90", "faster.csv");
    let printed = String::from_utf8(faster.stdout).unwrap();
    let attribution = "on-off,split-packed,split-aligned,";
    let attribution = printed.lines().find(|line| line.contains(attribution));
    assert!(attribution.unwrap().contains(",regression,"), "{printed}");
    assert_eq!(faster.status.code(), Some(0));
    let slower = edited("110", "slower.csv");
    assert_eq!(slower.status.code(), Some(1));
    let said = String::from_utf8(slower.stderr).unwrap();
    assert!(
        said.contains("split-aligned against split-packed (one-vma, 1 thread)"),
        "{said}"
    );
    assert_eq!(said.matches("split-aligned").count(), 1, "{said}");
}

#[test]
fn four_runs_of_one_second_in_one_folder_are_four_runs() {
    let dir = TempDir::new().unwrap();
    let args = "sim --machine plain-mesi --scenario one-vma --threads 1 --blocks 1";
    let children: Vec<_> = (0..4)
        .map(|_| {
            hitm_child(dir.path())
                .args(args.split_whitespace())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let folders: Vec<_> = fs::read_dir(dir.path().join("results"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let ids: BTreeSet<String> = folders
        .iter()
        .map(|folder| rows(&folder.join("samples.csv"))[0]["run"].clone())
        .collect();
    assert_eq!((folders.len(), ids.len()), (4, 4));
}

#[test]
fn rows_say_where_they_come_from_and_what_they_are_compared_with() {
    let dir = TempDir::new().unwrap();
    let args = "--layouts mmap-lock,split-packed --scenario one-vma --threads 1 --blocks 2";
    succeed(
        dir.path(),
        &format!("run {args} --label tuned --out native"),
    );
    succeed(
        dir.path(),
        &format!("sim --machine zen4 {args} --out model"),
    );
    for row in rows(&dir.path().join("native/samples.csv")) {
        assert_eq!(
            (row["schema"].as_str(), row["label"].as_str()),
            ("3", "tuned")
        );
        assert_eq!(row["boot_id"].len(), 36);
        assert!(!row["host"].is_empty());
        assert_eq!(row["baseline"], "mmap-lock");
        assert_eq!(row["blocks_planned"], "2");
        let slot: u64 = row["first_slot"].parse().unwrap();
        assert_eq!(row["slot"], (slot % 2).to_string());
        assert_eq!(row["transfer_ns"], "");
        assert_eq!(row["invalid_code"].is_empty(), row["valid"] == "true");
    }
    for row in rows(&dir.path().join("model/samples.csv")) {
        for empty in ["host", "label", "boot_id", "transfer_ns", "pace", "role"] {
            assert_eq!(row[empty], "", "{empty}");
        }
    }
}

/// What one run cannot have measured is not compared.
#[test]
fn rows_of_several_machines_are_no_run() {
    let dir = TempDir::new().unwrap();
    succeed(dir.path(), &format!("{SIM} --blocks 2 --out out"));
    let whole = fs::read_to_string(dir.path().join("out/samples.csv")).unwrap();
    let header: Vec<&str> = whole.lines().next().unwrap().split(',').collect();
    let role = header.iter().position(|there| *there == "role").unwrap();
    let with_role = |line: &str| {
        let mut cells: Vec<&str> = line.split(',').collect();
        cells[role] = "writer";
        cells.join(",") + "\n"
    };
    let of_roles: String = whole.lines().skip(1).map(with_role).collect();
    fs::write(dir.path().join("whole.csv"), &whole).unwrap();
    fs::write(dir.path().join("roles.csv"), whole.clone() + &of_roles).unwrap();
    let judged_whole = judged(dir.path(), "whole.csv");
    assert_eq!(judged(dir.path(), "roles.csv"), judged_whole);
    let said = stderr(&run(dir.path(), "verdicts roles.csv"));
    assert!(said.contains("of one role only"), "{said}");
    let mixed = whole.replacen("broadwell-ep", "zen2", 3);
    fs::write(dir.path().join("mixed.csv"), mixed).unwrap();
    let output = run(dir.path(), "verdicts mixed.csv");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("machine"), "{output:?}");
}

/// The record of a folder is not preferred to that of another for being named first.
#[test]
fn records_that_differ_decide_nothing() {
    let dir = TempDir::new().unwrap();
    succeed(dir.path(), &format!("{SIM} --budget 300ms --out a"));
    succeed(dir.path(), "verdicts a");
    fs::create_dir(dir.path().join("b")).unwrap();
    let (from, to) = (dir.path().join("a"), dir.path().join("b"));
    fs::copy(from.join("samples.csv"), to.join("samples.csv")).unwrap();
    let record = fs::read_to_string(from.join("environment.json")).unwrap();
    let margin = record.replace("\"margin\": 0.02", "\"margin\": 0.5");
    assert_ne!(margin, record);
    fs::write(to.join("environment.json"), margin).unwrap();
    for order in ["a b", "b a"] {
        let output = run(dir.path(), &format!("verdicts {order}"));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains("margin"), "{output:?}");
    }
}
