//! Verdicts as a person reads them in a terminal, and the same rows as CSV and JSON.
//!
//! Here: the order of the rows, their words, colour. Not here: the verdicts themselves (`judge`),
//! alignment (`columns`), the report of a run folder (`report::html`).

use super::arms::{ArmTime, Site, place_in_design, state};
use super::columns::{Cell, Columns, WIDTH, wrap};
use super::why::{Counted, CounterRow, SCALED};
use crate::experiment::{Arm, BackendKind, Code, Ending, Pace, Sample, Stratum};
use crate::judge::{Compared, Factor, VerdictRow, shown};
use crate::results::verdicts_csv;
use crate::stats::Verdict;
use crate::units;
use anstyle::{AnsiColor, Style};
use std::collections::BTreeSet;
use std::iter;
use std::path::Path;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned, for reading
    #[default]
    Table,
    /// Comma-separated rows with a header
    Csv,
    /// Objects with the same names
    Json,
}

/// The verdicts in that format, a table in colour; ends with a line end unless there are none.
pub fn render(format: Format, verdicts: &[VerdictRow], arms: &[ArmTime]) -> String {
    match format {
        Format::Table => table(verdicts, arms),
        Format::Csv => verdicts_csv(verdicts, &TIMES, |row, name| {
            let arm = if name == TIMES[0] {
                &row.arm
            } else {
                &row.baseline
            };
            arm_of(row, arm, arms).map(|arm| arm.median_ns)
        }),
        Format::Json => json(verdicts, arms),
    }
}

/// What CSV and JSON have beyond the columns of `verdicts.csv`: median times per fault.
const TIMES: [&str; 2] = ["ns_per_fault", "baseline_ns_per_fault"];

/// Rows that are compared at one point with one baseline; the words of a table.
pub(super) struct Group<'a> {
    /// `one-vma, 2 threads, compact`, and what else tells it from other groups.
    pub heading: String,
    /// `native on MACHINE`.
    pub place: String,
    /// Name and time of the baseline.
    pub baseline: (&'a Arm, Option<&'a ArmTime>),
    /// The rows, with the arm each is about.
    pub rows: Vec<(&'a VerdictRow, Option<&'a ArmTime>)>,
    /// Whether the rows compare effects with the prefetcher on and off, rather than times.
    pub attributes: bool,
}

/// What an attribution row attributes.
pub(super) const ATTRIBUTION: &str = "attribution: what the prefetcher adds to the effect";

impl<'a> Group<'a> {
    /// What the figures of a row are.
    pub fn columns(&self) -> &'static [&'static str] {
        match self.attributes {
            true => &["with it on", "off", "adds", "interval"],
            false => &["time/fault", "change", "interval"],
        }
    }

    /// The rows as text; `verdicts` are all there are.
    pub fn lines(&self, verdicts: &[VerdictRow]) -> Vec<Line> {
        let (name, arm) = self.baseline;
        let time = arm.map_or("-".to_owned(), |arm| units::time(arm.median_ns));
        let baseline = Line {
            name: name.to_string(),
            figures: vec![time, String::new(), String::new()],
            verdict: None,
            depends_on: String::new(),
            blocks: String::new(),
            few: arm.is_some_and(ArmTime::is_of_few),
            tail: None,
        };
        let line = |(row, arm): &(&'a VerdictRow, Option<&ArmTime>)| {
            let [time, change, interval, blocks] = cells(row, *arm);
            let figures = match self.attributes {
                true => [effects(row, verdicts).into(), vec![change, interval]].concat(),
                false => vec![time, change, interval],
            };
            Line {
                name: match row.is_whole() {
                    true => row.arm.to_string(),
                    false => format!("  {}", state(&row.stratum)),
                },
                figures,
                verdict: Some(row.verdict),
                depends_on: depends_on(row),
                blocks,
                few: arm.is_some_and(|arm| arm.is_of_few()),
                tail: tail(row),
            }
        };
        let baseline = (!self.attributes).then_some(baseline);
        baseline
            .into_iter()
            .chain(self.rows.iter().map(line))
            .collect()
    }
}

/// A row as text.
pub(super) struct Line {
    /// The layout; or, indented, the state of the machine that the layout above it is compared in.
    pub name: String,
    /// One for each of [`Group::columns`].
    pub figures: Vec<String>,
    /// None for the baseline.
    pub verdict: Option<Verdict>,
    /// What a verdict `depends` on, in words.
    pub depends_on: String,
    /// Blocks, with the invalid ones in brackets.
    pub blocks: String,
    /// Whether its time is of few samples.
    pub few: bool,
    /// What the interval does not see.
    pub tail: Option<String>,
}

