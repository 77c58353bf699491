//! Which thread of a case has which role.

use crate::case::{Case, Threads};
use crate::error::{Error, Result};

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// The role of that number.
    Role(usize),
    /// In each pass one of the roles that share threads.
    Shared,
}

/// What each of so many threads does: roles with threads of their own come first, in the order of
/// the file.
///
/// # Errors
/// When the case does not run with so many threads.
pub fn duties(case: &Case, threads: usize) -> Result<Vec<Duty>> {
    let mut duties = Vec::with_capacity(threads);
    let mut rest = None;
    for (number, role) in case.roles.iter().enumerate() {
        match role.threads {
            Threads::Of(count) => duties.extend((0..count).map(|_| Duty::Role(number))),
            Threads::Rest => rest = rest.or(Some(Duty::Role(number))),
            Threads::Share(_) => rest = Some(Duty::Shared),
        }
    }
    let named = duties.len();
    let why = match rest {
        Some(_) if threads > named => {
            duties.resize(threads, rest.unwrap_or(Duty::Shared));
            return Ok(duties);
        }
        None if threads == named && threads > 0 => return Ok(duties),
        Some(_) => format!("{} at least", named + 1),
        None => named.to_string(),
    };
    Err(Error::Input(format!(
        "case {} does not run with {threads} threads; its roles need {why}: give --threads {}",
        case.name,
        match rest {
            Some(_) => named + 1,
            None => named,
        }
    )))
}

/// Whether it runs with more threads than [`Case::least_threads`].
pub fn has_rest(case: &Case) -> bool {
    let threads = case.roles.iter().map(|role| role.threads);
    threads.into_iter().any(|of| !matches!(of, Threads::Of(_)))
}

/// The roles of threads that share, and how much of their passes each has: what the shares leave is
/// the role's that takes the rest, or all have more in proportion.
pub fn shares(case: &Case) -> Vec<(usize, f64)> {
    let roles = case.roles.iter().enumerate();
    let mut shares: Vec<(usize, f64)> = roles
        .filter_map(|(number, role)| match role.threads {
            Threads::Share(share) => Some((number, share)),
            _ => None,
        })
        .collect();
    let sum: f64 = shares.iter().map(|(_, share)| share).sum();
    let rest = case
        .roles
        .iter()
        .position(|role| role.threads == Threads::Rest);
    match rest {
        Some(rest) => shares.push((rest, (1.0 - sum).max(0.0))),
        None => shares.iter_mut().for_each(|(_, share)| *share /= sum),
    }
    shares
}

/// In which of `passes` passes a thread begins: threads are spread over them.
pub fn phase(thread: usize, threads: usize, passes: u64) -> u64 {
    (u128::from(passes) * thread as u128 / threads.max(1) as u128) as u64
}
