//! What is refused, and what the message names.

use super::{STEPS_LINE, parsed, refused, role, step_refused, with};
use hitm::case::Case;

#[test]
fn a_wait_needs_another_thread_that_writes() {
    let wait = "{ wait = \"count\" }";
    step_refused(wait, &["role 'r' waits for 'count'", "no other thread"]);
    step_refused(
        "{ rmw = \"count\" }, { wait = \"count\" }",
        &["'count'", "threads = 2"],
    );
    refused(
        &role("threads = 1", "{ rmw = \"count\" }, { wait = \"count\" }"),
        &["threads = 2"],
    );
    parsed(&role(
        "threads = 2",
        "{ rmw = \"count\" }, { wait = \"count\" }",
    ));
    let writer = "\n[[role]]\nname = \"w\"\nthreads = 1\nsteps = [{ write = \"count\" }]\n";
    parsed(&(with(wait) + writer));
    let shared = writer.replace("threads = 1", "share = 0.5");
    refused(
        &(role("share = 0.5", wait) + &shared),
        &["'count'", "threads = N"],
    );
}

#[test]
fn an_unknown_name_is_named_with_its_line_and_the_nearest() {
    let line = format!("thing.toml:{STEPS_LINE}:");
    step_refused(
        "{ raed = [\"count\"] }",
        &[&line, "unknown step 'raed'", "read"],
    );
    step_refused(
        "{ read = [\"cuont\"] }",
        &[&line, "role 'r'", "layout 'plain'", "'cuont'", "count"],
    );
    step_refused(
        "{ read = [\"mm.sqe\"] }",
        &[&line, "field of 'mm' 'sqe'", "seq"],
    );
    step_refused(
        "{ read = [\"count\"], byte = 2 }",
        &[&line, "key of step 'read' 'byte'", "bytes"],
    );
    step_refused(
        "{ lock = \"lock\", kind = \"queue\" }",
        &[&line, "unknown kind 'queue'", "queued"],
    );
    step_refused("{ pick = \"owm\" }", &[&line, "unknown pick 'owm'", "own"]);
    step_refused(
        "{ pick = 0, of = \"nm\" }",
        &[&line, "unknown of 'nm'", "mm"],
    );
    step_refused("{ repeat = \"root\", steps = [] }", &[&line, "to-root"]);
    step_refused(
        "{ every = \"c\", steps = [] }",
        &[&line, "every: unknown parameter 'c'", "b"],
    );
    let text = with("{ work = \"1ns\" }");
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    refused(
        &changed("size = 192", "sise = 192"),
        &[":17:", "key of [[layout]] 'sise'", "size"],
    );
    refused(
        &changed("place = ", "placed = "),
        &[":8:", "[objects]", "place"],
    );
    refused(
        &changed("\"chain\"", "\"chian\""),
        &[":8:", "unknown place 'chian'", "chain"],
    );
    refused(
        &changed("base = \"plain\"", "base = \"plan\""),
        &[":21:", "'plan'", "plain"],
    );
    refused(
        &changed("{ count = 192 }", "{ coumt = 192 }"),
        &[":22:", "'coumt'", "count"],
    );
    refused(&changed("\"next\"", "\"nxet\""), &["'nxet'", "next"]);
    refused(
        &changed("threads = \"rest\"", "threads = \"resd\""),
        &[":25:", "rest"],
    );
    refused(
        &(text.clone() + "[[rules]]\n"),
        &["key of the file 'rules'", "rule"],
    );
    let published = "[[published]]\nfrom = \"plain\"\nto = \"mvoed\"\n";
    refused(
        &(text.clone() + published),
        &["unknown to 'mvoed'", "moved"],
    );
    let rule = "[[rule]]\ntogether = [\"count\", \"lokc\"]\n";
    refused(&(text + rule), &["'lokc'", "lock"]);
    let unknown = Case::load("dentri").unwrap_err().to_string();
    assert!(unknown.contains("dentry"), "{unknown}");
}

