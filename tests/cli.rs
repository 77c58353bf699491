//! What scripts may rely on: exit statuses, one line on an error, columns, files of a run folder.
//!
//! Every test runs the binary. Nothing here depends on how busy the machine is: where samples may
//! be set aside, the test holds for that as well.

use assert_cmd::Command;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// `hitm`, started in `dir`.
fn hitm(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("hitm").unwrap();
    command.current_dir(dir).env_remove("NO_COLOR");
    command
}

/// The same where a test needs the running child.
fn hitm_child(dir: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("hitm"));
    command.current_dir(dir).env_remove("NO_COLOR");
    command
}

fn run(dir: &Path, args: &str) -> Output {
    hitm(dir)
        .args(args.split_whitespace())
        .timeout(Duration::from_secs(60))
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Succeeds, or says why not.
fn succeed(dir: &Path, args: &str) -> String {
    let output = run(dir, args);
    assert_eq!(output.status.code(), Some(0), "{args}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The rows of a CSV by column name.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .from_path(path)
        .unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

fn header(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let first = text.lines().find(|line| !line.starts_with('#'));
    first.unwrap().to_owned()
}

/// Asserts exit status, one line on stderr, silence on stdout and that no file was left.
fn refused(args: &str, status: i32, says: &[&str]) {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "no,samples\n1,2\n").unwrap();
    let output = run(dir.path(), args);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(status), "{args}: {message}");
    assert!(output.stdout.is_empty(), "{args}: {output:?}");
    assert!(message.starts_with("hitm: "), "{args}: {message}");
    assert_eq!(message.matches('\n').count(), 1, "{args}: {message}");
    for part in says {
        assert!(message.contains(part), "{args}: no '{part}' in {message}");
    }
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["file"], "{args}: something was left behind");
}

#[test]
fn an_unknown_name_comes_with_the_nearest_valid_ones() {
    refused("run --layouts split-paked", 2, &["split-packed"]);
    refused("run --layouts split-packed,nope", 2, &["layout 'nope'"]);
    refused("run --scenario vma-per-thraed", 2, &["vma-per-thread"]);
    refused("run --placement compakt", 2, &["compact"]);
    refused(
        "layout show embeded-refcount-192",
        2,
        &["embedded-refcount-192"],
    );
    refused("run --thread 1", 2, &["--threads"]);
    refused("prob", 2, &["probe"]);
}

#[test]
fn a_missing_command_is_an_error_that_says_where_to_look() {
    refused("", 2, &["--help"]);
    refused("layout", 2, &["--help"]);
}

#[test]
fn a_number_out_of_its_range_is_refused() {
    refused("run --threads 0", 2, &["0 threads"]);
    refused("run --threads 1,0", 2, &["0 threads"]);
    refused("run --threads two", 2, &["'two'"]);
    refused("run --threads -1", 2, &[]);
    refused("run --budget 0", 2, &["above 0"]);
    refused("run --budget 0s", 2, &["above 0"]);
    refused("run --budget forever", 2, &["60s"]);
    refused("run --blocks 0", 2, &["--blocks"]);
    refused("run --margin 200", 2, &["0 to 100"]);
    refused("run --margin NaN", 2, &["0 to 100"]);
    refused("run --first-slot 2", 2, &["--first-slot"]);
    refused("run --page-work lots", 2, &["clear-page"]);
    refused("run --page-work 5s", 2, &["longer than 4 seconds"]);
    refused("run --layouts split-packed+101%", 2, &["0 to 100"]);
    refused("run --seed 18446744073709551616", 2, &["--seed"]);
}

#[test]
fn a_shard_that_is_none_or_empty_is_refused() {
    for shard in ["0/2", "3/2", "1/0", "1", "a/b", "1/2/3"] {
        refused(&format!("run --shard {shard}"), 2, &["I/N"]);
    }
    refused("run --threads 1 --shard 9/9", 2, &["empty"]);
}

