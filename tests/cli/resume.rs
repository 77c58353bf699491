//! What a resumed run takes from `environment.json`, and what it does not believe.

use super::{SMALL, environment, rows, run, stderr, succeed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Every file of a folder with its bytes.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_hostile_environment_is_refused_by_file_and_key_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 8 --seed 4 --counters none --out out"),
    );
    let out = dir.path().join("out");
    let file = out.join("environment.json");
    let honest = environment(&out);
    let point = &honest["design"]["points"][0];
    let edits: Vec<(&str, Value, &str)> = vec![
        ("/design/first_slot", json!(2), "first_slot"),
        ("/design/first_slot", json!(1u64 << 40), "first_slot"),
        ("/design/first_slot", json!(-1), "first_slot"),
        ("/design/points/0/threads", json!(0), "points[0].threads"),
        (
            "/design/points/0/threads",
            json!(1_000_000_000),
            "points[0].threads",
        ),
        ("/design/points/0/threads", json!(-1), "points[0].threads"),
        (
            "/design/points/0/scenario",
            json!("no-such"),
            "points[0].scenario",
        ),
        (
            "/design/points/0/scenario",
            json!("readers-writer"),
            "points[0].threads",
        ),
        (
            "/design/points/0/scenario",
            json!("One VMA"),
            "points[0].scenario",
        ),
        (
            "/design/points/0/placement",
            json!("nowhere"),
            "points[0].placement",
        ),
        (
            "/design/points/0/placement",
            json!("0,0"),
            "points[0].placement",
        ),
        (
            "/design/points/0/placement",
            json!(""),
            "points[0].placement",
        ),
        ("/design/points", json!([]), "points"),
        ("/design/points", json!([point, point]), "points[1]"),
        ("/design/margin", Value::Null, "margin"),
        ("/design/margin", json!(-0.1), "margin"),
        ("/design/margin", json!(1e300), "margin"),
        ("/design/margin", json!("NaN"), "margin"),
        ("/design/arms", json!([]), "arms"),
        ("/design/arms", json!(["split-packed"]), "arms"),
        (
            "/design/arms",
            json!(["baseline-again", "split-packed"]),
            "arms",
        ),
        ("/design/arms/2", json!("split-packed"), "arms[2]"),
        ("/design/arms/2", json!("no-such-layout"), "arms[2]"),
        ("/design/arms/2", json!("split-packed+101%"), "arms[2]"),
        ("/design/arms/3", json!("baseline-recompiled"), "arms[3]"),
        ("/design/prefetch", json!([]), "prefetch"),
        ("/design/prefetch", json!(["on"]), "prefetch"),
        ("/design/prefetch", json!(["as-is", "as-is"]), "prefetch"),
        ("/design/prefetch", json!(["sometimes"]), "prefetch"),
        ("/design/prefetch", json!(["on", "off"]), "registers"),
        ("/design/prefetcher", json!("no-such"), "prefetcher"),
        (
            "/design/page_work",
            json!({"nanos": 1u64 << 40}),
            "page_work",
        ),
        ("/design/page_work", json!({"nanos": -1}), "page_work"),
        ("/design/page_work", json!("lots"), "page_work"),
        ("/design/backend", json!("sim"), "backend"),
        ("/design/backend", json!("magic"), "backend"),
        ("/design/machine", json!("another machine"), "machine"),
        ("/design/run", json!("another-run"), "samples.csv"),
        ("/design/run", json!("two\nlines"), "run"),
        ("/design/seed", json!(-1), "seed"),
        ("/design/surprise", json!(1), "surprise"),
        ("/design", Value::Null, "design"),
        ("/settings/blocks", json!(0), "blocks"),
        ("/settings/blocks", json!(-1), "blocks"),
        ("/settings/budget_seconds", json!(0), "budget_seconds"),
        ("/settings/budget_seconds", json!(-1.0), "budget_seconds"),
        ("/settings/budget_seconds", json!(1e300), "budget_seconds"),
        ("/settings/counters", json!(["no_such_role"]), "counters"),
        ("/settings/counters", json!(["two\nlines"]), "counters"),
        ("/settings/counters", json!("all"), "counters"),
        ("/settings/address_map", json!(""), "address_map"),
        ("/settings/address_map", json!("a\0b"), "address_map"),
        (
            "/settings/address_map",
            json!("out/samples.csv"),
            "address_map",
        ),
        ("/settings/oversubscribe", json!("yes"), "oversubscribe"),
        ("/settings/registers", json!({"cpus": "0"}), "registers"),
        ("/settings/surprise", json!(1), "surprise"),
        ("/settings", Value::Null, "settings"),
        // A design that could be measured, but is not the one that the rows are of.
        (
            "/design/arms/0",
            json!("embedded-refcount-192"),
            "samples.csv",
        ),
        (
            "/design/arms/3",
            json!("embedded-refcount-192"),
            "samples.csv",
        ),
        (
            "/design/arms",
            json!(["split-packed", "baseline-again"]),
            "samples.csv",
        ),
        (
            "/design/points/0/scenario",
            json!("random-vma"),
            "samples.csv",
        ),
        ("/design/seed", json!(5), "samples.csv"),
        ("/design/first_slot", json!(0), "samples.csv"),
        ("/design/margin", json!(0.05), "samples.csv"),
        ("/design/label", json!("another"), "samples.csv"),
    ];
    for (at, value, key) in edits {
        let mut hostile = honest.clone();
        let (parent, name) = at.rsplit_once('/').unwrap();
        match hostile.pointer_mut(parent).unwrap() {
            Value::Object(parts) => {
                parts.insert(name.to_owned(), value.clone());
            }
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
            other => panic!("{other}"),
        }
        fs::write(&file, serde_json::to_vec_pretty(&hostile).unwrap()).unwrap();
        let before = contents(&out);
        let output = run(dir.path(), "run --resume out");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{at} = {value}: {said}");
        assert_eq!(said.matches('\n').count(), 1, "{at} = {value}: {said}");
        let named = key == "samples.csv" || said.contains("environment.json");
        assert!(named && said.contains(key), "{at} = {value}: {said}");
        assert!(
            contents(&out) == before,
            "{at} = {value} changed the folder"
        );
    }
    fs::write(&file, b"{").unwrap();
    let said = stderr(&run(dir.path(), "run --resume out"));
    assert!(said.contains("environment.json"), "{said}");
    fs::write(&file, serde_json::to_vec_pretty(&honest).unwrap()).unwrap();
    succeed(dir.path(), "run --resume out --blocks 10");
}

