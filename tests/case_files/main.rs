//! What a case file may say; what is said of one that says something else (`refused`).

mod refused;

use hitm::case::{
    Case, Count, Element, FieldRef, LockKind, ObjectOf, Pick, Place, Step, Threads, Times,
};

/// A case with these steps of one role; `[objects]` are three in a chain.
fn with(steps: &str) -> String {
    role("threads = \"rest\"", steps)
}

fn role(threads: &str, steps: &str) -> String {
    format!(
        r#"case = 1
struct = "thing"
[params]
b = 32
pause = "100ns"
[objects]
count = 3
place = "chain"
link = "next"
[[companion]]
name = "mm"
size = 64
count = "threads"
fields = {{ seq = [0, 4], lock = [4, 4], head = [8, 8] }}
[[layout]]
name = "plain"
size = 192
fields = {{ count = [0, 8], lock = [8, 4], tas = [12, 1], rw = [16, 8], next = [24, 8], mm = [32, 8], seq = [40, 4], odd = [45, 2], name = [48, 20], ref = [72, 8], slots = [80, 8, 4], lock2 = [112, 4], d.len = [116, 4], small = [120, 4] }}
[[layout]]
name = "moved"
base = "plain"
move = {{ count = 192 }}
[[role]]
name = "r"
{threads}
steps = [
{steps}
]
"#
    )
}

