//! What `samples.csv`, `verdicts.csv` and a run folder promise.

use hitm::error::Error;
use hitm::experiment::{
    Arm, BackendKind, Code, Pace, Point, Prefetch, Sample, Scenario, Stratum, TransferBin,
};
use hitm::judge::{Compared, VerdictRow};
use hitm::machine::{CpuId, Placement};
use hitm::program::fault::scenario::BuiltIn;
use hitm::results::{
    EnvironmentFile, RunFolder, SAMPLE_COLUMNS, VERDICT_COLUMNS, read_samples, read_verdicts,
    run_id, verdicts_csv,
};
use hitm::stats::Verdict;
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

fn sample(block: u64, layout: &str) -> Sample {
    let point = Point {
        scenario: Scenario::BuiltIn(BuiltIn::OneVma),
        placement: Placement::Compact,
        threads: 2,
    };
    Sample {
        run: "r1".into(),
        machine: "Example CPU @ 2.40GHz, 2 \"cores\"".into(),
        block,
        order: 1,
        faults: 1234,
        seconds: 0.1,
        faults_per_second: 12340.0,
        ns_per_fault: 162074.55429497568,
        slowest_thread_faults: 600,
        fastest_thread_faults: 634,
        probe_ns: Some(27.25),
        first_slot: Some(3),
        counters: [("context_switches".to_owned(), 0.0)].into(),
        ..Sample::new(layout.parse().unwrap(), point)
    }
}

fn counters() -> Vec<String> {
    vec!["context_switches".into(), "hitm_local".into()]
}

fn folder_with(dir: &Path, blocks: u64) -> RunFolder {
    let mut folder = RunFolder::create(Some(dir), "r1", &counters()).unwrap();
    for block in 0..blocks {
        let rows = ["split-aligned", "baseline-again"].map(|layout| sample(block, layout));
        folder.append_block(&rows).unwrap();
    }
    folder
}

fn input_message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Input(message)) => {
            assert!(!message.contains('\n'), "one line: {message}");
            message
        }
        other => panic!("an unusable input expected, got {other:?}"),
    }
}

/// A `samples.csv` of two rows, after `edit` has had its way with the text.
fn edited(edit: impl FnOnce(String) -> String) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    drop(folder_with(&run, 1));
    let file = run.join("samples.csv");
    let text = edit(fs::read_to_string(&file).unwrap());
    fs::write(&file, text).unwrap();
    (dir, file)
}

#[test]
fn the_header_is_the_contract_then_the_counters() {
    let (_dir, file) = edited(|text| text);
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(
        text.lines().next().unwrap(),
        "run,backend,machine,layout,scenario,placement,threads,prefetch,block,order,faults,seconds,\
         faults_per_second,ns_per_fault,slowest_thread_faults,fastest_thread_faults,probe_ns,valid,\
         invalid_reason,accesses,wall_seconds,first_slot,schema,host,label,boot_id,baseline,\
         margin,blocks_planned,slot,transfer_ns,pace,attempts,role,invalid_code,code,context_switches,hitm_local"
    );
}

#[test]
fn what_was_not_measured_is_an_empty_cell() {
    let (_dir, file) = edited(|text| text);
    let text = fs::read_to_string(&file).unwrap();
    let row = text.lines().nth(1).unwrap();
    assert!(row.ends_with(",27.25,true,,,,3,3,,,,,,,,,,,,,,0,"), "{row}");
    let read = read_samples(&file).unwrap();
    assert_eq!(read.samples[0].counters.get("hitm_local"), None);
    assert_eq!(read.samples[0].counters.get("context_switches"), Some(&0.0));
    assert_eq!(read.samples[0].accesses, None);
}

#[test]
fn a_torn_last_line_is_dropped_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    drop(folder_with(&run, 3));
    let file = run.join("samples.csv");
    let whole = fs::read(&file).unwrap();
    let last_line = 1 + whole[..whole.len() - 1]
        .iter()
        .rposition(|b| *b == b'\n')
        .unwrap();
    for cut in last_line + 1..whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        let read = read_samples(&file).unwrap();
        assert_eq!(read.samples.len(), 5, "cut at byte {cut}");
        assert_eq!(read.warnings.len(), 1);
        assert!(read.warnings[0].contains("line 7"), "{}", read.warnings[0]);
    }
    fs::write(&file, &whole[..last_line]).unwrap();
    assert!(read_samples(&file).unwrap().warnings.is_empty());
}

