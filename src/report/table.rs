//! Verdicts as a person reads them in a terminal, and the same rows as CSV and JSON.
//!
//! Here: the order of the rows, alignment, colour. Not here: the verdicts themselves (`stats`),
//! the report of a run folder (`report::html`).

use super::arms::{Arm, Point};
use super::units;
use crate::results::{VerdictRow, verdicts_csv};
use anstyle::{AnsiColor, Style};
use std::io::IsTerminal;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned, for reading
    #[default]
    Table,
    /// The columns of verdicts.csv, then the times per fault
    Csv,
    /// An array of objects with the same names
    Json,
}

/// Whether standard output takes colour: a terminal, and `NO_COLOR` not set.
pub fn colour_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !refused
}

/// The verdicts in that format; ends with a line end unless there are none.
pub fn render(format: Format, verdicts: &[VerdictRow], arms: &[Arm], colour: bool) -> String {
    match format {
        Format::Table => table(verdicts, arms, colour),
        Format::Csv => verdicts_csv(verdicts, &TIMES, |row, name| {
            let layout = if name == TIMES[0] {
                &row.layout
            } else {
                &row.baseline
            };
            arm_of(row, layout, arms).map(|arm| arm.median_ns)
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
    pub baseline: (&'a str, Option<&'a Arm>),
    /// The rows, with the arm each is about.
    pub rows: Vec<(&'a VerdictRow, Option<&'a Arm>)>,
}

/// The rows by point, in the order they came in.
pub(super) fn groups<'a>(verdicts: &'a [VerdictRow], arms: &'a [Arm]) -> Vec<Group<'a>> {
    let mut groups: Vec<(Point, Group)> = Vec::new();
    for row in verdicts {
        let point = Point::from(row);
        let member = (row, arm_of(row, &row.layout, arms));
        let same = |(p, g): &&mut (Point, Group)| *p == point && g.baseline.0 == row.baseline;
        if let Some((_, group)) = groups.iter_mut().find(same) {
            group.rows.push(member);
            continue;
        }
        let group = Group {
            heading: format!(
                "{}, {}, {}, prefetch {}",
                row.scenario,
                units::count(row.threads, "thread"),
                row.placement,
                row.prefetch
            ),
            place: format!("{} on {}", row.backend, row.machine),
            baseline: (&row.baseline, arm_of(row, &row.baseline, arms)),
            rows: vec![member],
        };
        groups.push((point, group));
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn arm_of<'a>(row: &VerdictRow, layout: &str, arms: &'a [Arm]) -> Option<&'a Arm> {
    let point = Point::from(row);
    arms.iter()
        .find(|arm| arm.layout == layout && arm.point == point)
}

/// The cells of a row after its layout: time per fault, change, interval, blocks
/// with the invalid ones in brackets.
pub(super) fn cells(row: &VerdictRow, arm: Option<&Arm>) -> [String; 4] {
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

fn table(verdicts: &[VerdictRow], arms: &[Arm], colour: bool) -> String {
    let groups = groups(verdicts, arms);
    let mut text = String::new();
    let mut place = "";
    let names = verdicts.iter().flat_map(|row| [&row.layout, &row.baseline]);
    let layout_width = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let line = |layout: &str, figures: [&str; 3], verdict: &str, style: Style, blocks: &str| {
        let [time, change, interval] = figures;
        // Coloured after it is padded: escape sequences have no width.
        let verdict = styled(&format!("{verdict:<12}"), style, colour);
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
        text.push_str(&styled(&group.heading, Style::new().bold(), colour));
        text.push('\n');
        let names = ["time/fault", "change", "interval"];
        text.push_str(&line("layout", names, "verdict", plain, "blocks (invalid)"));
        let (name, arm) = group.baseline;
        let time = arm.map_or("-".to_owned(), |arm| units::time(arm.median_ns));
        text.push_str(&line(name, [&time, "", ""], "baseline", plain, ""));
        for (row, arm) in &group.rows {
            let [time, change, interval, blocks] = cells(row, *arm);
            let figures = [time.as_str(), &change, &interval];
            let style = style_of(&row.verdict);
            text.push_str(&line(&row.layout, figures, &row.verdict, style, &blocks));
        }
    }
    text
}

fn style_of(verdict: &str) -> Style {
    match verdict {
        "regression" => AnsiColor::Red.on_default().bold(),
        "improvement" => AnsiColor::Green.on_default().bold(),
        "inconclusive" => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    }
}

fn styled(text: &str, style: Style, colour: bool) -> String {
    if colour && style != Style::new() {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

fn json(verdicts: &[VerdictRow], arms: &[Arm]) -> String {
    #[derive(serde::Serialize)]
    struct Row<'a> {
        #[serde(flatten)]
        verdict: &'a VerdictRow,
        ns_per_fault: Option<f64>,
        baseline_ns_per_fault: Option<f64>,
    }
    let rows: Vec<Row> = verdicts
        .iter()
        .map(|row| Row {
            verdict: row,
            ns_per_fault: arm_of(row, &row.layout, arms).map(|arm| arm.median_ns),
            baseline_ns_per_fault: arm_of(row, &row.baseline, arms).map(|arm| arm.median_ns),
        })
        .collect();
    let text = serde_json::to_string_pretty(&rows).expect("numbers and strings make JSON");
    text + "\n"
}
