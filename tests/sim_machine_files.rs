//! What a machine file may not say, and how a user learns about it.

use hitm::error::Error;
use hitm::sim::Machine;

/// The message about `broadwell-ep` with `from` replaced by `to`.
fn message(from: &str, to: &str) -> String {
    let text = Machine::text("broadwell-ep").unwrap();
    assert!(text.contains(from), "{from}");
    match Machine::parse(&text.replacen(from, to, 1), "mine.toml") {
        Err(Error::Input(message)) => message,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("'{to}' was accepted"),
    }
}

/// The line of the file that `what` stands in.
fn line_of(what: &str) -> usize {
    let text = Machine::text("broadwell-ep").unwrap();
    1 + text
        .lines()
        .position(|line| line.starts_with(what))
        .unwrap()
}

#[test]
fn every_built_in_machine_is_valid_and_bears_the_name_of_its_file() {
    for name in Machine::names() {
        assert_eq!(Machine::load(name).unwrap().name, name);
    }
}

#[test]
fn every_constant_of_a_built_in_machine_has_its_source_beside_it() {
    for name in Machine::names() {
        for line in Machine::text(name).unwrap().lines() {
            let says_nothing = line.starts_with('#')
                || line.starts_with('[')
                || line.is_empty()
                || line.starts_with("name")
                || line.starts_with("description");
            assert!(says_nothing || line.contains(" # "), "{name}: {line}");
        }
    }
}

#[test]
fn a_value_out_of_range_is_named_with_file_line_key_and_range() {
    let negative = message("same_llc_ns = 43.5", "same_llc_ns = -1.0");
    let line = line_of("same_llc_ns");
    assert!(
        negative.starts_with(&format!("mine.toml:{line}: transfer.same_llc_ns: ")),
        "{negative}"
    );
    assert!(negative.contains("allowed: 0 to"), "{negative}");
    assert!(message("share = 1.0", "share = 1.5").contains("allowed: 0 to 1"));
    assert!(message("share = 1.0", "share = nan").contains("allowed: 0 to 1"));
    assert!(message("sockets = 2", "sockets = 0").contains("allowed: 1 to 8"));
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let message = message("same_llc_ns = ", "same_lcc_ns = ");
    let line = line_of("same_llc_ns");
    assert!(
        message.starts_with(&format!("mine.toml:{line}: ")),
        "{message}"
    );
    assert!(message.contains("same_lcc_ns"), "{message}");
}

#[test]
fn a_missing_key_is_named_with_its_table_and_range() {
    let line = line_of("[transfer]");
    assert_eq!(
        message("request_ns = 8.0", ""),
        format!("mine.toml:{line}: transfer.request_ns: missing (allowed: 0 to 100000)")
    );
    assert_eq!(
        message("migratory = ", "# "),
        format!("mine.toml:{line}: transfer.migratory: missing (allowed: true, false)")
    );
    assert_eq!(
        message("name = ", "# "),
        "mine.toml:1: name: missing",
        "any text may stand there"
    );
}

/// A core that executes out of order, as a file describes it.
const OUT_OF_ORDER: &str = "[out_of_order]
window_ns = 15.0
retire_ns = 0.081
node_ns = 0.2
step_ns = 0.1
branch_miss_ns = 5.3
misses_at_once = 14

[transfer]";

#[test]
fn a_core_that_executes_out_of_order_is_checked_key_by_key() {
    let broadwell = Machine::text("broadwell-ep").unwrap();
    let with = |table: &str| broadwell.replacen("[transfer]", table, 1);
    let machine = Machine::parse(&with(OUT_OF_ORDER), "mine.toml").unwrap();
    let core = machine.out_of_order.unwrap();
    assert_eq!((core.window, core.misses_at_once), (15_000, 14));

    let header = line_of("[transfer]");
    let latency = "allowed: 0 to 100000";
    let one_line = |table: &str| message("[transfer]", table);
    for (nth, (key, allowed)) in [
        ("window_ns", latency),
        ("retire_ns", latency),
        ("node_ns", latency),
        ("step_ns", latency),
        ("branch_miss_ns", latency),
        ("misses_at_once", "allowed: 1 to 64"),
    ]
    .into_iter()
    .enumerate()
    {
        let line = OUT_OF_ORDER.lines().nth(nth + 1).unwrap();
        let missing = one_line(&OUT_OF_ORDER.replacen(line, "", 1));
        let expected = format!("mine.toml:{header}: out_of_order.{key}: missing ({allowed})");
        assert_eq!(missing, expected);
        for value in ["-1", "nan", "true", "\"3\"", "1000000"] {
            let wrong = one_line(&OUT_OF_ORDER.replacen(line, &format!("{key} = {value}"), 1));
            let at = header + 1 + nth;
            let place = format!("mine.toml:{at}: out_of_order.{key}: ");
            assert!(wrong.starts_with(&place), "{key} = {value}: {wrong}");
            assert!(wrong.contains(allowed), "{key} = {value}: {wrong}");
            assert_eq!(wrong.lines().count(), 1, "{wrong}");
        }
    }
    for (from, to, says) in [
        (
            "at_once = 14",
            "at_once = 0",
            "misses_at_once: 0 is out of range (allowed: 1 to 64)",
        ),
        (
            "at_once = 14",
            "at_once = 65",
            "misses_at_once: 65 is out of range (allowed: 1 to 64)",
        ),
        ("at_once = 14", "at_once = 2.5", "(allowed: 1 to 64)"),
        (
            "window_ns = 15.0",
            "window_ns = 0.1",
            "window_ns: 0.1 ns contradicts l1.issue_ns = ",
        ),
        (
            "step_ns = 0.1",
            "steps_ns = 0.1",
            "unknown field `steps_ns`, expected one of ",
        ),
    ] {
        let wrong = one_line(&OUT_OF_ORDER.replacen(from, to, 1));
        assert!(wrong.contains(says), "{to}: {wrong}");
        assert!(wrong.starts_with("mine.toml:"), "{to}: {wrong}");
    }
}

