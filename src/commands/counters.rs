//! `hitm counters`: which counters there are, what they do not mean, and whether they count here.

use super::options::Format;
use super::{csv, json, print};
use crate::counters::preflight::{self, Checked};
use crate::counters::{
    CounterRole, Event, EventTable, Pmu, Rotation, Scope, metrics, roles, tables,
};
use crate::error::{Error, Result};
use crate::report::columns::{Columns, wrap};
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
    List(ListArgs),
    /// Try each counter of this machine on a load that must raise it and on one that must not
    Check(CheckArgs),
}

#[derive(clap::Args)]
struct ListArgs {
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
struct CheckArgs {
    /// Count events in the kernel as well, not only in the program
    #[arg(long)]
    kernel: bool,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

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
struct RoleRow {
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
struct MetricRow {
    name: &'static str,
    formula: String,
    unit: &'static str,
    means: &'static str,
    available: bool,
}

fn list(list: &ListArgs) -> Result<()> {
    let mut pmu = Pmu::here();
    let mut here = true;
    if let Some(name) = &list.arch {
        let table = EventTable::parse(name)?;
        here = pmu.table.is_some_and(|own| own.arch == table.arch);
        pmu.table = Some(table);
    }
    let (rows, figures) = survey(&mut pmu, here);
    print(&match list.format {
        Format::Csv => csv(&rows),
        Format::Json => json(&serde_json::json!({ "roles": rows, "metrics": figures })),
        Format::Table => overview(pmu.table, here, &rows, &figures),
    })
}

/// All roles and derived figures of a machine. Here, whatever can be opened is opened; elsewhere
/// the table alone decides.
fn survey(pmu: &mut Pmu, here: bool) -> (Vec<RoleRow>, Vec<MetricRow>) {
    if !here {
        // As where the kernel knows that PMU: the number is not used.
        pmu.number = Some(0);
    }
    let rotation = Rotation::everything(pmu, Scope::User);
    let mut refused = rotation.missing.clone();
    if here {
        for group in 0..rotation.groups.len() as u64 {
            refused.extend_from_slice(rotation.open(group).missing());
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
            row(role, pmu.table, status, reason.unwrap_or_default())
        })
        .collect();
    let figures = metrics()
        .iter()
        .map(|metric| MetricRow {
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
    role: &'static CounterRole,
    table: Option<&'static EventTable>,
    status: &'static str,
    reason: String,
) -> RoleRow {
    let found = table.and_then(|table| Some((table, table.event(role)?)));
    let caveats = match table {
        Some(table) => table.caveats(role),
        None => role.not.iter().cloned().collect(),
    };
    RoleRow {
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

/// Roles with the same reason together, in the order of the first of each.
fn by_reason<'r>(roles: impl Iterator<Item = (&'r str, &'r str)>) -> String {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (role, reason) in roles {
        match groups.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, group)) => group.push(role),
            None => groups.push((reason, vec![role])),
        }
    }
    let text = |(reason, roles): (&str, Vec<&str>)| {
        wrap(&roles.join(", "), "  ") + &wrap(reason, "      ")
    };
    groups.into_iter().map(text).collect()
}

fn overview(
    table: Option<&EventTable>,
    here: bool,
    rows: &[RoleRow],
    figures: &[MetricRow],
) -> String {
    let mut out = heading(table, here);
    let (missing, found): (Vec<&RoleRow>, _) = rows.iter().partition(|row| row.status == "missing");
    out.push_str(&counted(&found));
    if !missing.is_empty() {
        out.push_str("\nMISSING\n");
        out.push_str(&by_reason(
            missing.iter().map(|row| (row.role, row.reason.as_str())),
        ));
    }
    out.push_str("\nWHAT THEY COUNT, AND WHAT THEY DO NOT MEAN\n");
    for row in found {
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

fn counted(rows: &[&RoleRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Columns::new("<<<");
    table.row(["ROLE", "CONFIG", "EVENT"]);
    for row in rows {
        let code = match (&row.config, &row.config1) {
            (Some(config), Some(config1)) => format!("{config}:{config1}"),
            (Some(config), None) => config.clone(),
            _ => "-".to_owned(),
        };
        let event = row.event.as_deref();
        table.row([
            row.role,
            &code,
            event.unwrap_or("counted by the kernel itself"),
        ]);
    }
    format!("\n{table}")
}

fn heading(table: Option<&EventTable>, here: bool) -> String {
    let Some(table) = table else {
        return "this machine has no event table; only the kernel's own counters\n".to_owned();
    };
    let place = if here {
        "this machine"
    } else {
        "not this machine"
    };
    let mut out = format!("{}: {} ({place})\n", table.arch, table.title);
    out.push_str(&wrap(&format!("source: {}", table.source), "  "));
    out.push_str(&wrap(&format!("licence: {}", table.licence), "  "));
    let counters = table.general_counters;
    let _ = write!(out, "  {counters} general-purpose counters a thread");
    if table.offcore_registers > 0 {
        let registers = table.offcore_registers;
        let _ = write!(
            out,
            ", {registers} offcore-response registers (CONFIG:CONFIG1)"
        );
    }
    out + "\n"
}

/// An event table, as a row.
#[derive(serde::Serialize)]
struct ArchRow<'a> {
    arch: &'a str,
    title: &'a str,
    events: usize,
    roles: usize,
    source: &'a str,
    licence: &'a str,
}

fn archs(format: Format) -> Result<()> {
    let rows: Vec<ArchRow> = tables()
        .iter()
        .map(|table| ArchRow {
            arch: &table.arch,
            title: &table.title,
            events: table.events.len(),
            roles: table.roles.len(),
            source: &table.source,
            licence: &table.licence,
        })
        .collect();
    print(&super::rows(format, &rows, |rows| {
        let mut table = Columns::new("<>><");
        for row in rows {
            let (events, roles) = (row.events, row.roles);
            table.row([
                row.arch,
                &format!("{events} events,"),
                &format!("{roles} roles"),
                row.title,
            ]);
        }
        table.to_string()
    }))
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

fn events(list: &ListArgs) -> Result<()> {
    let table = match &list.arch {
        Some(name) => EventTable::parse(name)?,
        None => Pmu::here().table.ok_or_else(|| {
            Error::Refused(
                "this machine has no event table; name one with --arch ('--arch all' lists them)"
                    .to_owned(),
            )
        })?,
    };
    let events = table.events.iter();
    let rows: Vec<EventRow> = events
        .map(|(name, event)| event_row(table, name, event))
        .collect();
    print(&super::rows(list.format, &rows, |rows| {
        let mut table = Columns::new("<<<");
        table.row(["EVENT", "CONFIG", "CONFIG1"]);
        for row in rows {
            table.row([
                row.event,
                &row.config,
                row.config1.as_deref().unwrap_or("-"),
            ]);
            table.text(wrap(row.counts, "      "));
            if !row.roles.is_empty() {
                table.text(wrap(&format!("role: {}", row.roles), "      "));
            }
        }
        table.to_string()
    }))
}

fn event_row<'a>(table: &'a EventTable, name: &'a str, event: &'a Event) -> EventRow<'a> {
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

fn check(check: &CheckArgs) -> Result<()> {
    let pmu = Pmu::here();
    let scope = if check.kernel {
        Scope::UserAndKernel
    } else {
        Scope::User
    };
    let checked = preflight::check(&pmu, scope)?;
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
    let table = |_: &[CheckRow]| trials(pmu.table, &checked);
    print(&super::rows(check.format, &rows, table))
}

fn trials(events: Option<&EventTable>, checked: &[Checked]) -> String {
    let mut table = Columns::new("<<>>");
    table.row(["ROLE", "STATUS", "FIGHTING", "ALONE"]);
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
    let tried = |one: &&Checked| one.status != preflight::Status::Missing;
    for one in checked.iter().filter(tried) {
        let (fighting, alone) = (number(one.fighting), number(one.alone));
        table.row([one.role, one.status.name(), &fighting, &alone]);
    }
    let unproven = checked.iter().filter(|one| !one.reason.is_empty());
    let mut why = by_reason(unproven.map(|one| (one.role, one.reason.as_str())));
    if !why.is_empty() {
        why.insert_str(0, "\nNOT PROVEN, AND WHY\n");
    }
    format!("{}\n{table}{why}", heading(events, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::columns::WIDTH;

    #[test]
    fn every_microarchitecture_is_listed_within_100_columns() {
        for table in tables() {
            let mut pmu = Pmu::here();
            pmu.table = Some(table);
            let (rows, figures) = survey(&mut pmu, false);
            let text = overview(pmu.table, false, &rows, &figures);
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
