//! Verdicts from rows: strata, the placebo, and what `--fail-on` says of runs that measured nothing.

use assert_cmd::Command;
use hitm::experiment::{Arm, Ending, Invalid, Pace, Point, Sample, Stratum, TransferBin};
use hitm::judge::{Terms, VerdictRow, shown, verdicts};
use hitm::machine::Placement;
use hitm::results::RunFolder;
use hitm::stats::Verdict;
use tempfile::TempDir;

/// Rows of the baseline `a`, its controls and `b`: times by block and arm, in nanoseconds.
fn rows(blocks: u64, ns: impl Fn(u64, &str) -> f64) -> Vec<Sample> {
    let point = Point {
        scenario: "one-vma".parse().unwrap(),
        placement: Placement::Compact,
        threads: 2,
    };
    let mut rows = Vec::new();
    for block in 0..blocks {
        for (order, name) in ["a", "baseline-again", "baseline-recompiled", "b"]
            .into_iter()
            .enumerate()
        {
            let noise = ((block * 7 + order as u64 * 13) % 11) as f64 * 1e-4;
            let code = match name {
                "b" => "refcount",
                "baseline-recompiled" => "rwsem-recompiled",
                _ => "rwsem",
            };
            rows.push(Sample {
                block,
                order,
                ns_per_fault: ns(block, name) * (1.0 + noise),
                first_slot: Some((block % 2) as usize),
                stratum: Stratum {
                    slot: Some((block % 2) as u32),
                    transfer_ns: Some(TransferBin::Near),
                    pace: Some(Pace::Full),
                },
                code: code.to_owned(),
                baseline: Some("a".parse().unwrap()),
                margin: Some(0.02),
                run: "run".to_owned(),
                ..Sample::new(name.parse().unwrap(), point.clone())
            });
        }
    }
    rows
}

fn judged(rows: &[Sample]) -> Vec<VerdictRow> {
    let terms = Terms {
        baseline: "a".parse().unwrap(),
        margin: 0.02,
        ending: Ending::BudgetSpent,
    };
    verdicts(rows, &terms)
}

fn of<'r>(rows: &'r [VerdictRow], arm: &str) -> Vec<&'r VerdictRow> {
    let arm: Arm = arm.parse().unwrap();
    shown(rows).filter(|row| row.arm == arm).collect()
}

#[test]
fn a_layout_that_wins_in_one_slot_and_loses_in_the_other_depends() {
    let rows = judged(&rows(40, |block, name| match (name, block % 2) {
        ("b", 0) => 30.0,
        ("b", _) => 105.0,
        _ => 100.0,
    }));
    let b = of(&rows, "b");
    assert_eq!(b.len(), 3, "{b:?}");
    assert_eq!(b[0].verdict, Verdict::Depends);
    assert_eq!((b[0].ratio, b[0].ratio_low, b[0].blocks), (None, None, 40));
    assert_eq!(b[0].depends_on, "slot");
    let said: Vec<_> = b[1..]
        .iter()
        .map(|row| (row.stratum.slot, row.verdict))
        .collect();
    assert_eq!(
        said,
        [
            (Some(0), Verdict::Improvement),
            (Some(1), Verdict::Regression)
        ]
    );
    // One answer for all of an arm whose strata agree, and each state for whoever compares runs.
    assert_eq!(of(&rows, "baseline-again").len(), 1);
    let cells = rows
        .iter()
        .filter(|row| row.arm == Arm::Again && !row.is_whole());
    assert_eq!(cells.count(), 2);
}

#[test]
fn a_difference_of_other_code_counts_beyond_the_placebo_only() {
    let with = |placebo: f64, b: f64| {
        let rows = judged(&rows(40, |_, name| match name {
            "b" => b,
            "baseline-recompiled" => placebo,
            _ => 100.0,
        }));
        of(&rows, "b")[0].verdict
    };
    assert_eq!(with(100.0, 104.0), Verdict::Regression);
    assert_eq!(with(103.0, 104.0), Verdict::Regression);
    assert_eq!(with(105.0, 104.0), Verdict::CodeNoise);
    // The size counts and not the direction.
    assert_eq!(with(95.0, 104.0), Verdict::CodeNoise);
    assert_eq!(with(105.0, 100.5), Verdict::Equivalent);
}

#[test]
fn layouts_of_the_same_code_are_not_held_against_the_placebo() {
    let mut rows = rows(40, |_, name| match name {
        "b" => 104.0,
        "baseline-recompiled" => 110.0,
        _ => 100.0,
    });
    for row in &mut rows {
        row.code = match row.arm {
            Arm::Recompiled => "other".to_owned(),
            _ => "one".to_owned(),
        };
    }
    assert_eq!(of(&judged(&rows), "b")[0].verdict, Verdict::Regression);
}

#[test]
fn a_cost_in_few_blocks_is_said_beside_the_ratio_that_does_not_hold_it() {
    let rows = rows(200, |block, name| match (name, block % 10) {
        ("b", 3) => 180.0,
        _ => 100.0,
    });
    let judged = judged(&rows);
    let b = of(&judged, "b")[0];
    assert_eq!(b.verdict, Verdict::Equivalent, "{b:?}");
    assert!((b.tail_share.unwrap() - 0.1).abs() < 1e-9, "{b:?}");
    assert!((b.tail_ratio.unwrap() - 1.8).abs() < 0.01, "{b:?}");
    assert_eq!(of(&judged, "baseline-again")[0].tail_share, None);
    let (_, table, _) = printed(&rows, &[]);
    assert!(
        table.contains("    a tail: in 10.0 % of the blocks 1.80 times as slow as in the others\n"),
        "{table}"
    );
}

