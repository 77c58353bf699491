//! What reports say of the cause: counters per fault, and what the prefetcher adds.

mod fake;

use anstream::adapter::strip_str;
use hitm::backend::{self, native::OWN_COUNTERS};
use hitm::experiment::{Arm, BackendKind, Prefetch, Sample};
use hitm::judge::{Compared, VerdictRow};
use hitm::report::table::{Format, counters, render};
use hitm::report::why::{Counted, counted};
use hitm::report::{Record, write};
use hitm::results::{EnvironmentFile, RunFolder, RunRecord};
use hitm::stats::Verdict;
use std::path::{Path, PathBuf};

/// Roles as a Broadwell has them in two groups, counted in turn, and one that is always there.
const GROUPS: [&[&str]; 2] = [
    &["hitm_local", "rfo_hitm", "cycles", "hitm_remote"],
    &[
        "prefetch_rfo_hitm",
        "prefetch_read_hitm",
        "cycles",
        "lock_loads",
    ],
];

/// The layout that a prefetcher of pairs couples with its neighbours.
const COUPLED: &str = "embedded-refcount-192";

/// What a layout's fault does to lines that neighbours hold, on and off the prefetcher.
fn counts(sample: &Sample) -> [(&'static str, f64); 7] {
    let packed = if sample.arm == fake::arm("split-packed") {
        1.0
    } else {
        0.0
    };
    let pair = match (&sample.arm, sample.prefetch) {
        (arm, Prefetch::On) if *arm == fake::arm(COUPLED) => 1.0,
        _ => 0.0,
    };
    [
        ("hitm_local", 0.2 + 0.3 * packed),
        ("rfo_hitm", 0.4 + packed),
        ("cycles", sample.ns_per_fault * 2.5),
        ("hitm_remote", 0.0),
        ("prefetch_rfo_hitm", 0.002 + 0.9 * pair),
        ("prefetch_read_hitm", 0.1 * pair),
        ("lock_loads", 2.0),
    ]
}

/// A run with the prefetcher on and off, as a machine with a PMU records it.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    let mut roles: Vec<String> = GROUPS.concat().into_iter().map(str::to_owned).collect();
    roles.sort();
    roles.dedup();
    roles.push("task_clock_ns".to_owned());
    let mut folder = RunFolder::create(Some(&dir), "fake", &roles).unwrap();
    let mut verdicts: Vec<VerdictRow> = Vec::new();
    for prefetch in [Prefetch::On, Prefetch::Off] {
        let mut samples = fake::samples("vma-per-thread", 2, 24);
        for sample in &mut samples {
            sample.prefetch = prefetch;
            for (role, per_fault) in counts(sample) {
                if GROUPS[sample.block as usize % 2].contains(&role) {
                    let count = (per_fault * sample.faults as f64).round();
                    sample.counters.insert(role.to_owned(), count);
                }
            }
            sample.counters.insert("task_clock_ns".to_owned(), 2e7);
        }
        folder.append_block(&samples).unwrap();
        let mut rows = fake::verdicts("vma-per-thread", 2, 24);
        for row in &mut rows {
            row.prefetch = prefetch.into();
            if row.arm == fake::arm(COUPLED) && prefetch == Prefetch::On {
                (row.ratio, row.ratio_low, row.ratio_high) = (Some(1.3), Some(1.28), Some(1.32));
            }
        }
        verdicts.extend(rows);
    }
    for mut row in fake::verdicts("vma-per-thread", 2, 24) {
        row.prefetch = Compared::OnOverOff;
        let adds = row.arm == fake::arm(COUPLED);
        let ratio = if adds { 1.27 } else { 1.0 };
        (row.ratio, row.ratio_low) = (Some(ratio), Some(ratio - 0.01));
        row.ratio_high = Some(ratio + 0.01);
        row.verdict = match adds {
            true => Verdict::Regression,
            false => Verdict::Equivalent,
        };
        verdicts.push(row);
    }
    folder.write_verdicts(&verdicts).unwrap();
    let run = RunRecord {
        scaled: vec!["prefetch_rfo_hitm".to_owned()],
        ..RunRecord::default()
    };
    folder
        .write_environment(&EnvironmentFile {
            run,
            design: Some(fake::design()),
            ..EnvironmentFile::default()
        })
        .unwrap();
    dir
}

fn record(name: &str) -> (Record, PathBuf) {
    let dir = folder(name);
    (Record::read(&[&dir]).unwrap(), dir)
}

fn value(counted: &Counted, name: &str, layout: &str) -> Option<f64> {
    let row = counted.rows.iter().find(|row| row.name == name)?;
    row.values[counted
        .arms
        .iter()
        .position(|arm| *arm == fake::arm(layout))?]
}

#[test]
fn counters_are_per_fault_and_medians_of_the_samples_that_carry_them() {
    let (record, _) = record("why-medians");
    let all = counted(&record);
    let on = all
        .iter()
        .find(|at| at.site.prefetch == Compared::On)
        .unwrap();
    let near = |name: &str, layout: &str, expected: f64| {
        let found = value(on, name, layout).unwrap();
        assert!((found - expected).abs() < 1e-3, "{name} {layout}: {found}");
    };
    near("hitm_local", "split-aligned", 0.2);
    near("hitm_local", "split-packed", 0.5);
    near("rfo_hitm", "split-packed", 1.4);
    // Its two roles were never counted in the same block.
    near(
        "prefetch_share_of_steals",
        "embedded-refcount-192",
        0.902 / (0.902 + 0.4),
    );
    near("prefetch_hitm_per_fault", "embedded-refcount-192", 1.002);
    // Nothing is said of what was not measured, of times, or twice of the same figure.
    for absent in [
        "useless_prefetch",
        "task_clock_ns",
        "hitm_per_fault",
        "losses_per_fault",
    ] {
        assert_eq!(value(on, absent, "split-packed"), None, "{absent}");
    }
    assert!(on.silent.contains(&"hitm_remote".to_owned()));
}

