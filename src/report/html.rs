//! `report.html`: one page that holds everything, plots included, and needs nothing else.
//!
//! Here: what the page says. Not here: the plots (`plot`), the words of a verdict row (`table`),
//! the looks (`report.css`).

use super::Record;
use super::arms::{ArmTime, Site};
use super::plot::Plot;
use super::table::{self, Group};
use super::why::{Counted, SCALED};
use crate::experiment::{Arm, BackendKind, Sample};
use crate::judge::VerdictRow;
use crate::stats::Verdict;
use crate::units;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The page.
pub fn page(record: &Record, plots: &[Plot]) -> String {
    let arms = record.arms();
    let groups = table::groups(&record.verdicts, &arms);
    let scenarios = record.samples.iter().map(|s| s.point.scenario.to_string());
    let machines = record.samples.iter().map(|s| s.machine.clone());
    let title = format!("{} on {}", distinct(scenarios), distinct(machines));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "hitm: " (title) }
                style { (PreEscaped(include_str!("report.css"))) }
            }
            body {
                h1 { (title) }
                (when(record))
                @if let Some(banner) = table::banner(&record.samples) {
                    p class="banner" { (banner) }
                }
                @if record.run.interrupted {
                    p class="banner" {
                        "This run was interrupted. What it had finished is here; a verdict that "
                        "needed more blocks is inconclusive."
                    }
                }
                (asked(record))
                h2 { "Verdicts" }
                (verdicts(record, &groups))
                (controls(record))
                (counters(&super::why::counted(record)))
                h2 { "Plots" }
                @for plot in plots { (figure(plot)) }
                h2 { "Samples set aside" }
                (invalid(&record.samples))
                h2 { "Not measured" }
                (unmeasured(record, &arms))
                h2 { "Machine" }
                (machine(record))
                h2 { "To measure it again" }
                (reproduce(record))
            }
        }
    };
    page.into_string()
}