/// `a tail: in 6.2 % of the blocks 1.90 times as slow as in the others`.
fn tail(row: &VerdictRow) -> Option<String> {
    let (share, ratio) = row.tail_share.zip(row.tail_ratio)?;
    let times = match ratio >= 1.0 {
        true => format!("{ratio:.2} times as slow"),
        false => format!("{:.2} times as fast", 1.0 / ratio),
    };
    let percent = 100.0 * share;
    Some(format!(
        "a tail: in {percent:.1} % of the blocks {times} as in the others"
    ))
}

impl Line {
    /// The verdict as a word.
    pub fn word(&self) -> &'static str {
        self.verdict.map_or("baseline", Verdict::name)
    }
}

/// What the verdict depends on, in words.
fn depends_on(row: &VerdictRow) -> String {
    let is_one = |factor: &&Factor| row.depends_on.split(';').any(|name| name == factor.name());
    let words: Vec<&str> = Factor::ALL
        .iter()
        .filter(is_one)
        .map(|factor| match factor {
            Factor::Slot => "slot",
            Factor::Transfer => "line transfer",
            Factor::Pace => "pace",
        })
        .collect();
    words.join(", ")
}

/// What marks a time of few samples, and what that means.
pub(super) const FEW: (&str, &str) = ("*", "* of fewer than eight usable samples");

/// The rows by point, in the order they came in.
pub(super) fn groups<'a>(verdicts: &'a [VerdictRow], arms: &'a [ArmTime]) -> Vec<Group<'a>> {
    let mut groups: Vec<(Site, Group)> = Vec::new();
    for row in shown(verdicts) {
        let site = Site::from(row);
        // Times are over all states.
        let time = row.is_whole().then(|| arm_of(row, &row.arm, arms));
        let member = (row, time.flatten());
        let same = |(s, g): &&mut (Site, Group)| *s == site && *g.baseline.0 == row.baseline;
        if let Some((_, group)) = groups.iter_mut().find(same) {
            group.rows.push(member);
            continue;
        }
        let attributes = row.prefetch == Compared::OnOverOff;
        let group = Group {
            heading: match attributes {
                true => format!("{}; {ATTRIBUTION}", place_in_design(&site.point)),
                false => site.title() + &states(verdicts, &site),
            },
            attributes,
            place: format!("{} on {}", row.backend, row.machine),
            baseline: (&row.baseline, arm_of(row, &row.baseline, arms)),
            rows: vec![member],
        };
        groups.push((site, group));
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The states of the machine that were seen at a site, as far as they say what its rows are true of:
/// `; line transfers: 20 to 60 ns`.
fn states(verdicts: &[VerdictRow], site: &Site) -> String {
    let at = verdicts.iter().filter(|row| Site::from(*row) == *site);
    let strata: Vec<Stratum> = at.map(|row| row.stratum).collect();
    let transfers: BTreeSet<_> = strata.iter().filter_map(|at| at.transfer_ns).collect();
    let of = |transfer_ns| {
        state(&Stratum {
            transfer_ns: Some(transfer_ns),
            ..Stratum::default()
        })
    };
    let transfers: Vec<String> = transfers.into_iter().map(of).collect();
    let mut text = String::new();
    if !transfers.is_empty() {
        text += &format!("; line transfers: {}", transfers.join(" and "));
    }
    if strata.iter().any(|at| at.pace == Some(Pace::Shared)) {
        text += "; some on shared cores";
    }
    text
}

/// The effect of the layout of an attribution row with the prefetcher `on` or `off`.
pub(super) fn effect<'a>(
    row: &VerdictRow,
    state: Compared,
    verdicts: &'a [VerdictRow],
) -> Option<&'a VerdictRow> {
    let site = Site {
        prefetch: state,
        ..Site::from(row)
    };
    let is_it = |other: &&VerdictRow| {
        other.arm == row.arm
            && other.baseline == row.baseline
            && other.stratum == row.stratum
            && Site::from(*other) == site
    };
    verdicts.iter().find(is_it)
}

/// The effects on and off that an attribution row compares, as changes.
fn effects(row: &VerdictRow, verdicts: &[VerdictRow]) -> [String; 2] {
    [Compared::On, Compared::Off].map(|state| {
        let [_, change, ..] = match effect(row, state, verdicts) {
            Some(effect) => cells(effect, None),
            None => return "-".to_owned(),
        };
        change
    })
}