#[test]
fn to_open_a_run_changes_nothing_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    drop(folder_with(&run, 2));
    let file = run.join("samples.csv");
    let mut torn = fs::read(&file).unwrap();
    torn.truncate(torn.len() - 9);
    fs::write(&file, &torn).unwrap();

    let (folder, there) = RunFolder::open_for_resume(&run).unwrap();
    assert_eq!(there.samples.len(), 3);
    assert_eq!(folder.counters(), counters());
    drop(folder);
    assert_eq!(fs::read(&file).unwrap(), torn);
}

#[test]
fn a_file_that_lacks_a_column_is_not_gone_on_with() {
    let (_dir, file) = edited(|text| {
        let header = text.lines().next().unwrap();
        header.replace(",margin", "") + "\n"
    });
    let message = input_message(RunFolder::open_for_resume(file.parent().unwrap()));
    assert!(message.contains("earlier version"), "{message}");
}

#[test]
fn a_folder_that_holds_anything_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    drop(folder_with(dir.path(), 1));
    let before = fs::read(dir.path().join("samples.csv")).unwrap();
    let message = input_message(RunFolder::create(Some(dir.path()), "r2", &[]));
    assert!(message.contains("--resume"), "{message}");
    let after = fs::read(dir.path().join("samples.csv")).unwrap();
    assert_eq!(after, before);
}

#[test]
fn two_runs_cannot_write_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let first = folder_with(&run, 1);
    let second = RunFolder::open_for_resume(&run);
    assert!(matches!(second, Err(Error::Refused(_))));
    drop(first);
    RunFolder::open_for_resume(&run).unwrap();
}

#[test]
fn an_unusable_place_is_found_before_measuring() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    fs::write(&file, "x").unwrap();
    let message = input_message(RunFolder::create(Some(&file.join("run")), "r", &[]));
    assert!(message.contains("a-file"), "{message}");
    input_message(RunFolder::create(Some(&file), "r", &[]));
    input_message(RunFolder::open_for_resume(dir.path()));
}

#[test]
fn whole_files_are_replaced_and_leave_nothing_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let folder = folder_with(&run, 1);
    folder.write("report.html", b"first").unwrap();
    folder.write("report.html", b"second").unwrap();
    folder
        .write_environment(&EnvironmentFile::default())
        .unwrap();
    folder.write_verdicts(&[]).unwrap();
    // A folder of that name is in the way of the rename, after the new contents were written.
    fs::create_dir(run.join("in-the-way")).unwrap();
    let error = folder.write("in-the-way", b"x").unwrap_err().to_string();
    assert!(error.contains("in-the-way") && !error.contains('\n'));
    let mut names: Vec<String> = fs::read_dir(&run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "environment.json",
        "in-the-way",
        "report.html",
        "samples.csv",
        "verdicts.csv",
    ];
    assert_eq!(names, expected);
    assert_eq!(fs::read(run.join("report.html")).unwrap(), b"second");
}

#[test]
fn every_missing_or_misplaced_column_is_named() {
    for column in SAMPLE_COLUMNS {
        let (_dir, file) = edited(|text| text.replacen(&format!("{column},"), "", 1));
        let message = input_message(read_samples(&file));
        assert!(message.contains(column), "{message}");
        assert!(message.contains("samples.csv"), "{message}");
    }
    let (_dir, file) = edited(|text| text.replacen("scenario,placement", "placement,scenario", 1));
    let message = input_message(read_samples(&file));
    assert!(
        message.contains("column 5 is 'placement', expected 'scenario'"),
        "{message}"
    );
}

#[test]
fn a_file_of_version_2_has_no_code_and_still_reads() {
    let (_dir, file) = edited(|text| {
        let lines = text.lines().map(|line| {
            let mut cells: Vec<&str> = line.split(',').collect();
            let counters = cells.split_off(cells.len() - 2);
            let code = cells.pop().unwrap();
            assert!(code == "code" || code.is_empty());
            let line = [cells, counters].concat().join(",");
            line.replace(",,,,3,3,", ",,,,3,2,") + "\n"
        });
        lines.collect()
    });
    let read = read_samples(&file).unwrap();
    assert_eq!(read.samples.len(), 2);
    assert!(read.samples.iter().all(|sample| sample.code.is_empty()));
    assert_eq!(read.counters.len(), 2);
}

#[test]
fn unknown_columns_are_counters_only_at_the_end() {
    let (_dir, file) = edited(|text| text.replacen("hitm_local", "something_else", 1));
    assert_eq!(read_samples(&file).unwrap().counters[1], "something_else");
    let (_dir, file) = edited(|text| {
        text.replacen("accesses,", "surprise,accesses,", 1)
            .replace(",,,,3,3,", ",,,,,3,3,")
    });
    let message = input_message(read_samples(&file));
    assert!(
        message.contains("'accesses' stands among the counters"),
        "{message}"
    );
    let (_dir, file) = edited(|text| text.replacen("hitm_local", "block", 1));
    let message = input_message(read_samples(&file));
    assert!(message.contains("a second 'block'"), "{message}");
}

