//! `hitm layout show --btf --struct S`: the members of any struct, and the holes between them.

use super::layout_source::LayoutSource;
use super::options::Format;
use crate::error::{Error, Result, say};
use crate::layout::{KernelSlab, LayoutFile, StructLayout};
use crate::report::columns::Columns;
use crate::space::map::HOLE;
use crate::space::{LINE, PAIR};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// What the columns mean.
pub const HELP: &str = "Members of structs in the struct are named with dots, d_name.len; those of \
    anonymous ones as C names them. Of an array of structs the first element is listed. A \
    bit-field's offset and size are those of its storage unit, or of the bytes that its bits lie in \
    where that unit would reach into other members; :F+N are its first bit, from the least \
    significant, and how many. In CSV and JSON, holes are rows named (hole).";

/// A member, or a hole.
#[derive(Serialize)]
struct MemberRow<'l> {
    #[serde(rename = "struct")]
    of: &'l str,
    struct_bytes: usize,
    struct_align: usize,
    field: &'l str,
    offset: usize,
    size: usize,
    line: usize,
    pair: usize,
    #[serde(rename = "type")]
    type_name: &'l str,
    element_size: usize,
    first_bit: Option<usize>,
    bits: Option<usize>,
    in_union: bool,
    aggregate: bool,
    depth: usize,
}

/// The members and the holes, by offset.
fn member_rows(layout: &StructLayout) -> Vec<MemberRow<'_>> {
    let hole = |(offset, size)| MemberRow {
        of: &layout.name,
        struct_bytes: layout.bytes,
        struct_align: layout.align,
        field: HOLE,
        offset,
        size,
        line: offset / LINE,
        pair: offset / PAIR,
        type_name: "",
        element_size: size,
        first_bit: None,
        bits: None,
        in_union: false,
        aggregate: false,
        depth: 0,
    };
    let mut rows: Vec<MemberRow<'_>> = layout
        .members
        .iter()
        .map(|member| MemberRow {
            field: &member.name,
            type_name: &member.type_name,
            element_size: member.element,
            first_bit: member.bits.map(|bits| bits.first),
            bits: member.bits.map(|bits| bits.count),
            in_union: member.in_union,
            aggregate: member.aggregate,
            depth: member.depth,
            ..hole((member.offset, member.bytes))
        })
        .collect();
    rows.extend(layout.holes().into_iter().map(hole));
    // A hole comes after what begins where it does, which has no bytes.
    rows.sort_by_key(|row| row.offset);
    rows
}

/// The struct that was asked for.
pub fn show(source: &LayoutSource, format: Format) -> Result<String> {
    let (file, layout) = (source.file()?, source.read()?);
    let rows = member_rows(&layout);
    Ok(match format {
        Format::Csv => super::csv(&rows),
        Format::Json => super::json(&rows),
        Format::Table => format!("{}\n{}", heading(&file, &layout), table(&rows)),
    })
}

/// All structs of the file, one after the other.
pub fn show_all(source: &LayoutSource, format: Format) -> Result<()> {
    let file = source.file()?;
    let mut first = true;
    if format == Format::Json {
        return Err(Error::Input(
            "--all has no JSON form: give --format csv".to_owned(),
        ));
    }
    file.each(|layout| {
        let layout = match layout {
            Ok(layout) => layout,
            Err(why) => {
                say(why);
                return Ok(());
            }
        };
        let rows = member_rows(&layout);
        let text = match format {
            Format::Csv => super::csv(&rows),
            _ => format!("{}\n{}\n", heading(&file, &layout), table(&rows)),
        };
        let text = match (format, first, text.split_once('\n')) {
            (Format::Csv, false, Some((_, rows))) => rows,
            _ => &text,
        };
        first &= text.is_empty();
        super::print(text)
    })
}

fn heading(file: &LayoutFile, layout: &StructLayout) -> String {
    let holes = layout.holes();
    let lines = layout.bytes.div_ceil(LINE);
    let own = layout.members.iter().filter(|member| member.depth == 0);
    let mut text = format!("{}: {}\n", layout.name, layout.source);
    let _ = writeln!(
        text,
        "  {} bytes in {}, {}; {}, {} of {} bytes",
        layout.bytes,
        counted(lines, "line"),
        counted(layout.bytes.div_ceil(PAIR), "pair"),
        counted(own.count(), "member"),
        counted(holes.len(), "hole"),
        holes.iter().map(|(_, bytes)| bytes).sum::<usize>()
    );
    let why = match file {
        LayoutFile::Btf { .. } => {
            " at least, as its members need; BTF does not record what its declaration asks for"
        }
        LayoutFile::Dwarf(_) => "",
        LayoutFile::Pahole(_) => " at least, as far as the text says",
    };
    let _ = writeln!(text, "  aligned to {}{why}", layout.align);
    if let Some(slab) = slab_of(file, &layout.name) {
        let _ = writeln!(
            text,
            "  this kernel's slab cache: {} objects in a slab of {}, slots of {} bytes at multiples of {}",
            slab.objects,
            counted(slab.cache.pages, "page"),
            slab.cache.slot,
            slab.cache.align
        );
    }
    if layout.members.iter().any(|member| member.in_union) {
        let _ = writeln!(text, "  |: in a union, shares its bytes with others of it");
    }
    if !layout.align.is_multiple_of(LINE) {
        let _ = writeln!(
            text,
            "  lines and pairs hold for objects that start on a line and on a pair"
        );
    }
    text
}

/// The slab cache that the running kernel keeps such structs in, if it has one of that name and
/// lets us see it.
fn slab_of(file: &LayoutFile, name: &str) -> Option<KernelSlab> {
    match *file == LayoutFile::running_kernel() {
        true => KernelSlab::read(Path::new("/"), name).ok(),
        false => None,
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn table(rows: &[MemberRow<'_>]) -> Columns {
    let mut table = Columns::new(">>>><<");
    table.row(["  offset", "size", "line", "pair", " field", "type"]);
    let mut line = 0;
    for row in rows {
        if row.line > line {
            line = row.line;
            table.text(boundary(row));
        }
        if row.field == HOLE {
            table.row([
                row.offset.to_string(),
                row.size.to_string(),
                String::new(),
                String::new(),
                format!(" {HOLE}"),
            ]);
            continue;
        }
        let bits = match (row.first_bit, row.bits) {
            (Some(first), Some(count)) => format!("{}:{first}+{count}", row.size),
            _ => row.size.to_string(),
        };
        let union = if row.in_union { "|" } else { " " };
        table.row([
            row.offset.to_string(),
            bits,
            row.line.to_string(),
            row.pair.to_string(),
            format!("{union}{}", row.field),
            row.type_name.to_owned(),
        ]);
    }
    table
}

/// The line that begins before a row, or with it.
fn boundary(row: &MemberRow<'_>) -> String {
    let start = row.line * LINE;
    let pair = match start.is_multiple_of(PAIR) {
        true => format!(", pair {}", row.pair),
        false => String::new(),
    };
    let before = match row.offset - start {
        0 => String::new(),
        bytes => format!(", {} before", counted(bytes, "byte")),
    };
    format!("  --- line {}{pair}: byte {start}{before} ---\n", row.line)
}
