//! What an explanation and a timeline say is what the counters and the clocks of the sample say.

use super::{Ways, machine};
use hitm::machine::{Distance, Placement};
use hitm::program::fault::Spec;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::path::PageWork;
use hitm::program::fault::scenario::BuiltIn;
use hitm::report::explain::{Sharing, explanation, ns_per_fault};
use hitm::sim::Machine;
use hitm::sim::explain::Taking;
use hitm::sim::request::Want;
use hitm::sim::run::{Run, SampleSpec, run};
use serde_json::Value;
use std::collections::BTreeMap;

fn sample(machine: &Machine, spec: Spec, seed: u64) -> Run {
    let spec = SampleSpec {
        explain: true,
        timeline: true,
        access_ns: 2.0,
        ..SampleSpec::new(spec, Placement::Compact, seed, 16)
    };
    run(machine, &spec).unwrap()
}

/// Layouts, scenarios and thread counts, few of each on every machine.
fn samples(mut see: impl FnMut(&str, &Run)) {
    const LAYOUTS: [VmaLayout; 3] = [
        VmaLayout::SplitPacked,
        VmaLayout::EmbeddedRefcount192,
        VmaLayout::MmapLock,
    ];
    for (at, name) in Machine::names().enumerate() {
        for (n, ways) in Ways::ALL.into_iter().enumerate() {
            let machine = ways.of(machine(name));
            let room = machine.shape.cpus();
            for (m, &scenario) in BuiltIn::ALL.iter().enumerate() {
                if (at + n + m) % 3 != 0 {
                    continue;
                }
                let threads = [2, 3, 4, 9][(at + 2 * n + m) % 4].min(room);
                let layout = LAYOUTS[(at + 2 * n + m) % 3];
                let mut spec = Spec::new(layout, scenario, threads);
                if (at + m) % 4 == 0 {
                    spec.work = PageWork::ClearPage;
                }
                let context = format!("{name}, {ways:?}, {threads} threads, {}", scenario.name());
                see(&context, &sample(&machine, spec, at as u64));
            }
        }
    }
}

#[test]
fn a_fault_waits_no_longer_than_it_takes() {
    let mut waiting = 0.0;
    samples(|context, run| {
        let (waited, _) = explanation(run);
        let counted = waited.iter().filter(|row| row.counted);
        let waits: f64 = counted.map(|row| row.ns).sum();
        let time = ns_per_fault(run);
        assert!(waits <= time, "{context}: {waits} ns of {time} ns");
        for row in &waited {
            assert!(row.ns_after_prefetch <= row.ns, "{context}: {row:?}");
            assert!((row.ns > 0.0) == (row.waits > 0.0), "{context}: {row:?}");
        }
        waiting += waits / time;
    });
    assert!(waiting > 1.0, "somebody waits");
}