#[test]
fn a_number_out_of_its_range_is_refused() {
    step_refused(
        "{ every = 0, steps = [] }",
        &["every: 0 is out of range: from 1"],
    );
    step_refused("{ repeat = 1.5, steps = [] }", &["repeat", "whole"]);
    step_refused(
        "{ write = \"count\", if_changed = 2 }",
        &["if_changed", "from 0 to 1"],
    );
    step_refused("{ write = \"count\", if_changed = nan }", &["if_changed"]);
    step_refused("{ pick = 3 }", &["pick", "from 0 to 2"]);
    step_refused("{ pick = 1, of = \"mm\" }", &["pick", "from 0 to 0"]);
    step_refused("{ rmw = \"slots\", at = 4 }", &["at: 4"]);
    step_refused("{ read = [\"count\"], bytes = 99999999 }", &["bytes"]);
    step_refused("{ work = 150 }", &["with its unit"]);
    step_refused("{ work = \"150\" }", &["unit"]);
    step_refused("{ work = \"b\" }", &["is a number"]);
    step_refused("{ work = \"1s\" }", &["10 ms"]);
    step_refused("{ work = [\"2ns\", \"1ns\"] }", &["ends before"]);
    step_refused("{ every = \"pause\", steps = [] }", &["is a time"]);
    step_refused(
        "{ choose = [{ weight = 0, steps = [] }] }",
        &["weight above 0"],
    );
    refused(&role("share = 1.5", ""), &["share"]);
    let second = "\n[[role]]\nname = \"q\"\nshare = 0.6\nsteps = []\n";
    refused(&(role("share = 0.6", "") + second), &["sum to more than 1"]);
    let second = "\n[[role]]\nname = \"q\"\nthreads = \"rest\"\nsteps = []\n";
    refused(&(with("") + second), &["another role has the rest"]);
}

#[test]
fn a_step_that_its_field_does_not_fit_is_refused() {
    for step in ["write", "rmw", "cas"] {
        let text = |field: &str| format!("{{ {step} = \"{field}\" }}");
        step_refused(&text("name"), &["'name' has 20 bytes", "1, 2, 4"]);
        step_refused(
            &text("odd"),
            &["'odd'", "naturally aligned", "layout 'plain'"],
        );
        step_refused(&text("slots"), &["4 elements", "at ="]);
    }
    step_refused("{ rmw = \"count\", at = 0 }", &["is no array"]);
    step_refused("{ follow = \"lock\" }", &["no pointer"]);
    step_refused("{ follow = \"mm\" }", &["leads to no next object"]);
    step_refused("{ pick = \"leaf\", of = \"mm\" }", &["chain"]);
    step_refused("{ repeat = \"to-root\", steps = [] }", &["follow"]);
    step_refused(
        "{ lock = \"rw\", kind = \"tas\" }, { unlock = \"rw\" }",
        &["1 bytes", "has 8"],
    );
    step_refused(
        "{ lock = \"ref\", kind = \"queued\" }, { unlock = \"ref\" }",
        &["low half"],
    );
    step_refused(
        "{ lock = \"lock\", kind = \"mutex\" }",
        &["sleeping", "scheduler"],
    );
    step_refused("{ rmw = \"count\", read = [\"count\"] }", &["two steps"]);
    step_refused("{ }", &["empty"]);
}

#[test]
fn a_lock_is_given_back_where_it_was_taken() {
    let (lock, unlock) = (
        "{ lock = \"lock\", kind = \"queued\" }",
        "{ unlock = \"lock\" }",
    );
    step_refused(lock, &["still held at the end"]);
    step_refused(unlock, &["not locked in this list"]);
    step_refused(
        &format!("{lock}, {{ every = 2, steps = [{unlock}] }}"),
        &["not locked"],
    );
    step_refused(
        &format!("{{ every = 2, steps = [{lock}] }}, {unlock}"),
        &["still held"],
    );
    step_refused(
        &format!("{lock}, {lock}, {unlock}, {unlock}"),
        &["while it is held"],
    );
    step_refused(
        &format!("{lock}, {{ every = 2, steps = [{lock}, {unlock}] }}, {unlock}"),
        &["while it is held"],
    );
    step_refused(
        &format!("{lock}, {{ pick = 1 }}, {unlock}"),
        &["another object"],
    );
    parsed(&with(&format!(
        "{{ pick = 1 }}, {lock}, {{ every = 2, steps = [{{ pick = 2 }}] }}, {unlock}"
    )));
    step_refused(
        &format!("{lock}, {{ wait = \"count\" }}, {unlock}"),
        &["waits for 'count' while 'lock'"],
    );
}

