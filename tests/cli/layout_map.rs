//! `layout map`, `layout diff`, `layout check`: statuses, columns, and what they find.

use super::{run, stderr, succeed};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A counter that one thread adds to beside a word that the others read; layout `far` parts them.
const CASE: &str = r#"
case = 1
struct = "stats"
[[role]]
name = "adds"
threads = 1
steps = [ { rmw = "sum" } ]
[[role]]
name = "reads"
threads = "rest"
steps = [ { read = ["limit"] } ]
[[layout]]
name = "near"
size = 128
align = 64
fields = { sum = [0, 8], limit = [8, 8] }
[[layout]]
name = "far"
base = "near"
move = { limit = 64 }
[[rule]]
apart = [{ role = "adds", does = "write" }, { role = "reads", does = "read" }]
within = 64
[[rule]]
max_size = 128
"#;

fn folder(case: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("stats.toml"), case).unwrap();
    dir
}

fn csv_rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn the_map_has_a_row_a_conflict_and_phase() {
    let dir = folder(CASE);
    let text = succeed(dir.path(), "layout map --case stats.toml --format csv");
    let header = text.lines().next().unwrap();
    assert_eq!(
        header,
        "layout,scope,slot_phase,within,kind,field_a,role_a,field_b,role_b,weight"
    );
    let rows = csv_rows(&text);
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let cell = |name: &str| row[name].as_str();
            (
                cell("layout"),
                cell("within"),
                cell("kind"),
                cell("field_a"),
                cell("field_b"),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("near", "64", "writer-reader", "sum", "limit"),
            ("far", "128", "writer-reader", "sum", "limit"),
        ]
    );
    let json = succeed(
        dir.path(),
        "layout map --case stats.toml --layout far --format json",
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["within"], 128);
}

#[test]
fn the_lockref_of_6_10_is_found_beside_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let text = succeed(dir.path(), "layout map --case dentry --format csv");
    let has = |layout: &str, within: &str| {
        csv_rows(&text).iter().any(|row| {
            row["layout"] == layout
                && row["within"] == within
                && row["field_a"] == "d_lockref"
                && row["field_b"] == "d_iname"
        })
    };
    assert!(has("v6.10", "64"));
    assert!(!has("v6.11", "64") && has("v6.11", "128"));
}

