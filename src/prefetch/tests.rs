//! Promises of register control, on registers that fail as told.

use super::guard::restore_through;
use super::journal::{Journal, Lifetime, Saved};
use super::*;
use crate::error::{Error, Result};
use crate::machine::{CpuId, Vendor};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// The register of Intel cores.
const CONTROL: u32 = 0x1a4;
/// Its four prefetcher bits.
const ALL: u64 = 0xf;
const ADJACENT: Which = Which::One(Prefetcher::Adjacent);

/// Every error a call is made to fail with. A short read has no number.
const ERRORS: [Option<i32>; 9] = {
    use rustix::io::Errno;
    [
        None,
        Some(Errno::PERM.raw_os_error()),
        Some(Errno::ACCESS.raw_os_error()),
        Some(Errno::NOENT.raw_os_error()),
        Some(Errno::IO.raw_os_error()),
        Some(Errno::INVAL.raw_os_error()),
        Some(Errno::MFILE.raw_os_error()),
        Some(Errno::NODEV.raw_os_error()),
        Some(Errno::NXIO.raw_os_error()),
    ]
};

#[derive(Default)]
struct Inner {
    values: BTreeMap<usize, u64>,
    /// CPUs that share their register with another.
    shared_with: BTreeMap<usize, usize>,
    ignores_writes: Vec<usize>,
    fails_on_write: Vec<usize>,
    /// Calls so far.
    calls: usize,
    /// These calls fail, with this error.
    failing: Option<(std::ops::Range<usize>, Option<i32>)>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Inner>>);

impl Fake {
    /// Eight CPUs, no two alike, with bits set that are no prefetcher's.
    fn mixed() -> Fake {
        let fake = Fake::default();
        fake.0.lock().unwrap().values = (0..8).map(|cpu| (cpu, mixed(cpu))).collect();
        fake
    }

    fn values(&self) -> Vec<u64> {
        self.0.lock().unwrap().values.values().copied().collect()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }
}

fn mixed(cpu: usize) -> u64 {
    0xa5a5_0000_0000_0020 | (cpu as u64) << 32 | (cpu as u64 * 5) & ALL
}

impl Inner {
    fn call(&mut self, access: Access) -> std::result::Result<(), Fault> {
        let call = self.calls;
        self.calls += 1;
        match &self.failing {
            Some((calls, error)) if calls.contains(&call) => Err(Fault {
                access,
                error: match error {
                    Some(code) => io::Error::from_raw_os_error(*code),
                    None if access == Access::Write => io::ErrorKind::WriteZero.into(),
                    None => io::ErrorKind::UnexpectedEof.into(),
                },
            }),
            _ => Ok(()),
        }
    }

    fn owner(&self, cpu: usize) -> usize {
        self.shared_with.get(&cpu).copied().unwrap_or(cpu)
    }
}

impl Registers for Fake {
    fn read(&self, CpuId(cpu): CpuId, register: u32) -> std::result::Result<u64, Fault> {
        assert_eq!(register, CONTROL);
        let mut inner = self.0.lock().unwrap();
        inner.call(Access::Read)?;
        Ok(inner.values[&inner.owner(cpu)])
    }

    fn write(
        &self,
        CpuId(cpu): CpuId,
        register: u32,
        value: u64,
    ) -> std::result::Result<(), Fault> {
        assert_eq!(register, CONTROL);
        let mut inner = self.0.lock().unwrap();
        inner.call(Access::Write)?;
        if inner.fails_on_write.contains(&cpu) {
            return Err(Fault {
                access: Access::Write,
                error: rustix::io::Errno::IO.into(),
            });
        }
        if !inner.ignores_writes.contains(&cpu) {
            let owner = inner.owner(cpu);
            inner.values.insert(owner, value);
        }
        Ok(())
    }
}

struct Rig {
    fake: Fake,
    place: Place,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Rig {
        // In memory, where it is: these tests sync the journal a thousand times.
        let memory = std::path::Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.unwrap();
        let root = folder.path().join("cpu");
        std::fs::create_dir(&root).unwrap();
        Rig {
            fake: Fake::mixed(),
            place: Place::folder(&root).unwrap(),
            _folder: folder,
        }
    }

    fn control(&self) -> Control {
        Control::with_registers(
            self.place.clone(),
            Cpus::described(Vendor::Intel, Some((6, 0x4f))),
            (0..8).map(CpuId).collect(),
            Box::new(self.fake.clone()),
        )
    }

