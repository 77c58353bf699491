//! Case files are written: a layout, and roles from recorded profiles or to be filled in.
//!
//! What the profiles do not say stands in the file as a comment (`assumed`), beside the assumption
//! made for it. Not here: reading case files, and reading profiles (`perf`).

mod assumed;
mod seats;
mod text;

pub use assumed::ReadProfile;

use super::perf::{FieldCover, Usage};
use crate::error::Result;
use crate::layout::StructLayout;
use assumed::{assumptions, not_counted, nothing};
use seats::{Seats, threads};
use std::collections::BTreeSet;
use text::{Text, align, is_word, quoted};

/// A case file of `layout`, with one role for a person to fill in.
pub fn skeleton(layout: &StructLayout) -> Result<String> {
    let cover = FieldCover::of(layout, &BTreeSet::new())?;
    let align = align(layout, &cover);
    let mut text = Text::default();
    text.comment("Written by hitm case new: the layout is filled in, who accesses it is not.");
    text.comment(&format!("Layout: {}", layout.source));
    text.top(
        layout,
        "who accesses what is to be filled in",
        &layout.source,
    );
    text.line("");
    text.line("[objects]");
    text.line("count = 1                 # N, or \"threads\": one for each");
    text.line("place = \"slab\"            # or \"array\": back to back");
    text.line("");
    text.comment(
        "What one kind of thread does over and over; a pass through its steps is one operation.",
    );
    text.line("[[role]]");
    text.line("name = \"to-fill-in\"");
    text.line("threads = \"rest\"          # or a number; one [[role]] for each kind of thread");
    text.line("steps = [");
    let word = cover
        .fields()
        .iter()
        .find(|field| field.count == 1 && is_word(field, align));
    if let Some(any) = cover.fields().iter().find(|field| field.count == 1) {
        text.line(&format!("  # {{ read = [{}] }},", quoted(&any.name)));
    }
    if let Some(word) = word {
        text.line(&format!("  # {{ write = {} }},", quoted(&word.name)));
        text.line(&format!(
            "  # {{ rmw = {} }},          # a locked add, as of a reference count",
            quoted(&word.name)
        ));
    }
    text.line("]");
    text.layout(layout, &cover, align);
    Ok(text.0)
}

/// A case file of `layout` with the roles that `usage` tells apart. It is an error if nothing was
/// recorded of the struct.
pub fn recorded(
    layout: &StructLayout,
    usage: Usage<'_, '_>,
    profiles: &[ReadProfile],
) -> Result<String> {
    let unit = usage.unit();
    let passed = usage.passed.clone();
    let whole: Vec<String> = usage
        .whole()
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let inside: Vec<String> = usage
        .found_inside()
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let (cover, by, roles) = usage.roles()?;
    let Some(unit) = unit.filter(|_| !roles.is_empty()) else {
        return Err(nothing(layout, &passed, profiles));
    };
    let mut text = Text::default();
    text.comment(
        "Written by hitm case new from recorded uses. Look it over before you believe it.",
    );
    text.comment(&format!("Layout: {}", layout.source));
    for profile in profiles {
        text.comment(&format!("Profile: {} ({})", profile.name, profile.format));
        for remark in &profile.remarks {
            text.comment(&format!("  {remark}"));
        }
    }
    for line in not_counted(&passed, &roles, unit) {
        text.comment(&line);
    }
    text.line("#");
    text.comment("Profiles do not say what follows; it is assumed:");
    for line in assumptions(unit, by, &roles, profiles, &whole, &inside) {
        text.comment(&format!("- {line}"));
    }
    let sources: Vec<String> = profiles
        .iter()
        .map(|p| format!("{} ({})", p.name, p.format))
        .collect();
    text.top(
        layout,
        "accesses as they were recorded",
        &sources.join("; "),
    );
    let seats = Seats::of(layout, &roles);
    text.objects(&seats);
    let align = align(layout, &cover);
    let threads = threads(&roles, by, unit);
    let mut names = BTreeSet::new();
    for (role, threads) in roles.iter().zip(threads) {
        text.role(role, &threads, &mut names);
        text.steps(role, &cover, align, unit, &seats);
    }
    text.layout(layout, &cover, align);
    Ok(text.0)
}
