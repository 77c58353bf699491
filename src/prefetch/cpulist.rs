//! Sets of CPUs in the kernel's notation: `0-3,8`.

use crate::error::{Error, Result};
use crate::machine::{CpuId, cpu_list};
use std::collections::BTreeSet;

/// Highest CPU number accepted: NR_CPUS of the largest x86 kernel configuration (MAXSMP).
const HIGHEST: usize = 8191;

/// The CPUs that `list` names.
pub fn parse(list: &str) -> Result<BTreeSet<CpuId>> {
    let unusable = || {
        Error::Input(format!(
            "unusable CPU list '{list}'; write numbers and ranges up to {HIGHEST}, as in 0-3,8"
        ))
    };
    let number = |text: &str| {
        text.parse()
            .ok()
            .filter(|cpu: &usize| *cpu <= HIGHEST)
            .ok_or_else(unusable)
    };
    let mut cpus = BTreeSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(unusable());
        }
        cpus.extend((first..=last).map(CpuId));
    }
    Ok(cpus)
}

/// `cpus` as such a list.
pub fn format(cpus: impl IntoIterator<Item = CpuId>) -> String {
    cpu_list(cpus.into_iter().collect::<BTreeSet<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_back_as_it_was_written() {
        for list in ["0", "0-3", "0-3,8", "1,3,5-6"] {
            assert_eq!(format(parse(list).unwrap()), list);
        }
    }

    #[test]
    fn an_unusable_list_is_refused() {
        for list in ["", "a", "3-1", "0,,1", "-1", "0-", "0-99999999999"] {
            assert!(parse(list).is_err(), "{list}");
        }
    }
}