    fn restore(&self) -> Result<Restored> {
        restore_through(&self.place, &self.fake)
    }

    fn is_as_at_the_start(&self) -> bool {
        self.fake.values() == (0..8).map(mixed).collect::<Vec<_>>()
    }
}

#[test]
fn each_cpu_gets_its_own_value_back() {
    for (which, mask) in [(ADJACENT, 0x2), (Which::All, ALL)] {
        for (state, bits) in [(Switch::Off, mask), (Switch::On, 0)] {
            let bench = Rig::new();
            bench.control().apply(which, state).unwrap();
            for (cpu, value) in bench.fake.values().into_iter().enumerate() {
                assert_eq!(value & mask, bits);
                assert_eq!(value & !mask, mixed(cpu) & !mask, "only these bits change");
            }
            assert_eq!(bench.restore().unwrap(), Restored::PutBack("0-7".into()));
            assert!(bench.is_as_at_the_start());
            assert_eq!(bench.restore().unwrap(), Restored::Nothing);
        }
    }
}

#[test]
fn a_bit_that_another_changed_meanwhile_stays() {
    let bench = Rig::new();
    bench.control().apply(ADJACENT, Switch::Off).unwrap();
    bench
        .fake
        .with(|inner| *inner.values.get_mut(&3).unwrap() ^= 1 << 60);
    bench.restore().unwrap();
    let mut expected: Vec<u64> = (0..8).map(mixed).collect();
    expected[3] ^= 1 << 60;
    assert_eq!(bench.fake.values(), expected);
}

#[test]
fn a_cpu_that_fails_on_write_puts_every_cpu_back() {
    let bench = Rig::new();
    bench.fake.with(|inner| inner.fails_on_write.push(5));
    // CPU 5 has the adjacent bit clear, so switching it off needs the write.
    let error = bench.control().apply(Which::All, Switch::Off).unwrap_err();
    assert!(matches!(error, Error::Refused(_)));
    let message = error.to_string();
    assert!(
        message.contains("CPU 5") && message.contains("put back"),
        "{message}"
    );
    assert!(bench.is_as_at_the_start());
    assert!(!bench.place.journal().exists());
}

#[test]
fn an_ignored_write_is_noticed() {
    let bench = Rig::new();
    bench.fake.with(|inner| inner.ignores_writes.push(4));
    let error = bench.control().apply(Which::All, Switch::Off).unwrap_err();
    assert!(error.to_string().contains("CPU 4 ignored"), "{error}");
    assert!(bench.is_as_at_the_start());
}

#[test]
fn a_cpu_that_cannot_be_read_stops_before_any_write() {
    let bench = Rig::new();
    bench.fake.with(|inner| inner.failing = Some((7..8, None)));
    bench.control().apply(Which::All, Switch::Off).unwrap_err();
    assert_eq!(bench.fake.with(|inner| inner.calls), 8, "reads alone");
    assert!(bench.is_as_at_the_start());
    assert!(!bench.place.journal().exists());
}

#[test]
fn a_register_that_drifts_is_named_with_its_cpu() {
    let bench = Rig::new();
    let control = bench.control();
    let mut guard = control.guard(ADJACENT).unwrap();
    for state in [Switch::Off, Switch::On, Switch::Off] {
        guard.set(state).unwrap();
        assert!(guard.verify().unwrap().is_none());
    }
    bench
        .fake
        .with(|inner| *inner.values.get_mut(&6).unwrap() ^= 0x2);
    let drift = guard.verify().unwrap();
    assert_eq!(drift.cpus().collect::<Vec<_>>(), [CpuId(6)]);
    assert!(drift.to_string().contains("CPU 6"), "{drift}");
    guard.set(Switch::Off).unwrap();
    assert!(guard.verify().unwrap().is_none());
    drop(guard);
    assert!(bench.is_as_at_the_start());
}

#[test]
fn a_guard_puts_everything_back_on_drop_error_and_panic() {
    let bench = Rig::new();
    let control = bench.control();
    let mut guard = control.guard(Which::All).unwrap();
    assert!(bench.place.journal().exists(), "before the first write");
    guard.set(Switch::Off).unwrap();
    assert!(!bench.is_as_at_the_start());
    drop(guard);
    assert!(bench.is_as_at_the_start());

    let panicked = std::panic::catch_unwind(|| {
        let control = bench.control();
        let mut guard = control.guard(Which::All).unwrap();
        guard.set(Switch::On).unwrap();
        assert!(!bench.is_as_at_the_start());
        panic!("a sample went wrong");
    });
    assert!(panicked.is_err());
    assert!(bench.is_as_at_the_start());
    assert!(!bench.place.journal().exists());
}

