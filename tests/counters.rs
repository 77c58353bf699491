//! `hitm counters`, and the counters that every Linux machine has.

use assert_cmd::Command;
use hitm::counters::{Pmu, Rotation, Scope};
use std::time::{Duration, Instant};

fn hitm(args: &[&str]) -> (String, String, Option<i32>) {
    let output = Command::cargo_bin("hitm")
        .unwrap()
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

#[test]
fn the_kernels_own_counters_count_what_happens_in_the_window_and_only_that() {
    let roles = ["page_faults", "context_switches", "task_clock_ns"];
    let rotation = Rotation::new(&Pmu::here(), &roles, Scope::User).unwrap();
    let mut open = rotation.open(0);
    let touch = || {
        // Above 32 MiB glibc always asks the kernel for fresh pages.
        let mut memory = vec![0u8; 40 << 20];
        memory.chunks_mut(2 << 20).for_each(|page| page[0] = 1);
        std::hint::black_box(memory);
    };
    touch();
    open.enable();
    let began = Instant::now();
    touch();
    std::thread::sleep(Duration::from_millis(2));
    open.disable();
    let wall_ns = began.elapsed().as_nanos() as f64;
    touch();
    let readings = open.read();
    for refused in &readings.missing {
        // A container or a strict sysctl may refuse; then each says what to do.
        assert!(refused.reason.contains("; "), "{}", refused.reason);
    }
    let value = |role: &str| readings.values.get(role).map(|reading| reading.value);
    if let Some(faults) = value("page_faults") {
        assert!(
            (10.0..40.0).contains(&faults),
            "one touch of 20 pages, not three: {faults}"
        );
    }
    assert!(value("context_switches").is_none_or(|switches| switches >= 1.0));
    // 2 ms of the window were slept away.
    assert!(value("task_clock_ns").is_none_or(|ns| ns > 0.0 && ns < wall_ns - 1e6));
    assert_eq!(readings.values.len() + readings.missing.len(), roles.len());

    // The next window starts from nothing.
    open.enable();
    open.disable();
    let again = open.read();
    assert!(
        again
            .values
            .get("context_switches")
            .is_none_or(|reading| reading.value < 50.0)
    );
    assert!(
        again
            .values
            .get("page_faults")
            .is_none_or(|reading| reading.value < 10.0)
    );
}

#[test]
fn an_unknown_microarchitecture_names_the_nearest() {
    let (_, error, status) = hitm(&["counters", "list", "--arch", "brodwell-ep"]);
    assert_eq!(status, Some(2));
    assert_eq!(error.lines().count(), 1);
    assert!(error.contains("broadwell-ep"), "{error}");
}

#[test]
fn csv_and_json_carry_what_a_counter_does_not_mean() {
    let (csv, _, _) = hitm(&[
        "counters",
        "list",
        "--arch",
        "icelake-sp",
        "--format",
        "csv",
    ]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let columns: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let column = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    let row = rows
        .iter()
        .find(|row| &row[column("role")] == "hitm_local")
        .unwrap();
    assert_eq!(&row[column("event")], "MEM_LOAD_L3_HIT_RETIRED.XSNP_FWD");
    assert_eq!(&row[column("config")], "0x4d2");
    assert!(
        row[column("does_not_mean")].contains("clean lines"),
        "{row:?}"
    );

    let (json, _, _) = hitm(&[
        "counters",
        "list",
        "--arch",
        "icelake-sp",
        "--format",
        "json",
    ]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["roles"].as_array().unwrap().len(), rows.len());
    assert!(
        json["metrics"]
            .as_array()
            .unwrap()
            .iter()
            .all(|metric| metric["means"].is_string())
    );
}

#[test]
fn check_says_of_every_role_what_its_trial_showed() {
    let (csv, error, status) = hitm(&["counters", "check", "--format", "csv"]);
    if status == Some(3) {
        assert!(error.contains("two CPUs"), "{error}");
        return;
    }
    assert_eq!(status, Some(0), "{error}");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    assert_eq!(rows.len(), hitm::counters::roles().len());
    for row in &rows {
        let (role, status, fighting, reason) = (&row[0], &row[1], &row[2], &row[4]);
        assert_eq!(status == "works", reason.is_empty(), "{role}");
        // Not measured is empty, never 0.
        assert_eq!(
            status == "missing",
            fighting.is_empty() && status != "unproven",
            "{role}"
        );
    }
}
