//! How roles share the counters of a core, so that nothing is multiplexed.
//!
//! Here: which event each role becomes, why a role becomes none, and the groups that are taken
//! in turn, one per block. Not here: opening and reading them (`open`).

use super::open::{Missing, Open, PerfEvent};
use super::pmu::Pmu;
use super::refusal::Conditions;
use super::table::{CounterRole, EventTable, role, roles};
use crate::error::Result;
use std::collections::BTreeMap;

/// Whose events count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those of the program alone: for the native backend.
    #[default]
    User,
    /// Those of the kernel as well: for real page faults. Needs `perf_event_paranoid` below 2.
    UserAndKernel,
}

/// Which roles are counted in which block.
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    /// The groups; block `n` is counted with group `n % groups.len()`. Roles that cost no
    /// general-purpose counter are in every group.
    pub groups: Vec<Vec<PerfEvent>>,
    /// Roles that no group has.
    pub missing: Vec<Missing>,
    conditions: Conditions,
}

/// `PERF_TYPE_SOFTWARE` of `linux/perf_event.h`.
const SOFTWARE: u32 = 1;

impl Rotation {
    /// For counting `roles` on `pmu`. Err: a name that is no role.
    pub fn new(pmu: &Pmu, roles: &[&str], scope: Scope) -> Result<Rotation> {
        let mut missing = Vec::new();
        let mut everywhere = Vec::new();
        let mut limited: Vec<Limited> = Vec::new();
        for name in roles {
            let role = role(name)?;
            let mut planned = PerfEvent {
                role: &role.name,
                kind: SOFTWARE,
                config: 0,
                config1: 0,
                exclude_kernel: scope == Scope::User,
            };
            if let Some(software) = role.software {
                planned.config = software.config;
                planned.exclude_kernel &= !software.in_kernel;
                everywhere.push(planned);
                continue;
            }
            match hardware(pmu, role) {
                Err(reason) => missing.push(Missing {
                    role: &role.name,
                    reason,
                }),
                Ok((kind, table)) => {
                    let (_, event) = table.event(role).expect("`hardware` has checked it");
                    planned.kind = kind;
                    planned.config = table.config(event);
                    planned.config1 = table.config1(event);
                    if event.fixed.is_some() {
                        everywhere.push(planned);
                    } else {
                        limited.push(Limited {
                            planned,
                            mask: table.counter_mask(event),
                            offcore: event.offcore,
                        });
                    }
                }
            }
        }
        let groups = match pmu.table {
            Some(table) => pack(limited, table, pmu.conditions.nmi_watchdog),
            None => Vec::new(),
        };
        let mut groups: Vec<Vec<PerfEvent>> = groups
            .into_iter()
            .map(|group| everywhere.iter().cloned().chain(group).collect())
            .collect();
        if groups.is_empty() && !everywhere.is_empty() {
            groups.push(everywhere);
        }
        Ok(Rotation {
            groups,
            missing,
            conditions: pmu.conditions.clone(),
        })
    }

    /// Every role that this machine or, without a PMU, its kernel can count.
    pub fn everything(pmu: &Pmu, scope: Scope) -> Rotation {
        let names: Vec<&str> = roles().iter().map(|role| role.name.as_str()).collect();
        Rotation::new(pmu, &names, scope).expect("all names are roles")
    }

    /// The roles that some group counts.
    pub fn roles(&self) -> Vec<&'static str> {
        let mut roles: Vec<&'static str> = Vec::new();
        for planned in self.groups.iter().flatten() {
            if !roles.contains(&planned.role) {
                roles.push(planned.role);
            }
        }
        roles
    }

    /// Number of the group that counts in a block.
    pub fn group_of(&self, block: u64) -> Option<usize> {
        let groups = self.groups.len() as u64;
        (groups > 0).then(|| (block % groups) as usize)
    }

    /// Open the group of a block for the calling thread, stopped. Whatever cannot be opened is in
    /// [`Open::read`]'s `missing`; the rest counts.
    pub fn open(&self, block: u64) -> Open {
        let group = self
            .group_of(block)
            .map_or(&[][..], |index| &self.groups[index]);
        Open::new(group, &self.conditions)
    }

    /// The missing roles by reason, so that each reason is said once.
    pub fn reasons(missing: &[Missing]) -> Vec<(&str, Vec<&'static str>)> {
        let mut by_reason: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
        for one in missing {
            let roles = by_reason.entry(&one.reason).or_default();
            if !roles.contains(&one.role) {
                roles.push(one.role);
            }
        }
        by_reason.into_iter().collect()
    }
}