#[test]
fn how_lines_are_handed_over_is_checked_key_by_key() {
    for (from, to, key, allowed) in [
        (
            "upgrade_ns = ",
            "upgrade_ns = -",
            "upgrade_ns",
            "0 to 100000",
        ),
        (
            "upgrade_ns = ",
            "upgrade_ns = true # ",
            "upgrade_ns",
            "0 to 100000",
        ),
        (
            "migratory = ",
            "migratory = 1 # ",
            "migratory",
            "true, false",
        ),
        (
            "upgrade_ns = ",
            "request_share = 0.95\nupgrade_ns = ",
            "request_share",
            "0 to 0.9",
        ),
    ] {
        let line = line_of(from);
        let message = message(from, to);
        let place = format!("mine.toml:{line}: transfer.{key}: ");
        assert!(message.starts_with(&place), "{to}: {message}");
        assert!(
            message.contains(&format!("(allowed: {allowed})")),
            "{to}: {message}"
        );
    }
}

#[test]
fn a_hold_is_a_share_of_the_way_and_may_be_left_out() {
    let hold = message("far_limit = 2", "hold_share = 0.95\nfar_limit = 2");
    let line = line_of("far_limit");
    let says = "0.95 is out of range (allowed: 0 to 0.9)";
    assert_eq!(
        hold,
        format!("mine.toml:{line}: arbitration.hold_share: {says}")
    );
    assert_eq!(Machine::load("broadwell-ep").unwrap().hold_share, 0.0);
}

#[test]
fn contradictions_are_found() {
    for (from, to, key) in [
        ("sockets = 2", "sockets = 1", "transfer.other_socket_ns"),
        (
            "threads_per_core = 2",
            "threads_per_core = 1",
            "smt.slowdown",
        ),
        (
            "other_socket_ns = 118.0",
            "other_socket_ns = 10.0",
            "transfer.same_llc_ns",
        ),
        (
            "request_ns = 8.0",
            "request_ns = 12.0",
            "transfer.request_ns",
        ),
        (
            "request_ns = 8.0",
            "request_ns = 0.0",
            "transfer.request_ns",
        ),
        ("bytes = 32768", "bytes = 32769", "l1.bytes"),
        (
            "policy = \"inclusive\"",
            "policy = \"exclusive\"",
            "llc.policy",
        ),
        ("protocol = \"mesif\"", "protocol = \"mosi\"", "protocol"),
    ] {
        let message = message(from, to);
        assert!(message.contains(key), "{to}: {message}");
        assert!(message.starts_with("mine.toml:"), "{to}: {message}");
    }
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let message = message("[topology]", "[topology");
    assert!(message.starts_with("mine.toml:"), "{message}");
}

#[test]
fn an_unknown_machine_is_answered_with_the_nearest_names() {
    let message = Machine::load("broadwel").unwrap_err().to_string();
    assert!(message.contains("broadwell-ep"), "{message}");
}

#[test]
fn a_measured_matrix_takes_the_place_of_the_distances() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..4)
        .map(|row| {
            let cells: Vec<String> = (0..4)
                .map(|column| {
                    if column < row {
                        "21.5".into()
                    } else {
                        String::new()
                    }
                })
                .collect();
            cells.join(",") + "\n"
        })
        .collect();
    std::fs::write(folder.path().join("mine.csv"), &rows).unwrap();
    let text = Machine::text("skylake-client").unwrap().replacen(
        "[transfer]",
        "[transfer]\nmatrix = \"mine.csv\"",
        1,
    );
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, text).unwrap();
    let machine = Machine::load(file.to_str().unwrap()).unwrap();
    assert_eq!(machine.transfers.matrix[1], 21_500);

    std::fs::write(folder.path().join("mine.csv"), "1,2\n").unwrap();
    let message = Machine::load(file.to_str().unwrap())
        .unwrap_err()
        .to_string();
    assert!(message.contains("transfer.matrix"), "{message}");
}
