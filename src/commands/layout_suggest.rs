//! `hitm layout suggest`: a better order of a struct's members, found by simulating many.

use super::options::{CountRange, Format};
use super::progress::interrupted;
use crate::case::Case;
use crate::error::{Error, Result};
use crate::machine::Topology;
use crate::report::c_struct::{Asserts, declaration};
use crate::report::suggestion;
use crate::results::{refuse_existing, write_whole};
use crate::suggest::{self, MACHINES, Request, Suggestions, written};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How it searches.
pub const HELP: &str = "Orders are proposed by who gets in whose way, then simulated: many on a few \
    machines, the best closely on all, with the same seeds as the layout that the search begins \
    with. A suggestion is a layout for which no other one is both smaller and faster. Members keep \
    their alignment, unions and rules of the case; bytes of the struct that the case does not list \
    keep their number. --out writes the case with the suggestions in it, for hitm run --case.";

/// Arguments of `hitm layout suggest`.
#[derive(clap::Args)]
pub struct Args {
    /// The case that says who accesses the struct, by name or file
    #[arg(long, value_name = "NAME|FILE")]
    case: String,
    /// The layout to begin with [default: the first of the case]
    #[arg(long, value_name = "L")]
    layout: Option<String>,
    /// Most bytes of the struct [default: those of the layout with its parts, in whole lines, and no
    /// more than the largest layout of the case]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    max_size: Option<u64>,
    /// Machine models to simulate
    #[arg(long, value_name = "NAME|FILE,…", value_delimiter = ',', default_values = MACHINES)]
    machines: Vec<String>,
    /// Thread counts to simulate: 4, 1-4 or 4,16 [default: 4 and 16]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    threads: Vec<CountRange>,
    /// Fields that keep their places relative to each other, and what lies between them
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    keep: Vec<String>,
    /// Measure the suggestions on this machine for 20 s, beside the layout that the search began
    /// with, into a run folder as hitm run does
    #[arg(long)]
    verify: bool,
    /// Hold the suggestions in C: static_assert of every offset (static), or the kernel's groups of
    /// members with CACHELINE_ASSERT_GROUP_MEMBER (groups)
    #[arg(long, value_name = "KIND", num_args = 0..=1, default_missing_value = "static")]
    asserts: Option<Asserts>,
    /// Write the case with the suggestions among its layouts
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Everything random follows from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How thoroughly is searched, in per cent of the usual
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    effort: u32,
    /// How the result is printed; JSON has the declarations too
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A row in CSV and JSON: a layout.
#[derive(Serialize)]
struct Row<'a> {
    layout: &'a str,
    bytes: usize,
    footprint: usize,
    align: usize,
    ratio: f64,
    error: f64,
    moves: usize,
    suggested: bool,
}

/// Run it.
pub fn run(args: &Args) -> Result<()> {
    let case = Case::load(&args.case)?;
    if let Some(out) = &args.out {
        refuse_existing(out)?;
    }
    let request = Request {
        baseline: match &args.layout {
            Some(name) => case.layout_number(name)?,
            None => 0,
        },
        max_bytes: args.max_size.map(|bytes| bytes as usize),
        keep: args.keep.clone(),
        machines: args.machines.clone(),
        threads: args.threads.iter().flat_map(CountRange::counts).collect(),
        seed: args.seed,
        effort: f64::from(args.effort) / 100.0,
    };
    let found = suggest::suggest(&case, &request, &*interrupted()?)?;
    super::print(&printed(&case, &found, args))?;
    if let Some(out) = &args.out {
        let text = written::text(&case, &found.baseline, &found.front)?;
        write_whole(out, text.as_bytes())?;
    }
    match args.verify {
        true => verify(&case, &found, &request.threads),
        false => Ok(()),
    }
}

fn printed(case: &Case, found: &Suggestions, args: &Args) -> String {
    let known = found.known.iter().filter_map(|known| {
        let layout = case
            .layouts
            .iter()
            .find(|layout| layout.name == known.name)?;
        Some(Row {
            layout: &known.name,
            bytes: layout.bytes,
            footprint: known.footprint,
            align: layout.align,
            ratio: known.cost.ratio,
            error: known.cost.error,
            moves: 0,
            suggested: false,
        })
    });
    let front = found.front.iter().map(|one| Row {
        layout: &one.layout.name,
        bytes: one.layout.bytes,
        footprint: one.footprint,
        align: one.layout.align,
        ratio: one.cost.ratio,
        error: one.cost.error,
        moves: one.order.moved().len(),
        suggested: true,
    });
    let rows: Vec<Row<'_>> = known.chain(front).collect();
    match args.format {
        Format::Table => suggestion::text(case, found, args.asserts),
        Format::Csv => super::csv(&rows),
        Format::Json => {
            let imported = found.baseline.imported.as_ref();
            let declared = found.front.iter().map(|one| {
                let text = declaration(&case.struct_name, one, imported, args.asserts);
                (one.layout.name.clone(), text)
            });
            let declared: std::collections::BTreeMap<String, String> = declared.collect();
            super::json(&serde_json::json!({ "layouts": rows, "declarations": declared }))
        }
    }
}

/// Measure what was found here, beside the baseline.
fn verify(case: &Case, found: &Suggestions, threads: &[usize]) -> Result<()> {
    if found.front.is_empty() {
        crate::error::say("nothing was found that could be measured; --verify is left out");
        return Ok(());
    }
    let text = written::text(case, &found.baseline, &found.front)?;
    let name = format!("hitm-suggest-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let refused = |what: &Path, why: std::io::Error| {
        Error::Refused(format!(
            "cannot write {} to measure from: {why}",
            what.display()
        ))
    };
    std::fs::create_dir(&folder).map_err(|why| refused(&folder, why))?;
    let file = folder.join(format!("{}.toml", case.name));
    let measured = std::fs::write(&file, text)
        .map_err(|why| refused(&file, why))
        .and_then(|()| measure(&file, found, threads));
    let _ = std::fs::remove_dir_all(&folder);
    measured
}

/// `hitm run` of the layouts that were found.
fn measure(file: &Path, found: &Suggestions, threads: &[usize]) -> Result<()> {
    let cpus = Topology::here()?
        .cpus
        .iter()
        .filter(|cpu| cpu.allowed)
        .count();
    let front = found.front.iter().map(|one| one.layout.name.as_str());
    let layouts: Vec<&str> = std::iter::once(found.baseline.name.as_str())
        .chain(front)
        .collect();
    let fits = threads.iter().filter(|count| **count <= cpus);
    let threads: Vec<String> = fits.map(usize::to_string).collect();
    let layouts = layouts.join(",");
    let mut line = vec![
        "--case".into(),
        file.as_os_str().to_owned(),
        "--layouts".into(),
        layouts.into(),
        "--budget".into(),
        "20s".into(),
    ];
    if !threads.is_empty() {
        line.extend(["--threads".into(), threads.join(",").into()]);
    }
    super::run::run(super::run::Args::of_line(line)?)
}
