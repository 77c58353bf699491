//! Reports: what was measured, as a table, as plots, and as a page of HTML.
//!
//! Everything here reads a [`Record`], which is read from files: a report drawn at the end of a
//! run is the one that `hitm plot` draws later. Not here: measuring and judging.

pub mod arms;
pub mod c_struct;
pub mod columns;
pub mod explain;
pub mod guesses;
mod html;
pub mod layout_diff;
pub mod layout_map;
pub mod layout_picture;
mod maps;
mod plot;
mod record;
pub mod suggestion;
pub mod table;
pub mod why;

pub use html::page;
pub use plot::{Plot, plots};
pub use record::Record;

use crate::error::Result;
use crate::results::write_whole;
use std::path::{Path, PathBuf};

/// Write the plots and `report.html` of `record` into the folder `out`, which exists; what was
/// there under the same names is replaced. Returns the paths written.
pub fn write(record: &Record, out: &Path) -> Result<Vec<PathBuf>> {
    let mut plots = plots(record);
    plots.extend(maps::maps(record));
    let mut written = Vec::new();
    for plot in &plots {
        let path = out.join(format!("{}.svg", plot.name));
        write_whole(&path, plot.svg.as_bytes())?;
        written.push(path);
    }
    let path = out.join("report.html");
    write_whole(&path, page(record, &plots).as_bytes())?;
    written.push(path);
    Ok(written)
}
