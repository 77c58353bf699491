//! `hitm case show --trace`: the accesses of a pass of each role, in order.

use crate::case::Case;
use crate::error::Result;
use crate::program::steps::StepsSpec;
use crate::program::steps::roles::{self, Duty};
use crate::program::trace::{Traced, trace};
use crate::program::{Blueprint, Program, WithProgram};
use crate::report::columns::Columns;
use crate::space::LINE;
use crate::space::arena::Arena;
use crate::space::map::Map;
use std::sync::Arc;

/// The trace of one pass of every role under the layout of that name, as thread of the fewest that
/// the case runs with; every layout if none is named.
pub fn traces(case: Case, layout: Option<&str>) -> Result<String> {
    of_each_role(case, layout, |spec, thread| {
        let (map, accesses) = spec.with(Arena::new(spec.bytes())?, TraceOf { thread })?;
        Ok(rows(&map, &accesses).to_string())
    })
}

/// What `of` says of the first thread of every role under the layout of that name, or under every
/// layout, each under a heading.
pub fn of_each_role(
    case: Case,
    layout: Option<&str>,
    of: impl Fn(&StepsSpec, usize) -> Result<String>,
) -> Result<String> {
    let case = Arc::new(case);
    let layouts = match layout {
        Some(name) => case.layout_number(name)?..case.layout_number(name)? + 1,
        None => 0..case.layouts.len(),
    };
    let threads = case.least_threads();
    let duties = roles::duties(&case, threads)?;
    let mut text = String::new();
    for layout in layouts {
        let spec = StepsSpec {
            case: case.clone(),
            layout,
            threads,
            first_slot: 0,
            seed: 1,
        };
        let name = &spec.layout().name;
        for (thread, duty) in duties.iter().enumerate() {
            if thread > 0 && duties[thread - 1] == *duty {
                continue;
            }
            let role = match duty {
                Duty::Role(role) => &case.roles[*role].name,
                Duty::Shared => "one of those that share a thread",
            };
            text += &format!("{name}, role {role}\n{}\n", of(&spec, thread)?);
        }
    }
    Ok(text)
}

/// Traces the first pass of a thread.
struct TraceOf {
    thread: usize,
}

impl WithProgram for TraceOf {
    type Out = (Map, Vec<Traced>);

    fn call<P: Program>(self, program: P) -> Self::Out {
        (program.map(), trace(&program, self.thread, 1))
    }
}

fn rows(map: &Map, accesses: &[Traced]) -> Columns {
    let mut table = Columns::new("><><>");
    table.row(["access", "", "bytes", "field", "line of it"]);
    for (number, Traced { at, bytes, access }) in accesses.iter().enumerate() {
        let line = map.at(*at).map_or(0, |(object, offset)| {
            let into_line = object.start.0 as usize % LINE;
            (into_line + offset) / LINE
        });
        table.row([
            (number + 1).to_string(),
            access.to_string(),
            bytes.to_string(),
            map.name(*at),
            line.to_string(),
        ]);
    }
    table
}