#[test]
fn locks_are_taken_in_one_order_by_all() {
    let nested = |a: &str, b: &str| {
        format!(
            "{{ lock = \"{a}\", kind = \"queued\" }}, {{ lock = \"{b}\", kind = \"queued\" }}, \
             {{ unlock = \"{b}\" }}, {{ unlock = \"{a}\" }}"
        )
    };
    let other = |a: &str, b: &str| {
        format!(
            "\n[[role]]\nname = \"q\"\nthreads = 1\nsteps = [{}]\n",
            nested(a, b)
        )
    };
    parsed(&(with(&nested("lock", "lock2")) + &other("lock", "lock2")));
    let circle = with(&nested("lock", "lock2")) + &other("lock2", "lock");
    refused(&circle, &["in a circle", "'lock'", "'lock2'"]);
    let longer = with(&nested("lock", "lock2")) + &other("lock2", "mm.lock");
    parsed(&longer);
    let third = other("mm.lock", "lock").replace("\"q\"", "\"p\"");
    refused(&(longer + &third), &["in a circle"]);
    // A reader waits for the writer of a counter, as for the holder of a lock.
    let counter = "{ lock = \"lock\", kind = \"queued\" }, { seq_read = \"seq\", body = [] }, \
                   { unlock = \"lock\" }";
    let writer = "\n[[role]]\nname = \"q\"\nthreads = 1\nsteps = [{ seq_write = \"seq\", body = [\
                  { lock = \"lock\", kind = \"queued\" }, { unlock = \"lock\" }] }]\n";
    refused(&(with(counter) + writer), &["in a circle", "'seq'"]);
}

#[test]
fn nothing_writes_over_a_lock_a_counter_or_a_pointer() {
    let (lock, unlock) = (
        "{ lock = \"lock\", kind = \"queued\" }",
        "{ unlock = \"lock\" }",
    );
    step_refused(
        &format!("{lock}, {unlock}, {{ write = \"lock\" }}"),
        &["a queued lock", "'write'"],
    );
    step_refused(
        "{ seq_read = \"seq\", body = [] }, { rmw = \"seq\" }",
        &["counter", "'rmw'"],
    );
    step_refused("{ rmw = \"next\" }", &["pointer to thing", "'next'"]);
    step_refused(
        "{ write = \"mm\" }, { follow = \"mm\", to = \"mm\" }",
        &["pointer to mm"],
    );
    let ticket = "{ lock = \"lock\", kind = \"ticket\" }, { unlock = \"lock\" }";
    step_refused(
        &format!("{lock}, {unlock}, {ticket}"),
        &["queued lock", "ticket lock"],
    );
    step_refused(
        &format!("{{ cas = \"lock\" }}, {lock}, {unlock}"),
        &["'cas'", "a queued lock"],
    );
    let lockref = "{ cas = \"ref\" }, { lock = \"ref\", kind = \"queued\" }, { unlock = \"ref\" }";
    parsed(&with(lockref));
    step_refused(
        &format!("{lockref}, {{ rmw = \"ref\" }}"),
        &["'ref'", "'rmw'"],
    );
    step_refused(
        "{ lock = \"ref\", kind = \"queued\" }, { cas = \"ref\" }, { unlock = \"ref\" }",
        &["never succeed"],
    );
}

#[test]
fn a_counter_has_one_writer_at_a_time() {
    let write = "{ seq_write = \"seq\", body = [] }";
    step_refused(write, &["several writers"]);
    parsed(&role("threads = 1", write));
    let locked = |kind: &str, lock: &str| {
        format!("{{ lock = \"{lock}\", kind = \"{kind}\" }}, {write}, {{ unlock = \"{lock}\" }}")
    };
    parsed(&with(&locked("queued", "lock")));
    step_refused(&locked("rw-read", "rw"), &["several writers"]);
    parsed(&with(&locked("rw-write", "rw")));
    // The thread's own object, one for each, has one writer; whatever is picked at random has not.
    let own = "{ pick = \"own\", of = \"mm\" }, { seq_write = \"mm.seq\", body = [] }";
    parsed(&with(own));
    step_refused(&own.replace("own", "random"), &["several writers"]);
    step_refused(
        &format!(
            "{{ pick = \"own\", of = \"mm\" }}, {}",
            locked("queued", "mm.lock")
        ),
        &["several writers"],
    );
}

