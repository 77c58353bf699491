//! Layouts of the VMA that are read from files, as arms.

use super::{environment, rows, run, stderr, succeed};
use hitm::layout::Pahole;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::vma::{Field, ImportedLayout, LockPlace, LockProtocol, Table};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A built-in layout as pahole would print it.
fn printed(table: &Table) -> String {
    let mut text = "struct vm_area_struct {\n".to_owned();
    for (field, offset) in table.placed() {
        let (of, name) = match field {
            Field::vm_lock => ("struct vma_lock *", "vm_lock"),
            Field::rwsem if offset % 64 == 0 => ("struct vma_lock", "vm_lock"),
            Field::rwsem => ("struct rw_semaphore", "lock"),
            Field::vm_refcnt => ("refcount_t", "vm_refcnt"),
            Field::shared => ("struct interval", "shared"),
            Field::detached => ("bool", "detached"),
            field if field.bytes() == 4 => ("unsigned int", field.name()),
            field => ("long unsigned int", field.name()),
        };
        let _ = writeln!(text, "\t{of} {name}; /* {offset} {} */", field.bytes());
    }
    let _ = writeln!(text, "\n\t/* size: {}, cachelines: 4 */\n}};", table.bytes);
    if let LockPlace::Split(_) = table.lock {
        text +=
            "struct vma_lock {\n\tstruct rw_semaphore lock; /* 0 40 */\n\n\t/* size: 40 */\n};\n";
    }
    text
}

/// Import what pahole printed.
fn imported(text: &str) -> hitm::error::Result<ImportedLayout> {
    let pahole = Pahole::parse(text)?;
    ImportedLayout::of_kernel("copy", |name| pahole.struct_layout(Some(name), "text"))
}

#[test]
fn an_imported_layout_is_the_table_that_was_written_by_hand() {
    for layout in VmaLayout::EVERY {
        let table = layout.table();
        let copy = imported(&printed(table)).unwrap().table().unwrap();
        assert_eq!((copy.name, copy.source), ("copy", "text"));
        let told = |table: &Table| (table.protocol, table.bytes, table.fields);
        assert_eq!(told(copy), told(table), "{}", table.name);
        // Nobody's kernel: a cache of its own choosing, or one that SLUB packs in other slabs.
        match layout.name() {
            "embedded-refcount-pair" | "mmap-lock" => assert_ne!(copy.cache, table.cache),
            "split-aligned" => assert_ne!(copy.lock, table.lock),
            name => assert_eq!((copy.cache, copy.lock), (table.cache, table.lock), "{name}"),
        }
    }
}

#[test]
fn an_imported_copy_is_simulated_as_the_built_in_layout_to_the_last_digit() {
    let dir = TempDir::new().unwrap();
    for name in [
        "split-packed@debian-6.12",
        "embedded-rwsem-256",
        "embedded-refcount-192@6.18",
    ] {
        let table = VmaLayout::parse(name).unwrap().table();
        fs::write(dir.path().join("copy.txt"), printed(table)).unwrap();
        let of = |other: &str, import: &str| {
            let args = format!(
                "sim --machine zen4 --layouts split-aligned,{other} {import} --threads 1,3 \
                 --scenario one-vma,vma-per-thread,swap-in --blocks 2 --out out-{other}"
            );
            succeed(dir.path(), &args);
            let out = dir.path().join(format!("out-{other}"));
            let mut rows = rows(&out.join("samples.csv"));
            for row in &mut rows {
                // When it was measured, how long that took, and the name.
                for column in ["run", "wall_seconds"] {
                    row.remove(column);
                }
                if row["layout"] == other {
                    row.remove("layout");
                }
            }
            fs::remove_dir_all(&out).unwrap();
            rows
        };
        let built_in = of(name, "");
        assert_eq!(built_in.len(), 3 * 2 * 2 * 3);
        assert_eq!(
            of("copy", "--import copy=pahole:copy.txt"),
            built_in,
            "{name}"
        );
    }
}