#[test]
fn an_impossible_placement_is_refused_by_what_the_machine_lacks() {
    refused(
        "run --threads 100000",
        3,
        &["100000 threads", "--oversubscribe"],
    );
    refused("run --placement 0,8191 --threads 2", 3, &["CPU 8191"]);
    refused("run --placement 0,0", 2, &["twice"]);
    refused("run --placement 3-1", 2, &["backwards"]);
    refused(
        "run --scenario readers-writer --threads 1",
        2,
        &["2 threads"],
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_found_out_before_anything_is_measured() {
    refused("run --out file/below", 2, &["file/below", "--out"]);
    refused(
        "run --out /proc/hitm-has-no-folder-here",
        3,
        &["/proc/", "--out"],
    );
    refused("run --out /proc", 2, &["not empty"]);
    refused("plot file --out file/below", 2, &["file"]);
}

#[test]
fn a_folder_that_holds_anything_is_not_overwritten() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("precious"), "data").unwrap();
    let output = run(dir.path(), "run --blocks 1 --threads 1 --out out");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not empty"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn an_input_that_is_no_run_is_refused_with_its_path() {
    refused("plot", 2, &["<FILES>"]);
    refused("plot nowhere.csv", 2, &["nowhere.csv"]);
    refused("plot file", 2, &["file", "column 'run'"]);
    refused("run --resume nowhere", 2, &["nowhere"]);
    refused("run --resume .", 2, &["environment.json"]);
}

#[test]
fn a_machine_that_is_unknown_or_too_small_is_refused() {
    refused("sim", 2, &["--machine"]);
    refused("sim --machine brodwell-ep", 2, &["broadwell-ep"]);
    refused("sim --machine file", 2, &["file"]);
    refused("sim --machine zen4 --threads 0", 2, &["0 threads"]);
    refused("sim --machine skylake-client --threads 1000", 2, &["1000"]);
    refused(
        "sim --machine zen4 --scenario nope",
        2,
        &["scenario 'nope'"],
    );
    refused("sim --machine zen4 --threads 2 --out file/x", 2, &["--out"]);
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
fn a_resumed_run_takes_no_design_of_its_own() {
    for option in [
        "--layouts split-packed",
        "--scenario one-vma",
        "--threads 1",
        "--placement compact",
        "--margin 5",
        "--page-work 1us",
        "--first-slot 1",
        "--seed 1",
        "--shard 1/2",
        "--out there",
        "--counters none",
        "--address-map map",
    ] {
        refused(&format!("run --resume there {option}"), 2, &["--resume"]);
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let dir = TempDir::new().unwrap();
    assert!(succeed(dir.path(), "--version").starts_with("hitm "));
    for command in ["run", "layout", "probe", "plot"] {
        assert!(succeed(dir.path(), &format!("{command} --help")).contains("Usage"));
    }
}

#[test]
fn the_list_of_layouts_has_a_row_each() {
    let dir = TempDir::new().unwrap();
    let text = succeed(dir.path(), "layout list --format csv");
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("layout,lock_protocol,bytes_vma,bytes_lock,objects_per_slab,pages_per_1000_vmas")
    );
    let names: Vec<&str> = lines.map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "mmap-lock",
            "embedded-unaligned",
            "split-packed",
            "split-aligned",
            "embedded-rwsem-256",
            "embedded-refcount-256",
            "embedded-refcount-192",
            "embedded-refcount-pair"
        ]
    );
    // The published cost in memory: 50, 64 and 48 pages for 1000 VMAs.
    assert!(text.contains("split-packed,rwsem,160,40,51,50\n"), "{text}");
    assert!(
        text.contains("embedded-refcount-256,refcount,256,0,32,64\n"),
        "{text}"
    );
    assert!(
        text.contains("embedded-refcount-192,refcount,192,0,42,48\n"),
        "{text}"
    );
}

const SMALL: &str = "--layouts split-packed,split-aligned --scenario one-vma --threads 1";

