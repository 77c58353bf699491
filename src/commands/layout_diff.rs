//! `hitm layout diff`: what is different between two layouts.
//!
//! Not here: what the difference costs (`layout_cost`).

use super::layout_cost::{self, CostArgs, CostRow};
use super::layout_named::{self, MappedLayout, THREADS};
use super::options::Format;
use crate::case::Case;
use crate::error::{Error, Result};
use crate::layout::diff::LayoutDiff;
use crate::layout::subject::Subject;
use crate::report::layout_diff;
use serde::Serialize;
use std::sync::Arc;

/// Arguments of `hitm layout diff`.
#[derive(clap::Args)]
pub struct Args {
    /// The layout before
    #[arg(value_name = "A")]
    before: String,
    /// The layout after
    #[arg(value_name = "B")]
    after: String,
    /// A and B are layouts of this case, by name or file
    #[arg(long, value_name = "NAME|FILE")]
    case: Option<String>,
    /// Threads that the roles have together, or several numbers of them; more where the case needs
    /// more. Conflicts are those with the most of them [default: 16; costs with 2 and 16]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = layout_named::threads)]
    threads: Vec<usize>,
    #[command(flatten)]
    cost: CostArgs,
    /// How the rows are printed; CSV has the fields alone
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A field, as a row.
#[derive(Serialize)]
struct FieldRow<'d> {
    field: &'d str,
    change: &'static str,
    object_before: &'d str,
    object_after: &'d str,
    offset_before: Option<usize>,
    offset_after: Option<usize>,
    bytes_before: Option<usize>,
    bytes_after: Option<usize>,
    line_before: Option<usize>,
    line_after: Option<usize>,
    pair_before: Option<usize>,
    pair_after: Option<usize>,
    left_line: String,
    joined_line: String,
    left_pair: String,
    joined_pair: String,
}

/// The columns of [`FieldRow`].
const HEADER: &str = "field,change,object_before,object_after,offset_before,offset_after,\
    bytes_before,bytes_after,line_before,line_after,pair_before,pair_after,left_line,joined_line,\
    left_pair,joined_pair\n";

/// A conflict, as a row.
#[derive(Serialize)]
struct ConflictDiffRow<'d> {
    scope: &'static str,
    within: usize,
    kind: &'static str,
    field_a: &'d str,
    role_a: &'d str,
    field_b: &'d str,
    role_b: &'d str,
    weight_before: f64,
    weight_after: f64,
}

/// A layout in JSON.
#[derive(Serialize)]
struct LayoutRow<'d> {
    layout: &'d str,
    bytes: usize,
    pages_per_1000: usize,
}

/// All of it in JSON.
#[derive(Serialize)]
struct Whole<'d> {
    before: LayoutRow<'d>,
    after: LayoutRow<'d>,
    fields: Vec<FieldRow<'d>>,
    conflicts: Vec<ConflictDiffRow<'d>>,
    costs: Vec<CostRow>,
}

/// Run it.
pub fn run(args: &Args) -> Result<String> {
    if args.format == Format::Csv && args.cost.is_given() {
        return Err(Error::Input(
            "CSV has the fields alone; with --machines or --measure give --format table or json"
                .to_owned(),
        ));
    }
    let most = args.threads.iter().copied().max().unwrap_or(THREADS);
    let (before, after) = match &args.case {
        None => (
            MappedLayout::named(&args.before, most)?,
            MappedLayout::named(&args.after, most)?,
        ),
        Some(case) => {
            let case = Arc::new(Case::load(case)?);
            let mapped = |name: &str| MappedLayout::of_case(&case, name, most);
            (mapped(&args.before)?, mapped(&args.after)?)
        }
    };
    let diff = LayoutDiff::of((&before.subject, &before.map), (&after.subject, &after.map))?;
    let costs = || layout_cost::rows(&args.cost, &args.threads, &before, &after);
    Ok(match args.format {
        Format::Table => {
            let text = layout_diff::text(&before.subject, &after.subject, &diff);
            match costs()? {
                Ok(rows) => text + &layout_cost::text(&rows, &after),
                Err(why) => format!("{text}\n{why}\n"),
            }
        }
        Format::Csv if diff.fields.is_empty() => HEADER.to_owned(),
        Format::Csv => super::csv(&field_rows(&diff)),
        Format::Json => super::json(&Whole {
            before: layout_row(&before.subject),
            after: layout_row(&after.subject),
            fields: field_rows(&diff),
            conflicts: conflict_rows(&diff),
            costs: costs()?.unwrap_or_default(),
        }),
    })
}

fn field_rows(diff: &LayoutDiff) -> Vec<FieldRow<'_>> {
    let fields = diff.fields.iter();
    fields
        .map(|field| {
            let (before, after) = (field.before.as_ref(), field.after.as_ref());
            FieldRow {
                field: &field.name,
                change: match (before, after) {
                    (None, _) => "added",
                    (_, None) => "removed",
                    (Some(a), Some(b)) => match (
                        a.offset != b.offset || a.in_part != b.in_part,
                        a.bytes != b.bytes,
                    ) {
                        (true, false) => "moved",
                        (false, true) => "resized",
                        (true, true) => "moved and resized",
                        (false, false) => "neighbours",
                    },
                },
                object_before: before.map_or("", |place| &place.object),
                object_after: after.map_or("", |place| &place.object),
                offset_before: before.map(|place| place.offset),
                offset_after: after.map(|place| place.offset),
                bytes_before: before.map(|place| place.bytes),
                bytes_after: after.map(|place| place.bytes),
                line_before: before.map(|place| place.line),
                line_after: after.map(|place| place.line),
                pair_before: before.map(|place| place.pair),
                pair_after: after.map(|place| place.pair),
                left_line: field.left_line.join(" "),
                joined_line: field.joined_line.join(" "),
                left_pair: field.left_pair.join(" "),
                joined_pair: field.joined_pair.join(" "),
            }
        })
        .collect()
}

fn conflict_rows(diff: &LayoutDiff) -> Vec<ConflictDiffRow<'_>> {
    let conflicts = diff.conflicts.iter();
    conflicts
        .map(|conflict| ConflictDiffRow {
            scope: conflict.between.name(),
            within: conflict.within,
            kind: conflict.clash.name(),
            field_a: &conflict.a.0,
            role_a: &conflict.a.1,
            field_b: &conflict.b.0,
            role_b: &conflict.b.1,
            weight_before: conflict.before,
            weight_after: conflict.after,
        })
        .collect()
}

fn layout_row(subject: &Subject) -> LayoutRow<'_> {
    let own = subject.regions.iter().filter(|region| region.of_struct);
    LayoutRow {
        layout: &subject.layout,
        bytes: own.map(|region| region.bytes).sum(),
        pages_per_1000: subject.pages_per_1000(),
    }
}
