//! `hitm probe` as a user calls it.

use assert_cmd::Command;
use serde_json::Value;

fn probe() -> Command {
    let mut command = Command::cargo_bin("hitm").unwrap();
    command.arg("probe");
    command
}

#[test]
fn the_table_shows_what_the_machine_is_and_allows_without_colour_in_a_pipe() {
    let output = probe().args(["--seconds", "0.05"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for heading in ["Topology", "Placements", "Line transfer", "Permitted"] {
        assert!(text.contains(heading), "no {heading}: {text}");
    }
    assert!(text.contains("cross-socket"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn json_is_one_object_with_placements_latencies_and_permissions() {
    let output = probe()
        .args(["--seconds", "0.05", "--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let placements = found["placements"].as_array().unwrap();
    assert_eq!(placements.len(), 6);
    for placed in placements {
        let room = placed["max_threads"].as_u64().unwrap();
        assert_eq!(room as usize, placed["cpus"].as_array().unwrap().len());
        assert_eq!(room == 0, placed["needs"].is_string(), "{placed}");
    }
    let cpus = placements[0]["cpus"].as_array().unwrap().len();
    let transfers = found["line_transfer"].as_array().unwrap();
    assert_eq!(transfers.is_empty(), cpus < 2);
    for check in found["permitted"].as_array().unwrap() {
        assert_eq!(
            check["granted"] == true,
            check["remedy"].is_null(),
            "{check}"
        );
    }
    assert!(found["environment"]["topology"]["summary"].is_string());
}

#[test]
fn a_duration_that_makes_no_sense_is_unusable_input_said_in_one_line() {
    for seconds in ["0", "-1", "nan", "inf", "soon", "1e9"] {
        let output = probe()
            .arg(format!("--seconds={seconds}"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{seconds}: {output:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(output.stdout.is_empty());
    }
}
