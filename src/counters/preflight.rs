//! Proof that the counters of this machine count.
//!
//! Each role is tried on a load that must raise it, two pinned threads that fight over lines, and
//! on one that must not, the same work on lines of their own. A counter that stays at 0 where it
//! must rise is dead, and is never reported as a measured 0.

use super::machine::Machine;
use super::open::Readings;
use super::plan::{Missing, Plan, Scope};
use super::table::{Proof, Reach, role};
use crate::error::{Error, Result};
use core_affinity::CoreId;
use std::fs::read_to_string;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What the trial of a counter showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It rose where it must, and where it must not it stayed well below.
    Works,
    /// It opens, but stayed at 0 where it must rise.
    Dead,
    /// It rose as much where it must not.
    Noisy,
    /// It opens; no load of this machine must raise it.
    Unproven,
    /// It cannot be counted.
    Missing,
}

impl Status {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Status::Works => "works",
            Status::Dead => "dead",
            Status::Noisy => "noisy",
            Status::Unproven => "unproven",
            Status::Missing => "missing",
        }
    }
}

/// The trial of one counter. Values are sums over both threads, in the role's unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The role.
    pub role: &'static str,
    /// What the trial showed.
    pub status: Status,
    /// On the load that must raise it.
    pub fighting: Option<f64>,
    /// On the load that must not.
    pub alone: Option<f64>,
    /// Why it is not proven to work, in one line; empty where it works.
    pub reason: String,
}

/// Turns of each thread in one load: some ten milliseconds while the line is fought over.
const TURNS: u64 = 50_000;
/// Times that a thread sleeps in the load that must raise context switches.
const SLEEPS: usize = 8;

/// Try every role on this machine.
pub fn check(machine: &Machine, scope: Scope) -> Result<Vec<Checked>> {
    let places = places();
    let near = pair(&places, None).ok_or_else(|| {
        Error::Refused(
            "a preflight needs two CPUs; allow this process more (taskset, cpuset, or the size of \
             the virtual machine)"
                .to_owned(),
        )
    })?;
    let plan = Plan::everything(machine, scope);
    let mut checked: Vec<Checked> = plan.missing.iter().map(missing).collect();
    for group in 0..plan.groups.len() as u64 {
        let alone = total(&plan, group, near, false)?;
        let mut fights = Vec::new();
        for reach in [Reach::SameLlc, Reach::CrossLlc, Reach::CrossSocket] {
            if let Some(cpus) = pair(&places, Some(reach)) {
                fights.push((Some(reach), total(&plan, group, cpus, true)?));
            }
        }
        if fights.is_empty() {
            // Two hardware threads of one core: enough for what the kernel counts.
            fights.push((None, total(&plan, group, near, true)?));
        }
        for (name, control) in &alone.values {
            let role = role(name)?;
            let wanted = match role.proof {
                Some(Proof::Sharing(reach)) if !role.is_software() => Some(reach),
                _ => fights[0].0,
            };
            let fight = fights.iter().find(|(reach, _)| *reach == wanted);
            checked.push(match fight.map(|(_, readings)| readings.values.get(name)) {
                Some(Some(value)) => judge(name, role.proof, value.value, control.value),
                // Reported below, with the reason.
                Some(None) => continue,
                None => unproven(name, wanted),
            });
        }
        let gone = fights.iter().flat_map(|(_, readings)| &readings.missing);
        for one in alone.missing.iter().chain(gone) {
            if !checked.iter().any(|other| other.role == one.role) {
                checked.push(missing(one));
            }
        }
    }
    let order = |one: &Checked| super::roles().iter().position(|role| role.name == one.role);
    checked.sort_by_key(order);
    Ok(checked)
}

fn missing(one: &Missing) -> Checked {
    Checked {
        role: one.role,
        status: Status::Missing,
        fighting: None,
        alone: None,
        reason: one.reason.clone(),
    }
}

fn unproven(role: &'static str, wanted: Option<Reach>) -> Checked {
    let reason = match wanted {
        Some(Reach::SameLlc) => "opens; its proof needs two cores that share a last-level cache",
        Some(Reach::CrossLlc) => "opens; its proof needs two last-level caches in one socket",
        Some(Reach::CrossSocket) => "opens; its proof needs two sockets",
        None => "opens; no portable load must raise it",
    };
    Checked {
        role,
        status: Status::Unproven,
        fighting: None,
        alone: None,
        reason: reason.to_owned(),
    }
}

/// What the values on two loads say of a counter.
fn judge(role: &'static str, proof: Option<Proof>, fighting: f64, alone: f64) -> Checked {
    let (status, reason) = match proof {
        None => (Status::Unproven, unproven(role, None).reason),
        Some(_) if fighting == 0.0 => (
            Status::Dead,
            "opens, but stays at 0 on a load that must raise it: the hypervisor or firmware does \
             not feed it; do not trust it here"
                .to_owned(),
        ),
        Some(Proof::Sharing(_)) if 2.0 * alone > fighting => (
            Status::Noisy,
            "rises nearly as much without any sharing; quieten the machine and check again"
                .to_owned(),
        ),
        Some(_) => (Status::Works, String::new()),
    };
    Checked {
        role,
        status,
        fighting: Some(fighting),
        alone: Some(alone),
        reason,
    }
}

/// A line of its own, whatever the machine prefetches: 256 bytes.
#[derive(Default)]
#[repr(align(256))]
struct Line(AtomicU64);

