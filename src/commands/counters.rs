//! `hitm counters`: which counters there are, what they do not mean, and whether they count here.

use super::print;
use crate::counters::preflight::{self, Checked};
use crate::counters::{Event, Machine, Plan, Role, Scope, Table, metrics, roles};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Arguments of `hitm counters`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Roles of this machine or of another microarchitecture: event, encoding, what it does not mean
    List(List),
    /// Try each counter of this machine on a load that must raise it and on one that must not
    Check(Check),
}

#[derive(clap::Args)]
struct List {
    /// Another microarchitecture than this machine's; `all` lists their names
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// All events of the table, not only those that serve a role
    #[arg(long)]
    events: bool,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(clap::Args)]
struct Check {
    /// Count the kernel's events as well, as `hitm faults` does
    #[arg(long)]
    kernel: bool,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

/// Width of the tables, in columns.
const WIDTH: usize = 100;

/// Run it.
pub fn run(args: Args) -> Result<()> {
    match args.action {
        Action::List(list) if list.arch.as_deref() == Some("all") => archs(list.format),
        Action::List(list) if list.events => events(&list),
        Action::List(list) => self::list(&list),
        Action::Check(check) => self::check(&check),
    }
}

/// A role on a machine.
#[derive(serde::Serialize)]
struct Row {
    role: &'static str,
    arch: Option<String>,
    event: Option<String>,
    config: Option<String>,
    config1: Option<String>,
    perf: Option<String>,
    unit: &'static str,
    status: &'static str,
    reason: String,
    counts: &'static str,
    does_not_mean: String,
}

/// A derived figure.
#[derive(serde::Serialize)]
struct Figure {
    name: &'static str,
    formula: String,
    unit: &'static str,
    means: &'static str,
    available: bool,
}

fn list(list: &List) -> Result<()> {
    let mut machine = Machine::this();
    let mut here = true;
    if let Some(name) = &list.arch {
        let table = Table::parse(name)?;
        here = machine.table.is_some_and(|own| own.arch == table.arch);
        machine.table = Some(table);
    }
    let (rows, figures) = survey(&mut machine, here);
    match list.format {
        Format::Csv => csv(&rows),
        Format::Json => json(&serde_json::json!({ "roles": rows, "metrics": figures })),
        Format::Table => print(&table_of(&machine, here, &rows, &figures)),
    }
}

/// All roles and derived figures of a machine. Here, whatever can be opened is opened; elsewhere
/// the table alone decides.
fn survey(machine: &mut Machine, here: bool) -> (Vec<Row>, Vec<Figure>) {
    if !here {
        // As on a machine of that kind that has its PMU: the number is not used.
        machine.pmu = Some(0);
    }
    let plan = Plan::everything(machine, Scope::User);
    let mut refused = plan.missing.clone();
    if here {
        for group in 0..plan.groups.len() as u64 {
            refused.extend_from_slice(plan.open(group).missing());
        }
    }
    let missing: BTreeMap<&str, String> = refused
        .into_iter()
        .map(|one| (one.role, one.reason))
        .collect();
    let rows = roles()
        .iter()
        .map(|role| {
            let reason = missing.get(role.name.as_str()).cloned();
            let status = match reason {
                Some(_) => "missing",
                None if here => "opens",
                None => "exists",
            };
            row(role, machine.table, status, reason.unwrap_or_default())
        })
        .collect();
    let figures = metrics()
        .iter()
        .map(|metric| Figure {
            name: &metric.name,
            formula: metric.formula(),
            unit: &metric.unit,
            means: &metric.means,
            available: metric
                .of
                .iter()
                .chain(&metric.over)
                .all(|part| part == "faults" || !missing.contains_key(part.as_str())),
        })
        .collect();
    (rows, figures)
}

fn row(
    role: &'static Role,
    table: Option<&'static Table>,
    status: &'static str,
    reason: String,
) -> Row {
    let found = table.and_then(|table| Some((table, table.event(role)?)));
    let caveats = match table {
        Some(table) => table.caveats(role),
        None => role.not.iter().cloned().collect(),
    };
    Row {
        role: &role.name,
        arch: table
            .filter(|_| !role.is_software())
            .map(|table| table.arch.clone()),
        event: found.map(|(_, (name, _))| name.to_owned()),
        config: found.map(|(table, (_, event))| format!("{:#x}", table.config(event))),
        config1: found
            .filter(|(_, (_, event))| event.offcore.is_some())
            .map(|(table, (_, event))| format!("{:#x}", table.config1(event))),
        perf: found.map(|(table, (_, event))| table.perf_syntax(event)),
        unit: &role.unit,
        status,
        reason,
        counts: &role.counts,
        does_not_mean: caveats.join("; "),
    }
}

fn table_of(machine: &Machine, here: bool, rows: &[Row], figures: &[Figure]) -> String {
    let mut out = heading(machine, here);
    let mut groups: Vec<(&str, &str, Vec<&Row>)> = Vec::new();
    for row in rows {
        match groups
            .iter_mut()
            .find(|(status, why, _)| *status == row.status && *why == row.reason)
        {
            Some((_, _, group)) => group.push(row),
            None => groups.push((row.status, &row.reason, vec![row])),
        }
    }
    // What can be counted first; then one reason after the other.
    groups.sort_by_key(|(status, _, _)| *status == "missing");
    let mut absent_heading = false;
    for (status, reason, group) in &groups {
        if *status != "missing" {
            out.push_str(&counted(group));
            continue;
        }
        if !absent_heading {
            out.push_str("\nMISSING\n");
            absent_heading = true;
        }
        let names: Vec<&str> = group.iter().map(|row| row.role).collect();
        out.push_str(&wrap(&names.join(", "), "  "));
        out.push_str(&wrap(reason, "      "));
    }
    out.push_str("\nWHAT THEY COUNT, AND WHAT THEY DO NOT MEAN\n");
    for row in rows.iter().filter(|row| row.status != "missing") {
        let _ = writeln!(out, "  {} ({})", row.role, row.unit);
        out.push_str(&wrap(row.counts, "      "));
        if !row.does_not_mean.is_empty() {
            out.push_str(&wrap(&format!("but: {}", row.does_not_mean), "      "));
        }
    }
    out.push_str("\nDERIVED FIGURES\n");
    for figure in figures.iter().filter(|figure| figure.available) {
        let _ = writeln!(out, "  {} ({})", figure.name, figure.unit);
        out.push_str(&wrap(&format!("= {}", figure.formula), "      "));
        out.push_str(&wrap(figure.means, "      "));
    }
    let without: Vec<&str> = figures
        .iter()
        .filter(|figure| !figure.available)
        .map(|figure| figure.name)
        .collect();
    if !without.is_empty() {
        out.push_str(&wrap(
            &format!("missing, for want of a counter: {}", without.join(", ")),
            "  ",
        ));
    }
    out
}

fn counted(rows: &[&Row]) -> String {
    let code = |row: &Row| match (&row.config, &row.config1) {
        (Some(config), Some(config1)) => format!("{config}:{config1}"),
        (Some(config), None) => config.clone(),
        _ => "-".to_owned(),
    };
    let codes: Vec<String> = rows.iter().map(|row| code(row)).collect();
    let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let role_width = widest(&mut rows.iter().map(|row| row.role.len()));
    let code_width = widest(&mut codes.iter().map(String::len)).max("CONFIG".len());
    let mut out = format!(
        "\n{:<role_width$} {:<code_width$} EVENT\n",
        "ROLE", "CONFIG"
    );
    for (row, code) in rows.iter().zip(codes) {
        let event = row
            .event
            .as_deref()
            .unwrap_or("counted by the kernel itself");
        let _ = writeln!(out, "{:<role_width$} {code:<code_width$} {event}", row.role);
    }
    out
}

fn heading(machine: &Machine, here: bool) -> String {
    let mut out = String::new();
    let place = if here {
        "this machine"
    } else {
        "not this machine"
    };
    match machine.table {
        Some(table) => {
            let _ = writeln!(out, "{}: {} ({place})", table.arch, table.title);
            out.push_str(&wrap(&format!("source: {}", table.source), "  "));
            out.push_str(&wrap(&format!("licence: {}", table.licence), "  "));
            let _ = write!(
                out,
                "  {} general-purpose counters a thread",
                table.general_counters
            );
            if table.offcore_registers > 0 {
                let _ = write!(
                    out,
                    ", {} offcore-response registers",
                    table.offcore_registers
                );
                out.push_str(" (CONFIG:CONFIG1)");
            }
            out.push('\n');
        }
        None => out.push_str("this machine has no event table; only the kernel's own counters\n"),
    }
    out
}

fn archs(format: Format) -> Result<()> {
    let tables = crate::counters::tables();
    match format {
        Format::Table => {
            let mut out = String::new();
            for table in tables {
                let _ = writeln!(
                    out,
                    "{:<18} {:>3} events, {:>2} roles  {}",
                    table.arch,
                    table.events.len(),
                    table.roles.len(),
                    table.title
                );
            }
            print(&out)
        }
        _ => {
            #[derive(serde::Serialize)]
            struct Arch<'a> {
                arch: &'a str,
                title: &'a str,
                events: usize,
                roles: usize,
                source: &'a str,
                licence: &'a str,
            }
            let rows: Vec<Arch> = tables
                .iter()
                .map(|table| Arch {
                    arch: &table.arch,
                    title: &table.title,
                    events: table.events.len(),
                    roles: table.roles.len(),
                    source: &table.source,
                    licence: &table.licence,
                })
                .collect();
            if format == Format::Csv {
                csv(&rows)
            } else {
                json(&serde_json::json!(rows))
            }
        }
    }
}

