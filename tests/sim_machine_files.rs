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
fn a_missing_key_is_named() {
    let message = message("request_ns = 8.0", "");
    assert!(message.contains("missing field `request_ns`"), "{message}");
    assert!(message.starts_with("mine.toml:"), "{message}");
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
