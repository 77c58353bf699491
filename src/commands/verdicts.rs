//! `hitm verdicts`: verdicts from rows alone; and the end of a run, which says the same.

use super::options::{FailOn, Format, Options, percent};
use super::{first_error, print};
use crate::error::{Error, Result, say};
use crate::experiment::{Arm, DEFAULT_MARGIN, Design, Ending, Sample, check_margin};
use crate::judge::{self, Compared, Terms, VerdictRow};
use crate::report::{self, Record, arms::arms, table};
use crate::results::{
    EnvironmentFile, RunFolder, folder_of, read_roles, read_rows, read_samples, samples_path,
};
use crate::stats::Verdict;
use crate::units;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Arguments of `hitm verdicts`.
#[derive(clap::Args)]
pub struct Args {
    /// Run folders, or files with the columns of samples.csv; each run is judged by itself, in
    /// however many of them its rows lie
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// How the verdicts are printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Equivalence margin in per cent [default: that of the rows, else of the environment.json
    /// beside them, else 2]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub margin: Option<f64>,
    /// The baseline of rows that do not say it, as in files of earlier versions
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<Arm>,
    /// Exit with status 1 if this is among the results: regression, undecided (inconclusive, depends
    /// or code-noise), or both; or if the A/A arm or the placebo fails
    #[arg(long, value_enum, value_name = "VERDICT,…", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,
}

/// Run it. Everything is read and judged before anything is printed.
pub fn run(args: Args) -> Result<()> {
    let read = read_rows(&args.files)?;
    for warning in &read.warnings {
        say(warning);
    }
    // Compared are all threads of one arm with all threads of another.
    let (all, of_roles): (Vec<_>, Vec<_>) =
        read.samples.into_iter().partition(|s| s.role.is_none());
    if !of_roles.is_empty() {
        say(format_args!(
            "{} rows are of the threads of one role only and are left out",
            of_roles.len()
        ));
    }
    let beside = |path: &PathBuf| samples_path(path).with_file_name("environment.json");
    let beside = args.files.iter().map(beside).filter(|path| path.exists());
    let environments = beside.map(|path| EnvironmentFile::read(&path));
    let environments: Vec<EnvironmentFile> = environments.collect::<Result<_>>()?;
    let folder = |path: &PathBuf| folder_of(&samples_path(path)).to_owned();
    let folders: BTreeSet<PathBuf> = args.files.iter().map(folder).collect();
    let runs = runs(all);
    let mut tables = String::new();
    let (mut rows, mut times) = (Vec::new(), Vec::new());
    for (run, samples) in &runs {
        let of_it = |design: &Design| design.run == *run;
        let recorded = |file: &&EnvironmentFile| file.design.as_ref().is_some_and(of_it);
        let records: Vec<&EnvironmentFile> = environments.iter().filter(recorded).collect();
        let terms = terms(&args, run, samples, &records)
            .map_err(|why| Error::Input(format!("run {run}: {why}")))?;
        let mut judged = judge::verdicts(samples, &terms);
        let mut taken = arms(samples, &judged);
        // The rows of a role may lie in several folders, as those of the run may.
        let mut roles: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for folder in &folders {
            for (role, rows) in read_roles(folder, samples)? {
                roles.entry(role).or_default().extend(rows);
            }
        }
        judged.extend(judge::verdicts_of_roles(&roles, &terms));
        for samples in roles.values() {
            taken.extend(arms(samples, &judged));
        }
        // A table has a group for each design point; those of two runs are never one.
        if runs.len() > 1 {
            tables += &format!("run {run}\n");
        }
        if let Some(banner) = table::banner(samples) {
            tables += &format!("{banner}\n\n");
        }
        tables += &table::render(Format::Table, &judged, &taken);
        rows.extend(judged);
        times.extend(taken);
    }
    if rows.is_empty() {
        say(format_args!("there is nothing to compare in these rows"));
    }
    print(&match args.format {
        Format::Table => tables,
        format => table::render(format, &rows, &times),
    })?;
    fail_on(&args.fail_on, &rows, 0)
}

/// The rows of each run, in the order of the file.
fn runs(samples: Vec<Sample>) -> Vec<(String, Vec<Sample>)> {
    let mut runs: Vec<(String, Vec<Sample>)> = Vec::new();
    for sample in samples {
        match runs.iter_mut().find(|(run, _)| *run == sample.run) {
            Some((_, rows)) => rows.push(sample),
            None => runs.push((sample.run.clone(), vec![sample])),
        }
    }
    runs
}