#[test]
fn an_explanation_adds_up_to_the_counters_of_its_sample() {
    samples(|context, run| {
        let ledger = run.ledger.as_ref().unwrap();
        let sum = |is_it: &dyn Fn(&Taking) -> bool| -> u64 {
            let those = ledger.takings.iter().filter(|(taking, _)| is_it(taking));
            those.map(|(_, count)| count).sum()
        };
        let by_prefetch = |t: &Taking| t.word.is_none();
        let demand_hitm = |t: &Taking| t.hitm && !by_prefetch(t);
        let far = |t: &Taking| t.distance == Distance::OtherPackage;
        let load = |t: &Taking| demand_hitm(t) && t.want == Want::Read;
        let rfo = |t: &Taking| demand_hitm(t) && t.want == Want::Own;
        let requests = |is_prefetch: bool| -> u64 {
            let those = ledger.requests.iter();
            let those = those.filter(|((_, word, _), _)| word.is_none() == is_prefetch);
            those.map(|(_, count)| count).sum()
        };
        let counts = &run.counts;
        let mut pairs = vec![
            ("true", sum(&|t| t.same_word), counts.true_sharing),
            (
                "false",
                sum(&|t| !t.same_word && !by_prefetch(t)),
                counts.false_sharing,
            ),
            ("pair", sum(&by_prefetch), counts.pair_sharing),
            ("invalidated", sum(&|t| t.invalidated), counts.invalidations),
            (
                "by prefetch",
                sum(&|t| t.invalidated && by_prefetch(t)),
                counts.prefetch_invalidations,
            ),
            ("local", sum(&|t| load(t) && !far(t)), counts.hitm_local),
            ("remote", sum(&|t| load(t) && far(t)), counts.hitm_remote),
            ("rfo", sum(&rfo), counts.rfo_hitm),
            (
                "far rfo",
                sum(&|t| rfo(t) && far(t)),
                counts.rfo_hitm_remote,
            ),
            (
                "prefetch rfo",
                sum(&|t| t.hitm && by_prefetch(t) && t.want == Want::Own),
                counts.prefetch_rfo_hitm,
            ),
            (
                "prefetch read",
                sum(&|t| t.hitm && by_prefetch(t) && t.want == Want::Read),
                counts.prefetch_read_hitm,
            ),
            ("prefetches", requests(true), counts.prefetches),
        ];
        // A core that runs ahead asks for lines that the program then finds there.
        if !context.contains("OutOfOrder") && !context.contains("Both") {
            let misses = counts.accesses - counts.hits;
            pairs.push(("requests", requests(false), misses));
        }
        for (what, explained, counted) in pairs {
            assert_eq!(explained, counted, "{context}: {what}");
        }

        // What is printed is the same, per fault.
        let faults: u64 = run.threads.iter().map(|thread| thread.faults).sum();
        let (_, taken) = explanation(run);
        let printed = |sharing: &[Sharing]| -> f64 {
            let those = taken.iter().filter(|row| sharing.contains(&row.sharing));
            those.map(|row| row.times).sum::<f64>() * faults as f64
        };
        for (sharing, counted) in [
            (&[Sharing::True][..], counts.true_sharing),
            (&[Sharing::False, Sharing::Unused], counts.false_sharing),
            (&[Sharing::Pair], counts.pair_sharing),
        ] {
            let printed = printed(sharing);
            assert!((printed - counted as f64).abs() < 1e-6, "{context}");
        }
    });
}

/// Begin and end of a slice, in nanoseconds.
fn bounds(event: &Value) -> (u64, u64) {
    let nanos = |key: &str| (event[key].as_f64().unwrap() * 1000.0).round() as u64;
    (nanos("ts"), nanos("ts") + nanos("dur"))
}

#[test]
fn slices_of_one_track_lie_in_one_another_or_apart() {
    let mut prefetches = 0;
    samples(|context, run| {
        let timeline = run.timeline.as_ref().unwrap();
        let name = |(n, seat): (usize, &hitm::sim::run::SeatedThread)| {
            format!("{} {n}, core {}", seat.role.name, seat.core)
        };
        let threads: Vec<String> = run.seats.iter().enumerate().map(name).collect();
        let mut written = Vec::new();
        timeline
            .write(&mut written, "test", &threads, &run.map)
            .unwrap();
        let written: Value = serde_json::from_slice(&written).unwrap();
        let events = written["traceEvents"].as_array().unwrap();
        let mut names: BTreeMap<u64, String> = BTreeMap::new();
        let mut tracks: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for event in events {
            let track = event["tid"].as_u64().unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            match event["ph"].as_str().unwrap() {
                "M" if event["name"] == "thread_name" => {
                    let name = text(&event["args"]["name"]);
                    assert!(names.insert(track, name).is_none(), "{context}");
                }
                "M" => {}
                "X" => {
                    tracks.entry(track).or_default().push(bounds(event));
                    let is_prefetch = text(&event["cat"]).starts_with("prefetch");
                    assert_eq!(is_prefetch, names[&track].contains("prefetches"));
                    prefetches += u32::from(is_prefetch);
                    let name = text(&event["name"]);
                    assert!(!name.contains("line "), "{context}: {name}");
                }
                other => panic!("{context}: {other}"),
            }
        }
        assert!(!tracks.is_empty(), "{context}");
        for (track, slices) in tracks {
            let name = &names[&track];
            assert!(threads.iter().any(|thread| name.starts_with(thread)));
            // Slices come by their begin, the longer first.
            let mut open: Vec<(u64, u64)> = Vec::new();
            for slice in slices {
                while open.last().is_some_and(|last| last.1 < slice.0) {
                    open.pop();
                }
                let fits = open.last().is_none_or(|last| slice.1 <= last.1);
                assert!(fits, "{context}: {name}: {slice:?} in {open:?}");
                open.push(slice);
            }
        }
    });
    assert!(prefetches > 0);
}