fn arm_of<'a>(row: &VerdictRow, arm: &Arm, arms: &'a [ArmTime]) -> Option<&'a ArmTime> {
    let site = Site::from(row);
    arms.iter()
        .find(|time| time.arm == *arm && time.site == site)
}

/// The cells of a row after its layout: time per fault, change, interval, blocks
/// with the invalid ones in brackets.
fn cells(row: &VerdictRow, arm: Option<&ArmTime>) -> [String; 4] {
    let width = match (row.ratio_low, row.ratio_high) {
        (Some(low), Some(high)) => high - low,
        _ => f64::INFINITY,
    };
    let interval = match (row.ratio_low, row.ratio_high) {
        (Some(low), Some(high)) => units::change_interval(low, high),
        _ => "-".to_owned(),
    };
    let blocks = match row.blocks_invalid {
        0 => row.blocks.to_string(),
        invalid => format!("{} ({invalid})", row.blocks),
    };
    let none = || match row.is_whole() {
        true => "-".to_owned(),
        false => String::new(),
    };
    [
        arm.map_or_else(none, |arm| units::time(arm.median_ns)),
        row.ratio
            .map_or("-".to_owned(), |ratio| units::change(ratio, width)),
        interval,
        blocks,
    ]
}

fn table(verdicts: &[VerdictRow], arms: &[ArmTime]) -> String {
    let mut text = String::new();
    let mut place = String::new();
    for group in groups(verdicts, arms) {
        let heading = styled(&group.heading, Style::new().bold());
        let table = rows(&group, verdicts);
        if group.place != place {
            text += &format!("{}\n", group.place);
            place = group.place;
        }
        text += &format!("\n{heading}\n{table}");
    }
    text
}

/// The rows of a group. Those of an attribution have no room for blocks.
fn rows(group: &Group, verdicts: &[VerdictRow]) -> Columns {
    let blocks = |text: &str| (!group.attributes).then(|| Cell::from(text));
    let figures = group.columns();
    let mut table = Columns::new(format!("<{}<<", ">".repeat(figures.len())));
    let names = iter::once("  layout").chain(figures.iter().copied());
    let names = names.chain(["verdict"]).map(Cell::from);
    table.row(names.chain(blocks("blocks (invalid)")));
    let lines = group.lines(verdicts);
    let few = lines.iter().any(|line| line.few);
    for line in lines {
        let figure = |(at, text): (usize, String)| match (at, few) {
            (0, true) if line.few => {
                Cell::styled(format!("{text}{}", FEW.0), Style::new().dimmed())
            }
            (0, true) => Cell::from(text + " "),
            _ => Cell::from(text),
        };
        let style = line.verdict.map_or(Style::new(), style_of);
        let verdict = Cell::styled(line.word(), style);
        let name = Cell::from(format!("  {}", line.name));
        let cells = iter::once(name).chain(line.figures.into_iter().enumerate().map(figure));
        table.row(cells.chain([verdict]).chain(blocks(&line.blocks)));
        if let Some(tail) = line.tail {
            table.text(format!("    {tail}\n"));
        }
    }
    if few {
        table.text(format!("  {}\n", FEW.1));
    }
    table
}

/// Width of a value and of the change beside it.
const VALUE: usize = 8;

/// Counters per fault at each design point where some move with the layout: those that move most,
/// the value and its change against the baseline, as many as fit. Empty where none moves.
pub fn counters(counted: &[Counted]) -> String {
    let mut text = String::new();
    for at in counted.iter().filter(|at| at.moving().next().is_some()) {
        let heading = at.site.title() + "; counters per fault that move with the layout";
        let layouts: Vec<String> = at.arms.iter().map(indented).collect();
        let mut used = layouts.iter().map(|name| name.chars().count()).max();
        // The first that does not fit ends the table, so that order stays order.
        let fits = |row: &&CounterRow| {
            let width = row.marked().chars().count().max(2 * VALUE + 1);
            used = used.map(|used| used + 2 + width);
            used.is_none_or(|used| used <= WIDTH)
        };
        let fitting = at.moving().take_while(fits).count().max(1);
        let shown: Vec<&CounterRow> = at.moving().take(fitting).collect();
        let mut table = Columns::new("<".to_owned() + &">".repeat(shown.len()));
        let names = shown.iter().map(|row| row.marked());
        table.row(iter::once("  layout".to_owned()).chain(names));
        for (n, layout) in layouts.into_iter().enumerate() {
            let cells = shown.iter().map(|row| {
                let change = if n == 0 { String::new() } else { row.change(n) };
                format!("{:>VALUE$} {change:>VALUE$}", row.figure(row.values[n]))
            });
            table.row(iter::once(layout).chain(cells));
        }
        if shown.iter().any(|row| row.scaled) {
            table.text(format!("  {SCALED}\n"));
        }
        let left_out: Vec<&str> = at.moving().skip(fitting).map(|r| r.name.as_str()).collect();
        if !left_out.is_empty() {
            let names = format!("in report.html too: {}", left_out.join(", "));
            table.text(wrap(&names, "  "));
        }
        text += &format!("\n{}\n{table}", styled(&heading, Style::new().bold()));
    }
    text
}

