//! What tables, plots and reports promise.

mod fake;

use anstream::adapter::strip_str;
use hitm::experiment::{Prefetch, Sample, Unmeasured};
use hitm::judge::VerdictRow;
use hitm::report::arms::{ArmTime, arms};
use hitm::report::table::{Format, render};
use hitm::results::{EnvironmentFile, RunFolder, RunRecord};
use hitm::stats::Verdict;
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
        version: Some("0.1.0".into()),
        started: Some("2025-11-14T22:13:20Z".into()),
        command_line: ["hitm", "run", "--scenario", "one-vma"]
            .map(str::to_owned)
            .into(),
        unmeasured: vec![Unmeasured {
            what: "hitm_local".into(),
            why: "this virtual machine has no performance counters".into(),
        }],
        ..RunRecord::default()
    };
    let machine = serde_json::json!({
        "cpu": {"model": "Example EPYC 9B14", "cpus": 2, "smt": true},
        "kernel": "6.1.0", "mitigations": ["spectre_v2: <retpolines>", "mds: not affected"],
        "governor": null,
    });
    folder
        .write_environment(&EnvironmentFile {
            run,
            design: Some(fake::design()),
            machine: Some(machine),
            ..EnvironmentFile::default()
        })
        .unwrap();
    dir
}

fn plot(args: &[&Path]) -> assert_cmd::assert::Assert {
    let mut hitm = assert_cmd::Command::new(env!("CARGO_BIN_EXE_hitm"));
    hitm.arg("plot").args(args).assert()
}