fn when(record: &Record) -> Markup {
    let run = &record.run;
    let parts = [
        run.started
            .as_ref()
            .map(|started| format!("measured {started}")),
        run.version
            .as_ref()
            .map(|version| format!("hitm {version}")),
        record
            .design
            .as_ref()
            .map(|design| format!("run {}", design.run)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    html! { p class="faint" { (parts.join(" · ")) } }
}

/// What was asked, from the rows themselves.
fn asked(record: &Record) -> Markup {
    let samples = &record.samples;
    let of = |value: fn(&Sample) -> String| distinct(samples.iter().map(value));
    let baselines = record.verdicts.iter().map(|v| v.baseline.to_string());
    let threads: BTreeSet<usize> = samples.iter().map(|s| s.point.threads).collect();
    let blocks: BTreeSet<(&str, Site, u64)> = samples
        .iter()
        .map(|s| (s.run.as_str(), s.into(), s.block))
        .collect();
    let blocks = units::count(blocks.len(), "block");
    let measured = format!("{} in {blocks}", units::count(samples.len(), "sample"));
    let rows = [
        ("layouts", of(|s| s.arm.to_string())),
        ("baseline", distinct(baselines)),
        ("threads", distinct(threads.iter().map(usize::to_string))),
        ("placement", of(|s| s.point.placement.to_string())),
        ("prefetchers", of(|s| s.prefetch.to_string())),
        ("backend", of(|s| s.backend.to_string())),
        ("measured", measured),
    ];
    html! {
        table {
            @for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
                tr { th { (name) } td { (value) } }
            }
        }
    }
}

/// The different values in order of appearance.
fn distinct(values: impl Iterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        if !value.is_empty() && !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen.join(", ")
}

fn verdicts(record: &Record, groups: &[Group]) -> Markup {
    if groups.is_empty() {
        let why = if record.verdicts_found {
            "verdicts.csv holds no row yet"
        } else {
            "there is no verdicts.csv beside the samples"
        };
        return html! { p { "There is no table of verdicts: " (why) "." } };
    }
    html! {
        p class="faint" {
            "A change is the time per fault over that of the baseline, compared within blocks, "
            "with its interval. "
            b { "equivalent" } ": the whole interval lies within "
            @match record.margin() {
                Some(margin) => { "the margin of " (margin * 100.0) " %. " }
                None => "the margin of equivalence. "
            }
            b { "regression" } ": not that, and the whole interval is slower. "
            b { "improvement" } ": not that, and the whole interval is faster. "
            b { "inconclusive" } ": none of these; more blocks would tell. "
            b { "depends" } ": the answer differs between states of the machine, each of which has a "
            "line of its own. "
            b { "code-noise" } ": a difference, but none beyond what other machine code of the same "
            "accesses makes, which " (Arm::Recompiled) " shows. "
            "Times are medians over valid samples."
        }
        @for group in groups {
            h3 { (group.heading) }
            p class="faint" { (group.place) }
            @if group.attributes { (attribution(group.baseline.0)) }
            (rows(group, &record.verdicts))
        }
    }
}

/// The rows of a group.
fn rows(group: &Group, verdicts: &[VerdictRow]) -> Markup {
    let lines = group.lines(verdicts);
    html! {
        div class="wide" { table {
            thead { tr {
                th { "layout" }
                @for name in group.columns() { th class="figure" { (name) } }
                th { "verdict" }
                th { "blocks (invalid)" }
            } }
            tbody {
                @for line in &lines {
                    tr {
                        td class=(if line.name.starts_with(' ') { "state" } else { "" }) { (line.name.trim()) }
                        @for (n, figure) in line.figures.iter().enumerate() {
                            @if n == 0 && line.few {
                                td class="figure faint" { (figure) (table::FEW.0) }
                            } @else {
                                td class="figure" { (figure) }
                            }
                        }
                        td {
                            span class=(line.verdict.map_or("", class)) { (line.word()) }
                            @if !line.depends_on.is_empty() { " on " (line.depends_on) }
                            @if let Some(tail) = &line.tail { "; " (tail) }
                        }
                        td { (line.blocks) }
                    }
                }
            }
        } }
        @if lines.iter().any(|line| line.few) { p class="faint" { (table::FEW.1) "." } }
    }
}

fn attribution(baseline: &Arm) -> Markup {
    html! {
        p {
            "Each block measures every layout with the prefetcher on and off. " b { "adds" }
            " is the change against " (baseline) " with it on over the change with it off, compared "
            "within blocks: the part of the effect that is the prefetcher's. "
            b { "regression" } ": the prefetcher makes this layout slower against " (baseline) "; "
            b { "improvement" } ": faster; " b { "equivalent" } ": it explains nothing that matters."
        }
    }
}

/// The counters behind the verdicts, those that move with the layout first.
fn counters(counted: &[Counted]) -> Markup {
    // A name may mean one thing where a machine counts it and another where a model does.
    let mut meanings: BTreeMap<(&str, &str), BTreeSet<BackendKind>> = BTreeMap::new();
    for at in counted {
        for row in at.rows.iter().filter(|row| !row.means.is_empty()) {
            let backends = meanings.entry((&row.name, &row.means)).or_default();
            backends.insert(at.site.backend);
        }
    }
    let backends: BTreeSet<BackendKind> = meanings.values().flatten().copied().collect();
    html! {
        @if !counted.is_empty() {
            h2 { "Why: counters per fault" }
            p class="faint" {
                "Medians over valid samples, with the change against the first layout. In bold: what "
                "moves with the layout, by more than 5 % and by more than twice what the baseline "
                "differs from its own second measurement. That a counter moves with the time does "
                "not prove that it is the cause."
            }
            @for at in counted {
                h3 { (at.site.title()) }
                p class="faint" { (at.site.backend) " on " (at.site.machine) }
                div class="wide" { table {
                    thead { tr {
                        th { "counter" }
                        th { "unit" }
                        @for arm in &at.arms { th class="figure" { (arm) } }
                    } }
                    tbody {
                        @for row in &at.rows { tr {
                            td { @if row.moved > 0.0 { b { (row.marked()) } } @else { (row.marked()) } }
                            td class="faint" { (row.unit) }
                            @for (n, value) in row.values.iter().enumerate() {
                                td class="figure" {
                                    (row.figure(*value))
                                    @if n > 0 { " " span class="faint" { (row.change(n)) } }
                                }
                            }
                        } }
                    }
                } }
                @if at.rows.iter().any(|row| row.scaled) { p class="faint" { (SCALED) "." } }
                @if !at.silent.is_empty() {
                    p class="faint" {
                        "Counted, and less than one in a thousand faults: " (at.silent.join(", ")) "."
                    }
                }
            }
            @if !meanings.is_empty() {
                details {
                    summary { "What the counters mean" }
                    table { @for ((name, means), of) in &meanings { tr {
                        th { (name) }
                        @if backends.len() > 1 {
                            td class="faint" { (of.iter().map(|one| one.name()).collect::<Vec<_>>().join(", ")) }
                        }
                        td { (means) }
                    } } }
                }
            }
        }
    }
}

/// The style of a verdict; none for one that needs no attention.
fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Equivalent => "",
        _ => verdict.name(),
    }
}

