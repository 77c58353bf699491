//! `hitm layout map`: who meets whom in a line or a pair.

use super::layout_named::{self, MappedLayout, THREADS};
use super::layout_source::LayoutSource;
use super::options::Format;
use crate::case::Case;
use crate::error::{Error, Result};
use crate::report::{layout_map, layout_picture};
use crate::results::{refuse_existing, write_whole};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// What the numbers mean.
pub const HELP: &str = "A weight says how many accesses a pass, of both sides together, may find \
    that the other one has taken the line away: the rarer of the two uses counts. It says nothing of \
    time; hitm sim and hitm run do. A pair is fetched whole by an adjacent-line prefetcher. In CSV \
    and JSON slot_phase is where in its pair a slot starts, of two neighbours that of the first one.";

/// Arguments of `hitm layout map`.
#[derive(clap::Args)]
pub struct Args {
    /// A built-in layout, as `layout list --all` prints it, with what a page fault does
    #[arg(conflicts_with_all = ["case", "btf", "dwarf", "pahole"])]
    name: Option<String>,
    /// A case, by name or file: its layouts, with what its roles do
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["btf", "dwarf", "pahole"])]
    case: Option<String>,
    /// Only this layout of the case
    #[arg(long, value_name = "L", requires = "case")]
    layout: Option<String>,
    #[command(flatten)]
    source: LayoutSource,
    /// Threads that the roles have together; more where the case needs more
    #[arg(long, value_name = "N", default_value_t = THREADS, value_parser = layout_named::threads)]
    threads: usize,
    /// Draw it: one layout as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How the rows are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A row in CSV and JSON: a conflict in the slots of one phase.
#[derive(Serialize)]
struct ConflictRow {
    layout: String,
    scope: String,
    slot_phase: usize,
    within: usize,
    kind: String,
    field_a: String,
    role_a: String,
    field_b: String,
    role_b: String,
    weight: f64,
}

/// The columns of [`ConflictRow`].
const HEADER: &str = "layout,scope,slot_phase,within,kind,field_a,role_a,field_b,role_b,weight\n";

/// Run it.
pub fn run(args: &Args) -> Result<String> {
    let mapped = mapped(args)?;
    if let Some(file) = &args.svg {
        let [one] = mapped.as_slice() else {
            return Err(Error::Input(
                "a picture shows one layout: name it with --layout".to_owned(),
            ));
        };
        let svg = layout_picture::svg(&one.subject, &one.map)?;
        refuse_existing(file)?;
        write_whole(file, svg.as_bytes())?;
    }
    let rows: Vec<ConflictRow> = match args.format {
        Format::Table => Vec::new(),
        _ => mapped.iter().flat_map(conflict_rows).collect(),
    };
    match args.format {
        Format::Csv if rows.is_empty() => Ok(HEADER.to_owned()),
        Format::Csv => Ok(super::csv(&rows)),
        Format::Json => Ok(super::json(&rows)),
        Format::Table => {
            let texts = mapped
                .iter()
                .map(|one| layout_map::text(&one.subject, &one.map));
            Ok(texts.collect::<Result<Vec<String>>>()?.join("\n"))
        }
    }
}

fn mapped(args: &Args) -> Result<Vec<MappedLayout>> {
    if let Some(name) = &args.case {
        let case = Arc::new(Case::load(name)?);
        let layouts = layout_named::of_case(&case, args.layout.as_deref())?;
        let mapped = layouts
            .into_iter()
            .map(|layout| MappedLayout::of_case(&case, &layout.name, args.threads));
        return mapped.collect();
    }
    let one = match &args.name {
        Some(name) => MappedLayout::built_in(name, args.threads)?,
        None if !args.source.is_given() => {
            return Err(Error::Input(
                "the map of what? give the NAME of a built-in layout, --case NAME|FILE, or a struct \
                 with --btf, --dwarf or --pahole"
                    .to_owned(),
            ));
        }
        None => MappedLayout::of_struct(&args.source.read()?)?,
    };
    Ok(vec![one])
}

fn conflict_rows(mapped: &MappedLayout) -> impl Iterator<Item = ConflictRow> {
    let MappedLayout { subject, map, .. } = mapped;
    map.conflicts.iter().flat_map(move |conflict| {
        conflict
            .phases
            .iter()
            .map(move |&(phase, weight)| ConflictRow {
                layout: subject.layout.clone(),
                scope: conflict.between.to_string(),
                slot_phase: phase,
                within: conflict.within,
                kind: conflict.clash.to_string(),
                field_a: subject.field_name(conflict.region, conflict.a.field),
                role_a: subject.actor_name(conflict.a.actor).to_owned(),
                field_b: subject.field_name(conflict.region, conflict.b.field),
                role_b: subject.actor_name(conflict.b.actor).to_owned(),
                weight,
            })
    })
}