#[test]
fn a_guard_leaves_a_lasting_change_as_it_found_it() {
    let bench = Rig::new();
    let control = bench.control();
    control
        .apply(Which::One(Prefetcher::Dcu), Switch::Off)
        .unwrap();
    let lasting = bench.fake.values();
    let mut guard = control.guard(ADJACENT).unwrap();
    guard.set(Switch::On).unwrap();
    guard.set(Switch::Off).unwrap();
    guard.restore().unwrap();
    assert_eq!(bench.fake.values(), lasting);
    assert_eq!(bench.restore().unwrap(), Restored::PutBack("0-7".into()));
    assert!(bench.is_as_at_the_start());
}

#[test]
fn a_second_change_does_not_overwrite_what_the_first_saved() {
    let bench = Rig::new();
    let control = bench.control();
    control.apply(ADJACENT, Switch::Off).unwrap();
    control.apply(Which::All, Switch::Off).unwrap();
    control.apply(Which::All, Switch::On).unwrap();
    bench.restore().unwrap();
    assert!(bench.is_as_at_the_start());
}

#[test]
fn siblings_that_share_a_register_are_put_back_to_what_it_held_first() {
    let bench = Rig::new();
    // CPUs 4-7 are the second threads of CPUs 0-3.
    bench
        .fake
        .with(|inner| inner.shared_with = (4..8).map(|cpu| (cpu, cpu - 4)).collect());
    let mut control = bench.control();
    control.selected = [0, 1].map(CpuId).to_vec();
    control.apply(Which::All, Switch::Off).unwrap();
    control.selected = [4, 5].map(CpuId).to_vec();
    control.apply(Which::All, Switch::Off).unwrap();
    assert_eq!(
        bench.restore().unwrap(),
        Restored::PutBack("0-1,4-5".into())
    );
    assert!(bench.is_as_at_the_start());
}

#[test]
fn a_change_that_ends_where_it_began_leaves_no_journal() {
    let bench = Rig::new();
    bench
        .fake
        .with(|inner| inner.values.values_mut().for_each(|value| *value = 0x20));
    let control = bench.control();
    assert_eq!(control.apply(Which::All, Switch::On).unwrap().written, 0);
    assert!(!bench.place.journal().exists());
    control.apply(Which::All, Switch::Off).unwrap();
    assert!(bench.place.journal().exists());
    control.apply(Which::All, Switch::On).unwrap();
    assert!(!bench.place.journal().exists());
}

#[test]
fn e_cores_are_left_alone_and_named() {
    let bench = Rig::new();
    let mut control = bench.control();
    control.cpus = Cpus::described(Vendor::Intel, Some((6, 0x97)));
    control.cpus.efficient = [6, 7].map(CpuId).into();
    let applied = control.apply(ADJACENT, Switch::Off).unwrap();
    assert_eq!((&*applied.cpus, &*applied.without), ("0-5", "6-7"));
    assert_eq!(bench.fake.values()[6..], [mixed(6), mixed(7)]);
    control.selected = [6, 7].map(CpuId).to_vec();
    let error = control
        .apply(ADJACENT, Switch::Off)
        .unwrap_err()
        .to_string();
    assert!(error.contains("Gracemont"), "{error}");
}

#[test]
fn two_instances_exclude_each_other() {
    let bench = Rig::new();
    let control = bench.control();
    let guard = control.guard(Which::All).unwrap();
    let pid = std::process::id().to_string();
    for error in [
        control.guard(ADJACENT).err().unwrap(),
        control.apply(ADJACENT, Switch::Off).unwrap_err(),
        bench.restore().unwrap_err(),
    ] {
        assert!(matches!(error, Error::Refused(_)));
        assert!(error.to_string().contains(&pid), "{error}");
    }
    drop(guard);
    control.apply(ADJACENT, Switch::Off).unwrap();
}

/// A journal as a killed `run` leaves it.
fn orphan(bench: &Rig) {
    let saved = |cpu| Saved {
        cpu: CpuId(cpu),
        register: CONTROL,
        original: mixed(cpu),
        managed: 0x2,
    };
    let journal = Journal::new(&bench.place, Lifetime::Run, (0..8).map(saved).collect());
    journal.store(&bench.place).unwrap();
}

