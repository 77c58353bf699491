//! Placements on machines that are not here: each plan keeps the definition of its placement.

use hitm::error::{Error, Result};
use hitm::machine::{Cpu, CpuId, Distance, Placement, Topology, possible};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Two Broadwell sockets, numbered as Linux does: 0-13 and 14-27, their SMT siblings from 28.
const BROADWELL: &str = "pack:2 [numa] l3:1 core:14 pu:2(indexes=2*28:28*1)";
/// Two AMD sockets of 8 LLCs x 8 cores, SMT off.
const EPYC: &str = "pack:2 [numa] l3:8 core:8 pu:1";

fn synthetic(description: &str) -> Topology {
    Topology::from_synthetic(description).unwrap()
}

fn xml(name: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/topologies");
    Topology::from_xml(&path.join(name)).unwrap()
}

fn placement(text: &str) -> Placement {
    text.parse().unwrap()
}

/// The plan in the notation of a CPU list.
fn plan(topology: &Topology, placed: &str, threads: usize) -> String {
    let plan = placement(placed).plan(topology, threads, false).unwrap();
    Placement::Explicit(plan.cpus).to_string()
}

fn refusal(result: Result<impl std::fmt::Debug>) -> String {
    match result {
        Err(Error::Refused(message)) => {
            assert!(!message.contains('\n'), "more than one line: {message}");
            message
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn room(topology: &Topology) -> Vec<(String, usize)> {
    possible(topology)
        .into_iter()
        .map(|(placement, room)| (placement.to_string(), room))
        .collect()
}

fn rooms<const N: usize>(expected: [(&str, usize); N]) -> Vec<(String, usize)> {
    expected.map(|(name, n)| (name.to_owned(), n)).into()
}

#[test]
fn two_sockets_of_14_cores_with_smt_are_placed_by_hand_written_lists() {
    let broadwell = synthetic(BROADWELL);
    assert_eq!(broadwell.summary(), "2 sockets, 2 LLCs, 28 cores, 56 CPUs");
    assert_eq!(plan(&broadwell, "compact", 28), "0-27");
    assert_eq!(plan(&broadwell, "compact", 56), "0-55");
    assert_eq!(plan(&broadwell, "scatter", 4), "0,14,1,15");
    let scattered = placement("scatter").order(&broadwell).unwrap();
    assert_eq!(scattered[26..30], [13, 27, 28, 42].map(CpuId));
    assert_eq!(plan(&broadwell, "smt", 4), "0,28,1,29");
    assert_eq!(plan(&broadwell, "one-llc", 28), "0-13,28-41");
    assert_eq!(plan(&broadwell, "cross-socket", 4), "0,14,1,15");
    let expected = rooms([
        ("compact", 56),
        ("scatter", 56),
        ("smt", 56),
        ("one-llc", 28),
        ("cross-socket", 56),
    ]);
    assert_eq!(room(&broadwell), expected);
}

#[test]
fn two_sockets_of_8_llcs_are_crossed_within_one_socket_or_between_both() {
    let epyc = synthetic(EPYC);
    assert_eq!(epyc.summary(), "2 sockets, 16 LLCs, 128 cores, 128 CPUs");
    assert_eq!(plan(&epyc, "one-llc", 8), "0-7");
    assert_eq!(plan(&epyc, "cross-llc", 9), "0,8,16,24,32,40,48,56,1");
    assert_eq!(plan(&epyc, "scatter", 4), "0,64,8,72");
    assert_eq!(plan(&epyc, "compact", 10), "0-9");
    let expected = rooms([
        ("compact", 128),
        ("scatter", 128),
        ("one-llc", 8),
        ("cross-llc", 64),
        ("cross-socket", 128),
    ]);
    assert_eq!(room(&epyc), expected);
}

#[test]
fn hybrid_cores_are_named_and_a_plan_that_mixes_them_warns() {
    let hybrid = xml("hybrid.xml");
    assert_eq!(hybrid.kinds, ["IntelAtom", "IntelCore"]);
    let kind = |id| hybrid.kinds[hybrid.cpu(CpuId(id)).unwrap().kind].as_str();
    assert_eq!(
        [kind(0), kind(8), kind(13)],
        ["IntelCore", "IntelAtom", "IntelAtom"]
    );

    let compact = placement("compact");
    assert_eq!(compact.plan(&hybrid, 4, false).unwrap().warnings, [""; 0]);
    let mixed = compact.plan(&hybrid, 5, false).unwrap();
    assert_eq!(mixed.warnings.len(), 1);
    let warning = &mixed.warnings[0];
    assert!(warning.contains("IntelAtom on CPU 8"), "{warning}");
    assert!(warning.contains("IntelCore on CPU 0,2,4,6"), "{warning}");

    // Efficiency cores have no siblings; the two beside the L3 share an L2 only.
    assert_eq!(plan(&hybrid, "smt", 8), "0-7");
    assert_eq!(plan(&hybrid, "one-llc", 12), "0,2,4,6,8-11,1,3,5,7");
    assert_eq!(plan(&hybrid, "cross-llc", 4), "0,12,2,13");
    let levels: Vec<usize> = hybrid.llcs.iter().map(|llc| llc.level).collect();
    assert_eq!(levels, [3, 2]);
}

#[test]
fn cpus_that_are_offline_or_outside_the_cpuset_are_never_planned_and_are_named() {
    let partial = xml("partial.xml");
    assert_eq!(partial.offline, [CpuId(15)]);
    assert_eq!(
        partial.summary(),
        "1 socket, 2 LLCs, 8 cores, 15 CPUs (1 offline, 5 not allowed)"
    );
    // Core 0 is reached through CPU 1, its only usable hardware thread.
    assert_eq!(plan(&partial, "compact", 10), "1-2,8,10,12,14,3,9,11,13");
    assert_eq!(plan(&partial, "smt", 8), "2-3,8-13");
    assert_eq!(plan(&partial, "one-llc", 7), "8,10,12,14,9,11,13");
    assert_eq!(plan(&partial, "cross-llc", 6), "1,8,2,10,3,12");
    for (listed, says) in [
        ("1,15", "CPU 15 is offline"),
        ("1,4", "CPU 4 is not allowed"),
        ("1,99", "CPU 99 does not exist"),
    ] {
        let message = refusal(placement(listed).plan(&partial, 2, false));
        assert!(message.contains(says), "{message}");
        assert!(
            message.contains("1-3,8-14"),
            "names no usable CPUs: {message}"
        );
    }
}

#[test]
fn a_machine_without_an_l3_uses_the_cache_its_cores_share() {
    let clusters = synthetic("pack:1 l2:2 core:4 pu:1");
    assert_eq!(clusters.llcs.len(), 2);
    assert_eq!(clusters.llcs[0].level, 2);
    assert_eq!(plan(&clusters, "one-llc", 4), "0-3");
    assert_eq!(plan(&clusters, "cross-llc", 4), "0,4,1,5");

    let private = synthetic("pack:1 core:4 l2:1 pu:2");
    assert_eq!(private.llcs, []);
    let message = refusal(placement("one-llc").plan(&private, 1, false));
    assert!(message.contains("known last-level cache"), "{message}");
    assert!(message.contains("compact (8)"), "{message}");
    assert_eq!(
        private.cpus[0].distance(&private.cpus[2]),
        Distance::OtherLlc
    );
}

#[test]
fn a_placement_the_machine_cannot_give_is_refused_with_what_it_has_and_what_is_possible() {
    let small = synthetic("pack:1 l3:1 core:2 pu:1");
    for impossible in ["smt", "cross-llc", "cross-socket"] {
        let message = refusal(placement(impossible).plan(&small, 2, false));
        assert!(
            message.contains("1 socket, 1 LLC, 2 cores, 2 CPUs"),
            "{message}"
        );
        assert!(
            message.contains("compact (2), scatter (2), one-llc (2)"),
            "{message}"
        );
    }
}

#[test]
fn more_threads_than_cpus_need_oversubscription_and_then_go_round() {
    let small = synthetic("pack:1 l3:1 core:2 pu:1");
    let message = refusal(placement("compact").plan(&small, 5, false));
    assert!(message.contains("--oversubscribe"), "{message}");
    let plan = placement("compact").plan(&small, 5, true).unwrap();
    assert_eq!(plan.cpus, [0, 1, 0, 1, 0].map(CpuId));
    assert_eq!(plan.warnings.len(), 1);
}

#[test]
fn zero_threads_are_unusable_input() {
    let small = synthetic("pack:1 l3:1 core:2 pu:1");
    let result = placement("compact").plan(&small, 0, true);
    assert!(matches!(result, Err(Error::Input(_))), "{result:?}");
}

#[test]
fn a_list_is_taken_as_it_stands_and_written_back_the_same() {
    let broadwell = synthetic(BROADWELL);
    for text in ["3", "5,3", "0,2,4-7", "28-30,0-1"] {
        let listed = placement(text);
        assert_eq!(listed.to_string(), text);
        assert_eq!(
            plan(&broadwell, text, listed.order(&broadwell).unwrap().len()),
            text
        );
    }
    assert_eq!(plan(&broadwell, "9,4,1", 2), "9,4");
}

#[test]
fn malformed_placements_say_what_is_wrong_in_one_line() {
    for (text, says) in [
        ("compat", "compact"),
        ("", "nearest valid names"),
        ("0,", "not a CPU number"),
        ("0,x", "not a CPU number"),
        ("4-2", "backwards"),
        ("0,1,0", "CPU 0 occurs twice"),
        ("0-99999999999", "not a CPU number"),
        ("1--3", "not a CPU number"),
    ] {
        match text.parse::<Placement>() {
            Err(Error::Input(message)) => {
                assert!(message.contains(says), "{text}: {message}");
                assert!(!message.contains('\n'), "{message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn unreadable_topologies_are_unusable_input() {
    let results = [
        Topology::from_synthetic("pack:two"),
        Topology::from_xml(Path::new("/nonexistent/machine.xml")),
        Topology::from_xml(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")),
    ];
    for result in results {
        assert!(matches!(result, Err(Error::Input(_))), "{result:?}");
    }
}

/// A machine of any shape, some of its CPUs not allowed.
fn any_machine() -> impl Strategy<Value = Topology> {
    let shape = (1..4usize, 0..4usize, 1..5usize, 1..4usize);
    (shape, any::<[bool; 64]>(), any::<bool>()).prop_map(|((p, l, c, s), mask, all)| {
        let llc = if l == 0 {
            String::new()
        } else {
            format!("l3:{l} ")
        };
        let mut machine = synthetic(&format!("pack:{p} {llc}core:{c} pu:{s}"));
        for (index, cpu) in machine.cpus.iter_mut().enumerate() {
            cpu.allowed = all || mask[index % mask.len()];
        }
        machine
    })
}

/// How often each key occurs.
fn tally<'c>(cpus: &[&'c Cpu], key: impl Fn(&'c Cpu) -> usize) -> BTreeMap<usize, usize> {
    let mut tally = BTreeMap::new();
    for cpu in cpus {
        *tally.entry(key(cpu)).or_default() += 1;
    }
    tally
}

/// Whether equal keys stand side by side.
fn contiguous(keys: impl Iterator<Item = usize>) -> bool {
    let mut keys: Vec<usize> = keys.collect();
    keys.dedup();
    keys.len() == keys.iter().collect::<BTreeSet<_>>().len()
}

/// Whether every core has a thread before any has a second, and so on: `cores` is what is usable.
fn siblings_come_last(placed: &[&Cpu], usable: &[&Cpu]) -> bool {
    let available = tally(usable, |cpu| cpu.core);
    (1..=placed.len()).all(|n| {
        let used = tally(&placed[..n], |cpu| cpu.core);
        let most = used.values().copied().max().unwrap_or(0);
        available
            .iter()
            .all(|(core, &room)| used.get(core).copied().unwrap_or(0) >= room.min(most - 1))
    })
}

/// Whether no group gets its next thread while one with room has two fewer.
fn evenly_spread(placed: &[&Cpu], usable: &[&Cpu], key: impl Fn(&Cpu) -> usize + Copy) -> bool {
    // Level by level: within a level every core has room for one thread.
    let level = |cpus: &[&Cpu], n: usize| -> Vec<Cpu> {
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        cpus.iter()
            .filter(|cpu| {
                let rank = seen.entry(cpu.core).or_default();
                *rank += 1;
                *rank == n
            })
            .map(|cpu| (*cpu).clone())
            .collect()
    };
    (1..=3).all(|n| {
        let (placed, usable) = (level(placed, n), level(usable, n));
        let (placed, usable): (Vec<&Cpu>, Vec<&Cpu>) =
            (placed.iter().collect(), usable.iter().collect());
        let room = tally(&usable, key);
        (1..=placed.len()).all(|m| {
            let used = tally(&placed[..m], key);
            let most = used.values().copied().max().unwrap_or(0);
            room.iter()
                .all(|(group, &room)| used.get(group).copied().unwrap_or(0) >= room.min(most - 1))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_plan_uses_distinct_allowed_cpus_and_keeps_its_definition(machine in any_machine()) {
        let usable: Vec<&Cpu> = machine.allowed().collect();
        for placement in Placement::NAMED {
            let Ok(order) = placement.order(&machine) else { continue };
            let placed: Vec<&Cpu> = order.iter().map(|&id| machine.cpu(id).unwrap()).collect();
            prop_assert!(placed.iter().all(|cpu| cpu.allowed), "{placement}: {order:?}");
            let distinct: BTreeSet<CpuId> = order.iter().copied().collect();
            prop_assert_eq!(distinct.len(), order.len());
            for threads in 1..=order.len() {
                let plan = placement.plan(&machine, threads, false).unwrap();
                prop_assert_eq!(&plan.cpus[..], &order[..threads]);
            }
            prop_assert!(placement.plan(&machine, order.len() + 1, false).is_err());

            let kept = match &placement {
                Placement::Compact => {
                    let cores = tally(&usable, |cpu| cpu.core).len();
                    let first = &placed[..cores];
                    placed.len() == usable.len()
                        && siblings_come_last(&placed, &usable)
                        && contiguous(first.iter().map(|cpu| cpu.package))
                        && contiguous(first.iter().map(|cpu| cpu.llc.unwrap_or(cpu.package)))
                }
                Placement::Scatter => {
                    placed.len() == usable.len()
                        && siblings_come_last(&placed, &usable)
                        && evenly_spread(&placed, &usable, |cpu| cpu.package)
                        && (0..machine.packages()).all(|package| {
                            let within = |cpus: &[&Cpu]| -> Vec<Cpu> {
                                let mut cpus: Vec<Cpu> =
                                    cpus.iter().map(|cpu| (*cpu).clone()).collect();
                                cpus.retain(|cpu| cpu.package == package);
                                cpus
                            };
                            let (placed, usable) = (within(&placed), within(&usable));
                            let placed: Vec<&Cpu> = placed.iter().collect();
                            let usable: Vec<&Cpu> = usable.iter().collect();
                            evenly_spread(&placed, &usable, |cpu| cpu.llc.unwrap_or(0))
                        })
                }
                Placement::Smt => {
                    let used = tally(&placed, |cpu| cpu.core);
                    let available = tally(&usable, |cpu| cpu.core);
                    contiguous(placed.iter().map(|cpu| cpu.core))
                        && available.iter().all(|(core, &n)| {
                            used.get(core).copied().unwrap_or(0) == if n > 1 { n } else { 0 }
                        })
                }
                Placement::OneLlc => {
                    let room = tally(&usable, |cpu| cpu.llc.unwrap());
                    placed.iter().all(|cpu| cpu.llc == placed[0].llc)
                        && Some(&placed.len()) == room.values().max()
                        && siblings_come_last(&placed, &placed)
                }
                Placement::CrossLlc => {
                    placed.iter().all(|cpu| cpu.package == placed[0].package)
                        && placed.len() >= 2
                        && placed.windows(2).all(|pair| pair[0].llc != pair[1].llc)
                }
                Placement::CrossSocket => {
                    placed.len() >= 2
                        && placed.windows(2).all(|pair| pair[0].package != pair[1].package)
                }
                Placement::Explicit(_) => unreachable!("not a named placement"),
            };
            prop_assert!(kept, "{placement} on {}: {order:?}", machine.summary());
        }
    }

    #[test]
    fn a_list_reads_back_as_the_list_that_was_written(
        cpus in proptest::collection::btree_set(0..200usize, 1..20),
        turn in 0..20usize,
    ) {
        let mut cpus: Vec<CpuId> = cpus.into_iter().map(CpuId).collect();
        let turn = turn % cpus.len();
        cpus.rotate_left(turn);
        let listed = Placement::Explicit(cpus);
        prop_assert_eq!(listed.to_string().parse::<Placement>().unwrap(), listed);
    }
}