/// As many blocks as a number can name are neither refused nor laid out beforehand.
#[test]
fn a_run_of_any_number_of_blocks_and_any_seed_goes_on() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    succeed(
        dir.path(),
        &format!(
            "run {SMALL} --blocks 1 --seed {} --counters none --out out",
            u64::MAX
        ),
    );
    let mut asked = environment(&out);
    asked["settings"]["blocks"] = json!(u64::MAX);
    asked["settings"]["budget_seconds"] = json!(0.05);
    let text = serde_json::to_vec(&asked).unwrap();
    fs::write(out.join("environment.json"), text).unwrap();
    succeed(dir.path(), "run --resume out");
    assert_eq!(environment(&out)["run"]["ended"], "budget-spent");
}

#[test]
fn a_resumed_run_goes_on_with_all_that_was_asked() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    succeed(
        dir.path(),
        &format!(
            "run {SMALL} --blocks 2 --seed 4 --page-work 100ns --first-slot 1 --margin 7 \
             --counters page_faults --label first --oversubscribe --address-map map.csv --out out"
        ),
    );
    let before = environment(&out);
    let settings = &before["settings"];
    assert_eq!(settings["blocks"], 2);
    assert_eq!(settings["counters"], json!(["page_faults"]));
    assert_eq!(settings["address_map"], "map.csv");
    assert_eq!(settings["oversubscribe"], true);
    assert_eq!(before["run"]["ended"], "blocks-taken");
    fs::remove_file(dir.path().join("map.csv")).unwrap();
    succeed(dir.path(), "run --resume out --blocks 4");
    let after = environment(&out);
    assert_eq!(after["design"], before["design"]);
    assert_eq!(after["settings"]["counters"], settings["counters"]);
    assert_eq!(after["settings"]["blocks"], 4);
    assert!(dir.path().join("map.csv").exists());
    let rows = rows(&out.join("samples.csv"));
    assert_eq!(rows.len(), 4 * 4);
    for row in rows {
        assert_eq!(
            (row["first_slot"].as_str(), row["label"].as_str()),
            ("1", "first")
        );
        assert_ne!(row["page_faults"], "");
    }
    // Nothing is left to do: the recorded number of blocks is taken.
    succeed(dir.path(), "run --resume out");
    assert_eq!(environment(&out)["run"]["ended"], "blocks-taken");
}