fn stderr(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// A refusal: that exit status, one line.
fn refused(args: &[&Path], code: i32) -> String {
    let line = stderr(&plot(args).code(code).stdout(""));
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    line
}

/// The files in `dir` with that extension, by name.
fn files(dir: &Path, extension: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// What an SVG shows, without where: how many shapes of each kind, and every text.
fn structure(svg: &str) -> String {
    let count = |tag: &str| svg.matches(&format!("<{tag} ")).count();
    let shapes = ["polyline", "circle", "polygon", "rect", "text"];
    let shapes: Vec<String> = shapes
        .iter()
        .map(|tag| format!("{tag} {}", count(tag)))
        .collect();
    let texts = svg.split("<text ").skip(1).map(|text| {
        let text = text.split_once('>').unwrap().1;
        text.split_once("</text").unwrap().0.trim().to_owned()
    });
    let texts: Vec<String> = texts.collect();
    format!("{}\n{}", shapes.join(", "), texts.join("\n"))
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn a_run_of_two_thread_counts_is_drawn_as_rows() {
    let dir = run_folder("few", &[("one-vma", 1, 60), ("one-vma", 2, 60)], |_| ());
    let printed = plot(&[&dir]).success().get_output().stdout.clone();
    let expected = [
        "blocks-one-vma-1.svg",
        "blocks-one-vma-2.svg",
        "ratio-one-vma.svg",
        "time-one-vma.svg",
    ];
    assert_eq!(files(&dir, "svg"), expected);
    for name in expected.iter().chain(&["report.html"]) {
        let path = dir.join(name);
        assert!(String::from_utf8_lossy(&printed).contains(path.to_str().unwrap()));
    }
    insta::assert_snapshot!("rows", structure(&read(&dir, "time-one-vma.svg")));
    insta::assert_snapshot!("ratios", structure(&read(&dir, "ratio-one-vma.svg")));
}

#[test]
fn a_run_of_many_thread_counts_is_drawn_as_a_line_a_layout() {
    let points = [1, 2, 4, 7, 14, 28, 56].map(|n| ("vma-per-thread", n, 20));
    let dir = run_folder("many", &points, |_| ());
    plot(&[&dir]).success();
    insta::assert_snapshot!("lines", structure(&read(&dir, "time-vma-per-thread.svg")));
}

#[test]
fn blocks_are_shown_one_strip_an_arm_and_one_for_the_probe() {
    let dir = run_folder("strips", &[("one-vma", 2, 1000)], |_| ());
    plot(&[&dir]).success();
    let svg = read(&dir, "blocks-one-vma-2.svg");
    for layout in fake::LAYOUTS {
        assert!(svg.contains(layout.0));
    }
    assert!(svg.contains("line-transfer probe") && svg.contains("(1 in 5 is drawn)"));
}

#[test]
fn points_that_differ_in_more_than_threads_have_plots_of_their_own() {
    let dir = run_folder("factors", &[("one-vma", 2, 8), ("churn", 2, 8)], |sample| {
        sample.prefetch = match sample.block % 2 {
            0 => Prefetch::On,
            _ => Prefetch::Off,
        };
    });
    plot(&[&dir]).success();
    let names = files(&dir, "svg");
    for name in [
        "time-one-vma-on.svg",
        "time-one-vma-off.svg",
        "blocks-churn-on-2.svg",
    ] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
}

#[test]
fn a_report_escapes_what_it_is_given_and_needs_nothing_else() {
    let dir = run_folder("escapes", &[("one-vma", 2, 8)], |sample| {
        sample.machine = "<script>alert(1)</script> & \"co\"".into();
        sample.valid = sample.block > 1;
        sample.invalid_reason = if sample.valid {
            ""
        } else {
            "<b>stolen</b> 3 ms; probe"
        }
        .into();
    });
    plot(&[&dir]).success();
    let page = read(&dir, "report.html");
    assert!(!page.contains("<script") && !page.contains("<b>stolen"));
    assert!(page.contains("&lt;b&gt;stolen&lt;/b&gt; … ms"));
    assert!(page.contains("spectre_v2: &lt;retpolines&gt;"));
    assert_eq!(page.matches("<svg ").count(), files(&dir, "svg").len());
    let outside = ["href=", "src=", "url(", "@import"];
    assert!(outside.iter().all(|reference| !page.contains(reference)));
    for said in [
        "baseline-again",
        "--seed 42",
        "no performance counters",
        "hitm run --scenario",
    ] {
        assert!(page.contains(said), "{said}");
    }
    for svg in files(&dir, "svg") {
        assert!(!read(&dir, &svg).contains("<script"));
    }
}

#[test]
fn empty_columns_are_no_obstacle() {
    let dir = run_folder("empty", &[("one-vma", 2, 3)], |sample| {
        sample.probe_ns = None;
        sample.first_slot = None;
        if sample.block == 1 {
            sample.ns_per_fault = f64::NAN;
            sample.faults_per_second = f64::NAN;
        }
    });
    plot(&[&dir]).success();
    let page = read(&dir, "report.html");
    assert!(page.contains("no sample carries a line-transfer probe"));
    assert!(page.contains("an interval of the median needs 6"));
}

#[test]
fn a_run_without_one_valid_sample_is_still_reported() {
    let dir = run_folder("invalid", &[("one-vma", 2, 5)], |sample| {
        sample.valid = false;
        sample.invalid_reason = "migrated".into();
    });
    plot(&[&dir]).success();
    assert!(read(&dir, "report.html").contains("45 of 45 samples are marked invalid"));
    assert!(read(&dir, "blocks-one-vma-2.svg").contains("no valid sample"));
}

#[test]
fn samples_alone_make_a_report_that_says_what_is_missing() {
    let dir = run_folder("alone", &[("one-vma", 2, 8)], |_| ());
    let alone = tempfile::tempdir().unwrap();
    let file = alone.path().join("rows.csv");
    let rows = read(&dir, "samples.csv");
    std::fs::write(&file, &rows[..rows.len() - 5]).unwrap();
    let warnings = stderr(&plot(&[&file]).success());
    assert!(
        warnings.contains("line 73") && warnings.contains("no verdicts"),
        "{warnings}"
    );
    let page = read(alone.path(), "report.html");
    assert!(page.contains("no verdicts.csv beside"));
    assert!(page.contains("line 73: the line has no end"));
    assert_eq!(
        files(alone.path(), "svg"),
        ["blocks-one-vma-2.svg", "time-one-vma.svg"]
    );
}

#[test]
fn bad_input_is_one_line_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.csv");
    let out = dir.path().join("out");
    let file = dir.path().join("x.csv");
    std::fs::write(&file, "run,backend\nr,native\n").unwrap();
    let to_out = |file: &Path| refused(&[file, Path::new("--out"), &out], 2);
    assert!(to_out(&missing).contains("missing.csv"));
    assert!(to_out(&file).contains("'machine' is missing"));
    assert!(!out.exists());
    let good = run_folder("good", &[("one-vma", 1, 2)], |_| ());
    assert!(refused(&[&good, &good], 2).contains("--out"));
    std::fs::write(good.join("verdicts.csv"), "a,b\n").unwrap();
    assert!(refused(&[&good], 2).contains("verdicts.csv"));
    std::fs::remove_file(good.join("verdicts.csv")).unwrap();
    std::fs::write(good.join("environment.json"), "{").unwrap();
    assert!(refused(&[&good], 2).contains("environment.json"));
    assert!(files(&good, "svg").is_empty());
}

/// The rows of a table: verdicts and times of two points.
fn rows() -> (Vec<VerdictRow>, Vec<ArmTime>) {
    let mut samples = fake::samples("one-vma", 1, 60);
    samples.extend(fake::samples("one-vma", 2, 60));
    let mut verdicts = fake::verdicts("one-vma", 1, 60);
    verdicts.extend(fake::verdicts("one-vma", 2, 60));
    // Nothing could be said of this one.
    let row = verdicts.last_mut().unwrap();
    (row.ratio, row.ratio_low, row.ratio_high) = (None, None, None);
    row.verdict = Verdict::Inconclusive;
    let arms = arms(&samples, &verdicts);
    (verdicts, arms)
}

#[test]
fn the_table_is_aligned_and_fits_a_terminal() {
    let (verdicts, arms) = rows();
    let table = render(Format::Table, &verdicts, &arms);
    let table = strip_str(&table).to_string();
    assert!(table.lines().all(|line| line.chars().count() <= 100));
    insta::assert_snapshot!("table", table);
}

#[test]
fn csv_and_json_carry_the_rows_of_the_table() {
    let (verdicts, arms) = rows();
    let csv = render(Format::Csv, &verdicts, &arms);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("verdicts.csv");
    std::fs::write(&file, &csv).unwrap();
    assert_eq!(hitm::results::read_verdicts(&file).unwrap(), verdicts);
    let header = csv.lines().next().unwrap();
    assert!(header.ends_with(
        "blocks_invalid,slot,transfer_ns,pace,role,run,label,depends_on,tail_share,tail_ratio,ns_per_fault,baseline_ns_per_fault"
    ));

    let json = render(Format::Json, &verdicts, &arms);
    let json: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(json.len(), verdicts.len());
    assert_eq!(json[0]["layout"], "baseline-again");
    assert_eq!(json[0]["ratio"], verdicts[0].ratio.unwrap());
    let time = csv.lines().nth(1).unwrap().split(',').nth(23).unwrap();
    assert_eq!(json[0]["ns_per_fault"].as_f64(), time.parse().ok());
    assert!(json.last().unwrap()["ratio"].is_null());
}
