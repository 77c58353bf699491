//! `hitm plot`: CSV to SVG and HTML.

use crate::error::{Error, Result, say};
use crate::report::{self, Record};
use crate::results::unwritable;
use std::path::PathBuf;

/// Arguments of `hitm plot`.
#[derive(clap::Args)]
pub struct Args {
    /// Run folders, or files with the columns of samples.csv
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Where the plots and report.html go; default: beside the file, if it is one
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let out = match (args.out, args.files.as_slice()) {
        (Some(out), _) => out,
        (None, [folder]) if folder.is_dir() => folder.clone(),
        (None, [file]) => file.parent().unwrap_or(file).to_owned(),
        (None, _) => {
            return Err(Error::Input(
                "several inputs have no one folder for their plots; name it with --out".to_owned(),
            ));
        }
    };
    let record = Record::read(&args.files)?;
    for warning in &record.warnings {
        say(warning);
    }
    std::fs::create_dir_all(&out).map_err(unwritable("create", &out))?;
    let written = report::write(&record, &out)?;
    let lines = written.iter().map(|path| format!("{}\n", path.display()));
    super::print(&lines.collect::<String>())
}
