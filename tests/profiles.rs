//! Recorded profiles are read as they were written: fields and counts, whatever the tool's version.
//!
//! Here: `case::perf` on the texts in `tests/profiles`. Those of c2c, mem and script are perf's own
//! output for samples that were made up; the others are made up in the form that perf and the
//! kernel's documentation have.

use hitm::case::perf::{CountUnit, FieldUse, ProfileFormat, UseCounts, UsePlace, format_of, read};
use std::collections::BTreeMap;
use std::path::Path;

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn uses<'t>(name: &'t str, text: &'t str) -> (Vec<FieldUse<'t>>, Vec<String>) {
    let mut uses = Vec::new();
    let (_, remarks) = read(name, text, &mut |found| uses.push(found)).unwrap();
    (uses, remarks)
}

/// Counts by address and function.
type Sums = BTreeMap<(u64, String), UseCounts>;

fn by_address(name: &str) -> Sums {
    let text = text(name);
    let mut sums = Sums::new();
    for found in uses(name, &text).0 {
        let UsePlace::Address(address) = found.place else {
            panic!("{name} has addresses");
        };
        let key = (address, found.by.symbol.to_owned());
        sums.entry(key).or_default().add(&found.counts);
    }
    sums
}

fn counts(all: [u64; 7]) -> UseCounts {
    let [all, loads, stores, locked, hitm_local, hitm_remote, peer] = all;
    UseCounts {
        all,
        loads,
        stores,
        locked,
        hitm_local,
        hitm_remote,
        peer,
    }
}

fn sums<const N: usize>(rows: [(u64, &str, [u64; 7]); N]) -> Sums {
    let row =
        |(address, symbol, all): (u64, &str, [u64; 7])| ((address, symbol.to_owned()), counts(all));
    rows.into_iter().map(row).collect()
}

/// What was put into the samples that perf was given: all, loads, stores, locked, HITM local and
/// remote, peer.
fn samples() -> Sums {
    sums([
        (0x404080, "get", [29, 9, 20, 9, 9, 0, 0]),
        (0x404084, "lookup", [12, 12, 0, 0, 8, 4, 0]),
        (0x4040d0, "lookup", [5, 5, 0, 0, 0, 0, 0]),
        (0x404104, "lookup", [3, 3, 0, 0, 3, 0, 0]),
        (0x404140, "account", [10, 4, 6, 0, 0, 4, 0]),
    ])
}

/// The same, as c2c tells it: lines without a HITM are left out, and no row says what was locked.
fn lines() -> Sums {
    let mut lines = samples();
    lines.remove(&(0x4040d0, "lookup".to_owned()));
    lines.values_mut().for_each(|counts| counts.locked = 0);
    lines
}

#[test]
fn c2c_gives_the_counts_that_were_recorded_whatever_its_columns() {
    for name in [
        "c2c-x86-tot.txt",
        "c2c-x86-N.txt",
        "c2c-x86-NN.txt",
        "c2c-x86-tid.txt",
    ] {
        assert_eq!(by_address(name), lines(), "{name}");
    }
    // Without a column of functions.
    let nameless = lines()
        .into_iter()
        .map(|((address, _), counts)| ((address, String::new()), counts));
    assert_eq!(by_address("c2c-x86-dso.txt"), nameless.collect());
    let peers = sums([
        (0x404080, "get", [8, 0, 8, 0, 0, 0, 0]),
        (0x404084, "lookup", [14, 14, 0, 0, 0, 0, 10]),
    ]);
    // c2c merges the rows of a line by offset and instruction, and the four other loads of this
    // line were made by the same instruction: it counts them here.
    assert_eq!(by_address("c2c-spe-peer.txt"), peers);
}

#[test]
fn c2c_of_other_versions_is_read_by_its_row_of_names() {
    let both = sums([
        (
            0xffff90001080,
            "vma_refcount_put",
            [17302, 17302, 0, 0, 0, 0, 40],
        ),
        (
            0xffff90001088,
            "vma_interval_tree_insert",
            [121, 121, 0, 0, 0, 0, 2],
        ),
    ]);
    assert_eq!(by_address("c2c-arm-both.txt"), both);
    let four = sums([
        (
            0xffff9c2a4d3f1080,
            "take_ref",
            [1021, 321, 700, 0, 102, 25, 0],
        ),
        (0xffff9c2a4d3f10b8, "", [611, 311, 300, 0, 123, 73, 0]),
    ]);
    assert_eq!(by_address("c2c-four-shares.txt"), four);
    let double = sums([
        (
            0x404088,
            "operator new(unsigned long)",
            [25, 15, 10, 0, 15, 0, 0],
        ),
        (0x4040fc, "lookup", [25, 5, 20, 0, 5, 0, 0]),
    ]);
    assert_eq!(by_address("c2c-double-line.txt"), double);
}