#[test]
fn what_a_killed_run_left_behind_is_noticed_and_put_back_first() {
    let bench = Rig::new();
    assert_eq!(leftover(&bench.place), None);
    orphan(&bench);
    bench
        .fake
        .with(|inner| inner.values.values_mut().for_each(|value| *value ^= 0x2));
    let note = leftover(&bench.place).unwrap();
    assert!(
        note.contains("0-7") && note.contains("hitm prefetch restore"),
        "{note}"
    );
    let error = bench.control().guard(ADJACENT).err().unwrap().to_string();
    assert!(error.contains("hitm prefetch restore"), "{error}");
    bench.restore().unwrap();
    assert!(bench.is_as_at_the_start());
    assert_eq!(leftover(&bench.place), None);
    bench.control().guard(ADJACENT).unwrap();
}

#[test]
fn a_run_under_way_is_no_leftover() {
    let bench = Rig::new();
    let control = bench.control();
    let _guard = control.guard(ADJACENT).unwrap();
    assert!(bench.place.journal().exists());
    assert_eq!(leftover(&bench.place), None);
}

#[test]
fn a_journal_of_foreign_registers_is_not_obeyed() {
    let bench = Rig::new();
    for (register, managed) in [(0x1a4, 0x20), (0x10, 1), (0x1a0, 0xf)] {
        let saved = Saved {
            cpu: CpuId(0),
            register,
            original: u64::MAX,
            managed,
        };
        let journal = Journal::new(&bench.place, Lifetime::UntilRestore, vec![saved]);
        journal.store(&bench.place).unwrap();
        let error = bench.restore().unwrap_err();
        assert!(error.to_string().contains("nothing was written"), "{error}");
        assert!(bench.place.journal().exists());
    }
    assert!(bench.is_as_at_the_start());
}

#[test]
fn a_cpu_that_cannot_be_put_back_keeps_the_journal_and_the_others_are() {
    let bench = Rig::new();
    bench.control().apply(Which::All, Switch::Off).unwrap();
    bench.fake.with(|inner| inner.fails_on_write.push(2));
    let error = bench.restore().unwrap_err().to_string();
    assert!(error.contains("NOT put back: CPUs 2:"), "{error}");
    let values = bench.fake.values();
    assert!(
        (0..8)
            .filter(|cpu| *cpu != 2)
            .all(|cpu| values[cpu] == mixed(cpu))
    );
    bench.fake.with(|inner| inner.fails_on_write.clear());
    bench.restore().unwrap();
    assert!(bench.is_as_at_the_start());
}

/// Every call in turn fails, once or from then on: nothing panics, a message says what failed and
/// what to do, and whatever was changed can be put back.
#[test]
fn any_failing_access_leaves_registers_that_can_be_put_back() {
    let calls = {
        let bench = Rig::new();
        bench.control().apply(Which::All, Switch::Off).unwrap();
        bench.restore().unwrap();
        bench.fake.with(|inner| inner.calls)
    };
    for first in 0..calls {
        for last in [first, usize::MAX - 1] {
            let bench = Rig::new();
            let error = ERRORS[first % ERRORS.len()];
            bench
                .fake
                .with(|inner| inner.failing = Some((first..last + 1, error)));
            let applied = bench.control().apply(Which::All, Switch::Off);
            let restored = bench.restore();
            for message in [applied.err(), restored.err()].into_iter().flatten() {
                assert_explains(&message.to_string());
            }
            bench.fake.with(|inner| inner.failing = None);
            bench.restore().unwrap();
            assert!(bench.is_as_at_the_start(), "call {first} fails: {error:?}");
        }
    }
}

#[test]
fn every_error_is_explained() {
    let bench = Rig::new();
    for place in [&bench.place, &Place::machine()] {
        for access in [Access::Open, Access::Read, Access::Write] {
            for code in ERRORS {
                let error = match code {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::ErrorKind::UnexpectedEof.into(),
                };
                assert_explains(&Fault { access, error }.explain(CpuId(3), CONTROL, place));
            }
        }
    }
}

/// What, cause and remedy, in one line.
fn assert_explains(message: &str) {
    assert!(
        message.contains("of CPU ") || message.contains("/3/msr"),
        "{message}"
    );
    assert!(message.split(": ").count() >= 3, "{message}");
    assert!(!message.contains('\n'));
    assert!(!message.contains("unexpected"), "{message}");
}
