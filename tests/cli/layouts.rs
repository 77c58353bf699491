//! `hitm layout show` of structs that are in files.

use super::{run, stderr, succeed};
use std::path::Path;
use tempfile::TempDir;

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layouts");
    folder.join(name).display().to_string()
}

#[test]
fn a_struct_of_a_file_is_shown_in_every_format() {
    let dir = TempDir::new().unwrap();
    let show = |rest: &str| {
        succeed(
            dir.path(),
            &format!("layout show --dwarf {} {rest}", file("conn.elf")),
        )
    };
    let table = show("--struct conn");
    assert!(
        table.contains("192 bytes in 3 lines, 2 pairs") && table.contains("(hole)"),
        "{table}"
    );
    assert!(
        table.contains("--- line 2, pair 1: byte 128 ---"),
        "{table}"
    );
    let csv = show("--struct conn --format csv");
    let header = "struct,struct_bytes,struct_align,field,offset,size,line,pair,type,element_size,first_bit,bits,in_union,aggregate,depth";
    assert_eq!(csv.lines().next(), Some(header));
    assert!(
        csv.contains("conn,192,64,z,128,8,2,1,long unsigned int,8,5,40,false,false,0"),
        "{csv}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&show("--struct conn --format json")).unwrap();
    assert_eq!(json[0]["field"], "refs");
    let all = show("--all --format csv");
    assert_eq!(all.matches(header).count(), 1);
    assert!(
        all.contains("packed,11,1,d,5,5,0,0,unsigned int,5,3,30"),
        "{all}"
    );
}

#[test]
fn the_text_of_pahole_needs_no_name_where_it_prints_one_struct() {
    let dir = TempDir::new().unwrap();
    let text = succeed(
        dir.path(),
        &format!("layout show --pahole {}", file("pahole.txt")),
    );
    assert!(text.starts_with("conn: "), "{text}");
}

#[test]
fn unusable_sources_end_with_status_2_and_one_line() {
    let dir = TempDir::new().unwrap();
    for (arguments, says) in [
        (
            format!("layout show --dwarf {} --struct cnn", file("conn.elf")),
            "conn",
        ),
        (
            format!("layout show --dwarf {}", file("conn.elf")),
            "--struct",
        ),
        (
            format!("layout show --btf {} --struct conn", file("conn.elf")),
            "--dwarf",
        ),
        (
            format!("layout show --btf {} --struct conn", file("pahole.txt")),
            "0xeb9f",
        ),
        (
            format!("layout show --pahole {}", file("pahole-atomic.txt")),
            "_Atomic",
        ),
        ("layout show --dwarf /dev/null --struct s".to_owned(), "ELF"),
        ("layout show --btf . --struct s".to_owned(), "cannot read"),
    ] {
        let output = run(dir.path(), &arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(
            said.contains(says) && said.lines().count() == 1,
            "{arguments}: {said}"
        );
    }
}
