//! What a run says while it goes on, and what it does about a busy machine.

use super::{SMALL, environment, hitm_child, run, stderr, succeed};
use std::os::unix::process::CommandExt;
use tempfile::TempDir;

#[test]
fn without_a_terminal_a_line_says_every_few_seconds_how_far_a_run_is() {
    let dir = TempDir::new().unwrap();
    let (native, model) = ("run", "sim --machine zen4");
    for (at, command) in [native, model].into_iter().enumerate() {
        let output = run(
            dir.path(),
            &format!("{command} {SMALL} --margin 0 --budget 5500ms --out out{at}"),
        );
        let said = stderr(&output);
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| line.contains(" % done: "))
            .collect();
        assert!(!lines.is_empty(), "{said}");
        for line in lines {
            assert!(line.starts_with("hitm: "), "{line}");
            assert!(line.contains("verdicts decided"), "{line}");
            assert!(line.contains("of samples set aside"), "{line}");
        }
        assert!(!String::from_utf8_lossy(&output.stdout).contains("% done"));
    }
}

#[test]
fn a_quiet_run_says_its_results_alone() {
    let dir = TempDir::new().unwrap();
    let args = format!("sim --machine zen4 {SMALL} --margin 0 --budget 5500ms --quiet --out out");
    let output = run(dir.path(), &args);
    assert_eq!(stderr(&output), "");
    assert!(String::from_utf8_lossy(&output.stdout).contains("split-aligned"));
}

#[test]
fn real_time_priority_can_be_refused_and_stays_refused() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let args = format!("run {SMALL} --blocks 1 --counters none --no-realtime --out out");
    succeed(dir.path(), &args);
    assert_eq!(environment(&out)["settings"]["no_realtime"], true);
    succeed(dir.path(), "run --resume out --blocks 2");
    assert_eq!(environment(&out)["settings"]["no_realtime"], true);
    assert_ne!(environment(&out)["run"]["real_time"], "in-samples");
    let output = run(dir.path(), "run --resume out --no-realtime");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // An ordinary run does not record that nothing was refused.
    let args = format!("run {SMALL} --blocks 1 --counters none --out other");
    succeed(dir.path(), &args);
    let settings = &environment(&dir.path().join("other"))["settings"];
    assert!(settings.get("no_realtime").is_none(), "{settings}");
}

#[test]
fn a_system_that_starts_no_more_threads_refuses_with_one_line() {
    let dir = TempDir::new().unwrap();
    for args in [
        format!("run {SMALL} --blocks 1 --out out"),
        format!("sim --machine zen4 {SMALL} --dry-run"),
    ] {
        let mut command = hitm_child(dir.path());
        command.args(args.split_whitespace());
        // SAFETY: getuid has no preconditions.
        if unsafe { libc::getuid() } == 0 {
            // The limit is not for root.
            command.uid(65534);
        }
        // SAFETY: setrlimit may be called between fork and exec, and reads one valid `rlimit`.
        unsafe {
            command.pre_exec(|| {
                let one = libc::rlimit {
                    rlim_cur: 1,
                    rlim_max: 1,
                };
                match libc::setrlimit(libc::RLIMIT_NPROC, &raw const one) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let Ok(output) = command.output() else {
            // Nobody but root may read the folder that the binary is in.
            return;
        };
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{args}: {said}");
        assert!(
            said.contains("ulimit -u") && said.lines().count() == 1,
            "{said}"
        );
    }
}
