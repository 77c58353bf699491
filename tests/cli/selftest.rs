//! `hitm selftest`: the checks without a clock, and what a script sees of them.

use super::{run, stderr, succeed};
use std::fs;
use tempfile::TempDir;

#[test]
fn checks_without_a_clock_pass_anywhere_and_leave_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let mut command = super::hitm(dir.path());
    let output = command
        .env("TMPDIR", dir.path())
        .args(["selftest", "journal", "determinism", "--format", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let found: Vec<_> = rows.as_array().unwrap().iter().collect();
    assert_eq!(found.len(), 2);
    for (row, check) in found.into_iter().zip(["determinism", "journal"]) {
        assert_eq!(
            (&row["check"], &row["finding"]),
            (&check.into(), &"PASS".into())
        );
        assert!(!row["figure"].as_str().unwrap().is_empty(), "{row}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_rows_are_the_same_in_every_form() {
    let dir = TempDir::new().unwrap();
    let csv = succeed(dir.path(), "selftest journal --format csv");
    assert!(
        csv.starts_with("check,finding,figure,reason,seconds\njournal,PASS,"),
        "{csv}"
    );
    let table = succeed(dir.path(), "selftest journal");
    assert!(table.starts_with("PASS  journal"), "{table}");
}

#[test]
fn a_place_without_room_for_files_is_skipped_and_an_unknown_check_refused() {
    let dir = TempDir::new().unwrap();
    let mut command = super::hitm(dir.path());
    command.env("TMPDIR", dir.path().join("not-there"));
    let output = command.args(["selftest", "journal"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("SKIP  journal") && text.contains("TMPDIR"),
        "{text}"
    );
    let unknown = run(dir.path(), "selftest jurnal");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("journal"), "{}", stderr(&unknown));
}