#[test]
fn packed_locks_and_odd_slots_are_seen_without_being_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let text = succeed(dir.path(), "layout map split-packed");
    assert!(
        text.contains("89 of 102 objects share a line with another one"),
        "{text}"
    );
    let text = succeed(dir.path(), "layout map embedded-refcount-192");
    assert!(
        text.contains("odd slots") && text.contains("even slots"),
        "{text}"
    );
    assert!(
        text.contains("True sharing, which no layout removes"),
        "{text}"
    );
    // No colour where nobody sees it.
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn a_picture_is_one_layout() {
    let dir = folder(CASE);
    succeed(
        dir.path(),
        "layout map --case stats.toml --layout near --svg map.svg",
    );
    let svg = fs::read_to_string(dir.path().join("map.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains(">limit<") && svg.ends_with("</svg>"));
    let output = run(dir.path(), "layout map --case stats.toml --svg all.svg");
    assert_eq!(output.status.code(), Some(2));
    assert!(!dir.path().join("all.svg").exists());
}

#[test]
fn a_diff_says_who_parts_from_whom() {
    let dir = folder(CASE);
    let text = succeed(
        dir.path(),
        "layout diff --case stats.toml near far --format csv",
    );
    let rows = csv_rows(&text);
    assert_eq!(rows[0]["field"], "sum");
    assert_eq!(
        (rows[0]["change"].as_str(), rows[0]["left_line"].as_str()),
        ("neighbours", "limit")
    );
    assert_eq!(
        (rows[1]["change"].as_str(), rows[1]["offset_after"].as_str()),
        ("moved", "64")
    );
    let json = "layout diff case:stats.toml:near case:stats.toml:far --format json";
    let json: serde_json::Value = serde_json::from_str(&succeed(dir.path(), json)).unwrap();
    assert_eq!(json["conflicts"].as_array().unwrap().len(), 2);
    assert_eq!(json["before"]["bytes"], 128);
    let text = succeed(
        dir.path(),
        "layout diff split-packed embedded-refcount-192 --machines broadwell-ep --threads 2",
    );
    assert!(text.contains("  broadwell-ep "), "{text}");
    assert!(
        text.contains("160 + 40") && text.contains("vm_lock"),
        "{text}"
    );
}

#[test]
fn a_diff_of_one_case_says_what_the_change_costs() {
    let dir = folder(CASE);
    let diff = |rest: &str| run(dir.path(), &format!("layout diff --case stats.toml {rest}"));
    let costs = |rest: &str| -> Vec<serde_json::Value> {
        let output = diff(&format!("near far --format json {rest}"));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["costs"].as_array().unwrap().clone()
    };
    // More threads than any machine has are left out.
    let rows = costs("--machines zen4,broadwell-ep --threads 2,60000");
    assert_eq!(rows.len(), 2, "{rows:?}");
    for row in &rows {
        assert_eq!(
            (&row["kind"], &row["threads"]),
            (&"simulated".into(), &2.into())
        );
        let part = |name: &str| row[name].as_f64().unwrap();
        let (low, high) = (part("time_change_low"), part("time_change_high"));
        assert!(low <= part("time_change") && part("time_change") <= high);
        assert!(high < 0.0, "apart is faster: {row}");
    }
    assert!(costs("--machines none").is_empty());
    for (rest, says) in [
        ("near far --machines zen5 --threads 60000", "room"),
        ("near far --machines zne4", "zen4"),
        ("near near --machines zen4", "the same layout"),
        ("near far --machines zen4 --format csv", "CSV"),
    ] {
        let output = diff(rest);
        assert_eq!(output.status.code(), Some(2), "{rest}");
        assert!(
            stderr(&output).contains(says),
            "{rest}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn layouts_are_compared_across_sources() {
    let dir = tempfile::tempdir().unwrap();
    let text = "struct s {\n\tint a; /* 0 4 */\n\tint b; /* 4 4 */\n\n\t/* size: 8, cachelines: 1, members: 2 */\n};\n";
    fs::write(dir.path().join("old.txt"), text).unwrap();
    let text = text
        .replace("int b; /* 4 4 */", "long b; /* 8 8 */")
        .replace("size: 8", "size: 16");
    fs::write(dir.path().join("new.txt"), text).unwrap();
    let text = succeed(
        dir.path(),
        "layout diff pahole:old.txt:s pahole:new.txt --format csv",
    );
    let rows = csv_rows(&text);
    assert_eq!(rows[0]["field"], "b");
    assert_eq!(rows[0]["change"], "moved and resized");
    // Without roles the map shows lines all the same.
    let text = succeed(dir.path(), "layout map --pahole new.txt");
    assert!(
        text.contains("Nothing is known of who reads and writes"),
        "{text}"
    );
    let text = succeed(dir.path(), "layout map --pahole new.txt --format csv");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_broken_rule_is_status_1_and_names_both_fields() {
    let dir = folder(CASE);
    let output = run(dir.path(), "layout check --case stats.toml");
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let broken: Vec<&str> = stdout
        .lines()
        .filter(|line| line.starts_with("broken"))
        .collect();
    assert_eq!(broken.len(), 1, "{stdout}");
    for word in ["near", "sum", "'adds'", "limit", "'reads'", "line 0"] {
        assert!(broken[0].contains(word), "{word}: {}", broken[0]);
    }
    assert!(stderr(&output).contains("1 of 4 rules"));
    let text = succeed(dir.path(), "layout check --case stats.toml --layout far");
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("holds"))
            .count(),
        2
    );
}

fn refused(dir: &Path, args: &str, says: &str) {
    let output = run(dir, args);
    assert_eq!(output.status.code(), Some(2), "{args}");
    let message = stderr(&output);
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains(says), "{args}: {message}");
}

#[test]
fn what_cannot_be_mapped_is_refused_in_one_line() {
    let dir = folder(CASE);
    let dir = dir.path();
    refused(dir, "layout map --case stats.toml --layout nea", "near");
    refused(dir, "layout map embedded", "embedded-unaligned");
    refused(dir, "layout map", "--case");
    refused(dir, "layout map --case stats.toml --threads 1", "2 to");
    refused(
        dir,
        "layout map --case stats.toml --threads 99999999999999999999",
        "2 to",
    );
    refused(dir, "layout diff cse:stats:near split-packed", "case");
    refused(
        dir,
        "layout diff case:stats.toml split-packed",
        "case:CASE:LAYOUT",
    );
    refused(dir, "layout diff btf:/nowhere:s split-packed", "/nowhere");
    refused(dir, "layout check --case dentry", "no rules");
}

/// Eight roles that each touch each of 4,096 bytes. What takes a minute is ended by [`run`].
#[test]
fn the_largest_case_is_mapped_or_refused_at_once() {
    let mut case = String::from("case = 1\nstruct = \"s\"\n");
    let all: Vec<String> = (0..4096).map(|n| format!("\"f{n}\"")).collect();
    let reads = format!("{{ read = [{}] }}", all.join(","));
    for role in 0..8 {
        case += &format!("[[role]]\nname = \"r{role}\"\nthreads = 1\nsteps = [{reads}]\n");
    }
    case = case.replacen(&reads, "{ rmw = \"f0\" }, { rmw = \"f64\" }", 1);
    case += "[[layout]]\nname = \"l\"\nsize = 4096\nalign = 1\n[layout.fields]\n";
    for n in 0..4096 {
        case += &format!("f{n} = [{n}, 1]\n");
    }
    case += "[[rule]]\napart = [{ role = \"r1\", does = \"write\" }, { role = \"r2\", does = \"read\" }]\nwithin = 64\n";
    let dir = folder(&case);
    for args in [
        "layout map --case stats.toml",
        "layout diff --case stats.toml l l",
        "layout check --case stats.toml",
    ] {
        let status = run(dir.path(), args).status.code();
        assert!(matches!(status, Some(0..=2)), "{args}");
    }
}
