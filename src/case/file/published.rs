//! What others have published, and the rules of a case file.

use super::objects::{FIELDS, STRUCT_BYTES};
use super::source::{Keys, Params, Source, Value, clip};
use crate::case::{Case, CaseLayout, Does, Published, PublishedMachine, Quantity, RoleUse, Rule};
use crate::error::Result;
use crate::space::{LINE, PAIR};
use std::collections::BTreeSet;

const PUBLISHED: [&str; 10] = [
    "from",
    "to",
    "threads",
    "machine",
    "quantity",
    "change",
    "null",
    "role",
    "stands_in",
    "source",
];
const MACHINE: [&str; 3] = ["like", "sockets", "cores"];
const RULE: [&str; 4] = ["apart", "within", "together", "max_size"];
const USE: [&str; 2] = ["role", "does"];

/// Most figures, and most rules, of a case.
const MOST: usize = 256;

/// `[[published]]`, each.
pub fn published(source: &Source<'_>, list: &[Value<'_>], case: &Case) -> Result<Vec<Published>> {
    let mut figures = Vec::new();
    for value in list {
        let keys = Keys::new(source, "[[published]]", value, &PUBLISHED)?;
        few(&keys, figures.len())?;
        let layouts: Vec<(&str, &str)> = case
            .layouts
            .iter()
            .map(|layout| (layout.name.as_str(), layout.name.as_str()))
            .collect();
        let layout = |key: &str| source.word(key, keys.required(key)?, &layouts);
        let (from, to) = (layout("from")?, layout("to")?);
        if from == to {
            return Err(keys.error_at("to", "from and to are one layout"));
        }
        let null = keys.flag("null")?;
        let change = match keys.get("change") {
            None if null => 0.0,
            _ => {
                let change = keys.required("change")?;
                source.number("change", change, -0.999..=1e6, &Params::new())?
            }
        };
        let role = match keys.get("role") {
            Some(value) => Some(role(source, value, case)?),
            None => None,
        };
        figures.push(Published {
            from: from.to_owned(),
            to: to.to_owned(),
            threads: keys.whole("threads", 1..=1 << 16)?,
            machine: machine(&keys)?,
            quantity: word(&keys, "quantity", Quantity::ALL, Quantity::name)?,
            change,
            null,
            role,
            stands_in: keys.flag("stands_in")?,
            source: keys.text("source")?,
        });
    }
    Ok(figures)
}

fn few(keys: &Keys<'_, '_, '_>, so_far: usize) -> Result<()> {
    match so_far < MOST {
        true => Ok(()),
        false => Err(keys.error(format_args!("more than {MOST} of them"))),
    }
}

fn word<T: Copy>(
    keys: &Keys<'_, '_, '_>,
    key: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T> {
    let words: Vec<(&str, T)> = all.iter().map(|one| (name(*one), *one)).collect();
    keys.source.word(key, keys.required(key)?, &words)
}

fn role(source: &Source<'_>, value: &Value<'_>, case: &Case) -> Result<String> {
    let roles = case.roles.iter().map(|role| role.name.as_str());
    let roles: Vec<(&str, &str)> = roles.map(|name| (name, name)).collect();
    source.word("role", value, &roles).map(str::to_owned)
}

/// A model's name, or one like it of another size. Whether there is such a model is asked where
/// models are known.
fn machine(keys: &Keys<'_, '_, '_>) -> Result<PublishedMachine> {
    let value = keys.required("machine")?;
    if value.get_ref().is_str() {
        return keys.name("machine", "_-.").map(PublishedMachine::Model);
    }
    let keys = Keys::new(keys.source, "machine", value, &MACHINE)?;
    Ok(PublishedMachine::Like {
        model: keys.name("like", "_-.")?,
        sockets: keys.whole("sockets", 1..=64)?,
        cores: keys.whole("cores", 1..=1024)?,
    })
}

/// `[[rule]]`, each.
pub fn rules(source: &Source<'_>, list: &[Value<'_>], case: &Case) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    let names: Vec<BTreeSet<&str>> = case.layouts.iter().map(names_of).collect();
    for value in list {
        let keys = Keys::new(source, "[[rule]]", value, &RULE)?;
        few(&keys, rules.len())?;
        let kinds = ["apart", "together", "max_size"];
        let given: Vec<&str> = kinds.into_iter().filter(|kind| keys.has(kind)).collect();
        rules.push(match given[..] {
            ["apart"] => apart(&keys, case)?,
            ["together"] | ["max_size"] if keys.has("within") => {
                return Err(keys.error_at("within", "goes with apart only"));
            }
            ["together"] => together(&keys, case, &names)?,
            ["max_size"] => Rule::MaxSize(keys.whole("max_size", 1..=STRUCT_BYTES)?),
            _ => return Err(keys.error("give one of apart, together and max_size")),
        });
    }
    Ok(rules)
}

fn apart(keys: &Keys<'_, '_, '_>, case: &Case) -> Result<Rule> {
    let of = |value: &Value<'_>| -> Result<RoleUse> {
        let keys = Keys::new(keys.source, "a use in 'apart'", value, &USE)?;
        Ok(RoleUse {
            role: role(keys.source, keys.required("role")?, case)?,
            does: word(&keys, "does", Does::ALL, Does::name)?,
        })
    };
    let [a, b] = keys.list("apart")? else {
        let what =
            "two uses: [{ role = \"R\", does = \"write\" }, { role = \"S\", does = \"read\" }]";
        return Err(keys.error_at("apart", what));
    };
    let within = keys.whole_or("within", LINE..=PAIR, LINE)?;
    match within {
        LINE | PAIR => Ok(Rule::Apart {
            uses: [of(a)?, of(b)?],
            within,
        }),
        _ => Err(keys.error_at("within", "64, a line, or 128, a pair of lines")),
    }
}

/// Every field of a layout by its name, whole structs in it and its parts included.
fn names_of(layout: &CaseLayout) -> BTreeSet<&str> {
    let parts = layout.parts.iter().flat_map(|part| &part.fields);
    let fields = layout.fields.iter().chain(parts);
    let members = layout.imported.iter().flat_map(|found| &found.members);
    let members = members.map(|member| member.name.as_str());
    fields
        .map(|field| field.name.as_str())
        .chain(members)
        .collect()
}

fn together(keys: &Keys<'_, '_, '_>, case: &Case, names: &[BTreeSet<&str>]) -> Result<Rule> {
    let mut fields = Vec::new();
    for value in keys.list("together")? {
        if fields.len() == FIELDS {
            return Err(keys.error_at("together", format_args!("more than {FIELDS} fields")));
        }
        let name = keys.source.text("together", value)?;
        for (layout, names) in case.layouts.iter().zip(names) {
            if !names.contains(name) {
                let line = keys.source.line(value.span().start);
                let what = format!("field of layout '{}'", clip(&layout.name));
                return Err(keys
                    .source
                    .unknown(line, &what, name, names.iter().copied()));
            }
        }
        fields.push(name.to_owned());
    }
    match fields.len() {
        0 | 1 => Err(keys.error_at("together", "names two fields or more")),
        _ => Ok(Rule::Together(fields)),
    }
}
