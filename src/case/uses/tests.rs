//! What the roles of small cases touch, and what follows from it.

use super::*;
use crate::case::{Does, LockKind, RoleOf, RoleUse, Rule};
use crate::layout::interference::{Between, Clash, Conflict, Interference};
use crate::space::LINE;

fn at(name: &str) -> FieldRef {
    FieldRef {
        of: ObjectOf::Struct,
        name: name.into(),
        element: None,
    }
}

fn read(fields: &[&str], bytes: Option<usize>) -> Step {
    Step::Read {
        fields: fields.iter().map(|name| at(name)).collect(),
        bytes,
    }
}

fn field(name: &str, offset: usize, bytes: usize) -> CaseField {
    CaseField {
        name: name.into(),
        offset,
        bytes,
        count: 1,
    }
}

fn layout(name: &str, bytes: usize, fields: Vec<CaseField>, steps: Vec<Step>) -> CaseLayout {
    CaseLayout {
        name: name.into(),
        bytes,
        align: 8,
        fields,
        parts: Vec::new(),
        imported: None,
        steps: vec![steps],
    }
}

fn case(struct_name: &str, objects: Objects, layouts: Vec<CaseLayout>) -> Case {
    Case {
        name: struct_name.into(),
        struct_name: struct_name.into(),
        about: String::new(),
        source: String::new(),
        text: String::new(),
        objects,
        companions: Vec::new(),
        roles: vec![RoleOf {
            name: "all".into(),
            threads: Threads::Rest,
        }],
        layouts,
        published: Vec::new(),
        rules: Vec::new(),
    }
}

fn slab(count: Count) -> Objects {
    Objects {
        count,
        place: Place::Slab,
        at: 0,
        enclosing_bytes: None,
        sweep: true,
    }
}

/// A look-up of one name by all threads: the part of v6.10's dentry that it touches.
fn dentry() -> Case {
    let fields = vec![
        field("d_seq", 4, 4),
        field("d_hash", 8, 16),
        field("d_iname", 56, 40),
        field("d_lockref", 96, 8),
        field("d_op", 104, 8),
    ];
    let steps = vec![
        Step::SeqRead {
            field: at("d_seq"),
            body: vec![read(&["d_hash"], None), read(&["d_iname"], Some(18))],
        },
        Step::Cas {
            field: at("d_lockref"),
            add: 1,
            tries: Some(100),
            then: vec![Step::Lock {
                field: at("d_lockref"),
                kind: LockKind::Queued,
            }],
        },
        read(&["d_op"], None),
    ];
    let mut moved = fields.clone();
    moved[3].offset = 128;
    moved[4].offset = 96;
    case(
        "dentry",
        slab(Count::Of(1)),
        vec![
            layout("v6.10", 192, fields, steps.clone()),
            layout("v6.11", 192, moved, steps),
        ],
    )
}

fn mapped(case: &Case, layout: usize) -> (Subject, Interference) {
    let subject = case.subject(&case.layouts[layout], 16).unwrap();
    let map = Interference::of(&subject).unwrap();
    (subject, map)
}

fn names<'a>(subject: &'a Subject, conflict: &Conflict) -> (&'a str, &'a str) {
    let region = &subject.regions[conflict.region];
    (
        region.field_name(conflict.a.field),
        region.field_name(conflict.b.field),
    )
}

/// Pairs of fields of one object that share a line, the first one written.
fn in_line(case: &Case, layout: usize) -> Vec<(String, String)> {
    let (subject, map) = mapped(case, layout);
    let found = map.false_sharing().filter(|c| c.within == LINE);
    let found = found.map(|c| names(&subject, c));
    let mut found: Vec<_> = found.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    found.sort();
    found
}

fn two(a: &str, b: &str) -> (String, String) {
    (a.into(), b.into())
}