/// The A/A arm and the placebo in words.
fn controls(record: &Record) -> Markup {
    let measured = |arm: &Arm| record.samples.iter().any(|sample| sample.arm == *arm);
    let found = |arm: &Arm| -> Vec<&VerdictRow> {
        let rows = record.verdicts.iter();
        let rows = rows.filter(|row| row.arm == *arm && row.is_whole());
        rows.filter(|row| row.ratio.is_some() || row.verdict == Verdict::Depends)
            .collect()
    };
    // What is said of the rows of a control, of which `wrong` are told from the baseline.
    let said = |arm: &Arm, wrong: &dyn Fn(String) -> Markup| {
        let rows = found(arm);
        let differ =
            |row: &&&VerdictRow| row.verdict.is_difference() || row.verdict == Verdict::Depends;
        let count = rows.iter().filter(differ).count();
        let comparisons = units::count(rows.len(), "comparison");
        html! {
            @if rows.is_empty() {
                b { "Too few of its samples could be used for a comparison, so it says nothing here." }
            } @else if count == 0 {
                (match rows.len() {
                    1 => "Its only comparison calls it neither slower nor faster, as it should be.".to_owned(),
                    _ => format!("None of its {comparisons} calls it slower or faster, as it should be."),
                })
            } @else {
                (wrong(format!("{count} of {comparisons}")))
            }
        }
    };
    html! {
        h3 { "The noise beside the effect: " (Arm::Again) }
        @if !measured(&Arm::Again) {
            p { "The baseline was not measured a second time here, so there is nothing to judge the
                 noise by." }
        } @else {
            p {
                "Every block measures the baseline twice, the second time under the name "
                (Arm::Again) ". Both arms run the same code on the same memory layout, so all "
                "that this row shows is noise. "
                (said(&Arm::Again, &|share| html! {
                    b { (share) " call it slower or faster: effects of that size are not to be trusted here." }
                }))
            }
        }
        @if measured(&Arm::Recompiled) {
            h3 { "What code alone does: " (Arm::Recompiled) }
            p {
                "Every block also measures the baseline in other machine code, which makes the same "
                "accesses, under the name " (Arm::Recompiled) ". What it differs by is code. A layout "
                "whose code differs from the baseline's in more than displacements is called slower "
                "or faster only if the difference goes further than this one; else it is "
                b { "code-noise" } ". "
                (said(&Arm::Recompiled, &|share| html! {
                    (share) " call it slower or faster: that much is code."
                }))
            }
        }
    }
}

fn figure(plot: &Plot) -> Markup {
    let drawing = html! { figure { (PreEscaped(&plot.svg)) } };
    html! {
        @if plot.folded {
            details { summary { (plot.title) } (drawing) }
        } @else {
            (drawing)
        }
    }
}

fn invalid(samples: &[Sample]) -> Markup {
    let mut reasons: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
    let mut invalid = 0;
    for sample in samples.iter().filter(|sample| !sample.valid) {
        invalid += 1;
        for reason in sample.invalid_reason.split("; ") {
            let entry = reasons.entry(kind_of(reason)).or_default();
            entry.0 += 1;
            entry.1.insert(sample.arm.to_string());
        }
    }
    html! {
        @if invalid == 0 {
            p { "None: all " (units::count(samples.len(), "sample")) " are valid." }
        } @else {
            p {
                (invalid) " of " (units::count(samples.len(), "sample")) " are marked invalid. They "
                "are kept in samples.csv and enter no verdict."
            }
            div class="wide" { table {
                thead { tr { th { "reason" } th class="figure" { "samples" } th { "layouts" } } }
                tbody {
                    @for (reason, (count, layouts)) in &reasons {
                        tr {
                            td { (reason) }
                            td class="figure" { (count) }
                            td { (layouts.iter().cloned().collect::<Vec<_>>().join(", ")) }
                        }
                    }
                }
            } }
        }
    }
}

/// A reason without its figures, so that what has one cause is counted together.
fn kind_of(reason: &str) -> String {
    let figure = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let words: Vec<&str> = reason
        .split_whitespace()
        .map(|word| if figure(word) { "…" } else { word })
        .collect();
    if words.is_empty() {
        "no reason given".to_owned()
    } else {
        words.join(" ")
    }
}

fn unmeasured(record: &Record, arms: &[ArmTime]) -> Markup {
    let mut rows: Vec<(String, String)> = record
        .run
        .unmeasured
        .iter()
        .map(|absent| (absent.what.clone(), absent.why.clone()))
        .collect();
    let known: BTreeSet<String> = rows.iter().map(|(what, _)| what.clone()).collect();
    for role in &record.counters {
        let measured = record.samples.iter().any(|s| s.counters.contains_key(role));
        if !measured && !known.contains(role) {
            rows.push((
                role.clone(),
                "its column is empty in every row; no reason is recorded".into(),
            ));
        }
    }
    if record.samples.iter().any(|s| s.point.threads > 1)
        && record.samples.iter().all(|s| s.probe_ns.is_none())
    {
        rows.push((
            "probe_ns".into(),
            "no sample carries a line-transfer probe".into(),
        ));
    }
    for arm in arms.iter().filter(|arm| arm.interval_ns.is_none()) {
        let what = format!("interval of {}, {}", arm.arm, arm.site.title());
        rows.push((what, too_few(&arm.by_slot)));
    }
    html! {
        @if rows.is_empty() && record.warnings.is_empty() {
            p { "Everything that was asked for was measured." }
        }
        @if !rows.is_empty() {
            div class="wide" { table {
                thead { tr { th { "what" } th { "why" } } }
                tbody { @for (what, why) in &rows { tr { td { (what) } td { (why) } } } }
            } }
        }
        @if !record.warnings.is_empty() {
            ul { @for warning in &record.warnings { li { (warning) } } }
        }
    }
}

/// Why these valid samples, by slot, have no interval.
fn too_few(by_slot: &[(Option<usize>, usize)]) -> String {
    let valid = by_slot.iter().map(|(slot, samples)| match slot {
        Some(slot) => format!("{samples} in slot {slot}"),
        None => samples.to_string(),
    });
    let valid: Vec<String> = valid.collect();
    let each = if valid.len() > 1 { " in each" } else { "" };
    let valid = valid.join(", ");
    format!("valid samples: {valid}; an interval of the median needs 6{each}")
}

fn machine(record: &Record) -> Markup {
    let mut rows = Vec::new();
    match &record.machine {
        Some(machine) => flatten("", machine, &mut rows),
        None => return html! { p { "Not recorded beside these samples." } },
    }
    html! {
        div class="wide" { table { tbody {
            @for (name, value) in &rows { tr { th { (name) } td { (value) } } }
        } } }
    }
}

/// A JSON value as names and values; lists of plain values stay on one line.
fn flatten(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let below = |part: &str| {
        if name.is_empty() {
            part.to_owned()
        } else {
            format!("{name} {part}")
        }
    };
    match value {
        Value::Null => rows.push((name.to_owned(), "not recorded".to_owned())),
        Value::Object(parts) => {
            for (part, value) in parts {
                flatten(&below(part), value, rows);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (at, item) in items.iter().enumerate() {
                flatten(&below(&at.to_string()), item, rows);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            rows.push((name.to_owned(), items.join(", ")));
        }
        other => rows.push((name.to_owned(), plain(other))),
    }
}

fn reproduce(record: &Record) -> Markup {
    let run = &record.run;
    html! {
        @if run.command_line.is_empty() {
            p { "The command line is not recorded beside these samples." }
        } @else {
            pre { (shell(&run.command_line)) }
        }
        @if let Some(seed) = record.design.as_ref().map(|design| design.seed) {
            p { "The order of the arms came from the seed " code { (seed) } "; " code { "--seed " (seed) }
                " gives the same order again." }
        }
        p {
            "The plots and this page are drawn again from the files of the run with "
            code { "hitm plot" } "."
        }
    }
}

/// Arguments as a shell takes them.
fn shell(arguments: &[String]) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./,:=@%+".contains(c);
    let quoted: Vec<String> = arguments
        .iter()
        .map(|argument| {
            if !argument.is_empty() && argument.chars().all(safe) {
                argument.clone()
            } else {
                format!("'{}'", argument.replace('\'', r"'\''"))
            }
        })
        .collect();
    quoted.join(" ")
}
