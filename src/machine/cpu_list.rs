//! Lists of CPUs in the kernel's notation, `0-3,8`: the one parser and the one printer.

use super::topology::CpuId;
use crate::error::{Error, Result};

/// The largest CPU number accepted: `CONFIG_NR_CPUS` of x86-64 ends at 8192.
const MAX_CPU: usize = 8191;

/// The CPUs that `list` names, in its order; blank text, as in a file of sysfs, names none.
pub fn parse(list: &str) -> Result<Vec<CpuId>> {
    let input = |why: String| {
        Error::Input(format!(
            "CPU list '{}': {why}; write numbers and ranges up to {MAX_CPU}, as in 0-3,8",
            list.trim()
        ))
    };
    let number = |part: &str| match part.trim().parse() {
        Ok(cpu) if cpu <= MAX_CPU => Ok(cpu),
        _ => Err(input(format!("'{part}' is not a CPU number"))),
    };
    let mut cpus = Vec::new();
    if list.trim().is_empty() {
        return Ok(cpus);
    }
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(input(format!("the range {part} runs backwards")));
        }
        cpus.extend((first..=last).map(CpuId));
    }
    Ok(cpus)
}

/// `0,2,4-7`: ascending runs are joined, the order is kept, what follows itself is named once.
pub fn format(cpus: impl IntoIterator<Item = CpuId>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for CpuId(cpu) in cpus {
        match runs.last_mut() {
            Some((_, last)) if *last == cpu => {}
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    let runs: Vec<String> = runs
        .into_iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    runs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        for list in ["0", "0-3", "0-3,8", "1,3,5-6", "4,0-2", "8191", ""] {
            assert_eq!(format(parse(list).unwrap()), list);
        }
    }

    #[test]
    fn blanks_around_numbers_do_not_matter() {
        assert_eq!(parse(" 0 - 1, 3\n").unwrap(), [0, 1, 3].map(CpuId));
        assert_eq!(parse("\n").unwrap(), []);
    }

    #[test]
    fn an_unusable_list_is_refused() {
        for list in [
            "a",
            "3-1",
            "0,,1",
            "-1",
            "0-",
            "0,",
            "0-99999999999",
            "8192",
            "1--3",
        ] {
            let error = parse(list).unwrap_err().to_string();
            assert!(error.contains(list) && !error.contains('\n'), "{error}");
        }
    }
}
