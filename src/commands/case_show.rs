//! What `hitm case show` prints: a case as a person reads it.

use crate::case::{
    Case, CaseLayout, Count, Element, FieldRef, ObjectOf, Objects, Pick, Place, Published,
    PublishedMachine, Quantity, Step, Threads, Times,
};
use crate::report::columns::Columns;
use crate::units::{change, count, time};
use std::fmt::Write as _;

/// The whole case.
pub fn show(case: &Case) -> String {
    let mut text = format!("{}: struct {}\n", case.name, case.struct_name);
    for line in [&case.about, &case.source] {
        if !line.is_empty() {
            let _ = writeln!(text, "  {line}");
        }
    }
    let _ = writeln!(text, "  {}", objects(&case.objects));
    for companion in &case.companions {
        let _ = writeln!(
            text,
            "  beside it {}: {} bytes; {}",
            companion.name,
            companion.bytes,
            objects(&companion.objects)
        );
    }
    text += &layouts(case);
    text += &roles(case);
    text += &published(case);
    text
}

fn objects(objects: &Objects) -> String {
    let how_many = match objects.count {
        Count::Of(objects) => count(objects, "object"),
        Count::Threads => "an object for each thread".to_owned(),
    };
    let mut text = match &objects.place {
        Place::Slab => format!("{how_many} in a slab"),
        Place::Array => format!("{how_many} in an array"),
        Place::Chain { link, packed } => {
            let where_they_are = if *packed {
                "in a slab"
            } else {
                "each on a page of its own"
            };
            format!("{how_many} chained by {link}, {where_they_are}")
        }
    };
    if let Some(bytes) = objects.enclosing_bytes {
        let _ = write!(text, ", at byte {} of {bytes}", objects.at);
    }
    if objects.sweep {
        text += ", from every phase of slots and pairs in turn";
    }
    text
}

fn layouts(case: &Case) -> String {
    let mut table = Columns::new("<>>><");
    table.row([
        "  layout",
        "bytes",
        "align",
        "fields",
        "apart from the struct",
    ]);
    for layout in &case.layouts {
        let part = |part: &crate::case::Part| {
            format!("{} ({} bytes, through {})", part.name, part.bytes, part.via)
        };
        let parts: Vec<String> = layout.parts.iter().map(part).collect();
        table.row([
            format!("  {}", layout.name),
            layout.bytes.to_string(),
            layout.align.to_string(),
            layout.fields.len().to_string(),
            if parts.is_empty() {
                "-".to_owned()
            } else {
                parts.join(", ")
            },
        ]);
    }
    format!("\n{table}")
}

/// What each role does. Where parameters make layouts differ, it is told once for those that agree.
fn roles(case: &Case) -> String {
    let mut text = String::new();
    for (n, role) in case.roles.iter().enumerate() {
        let threads = match role.threads {
            Threads::Of(threads) => count(threads, "thread"),
            Threads::Rest => "all other threads".to_owned(),
            Threads::Share(share) => {
                format!("{} of the passes of all other threads", percent(share))
            }
        };
        let _ = writeln!(text, "\n  role {}: {threads}; a pass:", role.name);
        let mut told: Vec<(&[Step], Vec<&str>)> = Vec::new();
        for CaseLayout { name, steps, .. } in &case.layouts {
            let steps = steps.get(n).map_or(&[][..], |steps| steps);
            match told.iter_mut().find(|(one, _)| *one == steps) {
                Some((_, names)) => names.push(name),
                None => told.push((steps, vec![name])),
            }
        }
        let several = told.len() > 1;
        for (steps, names) in told {
            if several {
                let _ = writeln!(text, "    in {}:", names.join(", "));
            }
            list(case, steps, if several { 3 } else { 2 }, &mut text);
        }
    }
    text
}

fn list(case: &Case, steps: &[Step], depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    if steps.is_empty() {
        let _ = writeln!(text, "{indent}nothing");
    }
    for step in steps {
        let (what, inner) = step_in_words(case, step);
        let _ = writeln!(text, "{indent}{what}");
        match step {
            Step::Choose(branches) => {
                for (probability, steps) in branches {
                    let _ = writeln!(text, "{indent}  {} of the time", percent(*probability));
                    list(case, steps, depth + 2, text);
                }
            }
            _ if inner.is_empty() => {}
            _ => list(case, inner, depth + 1, text),
        }
    }
}