fn parsed(text: &str) -> Case {
    Case::parse("thing", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn step(text: &str) -> Step {
    let case = parsed(&with(text));
    case.layouts[0].steps[0][0].clone()
}

fn field(name: &str) -> FieldRef {
    FieldRef {
        of: ObjectOf::Struct,
        name: name.to_owned(),
        element: None,
    }
}

/// The message, which is one line that begins with file and line.
fn error(text: &str) -> String {
    let error = match Case::parse("thing", text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("this should be refused:\n{text}"),
    };
    assert!(error.starts_with("thing.toml:"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    error
}

fn refused(text: &str, says: &[&str]) {
    let error = error(text);
    for part in says {
        assert!(error.contains(part), "no '{part}' in: {error}");
    }
}

/// The line of `role` that its steps begin in.
const STEPS_LINE: usize = 27;

fn step_refused(steps: &str, says: &[&str]) {
    refused(&with(steps), says);
}

#[test]
fn every_step_is_read() {
    let none = Vec::new;
    let expected = [
        (
            "{ read = [\"count\", \"name\"], bytes = 12 }",
            Step::Read {
                fields: vec![field("count"), field("name")],
                bytes: Some(12),
            },
        ),
        (
            "{ write = \"count\" }",
            Step::Write {
                field: field("count"),
                if_changed: None,
            },
        ),
        (
            "{ write = \"count\", if_changed = 0.25 }",
            Step::Write {
                field: field("count"),
                if_changed: Some(0.25),
            },
        ),
        ("{ rmw = \"d.len\" }", Step::Rmw(field("d.len"))),
        (
            "{ rmw = \"slots\", at = \"own\" }",
            Step::Rmw(FieldRef {
                element: Some(Element::Own),
                ..field("slots")
            }),
        ),
        (
            "{ cas = \"ref\", add = 2, tries = \"b\", then = [{ work = \"pause\" }] }",
            Step::Cas {
                field: field("ref"),
                add: 2,
                tries: Some(32),
                then: vec![Step::Work {
                    from_ns: 100,
                    to_ns: 100,
                }],
            },
        ),
        (
            "{ seq_read = \"seq\", body = [] }",
            Step::SeqRead {
                field: field("seq"),
                body: none(),
            },
        ),
        (
            "{ percpu = \"stock\", batch = \"b\", spill = [] }",
            Step::Percpu {
                name: "stock".to_owned(),
                batch: 32,
                spill: none(),
            },
        ),
        ("{ sum = \"count\" }", Step::Sum(field("count"))),
        (
            "{ follow = \"mm\", to = \"mm\" }",
            Step::Follow {
                field: field("mm"),
                to: ObjectOf::Companion(0),
            },
        ),
        (
            "{ follow = \"next\" }",
            Step::Follow {
                field: field("next"),
                to: ObjectOf::Struct,
            },
        ),
        (
            "{ follow = \"mm.head\", to = \"thing\" }",
            Step::Follow {
                field: FieldRef {
                    of: ObjectOf::Companion(0),
                    ..field("head")
                },
                to: ObjectOf::Struct,
            },
        ),
        (
            "{ pick = \"own\", of = \"mm\" }",
            Step::Pick {
                which: Pick::Own,
                of: ObjectOf::Companion(0),
            },
        ),
        (
            "{ pick = 2 }",
            Step::Pick {
                which: Pick::At(2),
                of: ObjectOf::Struct,
            },
        ),
        (
            "{ pick = \"leaf\" }",
            Step::Pick {
                which: Pick::Leaf,
                of: ObjectOf::Struct,
            },
        ),
        (
            "{ choose = [{ weight = 1, steps = [] }, { weight = 3, steps = [] }] }",
            Step::Choose(vec![(0.25, none()), (0.75, none())]),
        ),
        (
            "{ every = 8, steps = [] }",
            Step::Every {
                passes: 8,
                steps: none(),
            },
        ),
        (
            "{ repeat = 3, steps = [] }",
            Step::Repeat {
                times: Times::Of(3),
                steps: none(),
            },
        ),
        (
            "{ repeat = \"to-root\", steps = [{ follow = \"next\" }] }",
            Step::Repeat {
                times: Times::ToRoot,
                steps: vec![Step::Follow {
                    field: field("next"),
                    to: ObjectOf::Struct,
                }],
            },
        ),
        (
            "{ work = [\"50ns\", \"1.5us\"] }",
            Step::Work {
                from_ns: 50,
                to_ns: 1500,
            },
        ),
        (
            "{ work = \"0ns\" }",
            Step::Work {
                from_ns: 0,
                to_ns: 0,
            },
        ),
    ];
    for (text, expected) in expected {
        assert_eq!(step(text), expected, "{text}");
    }
    for (name, kind) in [
        ("tas", LockKind::Tas),
        ("lock", LockKind::Ticket),
        ("lock", LockKind::Queued),
        ("rw", LockKind::RwRead),
        ("rw", LockKind::RwWrite),
    ] {
        let text = format!("{{ lock = \"{name}\", kind = \"{kind}\" }}, {{ unlock = \"{name}\" }}");
        let field = field(name);
        let taken = Step::Lock {
            field: field.clone(),
            kind,
        };
        let case = parsed(&with(&text));
        assert_eq!(
            case.layouts[0].steps[0],
            [taken, Step::Unlock { field, kind }]
        );
    }
    let case = parsed(&role(
        "threads = 1",
        "{ seq_write = \"mm.seq\", body = [{ rmw = \"count\" }] }",
    ));
    assert!(
        matches!(&case.layouts[1].steps[0][..], [Step::SeqWrite { body, .. }] if body.len() == 1)
    );
    let percpu = parsed(&with("{ percpu = \"n\" }, { sum = \"n\" }"));
    assert_eq!(
        percpu.layouts[0].steps[0][1],
        Step::SumPercpu("n".to_owned())
    );
}

#[test]
fn what_stands_in_the_reference_is_read() {
    let dentry = Case::load("dentry").unwrap();
    assert_eq!(dentry.struct_name, "dentry");
    assert_eq!(dentry.roles[0].threads, Threads::Rest);
    assert_eq!(dentry.least_threads(), 1);
    assert!(dentry.objects.sweep);
    let at = |layout: usize, name: &str| {
        let fields = &dentry.layouts[layout].fields;
        fields
            .iter()
            .find(|field| field.name == name)
            .unwrap()
            .offset
    };
    assert_eq!((at(0, "d_lockref"), at(1, "d_lockref")), (96, 128));
    assert_eq!(dentry.layouts[1].bytes, 192);
    assert_eq!(dentry.published[0].change, 0.55);
    let counter = Case::load("page_counter").unwrap();
    assert_eq!(counter.objects.count, Count::Of(3));
    assert!(
        matches!(&counter.objects.place, Place::Chain { link, packed: false } if link == "parent")
    );
    assert_eq!(counter.layouts[1].bytes, 112);
}

#[test]
fn every_case_that_comes_with_it_is_read() {
    for name in Case::names() {
        let case = Case::load(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(case.name, name);
        assert!(!case.about.is_empty() && !case.source.is_empty(), "{name}");
        assert!(!case.published.is_empty() || name == "vma-fault", "{name}");
    }
}

#[test]
fn parameters_are_those_of_the_layout() {
    let text = with("{ percpu = \"n\", batch = \"b\", spill = [] }, { work = \"pause\" }");
    let own = "move = { count = 192 }\nparams = { b = 2048, pause = \"5ns\" }";
    let text = text.replacen("move = { count = 192 }", own, 1);
    let case = parsed(&text);
    let seen = |layout: usize| match &case.layouts[layout].steps[0][..] {
        [Step::Percpu { batch, .. }, Step::Work { to_ns, .. }] => (*batch, *to_ns),
        other => panic!("{other:?}"),
    };
    assert_eq!((seen(0), seen(1)), ((32, 100), (2048, 5)));
    refused(
        &text.replacen("b = 2048", "c = 2048", 1),
        &["unknown parameter 'c'", "b"],
    );
}

#[test]
fn a_part_takes_its_fields_out_of_the_struct() {
    let text = with("{ lock = \"lock\", kind = \"queued\" }, { unlock = \"lock\" }");
    let split = "base = \"plain\"\nfields = { to_lock = [128, 8] }\n[[layout.part]]\n\
                 name = \"split\"\nsize = 64\nfields = { lock = [0, 4] }\nvia = \"to_lock\"\n";
    let text =
        text.replacen("base = \"plain\"\n", split, 1)
            .replacen("move = { count = 192 }\n", "", 1);
    let case = parsed(&text);
    let layout = &case.layouts[1];
    assert!(layout.fields.iter().all(|field| field.name != "lock"));
    assert_eq!(layout.parts[0].fields[0].name, "lock");
    refused(
        &text.replacen("via = \"to_lock\"", "via = \"to_lokc\"", 1),
        &["via", "to_lock"],
    );
    refused(
        &text.replacen("via = \"to_lock\"", "via = \"small\"", 1),
        &["no pointer"],
    );
    let written = text.replacen("{ unlock", "{ rmw = \"to_lock\" }, { unlock", 1);
    assert!(error(&written).contains("to_lock"));
}

#[test]
fn what_is_published_and_the_rules_are_read() {
    let more = "[[published]]\nfrom = \"plain\"\nto = \"moved\"\nthreads = 52\n\
                machine = { like = \"skylake-sp\", sockets = 4, cores = 18 }\n\
                quantity = \"throughput\"\nchange = 0.001\nnull = true\nstands_in = true\n\
                role = \"r\"\nsource = \"somewhere\"\n[[rule]]\napart = [{ role = \"r\", does = \
                \"write\" }, { role = \"r\", does = \"read\" }]\nwithin = 128\n[[rule]]\n\
                together = [\"count\", \"lock\"]\n[[rule]]\nmax_size = 256\n";
    let text = with("") + more;
    let case = parsed(&text);
    assert_eq!((case.published.len(), case.rules.len()), (1, 3));
    let worse = |from: &str, to: &str, says: &[&str]| {
        assert!(text.contains(from));
        refused(&text.replacen(from, to, 1), says);
    };
    worse("within = 128", "within = 96", &["within", "64"]);
    worse("\"write\" }", "\"writes\" }", &["'writes'", "write"]);
    worse(
        "role = \"r\", does",
        "role = \"rr\", does",
        &["unknown role 'rr'"],
    );
    worse(
        "\"throughput\"",
        "\"speed\"",
        &["quantity 'speed'", "throughput"],
    );
    worse("to = \"moved\"", "to = \"plain\"", &["one layout"]);
    worse(
        "max_size = 256",
        "max_size = 256\nwithin = 64",
        &["within", "apart"],
    );
    worse("source = \"somewhere\"\n", "", &["'source' is missing"]);
}

/// Numbers that look drawn and are the same every time.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn no_damaged_file_is_more_than_an_error() {
    let texts = [
        &Case::load("dentry").unwrap().text,
        &Case::load("page_counter").unwrap().text,
        &with(
            "{ every = 2, steps = [{ lock = \"lock\", kind = \"queued\" }, { unlock = \"lock\" }] }",
        ),
    ];
    let pieces = [
        "",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "=",
        ",",
        "\n",
        "0",
        "-1",
        "1e400",
        "99999999999999999999",
        "nan",
        "\u{0}",
        "\u{202e}",
        "\"rest\"",
        "[[layout]]",
        "steps = []",
        "''",
        "18446744073709551615",
    ];
    let mut drawn = Drawn(1);
    for text in texts {
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let _ = Case::parse("cut", &text[..end]);
        }
        for _ in 0..2000 {
            let mut damaged = text.to_owned();
            for _ in 0..=drawn.below(3) {
                let (mut from, mut to) = (drawn.below(damaged.len()), drawn.below(12));
                while !damaged.is_char_boundary(from) {
                    from -= 1;
                }
                to = (from + to).min(damaged.len());
                while !damaged.is_char_boundary(to) {
                    to -= 1;
                }
                let piece = pieces[drawn.below(pieces.len())];
                damaged.replace_range(from..to.max(from), piece);
            }
            if let Err(error) = Case::parse("damaged", &damaged) {
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
    }
}
