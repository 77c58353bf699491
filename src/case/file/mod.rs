//! Case files: from TOML to a `Case` in which every name is resolved and every number checked.
//!
//! Here: what stands at the top of a file, the roles, and the cases that come with `hitm`. Not
//! here: one value (`source`), objects, layouts, steps and what they
//! may name (`scope`), what is published (each a file), and what
//! the steps of all roles may not do together (`check`, `conflicts`).

mod check;
mod conflicts;
mod cost;
mod layouts;
mod objects;
mod published;
mod scope;
mod source;
mod steps;

use crate::case::{Case, CaseField, CaseLayout, Companion, ObjectOf, RoleOf, Threads};
use crate::error::{Error, Result};
use layouts::Draft;
use objects::{ASSUMED_THREADS, Index, arena_bytes, fits_arena};
use scope::Scope;
use source::{Keys, Params, Source, Value, clip};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use steps::Steps;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest case file, in bytes.
const TEXT_BYTES: usize = 1 << 20;
/// Most values, tables and lines of a file, which take much more memory than their text.
const MARKS: usize = 100_000;
/// Most roles of a case.
const ROLES: usize = 8;

const TOP: [&str; 11] = [
    "case",
    "struct",
    "about",
    "source",
    "params",
    "objects",
    "companion",
    "role",
    "layout",
    "published",
    "rule",
];
const ROLE: [&str; 4] = ["name", "threads", "share", "steps"];

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every case that comes with `hitm`.
        const BUILT_IN: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../cases/", $name, ".toml")))),*
        ];
    };
}

// One line a case; its file is in `case/cases`.
built_in! {
    "dentry",
    "file",
    "has_pinned",
    "mem_cgroup",
    "mem_cgroup_per_node",
    "page_counter",
    "percpu_counter",
    "pgbuf_bcb",
    "sock_common",
    "used_memory_thread",
    "vma-fault",
}

impl Case {
    /// Names of the cases that come with `hitm`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The case of that name or, where the argument names a file (it ends in `.toml` or has a `/`
    /// in it), the case described there.
    pub fn load(name_or_path: &str) -> Result<Case> {
        if !name_or_path.ends_with(".toml") && !name_or_path.contains('/') {
            let found = BUILT_IN.iter().find(|(name, _)| *name == name_or_path);
            return match found {
                Some((name, text)) => Case::parse(name, text),
                None => Err(Error::unknown("case", &clip(name_or_path), Case::names())),
            };
        }
        let path = Path::new(name_or_path);
        let text = read(path)
            .map_err(|why| Error::Input(format!("cannot read case file {name_or_path}: {why}")))?;
        let name = path.file_stem().and_then(|stem| stem.to_str());
        parse(name.unwrap_or_default(), &text, name_or_path, path.parent())
    }

    /// The case of that name, from the text of its file.
    pub fn parse(name: &str, text: &str) -> Result<Case> {
        parse(name, text, &format!("{name}.toml"), None)
    }
}

/// A file as text, if it is no longer than a case may be.
fn read(path: &Path) -> std::result::Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        match at > TEXT_BYTES - 4 {
            true => too_long(),
            false => format!("byte {at} is not UTF-8, which TOML is written in"),
        }
    })
}

fn too_long() -> String {
    format!("a case file has {TEXT_BYTES} bytes at most")
}

fn parse(name: &str, text: &str, origin: &str, folder: Option<&Path>) -> Result<Case> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err(Error::Input(format!(
            "{origin}: a case is called as its file without .toml, and '{}' is no name for it: 1 \
             to 64 small letters, digits, . _ -",
            clip(name)
        )));
    }
    if text.len() > TEXT_BYTES {
        return Err(Error::Input(format!("{origin}: {}", too_long())));
    }
    let mark = |byte: &&u8| b"=[{,.\n".contains(byte);
    if text.as_bytes().iter().filter(mark).count() > MARKS {
        return Err(Error::Input(format!(
            "{origin}: more than {MARKS} values, tables and lines"
        )));
    }
    let source = &Source::new(origin, text);
    let root = DeTable::parse(text).map_err(|error| {
        let line = source.line(error.span().map_or(0, |span| span.start));
        source.wrong(line, error.message().replace('\n', "; "))
    })?;
    let root = Spanned::new(0..0, DeValue::Table(root.into_inner()));
    let keys = Keys::new(source, "the file", &root, &TOP)?;
    keys.whole("case", 1..=1)
        .map_err(|error| Error::Input(format!("{error} (version 1 of case files)")))?;
    let struct_name = keys.name("struct", "_.:-<> ")?;
    let mut params = Params::new();
    for (name, value) in keys.entries("params")? {
        param_name(source, name, value)?;
        params.insert(name.to_owned(), source.param_value(name, value)?);
    }
    let objects = objects::objects(source, keys.get("objects"))?;
    let companions = objects::companions(source, keys.list("companion")?, &struct_name)?;
    let (roles, steps) = roles(&keys)?;
    let drafts = layouts::drafts(source, keys.list("layout")?, &objects, &params, folder)?;
    if drafts.is_empty() {
        return Err(keys.error("there is no [[layout]], of which the first is the baseline"));
    }
    let mut case = Case {
        name: name.to_owned(),
        struct_name,
        about: keys.text_or_empty("about")?,
        source: keys.text_or_empty("source")?,
        text: text.to_owned(),
        objects,
        companions,
        roles,
        layouts: Vec::new(),
        published: Vec::new(),
        rules: Vec::new(),
    };
    let layouts = with_steps(&keys, &case, drafts, &steps)?;
    case.layouts = layouts;
    case.published = published::published(source, keys.list("published")?, &case)?;
    case.rules = published::rules(source, keys.list("rule")?, &case)?;
    Ok(case)
}

