//! Which threads have a role of a written case, and which objects stand for those that were touched.

use crate::case::perf::{CountUnit, GroupedBy, RecordedRole};
use crate::layout::StructLayout;
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of the objects of a written case.
const OBJECT_BYTES: u64 = 64 << 20;

/// How threads are given to roles, as lines of the file.
pub(super) fn threads(roles: &[RecordedRole], by: GroupedBy, unit: CountUnit) -> Vec<String> {
    if roles.len() == 1 {
        return vec!["threads = \"rest\"".to_owned()];
    }
    if by == GroupedBy::Comm && roles.iter().all(|role| !role.threads.is_empty()) {
        let most = (0..roles.len()).max_by_key(|&i| roles.get(i).map(|role| role.threads.len()));
        let line = |(i, role): (usize, &RecordedRole)| match Some(i) == most {
            true => format!(
                "threads = \"rest\"          # {} recorded",
                role.threads.len()
            ),
            false => format!("threads = {}", role.threads.len()),
        };
        return roles.iter().enumerate().map(line).collect();
    }
    // Thousandths, the most used role what the others leave.
    let weight = |role: &RecordedRole| match unit {
        CountUnit::Stated => 1,
        _ => u128::from(role.all().max(1)),
    };
    let all: u128 = roles.iter().map(weight).sum();
    let others: Vec<u128> = roles
        .iter()
        .skip(1)
        .map(|role| (weight(role) * 1000 / all).max(1))
        .collect();
    let first = 1000 - others.iter().sum::<u128>();
    let shares = std::iter::once(first).chain(others);
    shares
        .map(|share| format!("share = {}.{:03}", share / 1000, share % 1000))
        .collect()
}

/// Which objects of the case stand for those that were touched.
pub(super) struct Seats {
    /// Objects of the case; 0 where the profiles do not say which object was touched.
    pub count: u64,
    /// The number in the case of each that was touched.
    pub seats: BTreeMap<u64, u64>,
    /// Whether the distances between them are those recorded.
    pub in_place: bool,
}

impl Seats {
    pub fn of(layout: &StructLayout, roles: &[RecordedRole]) -> Seats {
        let touched: BTreeSet<u64> = roles
            .iter()
            .flat_map(|role| role.objects.keys().copied())
            .collect();
        let most =
            OBJECT_BYTES / (layout.bytes.next_multiple_of(layout.align.max(1)) as u64).max(1);
        let (first, last) = (
            touched.first().copied().unwrap_or(0),
            touched.last().copied().unwrap_or(0),
        );
        let span = last - first;
        let in_place = span < most.min(touched.len() as u64 * 64);
        let seat = |(rank, object): (usize, &u64)| {
            (
                *object,
                if in_place {
                    object - first
                } else {
                    (rank as u64).min(most - 1)
                },
            )
        };
        let seats: BTreeMap<u64, u64> = touched.iter().enumerate().map(seat).collect();
        Seats {
            count: seats.values().last().map_or(0, |last| last + 1),
            seats,
            in_place,
        }
    }

    /// Which object a role's passes go to; `None` where there is only one.
    pub fn pick(&self, role: &RecordedRole) -> Option<String> {
        if self.count < 2 {
            return None;
        }
        if let (1, Some(object)) = (role.objects.len(), role.objects.keys().next()) {
            return self.seats.get(object).map(u64::to_string);
        }
        let alone: BTreeSet<u32> = role.objects.values().flatten().copied().collect();
        let own = alone.len() == role.objects.len() && role.threads.len() == alone.len();
        Some(if own {
            "\"own\"".to_owned()
        } else {
            "\"random\"".to_owned()
        })
    }
}
