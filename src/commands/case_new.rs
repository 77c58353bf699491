//! `hitm case new`: a case file of any struct, from its layout and what was recorded of it.

use super::layout_source::LayoutSource;
use crate::case::perf::{Extent, ExtentSpec, Usage, read};
use crate::case::write::{ReadProfile, recorded, skeleton};
use crate::error::{Error, Result, say};
use crate::layout::StructLayout;
use std::path::{Path, PathBuf};

/// Arguments of `hitm case new`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: LayoutSource,
    /// What was recorded of the struct: the output of perf c2c report --stdio, perf mem report -D
    /// -x, or perf script -F addr,data_src (these need --at), perf annotate --data-type --stdio,
    /// perf report -s type,typeoff, or a table of the kernel's net_cachelines; may be repeated
    #[arg(long, value_name = "FILE")]
    perf: Vec<PathBuf>,
    /// Where objects lay while it was recorded, back to back from START to END, one without END;
    /// or the name of a global variable of --elf; may be repeated
    #[arg(long, value_name = "START[..END]|VARIABLE", requires = "perf")]
    at: Vec<ExtentSpec>,
    /// The program that was recorded, for the variables that --at names
    #[arg(long, value_name = "FILE", requires = "at")]
    elf: Option<PathBuf>,
    /// The case file to write; what is there already is not replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Run it.
pub fn run(args: &Args) -> Result<()> {
    let name = args.out.file_name().and_then(|name| name.to_str());
    let stem = name
        .and_then(|name| name.strip_suffix(".toml"))
        .unwrap_or("");
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if stem.is_empty() || stem.len() > 64 || !stem.chars().all(fits) {
        return Err(Error::Input(format!(
            "--out {}: a case is called as its file; name it NAME.toml, with small letters, digits, . _ - in NAME",
            args.out.display()
        )));
    }
    let layout = args.source.read()?;
    let text = text(&layout, &args.perf, &extents(args)?)?;
    let failed = |e: std::io::Error| {
        let why = match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "it is there already, and is not replaced".to_owned()
            }
            _ => e.to_string(),
        };
        Error::Input(format!(
            "cannot write {}: {why}; give another --out",
            args.out.display()
        ))
    };
    let mut file = std::fs::File::create_new(&args.out).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    say(format_args!(
        "{} is written; look it over, then: hitm case check {0}",
        args.out.display()
    ));
    Ok(())
}

/// Where `--at` says that objects lay.
fn extents(args: &Args) -> Result<Vec<Extent>> {
    let elf = args.elf.as_deref();
    let bytes = elf
        .map(|file| std::fs::read(file).map_err(|e| unreadable(file, &e)))
        .transpose()?;
    args.at
        .iter()
        .map(|spec| match (spec, elf, &bytes) {
            (ExtentSpec::Known(extent), ..) => Ok(*extent),
            (ExtentSpec::Variable(name), Some(file), Some(bytes)) => {
                Extent::of_variable(name, &file.display().to_string(), bytes)
            }
            (ExtentSpec::Variable(name), ..) => Err(Error::Input(format!(
                "--at {}: addresses begin with 0x; for a variable, give the program with --elf FILE",
                name.escape_debug()
            ))),
        })
        .collect()
}

fn unreadable(file: &Path, error: &std::io::Error) -> Error {
    Error::Input(format!("cannot read {}: {error}", file.display()))
}

/// The text of the case file.
fn text(layout: &StructLayout, perf: &[PathBuf], extents: &[Extent]) -> Result<String> {
    if perf.is_empty() {
        return skeleton(layout);
    }
    let mut texts = Vec::new();
    for path in perf {
        let bytes = std::fs::read(path).map_err(|e| unreadable(path, &e))?;
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        texts.push((path.display().to_string(), text));
    }
    let mut usage = Usage::new(layout, extents)?;
    let mut profiles = Vec::new();
    for (name, text) in &texts {
        let mut added = Ok(());
        let (format, remarks) = read(name, text, &mut |found| {
            if added.is_ok() {
                added = usage.add(&found);
            }
        })?;
        added?;
        if usage.passed.unplaced > 0 {
            return Err(Error::Input(format!(
                "{name} has addresses and no types, and cannot say which of them are objects of '{}': give --at START[..END], or --at VARIABLE with --elf FILE",
                layout.name.escape_debug()
            )));
        }
        for remark in &remarks {
            say(format_args!("{name}: {remark}"));
        }
        profiles.push(ReadProfile {
            name: name.clone(),
            format,
            remarks,
        });
    }
    let passed = &usage.passed;
    if passed.outside > 0 {
        say(format_args!(
            "{} recorded uses lie outside the objects that --at names",
            passed.outside
        ));
    }
    if let Some((what, count)) = &passed.differing {
        say(format_args!(
            "{what} ({count} uses of that kind); is the layout of another build?"
        ));
    }
    recorded(layout, usage, &profiles)
}
