//! The search for better layouts: what it finds, what it keeps, and what it says when nothing helps.

use hitm::case::{Case, CaseLayout};
use hitm::report::c_struct::{Asserts, declaration};
use hitm::report::suggestion;
use hitm::suggest::access::Way;
use hitm::suggest::{Request, Suggestions, suggest, written};
use std::sync::atomic::AtomicBool;

fn request() -> Request {
    Request {
        baseline: 0,
        max_bytes: None,
        keep: Vec::new(),
        machines: vec!["zen4".to_owned(), "sapphire-rapids".to_owned()],
        threads: vec![4],
        seed: 1,
        effort: 0.05,
    }
}

fn search(case: &Case, request: &Request) -> Suggestions {
    suggest(case, request, &AtomicBool::new(false)).unwrap()
}

/// What is printed, without line breaks.
fn said(case: &Case, found: &Suggestions) -> String {
    let text = suggestion::text(case, found, None);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn offset(layout: &CaseLayout, name: &str) -> usize {
    let field = layout.fields.iter().find(|field| field.name == name);
    field.unwrap_or_else(|| panic!("no {name}")).offset
}

/// A counter that one thread writes stands beside a pointer that all others read.
fn beside() -> Case {
    Case::parse(
        "beside",
        r#"
case = 1
struct = "thing"

[[role]]
name = "reader"
threads = "rest"
steps = [{ read = ["ops", "flags"] }, { work = "20ns" }, { read = ["ops"] }]

[[role]]
name = "writer"
threads = 1
steps = [{ rmw = "hits" }, { work = "20ns" }]

[[layout]]
name = "old"
size = 128
align = 64
fields = { ops = [0, 8], hits = [8, 8], flags = [16, 4], kind = [20, 4], list = [24, 16], owner = [40, 8], name = [48, 8, 9] }

[[rule]]
together = ["ops", "flags"]
"#,
    )
    .unwrap()
}

#[test]
fn a_written_counter_goes_away_from_what_all_read() {
    let case = beside();
    let found = search(&case, &request());
    let best = found.best().unwrap();
    assert!(best.cost.ratio < 0.8, "{}", best.cost.ratio);
    let line = |name| offset(&best.layout, name) / 64;
    assert_ne!(line("hits"), line("ops"));
    assert_eq!(line("ops"), line("flags"));
    assert_eq!(best.layout.bytes, 128);
    let text = said(&case, &found);
    assert!(text.contains("- move hits from 8 to"), "{text}");
}

#[test]
fn suggestions_keep_alignment_rules_size_and_what_is_to_keep() {
    let case = beside();
    let request = Request {
        keep: vec!["hits".to_owned(), "kind".to_owned()],
        max_bytes: Some(192),
        ..request()
    };
    let found = search(&case, &request);
    for one in &found.front {
        let layout = &one.layout;
        assert!(layout.bytes <= 192);
        // flags lies between them and goes along: with ops, which the rule holds it to.
        for name in ["flags", "kind"] {
            let before = offset(&case.layouts[0], name) - offset(&case.layouts[0], "hits");
            assert_eq!(offset(layout, name) - offset(layout, "hits"), before);
        }
        let mut end = 0;
        for field in &layout.fields {
            assert!(field.offset >= end, "{} overlaps", field.name);
            assert_eq!(field.offset % field.bytes.min(8), 0, "{}", field.name);
            end = field.end();
        }
        assert!(end <= layout.bytes);
        let checked = case.check(layout, 4).unwrap();
        assert!(checked.iter().all(|rule| rule.breach.is_none()));
        assert_eq!(layout.fields.len(), case.layouts[0].fields.len());
    }
}

#[test]
fn the_same_seed_brings_the_same_suggestions() {
    let case = beside();
    let all = || {
        let found = search(&case, &request());
        let front = found.front.into_iter();
        let front = front.map(|one| (one.layout, one.cost)).collect::<Vec<_>>();
        (
            front,
            found
                .known
                .into_iter()
                .map(|known| known.cost)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(all(), all());
}

/// All threads add to one counter, or store to it.
fn truly_shared(step: &str) -> Case {
    let text = format!(
        r#"
case = 1
struct = "thing"

[[role]]
name = "all"
threads = "rest"
steps = [{step}, {{ work = ["20ns", "60ns"] }}]

[[layout]]
name = "old"
size = 64
align = 64
fields = {{ hits = [0, 8], list = [8, 16], owner = [24, 8], rest = [32, 8, 4] }}
"#
    );
    Case::parse("shared", &text).unwrap()
}

#[test]
fn what_threads_share_truly_no_order_parts_and_a_counter_per_cpu_does() {
    let case = truly_shared("{ rmw = \"hits\" }");
    let found = search(&case, &request());
    assert!(found.best().is_none());
    assert!(found.front.is_empty());
    assert_eq!(found.shared, ["hits"]);
    assert_eq!(found.accesses[0].way, Way::PerCpu("hits".to_owned()));
    assert!(found.accesses[0].alone < 0.9);
    let text = said(&case, &found);
    assert!(text.contains("Nothing helps"), "{text}");
    assert!(text.contains("if nobody needs the exact value"), "{text}");
}

#[test]
fn a_store_that_could_be_left_away_is_pointed_out() {
    let case = truly_shared("{ read = [\"hits\"] }, { write = \"hits\" }");
    let found = search(&case, &request());
    assert!(found.best().is_none());
    assert_eq!(found.accesses[0].way, Way::IfChanged("hits".to_owned()));
}

#[test]
fn a_larger_batch_is_pointed_out() {
    let case = truly_shared("{ percpu = \"stock\", batch = 4, spill = [{ rmw = \"hits\" }] }");
    let found = search(&case, &request());
    let ways: Vec<&Way> = found.accesses.iter().map(|change| &change.way).collect();
    let batch = Way::Batch {
        name: "stock".to_owned(),
        from: 4,
        to: 64,
    };
    assert!(ways.contains(&&batch), "{ways:?}");
}

#[test]
fn how_much_hangs_on_guessed_work_is_said() {
    let text = beside().text.replace("\"20ns\"", "[\"0ns\", \"400ns\"]");
    let case = Case::parse("beside", &text).unwrap();
    let found = search(&case, &request());
    let [low, _, high] = found.guesses.unwrap();
    assert!(low < high, "{low} {high}");
    assert!(said(&case, &found).contains("is a guess of the case"));
}

/// A lock in an object of its own, as 6.12 had it, and the bytes around it.
fn split() -> Case {
    Case::load("vma-fault").unwrap()
}

#[test]
fn a_lock_in_an_object_of_its_own_comes_back_into_the_struct() {
    let case = split();
    let request = Request {
        max_bytes: Some(192),
        ..request()
    };
    let found = search(&case, &request);
    let merged = found.front.iter().find(|one| one.layout.parts.is_empty());
    let merged = merged.expect("the reference count in the struct");
    assert!(merged.layout.bytes <= 192);
    assert_eq!(merged.lumps.dissolved, ["vma_lock"]);
    assert_eq!(merged.lumps.dropped, ["vm_lock"]);
    // Apart from what each fault reads, as in 6.15.
    let line = offset(&merged.layout, "vm_refcnt") / 64;
    for read in [
        "vm_start", "vm_mm", "vm_flags", "vm_ops", "vm_pgoff", "vm_file",
    ] {
        assert_ne!(offset(&merged.layout, read) / 64, line, "{read}");
    }
    let text = said(&case, &found);
    assert!(text.contains("- part vma_lock: its fields go into the struct"));
}

#[test]
fn a_smaller_layout_is_found_beside_a_faster_one() {
    let case = split();
    let found = search(&case, &request());
    assert_eq!(found.max_bytes, 256);
    let smallest = &found.front[0];
    assert!(smallest.layout.bytes <= 192, "{}", smallest.layout.bytes);
    for pair in found.front.windows(2) {
        assert!(pair[0].footprint < pair[1].footprint);
        assert!(pair[0].cost.ratio > pair[1].cost.ratio);
    }
}

#[test]
fn the_case_is_written_with_the_suggestions_in_it() {
    for case in [beside(), split()] {
        let found = search(&case, &request());
        assert!(!found.front.is_empty());
        let text = written::text(&case, &found.baseline, &found.front).unwrap();
        let again = Case::parse(&case.name, &text).unwrap();
        for one in &found.front {
            let layout = again
                .layouts
                .iter()
                .find(|layout| layout.name == one.layout.name);
            let layout = layout.unwrap();
            assert_eq!(layout.fields, one.layout.fields);
            assert_eq!(
                (layout.bytes, layout.align),
                (one.layout.bytes, one.layout.align)
            );
            assert_eq!(layout.steps, one.layout.steps);
        }
    }
}

#[test]
fn the_declaration_says_every_offset_and_accounts_for_every_byte() {
    let case = beside();
    let found = search(&case, &request());
    let best = found.best().unwrap();
    let text = declaration("thing", best, None, Some(Asserts::Static));
    let mut bytes = 0;
    for line in text.lines() {
        if let Some(hole) = line.strip_prefix("\t/* hole of ") {
            bytes += hole.split_once(' ').unwrap().0.parse::<usize>().unwrap();
        }
        let Some((field, place)) = line.split_once(';').filter(|_| line.starts_with('\t')) else {
            continue;
        };
        let Some((_, place)) = place.split_once("/*") else {
            continue;
        };
        let numbers: Vec<usize> = place
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        if let [at, size] = numbers[..] {
            assert_eq!(at, bytes, "{line}");
            bytes += size;
            let name = field.split_whitespace().nth(1).unwrap();
            let name = name.split('[').next().unwrap();
            if !name.starts_with("unlisted") {
                assert_eq!(offset(&best.layout, name), at);
                let held = format!("static_assert(offsetof(struct thing, {name}) == {at});");
                assert!(text.contains(&held), "{text}");
            }
        }
    }
    assert_eq!(bytes, best.layout.bytes, "{text}");
    let text = declaration("thing", best, None, Some(Asserts::Groups));
    assert!(text.contains("__cacheline_group_begin("), "{text}");
    assert!(
        text.contains("CACHELINE_ASSERT_GROUP_MEMBER(struct thing, "),
        "{text}"
    );
}

#[test]
fn unlisted_bytes_of_a_struct_are_kept() {
    let case = Case::load("dentry").unwrap();
    let found = search(&case, &request());
    for one in &found.front {
        let listed: usize = one
            .layout
            .fields
            .iter()
            .map(|field| field.bytes * field.count)
            .sum();
        assert!(one.layout.bytes >= listed + found.unlisted);
    }
    assert_eq!(found.unlisted, 192 - 120);
}

#[test]
fn what_cannot_be_searched_is_refused_with_the_reason() {
    let case = beside();
    let refused = |request: &Request| {
        let result = suggest(&case, request, &AtomicBool::new(false));
        result.unwrap_err().to_string()
    };
    let no_field = Request {
        keep: vec!["hit".to_owned()],
        ..request()
    };
    assert!(refused(&no_field).contains("hits"));
    let too_small = Request {
        max_bytes: Some(4),
        ..request()
    };
    assert!(refused(&too_small).contains("--max-size"));
    let too_few = Request {
        threads: vec![1],
        ..request()
    };
    assert!(refused(&too_few).contains("threads"));
    let no_machine = Request {
        machines: vec!["zen9".to_owned()],
        ..request()
    };
    assert!(refused(&no_machine).contains("zen4"));
}