#[test]
fn c2c_names_threads_and_processes_where_it_was_told_to() {
    let threads = text("c2c-x86-tid.txt");
    let (uses_of, remarks) = uses("c2c", &threads);
    let by: Vec<_> = uses_of.iter().map(|u| (u.by.tid, u.by.comm)).collect();
    assert_eq!(by[0], (Some(4242), "demo2"));
    assert_eq!(by[1], (Some(4243), ""));
    assert_eq!(uses_of[0].by.cpus, Some(1));
    assert!(
        remarks
            .iter()
            .any(|r| r.starts_with("9 of the records are of locked"))
    );
    let processes = text("c2c-x86-dso.txt");
    assert!(
        uses("c2c", &processes)
            .0
            .iter()
            .all(|u| u.by.pid == Some(4242))
    );
    let names = text("c2c-double-line.txt");
    assert_eq!(uses("c2c", &names).0[0].by.comm, "Web Content 7");
}

#[test]
fn a_part_of_c2c_is_read_without_its_titles() {
    let whole = text("c2c-x86-tot.txt");
    let part: String = whole
        .lines()
        .skip_while(|line| !line.ends_with("0x404080"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let (found, _) = uses("part", &part);
    assert_eq!(found.len(), 4);
    assert_eq!(found[0].counts, counts([29, 9, 20, 0, 9, 0, 0]));
    assert_eq!(found[0].by.symbol, "get");
}

#[test]
fn mem_gives_the_samples_that_were_recorded() {
    assert_eq!(by_address("mem-D.csv"), samples());
    assert_eq!(by_address("mem-D-p.csv"), samples());
    let text = text("mem-D-p.csv");
    let paged: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(_) => line.replace("LOCAL", "DATA PAGE SIZE, LOCAL") + "\n",
            None => line
                .splitn(6, ',')
                .enumerate()
                .map(|(i, cell)| match i {
                    5 => format!("4K,{cell}\n"),
                    _ => format!("{cell},"),
                })
                .collect(),
        })
        .collect();
    let mut all = UseCounts::default();
    read("paged", &paged, &mut |found| all.add(&found.counts)).unwrap();
    assert_eq!(
        all,
        samples()
            .values()
            .fold(UseCounts::default(), |mut sum, one| {
                sum.add(one);
                sum
            })
    );
    // Without its heading, and with other blanks in it.
    let headless: String = text
        .lines()
        .skip(1)
        .map(|line| line.to_owned() + "\n")
        .collect();
    assert_eq!(uses("mem", &headless).0.len(), 59);
    let arm = by_address("mem-commas.csv");
    assert_eq!(
        arm,
        sums([(0xffff90001080, "vma_refcount_put", [1, 1, 0, 0, 0, 0, 0])])
    );
}

#[test]
fn mem_without_x_is_refused_with_the_remedy() {
    let text = text("mem-D-nosep.txt");
    let error = read("mem", &text, &mut |_| {}).unwrap_err().to_string();
    assert!(
        error.contains("line 2") && error.contains("perf mem report -D -x,"),
        "{error}"
    );
    // Rows between blanks that perf did not garble are read.
    let good: String = text
        .lines()
        .filter(|line| !line.contains("0x016"))
        .map(|l| l.to_owned() + "\n")
        .collect();
    assert_eq!(uses("mem", &good).0.len(), 58);
}

#[test]
fn script_gives_the_samples_that_were_recorded() {
    assert_eq!(by_address("script-full.txt"), samples());
    let mut nameless = Sums::new();
    for ((address, _), counts) in samples() {
        nameless.insert((address, String::new()), counts);
    }
    assert_eq!(by_address("script-addr-datasrc.txt"), nameless);
    let peers = sums([
        (0x404080, "get", [8, 0, 8, 0, 0, 0, 0]),
        (0x404084, "lookup", [10, 10, 0, 0, 0, 0, 10]),
        (0x4040d0, "lookup", [4, 4, 0, 0, 0, 0, 0]),
    ]);
    assert_eq!(by_address("script-spe.txt"), peers);
    let full = text("script-full.txt");
    let (found, _) = uses("script", &full);
    assert_eq!(found[1].event, "cpu/mem-loads,ldlat=30/P");
    assert_eq!(
        (found[1].by.pid, found[1].by.tid, found[1].by.cpu),
        (Some(4242), Some(4243), Some(1))
    );
    assert_eq!((found[0].by.comm, found[1].by.comm), ("demo2", ""));
}