#[test]
fn every_configuration_of_a_layout_is_an_arm() {
    let dir = TempDir::new().unwrap();
    let names: Vec<&str> = VmaLayout::EVERY
        .iter()
        .map(|layout| layout.name())
        .collect();
    assert!(names.contains(&"split-packed@all"));
    let both = format!(
        "--layouts {} --scenario one-vma --threads 1",
        names.join(",")
    );
    succeed(
        dir.path(),
        &format!("sim --machine zen4 {both} --blocks 1 --out sim"),
    );
    succeed(
        dir.path(),
        &format!("run {both} --counters none --blocks 1 --out run"),
    );
    for (out, controls) in [("sim", 1), ("run", 2)] {
        let rows = rows(&dir.path().join(out).join("samples.csv"));
        assert_eq!(rows.len(), names.len() + controls, "{out}");
        for name in &names {
            assert!(
                rows.iter().any(|row| row["layout"] == *name),
                "{out}: {name}"
            );
        }
    }
}

#[test]
fn a_run_with_an_imported_layout_says_so_and_goes_on_without_the_file() {
    let dir = TempDir::new().unwrap();
    let table = VmaLayout::EmbeddedRefcount192V618.table();
    fs::write(dir.path().join("own.txt"), printed(table)).unwrap();
    let arms = "--layouts split-packed,own,own+5% --scenario one-vma,churn --threads 1";
    let args = format!(
        "run --import own=pahole:own.txt {arms} --blocks 2 --seed 4 --counters none --out out"
    );
    let output = run(dir.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = |output: &std::process::Output| stderr(output).matches("at run time").count();
    assert_eq!(said(&output), 1, "{}", stderr(&output));
    let out = dir.path().join("out");
    let before = environment(&out);
    let kept = &before["design"]["imported"][0];
    assert_eq!(
        (&kept["name"], &kept["bytes"]),
        (&json!("own"), &json!(192))
    );
    assert_eq!(kept["fields"]["vm_refcnt"], 128);
    assert_eq!(kept["cache"], json!({"slot": 192, "align": 64, "pages": 2}));
    fs::remove_file(dir.path().join("own.txt")).unwrap();
    let output = run(dir.path(), "run --resume out --blocks 4");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(said(&output), 1);
    assert_eq!(environment(&out)["design"], before["design"]);
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows(&out.join("samples.csv")) {
        *taken.entry(row["layout"].clone()).or_default() += 1;
        assert!(row["ns_per_fault"].parse::<f64>().unwrap() > 0.0);
    }
    let arms = [
        "baseline-again",
        "baseline-recompiled",
        "own",
        "own+5%",
        "split-packed",
    ];
    assert_eq!(taken, arms.map(|arm| (arm.to_owned(), 3 * 4)).into());
}

/// Refused with status 2 in one line that holds `says`.
fn refused(dir: &Path, args: &str, says: &str) {
    let output = run(dir, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args}: {text}");
    assert!(
        text.contains(says) && text.lines().count() == 1,
        "{args}: {text}"
    );
}

#[test]
fn what_is_no_vma_is_refused_with_what_it_lacks() {
    let whole = printed(VmaLayout::SplitPacked.table());
    let without = |names: &[&str]| -> String {
        let keep = |line: &&str| !names.iter().any(|name| line.contains(&format!(" {name};")));
        whole.lines().filter(keep).collect::<Vec<_>>().join("\n")
    };
    let missing = imported(&without(&["vm_end", "vm_ops", "vm_policy"])).unwrap_err();
    let missing = missing.to_string();
    assert!(
        missing.contains("it has no vm_end, vm_ops, which"),
        "{missing}"
    );
    // Kernels without CONFIG_NUMA have none.
    let lean = imported(&without(&["vm_policy"])).unwrap().table().unwrap();
    assert!(!lean.has(Field::vm_policy));
    // A kernel without CONFIG_PER_VMA_LOCK has neither.
    let bare = imported(&without(&["vm_lock", "vm_lock_seq", "detached"])).unwrap();
    assert_eq!(bare.table().unwrap().protocol, LockProtocol::MmapLock);
    for (text, says) in [
        (without(&["vm_lock_seq"]), "vm_lock_seq"),
        (without(&["detached"]), "detached"),
        (
            whole.split("struct vma_lock {").next().unwrap().to_owned(),
            "vma_lock",
        ),
        (
            whole
                .replace("/* 0 40 */", "/* 0 104 */")
                .replace("size: 40", "size: 104"),
            "104 bytes",
        ),
        (
            whole.replace("vm_start; /* 0 8 */", "vm_start; /* 0 4 */"),
            "vm_start has 4 bytes",
        ),
        (
            whole.replace("vm_lock_seq; /* 44 4 */", "vm_lock_seq; /* 40 4 */"),
            "overlaps",
        ),
        (
            whole.replace("vm_end; /* 8 8 */", "vm_end; /* 12 8 */"),
            "aligned",
        ),
        (
            whole.replace("vm_policy; /* 152 8 */", "vm_policy; /* 70000 8 */"),
            "vm_policy",
        ),
        (whole.replace("size: 160", "size: 5000000"), "copy"),
        (whole.replace("vm_area_struct", "vm_area"), "vm_area_struct"),
        (
            whole.replace(
                "long unsigned int vm_pgoff; /* 120 8 */",
                "long unsigned int vm_pgoff:9; /* 120: 0 8 */",
            ),
            "vm_pgoff",
        ),
    ] {
        let error = imported(&text).unwrap_err().to_string();
        assert!(
            error.contains(says) && !error.contains('\n'),
            "{says}: {error}"
        );
    }
}

#[test]
fn an_embedded_semaphore_has_to_begin_as_the_fault_path_knows_it() {
    let table = VmaLayout::EmbeddedRwsem256.table();
    let words = "\tstruct vma_lock {
        struct rw_semaphore {
            atomic_long_t count; /* 192 8 */
            atomic_long_t owner; /* 200 8 */
            char rest[24]; /* 208 24 */
        } lock; /* 192 40 */
    } vm_lock; /* 192 40 */
";
    let text = printed(table).replace("\tstruct vma_lock vm_lock; /* 192 40 */\n", words);
    let copy = imported(&text).unwrap();
    assert_eq!(copy.table().unwrap().fields, table.fields);
    assert_eq!(copy.cache, table.cache);
    // PREEMPT_RT.
    let error = imported(&text.replace("long_t count", "t readers")).unwrap_err();
    assert!(error.to_string().contains("PREEMPT_RT"), "{error}");
}