/// The PMU and table that count a role on a machine, or why none does.
fn hardware(
    pmu: &Pmu,
    role: &CounterRole,
) -> std::result::Result<(u32, &'static EventTable), String> {
    let Some(table) = pmu.table else {
        return Err(match &pmu.cpu {
            Some(cpu) => format!(
                "no event table for this CPU ({cpu}); 'hitm counters list --arch' shows those \
                 there are"
            ),
            None => "no event table for CPUs of this vendor".to_owned(),
        });
    };
    if table.event(role).is_none() {
        return Err(table.why_absent(role));
    }
    let kind = pmu.number.ok_or_else(|| pmu.conditions.no_pmu())?;
    Ok((kind, table))
}

struct Limited {
    planned: PerfEvent,
    mask: u64,
    offcore: Option<u64>,
}

/// First fit: each event goes into the first group that the core can hold with it.
fn pack(events: Vec<Limited>, table: &EventTable, nmi_watchdog: bool) -> Vec<Vec<PerfEvent>> {
    let room = table.general_counters - usize::from(nmi_watchdog);
    let mut groups: Vec<Vec<Limited>> = Vec::new();
    for event in events {
        let place = groups.iter_mut().find(|group| {
            let mut masks: Vec<u64> = group.iter().map(|other| other.mask).collect();
            masks.push(event.mask);
            let mut offcore: Vec<u64> = group.iter().filter_map(|other| other.offcore).collect();
            offcore.extend(event.offcore);
            offcore.sort();
            offcore.dedup();
            masks.len() <= room && assignable(&masks) && offcore.len() <= table.offcore_registers
        });
        match place {
            Some(group) => group.push(event),
            None => groups.push(vec![event]),
        }
    }
    groups
        .into_iter()
        .map(|group| group.into_iter().map(|event| event.planned).collect())
        .collect()
}

/// Whether each event can have a counter of its own, out of those in its mask.
fn assignable(masks: &[u64]) -> bool {
    fn seat(event: usize, masks: &[u64], tried: &mut u64, held: &mut [Option<usize>; 64]) -> bool {
        for counter in 0..64 {
            let bit = 1u64 << counter;
            if masks[event] & bit == 0 || *tried & bit != 0 {
                continue;
            }
            *tried |= bit;
            let free = match held[counter] {
                None => true,
                Some(holder) => seat(holder, masks, tried, held),
            };
            if free {
                held[counter] = Some(event);
                return true;
            }
        }
        false
    }
    let mut held = [None; 64];
    (0..masks.len()).all(|event| seat(event, masks, &mut 0, &mut held))
}

#[cfg(test)]
mod tests {
    use super::super::table::tables;
    use super::*;

    fn pmu(arch: &str) -> Pmu {
        Pmu {
            cpu: None,
            table: Some(EventTable::parse(arch).unwrap()),
            number: Some(4),
            conditions: Conditions::default(),
        }
    }

