//! The kernel's tables `Documentation/networking/net_cachelines/*.rst`: which fields of a struct the
//! paths of sending and receiving read and write.
//!
//! Cells are told by the columns that their words begin in: they may be empty, and comments follow.

use super::profile::{CountUnit, FieldUse, ProfileText, UseCounts, UsePlace, UsedBy};
use crate::error::Result;

/// What the heading names the columns of the two paths.
pub(super) const HEADING: &str = "fastpath_tx_access";

/// Columns, counted in characters, that the heading's words begin in.
struct Starts {
    name: usize,
    tx: usize,
    rx: usize,
    comment: usize,
}

/// Read it.
pub(super) fn read<'t>(
    text: ProfileText<'t>,
    found: &mut dyn FnMut(FieldUse<'t>),
) -> Result<Vec<String>> {
    let mut type_name = "";
    let mut starts = None;
    for line in text.lines() {
        let (number, line) = line?;
        if let Some((title, _)) = line.split_once(" fast path usage") {
            // «tcp_sock struct»: the table itself does not name it in every version.
            type_name = title.trim().trim_end_matches(" struct");
        } else if line.contains(HEADING) {
            let begin = |name: &str| {
                cells(line)
                    .find(|(_, word)| *word == name)
                    .map(|(at, _)| at)
            };
            let (name, tx, rx) = (begin("Name"), begin(HEADING), begin("fastpath_rx_access"));
            let (Some(name), Some(tx), Some(rx)) = (name, tx, rx) else {
                return Err(text.wrong(number, "the heading lacks Name or fastpath_rx_access"));
            };
            let comment = cells(line).map(|(at, _)| at).find(|at| *at > rx);
            let comment = comment.unwrap_or(usize::MAX);
            starts = Some(Starts {
                name,
                tx,
                rx,
                comment,
            });
        } else if let Some(starts) = &starts
            && !line.starts_with(['=', '.'])
            && !line.trim().is_empty()
        {
            let read = row(line, type_name, starts, found);
            read.map_err(|what| text.wrong(number, what))?;
        }
    }
    Ok(vec![
        "the table says which path reads and writes, not how often, and not in which order"
            .to_owned(),
    ])
}

/// A row: a field, and what each path does with it.
fn row<'t>(
    line: &'t str,
    type_name: &'t str,
    starts: &Starts,
    found: &mut dyn FnMut(FieldUse<'t>),
) -> std::result::Result<(), String> {
    let mut name = None;
    for (at, word) in cells(line) {
        if at + 1 < starts.tx {
            // Types may have blanks: the name is what begins in its column.
            name = name.or((at + 1 >= starts.name).then_some(word));
            continue;
        }
        if at + 1 >= starts.comment {
            break;
        }
        let (loads, stores) = match word {
            "read_mostly" => (1, 0),
            "read_write" => (1, 1),
            "write_mostly" => (0, 1),
            "-" => continue,
            _ => {
                return Err(format!(
                    "'{}' is none of read_mostly, read_write, write_mostly, -",
                    word.escape_debug()
                ));
            }
        };
        let Some(name) = name else {
            return Err("an access, but no name in the column of names".to_owned());
        };
        found(FieldUse {
            place: UsePlace::Typed {
                type_name,
                offset: None,
                // `xps_maps[2]`, `netmem_tx:2;`
                field: name.split(['[', ':', ';']).next().unwrap_or("").to_owned(),
            },
            event: "",
            by: UsedBy {
                symbol: if at + 1 < starts.rx { "tx" } else { "rx" },
                ..UsedBy::default()
            },
            counts: UseCounts {
                all: loads + stores,
                loads,
                stores,
                ..UseCounts::default()
            },
            unit: CountUnit::Stated,
        });
    }
    Ok(())
}

/// The words of a line, each with the character that it begins at; a tab goes on to the next eighth.
fn cells(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut column = 0;
    let mut begin = None;
    let mut chars = line.char_indices();
    let mut done = false;
    std::iter::from_fn(move || {
        loop {
            let Some((at, c)) = chars.next() else {
                if done {
                    return None;
                }
                done = true;
                return begin
                    .take()
                    .map(|(column, from): (usize, usize)| (column, &line[from..]));
            };
            let here = column;
            column = if c == '\t' {
                (column / 8 + 1) * 8
            } else {
                column + 1
            };
            if c.is_whitespace() {
                if let Some((column, from)) = begin.take() {
                    return Some((column, &line[from..at]));
                }
            } else if begin.is_none() {
                begin = Some((here, at));
            }
        }
    })
}