#[test]
fn a_counter_moves_only_with_the_layout() {
    let (record, _) = record("why-moves");
    for at in counted(&record) {
        let moving: Vec<&str> = at.moving().map(|row| row.name.as_str()).collect();
        assert!(moving.contains(&"rfo_hitm") && !moving.contains(&"lock_loads"));
        // Which is the time again.
        assert!(!moving.contains(&"cycles"));
        let by_prefetcher = moving.contains(&"prefetch_rfo_hitm");
        assert_eq!(
            by_prefetcher,
            at.site.prefetch == Compared::On,
            "{moving:?}"
        );
    }
}

#[test]
fn what_the_baseline_does_from_itself_is_no_movement() {
    let (mut record, _) = record("why-noise");
    for sample in &mut record.samples {
        if sample.arm == Arm::Again {
            let faults = sample.faults as f64;
            sample
                .counters
                .entry("rfo_hitm".into())
                .and_modify(|count| *count = faults);
        }
    }
    for at in counted(&record) {
        assert!(at.moving().all(|row| row.name != "rfo_hitm"));
    }
}

#[test]
fn the_table_of_counters_fits_a_terminal_and_marks_what_was_scaled() {
    let (record, _) = record("why-table");
    let table = strip_str(&counters(&counted(&record))).to_string();
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
    insta::assert_snapshot!("counters", table);
}

#[test]
fn a_run_whose_counters_say_nothing_shows_no_block_of_them() {
    let (mut record, _) = record("why-nothing");
    for sample in &mut record.samples {
        sample.counters.retain(|role, _| role == "task_clock_ns");
        sample
            .counters
            .insert("voluntary_context_switches".into(), 1.0);
    }
    record.counters = ["task_clock_ns", "voluntary_context_switches", "hitm_local"]
        .map(str::to_owned)
        .into();
    assert!(counted(&record).is_empty());
    assert_eq!(counters(&counted(&record)), "");
}

#[test]
fn every_counter_a_backend_counts_by_itself_is_explained() {
    let native = OWN_COUNTERS.map(|(name, _)| name.to_owned()).into_iter();
    let native = native.map(|name| (BackendKind::Native, name));
    let sim = backend::sim::counters::<backend::faults::FaultArms>().into_iter();
    for (backend, name) in native.chain(sim.map(|name| (BackendKind::Sim, name))) {
        let means = backend::means(backend, &name).unwrap_or_default();
        assert!(means.ends_with('.') && means.len() > 20, "{name}: {means}");
    }
}

#[test]
fn a_role_of_the_model_and_of_the_machine_are_explained_each_in_its_own_words() {
    let (mut record, dir) = record("why-backends");
    for sample in record
        .samples
        .iter_mut()
        .filter(|s| s.prefetch == Prefetch::Off)
    {
        sample.backend = BackendKind::Sim;
        let counters = ["pair_sharing", "hitm_local"].map(|name| (name.to_owned(), 1e6));
        sample.counters.extend(counters);
    }
    record.counters.push("pair_sharing".to_owned());
    write(&record, &dir).unwrap();
    let page = std::fs::read_to_string(dir.join("report.html")).unwrap();
    let (_, meanings) = page.split_once("What the counters mean").unwrap();
    for said in [
        "<th>pair_sharing</th><td class=\"faint\">sim</td><td>Lines that a prefetch",
        "<th>hitm_local</th><td class=\"faint\">native</td><td>Loads that took a Modified line",
        "<th>hitm_local</th><td class=\"faint\">sim</td><td>Loads that took a line which",
    ] {
        assert!(meanings.contains(said), "{said}");
    }
}

#[test]
fn the_report_says_why_and_what_the_prefetcher_adds() {
    let (record, dir) = record("why-report");
    write(&record, &dir).unwrap();
    let page = std::fs::read_to_string(dir.join("report.html")).unwrap();
    for said in [
        "Why: counters per fault",
        "prefetch_rfo_hitm*",
        "scaled up",
        "attribution: what the prefetcher adds to the effect",
        "does not tell the adjacent-line prefetcher from the streamer",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("rfo_hitm_per_fault"), "that is rfo_hitm");
    let svg = std::fs::read_to_string(dir.join("counters-vma-per-thread-on.svg")).unwrap();
    // Ground, and a bar for the time and for four counters of nine layouts.
    let counters = counted(&record);
    let on = counters
        .iter()
        .find(|at| at.site.prefetch == Compared::On)
        .unwrap();
    let columns = 1 + on.moving().count().min(5);
    assert_eq!(svg.matches("<rect ").count(), 1 + columns * on.arms.len());
    let svg = std::fs::read_to_string(dir.join("attribution-vma-per-thread-on-off.svg")).unwrap();
    for said in ["prefetcher on", "prefetcher off", "on over off", "+27.0 %"] {
        assert!(svg.contains(said), "{said}");
    }
}

#[test]
fn an_attribution_row_stands_beside_the_effects_it_compares() {
    let (record, _) = record("why-attribution");
    let rows = record.verdicts.iter();
    let rows: Vec<VerdictRow> = rows
        .filter(|row| row.arm == fake::arm(COUPLED))
        .cloned()
        .collect();
    let table = render(Format::Table, &rows, &record.arms());
    let table = strip_str(&table).to_string();
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
    insta::assert_snapshot!("attribution", table);
}
