//! Layouts of a case file: literal, moved from another, or imported; and their parts.

use super::objects::{
    FIELDS, Index, STRUCT_BYTES, align, apart, arena_bytes, fields, fits_arena, inside, overlap,
};
use super::source::{Keys, Params, Source, Value, clip};
use crate::case::{CaseField, CaseLayout, Objects, Part};
use crate::error::{Error, Result};
use crate::layout::{LayoutFile, StructLayout};
use crate::space::PAGE;
use crate::text::layout_name_fault;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Most layouts of a case.
const LAYOUTS: usize = 32;

const LAYOUT: [&str; 11] = [
    "name", "size", "align", "fields", "base", "move", "btf", "dwarf", "file", "params", "part",
];
const PART: [&str; 5] = ["name", "size", "align", "fields", "via"];

/// A layout before its roles are read.
#[derive(Clone)]
pub struct Draft {
    /// Without steps, and with every member of an import among its fields.
    pub layout: CaseLayout,
    /// How far each field has been moved from where an import has it; none for other fields.
    moved: Vec<Option<isize>>,
    /// The parameters of the file, and its own.
    pub params: Params,
    /// Where it stands in the file.
    pub line: usize,
}

impl Draft {
    /// Its fields and those of its parts by name.
    pub fn index(&self) -> Index<'_> {
        let own = self.layout.fields.iter().map(|field| (None, field));
        let parts = self.layout.parts.iter().enumerate();
        let parted = parts.flat_map(|(n, part)| part.fields.iter().map(move |f| (Some(n), f)));
        own.chain(parted)
            .map(|(part, field)| (field.name.as_str(), (part, field)))
            .collect()
    }
}

