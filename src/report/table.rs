//! Verdicts as a person reads them in a terminal, and the same rows as CSV and JSON.
//!
//! Here: the order of the rows, alignment, colour. Not here: the verdicts themselves (`stats`),
//! the report of a run folder (`report::html`), whether colour is wanted (`commands::print`).

use super::arms::{ArmTime, Site};
use super::units;
use super::why::{Counted, CounterRow, SCALED};
use crate::experiment::{Arm, BackendKind, Code, Ending, Point, Sample};
use crate::judge::{Compared, VerdictRow};
use crate::results::verdicts_csv;
use crate::stats::Verdict;
use anstyle::{AnsiColor, Style};
use std::fmt::Display;
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

/// `one-vma, 2 threads, compact`.
pub(super) fn place_in_design(point: &Point) -> String {
    format!(
        "{}, {}, {}",
        point.scenario,
        units::count(point.threads, "thread"),
        point.placement
    )
}

/// The rows by point, in the order they came in.
pub(super) fn groups<'a>(verdicts: &'a [VerdictRow], arms: &'a [ArmTime]) -> Vec<Group<'a>> {
    let mut groups: Vec<(Site, Group)> = Vec::new();
    for row in verdicts {
        let site = Site::from(row);
        let member = (row, arm_of(row, &row.arm, arms));
        let same = |(s, g): &&mut (Site, Group)| *s == site && *g.baseline.0 == row.baseline;
        if let Some((_, group)) = groups.iter_mut().find(same) {
            group.rows.push(member);
            continue;
        }
        let attributes = row.prefetch == Compared::OnOverOff;
        let group = Group {
            heading: match attributes {
                true => format!("{}; {ATTRIBUTION}", place_in_design(&site.point)),
                false => format!(
                    "{}, prefetch {}",
                    place_in_design(&site.point),
                    row.prefetch
                ),
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
        other.arm == row.arm && other.baseline == row.baseline && Site::from(*other) == site
    };
    verdicts.iter().find(is_it)
}

/// The effects on and off that an attribution row compares, as changes.
pub(super) fn effects(row: &VerdictRow, verdicts: &[VerdictRow]) -> [String; 2] {
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
pub(super) fn cells(row: &VerdictRow, arm: Option<&ArmTime>) -> [String; 4] {
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
    [
        arm.map_or("-".to_owned(), |arm| units::time(arm.median_ns)),
        row.ratio
            .map_or("-".to_owned(), |ratio| units::change(ratio, width)),
        interval,
        blocks,
    ]
}

fn table(verdicts: &[VerdictRow], arms: &[ArmTime]) -> String {
    let groups = groups(verdicts, arms);
    let mut text = String::new();
    let mut place = "";
    let names = verdicts.iter().flat_map(|row| [&row.arm, &row.baseline]);
    let layout_width = names
        .map(|name| name.to_string().chars().count())
        .max()
        .unwrap_or(0);
    let line = |layout: &dyn Display,
                figures: [&str; 3],
                verdict: &str,
                style: Style,
                blocks: &str| {
        let [time, change, interval] = figures;
        let verdict = padded(verdict, style);
        let text = format!(
            "  {layout:<layout_width$}  {time:>10}  {change:>9}  {interval:>19}  {verdict}  {blocks}"
        );
        text.trim_end().to_owned() + "\n"
    };
    let plain = Style::new();
    for group in &groups {
        if group.place != place {
            place = &group.place;
            text.push_str(place);
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&styled(&group.heading, Style::new().bold()));
        text.push('\n');
        if group.attributes {
            let line = |layout: &dyn Display, figures: [&str; 4], verdict: &str, style: Style| {
                let [on, off, adds, interval] = figures;
                let verdict = padded(verdict, style);
                let text = format!(
                    "  {layout:<layout_width$}  {on:>10}  {off:>9}  {adds:>9}  {interval:>17}  {verdict}"
                );
                text.trim_end().to_owned() + "\n"
            };
            let names = ["with it on", "off", "adds", "interval"];
            text.push_str(&line(&"layout", names, "verdict", plain));
            for (row, arm) in &group.rows {
                let [on, off] = effects(row, verdicts);
                let [_, adds, interval, _] = cells(row, *arm);
                let figures = [on.as_str(), &off, &adds, &interval];
                let verdict = row.verdict;
                text.push_str(&line(&row.arm, figures, verdict.name(), style_of(verdict)));
            }
            continue;
        }
        let names = ["time/fault", "change", "interval"];
        text.push_str(&line(
            &"layout",
            names,
            "verdict",
            plain,
            "blocks (invalid)",
        ));
        let (name, arm) = group.baseline;
        let time = arm.map_or("-".to_owned(), |arm| units::time(arm.median_ns));
        text.push_str(&line(name, [&time, "", ""], "baseline", plain, ""));
        for (row, arm) in &group.rows {
            let [time, change, interval, blocks] = cells(row, *arm);
            let figures = [time.as_str(), &change, &interval];
            let (verdict, style) = (row.verdict.name(), style_of(row.verdict));
            text.push_str(&line(&row.arm, figures, verdict, style, &blocks));
        }
    }
    text
}

/// Width of a terminal that the counters keep within.
const TERMINAL: usize = 100;
/// Widths of a value and of the change beside it.
const VALUE: usize = 8;

/// Counters per fault at each design point where some move with the layout: those that move most,
/// the value and its change against the baseline, as many as fit. Empty where none moves.
pub fn counters(counted: &[Counted]) -> String {
    let mut text = String::new();
    for at in counted.iter().filter(|at| at.moving().next().is_some()) {
        let site = &at.site;
        let heading = format!(
            "{}, prefetch {}; counters per fault that move with the layout",
            place_in_design(&site.point),
            site.prefetch
        );
        text.push('\n');
        text.push_str(&styled(&heading, Style::new().bold()));
        text.push('\n');
        let layouts: Vec<String> = at.arms.iter().map(Arm::to_string).collect();
        let layout_width = layouts.iter().map(|name| name.chars().count()).max();
        let layout_width = layout_width.unwrap_or(0).max("layout".len());
        let mut used = 2 + layout_width;
        let (mut shown, mut left_out): (Vec<(&CounterRow, usize)>, Vec<&str>) = Default::default();
        for row in at.moving() {
            let width = row.marked().chars().count().max(2 * VALUE + 1);
            // The widest first that does not fit ends the table, so that order stays order.
            if left_out.is_empty() && (shown.is_empty() || used + 2 + width <= TERMINAL) {
                used += 2 + width;
                shown.push((row, width));
            } else {
                left_out.push(&row.name);
            }
        }
        let mut line = |layout: &str, cells: Vec<String>| {
            let mut line = format!("  {layout:<layout_width$}");
            for (cell, (_, width)) in cells.iter().zip(&shown) {
                line.push_str(&format!("  {cell:>width$}"));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        };
        line(
            "layout",
            shown.iter().map(|(row, _)| row.marked()).collect(),
        );
        for (n, layout) in layouts.iter().enumerate() {
            let cell = |(row, _): &(&CounterRow, usize)| {
                let change = if n == 0 { String::new() } else { row.change(n) };
                format!("{:>VALUE$} {change:>VALUE$}", row.figure(row.values[n]))
            };
            line(layout, shown.iter().map(cell).collect());
        }
        if shown.iter().any(|(row, _)| row.scaled) {
            text.push_str(&format!("  {SCALED}\n"));
        }
        if !left_out.is_empty() {
            text.push_str(&also(&left_out));
        }
    }
    text
}

/// Which counters move besides, on lines that fit.
fn also(names: &[&str]) -> String {
    let (mut text, mut line) = (String::new(), "  in report.html too:".to_owned());
    for (n, name) in names.iter().enumerate() {
        let comma = if n + 1 < names.len() { "," } else { "" };
        if line.len() + 1 + name.len() + comma.len() > TERMINAL {
            text.push_str(&line);
            text.push('\n');
            line = "   ".to_owned();
        }
        line.push_str(&format!(" {name}{comma}"));
    }
    text + &line + "\n"
}

/// How a run in the folder `dir` ended. `missing`: design points that it did not come to.
pub fn ending(ending: Ending, rows: &[VerdictRow], missing: usize, dir: &Path) -> String {
    let undecided = rows.iter().filter(|row| !row.verdict.is_decided()).count();
    let mut text = match ending {
        Ending::Decided => "Every verdict is decided.".to_owned(),
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
            format!("The budget is spent with {undecided} of {all} verdicts undecided{resume}.")
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

fn style_of(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Regression => AnsiColor::Red.on_default().bold(),
        Verdict::Improvement => AnsiColor::Green.on_default().bold(),
        Verdict::Inconclusive => AnsiColor::Yellow.on_default(),
        Verdict::Equivalent => Style::new(),
    }
}

fn styled(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// A verdict as wide as the widest: escape sequences have no width, and what pads it has no style.
fn padded(verdict: &str, style: Style) -> String {
    let width = 12_usize.saturating_sub(verdict.chars().count());
    format!("{}{:width$}", styled(verdict, style), "")
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