/// `hitm verdicts` on these rows: exit status, stdout, stderr.
fn printed(rows: &[Sample], more: &[&str]) -> (Option<i32>, String, String) {
    let dir = TempDir::new().unwrap();
    let run = dir.path().join("run");
    let mut folder = RunFolder::create(Some(&run), "r", &[]).unwrap();
    folder.append_block(rows).unwrap();
    drop(folder);
    let output = Command::cargo_bin("hitm")
        .unwrap()
        .arg("verdicts")
        .arg(&run)
        .args(more)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_run_of_which_hardly_anything_was_usable_does_not_look_fine() {
    let mut rows = rows(40, |_, name| if name == "b" { 120.0 } else { 100.0 });
    for row in rows.iter_mut().skip(2) {
        row.invalidate(&Invalid::Stolen(1_000_000));
    }
    let (status, table, said) = printed(&rows, &["--fail-on", "undecided"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("undecided: b against a"), "{said}");
    assert!(
        table.starts_with("Hardly anything was measured: only 2 of 160 samples could be used."),
        "{table}"
    );
    assert!(
        table.contains('*'),
        "times of few samples are marked: {table}"
    );
    // Whatever is asked for: nothing is known of the noise.
    let (status, _, said) = printed(&rows, &["--fail-on", "regression"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("too few blocks to say how noisy it was"),
        "{said}"
    );
    let (status, ..) = printed(&rows, &[]);
    assert_eq!(status, Some(0));
}

#[test]
fn fail_on_takes_both_words_and_names_the_state() {
    let rows = rows(64, |block, name| match (name, block % 2) {
        ("b", 0) => 95.0,
        ("b", _) => 110.0,
        _ => 100.0,
    });
    let (status, table, said) = printed(&rows, &["--fail-on", "regression,undecided"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("regressions: b against a (one-vma, 2 threads, odd slots)"),
        "{said}"
    );
    assert!(
        said.contains("undecided: b against a (one-vma, 2 threads)"),
        "{said}"
    );
    assert!(table.contains("  depends "), "{table}");
    assert!(table.contains("    odd slots"), "{table}");
}

#[test]
fn a_failing_control_is_its_own_finding() {
    let again = rows(64, |_, name| {
        if name == "baseline-again" {
            110.0
        } else {
            100.0
        }
    });
    let (status, _, said) = printed(&again, &["--fail-on", "regression"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains(
            "baseline-again differs from the baseline, so no verdict here is to be trusted"
        ),
        "{said}"
    );
    let placebo = rows(64, |_, name| {
        if name == "baseline-recompiled" {
            110.0
        } else {
            100.0
        }
    });
    let (status, _, said) = printed(&placebo, &["--fail-on", "undecided"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("code alone makes a difference"), "{said}");
    let fine = rows(64, |_, _| 100.0);
    assert_eq!(
        printed(&fine, &["--fail-on", "regression,undecided"]).0,
        Some(0)
    );
}

/// Python's standard library is all that the script needs.
#[test]
fn the_reference_script_computes_every_ratio_and_interval_again() {
    let python = std::process::Command::new("python3")
        .arg("--version")
        .output();
    if python.is_err() {
        eprintln!("not tested: there is no python3 here");
        return;
    }
    let dir = TempDir::new().unwrap();
    let runs = [
        "--threads 1 --blocks 17 --scenario one-vma",
        "--threads 1 --budget 1s --scenario one-vma",
        "--threads 2 --blocks 6 --prefetch ab --first-slot 1 --scenario one-vma",
        "--threads 2 --blocks 7 --scenario vma-per-thread --margin 0",
    ];
    let mut folders = Vec::new();
    for (n, more) in runs.iter().enumerate() {
        let out = dir.path().join(format!("run{n}"));
        let layouts = "split-packed,embedded-refcount-192";
        Command::cargo_bin("hitm")
            .unwrap()
            .args(["sim", "--machine", "broadwell-ep", "--layouts", layouts])
            .args(["--seed", "3"])
            .args(more.split_whitespace())
            .arg("--out")
            .arg(&out)
            .assert()
            .success();
        folders.push(out);
    }
    let case = dir.path().join("case");
    Command::cargo_bin("hitm")
        .unwrap()
        .args([
            "sim",
            "--machine",
            "zen4",
            "--case",
            "page_counter",
            "--blocks",
            "16",
        ])
        .arg("--out")
        .arg(&case)
        .assert()
        .success();
    folders.push(case);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/recompute");
    let output = std::process::Command::new(script)
        .args(&folders)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // It can fail: a ratio in the tenth digit.
    let file = folders[0].join("verdicts.csv");
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("embedded-refcount-192,0."))
        .unwrap();
    let ratio = line.split(',').nth(8).unwrap();
    let wrong = format!("{}", ratio.parse::<f64>().unwrap() + 2e-9);
    std::fs::write(&file, text.replacen(ratio, &wrong, 1)).unwrap();
    let output = std::process::Command::new(script)
        .args(&folders[..1])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
