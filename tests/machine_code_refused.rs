//! Where a policy forbids memory that code is made in: cases are refused, with the cause, and faults
//! are measured where the linker put their code.
//!
//! Seccomp filters are those of the thread that starts `hitm`, and pass on to it.
#![cfg(target_arch = "x86_64")]

mod seccomp;

use hitm::results::{RunRecord, read_samples};
use seccomp::{ERRNOS, refuse};
use std::path::Path;
use std::process::{Command, Output};

/// `hitm run` of `what` into `out`, where the kernel refuses to make memory executable.
fn run(what: &[&str], out: &Path, errno: i32) -> Output {
    let start = || {
        let executable = (libc::PROT_READ | libc::PROT_EXEC) as u32;
        refuse(libc::SYS_mprotect, Some((2, executable)), errno);
        let mut hitm = Command::new(env!("CARGO_BIN_EXE_hitm"));
        hitm.arg("run").args(what);
        hitm.args(["--threads", "1", "--blocks", "2"]);
        hitm.arg("--out").arg(out).output().unwrap()
    };
    std::thread::scope(|scope| scope.spawn(start).join().unwrap())
}

#[test]
fn a_policy_against_executable_memory_is_named_with_exit_status_3() {
    let folder = tempfile::tempdir().unwrap();
    for (errno, name) in ERRNOS {
        let out = folder.path().join(name);
        let output = run(&["--case", "dentry"], &out, errno);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains("mprotect"), "{stderr}");
        let cause = match name {
            "EACCES" => "SELinux",
            _ => "seccomp",
        };
        assert!(stderr.contains(cause), "{stderr}");
        assert!(!out.exists(), "nothing was measured");
    }
}

#[test]
fn a_run_of_faults_goes_on_where_the_linker_put_its_code_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let faults = ["--layouts", "split-packed", "--scenario", "one-vma"];
    for (errno, cause) in [(libc::EACCES, "SELinux"), (libc::EPERM, "seccomp")] {
        let out = folder.path().join(cause);
        let output = run(&faults, &out, errno);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert_eq!(
            stderr.matches("where the linker put it").count(),
            1,
            "{stderr}"
        );
        assert!(
            stderr.contains(cause) && stderr.contains("allow it"),
            "{stderr}"
        );
        let samples = read_samples(&out.join("samples.csv")).unwrap().samples;
        let mut codes: Vec<&str> = samples.iter().map(|s| s.code.as_str()).collect();
        codes.sort();
        codes.dedup();
        assert_eq!(codes, ["rwsem-split", "rwsem-split-recompiled"]);
        let text = std::fs::read_to_string(out.join("environment.json")).unwrap();
        let environment: serde_json::Value = serde_json::from_str(&text).unwrap();
        let run: RunRecord = serde_json::from_value(environment["run"].clone()).unwrap();
        let mut unmeasured = run.unmeasured.iter();
        let reason = unmeasured.find(|one| one.what == "code_place").unwrap();
        assert!(reason.why.contains(cause), "{}", reason.why);
    }
}
