//! `hitm probe --calibrate` as a user calls it, and the file it writes as the simulator reads it.

use assert_cmd::Command;
use hitm::calibrate::{About, Findings, Geometry};
use hitm::machine::Topology;
use hitm::sim::Machine;
use std::fs;
use std::path::Path;

fn calibrate(path: &Path, seconds: &str) -> Command {
    let mut command = Command::cargo_bin("hitm").unwrap();
    command.args(["probe", "--seconds", seconds, "--calibrate"]);
    command.arg(path);
    command
}

/// A test that waits so long has failed: what is refused is refused before measuring.
const AN_HOUR: &str = "3600";

fn about() -> About {
    About {
        name: "here".to_owned(),
        description: "a \"machine\" of a test\nin two lines".to_owned(),
        vendor: None,
    }
}

#[test]
fn the_file_is_a_machine_of_the_simulator_with_the_topology_of_hwloc_and_says_how_it_came_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("here.toml");
    let output = calibrate(&path, "0.05").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("--machine")
    );
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(
        names.len(),
        1,
        "something is left beside the file: {names:?}"
    );

    let machine = Machine::load(path.to_str().unwrap()).unwrap();
    assert_eq!(machine.name, "here");
    let topology = Topology::here().unwrap();
    let shape = machine.shape;
    assert_eq!(shape.sockets, topology.packages());
    assert!(shape.cores() >= topology.cores());
    let geometry = Geometry::here(&topology).unwrap();
    for (found, cache) in [
        (machine.l1, geometry.l1),
        (machine.l2, geometry.l2),
        (machine.llc, geometry.llc),
    ] {
        if let Some(cache) = cache {
            assert_eq!(found.sets * found.ways * 64, cache.bytes);
        }
    }
    let transfers = &machine.transfers;
    for (what, latency) in [
        ("issue", machine.issue),
        ("rmw", machine.rmw),
        ("pause", machine.pause),
        ("memory", machine.memory),
        ("request", machine.request),
        ("dirty", transfers.dirty[1]),
        ("clean", transfers.clean[1]),
    ] {
        assert!(latency > 0, "{what} is 0");
    }

    Command::cargo_bin("hitm")
        .unwrap()
        .args([
            "sim",
            "--pattern",
            "same-line",
            "--accesses",
            "1000",
            "--cores",
            "1",
        ])
        .arg("--machine")
        .arg(&path)
        .assert()
        .success();
}

#[test]
fn a_file_that_exists_is_not_overwritten_and_nothing_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("here.toml");
    fs::write(&path, "mine").unwrap();
    let output = calibrate(&path, AN_HOUR).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn a_path_that_cannot_become_a_machine_file_is_refused_in_one_line_before_measuring() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder.toml")).unwrap();
    fs::write(at("file"), "").unwrap();
    for (path, status) in [
        (at("here"), 2),
        (at("here.csv"), 2),
        (at("folder.toml"), 2),
        (at("nowhere/here.toml"), 2),
        (at("file/here.toml"), 2),
        ("/proc/here.toml".into(), 3),
    ] {
        let output = calibrate(&path, AN_HOUR).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{path:?}: {output:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_machine_of_which_only_the_topology_is_known_is_a_machine_of_the_simulator_too() {
    for (description, shape) in [
        ("pack:2 l3:1 core:14 pu:2", [2, 1, 14, 2]),
        ("pack:2 l3:12 core:8 pu:2", [2, 12, 8, 2]),
        ("pack:1 l3:2 core:3 pu:1", [1, 2, 3, 1]),
        ("pack:1 core:4 pu:1", [1, 1, 4, 1]),
        ("pack:1 l3:1 core:1 pu:1", [1, 1, 1, 1]),
    ] {
        let geometry = Geometry::from_synthetic(description).unwrap();
        let text = Findings::nothing(geometry).to_toml(&about());
        let machine = Machine::parse(&text, description).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let s = machine.shape;
        assert_eq!(
            [
                s.sockets,
                s.llcs_per_socket,
                s.cores_per_llc,
                s.threads_per_core
            ],
            shape
        );
        assert!(!text.contains("= NaN"), "{text}");
    }
}
