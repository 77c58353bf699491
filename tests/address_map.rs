//! `run --address-map` and `layout resolve`: from addresses that perf prints to fields.

use assert_cmd::Command;
use hitm::program::fault::layouts::VmaLayout;
use hitm::results::address_map::Mapped;
use hitm::space::{LINE, PAIR};
use std::path::Path;

fn hitm(args: &[&str]) -> Command {
    let mut hitm = Command::new(env!("CARGO_BIN_EXE_hitm"));
    hitm.args(args);
    hitm
}

/// A run of two layouts by two threads, and the map of it.
fn map(folder: &Path) -> (String, Vec<Mapped>) {
    let path = folder.join("map.csv");
    hitm(&["run", "--layouts", "split-packed,embedded-refcount-192"])
        .args(["--scenario", "vma-per-thread", "--threads", "2"])
        .args(["--oversubscribe", "--blocks", "1", "--counters", "none"])
        .arg("--out")
        .arg(folder.join("run"))
        .arg("--address-map")
        .arg(&path)
        .assert()
        .success();
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let rows = reader.deserialize().map(Result::unwrap).collect();
    (path.to_str().unwrap().to_owned(), rows)
}

/// What `layout resolve` makes of arguments and standard input, as JSON.
fn resolve(map: &str, addresses: &[&str], input: &str) -> Vec<serde_json::Value> {
    let mut resolve = hitm(&["layout", "resolve", "--format", "json", "--map", map]);
    let output = resolve
        .args(addresses)
        .write_stdin(input)
        .assert()
        .success();
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

/// A refusal: exit status 2, one line.
fn refused(map: &str, addresses: &[&str], input: &[u8]) -> String {
    let mut resolve = hitm(&["layout", "resolve", "--map", map]);
    let output = resolve.args(addresses).write_stdin(input).assert();
    let output = output.code(2).stdout("").get_output().clone();
    let line = String::from_utf8(output.stderr).unwrap();
    let ours: Vec<&str> = line
        .lines()
        .filter(|l| !l.contains("not in the map"))
        .collect();
    assert_eq!(ours.len(), 1, "{line}");
    line
}

fn of<'m>(rows: &'m [Mapped], layout: &str, object: &str, field: &str) -> &'m Mapped {
    let is_it = |row: &&Mapped| {
        (row.layout.as_str(), row.object.as_str(), row.field.as_str()) == (layout, object, field)
            && row.slot.is_none_or(|slot| slot == 1)
    };
    rows.iter().find(is_it).unwrap()
}

#[test]
fn addresses_in_any_of_perfs_forms_are_named_by_layout_slot_field_line_and_pair() {
    let folder = tempfile::tempdir().unwrap();
    let (path, rows) = map(folder.path());

    // The map has every layout, the A/A arm included, and fields where the layout has them.
    for layout in ["split-packed", "baseline-again", "embedded-refcount-192"] {
        assert!(rows.iter().any(|row| row.layout == layout), "{layout}");
    }
    // The levels of the tree are told apart, and there is one root.
    for level in ["root node", "middle node", "leaf node"] {
        let of_it = rows.iter().filter(|row| row.object == level);
        let of_it: Vec<&Mapped> = of_it.filter(|row| row.layout == "split-packed").collect();
        assert!(of_it.iter().any(|row| row.field == "slot"), "{level}");
        let is_root = level == "root node";
        assert!(of_it.iter().all(|row| row.slot.is_none() == is_root));
    }
    let table = VmaLayout::EmbeddedRefcount192.table();
    for (field, offset) in table.placed() {
        let row = of(&rows, "embedded-refcount-192", "vma", field.name());
        assert_eq!((row.offset, row.bytes), (offset, field.bytes() as u64));
    }
    let mut placed: Vec<(u64, u64)> = rows.iter().map(|r| (r.address(), r.bytes)).collect();
    placed.sort_unstable();
    let apart = |pair: &[(u64, u64)]| pair[0].0 + pair[0].1 <= pair[1].0;
    assert!(
        placed.windows(2).all(apart),
        "an address lies in one thing at most"
    );

    // An address as an argument.
    let lock = of(&rows, "split-packed", "lock", "wait_list");
    let inside = lock.address() + lock.bytes - 1;
    let found = resolve(&path, &[&format!("{inside:#x}")], "");
    assert_eq!(found.len(), 1);
    let found = &found[0];
    assert_eq!(found["layout"], "split-packed");
    assert_eq!(found["scenario"], "vma-per-thread");
    assert_eq!(
        (&found["object"], &found["slot"]),
        (&"lock".into(), &1.into())
    );
    assert_eq!(found["field"], "wait_list");
    assert_eq!(found["offset"], lock.offset as u64 + lock.bytes - 1);
    let line = inside / LINE as u64 * LINE as u64;
    let pair = inside / PAIR as u64 * PAIR as u64;
    assert_eq!(found["line"], format!("{line:#x}"));
    assert_eq!(found["pair"], format!("{pair:#x}"));
    assert_eq!(found["half_of_pair"], (line - pair) / LINE as u64);

    // What perf script prints, twice; an instruction's address is none of ours.
    let field = of(&rows, "embedded-refcount-192", "vma", "vm_refcnt");
    let script = format!(
        " hitm 4711 [001] 12.5: cpu/mem-loads/P: {:x} 11e29800842 |OP LOAD|LVL L3 or N/A hit|SNP HitM|TLB L1 hit|LCK N/A|BLK  N/A      5550d0c1e2 f\n",
        field.address()
    );
    let found = resolve(&path, &[], &script.repeat(2));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&found[0]["field"], &found[0]["times"]),
        (&"vm_refcnt".into(), &2.into())
    );

    // What perf c2c prints: a line, and offsets into it.
    let line = field.address() / LINE as u64 * LINE as u64;
    let c2c = format!(
        "      0       98      225        0        0      {line:#x}\n\
           -------------------------------------------------------------\n\
           \x20          0.00%   45.10%    0.00%    0.00%      {:#x}     0       1      0x55d0c1e2\n",
        field.address() - line
    );
    let found = resolve(&path, &[], &c2c);
    let fields: Vec<_> = found.iter().map(|row| &row["field"]).collect();
    assert!(fields.contains(&&"vm_refcnt".into()), "{fields:?}");

    // Known and unknown addresses together: the known are named, the others said to be outside.
    hitm(&["layout", "resolve", "--map", &path, "0x1000", &lock.start])
        .assert()
        .success()
        .stderr("hitm: not in the map: 0x1000\n");

    assert!(refused(&path, &["0xzz"], b"").contains("'0xzz'"));
    assert!(refused(&path, &["0x1000"], b"").contains("no address met lies in"));
    for input in [
        &b"0xffffffffffffffff\n 1.0% 0x10\n"[..],
        b"",
        b"no addresses here\n",
        b"\xff\xfe\x00 0.5% 0xffffffffffffffffff\n",
    ] {
        assert!(refused(&path, &[], input).contains("no address met lies in"));
    }
}

