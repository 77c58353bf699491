//! `layout suggest`: what is printed and written, and what is refused.

use super::{run, stderr};
use hitm::case::Case;
use std::fs;
use tempfile::TempDir;

const BESIDE: &str = r#"
case = 1
struct = "thing"

[[role]]
name = "reader"
threads = "rest"
steps = [{ read = ["ops"] }, { work = "20ns" }, { read = ["ops"] }]

[[role]]
name = "writer"
threads = 1
steps = [{ rmw = "hits" }, { work = "20ns" }]

[[layout]]
name = "old"
size = 128
align = 64
fields = { ops = [0, 8], hits = [8, 8], list = [16, 16], owner = [32, 8], name = [40, 8, 11] }
"#;

const SHORT: &str = "--machines zen4 --threads 4 --effort 5";

#[test]
fn suggestions_are_printed_and_written_as_a_case_that_can_be_simulated() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("beside.toml"), BESIDE).unwrap();
    let args = format!("layout suggest --case ./beside.toml {SHORT} --asserts --out better.toml");
    let output = run(dir.path(), &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("struct thing {"), "{text}");
    assert!(
        text.contains("static_assert(sizeof(struct thing) == 128);"),
        "{text}"
    );
    let path = dir.path().join("better.toml");
    let better = Case::load(path.to_str().unwrap()).unwrap();
    assert_eq!(better.layouts[1].name, "suggested-1");
    let args = "sim --machine zen4 --case ./better.toml --threads 2 --blocks 1 --out sim";
    let output = run(dir.path(), args);
    assert!(output.status.success(), "{}", stderr(&output));
    // No file is replaced.
    let args = format!("layout suggest --case ./beside.toml {SHORT} --out better.toml");
    assert_eq!(run(dir.path(), &args).status.code(), Some(2));
}

#[test]
fn the_csv_of_suggestions_has_a_row_a_layout() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("beside.toml"), BESIDE).unwrap();
    let args = format!("layout suggest --case ./beside.toml {SHORT} --format csv");
    let text = String::from_utf8(run(dir.path(), &args).stdout).unwrap();
    let mut lines = text.lines();
    let header = "layout,bytes,footprint,align,ratio,error,moves,suggested";
    assert_eq!(lines.next(), Some(header));
    assert!(lines.next().unwrap().starts_with("old,128,128,64,1.0,"));
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("suggested-1,128,128,64,0.")
    );
}

#[test]
fn what_cannot_be_suggested_is_refused_in_a_line() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("beside.toml"), BESIDE).unwrap();
    for (args, says) in [
        ("--keep hit", "hits"),
        ("--layout new", "old"),
        ("--machines zen9", "zen4"),
        ("--threads 1", "threads"),
        ("--threads 4 --max-size 8", "--max-size"),
        ("--threads 100000", "threads"),
    ] {
        let output = run(
            dir.path(),
            &format!("layout suggest --case ./beside.toml --effort 5 {args}"),
        );
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args}: {message}");
        assert!(message.contains(says), "{args}: {message}");
        assert_eq!(message.matches('\n').count(), 1, "{args}: {message}");
    }
}
