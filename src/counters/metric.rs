//! Figures derived from counters, as data: `events/metrics.toml`.

use super::table::parse;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A figure derived from counters: a sum of roles over a sum of roles.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// The roles whose sum is divided.
    pub of: Vec<String>,
    /// The roles whose sum divides; `faults` is the number of faults in the window.
    pub over: Vec<String>,
    /// Unit of the figure.
    pub unit: String,
    /// What it says.
    pub means: String,
}

#[derive(Deserialize)]
struct MetricFile {
    metric: Vec<Metric>,
}

/// All derived figures.
pub fn metrics() -> &'static [Metric] {
    static METRICS: OnceLock<Vec<Metric>> = OnceLock::new();
    METRICS
        .get_or_init(|| parse::<MetricFile>("metrics", include_str!("events/metrics.toml")).metric)
}

impl Metric {
    /// The figure, where every counter it needs was measured and the divisor is not 0.
    pub fn value(&self, counters: &BTreeMap<String, f64>, faults: u64) -> Option<f64> {
        let sum = |parts: &[String]| -> Option<f64> {
            parts
                .iter()
                .map(|part| match part.as_str() {
                    "faults" => Some(faults as f64),
                    role => counters.get(role).copied(),
                })
                .sum()
        };
        let over = sum(&self.over)?;
        (over > 0.0).then_some(sum(&self.of)? / over)
    }

    /// The formula, for people.
    pub fn formula(&self) -> String {
        let sum = |parts: &[String]| match parts {
            [one] => one.clone(),
            many => format!("({})", many.join(" + ")),
        };
        format!("{} / {}", sum(&self.of), sum(&self.over))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EventTable, roles, tables};
    use super::*;

    #[test]
    fn every_figure_is_made_of_roles_and_exists_somewhere() {
        for metric in metrics() {
            for part in metric.of.iter().chain(&metric.over) {
                let is_role = roles().iter().any(|role| role.name == *part);
                assert!(part == "faults" || is_role, "{}: {part}", metric.name);
            }
            let hardware = metric
                .of
                .iter()
                .chain(&metric.over)
                .filter(|p| *p != "faults");
            let counts = |table: &EventTable| hardware.clone().all(|p| table.roles.contains_key(p));
            assert!(tables().iter().any(counts), "{}", metric.name);
        }
    }

    #[test]
    fn a_figure_is_absent_when_a_part_of_it_is() {
        let share = metrics()
            .iter()
            .find(|m| m.name == "prefetch_share_of_steals")
            .unwrap();
        let mut counters = BTreeMap::from([("rfo_hitm".to_owned(), 30.0)]);
        assert_eq!(share.value(&counters, 100), None);
        counters.insert("prefetch_rfo_hitm".to_owned(), 10.0);
        assert_eq!(share.value(&counters, 100), Some(0.25));
        counters.values_mut().for_each(|value| *value = 0.0);
        assert_eq!(share.value(&counters, 100), None);
        let hitm = metrics()
            .iter()
            .find(|m| m.name == "hitm_per_fault")
            .unwrap();
        let counters = BTreeMap::from([("hitm_local".to_owned(), 30.0)]);
        assert_eq!(hitm.value(&counters, 60), Some(0.5));
        assert_eq!(hitm.value(&counters, 0), None);
    }
}
