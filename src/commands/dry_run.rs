//! `--dry-run` of `run` and `sim`: what would be measured, and how long it takes.

use super::options::Format;
use crate::experiment::{Design, Limits, Scenario};
use crate::report::columns::Columns;
use crate::units::{count, time};
use serde::Serialize;

/// A design point, as a row.
#[derive(Serialize)]
struct DryRow<'d> {
    scenario: &'d Scenario,
    placement: String,
    threads: usize,
    samples_per_block: usize,
    block_seconds: f64,
    /// All that are taken, or as many as the budget has time for.
    blocks: u64,
}

/// What a run of `design` does within `limits`, if a block of each design point takes so many
/// seconds; `times` says where that is from.
pub fn text(
    design: &Design,
    limits: Limits,
    block_seconds: &[f64],
    times: &str,
    format: Format,
) -> String {
    let round: f64 = block_seconds.iter().sum();
    let blocks = limits.blocks.unwrap_or_else(|| {
        let budget = limits.budget.map_or(0.0, |budget| budget.as_secs_f64());
        // Of what is begun, at least one is taken.
        ((budget / round) as u64).max(1)
    });
    let points = design.points.iter().zip(block_seconds);
    let rows: Vec<DryRow> = points
        .map(|(point, seconds)| DryRow {
            scenario: &point.scenario,
            placement: point.placement.to_string(),
            threads: point.threads,
            samples_per_block: design.samples_per_block(),
            block_seconds: *seconds,
            blocks,
        })
        .collect();
    super::rows(format, &rows, |rows| {
        let arms: Vec<String> = design.arms.iter().map(|arm| arm.to_string()).collect();
        let states: Vec<&str> = design.prefetch.iter().map(|state| state.name()).collect();
        let mut table = Columns::new("<<>>>>");
        table.row([
            "scenario",
            "placement",
            "threads",
            "samples of a block",
            "time of a block",
            "blocks",
        ]);
        for row in rows {
            table.row([
                row.scenario.to_string(),
                row.placement.clone(),
                row.threads.to_string(),
                row.samples_per_block.to_string(),
                time(row.block_seconds * 1e9),
                match limits.blocks {
                    Some(blocks) => blocks.to_string(),
                    None => format!("up to {blocks}"),
                },
            ]);
        }
        let mut all = round * blocks as f64;
        let most = match limits.budget {
            Some(budget) if limits.blocks.is_none() || all > budget.as_secs_f64() => {
                all = budget.as_secs_f64();
                "At most "
            }
            _ => "About ",
        };
        format!(
            "{} on {}: {} x {}\n  arms: {}\n  prefetch: {}; seed {}\n\n{table}\n\
             {most}{} in all. {times}\nNothing was written.\n",
            design.backend,
            design.machine,
            count(design.points.len(), "design point"),
            count(design.arms.len(), "arm"),
            arms.join(", "),
            states.join(", "),
            design.seed,
            time(all * 1e9),
        )
    })
}