/// What a run is judged by: its rows, else its records, of which each folder of a run in several
/// has one, else what is assumed and said.
fn terms(
    args: &Args,
    run: &str,
    samples: &[Sample],
    records: &[&EnvironmentFile],
) -> Result<Terms> {
    let designs = || records.iter().filter_map(|record| record.design.as_ref());
    let design = designs().next();
    if designs().any(|other| Some(other.margin) != design.map(|design| design.margin)) {
        return Err(Error::Input(
            "the environment.json files beside its rows differ in margin".to_owned(),
        ));
    }
    let recorded = samples.iter().find_map(|s| s.baseline.as_ref());
    let recorded = recorded.or_else(|| design.and_then(|design| design.arms.first()));
    let baseline = match (recorded, &args.baseline) {
        (Some(there), Some(asked)) if there != asked => {
            return Err(Error::Input(format!(
                "its baseline is {there}, and --baseline is {asked}; leave it out"
            )));
        }
        (Some(there), _) => there.clone(),
        (None, Some(asked)) => asked.clone(),
        (None, None) => {
            return Err(Error::Input(
                "its rows do not say what they are compared with; give --baseline NAME".to_owned(),
            ));
        }
    };
    if samples.iter().all(|s| s.arm != baseline) {
        let arms: BTreeSet<String> = samples.iter().map(|s| s.arm.to_string()).collect();
        let arms = arms.iter().map(String::as_str);
        return Err(Error::unknown("baseline", &baseline.to_string(), arms));
    }
    let is_like_first = |s: &Sample| {
        let first = &samples[0];
        (s.backend, &s.machine, &s.label) == (first.backend, &first.machine, &first.label)
            && (&s.baseline, s.margin) == (&first.baseline, first.margin)
    };
    if !samples.iter().all(is_like_first) {
        return Err(Error::Input(
            "its rows differ in backend, machine, label, baseline or margin, so that they are not \
             of one run"
                .to_owned(),
        ));
    }
    let recorded = samples.iter().find_map(|s| s.margin);
    let recorded = recorded.or_else(|| design.map(|design| design.margin));
    recorded.map_or(Ok(()), check_margin)?;
    let margin = args.margin.map(|percent| percent / 100.0).or(recorded);
    let margin = margin.unwrap_or_else(|| {
        say(format_args!(
            "the margin of run {run} is not recorded; {} % is taken",
            100.0 * DEFAULT_MARGIN
        ));
        DEFAULT_MARGIN
    });
    let mut endings = records.iter().map(|record| record.run.ended);
    let recorded = endings.next().flatten();
    let recorded = recorded.filter(|_| endings.all(|ended| ended == recorded));
    let ending = recorded.or_else(|| judge::ending_of(samples));
    let ending = ending.unwrap_or_else(|| {
        say(format_args!(
            "how run {run} ended is not recorded; taken as interrupted: its latest regular \
             look counts"
        ));
        Ending::Interrupted
    });
    Ok(Terms {
        baseline,
        margin,
        ending,
    })
}

/// What is said of a run on stdout when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Verdicts, counters that move, and how it ended.
    All,
    /// Nothing: several runs are printed together.
    Nothing,
}

