//! `hitm sim --explain` and `--timeline`: one schema for cases and fault paths, nothing overwritten.

use super::{header, rows, run, stderr, succeed};
use std::fs;
use tempfile::TempDir;

#[test]
fn an_explanation_names_role_and_field_and_lies_beside_the_run() {
    let dir = TempDir::new().unwrap();
    let case = "sim --machine broadwell-ep --case mem_cgroup --threads 8 --blocks 1 --explain \
                --out case";
    let faults = "sim --machine broadwell-ep --scenario one-vma --threads 4 --blocks 1 \
                  --layouts embedded-refcount-192 --first-slot 1 --explain --out faults";
    succeed(dir.path(), case);
    succeed(dir.path(), faults);
    let of = |folder: &str| dir.path().join(folder).join("explanation.csv");
    assert_eq!(header(&of("case")), header(&of("faults")));
    for (folder, field) in [
        ("case", "mem_cgroup moving_account"),
        ("faults", "vma 1 vm_refcnt"),
    ] {
        let rows = rows(&of(folder));
        let is_it = |event: &str| {
            let mut all = rows.iter();
            all.any(|row| {
                (&*row["event"], &*row["role"], &*row["field"]) == (event, "fault", field)
            })
        };
        assert!(is_it("waited"), "{folder}");
        // Of the first layout.
        let time = &rows[0]["ns_per_fault"];
        let of_it = rows.iter().filter(|row| row["ns_per_fault"] == *time);
        let waits = of_it.filter(|row| row["event"] == "waited");
        let waits: f64 = waits.map(|row| row["ns"].parse::<f64>().unwrap()).sum();
        let time: f64 = time.parse().unwrap();
        assert!(waits > 0.0 && waits <= time, "{folder}: {waits} of {time}");
        let columns = include_str!("../../results/README.md");
        for column in rows[0].keys() {
            assert!(columns.contains(&format!("`{column}`")), "{column}");
        }
        assert!(dir.path().join(folder).join("verdicts.csv").exists());
    }
}

#[test]
fn explanations_of_several_machines_are_one_document() {
    let dir = TempDir::new().unwrap();
    let line = "sim --machine broadwell-ep,zen4 --scenario one-vma --threads 2 --blocks 1 \
                --layouts split-packed --explain --format";
    for folder in ["", " --out run"] {
        let text = succeed(dir.path(), &format!("{line} json{folder}"));
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        for machine in ["broadwell-ep", "zen4"] {
            let of_it = |row: &serde_json::Value| row["machine"] == machine;
            assert!(rows.as_array().unwrap().iter().any(of_it), "{text}");
        }
    }
    let text = succeed(dir.path(), &format!("{line} csv"));
    let headers = text.lines().filter(|line| line.starts_with("machine,"));
    assert_eq!(headers.count(), 1, "{text}");
    let text = succeed(dir.path(), &format!("{line} table"));
    for machine in ["broadwell-ep", "zen4"] {
        assert!(
            text.contains(&format!("split-packed on {machine}")),
            "{text}"
        );
    }
}

#[test]
fn a_timeline_names_threads_and_fields_and_overwrites_nothing() {
    let dir = TempDir::new().unwrap();
    let line = "sim --machine broadwell-ep --scenario churn-typesafe --threads 2 --blocks 1 \
                --layouts split-packed --timeline trace.json";
    succeed(dir.path(), line);
    let text = fs::read_to_string(dir.path().join("trace.json")).unwrap();
    let trace: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().len() > 100);
    for name in [
        "\"fault 0, core 0\"",
        "\"fault 1, core 1: prefetches\"",
        "mm mmap_lock.count\"",
    ] {
        assert!(text.contains(name), "{name}");
    }
    let again = run(dir.path(), line);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("nothing is overwritten"));
    let folder = run(dir.path(), &format!("{line} --out new"));
    assert_eq!(folder.status.code(), Some(2));
    assert!(!dir.path().join("new").exists());
    let after = fs::read_to_string(dir.path().join("trace.json")).unwrap();
    assert_eq!(after, text);
}
