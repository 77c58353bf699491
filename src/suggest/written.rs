//! A case with what was found among its layouts, as text: to be measured, or simulated again.

use super::Found;
use crate::case::{Case, CaseField, CaseLayout};
use crate::error::{Error, Result};
use std::fmt::Write as _;
use toml::{Table, Value};

/// The text of `case` with `found` behind its layouts, each a suggestion made from `baseline`.
///
/// # Errors
/// When the text would be no case, as where a part goes into a struct that has a union.
pub fn text(case: &Case, baseline: &CaseLayout, found: &[Found]) -> Result<String> {
    let mut text = case.text.clone();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let params = params(case, &baseline.name);
    for one in found {
        let layout = &one.layout;
        let _ = writeln!(
            text,
            "\n# Suggested by a search that began with '{}'; simulated: {:.3} of its time.\n\
             [[layout]]\nname = {}",
            baseline.name,
            one.cost.ratio,
            quoted(&layout.name)
        );
        match one.lumps.dissolved.is_empty() {
            // It has the parts of the baseline, its parameters, and what was imported with it.
            true => {
                let _ = writeln!(text, "base = {}", quoted(&baseline.name));
                let _ = writeln!(text, "size = {}\nalign = {}", layout.bytes, layout.align);
                let _ = writeln!(text, "move = {{ {} }}", moves(baseline, one));
            }
            false => {
                let _ = writeln!(text, "size = {}\nalign = {}", layout.bytes, layout.align);
                let _ = writeln!(text, "fields = {{ {} }}", fields(&layout.fields));
                if !params.is_empty() {
                    let all = params
                        .iter()
                        .map(|(name, value)| format!("{} = {value}", quoted(name)));
                    let all: Vec<String> = all.collect();
                    let _ = writeln!(text, "params = {{ {} }}", all.join(", "));
                }
                for part in &layout.parts {
                    let _ = writeln!(
                        text,
                        "\n[[layout.part]]\nname = {}\nsize = {}\nalign = {}\nfields = {{ {} }}\n\
                         via = {}",
                        quoted(&part.name),
                        part.bytes,
                        part.align,
                        fields(&part.fields),
                        quoted(&part.via)
                    );
                }
            }
        }
    }
    if baseline.imported.is_none()
        && let Err(why) = Case::parse(&case.name, &text)
    {
        return Err(Error::Input(format!(
            "the suggestions cannot be written as layouts of a case: {why}"
        )));
    }
    Ok(text)
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn fields(fields: &[CaseField]) -> String {
    let one = |field: &CaseField| {
        let name = quoted(&field.name);
        match field.count {
            1 => format!("{name} = [{}, {}]", field.offset, field.bytes),
            count => format!("{name} = [{}, {}, {count}]", field.offset, field.bytes),
        }
    };
    let all: Vec<String> = fields.iter().map(one).collect();
    all.join(", ")
}

/// Where members go: a member takes those in it along.
fn moves(baseline: &CaseLayout, found: &Found) -> String {
    let packed = found.order.pack(&found.lumps);
    let mut members: Vec<(&str, usize)> = match &baseline.imported {
        Some(imported) => {
            let sized = imported.members.iter().filter(|member| member.bytes > 0);
            let named = sized.filter(|member| !member.name.is_empty());
            named.map(|one| (one.name.as_str(), one.offset)).collect()
        }
        None => {
            let fields = baseline.fields.iter();
            fields.map(|one| (one.name.as_str(), one.offset)).collect()
        }
    };
    // Aggregates before what is in them.
    members.sort_by_key(|(name, _)| name.matches('.').count());
    let mut moves: Vec<(&str, usize, usize)> = Vec::new();
    for (member, from) in members {
        let goes_along = |(name, ..): &(&str, usize, usize)| {
            let inner = member.strip_prefix(*name);
            inner.is_some_and(|inner| inner.is_empty() || inner.starts_with('.'))
        };
        if moves.iter().any(goes_along) {
            continue;
        }
        let lumps = found.lumps.all.iter().zip(&packed.offsets);
        let holds = |(lump, _): &(&super::lumps::Lump, &usize)| {
            let bytes = |start: usize| start..start + lump.bytes;
            lump.from.is_some_and(|start| bytes(start).contains(&from))
        };
        if let Some((lump, offset)) = lumps.into_iter().find(holds) {
            let to = offset + from - lump.from.unwrap_or(0);
            moves.push((member, from, to));
        }
    }
    let elsewhere = moves.into_iter().filter(|(_, from, to)| from != to);
    let one = elsewhere.map(|(name, _, to)| format!("{} = {to}", quoted(name)));
    let all: Vec<String> = one.collect();
    all.join(", ")
}

/// The parameters that a layout of the case has of its own, or from those that it is made from.
fn params(case: &Case, name: &str) -> Table {
    let Ok(root) = case.text.parse::<Table>() else {
        return Table::new();
    };
    let layouts = root.get("layout").and_then(Value::as_array);
    let find = |name: &str| {
        let mut all = layouts.into_iter().flatten().filter_map(Value::as_table);
        all.find(|layout| layout.get("name").and_then(Value::as_str) == Some(name))
    };
    let mut params = Table::new();
    let mut next = Some(name);
    // A base stands before what is made of it: there are no circles, and never so many.
    for _ in 0..case.layouts.len() {
        let Some(layout) = next.and_then(find) else {
            break;
        };
        for (name, value) in layout
            .get("params")
            .and_then(Value::as_table)
            .into_iter()
            .flatten()
        {
            params.entry(name.clone()).or_insert_with(|| value.clone());
        }
        next = layout.get("base").and_then(Value::as_str);
    }
    params
}