/// `[[layout]]`, each. `folder` is where the files of imports are looked for.
pub fn drafts(
    source: &Source<'_>,
    list: &[Value<'_>],
    objects: &Objects,
    params: &Params,
    folder: Option<&Path>,
) -> Result<Vec<Draft>> {
    let mut drafts: Vec<Draft> = Vec::new();
    for value in list {
        let keys = Keys::new(source, "[[layout]]", value, &LAYOUT)?;
        if drafts.len() == LAYOUTS {
            return Err(keys.error(format_args!("more than {LAYOUTS} layouts")));
        }
        let name = keys.text("name")?;
        let fault = match name.contains('@') {
            true => Some("a name of a layout in a case holds no @"),
            false if name.len() > 64 => Some("a name of a layout has 64 bytes at most"),
            false => layout_name_fault(&name),
        };
        if let Some(fault) = fault {
            return Err(keys.error_at("name", format_args!("'{}': {fault}", clip(&name))));
        }
        if drafts.iter().any(|draft| draft.layout.name == name) {
            return Err(keys.error_at("name", format_args!("there is a layout '{name}' already")));
        }
        let mut draft = begin(&keys, name, params, &drafts, folder)?;
        own_params(&keys, params, &mut draft)?;
        check(&keys, objects, &draft)?;
        drafts.push(draft);
    }
    Ok(drafts)
}

/// A layout with its fields and parts.
fn begin(
    keys: &Keys<'_, '_, '_>,
    name: String,
    params: &Params,
    before: &[Draft],
    folder: Option<&Path>,
) -> Result<Draft> {
    let kinds = ["fields", "base", "btf", "dwarf"];
    let given: Vec<&str> = kinds.into_iter().filter(|key| keys.has(key)).collect();
    let with = |key: &str, kinds: &str| match keys.has(key) {
        true => Err(keys.error_at(key, format_args!("goes with {kinds} only"))),
        false => Ok(()),
    };
    match given[..] {
        ["fields"] => {
            with("move", "base")?;
            with("file", "btf or dwarf")?;
            literal(keys, name, params)
        }
        ["base"] | ["fields", "base"] => {
            with("file", "btf or dwarf")?;
            moved(keys, name, before)
        }
        [kind @ ("btf" | "dwarf")] => {
            with("move", "base")?;
            with("size", "fields or base")?;
            let of = keys.text(kind)?;
            let file = match keys.has("file") {
                true => Some(keys.text("file")?),
                false => None,
            };
            let found = imported(kind, &of, file.as_deref(), folder)
                .map_err(|error| keys.error_at(kind, error))?;
            from_import(keys, name, params, found)
        }
        [] => Err(keys.error(
            "says not where its fields lie; give fields = { F = [offset, size] }, a base, btf or \
             dwarf",
        )),
        _ => Err(keys.error(format_args!(
            "{} go not together; give one",
            given.join(" and ")
        ))),
    }
}

fn draft(keys: &Keys<'_, '_, '_>, layout: CaseLayout, params: &Params) -> Draft {
    Draft {
        moved: vec![None; layout.fields.len()],
        layout,
        params: params.clone(),
        line: keys.line,
    }
}

fn literal(keys: &Keys<'_, '_, '_>, name: String, params: &Params) -> Result<Draft> {
    let layout = CaseLayout {
        name,
        bytes: keys.whole("size", 1..=STRUCT_BYTES)?,
        align: align(keys)?,
        fields: fields(keys)?,
        parts: parts(keys)?,
        imported: None,
        steps: Vec::new(),
    };
    Ok(draft(keys, layout, params))
}

/// A base with some fields moved, some taken over by parts, some new.
fn moved(keys: &Keys<'_, '_, '_>, name: String, before: &[Draft]) -> Result<Draft> {
    let base = keys.text("base")?;
    let found = before.iter().find(|draft| draft.layout.name == base);
    let Some(found) = found else {
        let line = keys
            .get("base")
            .map_or(keys.line, |value| keys.source.line(value.span().start));
        let names = before.iter().map(|draft| draft.layout.name.as_str());
        let place = "base, which stands before what is made of it";
        return Err(keys.source.unknown_in(line, place, "layout", &base, names));
    };
    let mut draft = found.clone();
    draft.line = keys.line;
    let layout = &mut draft.layout;
    layout.name = name;
    layout.imported = None;
    if keys.has("align") {
        layout.align = align(keys)?;
    }
    let named = layout.fields.drain(..).zip(draft.moved.drain(..));
    let mut placed: Placed = named
        .map(|(field, moved)| (field.name.clone(), (field, moved)))
        .collect();
    for (name, value) in keys.dotted("move")? {
        shift(keys.source, &name, value, &mut placed)?;
    }
    let parts = parts(keys)?;
    for field in parts.iter().flat_map(|part| &part.fields) {
        for name in with_members(&placed, &field.name) {
            placed.remove(&name);
        }
    }
    layout.parts.extend(parts);
    for field in fields(keys)? {
        if placed.contains_key(&field.name) {
            let what = format_args!("'{}' is one of the base; move it", clip(&field.name));
            return Err(keys.error_at("fields", what));
        }
        placed.insert(field.name.clone(), (field, None));
    }
    let mut placed: Vec<(CaseField, Option<isize>)> = placed.into_values().collect();
    placed.sort_by(|(a, _), (b, _)| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    if placed.len() > FIELDS {
        return Err(keys.error(format_args!("more than {FIELDS} fields")));
    }
    (layout.fields, draft.moved) = placed.into_iter().unzip();
    layout.bytes = match keys.has("size") {
        true => keys.whole("size", 1..=STRUCT_BYTES)?,
        false => match layout.fields.iter().map(CaseField::end).max() {
            Some(end) if end > layout.bytes => end.next_multiple_of(layout.align),
            _ => layout.bytes,
        },
    };
    Ok(draft)
}

/// Fields by name, and how far each has been moved from where an import has it.
type Placed = BTreeMap<String, (CaseField, Option<isize>)>;

/// The names of a field and of the members of it, as far as they are there.
fn with_members(placed: &Placed, name: &str) -> Vec<String> {
    let inner = format!("{name}.");
    let members = placed.range(inner.clone()..).map(|(name, _)| name);
    let members = members.take_while(|name| name.starts_with(&inner));
    let itself = placed.get_key_value(name).map(|(name, _)| name);
    itself.into_iter().chain(members).cloned().collect()
}

/// Move a field, and with it the members of it.
fn shift(source: &Source<'_>, name: &str, value: &Value<'_>, placed: &mut Placed) -> Result<()> {
    let to = source.whole(name, value, 0..=STRUCT_BYTES, &Params::new())?;
    let Some((from, _)) = placed.get(name) else {
        let line = source.line(value.span().start);
        return Err(source.unknown(line, "field", name, placed.keys().map(String::as_str)));
    };
    let by = to.cast_signed() - from.offset.cast_signed();
    for name in with_members(placed, name) {
        let Some((field, moved)) = placed.get_mut(&name) else {
            continue;
        };
        let Some(offset) = field.offset.checked_add_signed(by) else {
            let what = format_args!("'{}' would begin before the struct", clip(&name));
            return Err(source.error(&name, value, what));
        };
        field.offset = offset;
        *moved = moved.map(|moved| moved.saturating_add(by));
    }
    Ok(())
}

fn from_import(
    keys: &Keys<'_, '_, '_>,
    name: String,
    params: &Params,
    found: StructLayout,
) -> Result<Draft> {
    if found.bytes > STRUCT_BYTES || found.members.len() > FIELDS {
        return Err(keys.error(format_args!(
            "{} has {} bytes and {} members; a case takes {STRUCT_BYTES} bytes and {FIELDS} \
             members at most",
            clip(&found.name),
            found.bytes,
            found.members.len()
        )));
    }
    let sized = found.members.iter().filter(|member| member.bytes > 0);
    let mut fields: Vec<CaseField> = sized
        .map(|member| CaseField {
            name: member.name.clone(),
            offset: member.offset,
            bytes: member.element,
            count: member.count(),
        })
        .collect();
    fields.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    let mut seen = BTreeSet::new();
    fields.retain(|field| seen.insert(field.name.clone()));
    let layout = CaseLayout {
        name,
        bytes: found.bytes,
        // No slab aligns its objects to less than 8 bytes.
        align: match keys.has("align") {
            true => align(keys)?,
            false => found.align.clamp(8, PAGE),
        },
        fields,
        parts: parts(keys)?,
        imported: Some(found),
        steps: Vec::new(),
    };
    let mut draft = draft(keys, layout, params);
    draft.moved.fill(Some(0));
    Ok(draft)
}

/// A struct as a compiler laid it out: from a file, looked for beside the case's, or from the BTF
/// of the running kernel.
fn imported(
    kind: &str,
    of: &str,
    file: Option<&str>,
    folder: Option<&Path>,
) -> Result<StructLayout> {
    let beside = |file: &str| folder.unwrap_or(Path::new("")).join(file);
    let found = match (kind, file) {
        ("btf", None) => LayoutFile::running_kernel(),
        ("btf", Some(file)) => LayoutFile::Btf {
            file: beside(file),
            base: None,
        },
        (_, Some(file)) => LayoutFile::Dwarf(beside(file)),
        (_, None) => {
            return Err(Error::Input(
                "needs the file that has the DWARF: file = \"PROGRAM\"".to_owned(),
            ));
        }
    };
    found.read(Some(of))
}

/// `[[layout.part]]`, each.
fn parts(keys: &Keys<'_, '_, '_>) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    for value in keys.list("part")? {
        let keys = Keys::new(keys.source, "[[layout.part]]", value, &PART)?;
        let part = Part {
            name: keys.name("name", "_-.")?,
            bytes: keys.whole("size", 1..=STRUCT_BYTES)?,
            align: align(&keys)?,
            fields: fields(&keys)?,
            via: keys.text("via")?,
        };
        let what = format!("part '{}'", part.name);
        if parts.iter().any(|one| one.name == part.name) {
            return Err(keys.error_at("name", format_args!("there is a {what} already")));
        }
        inside(&keys, &what, part.bytes, &part.fields)?;
        apart(&keys, &what, &part.fields)?;
        parts.push(part);
    }
    match parts.len() {
        0..=8 => Ok(parts),
        _ => Err(keys.error("more than 8 parts")),
    }
}

/// `params` of a layout.
fn own_params(keys: &Keys<'_, '_, '_>, params: &Params, draft: &mut Draft) -> Result<()> {
    for (name, value) in keys.entries("params")? {
        if !params.contains_key(name) {
            let line = keys.source.line(value.span().start);
            let names = params.keys().map(String::as_str);
            return Err(keys.source.unknown(line, "parameter", name, names));
        }
        let own = keys.source.param_value(name, value)?;
        draft.params.insert(name.to_owned(), own);
    }
    Ok(())
}

/// What holds for every layout, whatever roles do.
fn check(keys: &Keys<'_, '_, '_>, objects: &Objects, draft: &Draft) -> Result<()> {
    let layout = &draft.layout;
    let what = format!("layout '{}'", layout.name);
    inside(keys, &what, layout.bytes, &layout.fields)?;
    let mut open: Vec<usize> = Vec::new();
    for (n, field) in layout.fields.iter().enumerate() {
        open.retain(|at| layout.fields[*at].end() > field.offset);
        let apart =
            |at: &&usize| draft.moved[**at].is_none() || draft.moved[**at] != draft.moved[n];
        if let Some(at) = open.iter().find(apart) {
            return Err(overlap(keys, &what, &layout.fields[*at], field));
        }
        open.push(n);
    }
    let mut names: Vec<&str> = layout.parts.iter().map(|part| part.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(keys.error(format_args!("{what} has two parts '{}'", twice[0])));
    }
    let index = draft.index();
    let parted = layout
        .parts
        .iter()
        .map(|part| part.fields.len())
        .sum::<usize>();
    if index.len() != layout.fields.len() + parted {
        return Err(keys.error(format_args!(
            "{what} has a field twice: in a part and in the struct, or in two parts"
        )));
    }
    let mut arena = arena_bytes(objects, layout.bytes, layout.align);
    for part in &layout.parts {
        let what = format!("part '{}'", part.name);
        pointer(keys, &what, "via", &part.via, &index, layout.align)?;
        let place = Objects {
            place: crate::case::Place::Slab,
            enclosing_bytes: None,
            ..objects.clone()
        };
        arena = arena.saturating_add(arena_bytes(&place, part.bytes, part.align));
    }
    if let crate::case::Place::Chain { link, .. } = &objects.place {
        pointer(keys, &what, "link", link, &index, layout.align)?;
    }
    if !objects.at.is_multiple_of(layout.align) {
        return Err(keys.error(format_args!(
            "objects lie at byte {} of the enclosing ones, which {what} with its alignment of {} \
             cannot; give a multiple",
            objects.at, layout.align
        )));
    }
    if let Some(enclosing) = objects.enclosing_bytes
        && objects.at + layout.bytes > enclosing
    {
        return Err(keys.error(format_args!(
            "{what} has {} bytes, which at byte {} of an enclosing object of {enclosing} bytes do \
             not fit",
            layout.bytes, objects.at
        )));
    }
    fits_arena(keys, arena)
}

/// The field is a pointer of the struct: 8 bytes, aligned.
pub fn pointer(
    keys: &Keys<'_, '_, '_>,
    what: &str,
    key: &str,
    name: &str,
    index: &Index<'_>,
    align: usize,
) -> Result<()> {
    match index.get(name) {
        Some((None, field)) if field.count == 1 && field.bytes == 8 => {
            match field.offset.is_multiple_of(8) && align.is_multiple_of(8) {
                true => Ok(()),
                false => Err(keys.error(format_args!(
                    "{what}: the pointer '{}' is not at a multiple of 8 bytes",
                    clip(name)
                ))),
            }
        }
        Some((None, _)) => Err(keys.error(format_args!(
            "{what}: {key} = '{}' is no pointer, which has 8 bytes",
            clip(name)
        ))),
        _ => {
            let names = index.iter().filter(|(_, (part, _))| part.is_none());
            let names = names.map(|(name, _)| *name);
            let place = format!("{key} of {what}");
            Err(keys
                .source
                .unknown_in(keys.line, &place, "field", name, names))
        }
    }
}