#[test]
fn a_folder_of_version_1_is_read_and_not_written() {
    let dir = TempDir::new().unwrap();
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/reference-zen4-vm");
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    for file in ["samples.csv", "environment.json", "verdicts.csv"] {
        fs::copy(old.join(file), out.join(file)).unwrap();
    }
    let before = contents(&out);
    let output = run(dir.path(), "run --resume out --blocks 1000000");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("earlier version"), "{output:?}");
    assert!(contents(&out) == before);
    let drawn = succeed(dir.path(), "plot out --out drawn");
    assert!(drawn.contains("drawn/report.html"), "{drawn}");
    assert_eq!(stderr(&run(dir.path(), "plot out --out drawn")), "");
}

/// Whatever stands after the last whole block is passed over, and gone afterwards.
#[test]
fn a_run_goes_on_after_its_last_whole_block() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 3 --counters none --out out"),
    );
    let file = out.join("samples.csv");
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let header = lines[0];
    for (cut, after) in [
        (0, ""),
        (0, "2026-torn"),
        (1, ""),
        (1, "\n"),
        (1, "\n\n"),
        (1, header),
        (1, "# a remark\n\n"),
        (2, "\n2026-torn"),
    ] {
        let kept = lines[..lines.len() - cut].concat();
        fs::write(&file, kept + after).unwrap();
        succeed(dir.path(), "run --resume out --blocks 4");
        succeed(dir.path(), "verdicts out");
        let blocks: Vec<String> = rows(&file).iter().map(|row| row["block"].clone()).collect();
        let of_last = blocks.iter().filter(|block| *block == "3").count();
        assert_eq!(
            blocks.len(),
            4 * of_last,
            "{cut} lines less, then {after:?}"
        );
        fs::write(&file, &whole).unwrap();
    }
}

/// Rows that another backend, machine or role wrote are not gone on with, nor is anything changed.
#[test]
fn a_run_does_not_go_on_after_rows_of_another() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 2 --counters none --out out"),
    );
    let file = out.join("samples.csv");
    let whole = fs::read_to_string(&file).unwrap();
    let columns: Vec<&str> = whole.lines().next().unwrap().split(',').collect();
    for (column, value) in [("backend", "sim"), ("machine", "zen9"), ("role", "writer")] {
        let at = columns.iter().position(|there| *there == column).unwrap();
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut reader = csv::Reader::from_reader(whole.as_bytes());
        writer.write_record(&columns).unwrap();
        for (row, cells) in reader.records().map(Result::unwrap).enumerate() {
            let cells = cells.iter().enumerate();
            let edited = cells.map(|(cell, text)| match (row, cell) {
                (1, cell) if cell == at => value,
                _ => text,
            });
            writer.write_record(edited).unwrap();
        }
        let mut text = writer.into_inner().unwrap();
        text.extend_from_slice(b"2026-torn");
        fs::write(&file, text).unwrap();
        let before = contents(&out);
        let output = run(dir.path(), "run --resume out --blocks 3");
        assert_eq!(output.status.code(), Some(2), "{column}: {output:?}");
        assert!(contents(&out) == before, "{column} changed the folder");
    }
}