#[test]
fn slabs_of_a_kernel_are_those_that_it_shows() {
    let root = TempDir::new().unwrap();
    for (name, object, slot, order) in [("vm_area_struct", 160, 168, 3), ("vma_lock", 40, 64, 0)] {
        let folder = root.path().join("sys/kernel/slab").join(name);
        fs::create_dir_all(&folder).unwrap();
        for (attribute, number) in [
            ("object_size", object),
            ("slab_size", slot),
            ("align", 8),
            ("order", order),
            ("objs_per_slab", 24),
        ] {
            fs::write(folder.join(attribute), format!("{number}\n")).unwrap();
        }
    }
    let chosen = imported(&printed(VmaLayout::SplitPacked.table())).unwrap();
    let shown = chosen.clone().packed_as_below(root.path());
    assert_eq!((shown.cache.slot, shown.cache.pages), (168, 8));
    assert_eq!(shown.lock_cache.unwrap().slot, 64);
    assert!(
        shown.source.contains("vm_area_struct, vma_lock"),
        "{}",
        shown.source
    );
    shown.check().unwrap();
    let nowhere = chosen.clone().packed_as_below(&root.path().join("none"));
    assert_eq!(nowhere, chosen);
}

#[test]
fn an_import_that_cannot_be_compared_is_refused_before_anything_is_measured() {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("own.txt"),
        printed(VmaLayout::SplitPacked.table()),
    )
    .unwrap();
    let own = "--import own=pahole:own.txt";
    for (args, says) in [
        ("--import own --layouts own".to_owned(), "NAME=SOURCE"),
        ("--import own=dwarf --layouts own".to_owned(), "NAME=SOURCE"),
        (
            "--import own=pahole: --layouts own".to_owned(),
            "NAME=SOURCE",
        ),
        ("--import =pahole:own.txt".to_owned(), "name is empty"),
        ("--import a+b=pahole:own.txt".to_owned(), "plus sign"),
        (
            "--import own=pahole:none.txt --layouts own".to_owned(),
            "none.txt",
        ),
        (
            "--import own=btf:own.txt --layouts own".to_owned(),
            "0xeb9f",
        ),
        (
            "--import split-packed=pahole:own.txt".to_owned(),
            "built-in",
        ),
        (format!("{own} {own}"), "two imports"),
        (format!("{own} --layouts split-packed"), "not among"),
        (format!("{own} --layouts own,oen"), "own"),
        (format!("{own} --case vma-fault"), "--case"),
    ] {
        for command in ["sim --machine zen4", "run"] {
            refused(
                dir.path(),
                &format!("{command} --threads 1 {args} --out out"),
                says,
            );
        }
    }
    refused(dir.path(), &format!("run --resume out {own}"), "--resume");
    let text = printed(VmaLayout::EmbeddedRefcount192.table()).replace("swap_readahead_info", "x");
    fs::write(dir.path().join("own.txt"), text).unwrap();
    let args = format!("sim --machine zen4 {own} --scenario swap-in --threads 1 --out out");
    refused(dir.path(), &args, "swap_readahead_info");
    assert!(!dir.path().join("out").exists());
}

