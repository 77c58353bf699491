//! A suggested layout as C: the declaration with its offsets, and assertions that hold it.

use crate::layout::{Member, StructLayout};
use crate::space::LINE;
use crate::suggest::Found;
use crate::suggest::lumps::{Lump, Use};
use std::fmt::Write as _;

crate::text::words! {
    /// How a layout is held in C.
    pub enum Asserts as "kind of assertion" {
        /// `static_assert` of every offset.
        Static = "static",
        /// The kernel's groups of members, and `CACHELINE_ASSERT_GROUP_MEMBER`.
        Groups = "groups",
    }
}

/// A run of accessed members in one line: what a group holds.
struct Group {
    name: String,
    /// Lumps by number, in order.
    lumps: Vec<usize>,
}

/// The declaration of `found`, a layout of the struct `name`; `imported` is what it was made from,
/// where a compiler has laid that out.
pub fn declaration(
    name: &str,
    found: &Found,
    imported: Option<&StructLayout>,
    asserts: Option<Asserts>,
) -> String {
    let layout = &found.layout;
    let mut text = format!("struct {} {{\n", identifier(name));
    let packed = found.order.pack(&found.lumps);
    let groups = match asserts {
        Some(Asserts::Groups) => groups(found),
        _ => Vec::new(),
    };
    let begins = |lump: usize| {
        groups
            .iter()
            .find(|group| group.lumps.first() == Some(&lump))
    };
    let ends = |lump: usize| {
        groups
            .iter()
            .find(|group| group.lumps.last() == Some(&lump))
    };
    let (mut end, mut unlisted) = (0, 0);
    let mut sequence = found.order.sequence.iter().peekable();
    while let Some((number, on_line)) = sequence.next() {
        let lump = &found.lumps.all[*number];
        let at = packed.offsets[*number];
        hole(&mut text, end, at);
        if at / LINE > end.saturating_sub(1) / LINE || at.is_multiple_of(LINE) && at > 0 {
            let _ = writeln!(text, "\t/* --- line {} --- */", at / LINE);
        }
        if let Some(group) = begins(*number) {
            let _ = writeln!(text, "\t__cacheline_group_begin({});", group.name);
        }
        let aligned = if *on_line {
            " ____cacheline_aligned"
        } else {
            ""
        };
        end = at + lump.bytes;
        if lump.is_unlisted() {
            // Those that follow are one with it.
            while let Some((next, false)) = sequence.peek() {
                let other = &found.lumps.all[*next];
                if !other.is_unlisted() || packed.offsets[*next] != end {
                    break;
                }
                end += other.bytes;
                sequence.next();
            }
            unlisted += 1;
            let field = format!("u8\tunlisted_{unlisted}[{}]{aligned};", end - at);
            member(
                &mut text,
                &field,
                at,
                end - at,
                "members that the case does not list",
            );
        } else {
            declare(&mut text, lump, at, aligned, imported);
        }
        if let Some(group) = ends(*number) {
            let _ = writeln!(text, "\t__cacheline_group_end({});", group.name);
        }
    }
    hole(&mut text, end, layout.bytes);
    let aligned = match layout.align {
        LINE if found.order.sequence.iter().any(|(_, on_line)| *on_line) => String::new(),
        LINE => " ____cacheline_aligned".to_owned(),
        align if align > 8 => format!(" __aligned({align})"),
        _ => String::new(),
    };
    let _ = writeln!(
        text,
        "}}{aligned}; /* {} bytes, aligned to {} */",
        layout.bytes, layout.align
    );
    match asserts {
        None => {}
        Some(Asserts::Static) => statics(&mut text, name, found, &packed.offsets, imported),
        Some(Asserts::Groups) => {
            for group in &groups {
                for lump in &group.lumps {
                    for field in names(&found.lumps.all[*lump], imported) {
                        let _ = writeln!(
                            text,
                            "CACHELINE_ASSERT_GROUP_MEMBER(struct {}, {}, {field});",
                            identifier(name),
                            group.name
                        );
                    }
                }
            }
        }
    }
    text
}

/// A name as C takes it: a literal case may have dots.
fn identifier(name: &str) -> String {
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '_'
        }
    };
    name.chars().map(fits).collect()
}

fn hole(text: &mut String, from: usize, to: usize) {
    if to > from {
        let _ = writeln!(text, "\t/* hole of {} bytes */", to - from);
    }
}

fn member(text: &mut String, field: &str, at: usize, bytes: usize, says: &str) {
    let width = field
        .chars()
        .map(|c| if c == '\t' { 8 } else { 1 })
        .sum::<usize>();
    let tabs = "\t".repeat((48usize.saturating_sub(width)).div_ceil(8).max(1));
    let says = if says.is_empty() {
        String::new()
    } else {
        format!("  {says}")
    };
    let _ = writeln!(text, "\t{field}{tabs}/* {at:5} {bytes:5}{says} */");
}

/// The members of the outermost struct that lie in a lump.
fn members<'a>(lump: &Lump, imported: Option<&'a StructLayout>) -> Vec<&'a Member> {
    let (Some(imported), Some(from)) = (imported, lump.from) else {
        return Vec::new();
    };
    let inside = |member: &&Member| {
        member.depth == 0
            && from <= member.offset
            && member.offset + member.bytes <= from + lump.bytes
    };
    imported.members.iter().filter(inside).collect()
}

