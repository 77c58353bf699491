//! `case new`: what it writes is a case, and what it cannot write is refused in one line.

use super::{hitm, run, stderr, succeed};
use std::fs;
use std::path::Path;

/// `case new` of the struct `conn` in `dir`, with these arguments more.
fn new(more: &str) -> String {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles");
    let profiles = profiles.display();
    let more = more.replace("PROFILES", &profiles.to_string());
    format!("case new --struct conn --pahole {profiles}/conn.pahole {more}")
}

#[test]
fn a_written_case_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    for (out, more) in [
        ("empty.toml", ""),
        (
            "mem.toml",
            "--perf PROFILES/mem-D.csv --at 0x404080..0x404280",
        ),
        (
            "c2c.toml",
            "--perf PROFILES/c2c-x86-tid.txt --at 0x404080 --at 0x404100..0x404200",
        ),
        ("types.toml", "--perf PROFILES/typeoff.txt"),
        ("table.toml", "--perf PROFILES/cachelines.rst"),
    ] {
        succeed(dir.path(), &new(&format!("{more} --out {out}")));
        succeed(dir.path(), &format!("case check {out}"));
    }
    let text = fs::read_to_string(dir.path().join("mem.toml")).unwrap();
    assert!(text.contains("{ rmw = \"lock.val\" }"), "{text}");
    // And runs on a model.
    let sim = "sim --case mem.toml --machine broadwell-ep --threads 2 --blocks 1 --out sim";
    succeed(dir.path(), sim);
}

#[test]
fn what_cannot_be_written_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("there.toml"), "mine").unwrap();
    fs::write(
        dir.path().join("cut.csv"),
        "# PID, TID, IP, ADDR, LOCAL WEIGHT, DSRC, SYMBOL\n1,1,0x1\n",
    )
    .unwrap();
    for (more, why) in [
        ("--out there.toml", "there already"),
        ("--out no/folder.toml", "cannot write"),
        ("--out Conn.toml", "small letters"),
        ("--out conn", "NAME.toml"),
        ("--perf missing --out x.toml", "cannot read missing"),
        ("--perf cut.csv --at 0x0 --out x.toml", "cut.csv, line 2"),
        ("--perf PROFILES/mem-D.csv --out x.toml", "--at START"),
        (
            "--perf PROFILES/mem-D.csv --at table --out x.toml",
            "--elf FILE",
        ),
        (
            "--perf PROFILES/mem-D.csv --at 404080 --out x.toml",
            "0x404080",
        ),
        (
            "--perf PROFILES/mem-D-nosep.txt --at 0x0 --out x.toml",
            "-D -x,",
        ),
        (
            "--perf there.toml --out x.toml",
            "no profile that hitm reads",
        ),
        ("--perf PROFILES/typecln.txt --out x.toml", "too coarse"),
    ] {
        let output = run(dir.path(), &new(more));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{more}: {said}");
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(why)).collect();
        assert!(!lines.is_empty() && said.ends_with('\n'), "{more}: {said}");
        assert!(!dir.path().join("x.toml").exists(), "{more}");
    }
    assert_eq!(
        fs::read_to_string(dir.path().join("there.toml")).unwrap(),
        "mine"
    );
    hitm(dir.path())
        .args(["case", "new", "--out", "x.toml"])
        .assert()
        .code(2);
}