#[test]
fn a_file_with_the_contract_columns_alone_is_read() {
    let header = SAMPLE_COLUMNS.join(",");
    let row = "r,sim,m,mmap-lock,one-vma,compact,1,on,0,0,10,0.5,20,,10,10,,true,";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.csv");
    let text = format!("# made elsewhere\n{header}\n\n# one row\n{row}\n");
    for text in [text.clone(), text.replace('\n', "\r\n")] {
        fs::write(&file, text).unwrap();
        let read = read_samples(&file).unwrap();
        assert_eq!(read.samples.len(), 1);
        assert!(read.samples[0].ns_per_fault.is_nan());
        assert_eq!(read.samples[0].first_slot, None);
    }
}

#[test]
fn a_wrong_cell_is_named_by_file_line_and_column() {
    let cases = [
        (
            ",2,as-is,",
            ",0,as-is,",
            "line 4, column threads: '0' found, at least 1 expected",
        ),
        (
            ",2,as-is,",
            ",two,as-is,",
            "line 4, column threads: 'two' found, a whole number",
        ),
        (
            ",0.1,",
            ",inf,",
            "line 4, column seconds: 'inf' found, a number",
        ),
        (
            ",0.1,",
            ",-1,",
            "line 4, column seconds: '-1' found, at least 0",
        ),
        (
            ",true,",
            ",yes,",
            "line 4, column valid: 'yes' found, true or false expected",
        ),
        (",27.25,", ",fast,", "line 4, column probe_ns: 'fast' found"),
        (",27.25,", ",", "line 4: 37 cells found, 38 expected"),
        ("\nr1,", "\nr\u{1},", "line 4, column run"),
    ];
    for line_end in ["\n", "\r\n"] {
        for (from, to, expected) in cases {
            let (_dir, file) = edited(|text| {
                let body = text.replacen(from, to, 1);
                let body = body.replacen("\nr", "\n# a comment\n\nr", 1);
                body.replace('\n', line_end)
            });
            let message = input_message(read_samples(&file));
            assert!(message.contains(expected), "{message}");
            assert!(message.contains(file.to_str().unwrap()), "{message}");
        }
    }
}

#[test]
fn a_file_that_is_no_csv_of_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.csv");
    input_message(read_samples(&file));
    fs::write(&file, "").unwrap();
    input_message(read_samples(&file));
    fs::write(&file, [0xff, 0xfe, b'\n']).unwrap();
    assert!(input_message(read_samples(&file)).contains("UTF-8"));
    fs::write(&file, "a,b\n1,2\n").unwrap();
    input_message(read_samples(&file));
    input_message(read_verdicts(&file));
}

#[test]
fn a_run_is_named_by_its_time_and_its_machine() {
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let id = run_id(time, "AMD EPYC 9B14 96-Core Processor");
    let (id, random) = id.rsplit_once('-').unwrap();
    assert_eq!(id, "2023-11-14T22-13-20Z-amd-epyc-9b14");
    assert!(random.len() == 8 && u32::from_str_radix(random, 16).is_ok());
    let id = run_id(time, "///");
    assert_eq!(id.rsplit_once('-').unwrap().0, "2023-11-14T22-13-20Z");
    assert_ne!(id, run_id(time, "///"));
}

/// Text as a user may have it in a name: separators, quotes and comment signs, no line breaks.
fn text() -> impl Strategy<Value = String> {
    "[#,\"' a-zA-Z0-9µ<&/-]{0,12}"
}

fn figure() -> impl Strategy<Value = f64> {
    use prop::num::f64::{NORMAL, SUBNORMAL, ZERO};
    prop_oneof![NORMAL | SUBNORMAL | ZERO, 0.0..1e6f64]
}

/// A word of those that a type has.
fn word<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn arm() -> impl Strategy<Value = Arm> {
    "baseline-again|baseline-recompiled|[#\"' a-zA-Z0-9µ<&/-]{1,12}(@all)?(\\+[1-9][0-9]?%)?"
        .prop_filter_map("the name of another kind of arm", |name| name.parse().ok())
}

fn point() -> impl Strategy<Value = Point> {
    let scenario = prop_oneof![
        word(BuiltIn::ALL).prop_map(Scenario::BuiltIn),
        "[a-z0-9._]{1,12}".prop_map(Scenario::Case),
    ];
    let listed = prop::collection::btree_set(0..8192_usize, 1..5)
        .prop_map(|cpus| Placement::Explicit(cpus.into_iter().map(CpuId).collect()));
    let named = prop::sample::select(Placement::NAMED.to_vec());
    (scenario, prop_oneof![listed, named], 1..5000_usize).prop_map(
        |(scenario, placement, threads)| Point {
            scenario,
            placement,
            threads,
        },
    )
}

