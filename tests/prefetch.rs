//! The command line of `hitm prefetch`, on a folder of register files.

mod prefetch_tree;

use prefetch_tree::{Tree, stderr};
use std::process::Command;

fn code(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hitm"))
        .arg("prefetch")
        .args(args)
        .output()
        .unwrap();
    (output.status.code(), stderr(&output))
}

#[test]
fn off_and_on_last_until_restore() {
    let tree = Tree::new();
    let start = tree.bytes();
    let originals: Vec<u64> = (0..8).map(|cpu| tree.register(cpu)).collect();
    for (action, bits) in [("off", 0x2), ("on", 0)] {
        let output = tree.run(&[action, "--which", "adjacent"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(tree.journal().exists());
        for (cpu, original) in originals.iter().enumerate() {
            assert_eq!(tree.register(cpu), original & !0x2 | bits, "CPU {cpu}");
        }
    }
    assert!(tree.run(&["restore"]).status.success());
    assert_eq!(tree.bytes(), start);
    let again = tree.run(&["restore"]);
    assert!(again.status.success());
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing to restore"));
    assert_eq!(tree.bytes(), start);
}

#[test]
fn only_the_cpus_asked_for_change() {
    let tree = Tree::new();
    let originals: Vec<u64> = (0..8).map(|cpu| tree.register(cpu)).collect();
    assert!(tree.run(&["off", "--cpus", "1,4-5"]).status.success());
    for (cpu, original) in originals.iter().enumerate() {
        let bits = if [1, 4, 5].contains(&cpu) { 0xf } else { 0 };
        assert_eq!(tree.register(cpu), original | bits);
    }
}

#[test]
fn status_tells_each_cpu_and_changes_nothing() {
    let tree = Tree::new();
    let start = tree.bytes();
    let output = tree.run(&["status", "--format", "csv"]);
    let csv = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        csv.lines().next().unwrap(),
        "cpu,core,prefetcher,register,bit,value,state"
    );
    assert_eq!(csv.lines().count(), 1 + 8 * 4);
    for (cpu, state) in [(0, "on"), (2, "off"), (7, "off")] {
        let value = tree.register(cpu);
        let row = format!("{cpu},Sapphire Rapids,adjacent,0x1a4,1,{value:#x},{state}");
        assert!(csv.lines().any(|line| line == row), "{row} in {csv}");
    }
    let output = tree.run(&["status", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["prefetchers"].as_array().unwrap().len(), 8 * 4);
    assert_eq!(json["left_changed"], serde_json::Value::Null);
    let table = String::from_utf8(tree.run(&["status"]).stdout).unwrap();
    assert!(table.contains("adjacent"), "{table}");
    assert_eq!(tree.bytes(), start);

    tree.run(&["off"]);
    let table = String::from_utf8(tree.run(&["status"]).stdout).unwrap();
    assert!(table.contains("hitm prefetch restore"), "{table}");
}

#[test]
fn broadwell_and_genoa_are_chosen_by_model_and_vendor() {
    let tree = Tree::new();
    let output = tree.run(&["status", "--model", "6:0x4f", "--format", "csv"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("Broadwell"));
    let root = tree.root().to_str().unwrap();
    // The files end before Genoa's register.
    let (status, error) = code(&["off", "--msr-root", root, "--vendor", "amd"]);
    assert_eq!(status, Some(3));
    assert!(
        error.contains("0xc0000108") && error.contains("short read"),
        "{error}"
    );
    let args = [
        "off",
        "--msr-root",
        root,
        "--vendor",
        "amd",
        "--model",
        "0x17:0x31",
    ];
    let (status, error) = code(&args);
    assert_eq!(status, Some(3));
    assert!(error.contains("--unsafe-msr"), "{error}");
}

#[test]
fn sparse_files_reach_the_registers_of_amd() {
    use std::os::unix::fs::FileExt;
    const CONTROL: u64 = 0xc000_0108;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("cpu");
    let files: Vec<std::fs::File> = (0..2)
        .map(|cpu: u8| {
            let folder = root.join(cpu.to_string());
            std::fs::create_dir_all(&folder).unwrap();
            let mut options = std::fs::File::options();
            let options = options.create_new(true).read(true).write(true);
            let file = options.open(folder.join("msr")).unwrap();
            file.write_all_at(&[cpu, 0, 0, 0, 0, 0, 0, 0x80], CONTROL)
                .unwrap();
            file
        })
        .collect();
    let first_bytes = || {
        files.iter().map(|file| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, CONTROL).unwrap();
            assert_eq!(bytes[1..], [0, 0, 0, 0, 0, 0, 0x80]);
            bytes[0]
        })
    };
    let root = root.to_str().unwrap();
    for (args, expected) in [
        (&["off", "--which", "up-down"][..], [0x20, 0x21]),
        (&["off"], [0x2f, 0x2f]),
        (&["on", "--cpus", "1"], [0x2f, 0]),
        (&["restore"], [0, 1]),
    ] {
        let (status, error) = code(&[args, &["--msr-root", root, "--vendor", "amd"]].concat());
        assert_eq!(status, Some(0), "{error}");
        assert!(first_bytes().eq(expected), "{args:?}");
    }
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let tree = Tree::new();
    let start = tree.bytes();
    for (args, status, words) in [
        (&["off", "--which", "up-down"][..], 3, "up-down"),
        (&["off", "--which", "ajacent"], 2, "adjacent"),
        (&["off", "--model", "6:0x1c"], 3, "0x1c"),
        (&["off", "--model", "6.79"], 2, "6:0x4f"),
        (&["off", "--cpus", "3-1"], 2, "0-3,8"),
        (&["off", "--cpus", ""], 2, "0-3,8"),
        (&["off", "--cpus", "0-99999999"], 2, "0-3,8"),
        (&["off", "--cpus", "8"], 2, "0-7"),
    ] {
        let output = tree.run(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}");
        let error = stderr(&output);
        assert!(error.contains(words), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert_eq!(tree.bytes(), start);
    let root = tree.root().to_str().unwrap();
    assert_eq!(code(&["off", "--msr-root", root]).0, Some(2));
    assert_eq!(code(&["status", "--vendor", "intel"]).0, Some(2));
    assert_eq!(code(&["restore", "--msr-root", "/nowhere"]).0, Some(2));
}

#[test]
fn a_cpu_without_a_usable_file_stops_before_any_write() {
    let tree = Tree::new();
    let broken = tree.root().join("5/msr");
    std::fs::write(&broken, [0; 0x1a6]).unwrap();
    let start = tree.bytes();
    let output = tree.run(&["off"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("CPU 5"), "{}", stderr(&output));
    assert_eq!(tree.bytes(), start);
}
