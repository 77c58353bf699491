//! `hitm study`: what may be asked for, and that a seeded study says the same each time.

use super::{run, stderr, succeed};
use tempfile::TempDir;

const STUDIES: [&str; 10] = [
    "calibration",
    "estimators",
    "false-alarms",
    "power",
    "null",
    "prediction",
    "control",
    "sharing",
    "overhead",
    "counting",
];

#[test]
fn the_studies_are_listed_with_how_long_they_take() {
    let dir = TempDir::new().unwrap();
    for args in ["study", "study --help"] {
        let list = succeed(dir.path(), args);
        for study in STUDIES {
            let line = list.lines().find(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some(study) && words.next().is_some()
            });
            let line = line.unwrap_or_else(|| panic!("{args}: no {study} in {list}"));
            assert!(line.ends_with(" s)") || line.ends_with(" min)"), "{line}");
        }
    }
}

#[test]
fn what_is_no_study_or_cannot_be_counted_is_refused() {
    let dir = TempDir::new().unwrap();
    for (args, says) in [
        ("calibraton", "calibration"),
        ("nonsense", "nonsense"),
        ("calibration 2000", "2000"),
        ("calibration --comparisons 0", "1..=1000000"),
        ("calibration --shape gaussian", "unknown shape 'gaussian'"),
        ("estimators --comparisons many", "many"),
        ("power --percent", "--percent"),
        ("power --margin 200", "percentage"),
        ("false-alarms --budget 0s", "above 0"),
        ("false-alarms --threads 0", "1..=8192"),
        ("false-alarms --scenario nonsense", "scenario"),
        ("null --trials 0", "1..=1000000"),
        ("sharing --blocks 3", "10..=1000000"),
        ("calibration --format xml", "csv"),
    ] {
        let output = run(dir.path(), &format!("study {args}"));
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args}: {message}");
        assert!(output.stdout.is_empty(), "{args}");
        assert_eq!(message.matches('\n').count(), 1, "{args}: {message}");
        assert!(message.contains(says), "{args}: {message}");
    }
}

#[test]
fn a_seeded_study_says_the_same_each_time() {
    let dir = TempDir::new().unwrap();
    let args = "study calibration --comparisons 2 --seed 7 --shape normal --format csv";
    let csv = succeed(dir.path(), args);
    insta::assert_snapshot!(csv);
    assert_eq!(succeed(dir.path(), args), csv);
}

#[test]
fn the_forms_of_a_study_have_the_same_rows() {
    let dir = TempDir::new().unwrap();
    let study = |form: &str| {
        let args = format!("study estimators --comparisons 3 --shape laplace --format {form}");
        succeed(dir.path(), &args)
    };
    let csv = study("csv");
    let header = "shape,trim,units,comparisons,misses_percent,median_width_percent";
    assert_eq!(csv.lines().next(), Some(header));
    let json: serde_json::Value = serde_json::from_str(&study("json")).unwrap();
    assert_eq!(json.as_array().unwrap().len(), csv.lines().count() - 1);
    // A line for 8, 16 and 64 units.
    assert_eq!(study("table").matches("\nlaplace ").count(), 3);
}