/// What a run leaves when its last block is done: verdicts, in its folder and on stdout, then the
/// report. Whatever of it fails, the rest is done; the first error is returned.
pub fn conclude(
    folder: RunFolder,
    environment: &EnvironmentFile,
    design: &Design,
    ending: Ending,
    options: &Options,
    said: Said,
) -> Result<()> {
    let (dir, format) = (folder.path().to_owned(), options.format);
    let recorded = folder.write_environment(environment);
    let samples = match read_samples(&samples_path(&dir)) {
        Ok(file) => file.samples,
        Err(error) => return first_error([recorded, Err(error)]),
    };
    let terms = Terms {
        baseline: design.arms[0].clone(),
        margin: design.margin,
        ending,
    };
    let mut rows = judge::verdicts(&samples, &terms);
    let roles = read_roles(&dir, &samples);
    if let Ok(roles) = &roles {
        rows.extend(judge::verdicts_of_roles(roles, &terms));
    }
    let written = folder.write_verdicts(&rows);
    drop(folder);
    if samples.is_empty() {
        return first_error([recorded, written]);
    }
    let mut times = arms(&samples, &rows);
    for samples in roles.iter().flat_map(|roles| roles.values()) {
        times.extend(arms(samples, &rows));
    }
    let printed = match said {
        Said::All if format == Format::Table => {
            let guesses = report::guesses::text(design, &samples);
            let banner = table::banner(&samples).map(|text| text + "\n\n");
            let table = table::render(format, &rows, &times);
            print(&(banner.unwrap_or_default() + &table + &guesses))
        }
        Said::All => print(&table::render(format, &rows, &times)),
        Said::Nothing => Ok(()),
    };
    let counters = format == Format::Table && said == Said::All;
    let reported = report(&dir, counters);
    if let Some(disturbed) = table::disturbed(&samples) {
        say(disturbed);
    }
    let points = design.points.iter();
    let missing = points.filter(|point| samples.iter().all(|s| s.point != **point));
    let missing = missing.count();
    let end = match counters {
        true => {
            let mut said = table::ending(ending, &rows, missing, &dir);
            if reported.is_ok() {
                said += &format!(" Report: {}", dir.join("report.html").display());
            }
            print(&format!("\n{said}\n"))
        }
        false => Ok(()),
    };
    let found = fail_on(&options.fail_on, &rows, missing);
    let roles = roles.map(|_| ());
    first_error([recorded, written, roles, printed, reported, end, found])
}

/// Counters on stdout, and the report and its plots beside the rows.
fn report(dir: &Path, counters: bool) -> Result<()> {
    let record = Record::read(&[dir])?;
    let counted = report::why::counted(&record);
    let printed = match counters {
        true => print(&table::counters(&counted)),
        false => Ok(()),
    };
    first_error([printed, report::write(&record, dir).map(|_| ())])
}

/// So many findings of a kind are named, the others counted.
const NAMED: usize = 4;

/// What --fail-on asks for, if it is among the rows that are shown.
///
/// `missing`: design points that not one block was taken at.
fn fail_on(asked: &[FailOn], rows: &[VerdictRow], missing: usize) -> Result<()> {
    if asked.is_empty() {
        return Ok(());
    }
    let place = |row: &VerdictRow| {
        let (scenario, threads) = (&row.point.scenario, row.point.threads);
        let state = match row.is_whole() {
            true => String::new(),
            false => format!(", {}", report::arms::state(&row.stratum)),
        };
        format!("{scenario}, {}{state}", units::count(threads, "thread"))
    };
    let listed = |what: &str, is_it: &dyn Fn(&VerdictRow) -> bool| {
        // The attribution is no comparison of layouts: it tells what the prefetcher adds to one.
        let rows = judge::shown(rows).filter(|row| row.prefetch != Compared::OnOverOff);
        let names = rows.filter(|row| is_it(row)).map(|row| {
            let (arm, baseline) = (&row.arm, &row.baseline);
            format!("{arm} against {baseline} ({})", place(row))
        });
        let names: Vec<String> = names.collect();
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let first = &names[..names.len().min(NAMED)];
        (!names.is_empty()).then(|| format!("{what}: {}{more}", first.join(", ")))
    };
    let is_layout = |row: &VerdictRow| matches!(row.arm, Arm::Layout { .. });
    let mut found = Vec::new();
    // A verdict of a run that fails its own controls is worth nothing, whatever it says.
    found.extend(listed(
        "baseline-again differs from the baseline, so no verdict here is to be trusted",
        &|row| row.arm == Arm::Again && row.verdict.is_difference(),
    ));
    found.extend(listed("too few blocks to say how noisy it was", &|row| {
        row.arm == Arm::Again && row.is_whole() && row.blocks == 0
    }));
    found.extend(listed(
        "baseline-recompiled differs from the baseline: code alone makes a difference",
        &|row| row.arm == Arm::Recompiled && row.verdict.is_difference(),
    ));
    if asked.contains(&FailOn::Regression) {
        found.extend(listed("regressions", &|row| {
            is_layout(row) && row.verdict == Verdict::Regression
        }));
    }
    if asked.contains(&FailOn::Undecided) {
        found.extend(listed("undecided", &|row| {
            let no_answer = [Verdict::Inconclusive, Verdict::Depends, Verdict::CodeNoise];
            is_layout(row) && no_answer.contains(&row.verdict)
        }));
        if missing > 0 {
            let points = units::count(missing, "design point");
            found.push(format!("undecided: {points} without one block"));
        }
        if rows.is_empty() {
            found.push("undecided: there is not one verdict".to_owned());
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(Error::Found(found.join("; "))),
    }
}