/// Both threads' counters on one load.
fn total(plan: &Plan, group: u64, cpus: (usize, usize), fight: bool) -> Result<Readings> {
    let lines: [Line; 4] = Default::default();
    let ready = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let threads = std::thread::scope(|scope| {
        let spawned: Vec<_> = [cpus.0, cpus.1]
            .into_iter()
            .enumerate()
            .map(|(me, cpu)| {
                let (lines, ready, done) = (&lines, &ready, &done);
                scope.spawn(move || {
                    let pinned = core_affinity::set_for_current(CoreId { id: cpu });
                    let mut open = plan.open(group);
                    ready.fetch_add(1, Ordering::SeqCst);
                    while ready.load(Ordering::SeqCst) < 2 {
                        std::thread::yield_now();
                    }
                    open.enable();
                    // `lines[2..]` are stored to by one thread and read by the other.
                    let (counted, read) = if fight { (0, 3 - me) } else { (me, 2 + me) };
                    let mut turns = 0;
                    while turns < TURNS || done.load(Ordering::Relaxed) < 2 {
                        lines[counted].0.fetch_add(1, Ordering::Relaxed);
                        lines[2 + me].0.store(turns, Ordering::Relaxed);
                        black_box(lines[read].0.load(Ordering::Relaxed));
                        turns += 1;
                        if turns == TURNS {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    if fight {
                        touch_fresh_pages();
                        for _ in 0..SLEEPS {
                            std::thread::sleep(Duration::from_micros(50));
                        }
                    }
                    open.disable();
                    pinned.then(|| open.read())
                })
            })
            .collect();
        spawned
            .into_iter()
            .map(|thread| thread.join())
            .collect::<Vec<_>>()
    });
    let readings: Option<Vec<Readings>> = threads
        .into_iter()
        .map(|thread| thread.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        .collect();
    readings.map(Readings::total).ok_or_else(|| {
        Error::Refused(format!(
            "cannot pin a thread to CPU {} or {}; check the cpuset of this process",
            cpus.0, cpus.1
        ))
    })
}

/// Write to pages that come straight from the kernel.
fn touch_fresh_pages() {
    // 32 MiB is the most that glibc's malloc serves from memory it has used before
    // (DEFAULT_MMAP_THRESHOLD_MAX). One write each 512 KiB faults even where pages are 2 MiB.
    let mut memory = vec![0u8; 40 << 20];
    for page in memory.chunks_mut(512 << 10) {
        page[0] = 1;
    }
    black_box(memory);
}

/// Where a CPU is.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    cpu: usize,
    package: String,
    core: String,
    llc: String,
}

/// The CPUs this process may run on.
fn places() -> Vec<Place> {
    let known = core_affinity::get_core_ids().unwrap_or_default();
    known
        .into_iter()
        .map(|CoreId { id: cpu }| {
            let file = |path: &str| {
                read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/{path}"))
                    .map(|text| text.trim().to_owned())
                    .unwrap_or_default()
            };
            let package = file("topology/physical_package_id");
            let llc = (0..8)
                .rev()
                .map(|index| file(&format!("cache/index{index}/shared_cpu_list")))
                .find(|list| !list.is_empty());
            Place {
                cpu,
                core: file("topology/core_cpus_list"),
                llc: llc.unwrap_or_else(|| package.clone()),
                package,
            }
        })
        .collect()
}

/// Two CPUs that are so far apart, and no further; any two without a `reach`.
fn pair(places: &[Place], reach: Option<Reach>) -> Option<(usize, usize)> {
    let apart = |a: &Place, b: &Place| match reach {
        None => a.cpu != b.cpu,
        Some(Reach::SameLlc) => a.core != b.core && a.llc == b.llc && a.package == b.package,
        Some(Reach::CrossLlc) => a.llc != b.llc && a.package == b.package,
        Some(Reach::CrossSocket) => a.package != b.package,
    };
    places.iter().enumerate().find_map(|(index, a)| {
        let b = places[index + 1..].iter().find(|b| apart(a, b))?;
        Some((a.cpu, b.cpu))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(cpu: usize, core: usize, llc: usize, package: usize) -> Place {
        Place {
            cpu,
            core: core.to_string(),
            llc: llc.to_string(),
            package: package.to_string(),
        }
    }

    #[test]
    fn the_threads_of_a_trial_sit_exactly_as_far_apart_as_asked() {
        // Two sockets of two caches of two cores of two hardware threads.
        let all: Vec<Place> = (0..16)
            .map(|cpu| place(cpu, cpu / 2, cpu / 4, cpu / 8))
            .collect();
        assert_eq!(pair(&all, None), Some((0, 1)));
        assert_eq!(pair(&all, Some(Reach::SameLlc)), Some((0, 2)));
        assert_eq!(pair(&all, Some(Reach::CrossLlc)), Some((0, 4)));
        assert_eq!(pair(&all, Some(Reach::CrossSocket)), Some((0, 8)));
        assert_eq!(pair(&all[..2], Some(Reach::SameLlc)), None);
        assert_eq!(pair(&all[..8], Some(Reach::CrossSocket)), None);
        assert_eq!(pair(&all[..1], None), None);
    }

    #[test]
    fn a_counter_that_stays_at_0_where_it_must_rise_is_dead() {
        let sharing = Some(Proof::Sharing(Reach::SameLlc));
        assert_eq!(judge("hitm_local", sharing, 0.0, 0.0).status, Status::Dead);
        assert_eq!(
            judge("cycles", Some(Proof::Any), 0.0, 0.0).status,
            Status::Dead
        );
        assert_eq!(
            judge("hitm_local", sharing, 1000.0, 3.0).status,
            Status::Works
        );
        assert_eq!(
            judge("hitm_local", sharing, 1000.0, 900.0).status,
            Status::Noisy
        );
        assert_eq!(
            judge("cycles", Some(Proof::Any), 1000.0, 1000.0).status,
            Status::Works
        );
        assert_eq!(judge("bus_access", None, 0.0, 0.0).status, Status::Unproven);
    }
}