/// An event of a table, whether or not it serves a role.
#[derive(serde::Serialize)]
struct EventRow<'a> {
    arch: &'a str,
    event: &'a str,
    config: String,
    config1: Option<String>,
    perf: String,
    pmu: &'a str,
    roles: String,
    pebs: bool,
    errata: Option<&'a str>,
    composed: Option<&'a str>,
    counts: &'a str,
}

fn events(list: &List) -> Result<()> {
    let table = match &list.arch {
        Some(name) => Table::parse(name)?,
        None => Machine::this().table.ok_or_else(|| {
            Error::Refused(
                "this machine has no event table; name one with --arch ('--arch all' lists them)"
                    .to_owned(),
            )
        })?,
    };
    let rows: Vec<EventRow> = table
        .events
        .iter()
        .map(|(name, event)| event_row(table, name, event))
        .collect();
    match list.format {
        Format::Csv => csv(&rows),
        Format::Json => json(&serde_json::json!(rows)),
        Format::Table => {
            let mut out = String::new();
            let _ = writeln!(out, "{:<60} {:<13} CONFIG1", "EVENT", "CONFIG");
            for row in &rows {
                let config1 = row.config1.as_deref().unwrap_or("-");
                let _ = writeln!(out, "{:<60} {:<13} {config1}", row.event, row.config);
                out.push_str(&wrap(row.counts, "      "));
                if !row.roles.is_empty() {
                    out.push_str(&wrap(&format!("role: {}", row.roles), "      "));
                }
            }
            print(&out)
        }
    }
}

