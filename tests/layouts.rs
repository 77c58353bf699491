//! Layouts from files that compilers and pahole wrote: `tests/layouts/`, made by `make-files` there.

use hitm::layout::{Bits, Dwarf, LayoutFile, Member, Pahole, Sections, StructLayout};
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/layouts")
        .join(name)
}

fn dwarf(name: &str, of: &str) -> hitm::error::Result<StructLayout> {
    LayoutFile::Dwarf(file(name)).read(Some(of))
}

fn pahole(name: &str) -> hitm::error::Result<StructLayout> {
    LayoutFile::Pahole(file(name)).read(None)
}

/// Where a member lies, and its type.
fn place<'l>(layout: &'l StructLayout, name: &str) -> (usize, usize, &'l str) {
    let Some(member) = layout.member(name) else {
        panic!("no {name} in {:?}", layout.members)
    };
    (member.offset, member.bytes, &member.type_name)
}

fn bits(member: &Member) -> (usize, usize, usize, usize) {
    let Bits { first, count } = member.bits.unwrap();
    (member.offset, member.bytes, first, count)
}

#[test]
fn a_c_struct_is_laid_out_as_its_compiler_says() {
    let layout = dwarf("conn.elf", "conn").unwrap();
    assert_eq!(
        (layout.name.as_str(), layout.bytes, layout.align),
        ("conn", 192, 64)
    );
    assert_eq!(place(&layout, "refs"), (0, 4, "atomic_int"));
    assert_eq!(place(&layout, "name"), (8, 8, "const char *"));
    assert_eq!(place(&layout, "bytes"), (64, 8, "atomic_long"));
    assert_eq!(place(&layout, "u.p"), (72, 8, "void *"));
    assert_eq!(place(&layout, "y"), (84, 4, "int"));
    assert_eq!(place(&layout, "pad"), (88, 20, "char[2][10]"));
    assert_eq!(
        place(&layout, "cb"),
        (112, 8, "int (*)(struct conn *, int)")
    );
    assert_eq!(place(&layout, "locks[0].val"), (120, 4, "int"));
    assert_eq!(place(&layout, "later"), (136, 8, "struct later *"));
    assert_eq!(place(&layout, "tail"), (144, 0, "char[0]"));
    assert_eq!(bits(layout.member("dirty").unwrap()), (16, 1, 3, 1));
    assert_eq!(bits(layout.member("z").unwrap()), (128, 8, 5, 40));
    assert_eq!(layout.holes(), [(17, 47), (108, 4), (134, 2), (144, 48)]);
    assert_eq!(dwarf("conn.elf", "struct packed").unwrap().align, 1);
    assert_eq!(dwarf("conn.elf", "anon_t").unwrap().bytes, 2);
}

#[test]
fn older_dwarf_compressed_and_unlinked_files_say_the_same() {
    let layout = dwarf("conn.elf", "conn").unwrap();
    for name in ["conn-dwarf2.elf", "conn-types.o"] {
        let other = dwarf(name, "conn").unwrap();
        assert_eq!(other.members, layout.members, "{name}");
        assert_eq!(other.bytes, layout.bytes, "{name}");
    }
}

#[test]
fn members_of_base_classes_are_members() {
    let layout = dwarf("conn-cc.elf", "net::Conn<long int>").unwrap();
    assert_eq!((layout.bytes, layout.align), (64, 64));
    assert_eq!(place(&layout, "x"), (8, 4, "int"));
    // `x` is that of the first base.
    assert_eq!(place(&layout, "Other.x"), (16, 4, "int"));
    assert_eq!(place(&layout, "ref"), (40, 8, "int &"));
    assert!(
        layout.member("count").is_none(),
        "a static member lies elsewhere"
    );
    let short = dwarf("conn-cc.elf", "Conn<long int>").unwrap();
    assert_eq!(short, layout);
    assert_eq!(
        dwarf("conn-cc.elf", "In").unwrap().name,
        "net::Conn<long int>::In"
    );
    let why = dwarf("conn-cc.elf", "Virtual").unwrap_err().to_string();
    assert!(why.contains("virtual base"), "{why}");
}

#[test]
fn variants_of_a_rust_enum_lie_over_each_other() {
    let layout = dwarf("conn-rs.o", "conn::Conn").unwrap();
    assert_eq!(layout.bytes, 56);
    let x = layout.member("kind.B.x").unwrap();
    assert!(x.in_union && x.bytes == 8);
    assert!(!layout.member("refs").unwrap().in_union);
    assert_eq!(place(&layout, "generic").2, "Gen<u64>");
    assert_eq!(
        dwarf("conn-rs.o", "Gen<u64>")
            .unwrap()
            .member("__1")
            .unwrap()
            .count(),
        5
    );
}