#[test]
fn what_perf_counts_is_named_by_field_with_its_hitm_and_peer_loads() {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles");
    let map = profiles.join("c2c-arm-both.map.csv");
    let input = |name: &str| std::fs::read_to_string(profiles.join(name)).unwrap();
    let rows = |name: &str| -> Vec<[u64; 4]> {
        let rows = resolve(map.to_str().unwrap(), &[], &input(name));
        let cells = ["offset", "times", "hitm_local", "peer"];
        rows.iter()
            .map(|row| cells.map(|cell| row[cell].as_u64().unwrap()))
            .collect()
    };
    // The heading of a line is no access; rows count by their records.
    assert_eq!(
        rows("c2c-arm-both.txt"),
        [[128, 17302, 0, 40], [136, 121, 0, 2]]
    );
    assert_eq!(rows("mem-commas.csv"), [[128, 1, 0, 0]]);
    // Between blanks as well, but not where perf itself wrote a wrong address.
    let blanks = input("mem-commas.csv").replacen("2100,2101,", "2100 2101 ", 1);
    let blanks = blanks
        .replace(",0xffff", " 0xffff")
        .replace(",43,0x", " 43 0x")
        .replace(",[k]", " [k]");
    let map = map.to_str().unwrap();
    assert_eq!(resolve(map, &[], &blanks)[0]["offset"], 128);
    let line = refused(map, &[], input("mem-D-nosep.txt").as_bytes());
    assert!(line.contains("-D -x,"), "{line}");
    // Addresses alone say nothing of HITM.
    let alone = resolve(map, &["0xffff90001080"], "");
    assert_eq!(
        (&alone[0]["times"], &alone[0]["peer"]),
        (&1.into(), &serde_json::Value::Null)
    );
    let line = refused(map, &[], input("annotate-percent.txt").as_bytes());
    assert!(line.contains("no addresses"), "{line}");
}

#[test]
fn a_map_and_its_run_folder_are_written_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str, map: &str| {
        hitm(&["run", "--layouts", "split-packed", "--scenario", "one-vma"])
            .args(["--threads", "1", "--blocks", "1", "--counters", "none"])
            .args(["--out", out, "--address-map", map])
            .current_dir(folder.path())
            .assert()
    };
    let there = |path: &str| folder.path().join(path).exists();
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    std::fs::write(folder.path().join("taken/file"), "").unwrap();
    run("taken", "map.csv").code(2);
    assert!(!there("map.csv"));
    run("out", "taken/file/map.csv").code(2);
    assert!(!there("out"));
    // Neither a file of the user's nor one of the run's own is replaced.
    std::fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    for map in ["mine.txt", "out/samples.csv", "out/environment.json"] {
        run("out", map).code(2);
        assert!(!there("out"), "{map}");
    }
    assert_eq!(
        std::fs::read(folder.path().join("mine.txt")).unwrap(),
        b"mine"
    );
    run("out", "out/map.csv").success();
    assert!(there("out/map.csv") && there("out/samples.csv"));
}

#[test]
fn an_unusable_map_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.csv");
    let path = path.to_str().unwrap();
    assert!(refused(path, &["0x1000"], b"").contains("map.csv"));
    let header = "start,bytes,layout,scenario,threads,object,slot,field,offset\n";
    for damaged in [
        "start,bytes\n1,2\n".to_owned(),
        format!("{header}0xzz,8,split-packed,one-vma,1,vma,0,vm_start,0\n"),
        format!("{header}0x1000,-8,split-packed,one-vma,1,vma,0,vm_start,0\n"),
        format!("{header}0x1000,8\n"),
    ] {
        std::fs::write(path, &damaged).unwrap();
        let line = refused(path, &["0x1000"], b"");
        assert!(line.contains("map.csv"), "{line}");
    }
    // Sizes that reach beyond the end of all addresses are no reason to panic.
    let beyond = format!("{header}0xfffffffffffffff0,18446744073709551615,a,b,1,vma,0,c,0\n");
    std::fs::write(path, beyond).unwrap();
    assert_eq!(resolve(path, &["0xffffffffffffffff"], "").len(), 1);
}