/// Type, offset, field, function, event; all, loads, stores.
type Row<'a> = (&'a str, Option<u64>, &'a str, &'a str, &'a str, [u64; 3]);

fn typed(name: &str, unit: CountUnit, expected: &[Row]) {
    let text = text(name);
    let (found, _) = uses(name, &text);
    let row = |found: &FieldUse| {
        let UsePlace::Typed {
            type_name,
            offset,
            field,
        } = &found.place
        else {
            panic!("{name} has types");
        };
        assert_eq!(found.unit, unit, "{name}");
        let counts = [found.counts.all, found.counts.loads, found.counts.stores];
        format!(
            "{:?}",
            (
                type_name,
                offset,
                field,
                found.by.symbol,
                found.event,
                counts
            )
        )
    };
    let found: Vec<String> = found.iter().map(row).collect();
    let expected: Vec<String> = expected.iter().map(|row| format!("{row:?}")).collect();
    assert_eq!(found, expected, "{name}");
}

const LOADS: &str = "cpu/mem-loads,ldlat=30/P";
const STORES: &str = "cpu/mem-stores/P";

#[test]
fn annotated_types_are_read_in_every_version_of_the_table() {
    typed(
        "annotate-percent.txt",
        CountUnit::Shares,
        &[
            ("struct conn", Some(0), "lock.val", "", "", [6100, 0, 0]),
            ("struct conn", Some(4), "flags", "", "", [2900, 0, 0]),
            ("struct conn", Some(0x48), "u.a", "", "", [400, 0, 0]),
            ("int", Some(0), "", "", "", [10000, 0, 0]),
        ],
    );
    typed(
        "annotate-group.txt",
        CountUnit::Records,
        &[
            ("struct conn", Some(0), "lock.val", "", LOADS, [9, 9, 0]),
            ("struct conn", Some(0), "lock.val", "", STORES, [20, 0, 20]),
            ("struct conn", Some(4), "flags", "", LOADS, [24, 24, 0]),
        ],
    );
    typed(
        "annotate-first.txt",
        CountUnit::Records,
        &[
            ("struct conn", Some(0), "lock.val", "", "", [9, 0, 0]),
            ("struct conn", Some(4), "flags", "", "", [14, 0, 0]),
            ("struct conn", Some(64), "bytes", "", "", [10, 0, 0]),
        ],
    );
    typed(
        "annotate-period.txt",
        CountUnit::Periods,
        &[
            (
                "struct conn",
                Some(0),
                "lock.val",
                "",
                "",
                [9_000_000, 0, 0],
            ),
            ("struct conn", Some(4), "flags", "", "", [24_000_000, 0, 0]),
        ],
    );
}

#[test]
fn offsets_of_perf_report_are_read_in_hex_and_decimal_and_lines_are_too_coarse() {
    typed(
        "typeoff.txt",
        CountUnit::Shares,
        &[
            ("struct conn", Some(4), "flags", "", LOADS, [6364, 6364, 0]),
            (
                "struct conn",
                Some(0),
                "lock.val",
                "",
                LOADS,
                [2727, 2727, 0],
            ),
            ("int", Some(0), "", "", LOADS, [303, 303, 0]),
            (
                "struct conn",
                Some(0),
                "lock.val",
                "",
                STORES,
                [7692, 0, 7692],
            ),
            (
                "struct conn",
                Some(0x40),
                "bytes",
                "",
                STORES,
                [2308, 0, 2308],
            ),
        ],
    );
    typed(
        "typeoff-first.txt",
        CountUnit::Records,
        &[
            (
                "struct conn",
                Some(4),
                "flags",
                "lookup",
                LOADS,
                [23, 23, 0],
            ),
            (
                "struct conn",
                Some(64),
                "bytes",
                "account",
                LOADS,
                [10, 10, 0],
            ),
        ],
    );
    let (typeoff, typecln) = (text("typeoff.txt"), text("typecln.txt"));
    assert_eq!(
        uses("typeoff", &typeoff).1,
        ["perf found no type for 6.06 % of the samples"]
    );
    let (found, remarks) = uses("typecln", &typecln);
    assert!(found.is_empty());
    assert!(
        remarks[0].contains("too coarse") && remarks[0].contains("typeoff"),
        "{remarks:?}"
    );
}