/// A text that is not empty, or none: an empty cell is none.
fn maybe(text: impl Strategy<Value = String>) -> impl Strategy<Value = Option<String>> {
    text.prop_map(|text| Some(text).filter(|text| !text.is_empty()))
}

fn stratum() -> impl Strategy<Value = Stratum> {
    let bin = prop::option::of(word(TransferBin::ALL));
    let pace = prop::option::of(word(Pace::ALL));
    (prop::option::of(any::<u32>()), bin, pace).prop_map(|(slot, transfer_ns, pace)| Stratum {
        slot,
        transfer_ns,
        pace,
    })
}

prop_compose! {
    fn any_sample()(
        names in prop::array::uniform8(text()),
        (arm, baseline, point, stratum) in (arm(), prop::option::of(arm()), point(), stratum()),
        (backend, prefetch) in (word(BackendKind::ALL), word(Prefetch::ALL)),
        invalid_code in prop::collection::vec(word(Code::ALL), 0..4),
        whole in prop::array::uniform5(any::<u64>()),
        seconds in 0.0..1e9f64,
        figures in prop::array::uniform2(figure()),
        measured in prop::array::uniform2(prop::option::of(figure())),
        counted in prop::array::uniform2(prop::option::of(any::<u64>())),
        first_slot in prop::option::of(any::<usize>()),
        attempts in prop::option::of(any::<u32>()),
        margin in prop::option::of(0.0..=1.0f64),
        valid in any::<bool>(),
        counters in prop::collection::btree_map("hitm_local|rfo,\"x\"", figure(), 0..3),
    ) -> Sample {
        let [run, machine, invalid_reason, host, label, boot_id, role, code] = names;
        let role = Some(role).filter(|role| !role.is_empty());
        let [probe_ns, wall_seconds] = measured;
        let [accesses, blocks_planned] = counted;
        Sample {
            run, backend, machine, arm, point, prefetch, seconds, probe_ns, valid, invalid_reason,
            invalid_code, accesses, wall_seconds, first_slot, host, label, boot_id, baseline,
            margin, blocks_planned, stratum, attempts, role, code, counters,
            block: whole[0],
            order: whole[1] as usize,
            faults: whole[2],
            slowest_thread_faults: whole[3],
            fastest_thread_faults: whole[4],
            faults_per_second: figures[0],
            ns_per_fault: figures[1].abs().max(f64::MIN_POSITIVE),
        }
    }
}

prop_compose! {
    fn any_verdict()(
        [machine, run, label] in prop::array::uniform3(text()),
        (role, depends_on) in (maybe(text()), text()),
        (arm, baseline, point, stratum) in (arm(), arm(), point(), stratum()),
        (backend, prefetch) in (word(BackendKind::ALL), word(Compared::ALL)),
        verdict in word(Verdict::ALL),
        ratios in prop::array::uniform5(prop::option::of(figure())),
        (blocks, blocks_invalid) in any::<(u64, u64)>(),
    ) -> VerdictRow {
        let [ratio, ratio_low, ratio_high, tail_share, tail_ratio] = ratios;
        VerdictRow {
            backend, machine, point, prefetch, baseline, arm, ratio, ratio_low, ratio_high,
            verdict, blocks, blocks_invalid, stratum, role, run, label, depends_on,
            tail_share, tail_ratio,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn samples_read_back_as_they_were_written(
        samples in prop::collection::vec(any_sample(), 0..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let roles = ["hitm_local".to_owned(), "rfo,\"x\"".to_owned()];
        let mut folder = RunFolder::create(Some(&run), "r", &roles).unwrap();
        folder.append_block(&samples).unwrap();
        drop(folder);
        let read = read_samples(&run.join("samples.csv")).unwrap();
        prop_assert_eq!(read.samples, samples);
        prop_assert_eq!(read.counters, roles);
        prop_assert!(read.warnings.is_empty());
    }

    #[test]
    fn verdicts_read_back_as_they_were_written(
        rows in prop::collection::vec(any_verdict(), 0..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("verdicts.csv");
        let text = verdicts_csv(&rows, &["note"], |row, _| row.ratio);
        prop_assert!(text.starts_with(&VERDICT_COLUMNS.join(",")));
        fs::write(&file, text).unwrap();
        prop_assert_eq!(read_verdicts(&file).unwrap(), rows);
    }
}