    #[test]
    fn no_group_needs_more_than_the_core_has() {
        for table in tables() {
            for nmi_watchdog in [false, true] {
                let mut pmu = pmu(&table.arch);
                pmu.conditions.nmi_watchdog = nmi_watchdog;
                let rotation = Rotation::everything(&pmu, Scope::User);
                let counted: usize = rotation.groups.iter().map(Vec::len).sum();
                assert!(counted >= table.roles.len(), "{}", table.arch);
                for group in &rotation.groups {
                    let general: Vec<_> = group
                        .iter()
                        .filter(|planned| planned.kind == 4)
                        .filter_map(|planned| table.event(role(planned.role).unwrap()))
                        .filter(|(_, event)| event.fixed.is_none())
                        .collect();
                    let room = table.general_counters - usize::from(nmi_watchdog);
                    assert!(general.len() <= room, "{}: {group:?}", table.arch);
                    let offcore = general.iter().filter(|(_, e)| e.offcore.is_some()).count();
                    assert!(
                        offcore <= table.offcore_registers,
                        "{}: {group:?}",
                        table.arch
                    );
                }
            }
        }
    }

    #[test]
    fn events_that_only_one_counter_can_hold_are_not_put_together() {
        assert!(assignable(&[0b0100, 0b1111, 0b1111, 0b1111]));
        assert!(assignable(&[0b1111, 0b1111, 0b1111, 0b0001]));
        assert!(!assignable(&[0b0100, 0b0100]));
        assert!(!assignable(&[0b11, 0b11, 0b11]));
    }

    #[test]
    fn every_role_is_counted_or_missing_for_one_reason() {
        for table in tables() {
            let rotation = Rotation::everything(&pmu(&table.arch), Scope::User);
            for role in roles() {
                let counted = rotation
                    .groups
                    .iter()
                    .flatten()
                    .any(|p| p.role == role.name);
                let missing = rotation
                    .missing
                    .iter()
                    .filter(|m| m.role == role.name)
                    .count();
                assert_eq!(
                    usize::from(counted) + missing,
                    1,
                    "{} on {}",
                    role.name,
                    table.arch
                );
            }
        }
    }

    #[test]
    fn blocks_take_the_groups_in_turn() {
        let rotation = Rotation::everything(&pmu("broadwell-ep"), Scope::User);
        let groups = rotation.groups.len() as u64;
        assert!(groups > 1);
        let turn: Vec<_> = (0..groups)
            .filter_map(|block| rotation.group_of(block))
            .collect();
        assert_eq!(turn, (0..groups as usize).collect::<Vec<_>>());
        assert_eq!(rotation.group_of(groups), Some(0));
    }

    #[test]
    fn without_a_pmu_the_software_roles_stay_and_the_others_say_why() {
        let mut pmu = pmu("amdzen4");
        pmu.number = None;
        pmu.conditions.hypervisor = true;
        let rotation = Rotation::new(
            &pmu,
            &["page_faults", "fill_local_ccx", "hitm_local"],
            Scope::User,
        )
        .unwrap();
        assert_eq!(rotation.groups.len(), 1);
        assert_eq!(rotation.groups[0].len(), 1);
        let reasons = Rotation::reasons(&rotation.missing);
        assert_eq!(reasons.len(), 2);
        assert!(reasons.iter().any(|(why, roles)| {
            why.contains("no PMU in this virtual machine") && roles == &["fill_local_ccx"]
        }));
        assert!(reasons.iter().any(|(why, roles)| {
            why.contains("AMD has no HITM event") && roles == &["hitm_local"]
        }));
    }

    #[test]
    fn the_kernel_is_excluded_except_from_what_only_the_kernel_raises() {
        let rotation = Rotation::new(
            &pmu("broadwell-ep"),
            &["context_switches", "page_faults", "hitm_local"],
            Scope::User,
        )
        .unwrap();
        let excluded: Vec<_> = rotation.groups[0]
            .iter()
            .map(|p| (p.role, p.exclude_kernel))
            .collect();
        assert_eq!(
            excluded,
            [
                ("context_switches", false),
                ("page_faults", true),
                ("hitm_local", true)
            ]
        );
    }

    #[test]
    fn an_unknown_role_names_the_nearest() {
        let error = Rotation::new(&pmu("broadwell-ep"), &["hitm_locl"], Scope::User).unwrap_err();
        assert!(error.to_string().contains("hitm_local"), "{error}");
    }
}