/// The names that C knows a lump's members by.
fn names(lump: &Lump, imported: Option<&StructLayout>) -> Vec<String> {
    let members = members(lump, imported);
    if !members.is_empty() {
        // No offset of a bit-field is to be had in C, nor of a member without a name.
        let named = members
            .iter()
            .filter(|member| member.bits.is_none() && !member.name.is_empty());
        return named.map(|member| member.name.clone()).collect();
    }
    lump.outermost()
        .map(|field| identifier(&field.name))
        .collect()
}

/// The members of a lump.
fn declare(
    text: &mut String,
    lump: &Lump,
    at: usize,
    aligned: &str,
    imported: Option<&StructLayout>,
) {
    let members = members(lump, imported);
    if members.is_empty() {
        let mut end = 0;
        for (n, field) in lump.outermost().enumerate() {
            if field.offset < end {
                let _ = writeln!(text, "\t/* in a union with what is before it */");
            }
            hole(text, end, field.offset);
            let bytes = field.bytes * field.count;
            let count = match field.count {
                1 => String::new(),
                count => format!("[{count}]"),
            };
            let name = identifier(&field.name);
            let of = match field.bytes {
                1 | 2 | 4 | 8 => format!("u{}\t{name}{count}", field.bytes * 8),
                bytes => format!("u8\t{name}{count}[{bytes}]"),
            };
            let aligned = if n == 0 { aligned } else { "" };
            self::member(
                text,
                &format!("{of}{aligned};"),
                at + field.offset,
                bytes,
                "",
            );
            end = end.max(field.offset + bytes);
        }
        return;
    }
    let from = lump.from.unwrap_or(0);
    let whole: Vec<&&Member> = members.iter().filter(|one| one.bits.is_none()).collect();
    let in_union = whole
        .windows(2)
        .any(|pair| pair[1].offset < pair[0].offset + pair[0].bytes);
    if in_union {
        let _ = writeln!(text, "\t/* these are in a union: they move as they are */");
    }
    for (n, one) in members.iter().enumerate() {
        let bits = one.bits.map(|bits| format!(":{}", bits.count));
        let of = declarator(&one.type_name, &one.name);
        let aligned = if n == 0 { aligned } else { "" };
        let field = format!("{of}{}{aligned};", bits.unwrap_or_default());
        member(text, &field, at + one.offset - from, one.bytes, "");
    }
}

/// A type with a name in it, as C writes it.
fn declarator(of: &str, name: &str) -> String {
    if let Some(at) = of.find("(*") {
        let (before, after) = of.split_at(at + 2);
        return format!("{before}{name}{after}");
    }
    match of.split_once('[') {
        Some((element, counts)) => format!("{}\t{name}[{counts}", element.trim_end()),
        None if of.is_empty() => format!("/* type unknown */\t{name}"),
        None => format!("{of}\t{name}"),
    }
}

fn statics(
    text: &mut String,
    name: &str,
    found: &Found,
    offsets: &[usize],
    imported: Option<&StructLayout>,
) {
    let name = identifier(name);
    for (number, _) in &found.order.sequence {
        let lump = &found.lumps.all[*number];
        let from = lump.from.unwrap_or(0);
        let members = members(lump, imported);
        for one in names(lump, imported) {
            let within = match members.iter().find(|member| member.name == one) {
                Some(member) => member.offset - from,
                None => {
                    let field = lump
                        .fields
                        .iter()
                        .find(|field| identifier(&field.name) == one);
                    field.map_or(0, |field| field.offset)
                }
            };
            let _ = writeln!(
                text,
                "static_assert(offsetof(struct {name}, {one}) == {});",
                offsets[*number] + within
            );
        }
    }
    let _ = writeln!(
        text,
        "static_assert(sizeof(struct {name}) == {});",
        found.layout.bytes
    );
}

/// Runs of members that are used alike and lie in one line.
fn groups(found: &Found) -> Vec<Group> {
    let packed = found.order.pack(&found.lumps);
    let mut groups: Vec<(Use, usize, Group)> = Vec::new();
    let mut broken = true;
    for (number, _) in &found.order.sequence {
        let used = found.uses[*number];
        let first = packed.offsets[*number];
        let last = first + found.lumps.all[*number].bytes.max(1) - 1;
        if used == Use::Cold || first / LINE != last / LINE {
            broken = true;
            continue;
        }
        let line = first / LINE;
        match groups.last_mut() {
            Some((of, at, group)) if !broken && *of == used && *at == line => {
                group.lumps.push(*number);
            }
            _ => {
                let kind = if used == Use::Written {
                    "write"
                } else {
                    "read"
                };
                let same = |(of, at, _): &&(Use, usize, Group)| (*of, *at) == (used, line);
                let name = match groups.iter().filter(same).count() {
                    0 => format!("line{line}_{kind}"),
                    before => format!("line{line}_{kind}_{}", before + 1),
                };
                groups.push((
                    used,
                    line,
                    Group {
                        name,
                        lumps: vec![*number],
                    },
                ));
            }
        }
        broken = false;
    }
    groups.into_iter().map(|(_, _, group)| group).collect()
}