/// A step without the steps in it, and those.
fn step_in_words<'s>(case: &Case, step: &'s Step) -> (String, &'s [Step]) {
    let name = |field: &FieldRef| named(case, field);
    match step {
        Step::Read { fields, bytes } => {
            let fields: Vec<String> = fields.iter().map(name).collect();
            let first = bytes.map_or(String::new(), |bytes| format!(", first {bytes} bytes"));
            (format!("read {}{first}", fields.join(" ")), &[])
        }
        Step::Write { field, if_changed } => {
            let when = match if_changed {
                None => String::new(),
                Some(share) => format!(" after a load, {} of the time", percent(*share)),
            };
            (format!("write {}{when}", name(field)), &[])
        }
        Step::Rmw(field) => (format!("rmw {}", name(field)), &[]),
        Step::Cas {
            field,
            add,
            tries,
            then,
        } => {
            let tries = tries.map_or("until it succeeds".to_owned(), |tries| {
                format!(
                    "{tries} tries{}",
                    if then.is_empty() { "" } else { ", then" }
                )
            });
            (format!("cas {} +{add}, {tries}", name(field)), then)
        }
        Step::Lock { field, kind } => (format!("lock {} ({kind})", name(field)), &[]),
        Step::Unlock { field, .. } => (format!("unlock {}", name(field)), &[]),
        Step::SeqRead { field, body } => (format!("seq_read {}", name(field)), body),
        Step::SeqWrite { field, body } => (format!("seq_write {}", name(field)), body),
        Step::Percpu { name, batch, spill } => match spill.is_empty() {
            true => (format!("add to the thread's own {name}"), &[]),
            false => (
                format!("add to the thread's own {name}; each {batch} passes"),
                spill,
            ),
        },
        Step::Sum(field) => (format!("read {} of every object", name(field)), &[]),
        Step::SumPercpu(name) => (format!("read every thread's {name}"), &[]),
        Step::Follow { field, to } => {
            let to = struct_name(case, *to);
            (format!("follow {} to {to}", name(field)), &[])
        }
        Step::Pick { which, of } => {
            let which = match which {
                Pick::Own => "the thread's own".to_owned(),
                Pick::Neighbour => "the one after the thread's own".to_owned(),
                Pick::Random => "any".to_owned(),
                Pick::Leaf => "the leaf".to_owned(),
                Pick::At(at) => format!("number {at}"),
            };
            (format!("pick {which} of {}", struct_name(case, *of)), &[])
        }
        Step::Choose(_) => ("choose".to_owned(), &[]),
        Step::Every { passes, steps } => (format!("each {passes} passes"), steps),
        Step::Repeat { times, steps } => match times {
            Times::Of(times) => (format!("{times} times"), steps),
            Times::ToRoot => ("for each up to the root".to_owned(), steps),
        },
        Step::Work { from_ns, to_ns } => {
            let [from, to] = [*from_ns, *to_ns].map(|ns| time(f64::from(ns)));
            match from == to {
                true => (format!("work {from}"), &[]),
                false => (format!("work {from} to {to} (a guess)"), &[]),
            }
        }
        Step::Wait(field) => (format!("wait until {} changes", name(field)), &[]),
    }
}

/// A share with up to three decimals.
fn percent(share: f64) -> String {
    let text = format!("{:.3}", 100.0 * share);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn struct_name(case: &Case, of: ObjectOf) -> &str {
    let companion = match of {
        ObjectOf::Struct => None,
        ObjectOf::Companion(n) => case.companions.get(n),
    };
    companion.map_or(&case.struct_name, |one| &one.name)
}

fn named(case: &Case, field: &FieldRef) -> String {
    let of = match field.of {
        ObjectOf::Struct => String::new(),
        of => format!("{}.", struct_name(case, of)),
    };
    let element = match field.element {
        None => String::new(),
        Some(Element::At(at)) => format!("[{at}]"),
        Some(Element::Own) => "[own]".to_owned(),
        Some(Element::Random) => "[any]".to_owned(),
    };
    format!("{of}{}{element}", field.name)
}

fn published(case: &Case) -> String {
    if case.published.is_empty() {
        return "\n  nothing published\n".to_owned();
    }
    let mut table = Columns::new("<>><<");
    table.row([
        "  published",
        "threads",
        "change",
        "of",
        "machine and source",
    ]);
    for figure in &case.published {
        table.row([
            format!("  {} to {}", figure.from, figure.to),
            figure.threads.to_string(),
            match figure.null {
                true => "none".to_owned(),
                false => change(1.0 + figure.change, 0.1 * figure.change.abs()),
            },
            match &figure.role {
                Some(role) => format!("{} of {role}", quantity(figure.quantity)),
                None => quantity(figure.quantity).to_owned(),
            },
            format!("{}; {}", machine(figure), figure.source),
        ]);
    }
    format!("\n{table}")
}

fn quantity(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Throughput => "throughput",
        Quantity::Hitm => "HITM",
        Quantity::Time => "time",
    }
}

fn machine(figure: &Published) -> String {
    let machine = match &figure.machine {
        PublishedMachine::Model(model) => model.clone(),
        PublishedMachine::Like {
            model,
            sockets,
            cores,
        } => format!(
            "like {model}, {} of {cores} cores",
            count(*sockets, "socket")
        ),
    };
    match figure.stands_in {
        true => format!("{machine} (nearest)"),
        false => machine,
    }
}
