//! Cases where a policy forbids memory that code is made in: refused, with the cause.
//!
//! Seccomp filters are those of the thread that starts `hitm`, and pass on to it.
#![cfg(target_arch = "x86_64")]

mod seccomp;

use seccomp::{ERRNOS, refuse};
use std::path::Path;
use std::process::{Command, Output};

/// `hitm run` of a case into `out`, where the kernel refuses to make memory executable.
fn run(out: &Path, errno: i32) -> Output {
    let start = || {
        let executable = (libc::PROT_READ | libc::PROT_EXEC) as u32;
        refuse(libc::SYS_mprotect, Some((2, executable)), errno);
        let mut hitm = Command::new(env!("CARGO_BIN_EXE_hitm"));
        hitm.args(["run", "--case", "dentry", "--threads", "1", "--blocks", "2"]);
        hitm.arg("--out").arg(out).output().unwrap()
    };
    std::thread::scope(|scope| scope.spawn(start).join().unwrap())
}

#[test]
fn a_policy_against_executable_memory_is_named_with_exit_status_3() {
    let folder = tempfile::tempdir().unwrap();
    for (errno, name) in ERRNOS {
        let out = folder.path().join(name);
        let output = run(&out, errno);
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
