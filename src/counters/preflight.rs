//! Proof that the counters of this machine count.
//!
//! Each role is tried on a load that must raise it, two pinned threads that fight over lines, and
//! on one that must not, the same work on lines of their own. A counter that stays at 0 where it
//! must rise is dead, and is never reported as a measured 0.

use super::open::{Missing, Readings};
use super::pmu::Pmu;
use super::rotation::{Rotation, Scope};
use super::table::{Proof, role, roles};
use crate::error::{Error, Result};
use crate::machine::pairs::{Pair, pairs};
use crate::machine::pin::pin_current_thread;
use crate::machine::preflight::Check;
use crate::machine::threads::join;
use crate::machine::{CpuId, Distance, Topology};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

crate::text::words! {
    /// What the trial of a counter showed.
    pub enum Status as "status of a counter" {
        /// It rose where it must, and where it must not it stayed well below.
        Works = "works",
        /// It opens, but stayed at 0 where it must rise.
        Dead = "dead",
        /// It rose as much where it must not.
        Noisy = "noisy",
        /// It opens; no load of this machine must raise it.
        Unproven = "unproven",
        /// It cannot be counted.
        Missing = "missing",
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

/// Whether the kernel counts for this process by itself, and with the PMU.
pub fn permitted() -> Result<[Check; 2]> {
    let pmu = Pmu::here();
    let check = |(what, role)| -> Result<Check> {
        let rotation = Rotation::new(&pmu, &[role], Scope::User)?;
        let open = rotation.open(0);
        let refused = rotation.missing.iter().chain(open.missing()).next();
        let finding = match refused.map(|one| one.reason.split_once("; ")) {
            None => Ok("perf_event_open".to_owned()),
            Some(Some((cause, remedy))) => Err((cause.to_owned(), remedy)),
            Some(None) => Err(("refused".to_owned(), "see `hitm counters list`")),
        };
        Ok(Check::of(what, finding))
    };
    let software = check(("software counters", "context_switches"))?;
    Ok([software, check(("hardware counters", "cycles"))?])
}

/// Try every role on this machine.
pub fn check(pmu: &Pmu, scope: Scope) -> Result<Vec<Checked>> {
    let pairs = pairs(&Topology::here()?);
    let near = pairs.first().map(|pair| pair.cpus).ok_or_else(|| {
        Error::Refused(
            "a preflight needs two CPUs; allow this process more (taskset, cpuset, or the size of \
             the virtual machine)"
                .to_owned(),
        )
    })?;
    let rotation = Rotation::everything(pmu, scope);
    let mut checked: Vec<Checked> = rotation.missing.iter().map(missing).collect();
    for group in 0..rotation.groups.len() as u64 {
        let alone = total(&rotation, group, near, false)?;
        let mut fights = Vec::new();
        for distance in [
            Distance::SameLlc,
            Distance::OtherLlc,
            Distance::OtherPackage,
        ] {
            if let Some(cpus) = apart(&pairs, distance) {
                fights.push((Some(distance), total(&rotation, group, cpus, true)?));
            }
        }
        if fights.is_empty() {
            // Two hardware threads of one core: enough for what the kernel counts.
            fights.push((None, total(&rotation, group, near, true)?));
        }
        for (name, control) in &alone.values {
            let role = role(name)?;
            let wanted = match role.proof {
                Some(Proof::Sharing(distance)) if !role.is_software() => Some(distance),
                _ => fights[0].0,
            };
            let fight = fights.iter().find(|(distance, _)| *distance == wanted);
            checked.push(match fight.map(|(_, readings)| readings.values.get(name)) {
                Some(Some(value)) => judge(name, role.proof, value.value, control.value),
                // Reported below, with the reason.
                Some(None) => continue,
                None => Checked::untried(name, Status::Unproven, unproven(wanted)),
            });
        }
        let gone = fights.iter().flat_map(|(_, readings)| &readings.missing);
        for one in alone.missing.iter().chain(gone) {
            if !checked.iter().any(|other| other.role == one.role) {
                checked.push(missing(one));
            }
        }
    }
    let order = |one: &Checked| roles().iter().position(|role| role.name == one.role);
    checked.sort_by_key(order);
    Ok(checked)
}

impl Checked {
    /// A counter that was not counted on both loads.
    fn untried(role: &'static str, status: Status, reason: &str) -> Checked {
        Checked {
            role,
            status,
            fighting: None,
            alone: None,
            reason: reason.to_owned(),
        }
    }
}

fn missing(one: &Missing) -> Checked {
    Checked::untried(one.role, Status::Missing, &one.reason)
}

/// Why a counter that opens is not tried, by the distance that its proof needs.
fn unproven(wanted: Option<Distance>) -> &'static str {
    match wanted {
        Some(Distance::SmtSibling) => "opens; its proof needs two SMT siblings",
        Some(Distance::SameLlc) => "opens; its proof needs two cores that share a last-level cache",
        Some(Distance::OtherLlc) => "opens; its proof needs two last-level caches in one socket",
        Some(Distance::OtherPackage) => "opens; its proof needs two sockets",
        None => "opens; no portable load must raise it",
    }
}

/// What the values on two loads say of a counter.
fn judge(role: &'static str, proof: Option<Proof>, fighting: f64, alone: f64) -> Checked {
    let (status, reason) = match proof {
        None => (Status::Unproven, unproven(None)),
        Some(_) if fighting == 0.0 => (
            Status::Dead,
            "opens, but stays at 0 on a load that must raise it: the hypervisor or firmware does \
             not feed it; do not trust it here",
        ),
        Some(Proof::Sharing(_)) if 2.0 * alone > fighting => (
            Status::Noisy,
            "rises nearly as much without any sharing; quieten the machine and check again",
        ),
        Some(_) => (Status::Works, ""),
    };
    Checked {
        fighting: Some(fighting),
        alone: Some(alone),
        ..Checked::untried(role, status, reason)
    }
}

/// A line of its own, whatever the machine prefetches: 256 bytes.
#[derive(Default)]
#[repr(align(256))]
struct Alone(AtomicU64);

/// Both threads' counters on one load.
fn total(rotation: &Rotation, group: u64, cpus: [CpuId; 2], fight: bool) -> Result<Readings> {
    let lines: [Alone; 4] = Default::default();
    let ready = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let readings = std::thread::scope(|scope| {
        let spawned: Vec<_> = cpus
            .into_iter()
            .enumerate()
            .map(|(me, cpu)| {
                let (lines, ready, done) = (&lines, &ready, &done);
                scope.spawn(move || {
                    // The other waits for this one all the same.
                    let pinned = pin_current_thread(cpu);
                    let mut open = rotation.open(group);
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
                    pinned.map(|_| open.read())
                })
            })
            .collect();
        spawned.into_iter().map(join).collect::<Result<Vec<_>>>()
    });
    readings.map(Readings::total)
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

/// Two CPUs that are so far apart.
fn apart(pairs: &[Pair], distance: Distance) -> Option<[CpuId; 2]> {
    let pair = pairs.iter().find(|pair| pair.distance == distance);
    pair.map(|pair| pair.cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_of_a_trial_sit_exactly_as_far_apart_as_asked() {
        let cpus = |machine: &str, distance| {
            let pairs = pairs(&Topology::from_synthetic(machine).unwrap());
            apart(&pairs, distance).map(|cpus| cpus.map(|cpu| cpu.0))
        };
        let large = "pack:2 l3:2 core:2 pu:2";
        assert_eq!(cpus(large, Distance::SmtSibling), Some([0, 1]));
        assert_eq!(cpus(large, Distance::SameLlc), Some([0, 2]));
        assert_eq!(cpus(large, Distance::OtherLlc), Some([0, 4]));
        assert_eq!(cpus(large, Distance::OtherPackage), Some([0, 8]));
        assert_eq!(cpus("pack:1 l3:1 core:1 pu:2", Distance::SameLlc), None);
        assert_eq!(
            cpus("pack:1 l3:2 core:2 pu:2", Distance::OtherPackage),
            None
        );
        assert_eq!(cpus("pack:1 l3:1 core:1 pu:1", Distance::SmtSibling), None);
    }

    #[test]
    fn counters_that_are_refused_have_a_reason_and_a_remedy() {
        for check in permitted().unwrap() {
            assert!(
                !check.found.is_empty() && !check.found.contains('\n'),
                "{check:?}"
            );
            assert_eq!(check.granted, check.remedy.is_none(), "{check:?}");
        }
    }

    #[test]
    fn a_counter_that_stays_at_0_where_it_must_rise_is_dead() {
        let sharing = Some(Proof::Sharing(Distance::SameLlc));
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