#[test]
fn tables_of_the_kernel_are_read_with_and_without_rulers() {
    for name in ["cachelines.rst", "cachelines-first.rst"] {
        typed(
            name,
            CountUnit::Stated,
            &[
                ("conn", None, "lock", "tx", "", [2, 1, 1]),
                ("conn", None, "lock", "rx", "", [2, 1, 1]),
                ("conn", None, "flags", "tx", "", [1, 1, 0]),
                ("conn", None, "state", "rx", "", [1, 1, 0]),
                ("conn", None, "bytes", "tx", "", [1, 0, 1]),
            ],
        );
    }
}

#[test]
fn each_format_is_told_from_the_text_itself() {
    for (names, format) in [
        (
            &["c2c-x86-tot.txt", "c2c-spe-peer.txt", "c2c-four-shares.txt"][..],
            ProfileFormat::C2c,
        ),
        (
            &["mem-D.csv", "mem-commas.csv", "mem-D-nosep.txt"],
            ProfileFormat::Mem,
        ),
        (
            &["script-full.txt", "script-spe.txt"],
            ProfileFormat::Script,
        ),
        (
            &["annotate-percent.txt", "annotate-first.txt"],
            ProfileFormat::Annotate,
        ),
        (
            &["typeoff.txt", "typecln.txt", "typeoff-first.txt"],
            ProfileFormat::TypeOff,
        ),
        (
            &["cachelines.rst", "cachelines-first.rst"],
            ProfileFormat::Cachelines,
        ),
    ] {
        for name in names {
            assert_eq!(format_of(&text(name)), Some(format), "{name}");
        }
    }
    assert_eq!(format_of("start,bytes,layout\n0x1000,8,a\n"), None);
    let error = read("x", "nothing\n", &mut |_| {}).unwrap_err().to_string();
    assert!(
        error.contains("c2c report --stdio") && !error.contains('\n'),
        "{error}"
    );
    let error = read("x", "PERFILE2\0\0", &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("not a report of it"), "{error}");
}

/// Texts that were damaged in every way are read, or refused in one line that names where; the
/// damage is drawn from a fixed seed.
#[test]
fn damaged_texts_are_read_or_refused_in_one_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    names.sort();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    const PIECES: [&str; 16] = [
        "%",
        "0x",
        "|OP ",
        "\t",
        "{",
        "};",
        "99999999999999999999",
        ":",
        ",",
        "\n",
        "é",
        "[k] ",
        "-1",
        "0xffffffffffffffff",
        "#",
        "100.00%",
    ];
    for path in names {
        let whole = std::fs::read(&path).unwrap();
        for round in 0..300 {
            let mut bytes = whole.clone();
            match round % 3 {
                0 => bytes.truncate(draw(bytes.len())),
                1 => {
                    for _ in 0..1 + draw(8) {
                        let at = draw(bytes.len());
                        bytes[at] = draw(256) as u8;
                    }
                }
                _ => {
                    for _ in 0..1 + draw(4) {
                        let at = draw(bytes.len());
                        let end = (at + draw(12)).min(bytes.len());
                        bytes.splice(at..end, PIECES[draw(PIECES.len())].bytes());
                    }
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            if let Err(error) = read("damaged", &text, &mut |_| {}) {
                let message = error.to_string();
                assert!(!message.contains('\n'), "{message}");
                assert!(message.starts_with("damaged"), "{message}");
            }
        }
    }
}

#[test]
fn a_truncated_text_is_refused_with_its_line() {
    for (name, keep) in [
        ("script-full.txt", 20),
        ("mem-D.csv", 60),
        ("annotate-percent.txt", 200),
    ] {
        let text = text(name);
        let error = read("cut", &text[..keep], &mut |_| {})
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cut"), "{name}: {error}");
    }
    let text = text("c2c-x86-tot.txt");
    let at = text.find("       29         4").unwrap();
    let error = read("cut", &text[..at], &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cut, line 88: ends before its number of records"),
        "{error}"
    );
    let long = "1 ".repeat(40_000) + "|OP LOAD\n";
    let error = read("long", &long, &mut |_| {}).unwrap_err().to_string();
    assert!(
        error.contains("long, line 1: longer than 64 KiB"),
        "{error}"
    );
}
