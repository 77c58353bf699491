//! Cases: what is listed, shown and refused.

use super::{run, stderr, succeed};
use hitm::case::{Case, PublishedMachine};
use hitm::sim::Machine;
use std::fs;
use tempfile::TempDir;

const CASE: &str = "case = 1
struct = \"thing\"
[[layout]]
name = \"plain\"
size = 64
fields = { count = [0, 8], lock = [8, 4] }
[[role]]
name = \"all\"
threads = \"rest\"
steps = [{ lock = \"lock\", kind = \"queued\" }, { write = \"count\" }, { unlock = \"lock\" }]
";

#[test]
fn every_case_is_listed_and_shown() {
    let dir = TempDir::new().unwrap();
    let listed = succeed(dir.path(), "case list --format csv");
    let header = "case,struct,layouts,roles,least_threads,published,about\n";
    assert!(listed.starts_with(header), "{listed}");
    let table = succeed(dir.path(), "case list");
    for name in Case::names() {
        assert!(table.lines().any(|line| line.starts_with(name)), "{name}");
        let case = Case::load(name).unwrap();
        let shown = succeed(dir.path(), &format!("case show {name}"));
        for layout in &case.layouts {
            assert!(shown.contains(&layout.name), "{shown}");
        }
        for role in &case.roles {
            assert!(shown.contains(&format!("role {}:", role.name)), "{shown}");
        }
        assert!(succeed(dir.path(), &format!("case check {name}")).contains(": ok ("));
    }
    let json = succeed(dir.path(), "case list --format json");
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), Case::names().count());
}

#[test]
fn a_published_figure_names_a_machine_that_there_is() {
    for name in Case::names() {
        for figure in Case::load(name).unwrap().published {
            let model = match figure.machine {
                PublishedMachine::Model(model) => model,
                PublishedMachine::Like { model, .. } => model,
            };
            assert!(Machine::names().any(|one| one == model), "{name}: {model}");
        }
    }
}

#[test]
fn steps_are_shown_in_order_and_once_for_layouts_that_agree() {
    let dir = TempDir::new().unwrap();
    let shown = succeed(dir.path(), "case show percpu_counter");
    let at = |text: &str| {
        shown
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {shown}"))
    };
    assert!(at("in batch:") < at("each 1 passes"));
    assert!(at("each 1 passes") < at("lock lock (queued)"));
    assert!(at("in batch-x64:") < at("each 64 passes"));
    assert!(!succeed(dir.path(), "case show dentry").contains("in v6.10:"));
}

#[test]
fn machine_code_is_shown_with_what_its_accesses_are() {
    let dir = TempDir::new().unwrap();
    let output = run(dir.path(), "case show page_counter --asm --layout v5.11");
    if cfg!(not(target_arch = "x86_64")) {
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("v5.11, role "), "{text}");
    let locked = text.lines().find(|line| line.contains("lock "));
    assert!(
        locked.is_some_and(|line| line.contains("; slot ") && line.ends_with("usage")),
        "{text}"
    );
    for args in [
        "case show dentry --asm --trace",
        "case show dentry --layout v6.9",
    ] {
        assert_eq!(run(dir.path(), args).status.code(), Some(2), "{args}");
    }
}

#[test]
fn a_file_is_checked_with_its_name_line_and_key() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("thing.toml"), CASE).unwrap();
    let ok = succeed(dir.path(), "case check thing.toml");
    assert!(ok.starts_with("thing: ok (1 layout, 1 role"), "{ok}");
    succeed(dir.path(), "case show ./thing.toml");
    let wrong = CASE.replace("write = \"count\"", "write = \"cuont\"");
    fs::write(dir.path().join("wrong.toml"), wrong).unwrap();
    fs::write(dir.path().join("UPPER.toml"), CASE).unwrap();
    fs::write(dir.path().join("bytes.toml"), b"case = 1\n# \xff").unwrap();
    fs::write(dir.path().join("long.toml"), "#".repeat((1 << 20) + 1)).unwrap();
    for (args, says) in [
        ("case check wrong.toml", "wrong.toml:10: role 'all'"),
        ("case show wrong.toml", "count"),
        ("case check UPPER.toml", "small letters"),
        ("case check bytes.toml", "byte 11 is not UTF-8"),
        ("case check long.toml", "1048576 bytes at most"),
        (
            "case check missing.toml",
            "cannot read case file missing.toml",
        ),
        ("case check ./", "cannot read case file"),
        ("case show dentri", "dentry"),
        ("case", "--help"),
    ] {
        let output = run(dir.path(), args);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args}: {message}");
        assert_eq!(message.matches('\n').count(), 1, "{args}: {message}");
        assert!(message.contains(says), "{args}: {message}");
        assert!(output.stdout.is_empty(), "{args}");
    }
}

#[test]
fn a_struct_of_the_running_kernel_can_be_a_layout() {
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let steps = "steps = [{ read = [\"d_name.name\", \"d_flags\"] }, { read = [\"d_inode\"] }]";
    let text = format!(
        "case = 1\nstruct = \"dentry\"\n[[layout]]\nname = \"mine\"\nbtf = \"dentry\"\n\
         [[role]]\nname = \"all\"\nthreads = \"rest\"\n{steps}\n"
    );
    fs::write(dir.path().join("mine.toml"), &text).unwrap();
    assert!(succeed(dir.path(), "case show mine.toml").contains("mine"));
    let wrong = text.replace("d_inode", "d_inoed");
    fs::write(dir.path().join("mine.toml"), wrong).unwrap();
    let output = run(dir.path(), "case check mine.toml");
    assert!(stderr(&output).contains("d_inode"), "{}", stderr(&output));
}

#[test]
fn a_case_that_guesses_says_how_much_hangs_on_the_guess() {
    let dir = TempDir::new().unwrap();
    let line = "sim --machine sapphire-rapids --case dentry --threads 2 --blocks 10 --out run";
    let text = succeed(dir.path(), line);
    let guesses = "Work that the case guesses: 80 to 300 ns of stat";
    assert!(text.contains(guesses), "{text}");
    let environment = fs::read_to_string(dir.path().join("run/environment.json")).unwrap();
    assert!(
        environment.contains("da549bdd15c2"),
        "the case's text is kept"
    );
}

#[test]
fn several_roles_have_verdicts_of_their_own_and_rows_beside_the_others() {
    let dir = TempDir::new().unwrap();
    let line = "sim --machine zen4,graviton4 --case used_memory_thread --threads 3 --blocks 10 \
                --format csv --out run";
    let text = succeed(dir.path(), line);
    for machine in ["zen4", "graviton4"] {
        let folder = dir.path().join("run").join(machine);
        let verdicts = fs::read_to_string(folder.join("verdicts.csv")).unwrap();
        for role in [",io,", ",main,"] {
            assert!(verdicts.contains(role), "{verdicts}");
            let of_it = |row: &str| row.contains(machine) && row.contains(role);
            assert!(text.lines().any(of_it), "{text}");
        }
        let roles = fs::read_to_string(folder.join("roles.csv")).unwrap();
        // Two roles of three arms in ten blocks, and the header.
        assert_eq!(roles.lines().count(), 61);
    }
}
