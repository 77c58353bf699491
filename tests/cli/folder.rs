//! What a run leaves behind: the files of its folder, the order and the share of its samples.

use super::{SMALL, environment, header, hitm, rows, succeed, whole_blocks};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use tempfile::TempDir;

#[test]
fn a_run_folder_holds_what_the_contract_says() {
    let dir = TempDir::new().unwrap();
    let table = succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 12 --seed 9 --out out"),
    );
    assert!(table.contains("baseline-again"), "{table}");
    assert!(table.contains("baseline-recompiled"), "{table}");
    assert!(table.contains("out/report.html"), "{table}");
    let out = dir.path().join("out");

    let samples = out.join("samples.csv");
    assert!(
        header(&samples).starts_with(
            "run,backend,machine,layout,scenario,placement,threads,prefetch,block,order,faults,\
             seconds,faults_per_second,ns_per_fault,slowest_thread_faults,fastest_thread_faults,\
             probe_ns,valid,invalid_reason,accesses,wall_seconds,"
        ),
        "{}",
        header(&samples)
    );
    let taken = rows(&samples);
    assert_eq!(taken.len(), 12 * 4);
    whole_blocks(&taken, 12);
    for row in &taken {
        assert_eq!(row["backend"], "native");
        assert_eq!(row["valid"] == "false", !row["invalid_reason"].is_empty());
        // One thread has nobody to exchange a line with: not measured, and not 0.
        assert_eq!(row["probe_ns"], "");
        assert_eq!(row["accesses"], "");
        let recompiled = row["layout"] == "baseline-recompiled";
        assert!(row["code"].starts_with("rwsem-split"), "{row:?}");
        assert_eq!(row["code"].contains("-recompiled"), recompiled, "{row:?}");
        let attempts: u32 = row["attempts"].parse().unwrap();
        assert!((1..=4).contains(&attempts), "{attempts}");
        assert!(["full", "shared"].contains(&row["pace"].as_str()));
        let first = taken.iter().find(|of| of["block"] == row["block"]).unwrap();
        for part in ["slot", "transfer_ns", "pace"] {
            assert_eq!(row[part], first[part], "{part} of one block");
        }
    }

    let verdicts = out.join("verdicts.csv");
    assert_eq!(
        header(&verdicts),
        "backend,machine,scenario,placement,threads,prefetch,baseline,layout,ratio,ratio_low,\
         ratio_high,verdict,blocks,blocks_invalid,slot,transfer_ns,pace,role,run,label,depends_on,tail_share,tail_ratio"
    );
    let judged = rows(&verdicts);
    let layouts: Vec<&str> = judged.iter().map(|row| row["layout"].as_str()).collect();
    let expected = ["baseline-again", "baseline-recompiled", "split-aligned"];
    assert_eq!(layouts, expected);
    assert!(judged.iter().all(|row| row["baseline"] == "split-packed"));

    let environment = environment(&out);
    assert_eq!(environment["design"]["seed"], 9);
    assert_eq!(environment["run"]["interrupted"], false);
    assert_eq!(environment["run"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(environment["machine"].is_object());

    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("split-aligned") && !report.contains("was interrupted"));
    let plots = fs::read_dir(&out).unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|e| e == "svg")
            && fs::read_to_string(path).unwrap().contains("<svg")
    });
    assert!(plots.count() > 0);

    // The plots follow from the samples alone.
    let drawn = succeed(dir.path(), "plot out/samples.csv --out drawn");
    assert!(drawn.contains("drawn/report.html"), "{drawn}");
    assert!(dir.path().join("drawn/report.html").is_file());
}

#[test]
fn the_order_of_samples_follows_from_the_seed() {
    let dir = TempDir::new().unwrap();
    let order = |seed: u64, out: &str| -> Vec<[String; 4]> {
        succeed(
            dir.path(),
            &format!("run {SMALL} --blocks 6 --seed {seed} --out {out}"),
        );
        rows(&dir.path().join(out).join("samples.csv"))
            .iter()
            .map(|row| ["layout", "block", "order", "first_slot"].map(|name| row[name].clone()))
            .collect()
    };
    let first = order(1, "a");
    assert_eq!(first, order(1, "b"));
    assert_ne!(first, order(2, "c"));
}

#[test]
fn every_shard_measures_its_own_points_and_together_they_measure_all() {
    let dir = TempDir::new().unwrap();
    let points = |shard: &str, out: &str| -> Vec<String> {
        let args = "--layouts split-packed --scenario one-vma,random-vma,swap-in --threads 1";
        succeed(
            dir.path(),
            &format!("run {args} --blocks 1 {shard} --out {out}"),
        );
        let rows = rows(&dir.path().join(out).join("samples.csv"));
        let points: BTreeSet<String> = rows.iter().map(|row| row["scenario"].clone()).collect();
        points.into_iter().collect()
    };
    assert_eq!(points("--shard 1/2", "a"), ["one-vma", "swap-in"]);
    assert_eq!(points("--shard 2/2", "b"), ["random-vma"]);
    assert_eq!(points("", "c"), ["one-vma", "random-vma", "swap-in"]);
}

#[test]
fn the_same_seed_simulates_the_same_to_the_last_digit() {
    let dir = TempDir::new().unwrap();
    let simulated = |out: &str| {
        let args = "--machine skylake-client --scenario one-vma --threads 2 --seed 3 --blocks 4";
        let args = format!("sim {args} --layouts split-packed,mmap-lock --out {out}");
        succeed(dir.path(), &args);
        let rows = rows(&dir.path().join(out).join("samples.csv"));
        assert!(
            rows.iter()
                .all(|row| row["backend"] == "sim" && !row["accesses"].is_empty())
        );
        let figures = |row: &BTreeMap<String, String>| {
            ["layout", "order", "faults", "ns_per_fault", "accesses"].map(|name| row[name].clone())
        };
        rows.iter().map(figures).collect::<Vec<_>>()
    };
    assert_eq!(simulated("a"), simulated("b"));
}

#[test]
fn an_argument_that_is_no_utf_8_is_recorded_with_what_can_be_read_of_it() {
    let dir = TempDir::new().unwrap();
    let out = OsStr::from_bytes(b"o\xff");
    for command in ["sim --machine zen4", "run --counters none"] {
        let mut hitm = hitm(dir.path());
        let args = format!("{command} {SMALL} --blocks 1 --out");
        hitm.args(args.split_whitespace()).arg(out);
        hitm.assert().success();
        let out = dir.path().join(out);
        let recorded = environment(&out);
        let words = recorded["run"]["command_line"].as_array().unwrap();
        assert_eq!(words.last().unwrap(), "o\u{fffd}");
        fs::remove_dir_all(out).unwrap();
    }
}