#[test]
fn a_run_folder_holds_what_the_contract_says() {
    let dir = TempDir::new().unwrap();
    let table = succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 12 --seed 9 --out out"),
    );
    assert!(table.contains("baseline-again"), "{table}");
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
    assert_eq!(taken.len(), 12 * 3);
    whole_blocks(&taken, 12);
    for row in &taken {
        assert_eq!(row["backend"], "native");
        assert_eq!(row["valid"] == "false", !row["invalid_reason"].is_empty());
        // One thread has nobody to exchange a line with: not measured, and not 0.
        assert_eq!(row["probe_ns"], "");
        assert_eq!(row["accesses"], "");
    }

    let verdicts = out.join("verdicts.csv");
    assert_eq!(
        header(&verdicts),
        "backend,machine,scenario,placement,threads,prefetch,baseline,layout,ratio,ratio_low,\
         ratio_high,verdict,blocks,blocks_invalid"
    );
    let judged = rows(&verdicts);
    let layouts: Vec<&str> = judged.iter().map(|row| row["layout"].as_str()).collect();
    assert_eq!(layouts, ["baseline-again", "split-aligned"]);
    assert!(judged.iter().all(|row| row["baseline"] == "split-packed"));

    let environment = environment(&out);
    assert_eq!(environment["run"]["seed"], 9);
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

/// Asserts that blocks 0 to `count` are there, each with every arm and every position once.
fn whole_blocks(rows: &[BTreeMap<String, String>], count: u64) {
    let mut blocks: BTreeMap<u64, Vec<(&str, usize)>> = BTreeMap::new();
    for row in rows {
        let block = blocks.entry(row["block"].parse().unwrap()).or_default();
        block.push((&row["layout"], row["order"].parse().unwrap()));
    }
    assert_eq!(
        blocks.keys().copied().collect::<Vec<_>>(),
        (0..count).collect::<Vec<_>>()
    );
    let all: BTreeSet<&str> = rows.iter().map(|row| row["layout"].as_str()).collect();
    for (number, block) in blocks {
        assert_eq!(block.len(), all.len(), "block {number}: {block:?}");
        let arms: BTreeSet<&str> = block.iter().map(|(arm, _)| *arm).collect();
        let orders: BTreeSet<usize> = block.iter().map(|(_, order)| *order).collect();
        assert_eq!(arms, all, "block {number}");
        assert_eq!(orders, (0..block.len()).collect(), "block {number}");
    }
}

fn environment(out: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(out.join("environment.json")).unwrap()).unwrap()
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

/// Starts a long run and waits until it has finished blocks.
fn started(dir: &Path) -> Child {
    let child = hitm_child(dir)
        .args(format!("run {SMALL} --blocks 1000000 --out out").split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let samples = dir.join("out/samples.csv");
    let start = Instant::now();
    while fs::read_to_string(&samples).map_or(0, |text| text.lines().count()) < 10 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "no block in a minute"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: sends a signal to our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// How many blocks there are, all of them whole.
fn blocks_in(out: &Path) -> u64 {
    let rows = rows(&out.join("samples.csv"));
    let blocks = rows.len() as u64 / 3;
    whole_blocks(&rows, blocks);
    blocks
}

#[test]
fn an_interrupted_run_keeps_its_blocks_and_goes_on_from_there() {
    for signalled in [libc::SIGINT, libc::SIGTERM] {
        let dir = TempDir::new().unwrap();
        let out = dir.path().join("out");
        let child = started(dir.path());
        signal(&child, signalled);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let said = stderr(&output);
        assert!(
            said.lines()
                .last()
                .unwrap()
                .starts_with("hitm: interrupted"),
            "{said}"
        );
        assert!(environment(&out)["run"]["interrupted"].as_bool().unwrap());
        assert_eq!(rows(&out.join("verdicts.csv")).len(), 2);
        let report = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(report.contains("was interrupted"));

        let before = blocks_in(&out);
        succeed(
            dir.path(),
            &format!("run --resume out --blocks {}", before + 3),
        );
        assert_eq!(blocks_in(&out), before + 3);
        assert!(!environment(&out)["run"]["interrupted"].as_bool().unwrap());
        let report = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(!report.contains("was interrupted"));
    }
}

#[test]
fn a_killed_run_goes_on_even_if_its_last_block_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let mut child = started(dir.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let before = blocks_in(&out);
    assert!(before >= 3);

    // As after a loss of power: a row and a half of the last block are missing.
    let samples = out.join("samples.csv");
    let text = fs::read_to_string(&samples).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (half, whole) = (lines[lines.len() - 2], &lines[..lines.len() - 2]);
    fs::write(&samples, whole.join("\n") + "\n" + &half[..half.len() / 2]).unwrap();

    succeed(
        dir.path(),
        &format!("run --resume out --blocks {}", before + 1),
    );
    assert_eq!(blocks_in(&out), before + 1);
}

#[test]
fn a_resumed_run_keeps_the_columns_of_its_file() {
    let dir = TempDir::new().unwrap();
    let samples = dir.path().join("out/samples.csv");
    succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 1 --counters none --out out"),
    );
    let columns = header(&samples);
    succeed(dir.path(), "run --resume out --blocks 2");
    assert_eq!(header(&samples), columns);
    assert_eq!(blocks_in(&dir.path().join("out")), 2);
}

#[test]
fn a_run_that_is_being_written_is_not_resumed() {
    let dir = TempDir::new().unwrap();
    let mut child = started(dir.path());
    let output = run(dir.path(), "run --resume out --blocks 1");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        stderr(&output).contains("another run"),
        "{}",
        stderr(&output)
    );
}