/// A name of a parameter is none of the words that may stand in its place.
fn param_name(source: &Source<'_>, name: &str, value: &Value<'_>) -> Result<()> {
    let taken = [
        "own",
        "neighbour",
        "random",
        "leaf",
        "to-root",
        "rest",
        "threads",
    ];
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let first = name.chars().next();
    match first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 64
        && name.chars().all(fits)
        && !taken.contains(&name)
    {
        true => Ok(()),
        false => {
            let what = "a parameter begins with a letter, goes on with letters, digits, _ and -, \
                        and is no word that a step has";
            Err(source.error(name, value, what))
        }
    }
}

/// `[[role]]`, each, and the steps of each as they stand in the file.
fn roles<'v, 'a>(keys: &Keys<'_, 'v, 'a>) -> Result<(Vec<RoleOf>, Vec<&'v Value<'a>>)> {
    let (mut roles, mut steps) = (Vec::<RoleOf>::new(), Vec::new());
    let mut shares = 0.0;
    let list = keys.list("role")?;
    for value in list {
        let keys = Keys::new(keys.source, "[[role]]", value, &ROLE)?;
        let name = keys.name("name", "_-.")?;
        if roles.len() == ROLES {
            return Err(keys.error(format_args!("more than {ROLES} roles")));
        }
        if roles.iter().any(|role| role.name == name) {
            return Err(keys.error_at("name", format_args!("there is a role '{name}' already")));
        }
        let threads = match (keys.get("threads"), keys.get("share")) {
            (Some(value), None) if value.get_ref().is_str() => {
                keys.source
                    .word("threads", value, &[("rest", Threads::Rest)])?
            }
            (Some(_), None) => Threads::Of(keys.whole("threads", 1..=1 << 16)?),
            (None, Some(value)) => {
                let share = keys
                    .source
                    .number("share", value, 0.0..=1.0, &Params::new())?;
                shares += share;
                Threads::Share(share)
            }
            _ => {
                return Err(keys
                    .error("give either threads, a number or \"rest\", or a share of the passes"));
            }
        };
        if threads == Threads::Rest && roles.iter().any(|role| role.threads == Threads::Rest) {
            return Err(keys.error_at("threads", "another role has the rest already"));
        }
        // As decimal fractions sum in binary.
        if shares > 1.0 + 1e-9 {
            return Err(keys.error_at("share", "the shares sum to more than 1"));
        }
        steps.push(keys.required("steps")?);
        roles.push(RoleOf { name, threads });
    }
    match roles.is_empty() {
        true => Err(keys.error("there is no [[role]], and nobody would do anything")),
        false => Ok((roles, steps)),
    }
}

/// The layouts with what each role does in them.
fn with_steps(
    keys: &Keys<'_, '_, '_>,
    case: &Case,
    drafts: Vec<Draft>,
    values: &[&Value<'_>],
) -> Result<Vec<CaseLayout>> {
    let source = keys.source;
    let mut percpu = BTreeSet::new();
    for value in values {
        steps::percpu_names(value, &mut percpu);
    }
    let of_companion = |companion: &'_ Companion| -> usize {
        arena_bytes(&companion.objects, companion.bytes, companion.align)
    };
    let beside = case.companions.iter().map(of_companion);
    let words = percpu
        .len()
        .saturating_mul(ASSUMED_THREADS * crate::space::PAIR);
    fits_arena(keys, beside.fold(words, usize::saturating_add))?;
    let companion_fields: Vec<Index<'_>> = case
        .companions
        .iter()
        .map(|one| {
            one.fields
                .iter()
                .map(|f| (f.name.as_str(), (None, f)))
                .collect()
        })
        .collect();
    for (companion, index) in case.companions.iter().zip(&companion_fields) {
        if let crate::case::Place::Chain { link, .. } = &companion.objects.place {
            let what = format!("companion '{}'", companion.name);
            layouts::pointer(keys, &what, "link", link, index, companion.align)?;
        }
    }
    let mut layouts = Vec::new();
    for draft in drafts {
        let fields = draft.index();
        let part_aligns: Vec<usize> = draft.layout.parts.iter().map(|part| part.align).collect();
        let bit_field = |name: &str| {
            let imported = draft.layout.imported.as_ref();
            let member = imported.and_then(|imported| imported.member(name));
            member.is_some_and(|member| member.bits.is_some())
        };
        let mut room = steps::room();
        let mut written: Vec<Steps> = Vec::new();
        for (role, value) in case.roles.iter().zip(values) {
            let scope = Scope {
                source,
                layout: &draft.layout.name,
                role: &role.name,
                struct_name: &case.struct_name,
                objects: &case.objects,
                align: draft.layout.align,
                part_aligns: &part_aligns,
                fields: &fields,
                companions: &case.companions,
                companion_fields: &companion_fields,
                params: &draft.params,
                percpu: &percpu,
                least_threads: case.least_threads(),
                bit_field: &bit_field,
            };
            written.push(steps::steps(&scope, value, &mut room)?);
        }
        let used = check::check(&check::Checked {
            source,
            case,
            layout: &draft.layout,
            line: draft.line,
            fields: &fields,
            companion_fields: &companion_fields,
            steps: &written,
        })?;
        drop(fields);
        let mut layout = draft.layout;
        if let Some(imported) = &layout.imported {
            let leaf = |field: &CaseField| {
                let member = imported.member(&field.name);
                member.is_none_or(|member| !member.aggregate)
            };
            let named = |field: &CaseField| used.contains(&(ObjectOf::Struct, field.name.clone()));
            layout.fields.retain(|field| leaf(field) || named(field));
        }
        layout.steps = written.into_iter().map(|written| written.steps).collect();
        layouts.push(layout);
    }
    Ok(layouts)
}
