//! `hitm layout`: what the layouts look like and how a fault uses them.

use super::layout_source::LayoutSource;
use super::options::Format;
use crate::error::{Error, Result};
use crate::layout::LayoutFile;
use crate::program::fault::layouts::VmaLayout;
use crate::program::fault::uses::{Footprint, Uses, footprint};
use crate::program::fault::vma::{Field, LockPlace, Table, rwsem};
use crate::report::columns::Columns;
use crate::space::map::{HOLE, Object, Span};
use crate::space::memory::Addr;
use crate::space::{LINE, PAIR};
use serde::Serialize;
use std::fmt::Write as _;

/// Arguments of `hitm layout`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// All layouts, one row each
    List {
        /// With the variants of larger kernel configurations
        #[arg(long)]
        all: bool,
        /// How the rows are printed
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// One layout, one row per field: offset, size, line, pair, and what a fault does with it; of
    /// any struct with --btf, --dwarf or --pahole
    #[command(after_help = super::show_struct::HELP)]
    Show {
        /// Its name, as `layout list --all` prints it
        #[arg(required_unless_present_any = ["btf", "dwarf", "pahole"])]
        #[arg(conflicts_with_all = ["btf", "dwarf", "pahole"])]
        name: Option<String>,
        #[command(flatten)]
        source: LayoutSource,
        /// Every struct of the file that has a name
        #[arg(long, conflicts_with_all = ["struct_name", "name"])]
        all: bool,
        /// How the rows are printed
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Which fields share lines and pairs, who reads and writes them, and who gets in whose way:
    /// within an object, between neighbouring slots, and where no layout helps
    #[command(after_help = super::layout_map::HELP)]
    Map(Box<super::layout_map::Args>),
    /// What is different between two layouts: fields, who is beside whom, conflicts, memory
    #[command(after_help = super::layout_named::FORMS)]
    Diff(super::layout_diff::Args),
    /// Hold the layouts of a case against its rules; exit status 1 if one is broken
    Check(super::layout_check::Args),
    /// Search for a better order of a struct's members: footprint against cost, as C
    #[command(after_help = super::layout_suggest::HELP)]
    Suggest(Box<super::layout_suggest::Args>),
    /// Name the layout, slot, field, line and pair of addresses that perf c2c or perf mem reports
    Resolve(super::resolve::Args),
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let text = match args.action {
        Action::List { all, format } => list(all, format),
        Action::Show {
            name: Some(name),
            format,
            ..
        } => show(built_in(&name)?, format)?,
        Action::Show {
            source,
            all: true,
            format,
            ..
        } => return super::show_struct::show_all(&source, format),
        Action::Show { source, format, .. } => super::show_struct::show(&source, format)?,
        Action::Map(args) => super::layout_map::run(&args)?,
        Action::Diff(args) => super::layout_diff::run(&args)?,
        Action::Check(args) => return super::layout_check::run(&args),
        Action::Suggest(args) => return super::layout_suggest::run(&args),
        Action::Resolve(args) => super::resolve::run(&args)?,
    };
    super::print(&text)
}

/// The built-in layout of that name. Who gives the name of a struct is told how to see it.
fn built_in(name: &str) -> Result<VmaLayout> {
    VmaLayout::parse(name).map_err(|error| match LayoutFile::running_kernel().read(Some(name)) {
        Ok(layout) => Error::Input(format!(
            "'{name}' is no built-in layout but a struct of the running kernel, of {} bytes: give --btf --struct {name}",
            layout.bytes
        )),
        Err(_) => error,
    })
}

/// A row of `layout list`.
#[derive(Serialize)]
struct Listed {
    layout: &'static str,
    lock_protocol: &'static str,
    bytes_vma: usize,
    bytes_lock: usize,
    objects_per_slab: usize,
    pages_per_1000_vmas: usize,
}

impl Listed {
    fn of(table: &Table) -> Listed {
        Listed {
            layout: table.name,
            lock_protocol: table.protocol.name(),
            bytes_vma: table.bytes,
            bytes_lock: table.bytes_lock(),
            objects_per_slab: table.cache.objects(),
            pages_per_1000_vmas: table.pages_per_1000(),
        }
    }
}

fn list(all: bool, format: Format) -> String {
    let layouts = match all {
        true => VmaLayout::EVERY,
        false => VmaLayout::ALL,
    };
    let rows: Vec<Listed> = layouts.iter().map(|l| Listed::of(l.table())).collect();
    match format {
        Format::Csv => super::csv(&rows),
        Format::Json => super::json(&rows),
        Format::Table => {
            let mut table = Columns::new("<<>>>>");
            table.row([
                "layout",
                "lock",
                "VMA bytes",
                "lock bytes",
                "VMAs per slab",
                "pages for 1000 VMAs",
            ]);
            for row in rows {
                table.row([
                    row.layout.to_owned(),
                    row.lock_protocol.to_owned(),
                    row.bytes_vma.to_string(),
                    match row.bytes_lock {
                        0 => "-".to_owned(),
                        bytes => bytes.to_string(),
                    },
                    row.objects_per_slab.to_string(),
                    row.pages_per_1000_vmas.to_string(),
                ]);
            }
            table.to_string()
        }
    }
}

/// A row of `layout show`.
#[derive(Serialize)]
struct Shown {
    object: &'static str,
    field: String,
    offset: usize,
    size: usize,
    line: usize,
    pair: usize,
    loads: u32,
    stores: u32,
    read_modify_writes: u32,
}

impl Shown {
    fn cells(&self) -> [String; 6] {
        [
            format!("  {}", self.field),
            self.offset.to_string(),
            self.size.to_string(),
            self.line.to_string(),
            self.pair.to_string(),
            in_words(self),
        ]
    }
}

/// The fields with the holes between them, and the lock where it is an object of its own.
fn shown(table: &Table, footprint: &Footprint) -> Vec<Shown> {
    let row = |object, field: &str, offset, size, uses: Uses| Shown {
        object,
        field: field.to_owned(),
        offset,
        size,
        line: offset / LINE,
        pair: offset / PAIR,
        loads: uses.loads,
        stores: uses.stores,
        read_modify_writes: uses.rmws,
    };
    let placed = table.placed().into_iter();
    let vma = Object {
        name: "vma".into(),
        index: None,
        start: Addr(0),
        bytes: table.bytes,
        fields: placed
            .map(|(field, offset)| Span::word(field.name(), offset, field.bytes()))
            .collect(),
    };
    let pieces = vma.pieces().into_iter();
    let mut rows: Vec<Shown> = pieces
        .map(|(name, offset, bytes)| row("vma", name, offset, bytes, footprint.field("vma", name)))
        .collect();
    if let LockPlace::Split(_) = table.lock {
        let uses = footprint.object("lock");
        rows.push(row("lock", Field::rwsem.name(), 0, rwsem::BYTES, uses));
    }
    rows
}

fn show(layout: VmaLayout, format: Format) -> Result<String> {
    let (table, footprint) = (layout.table(), footprint(layout)?);
    let mut rows = shown(table, &footprint);
    if format != Format::Table {
        rows.retain(|row| row.field != HOLE);
    }
    Ok(match format {
        Format::Csv => super::csv(&rows),
        Format::Json => super::json(&rows),
        Format::Table => {
            let mut fields = Columns::new("<>>>><");
            let uses = "one anonymous write fault";
            fields.row(["  field", "offset", "size", "line", "pair", uses]);
            for row in &rows {
                if row.object == "lock" {
                    fields.text("\n  the lock object\n");
                }
                // Nothing is said of the line of a hole, which may have several.
                let cells = if row.field == HOLE { 3 } else { 6 };
                fields.row(row.cells().into_iter().take(cells));
            }
            format!(
                "{}\n{fields}\n  Beside it the fault loads {} words of the tree, and of mm_struct {}.\n",
                heading(table),
                footprint.tree().loads,
                mm_in_words(footprint.object("mm"))
            )
        }
    })
}

fn heading(table: &Table) -> String {
    let mut text = format!("{}: {}\n", table.name, table.source);
    let lock = match table.lock {
        LockPlace::Mm => "no lock of its own, mmap_lock".to_owned(),
        LockPlace::Embedded => format!("{} inside", table.protocol.name()),
        LockPlace::Split(cache) => format!(
            "{} in an object of {} bytes, {} per page",
            table.protocol.name(),
            cache.slot,
            cache.objects()
        ),
    };
    let _ = writeln!(text, "  {} bytes per VMA; {lock}", table.bytes);
    let _ = writeln!(
        text,
        "  {} VMAs in a slab of {} pages, slots of {} bytes; {} pages for 1000 VMAs with their locks",
        table.cache.objects(),
        table.cache.pages,
        table.cache.slot,
        table.pages_per_1000()
    );
    let aligned = if table.cache.is_line_aligned() {
        "every VMA starts on a line of its own"
    } else {
        "VMAs float: lines and pairs below hold for slot 0, and neighbours share lines"
    };
    let _ = writeln!(text, "  {aligned}");
    let parity = table.cache.slot % PAIR;
    if table.cache.is_line_aligned() && parity != 0 {
        let _ = writeln!(
            text,
            "  pairs below hold for even slots; in odd slots every line is in the other half of its pair"
        );
    }
    text
}

/// What a fault does with a field, for people.
fn in_words(row: &Shown) -> String {
    let mut parts = Vec::new();
    let mut part = |count: u32, what: &str| match count {
        0 => {}
        1 => parts.push(what.to_owned()),
        n => parts.push(format!("{what} x {n}")),
    };
    part(row.read_modify_writes, "locked RMW");
    part(row.stores, "store");
    part(row.loads, "load");
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(", ")
    }
}

fn mm_in_words(uses: Uses) -> String {
    if uses.stores + uses.rmws == 0 {
        format!("{}", uses.loads)
    } else {
        format!(
            "{} (and {} locked RMWs, {} stores on mmap_lock)",
            uses.loads, uses.rmws, uses.stores
        )
    }
}