/// A handicap of 50 % is a regression that any machine shows in 60 blocks, unless it disturbs
/// nearly all of them; then only the agreement of status and file is checked.
#[test]
fn fail_on_regression_ends_with_status_1_exactly_if_there_is_one() {
    let dir = TempDir::new().unwrap();
    for attempt in 0..4 {
        let args = "--layouts split-packed,split-packed+50% --scenario one-vma --threads 1";
        let out = format!("out{attempt}");
        let output = run(
            dir.path(),
            &format!("run {args} --blocks 60 --fail-on regression --out {out}"),
        );
        let judged = rows(&dir.path().join(&out).join("verdicts.csv"));
        let found = judged
            .iter()
            .any(|row| row["layout"] == "split-packed+50%" && row["verdict"] == "regression");
        assert_eq!(
            output.status.code(),
            Some(i32::from(found)),
            "{judged:?} {output:?}"
        );
        if found {
            assert!(
                stderr(&output).contains("split-packed+50%"),
                "{}",
                stderr(&output)
            );
            return;
        }
        let valid: u64 = judged[1]["blocks"].parse().unwrap();
        assert!(
            valid < 30,
            "{valid} valid blocks and no regression seen: {judged:?}"
        );
    }
    eprintln!("too busy here: hardly any sample was valid, so status 1 was not seen");
}

#[test]
fn csv_and_json_go_to_stdout_and_nothing_else_does() {
    let dir = TempDir::new().unwrap();
    let text = succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 1 --format csv --out a"),
    );
    assert!(
        text.starts_with("backend,machine,scenario,placement,threads,prefetch,baseline,layout,"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 3, "{text}");
    let text = succeed(
        dir.path(),
        &format!("run {SMALL} --blocks 1 --format json --out b"),
    );
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
}

/// What `hitm run` writes to a terminal.
fn on_a_terminal(dir: &Path, out: &str, no_color: Option<&str>) -> String {
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: two out-parameters; null asks for a name, modes and a size of no one's choosing.
    let made = unsafe {
        libc::openpty(
            &mut ours,
            &mut theirs,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: just opened, and owned by nobody else.
    let (mut ours, theirs) =
        unsafe { (fs::File::from_raw_fd(ours), fs::File::from_raw_fd(theirs)) };
    assert!(theirs.as_raw_fd() >= 0);
    let mut command = hitm_child(dir);
    command
        .args(format!("run {SMALL} --blocks 1 --out {out}").split_whitespace())
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(theirs)
        .stderr(Stdio::null());
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    let mut child = command.spawn().unwrap();
    // The command holds the terminal open until it is dropped.
    drop(command);
    let mut text = Vec::new();
    // A terminal whose last writer has gone reads as an error.
    let _ = ours.read_to_end(&mut text);
    assert!(child.wait().unwrap().success());
    String::from_utf8(text).unwrap()
}

#[test]
fn colour_is_for_terminals_that_were_not_asked_to_do_without() {
    let dir = TempDir::new().unwrap();
    assert!(on_a_terminal(dir.path(), "a", None).contains('\x1b'));
    assert!(!on_a_terminal(dir.path(), "b", Some("1")).contains('\x1b'));
    let piped = succeed(dir.path(), &format!("run {SMALL} --blocks 1 --out c"));
    assert!(!piped.contains('\x1b'));
}
