//! `hitm prefetch` and `hitm run --prefetch ab` killed, interrupted, or refused by the kernel, at
//! every moment there is.
//!
//! Registers and journal change by system calls alone, so ending the process before each that can
//! change anything meets every state it can leave behind; random moments are tried besides.
//! `HITM_KILLS=200` sets how many (default 40, 6 of `run`), `HITM_ALL_ERRORS=1` fails each call
//! with every error.
#![cfg(target_arch = "x86_64")]

mod prefetch_tree;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use prefetch_tree::{Tree, stderr};
use rand::{RngExt, SeedableRng};
use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What happens to the process at a system call.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// A signal arrives just before it.
    Signal(Signal),
    /// It is not executed and fails with this error.
    Error(i32),
    /// It is not executed and claims to have moved four bytes.
    Short,
}

/// How the process ended.
struct End {
    /// Whether it came as far as the call in question; the call, if so.
    struck: Option<u64>,
    /// Its exit status, if no signal ended it.
    code: Option<i32>,
    stderr: String,
}

/// System calls of x86-64 that files are used with, and signal handlers installed.
mod call {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const FSTAT: u64 = 5;
    pub const RT_SIGACTION: u64 = 13;
    pub const PREAD: u64 = 17;
    pub const PWRITE: u64 = 18;
    pub const FLOCK: u64 = 73;
    pub const FSYNC: u64 = 74;
    pub const RENAME: u64 = 82;
    pub const UNLINK: u64 = 87;
    pub const READLINK: u64 = 89;
    pub const GETDENTS: u64 = 217;
    pub const OPENAT: u64 = 257;
    pub const NEWFSTATAT: u64 = 262;
    pub const STATX: u64 = 332;

    /// Those that can change what is on disk.
    pub const CHANGING: [u64; 6] = [WRITE, PWRITE, FSYNC, RENAME, UNLINK, OPENAT];

    pub const USED: [u64; 15] = [
        READ,
        WRITE,
        FSTAT,
        RT_SIGACTION,
        PREAD,
        PWRITE,
        FLOCK,
        FSYNC,
        RENAME,
        UNLINK,
        READLINK,
        GETDENTS,
        OPENAT,
        NEWFSTATAT,
        STATX,
    ];
}

/// Which system calls count.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Calls {
    /// All from the first on that names a file of the tree.
    FromTree,
    /// Those on files of the tree.
    OnTree,
}