#[test]
fn the_lockref_lies_beside_the_bytes_of_a_name_that_is_long_enough() {
    let long = in_line(&dentry(), 0);
    assert_eq!(
        long,
        [two("d_lockref", "d_iname"), two("d_lockref", "d_op")]
    );
    // A name of 8 bytes ends with line 0.
    let mut short = dentry();
    for step in &mut short.layouts[0].steps[0] {
        if let Step::SeqRead { body, .. } = step {
            body[1] = read(&["d_iname"], Some(8));
        }
    }
    assert_eq!(in_line(&short, 0), [two("d_lockref", "d_op")]);
}

#[test]
fn a_lockref_in_a_line_of_its_own_meets_only_itself() {
    let case = dentry();
    assert_eq!(in_line(&case, 1), []);
    let (subject, map) = mapped(&case, 1);
    let found: Vec<_> = map.true_sharing().map(|c| names(&subject, c)).collect();
    assert_eq!(found, [("d_lockref", "d_lockref")]);
    // Every thread loses it: as often as it takes it.
    assert_eq!(map.true_sharing().next().unwrap().weight, 1.01);
}

#[test]
fn counters_of_threads_share_lines_with_as_many_as_fit() {
    let steps = vec![
        Step::Pick {
            which: Pick::Own,
            of: ObjectOf::Struct,
        },
        Step::Rmw(at("n")),
    ];
    let counters = |bytes| {
        let objects = Objects {
            place: Place::Array,
            sweep: false,
            ..slab(Count::Threads)
        };
        let layouts = vec![layout("l", bytes, vec![field("n", 0, 8)], steps.clone())];
        mapped(&case("counter", objects, layouts), 0).1
    };
    let packed = counters(8);
    assert_eq!(packed.true_sharing().count(), 0);
    assert_eq!((packed.crowded[0].lines, packed.crowded[0].of), (16, 16));
    let lines = counters(64);
    assert_eq!((lines.crowded[0].lines, lines.crowded[0].pairs), (0, 16));
    let pairs = counters(128);
    assert_eq!(pairs.conflicts, []);
}