fn event_row<'a>(table: &'a Table, name: &'a str, event: &'a Event) -> EventRow<'a> {
    let serves: Vec<&str> = table
        .roles
        .iter()
        .filter(|(_, served)| served.event == name)
        .map(|(role, _)| role.as_str())
        .collect();
    EventRow {
        arch: &table.arch,
        event: name,
        config: format!("{:#x}", table.config(event)),
        config1: event
            .offcore
            .or(event.ldlat)
            .map(|value| format!("{value:#x}")),
        perf: table.perf_syntax(event),
        pmu: event.pmu.as_deref().unwrap_or("core"),
        roles: serves.join(" "),
        pebs: event.pebs,
        errata: event.errata.as_deref(),
        composed: event.composed.as_deref(),
        counts: &event.counts,
    }
}

/// A trial, as a row.
#[derive(serde::Serialize)]
struct CheckRow<'a> {
    role: &'a str,
    status: &'a str,
    fighting: Option<f64>,
    alone: Option<f64>,
    reason: &'a str,
}

fn check(check: &Check) -> Result<()> {
    let machine = Machine::this();
    let scope = if check.kernel {
        Scope::UserAndKernel
    } else {
        Scope::User
    };
    let checked = preflight::check(&machine, scope)?;
    let rows: Vec<CheckRow> = checked
        .iter()
        .map(|one| CheckRow {
            role: one.role,
            status: one.status.name(),
            fighting: one.fighting,
            alone: one.alone,
            reason: &one.reason,
        })
        .collect();
    match check.format {
        Format::Csv => csv(&rows),
        Format::Json => json(&serde_json::json!(rows)),
        Format::Table => print(&check_table(&machine, &checked)),
    }
}

fn check_table(machine: &Machine, checked: &[Checked]) -> String {
    let mut out = heading(machine, true);
    let _ = writeln!(
        out,
        "\n{:<26} {:<9} {:>16} {:>16}",
        "ROLE", "STATUS", "FIGHTING", "ALONE"
    );
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
    for one in checked {
        if one.status != preflight::Status::Missing {
            let _ = writeln!(
                out,
                "{:<26} {:<9} {:>16} {:>16}",
                one.role,
                one.status.name(),
                number(one.fighting),
                number(one.alone)
            );
        }
        if one.reason.is_empty() {
            continue;
        }
        match reasons.iter_mut().find(|(reason, _)| *reason == one.reason) {
            Some((_, roles)) => roles.push(one.role),
            None => reasons.push((&one.reason, vec![one.role])),
        }
    }
    if !reasons.is_empty() {
        out.push_str("\nNOT PROVEN, AND WHY\n");
    }
    for (reason, roles) in reasons {
        out.push_str(&wrap(&roles.join(", "), "  "));
        out.push_str(&wrap(reason, "      "));
    }
    out
}

/// `text` in lines of at most [`WIDTH`] columns, each after `indent`.
fn wrap(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut line = indent.to_owned();
    for word in text.split_whitespace() {
        if line.len() > indent.len() && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = indent.to_owned();
        }
        if line.len() > indent.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
    out
}

fn csv<T: serde::Serialize>(rows: &[T]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer
            .serialize(row)
            .map_err(|error| Error::Refused(format!("cannot write CSV: {error}")))?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| Error::Refused(format!("cannot write CSV: {error}")))?;
    print(&String::from_utf8_lossy(&bytes))
}

fn json(value: &serde_json::Value) -> Result<()> {
    print(&format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_microarchitecture_is_listed_within_100_columns() {
        for table in crate::counters::tables() {
            let mut machine = Machine::this();
            machine.table = Some(table);
            let (rows, figures) = survey(&mut machine, false);
            let text = table_of(&machine, false, &rows, &figures);
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{}: {line}", table.arch);
            }
            // Each reason once, and every role somewhere.
            for role in roles() {
                assert!(text.contains(&role.name), "{}: {}", table.arch, role.name);
            }
            let general = format!("not on {}: no published event\n", table.arch);
            assert_eq!(text.matches(&general).count(), 1, "{text}");
        }
    }
}