/// The name of an arm at the beginning of a row.
fn indented(arm: &Arm) -> String {
    format!("  {arm}")
}

/// How a run in the folder `dir` ended. `missing`: design points that it did not come to.
pub fn ending(ending: Ending, rows: &[VerdictRow], missing: usize, dir: &Path) -> String {
    // Where it depends, the answers are those of the states.
    let rows = shown(rows).filter(|row| row.verdict != Verdict::Depends);
    let rows: Vec<&VerdictRow> = rows.collect();
    let undecided = rows.iter().filter(|row| !row.verdict.is_decided()).count();
    let mut text = match ending {
        Ending::Decided if undecided == 0 => "Every verdict is decided.".to_owned(),
        Ending::Decided => format!(
            "Every verdict was decided when the last blocks were taken; with them, {undecided} of {} \
             are not.",
            rows.len()
        ),
        Ending::BudgetSpent if undecided + missing == 0 => {
            "The budget is spent; every verdict is decided.".to_owned()
        }
        Ending::BudgetSpent => {
            let resume = match rows.first().map(|row| row.backend) {
                Some(BackendKind::Native) => {
                    format!("; `hitm run --resume {}` goes on", dir.display())
                }
                _ => String::new(),
            };
            let all = rows.len();
            format!("The budget is spent with {undecided} of {all} lines undecided{resume}.")
        }
        Ending::BlocksTaken => "All blocks are taken.".to_owned(),
        Ending::Interrupted => "Interrupted.".to_owned(),
    };
    if missing > 0 {
        let points = units::count(missing, "design point");
        text += &format!(" Not one block was taken at {points}.");
    }
    text
}

/// What spoiled most of the samples, if much was spoiled.
pub fn disturbed(samples: &[Sample]) -> Option<String> {
    let invalid = || samples.iter().filter(|s| !s.valid);
    let count = invalid().count();
    if count == 0 || count * 5 < samples.len() {
        return None;
    }
    let with = |code: &&Code| invalid().filter(|s| s.invalid_code.contains(code)).count();
    let most = Code::ALL.iter().max_by_key(with)?;
    Some(format!(
        "{count} of {} samples were disturbed and set aside; mostly, {}",
        samples.len(),
        most.advice()
    ))
}

/// Of a run of which less than half could be used: said before anything else.
pub fn banner(samples: &[Sample]) -> Option<String> {
    let usable = samples.iter().filter(|s| s.valid).count();
    let share = match samples.len() {
        _ if 2 * usable >= samples.len() => return None,
        all => format!("{usable} of {}", units::count(all, "sample")),
    };
    Some(match usable {
        0 => format!("Nothing was measured: {share} could be used."),
        _ => format!("Hardly anything was measured: only {share} could be used."),
    })
}

fn style_of(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Regression => AnsiColor::Red.on_default().bold(),
        Verdict::Improvement => AnsiColor::Green.on_default().bold(),
        Verdict::Inconclusive => AnsiColor::Yellow.on_default(),
        Verdict::Depends => AnsiColor::Magenta.on_default().bold(),
        Verdict::Equivalent | Verdict::CodeNoise => Style::new(),
    }
}

fn styled(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

fn json(verdicts: &[VerdictRow], arms: &[ArmTime]) -> String {
    #[derive(serde::Serialize)]
    struct WithTimes<'a> {
        #[serde(flatten)]
        verdict: &'a VerdictRow,
        ns_per_fault: Option<f64>,
        baseline_ns_per_fault: Option<f64>,
    }
    let rows: Vec<WithTimes> = verdicts
        .iter()
        .map(|row| WithTimes {
            verdict: row,
            ns_per_fault: arm_of(row, &row.arm, arms).map(|arm| arm.median_ns),
            baseline_ns_per_fault: arm_of(row, &row.baseline, arms).map(|arm| arm.median_ns),
        })
        .collect();
    let text = serde_json::to_string_pretty(&rows).expect("numbers and strings make JSON");
    text + "\n"
}