#[test]
fn elements_of_threads_share_lines_of_an_array() {
    let mut own = at("n");
    own.element = Some(Element::Own);
    let array = |bytes, count| CaseField {
        bytes,
        count,
        ..field("n", 0, bytes)
    };
    let of = |bytes, count| {
        let layouts = vec![layout(
            "l",
            bytes * count,
            vec![array(bytes, count)],
            vec![Step::Rmw(own.clone())],
        )];
        let (_, map) = mapped(&case("array", slab(Count::Of(1)), layouts), 0);
        let kinds = map.conflicts.into_iter().map(|c| (c.within, c.clash));
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(of(8, 16), [(64, Clash::WriterWriter)]);
    // Fewer elements than threads: some threads have the same one.
    let few = of(8, 4);
    assert!(few.contains(&(64, Clash::TrueSharing)) && few.contains(&(64, Clash::WriterWriter)));
}

#[test]
fn batches_probabilities_and_chains_become_counts() {
    let steps = vec![Step::Percpu {
        name: "stock".into(),
        batch: 64,
        spill: vec![
            Step::Pick {
                which: Pick::Leaf,
                of: ObjectOf::Struct,
            },
            Step::Repeat {
                times: Times::ToRoot,
                steps: vec![
                    Step::Rmw(at("usage")),
                    Step::Write {
                        field: at("watermark"),
                        if_changed: Some(0.5),
                    },
                    Step::Follow {
                        field: at("parent"),
                        to: ObjectOf::Struct,
                    },
                ],
            },
        ],
    }];
    let fields = vec![
        field("usage", 0, 8),
        field("parent", 40, 8),
        field("watermark", 96, 8),
    ];
    let objects = Objects {
        count: Count::Of(3),
        place: Place::Chain {
            link: "parent".into(),
            packed: false,
        },
        ..slab(Count::Of(3))
    };
    let case = case(
        "page_counter",
        objects,
        vec![layout("l", 112, fields, steps)],
    );
    let (subject, map) = mapped(&case, 0);
    let region = &subject.regions[0];
    let touch = |name: &str| {
        let touch = region
            .touches
            .iter()
            .find(|t| region.field_name(t.field) == name);
        touch
            .map(|touch| (touch.whose, touch.loads * 64.0, touch.stores * 64.0))
            .unwrap()
    };
    assert_eq!(touch("usage"), (Whose::Each, 0.0, 1.0));
    assert_eq!(touch("watermark"), (Whose::Each, 1.0, 0.5));
    assert_eq!(touch("parent"), (Whose::Each, 1.0, 0.0));
    // The word of a thread's own is in nobody's way.
    assert!(map.conflicts.iter().all(|c| c.region == 0));
    assert_eq!(in_line(&case, 0), [two("usage", "parent")]);
    assert!(map.conflicts.iter().all(|c| c.between == Between::Object));
}

#[test]
fn a_split_lock_is_reached_through_its_pointer() {
    let mut case = case("vma", slab(Count::Of(1)), Vec::new());
    let mut split = layout(
        "split",
        64,
        vec![field("ptr", 0, 8)],
        vec![Step::Rmw(at("lock"))],
    );
    split.parts.push(crate::case::Part {
        name: "vma_lock".into(),
        bytes: 40,
        align: 8,
        fields: vec![field("lock", 0, 8)],
        via: "ptr".into(),
    });
    case.layouts.push(split);
    let (subject, map) = mapped(&case, 0);
    assert_eq!(subject.regions[0].touches[0].loads, 1.0);
    let found: Vec<_> = map.conflicts.iter().map(|c| (c.region, c.clash)).collect();
    assert_eq!(found, [(1, Clash::TrueSharing)]);
}

fn apart(within: usize) -> Rule {
    let uses = [Does::Write, Does::Read].map(|does| RoleUse {
        role: "all".into(),
        does,
    });
    Rule::Apart { uses, within }
}

#[test]
fn a_rule_that_is_broken_names_both_fields() {
    let mut case = dentry();
    case.rules = vec![
        apart(64),
        apart(128),
        Rule::Together(vec!["d_hash".into(), "d_seq".into()]),
        Rule::Together(vec!["d_seq".into(), "d_op".into()]),
        Rule::MaxSize(184),
    ];
    let broken = |layout: usize| -> Vec<Option<String>> {
        let checked = case.check(&case.layouts[layout], 16).unwrap();
        let breaches = checked.into_iter().map(|c| c.breach);
        breaches
            .map(|breach| breach.map(|b| b.to_string()))
            .collect()
    };
    let old = broken(0);
    assert_eq!(
        old[0].as_deref(),
        Some(
            "d_lockref (written by 'all', bytes 96 to 103) shares line 1 with d_iname (read by \
             'all', bytes 56 to 73)"
        )
    );
    assert_eq!(old[2], None);
    assert_eq!(
        old[3].as_deref(),
        Some("d_seq (bytes 4 to 7) is in line 0, d_op (bytes 104 to 111) ends in line 1")
    );
    assert_eq!(old[4].as_deref(), Some("192 bytes, 184 allowed"));
    let new = broken(1);
    assert_eq!(new[0], None);
    // In odd slots the lockref's line is the other half of the pair of line 1.
    let pair = new[1].as_deref().unwrap();
    assert!(
        pair.contains("in slots that start 64 bytes into a pair"),
        "{pair}"
    );
    assert!(
        pair.contains("d_iname") && pair.contains("d_lockref"),
        "{pair}"
    );
}

#[test]
fn a_field_that_a_layout_lacks_is_named() {
    let mut case = dentry();
    case.layouts[0].steps[0].push(Step::Rmw(at("d_lokref")));
    let error = case.subject(&case.layouts[0], 16).unwrap_err().to_string();
    assert!(
        error.contains("d_lokref") && error.contains("d_lockref"),
        "{error}"
    );
}

#[test]
fn a_pass_without_end_is_refused() {
    let mut case = dentry();
    case.layouts[0].steps[0].push(Step::Repeat {
        times: Times::Of(usize::MAX),
        steps: vec![Step::Pick {
            which: Pick::Own,
            of: ObjectOf::Struct,
        }],
    });
    assert!(case.subject(&case.layouts[0], 16).is_err());
}
