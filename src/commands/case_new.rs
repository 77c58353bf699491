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
    if passed.different > 0 {
        say(format_args!(
            "{}: {} uses of such fields; is the layout of another build?",
            passed.differing.join("; "),
            passed.different
        ));
    }
    recorded(layout, usage, &profiles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, Count, FieldRef, ObjectOf, Pick, Place, Step, Threads};
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn profile(name: &str) -> String {
        format!("{}/tests/profiles/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    /// What the command writes for the struct `conn`.
    fn written(args: &[&str]) -> Result<(String, Case)> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("conn.toml");
        let (layout, out_text) = (profile("conn.pahole"), out.to_str().unwrap().to_owned());
        let given = [
            "new", "--struct", "conn", "--pahole", &layout, "--out", &out_text,
        ];
        let cli = Cli::try_parse_from(given.iter().chain(args)).unwrap();
        run(&cli.args)?;
        let text = std::fs::read_to_string(&out).unwrap();
        let case = Case::parse("conn", &text).unwrap();
        assert_eq!(case.struct_name, "conn");
        Ok((text, case))
    }

    fn refused(args: &[&str]) -> String {
        written(args).unwrap_err().to_string()
    }

    fn field(name: &str) -> FieldRef {
        FieldRef {
            of: ObjectOf::Struct,
            name: name.to_owned(),
            element: None,
        }
    }

    fn read_of(name: &str) -> Step {
        Step::Read {
            fields: vec![field(name)],
            bytes: None,
        }
    }

    fn write_of(name: &str) -> Step {
        Step::Write {
            field: field(name),
            if_changed: None,
        }
    }

    /// Role names, threads and steps.
    fn roles(case: &Case) -> Vec<(&str, Threads, &[Step])> {
        let steps = case.layouts[0].steps.iter();
        case.roles
            .iter()
            .zip(steps)
            .map(|(role, steps)| (role.name.as_str(), role.threads, steps.as_slice()))
            .collect()
    }

    #[test]
    fn a_case_without_profiles_has_the_layout_and_a_role_to_fill_in() {
        let (text, case) = written(&[]).unwrap();
        let layout = &case.layouts[0];
        assert_eq!((layout.bytes, layout.align), (128, 64));
        let fields: Vec<(&str, usize, usize, usize)> = layout
            .fields
            .iter()
            .map(|f| (f.name.as_str(), f.offset, f.bytes, f.count))
            .collect();
        assert_eq!(
            fields,
            [
                ("lock.val", 0, 4, 1),
                ("flags", 4, 4, 1),
                ("name", 8, 8, 1),
                ("state", 16, 1, 1),
                ("bytes", 64, 8, 1),
                ("u.p", 72, 8, 1),
                ("pos.x", 80, 4, 1),
                ("pos.y", 84, 4, 1),
                ("pad", 88, 1, 20),
                ("cb", 112, 8, 1),
            ]
        );
        assert!(text.contains("# { rmw = \"lock.val\" }"));
        assert_eq!(roles(&case)[0].2, []);
    }

    #[test]
    fn locked_loads_become_rmw_and_each_function_a_role() {
        let file = profile("script-full.txt");
        let (text, case) = written(&["--perf", &file, "--at", "0x404080..0x404280"]).unwrap();
        assert_eq!(case.objects.count, Count::Of(2));
        assert_eq!(case.objects.place, Place::Array);
        let found = roles(&case);
        assert_eq!(found.len(), 3);
        let (name, threads, steps) = &found[0];
        assert_eq!((*name, *threads), ("get", Threads::Share(0.493)));
        let pick = |which| Step::Pick {
            which,
            of: ObjectOf::Struct,
        };
        assert_eq!(*steps, [pick(Pick::At(0)), Step::Rmw(field("lock.val"))]);
        let (name, threads, steps) = &found[1];
        assert_eq!((*name, *threads), ("lookup", Threads::Share(0.338)));
        // 0x4040d0 is byte 80 of the first object.
        assert_eq!(
            *steps,
            [pick(Pick::Random), read_of("flags"), read_of("pos.x")]
        );
        let (name, _, steps) = &found[2];
        assert_eq!(*name, "account");
        assert_eq!(
            *steps,
            [pick(Pick::At(1)), read_of("bytes"), write_of("bytes")]
        );
        assert!(
            text.contains("29 records, 9 loads, 20 stores, 9 locked, 9 HITM local"),
            "{text}"
        );
        assert!(
            text.contains("15 records, 15 loads, 11 HITM local, 4 HITM remote"),
            "{text}"
        );
    }

    #[test]
    fn addresses_without_a_place_are_refused_with_the_reason() {
        let file = profile("mem-D.csv");
        let line = refused(&["--perf", &file]);
        assert!(
            line.contains("addresses and no types") && line.contains("--at START"),
            "{line}"
        );
        let line = refused(&["--perf", &file, "--at", "0x10000..0x20000"]);
        assert!(
            line.contains("none of 59 recorded uses lies in the objects"),
            "{line}"
        );
        let line = refused(&["--perf", &file, "--at", "table"]);
        assert!(line.contains("--elf"), "{line}");
        let line = refused(&["--perf", &file, "--at", "0x404080..0x404081"]);
        assert!(line.contains("shorter than one object"), "{line}");
        let (text, _) = written(&["--perf", &file, "--at", "0x404080"]).unwrap();
        assert!(
            text.contains("# Not counted: 13 records outside the objects"),
            "{text}"
        );
    }

    #[test]
    fn types_need_no_place_and_other_types_are_counted() {
        let file = profile("typeoff.txt");
        let (text, case) = written(&["--perf", &file]).unwrap();
        assert_eq!(case.objects.count, Count::Of(1));
        let found = roles(&case);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1), ("recorded", Threads::Rest));
        let expected = [
            read_of("lock.val"),
            write_of("lock.val"),
            read_of("flags"),
            write_of("bytes"),
        ];
        assert_eq!(found[0].2, expected);
        assert!(
            text.contains("Not counted: 3.03 % of other types"),
            "{text}"
        );
        assert!(text.contains("found no type for 6.06 %"), "{text}");
        let line = refused(&["--perf", &profile("typecln.txt")]);
        assert!(line.contains("too coarse"), "{line}");
    }

    #[test]
    fn tables_of_the_kernel_become_a_role_for_each_path() {
        let file = profile("cachelines.rst");
        let (text, case) = written(&["--perf", &file]).unwrap();
        let found = roles(&case);
        let names: Vec<_> = found.iter().map(|role| (role.0, role.1)).collect();
        assert_eq!(
            names,
            [("tx", Threads::Share(0.5)), ("rx", Threads::Share(0.5))]
        );
        let steps = [
            read_of("lock.val"),
            write_of("lock.val"),
            read_of("flags"),
            write_of("bytes"),
        ];
        assert_eq!(found[0].2, steps);
        assert_eq!(found[1].2[2], read_of("state"));
        assert!(
            text.contains("used in lock: the first stands for it"),
            "{text}"
        );
    }

    #[test]
    fn profiles_in_different_units_are_not_added() {
        let (one, other) = (profile("typeoff.txt"), profile("annotate-first.txt"));
        let line = refused(&["--perf", &one, "--perf", &other]);
        assert!(line.contains("cannot be added"), "{line}");
    }

    #[test]
    fn c2c_by_thread_becomes_roles_that_load() {
        for name in [
            "c2c-x86-tid.txt",
            "c2c-x86-tot.txt",
            "c2c-x86-dso.txt",
            "c2c-spe-peer.txt",
            "annotate-group.txt",
            "annotate-percent.txt",
            "annotate-period.txt",
            "typeoff-first.txt",
            "mem-D-p.csv",
            "c2c-double-line.txt",
        ] {
            let file = profile(name);
            let (text, _) = written(&["--perf", &file, "--at", "0x404080..0x404280"]).unwrap();
            assert!(text.contains("[[role]]"), "{name}");
        }
    }
}