#[test]
fn fields_lie_in_the_struct_and_apart() {
    let text = with("");
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    refused(
        &changed("odd = [45, 2]", "odd = [43, 2]"),
        &[":15:", "'seq'", "'odd'", "overlap"],
    );
    refused(
        &changed("{ count = 192 }", "{ count = 28 }"),
        &["layout 'moved'", "overlap"],
    );
    refused(
        &changed("size = 192", "size = 100"),
        &["layout 'plain' has 100"],
    );
    refused(&changed("size = 64", "size = 8"), &["mm has 8"]);
    refused(
        &changed("small = [120, 4]", "small = [120]"),
        &["small", "[offset, size"],
    );
    refused(
        &changed("small = [120, 4]", "small = [120, 0]"),
        &["small", "from 1"],
    );
    refused(
        &changed("small = [120, 4]", "small = [70000, 4]"),
        &["small", "range"],
    );
    refused(
        &changed("name = \"moved\"", "name = \"plain\""),
        &["'plain' already"],
    );
    for name in ["a,b", "a+b", "a@b", "a%", "baseline-a", ""] {
        refused(
            &changed("name = \"moved\"", &format!("name = \"{name}\"")),
            &["name"],
        );
    }
    refused(
        &changed("size = 192", "size = 192\nalign = 24"),
        &["power of two"],
    );
    let parsed = parsed(&text);
    assert_eq!(parsed.layouts[1].bytes, 200);
}

#[test]
fn what_would_not_fit_is_refused() {
    step_refused(
        "{ repeat = 100, steps = [{ repeat = 100, steps = [{ rmw = \"count\" }] }] }",
        &["10000 accesses", "4096"],
    );
    step_refused(
        "{ repeat = 1000000, steps = [{ work = \"1ns\" }] }",
        &["1000000 accesses"],
    );
    let mut deep = "{ rmw = \"count\" }".to_owned();
    for _ in 0..7 {
        deep = format!("{{ repeat = 2, steps = [{deep}] }}");
    }
    parsed(&with(&deep));
    step_refused(
        &format!("{{ repeat = 2, steps = [{deep}] }}"),
        &["nest deeper than 8"],
    );
    step_refused(
        &"{ work = \"1ns\" },\n".repeat(4097),
        &["more than 4096 steps"],
    );
    let text = with("").replacen("count = 3", "count = 70000", 1);
    refused(&text, &["273 MiB", "256 MiB"]);
    let text = with("").replacen("size = 192", "size = 70000", 1);
    refused(&text, &["size: 70000"]);
    let long = Case::parse("thing", &"#".repeat((1 << 20) + 1)).unwrap_err();
    assert!(long.to_string().contains("1048576 bytes at most"), "{long}");
    let many = Case::parse("thing", &"#\n".repeat(200_000)).unwrap_err();
    assert!(many.to_string().contains("more than 100000"), "{many}");
}

#[test]
fn a_counter_is_not_written_where_its_readers_would_repeat_for_ever() {
    let write = |counter: &str| format!("{{ seq_write = \"{counter}\", body = [] }}");
    let read =
        |counter: &str, inner: &str| format!("{{ seq_read = \"{counter}\", body = [{inner}] }}");
    refused(
        &role("threads = 1", &read("seq", &write("seq"))),
        &["'seq'", "inside its own seq_read"],
    );
    let one = role("threads = 1", &read("seq", &write("mm.seq")));
    parsed(&one);
    let other = format!(
        "\n[[role]]\nname = \"q\"\nthreads = 1\nsteps = [{}]\n",
        read("mm.seq", &write("seq"))
    );
    refused(&(one + &other), &["in a circle", "'seq'"]);
}

#[test]
fn a_round_begins_in_the_object_that_the_round_before_has_led_to() {
    let steps = "{ pick = \"random\" }, { lock = \"lock\", kind = \"queued\" }, { repeat = 2, steps = [\
                 { seq_write = \"seq\", body = [] }, { pick = 1 }] }, { unlock = \"lock\" }";
    step_refused(steps, &["'seq' may have several writers"]);
    parsed(&with(&steps.replace(", { pick = 1 }", "")));
}

#[test]
fn a_lock_in_the_low_half_of_a_swapped_field_is_free_at_0() {
    let steps = "{ lock = \"LONG\", kind = \"ticket\" }, { unlock = \"LONG\" }, { cas = \"LONG\" }";
    let steps = steps.replace("LONG", "count");
    step_refused(&steps, &["'count'", "queued"]);
    parsed(&with(&steps.replace("ticket", "queued")));
}

#[test]
fn a_pass_ends_soon() {
    let works = |times: usize| {
        with(&format!(
            "{{ repeat = {times}, steps = [{{ work = \"10ms\" }}] }}"
        ))
    };
    parsed(&works(10));
    refused(&works(11), &["110 ms", "100 ms"]);
    let nothing = "{ repeat = 1000000, steps = [{ repeat = 1000000, steps = [] }] }";
    step_refused(nothing, &["accesses in a pass"]);
}