#[test]
fn what_is_not_in_the_file_is_said_with_its_cause() {
    let why = |name: &str, of: &str| dwarf(name, of).unwrap_err().to_string();
    assert!(why("conn-split.o", "conn").contains("split"));
    assert!(why("conn.elf", "cnn").contains("conn"));
    assert!(why("pahole.txt", "conn").contains("not an ELF file"));
    assert!(why("nothing.elf", "conn").contains("cannot read"));
}

#[test]
fn the_text_of_pahole_says_what_dwarf_says() {
    let layout = dwarf("conn.elf", "conn").unwrap();
    for name in ["pahole.txt", "pahole-E.txt", "pahole-hex.txt"] {
        let text = pahole(name).unwrap();
        assert_eq!((text.bytes, text.align), (192, 64), "{name}");
        assert_eq!(text.holes(), layout.holes(), "{name}");
        for member in &text.members {
            let other = layout.member(&member.name).unwrap();
            let place = |of: &Member| {
                (
                    of.offset,
                    of.bytes,
                    of.element.min(of.bytes),
                    of.bits,
                    of.in_union,
                    of.depth,
                )
            };
            assert_eq!(place(member), place(other), "{name}: {}", member.name);
        }
    }
    assert_eq!(
        place(&pahole("pahole.txt").unwrap(), "cb"),
        place(&layout, "cb")
    );
    let nested = pahole("pahole-E.txt").unwrap();
    assert_eq!(place(&nested, "locks[0].val"), (120, 4, "int"));
}

#[test]
fn members_that_pahole_prints_without_a_size_are_refused() {
    let why = pahole("pahole-atomic.txt").unwrap_err().to_string();
    assert!(
        why.contains("line 2") && why.contains("_Atomic") && why.contains("--dwarf"),
        "{why}"
    );
}

#[test]
fn an_error_in_a_text_names_its_line() {
    let why = |text: &str| {
        let pahole = Pahole::parse(text);
        pahole
            .and_then(|pahole| pahole.struct_layout(None, ""))
            .unwrap_err()
            .to_string()
    };
    assert!(why("struct s {\n\tint a; /* 0 4 */\n").contains("line 1"));
    assert!(why("struct s {\n\tint a;\n\t/* size: 4 */\n};").contains("line 2"));
    assert!(why("struct s {\n\tint a; /* 0 4 */\n};").contains("size"));
    assert!(why("}\n").contains("line 1"));
    assert!(why("").contains("no struct"));
    assert!(why("union u {\n\tint a; /* 0 4 */\n};").contains("union"));
    assert!(why("struct s {\n\tint a:99999; /* 0: 0 4 */\n\t/* size: 4 */\n};").contains("line 2"));
    assert!(why("struct s {\n\tint a; /* 8 4 */\n\t/* size: 4 */\n};").contains("does not lie"));
    let two = "struct s {\n\t/* size: 0 */\n};\nstruct t {\n\t/* size: 0 */\n};\n";
    assert!(why(two).contains("--struct"));
}

/// Deterministic damage: no panic, and an end.
#[test]
fn damaged_files_are_errors_and_no_panic() {
    let look = |bytes: &[u8]| {
        let Ok(sections) = Sections::of(bytes) else {
            return;
        };
        let Ok(dwarf) = Dwarf::of(&sections) else {
            return;
        };
        let _ = dwarf.struct_layout("conn", "");
        let _ = dwarf.each("", |_| Ok(()));
    };
    for name in [
        "conn.elf",
        "conn-dwarf2.elf",
        "conn-cc.elf",
        "conn-types.o",
        "conn-rs.o",
    ] {
        let whole = std::fs::read(file(name)).unwrap();
        for length in (0..whole.len()).step_by(61) {
            look(&whole[..length]);
        }
        for at in (0..whole.len()).step_by(17) {
            let mut damaged = whole.clone();
            damaged[at] ^= [0xff, 0x01, 0x80][at % 3];
            look(&damaged);
        }
    }
    for name in ["pahole.txt", "pahole-E.txt", "pahole-hex.txt"] {
        let whole = std::fs::read_to_string(file(name)).unwrap();
        let look = |text: &str| {
            let Ok(pahole) = Pahole::parse(text) else {
                return;
            };
            let _ = pahole.struct_layout(None, "");
            let _ = pahole.layouts("").count();
        };
        for at in (0..whole.len()).step_by(11) {
            look(&whole[..at]);
            for with in ["", "{", "}", "9999999999999999999", "/*", "[", "µ"] {
                look(&[&whole[..at], with, &whole[at + 1..]].concat());
            }
        }
    }
}