#[test]
fn a_hostile_table_in_environment_json_is_refused_by_its_key() {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("own.txt"),
        printed(VmaLayout::SplitPacked.table()),
    )
    .unwrap();
    succeed(
        dir.path(),
        "run --import own=pahole:own.txt --layouts own --scenario one-vma --threads 1 --blocks 1 \
         --counters none --out out",
    );
    let file = dir.path().join("out/environment.json");
    let honest = environment(&dir.path().join("out"));
    for (pointer, value, says) in [
        ("/bytes", json!(0), "imported[0]"),
        ("/bytes", json!(u64::MAX), "imported[0]"),
        ("/bytes", json!(100), "outside the struct"),
        ("/cache/slot", json!(u64::MAX), "slots"),
        ("/cache/slot", json!(161), "aligned"),
        ("/cache/align", json!(0), "alignment"),
        ("/cache/pages", json!(0), "slab"),
        ("/cache/pages", json!(1u64 << 63), "slab"),
        ("/lock_cache", json!(null), "vm_lock"),
        ("/lock_cache/slot", json!(8), "slots"),
        ("/fields/vm_end", json!(3), "aligned"),
        ("/fields/vm_end", json!(-1), "vm_end"),
        ("/fields/vm_end", json!(70_000), "vm_end"),
        ("/fields", json!({}), "imported[0]"),
        ("/fields", json!({"vm_strt": 0}), "vm_start"),
        ("/name", json!("a,b"), "imported[0].name"),
        ("/name", json!("split-packed"), "imported[0].name"),
        ("/source", json!("a\nb"), "imported[0].source"),
    ] {
        let mut hostile = honest.clone();
        *hostile
            .pointer_mut(&format!("/design/imported/0{pointer}"))
            .unwrap() = value;
        fs::write(&file, hostile.to_string()).unwrap();
        refused(dir.path(), "run --resume out --blocks 2", says);
    }
}