/// Run `command`, and let `blow` fall at its `nth` system call of those that count; `tree` is the
/// beginning of the paths of the tree.
fn strike(mut command: Command, tree: &str, calls: Calls, nth: usize, blow: Blow) -> End {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: between fork and exec, only the async-signal-safe ptrace(2) is called.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
    #[expect(clippy::zombie_processes, reason = "waitpid reaps it")]
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    waitpid(pid, None).unwrap();
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();

    let (mut marked, mut seen, mut struck) = (false, 0, None);
    // The signal that the process is to be resumed with; whether it is inside a system call.
    let (mut deliver, mut inside, mut result) = (None, false, None);
    let code = loop {
        // A process that SIGKILL ended is no longer there to be resumed.
        let _ = ptrace::syscall(pid, deliver.take());
        match waitpid(pid, None).unwrap() {
            WaitStatus::Exited(_, code) => break Some(code),
            WaitStatus::Signaled(..) => break None,
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            WaitStatus::PtraceSyscall(_) if inside => {
                inside = false;
                if let Some(result) = result.take() {
                    let mut registers = ptrace::getregs(pid).unwrap();
                    registers.rax = result;
                    ptrace::setregs(pid, registers).unwrap();
                }
            }
            WaitStatus::PtraceSyscall(_) => {
                inside = true;
                let mut registers = ptrace::getregs(pid).unwrap();
                let number = registers.orig_rax;
                let named = [registers.rdi, registers.rsi]
                    .iter()
                    .any(|at| text(&memory, *at).contains(tree));
                marked = match calls {
                    Calls::FromTree => marked || named,
                    Calls::OnTree => named || descriptor(pid, registers.rdi).contains(tree),
                };
                let counts = match blow {
                    Blow::Signal(Signal::SIGKILL) => {
                        call::CHANGING.contains(&number)
                            && !(number == call::WRITE && registers.rdi <= 2)
                    }
                    Blow::Signal(_) => call::USED.contains(&number),
                    // Standard output and error are not ours to fail.
                    Blow::Error(_) => {
                        call::USED.contains(&number)
                            && !(number == call::WRITE && registers.rdi <= 2)
                    }
                    Blow::Short => [call::PREAD, call::PWRITE].contains(&number),
                };
                if !marked || struck.is_some() || !counts {
                    continue;
                }
                seen += 1;
                if seen <= nth {
                    continue;
                }
                struck = Some(number);
                match blow {
                    Blow::Signal(signal) => kill(pid, signal).unwrap(),
                    Blow::Error(_) | Blow::Short => {
                        registers.orig_rax = u64::MAX;
                        ptrace::setregs(pid, registers).unwrap();
                        result = Some(match blow {
                            Blow::Error(error) => -i64::from(error) as u64,
                            _ => 4,
                        });
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    };
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().unwrap();
    pipe.read_to_string(&mut stderr).unwrap();
    End {
        struck,
        code,
        stderr,
    }
}

/// The path behind a descriptor of the process, if it is one.
fn descriptor(pid: Pid, fd: u64) -> String {
    let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    link.unwrap_or_default().to_string_lossy().into_owned()
}

/// The text at an address of the process, if it is one.
fn text(memory: &File, at: u64) -> String {
    let mut bytes = [0; 256];
    let length = memory.read_at(&mut bytes, at).unwrap_or(0);
    let text = bytes[..length].split(|byte| *byte == 0).next();
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}

/// Kill `hitm prefetch ACTION` before each of its system calls that can change something.
fn killed_at_every_call(prepare: &[&str], action: &[&str]) {
    let mut journals = 0;
    for nth in 0.. {
        let tree = Tree::new();
        let start = tree.bytes();
        if !prepare.is_empty() {
            assert!(tree.run(prepare).status.success());
        }
        let before = tree.bytes();
        let marker = tree.root().to_str().unwrap();
        let blow = Blow::Signal(Signal::SIGKILL);
        let end = strike(tree.command(action), marker, Calls::FromTree, nth, blow);
        if end.struck.is_none() {
            assert_eq!(end.code, Some(0), "{}", end.stderr);
            assert!(nth >= 20, "{nth} system calls are too few");
            assert!(journals >= 8, "{journals}");
            break;
        }
        if tree.journal().exists() {
            journals += 1;
        } else if prepare.is_empty() {
            // At most the beginnings of a journal beside the registers.
            let after = tree.bytes();
            assert!(before.iter().all(|file| after.contains(file)), "call {nth}");
        }
        let restored = tree.run(&["restore"]);
        assert!(restored.status.success(), "{}", stderr(&restored));
        assert!(tree.bytes() == start, "killed before call {nth}");
    }
}

#[test]
fn off_killed_before_any_change_is_put_back_by_restore() {
    killed_at_every_call(&[], &["off"]);
}

#[test]
fn on_killed_before_any_change_is_put_back_by_restore() {
    killed_at_every_call(&["off", "--cpus", "2-3"], &["on"]);
}

#[test]
fn restore_killed_before_any_change_is_finished_by_the_next() {
    killed_at_every_call(&["off"], &["restore"]);
}

#[test]
fn a_signal_at_any_system_call_leaves_all_or_nothing_changed() {
    let (mut interrupted, mut finished) = (0, 0);
    for nth in 0.. {
        let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        let tree = Tree::new();
        let start = tree.bytes();
        let marker = tree.root().to_str().unwrap();
        let blow = Blow::Signal(signals[nth % signals.len()]);
        let end = strike(tree.command(&["off"]), marker, Calls::FromTree, nth, blow);
        if end.struck.is_none() {
            break;
        }
        match end.code {
            // Too late: it was done.
            Some(0) => {
                finished += 1;
                assert!((0..8).all(|cpu| tree.register(cpu) & 0xf == 0xf));
                assert!(tree.run(&["restore"]).status.success());
            }
            Some(130) => interrupted += 1,
            // Before the handlers were there, and so before the journal.
            None => {}
            Some(code) => panic!("{code}: {}", end.stderr),
        }
        assert!(tree.bytes() == start, "{blow:?} before call {nth}");
    }
    assert!(interrupted > 10 && finished > 0, "{interrupted} {finished}");
}

/// Fail each system call of `hitm prefetch ACTION`, in turn.
fn failed_at_every_call(prepare: &[&str], action: &[&str]) {
    use nix::errno::Errno::{EACCES, EINVAL, EIO, EMFILE, ENODEV, ENOENT, EPERM};
    let errors = [EPERM, EACCES, ENOENT, EIO, EINVAL, EMFILE, ENODEV];
    let all_errors = std::env::var_os("HITM_ALL_ERRORS").is_some();
    let (mut failed, mut refused) = (0, 0);
    let mut strikes = |nth, blow| match strike_and_restore(prepare, action, nth, blow) {
        None => false,
        Some(code) => {
            failed += 1;
            refused += usize::from(code != 0);
            true
        }
    };
    let rounds = if all_errors { errors.len() } else { 1 };
    for round in 0..rounds {
        let error = |nth| Blow::Error(errors[(nth + round) % errors.len()] as i32);
        let calls = (0..).take_while(|nth| strikes(*nth, error(*nth))).count();
        assert!(calls > 20, "{calls}");
    }
    let moved = (0..).take_while(|nth| strikes(*nth, Blow::Short)).count();
    assert!(moved >= 16, "{moved}");
    println!("{action:?}: {failed} failed calls, {refused} of them refused");
}

/// The exit status of `hitm prefetch ACTION` with one failed call, if it comes that far.
///
/// It ends well, or says in one line what happened and what to do and has changed nothing.
fn strike_and_restore(prepare: &[&str], action: &[&str], nth: usize, blow: Blow) -> Option<i32> {
    let tree = Tree::new();
    let start = tree.bytes();
    if !prepare.is_empty() {
        assert!(tree.run(prepare).status.success());
    }
    let before = tree.bytes();
    let end = strike(
        tree.command(action),
        tree.root().to_str().unwrap(),
        Calls::FromTree,
        nth,
        blow,
    );
    let number = end.struck?;
    let context = format!("{blow:?} of system call {number} ({nth}): {}", end.stderr);
    match end.code {
        Some(0) => assert_eq!(end.stderr, "", "{context}"),
        Some(2 | 3) => {
            assert!(end.stderr.starts_with("hitm: "), "{context}");
            assert_eq!(end.stderr.lines().count(), 1, "{context}");
            assert!(end.stderr.matches(": ").count() >= 2, "{context}");
            let says = [";", "run ", "give ", "modprobe", "echo ", "raise ", "add "];
            let says = says.iter().any(|word| end.stderr.contains(word));
            assert!(says, "{context}");
            if action != ["restore"] && !end.stderr.contains("NOT put back") {
                let after = tree.bytes();
                let is_register = |(path, _): &&(PathBuf, _)| Path::ends_with(path, "msr");
                let mut registers = before.iter().filter(is_register);
                assert!(registers.all(|file| after.contains(file)), "{context}");
            }
        }
        _ => panic!("{:?} {context}", end.code),
    }
    let restored = tree.run(&["restore"]);
    assert!(restored.status.success(), "{}", stderr(&restored));
    assert!(tree.bytes() == start, "{context}");
    end.code
}

#[test]
fn off_refuses_or_goes_on_whatever_call_fails() {
    failed_at_every_call(&[], &["off"]);
}

#[test]
fn restore_can_be_repeated_whatever_call_fails() {
    failed_at_every_call(&["off"], &["restore"]);
}

/// How often `hitm run --prefetch ab` did what when one of its calls failed.
#[derive(Debug, Default)]
struct Outcomes {
    went_on: u32,
    stopped: u32,
    /// Of those that stopped: with registers for `restore` to put back.
    left_to_restore: u32,
}

/// Let `blow` fall at one system call of `hitm run --prefetch ab` on the registers or their
/// journal: it goes on or stops, and the registers are as they were or `restore` makes them so.
/// False: it has not so many such calls.
fn strike_run(nth: usize, blow: Blow, outcomes: &mut Outcomes) -> bool {
    let (tree, out) = (Tree::new(), tempfile::tempdir().unwrap());
    let start = tree.bytes();
    // The seed settles the order of on and off, and with it the calls.
    let args = ["--cpus", "2-3", "--blocks", "1", "--seed", "7"];
    let command = tree.measure(&out.path().join("run"), &args);
    let root = tree.root().to_str().unwrap();
    let end = strike(command, root, Calls::OnTree, nth, blow);
    let context = format!("{blow:?} of {:?} ({nth}): {}", end.struck, end.stderr);
    assert!(!end.stderr.contains("panicked"), "{context}");
    let left = tree.journal().exists();
    match end.code {
        Some(0) => {
            assert!(!left, "{context}");
            outcomes.went_on += 1;
        }
        Some(2 | 3) if end.struck.is_some() => {
            outcomes.stopped += 1;
            let last = end.stderr.lines().last().unwrap();
            let remedy = last.contains("; ") || last.matches(": ").count() >= 2;
            let is_explained = last.starts_with("hitm: ") && remedy;
            assert!(is_explained, "{context}");
        }
        _ => panic!("{:?} {context}", end.code),
    }
    if left {
        outcomes.left_to_restore += 1;
        let restored = tree.run(&["restore"]);
        assert!(restored.status.success(), "{}", stderr(&restored));
    }
    let after = tree.bytes();
    let mut registers = start.iter().filter(|(path, _)| path.ends_with("msr"));
    assert!(registers.all(|file| after.contains(file)), "{context}");
    end.struck.is_some()
}

#[test]
fn run_stops_or_goes_on_whatever_register_call_fails() {
    use nix::errno::Errno::{EACCES, EINVAL, EIO, EMFILE, ENODEV, ENOENT, EPERM};
    let errors = [EPERM, EACCES, ENOENT, EIO, EINVAL, EMFILE, ENODEV];
    let blow = |nth: usize| match nth % (errors.len() + 1) {
        0 => Blow::Short,
        error => Blow::Error(errors[error - 1] as i32),
    };
    // Each call with each error takes a minute; without, some calls with one error each.
    let (rounds, step) = match std::env::var_os("HITM_ALL_ERRORS") {
        Some(_) => (errors.len() + 1, 1),
        None => (1, 11),
    };
    let mut outcomes = Outcomes::default();
    for round in 0..rounds {
        let mut calls = (0..).step_by(step);
        let end = calls.find(|nth| !strike_run(*nth, blow(nth + round), &mut outcomes));
        assert!(
            end.is_some_and(|calls| calls > 30),
            "{end:?} calls are too few"
        );
    }
    println!("run: {outcomes:?}");
}

/// How often to kill; `few` where nobody says.
fn kills(few: u32) -> u32 {
    match std::env::var("HITM_KILLS") {
        Ok(kills) => kills.parse().unwrap(),
        Err(_) => few,
    }
}

/// Kill `command` on a tree at random moments: every other one spread over its run time, the
/// others over the time from the first sign of the journal to the end.
fn killed_at_random_moments(name: &str, kills: u32, command: impl Fn(&Tree) -> Command) {
    let spawn = |tree: &Tree| {
        let mut command = command(tree);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let until_journal = |tree: &Tree, child: &mut Child| {
        let begun = tree.journal().with_extension("json.new");
        while !begun.exists() && !tree.journal().exists() && child.try_wait().unwrap().is_none() {}
    };
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (mut whole, mut critical) = (Vec::new(), Vec::new());
    for _ in 0..9.min(kills) {
        let tree = Tree::on_disk();
        let begin = Instant::now();
        let mut child = spawn(&tree);
        until_journal(&tree, &mut child);
        let journal = Instant::now();
        assert!(child.wait().unwrap().success());
        whole.push(begin.elapsed());
        critical.push(journal.elapsed());
    }
    let (whole, critical) = (median(whole), median(critical));

    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(0);
    let (mut untouched, mut midway, mut finished) = (0, 0, 0);
    for nth in 0..kills {
        let tree = Tree::on_disk();
        let start = tree.bytes();
        let part = 1.1 * (f64::from(nth) + rng.random::<f64>()) / f64::from(kills);
        let mut begin = Instant::now();
        let mut child = spawn(&tree);
        let moment = if nth % 2 == 0 {
            whole.mul_f64(part)
        } else {
            until_journal(&tree, &mut child);
            begin = Instant::now();
            critical.mul_f64(part)
        };
        while begin.elapsed() < moment {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        let code = child.wait().unwrap().code();
        match (code, tree.journal().exists()) {
            (Some(_), _) => finished += 1,
            (None, true) => midway += 1,
            (None, false) => untouched += 1,
        }
        let restored = tree.run(&["restore"]);
        assert!(restored.status.success(), "{}", stderr(&restored));
        assert!(tree.bytes() == start, "killed after {moment:?}");
    }
    println!(
        "{name}: {kills} of {kills} as at the start; killed without a journal {untouched}, with \
         one {midway}, after the end {finished}"
    );
}

#[test]
fn off_killed_at_random_moments_is_put_back_by_restore() {
    killed_at_random_moments("off", kills(40), |tree| tree.command(&["off"]));
}

#[test]
fn on_killed_at_random_moments_is_put_back_by_restore() {
    killed_at_random_moments("on", kills(40), |tree| tree.command(&["on"]));
}

#[test]
fn run_killed_at_random_moments_is_put_back_by_restore() {
    let (out, number) = (tempfile::tempdir().unwrap(), Cell::new(0));
    killed_at_random_moments("run --prefetch ab", kills(6), |tree| {
        number.set(number.get() + 1);
        let out = out.path().join(number.get().to_string());
        tree.measure(&out, &["--cpus", "0-7", "--budget", "300ms"])
    });
}
