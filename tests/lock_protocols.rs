//! The lock protocols under every interleaving and every reordering that the memory model allows,
//! as far as loom explores them. The code checked is the code measured: `loom`'s atomics stand
//! behind the same `Memory` trait.

use hitm::program::fault::layouts::literal::{EmbeddedRefcount192, EmbeddedUnaligned, SplitPacked};
use hitm::program::fault::lock::{self, Entry, Layout, Lock, mmap_lock};
use hitm::program::fault::vma::{Field, Pointer};
use hitm::program::fault::world::{Size, World, start_of};
use hitm::space::arena::Arena;
use hitm::space::memory::{Addr, Memory, Word};
use loom::sync::atomic::{AtomicU64, fence};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Relaxed};

/// The words of a world, each a loom atomic, shared by all threads of a model.
#[derive(Clone)]
struct Loom {
    words: Arc<BTreeMap<u64, AtomicU64>>,
}

impl Loom {
    /// Every word that the lock protocols touch, with its initial value. Loom counts accesses,
    /// not bytes, so that one 64-bit atomic stands for a word of any size.
    fn new(world: &World) -> Loom {
        let table = world.table();
        let vma = world.vma(0);
        let mut words = BTreeMap::new();
        let mut add = |at: Addr, value: u64| {
            words.insert(at.0, AtomicU64::new(value));
        };
        for (field, offset) in table.placed() {
            let at = vma.at(offset);
            match field.bytes() {
                1 => add(at, world.arena().read::<u8>(at).into()),
                4 => add(at, world.arena().read::<u32>(at).into()),
                _ => add(at, world.arena().read::<u64>(at)),
            }
            if field == Field::rwsem {
                add(at.at(8), 0);
            }
        }
        if let Some(lock) = world.split_lock(0) {
            add(lock, 0);
            add(lock.at(8), 0);
        }
        let mm = world.mm();
        for offset in [184, 192] {
            add(mm.at(offset), world.arena().read::<u64>(mm.at(offset)));
        }
        add(mm.at(248), world.arena().read::<u32>(mm.at(248)).into());
        Loom {
            words: Arc::new(words),
        }
    }

    fn word(&self, at: Addr) -> &AtomicU64 {
        &self.words[&at.0]
    }
}

impl Memory for Loom {
    fn load<W: Word>(&self, at: Addr, order: Ordering) -> W {
        W::narrow(self.word(at).load(order))
    }
    fn store<W: Word>(&self, at: Addr, value: W, order: Ordering) {
        self.word(at).store(value.widen(), order);
    }
    fn compare_exchange<W: Word>(
        &self,
        at: Addr,
        current: W,
        new: W,
        order: Ordering,
    ) -> Result<W, W> {
        self.word(at)
            .compare_exchange(current.widen(), new.widen(), order, Relaxed)
            .map(W::narrow)
            .map_err(W::narrow)
    }
    fn fetch_add<W: Word>(&self, at: Addr, delta: W, order: Ordering) -> W {
        W::narrow(self.word(at).fetch_add(delta.widen(), order))
    }
    fn fetch_sub<W: Word>(&self, at: Addr, delta: W, order: Ordering) -> W {
        W::narrow(self.word(at).fetch_sub(delta.widen(), order))
    }
    fn fence(&self, order: Ordering) {
        fence(order);
    }
    fn compute(&self, _nanos: u32) {}
    fn clear_page(&self, _page: Addr) {}
    fn relax(&self) {
        loom::thread::yield_now();
    }
}

const SIZE: Size = Size {
    vmas: 1,
    spare_slots: 0,
    threads: 1,
    pages: false,
};

/// A test of a layout, whichever it is.
trait Test: Copy + Send + Sync + 'static {
    fn run<L: Layout>(self, m: Loom, layout: L, places: Places);
}

/// Run the test with one layout for each way a VMA can be locked.
fn explore(test: impl Test) {
    explore_with(test, SplitPacked);
    explore_with(test, EmbeddedUnaligned);
    explore_with(test, EmbeddedRefcount192);
}

fn explore_with<L: Layout>(test: impl Test, layout: L) {
    let mut model = loom::model::Builder::new();
    // Three preemptions find every bug known in such protocols; more takes hours.
    model.preemption_bound = Some(3);
    model.check(move || {
        let table = layout.table();
        let world = World::new(
            Arena::new(World::bytes_for(table, SIZE)).unwrap(),
            table,
            SIZE,
        );
        let places = Places {
            mm: world.mm(),
            vma: world.vma_pointer(0),
            address: start_of(0),
        };
        test.run(Loom::new(&world), layout, places);
    });
}

#[derive(Clone, Copy)]
struct Places {
    mm: Addr,
    vma: Pointer,
    address: u64,
}

/// A reader; what it sees inside must be what one writer left, whole.
fn read<L: Layout>(m: &Loom, layout: &L, places: Places, task: u64) -> Option<(u64, u64)> {
    let Places { mm, vma, address } = places;
    match lock::start_read(m, layout, mm, vma, task, address) {
        Entry::Entered => {
            let flags: u64 = m.load(vma.at(layout.offset(Field::vm_flags)), Relaxed);
            let prot: u64 = m.load(vma.at(layout.offset(Field::vm_page_prot)), Relaxed);
            L::Lock::leave(m, layout, vma);
            Some((flags, prot))
        }
        Entry::Detached | Entry::Excluded => None,
    }
}

/// A writer that changes two fields, as mprotect does.
fn protect<L: Layout>(m: &Loom, layout: &L, places: Places, task: u64, value: u64) {
    let Places { mm, vma, .. } = places;
    mmap_lock::write_lock(m, mm, task);
    lock::start_write(m, layout, mm, vma, task);
    m.store(vma.at(layout.offset(Field::vm_flags)), value, Relaxed);
    m.store(vma.at(layout.offset(Field::vm_page_prot)), value, Relaxed);
    mmap_lock::write_unlock(m, mm);
}

#[test]
fn a_reader_never_sees_half_of_what_a_writer_does() {
    #[derive(Clone, Copy)]
    struct HalfWritten;
    impl Test for HalfWritten {
        fn run<L: Layout>(self, m: Loom, layout: L, places: Places) {
            let writer = {
                let m = m.clone();
                loom::thread::spawn(move || protect(&m, &layout, places, 64, 7))
            };
            if let Some((flags, prot)) = read(&m, &layout, places, 128) {
                assert_eq!(flags, prot, "a reader was inside while a writer wrote");
            }
            writer.join().unwrap();
            assert_eq!(
                read(&m, &layout, places, 128),
                Some((7, 7)),
                "the VMA is free again"
            );
        }
    }
    explore(HalfWritten);
}

#[test]
fn two_readers_are_in_at_once_and_leave_the_lock_free() {
    #[derive(Clone, Copy)]
    struct TwoReaders;
    impl Test for TwoReaders {
        fn run<L: Layout>(self, m: Loom, layout: L, places: Places) {
            let other = {
                let m = m.clone();
                loom::thread::spawn(move || read(&m, &layout, places, 64))
            };
            assert_eq!(read(&m, &layout, places, 128), Some((0, 0)));
            assert_eq!(other.join().unwrap(), Some((0, 0)));
            protect(&m, &layout, places, 128, 1);
        }
    }
    explore(TwoReaders);
}

#[test]
fn a_reader_never_stays_in_a_vma_that_was_detached_and_reused() {
    #[derive(Clone, Copy)]
    struct Reused;
    impl Test for Reused {
        fn run<L: Layout>(self, m: Loom, layout: L, places: Places) {
            let Places { mm, vma, address } = places;
            let writer = {
                let m = m.clone();
                loom::thread::spawn(move || {
                    mmap_lock::write_lock(&m, mm, 64);
                    lock::start_write(&m, &layout, mm, vma, 64);
                    L::Lock::detach(&m, &layout, vma);
                    mmap_lock::write_unlock(&m, mm);
                    // At once the object serves another range, as a type-stable slab allows.
                    mmap_lock::write_lock(&m, mm, 64);
                    lock::start_write(&m, &layout, mm, vma, 64);
                    m.store(
                        vma.at(layout.offset(Field::vm_start)),
                        address + 4096,
                        Relaxed,
                    );
                    m.store(
                        vma.at(layout.offset(Field::vm_end)),
                        address + 8192,
                        Relaxed,
                    );
                    m.store(vma.at(layout.offset(Field::vm_flags)), 9u64, Relaxed);
                    L::Lock::attach(&m, &layout, vma);
                    mmap_lock::write_unlock(&m, mm);
                })
            };
            if let Some((flags, _)) = read(&m, &layout, places, 128) {
                assert_eq!(flags, 0, "the reader is inside a VMA of another range");
            }
            writer.join().unwrap();
            assert_eq!(read(&m, &layout, places, 128), None, "the range is gone");
        }
    }
    explore(Reused);
}

#[test]
fn writers_of_mmap_lock_exclude_one_another_and_readers() {
    #[derive(Clone, Copy)]
    struct Writers;
    impl Test for Writers {
        fn run<L: Layout>(self, m: Loom, _layout: L, places: Places) {
            let mm = places.mm;
            let cell = places.vma.at(0); // Any word will do: the VMA's first.
            let add = move |m: &Loom, task| {
                mmap_lock::write_lock(m, mm, task);
                let value: u64 = m.load(cell, Relaxed);
                m.store(cell, value + 1, Relaxed);
                mmap_lock::write_unlock(m, mm);
            };
            let before: u64 = m.load(cell, Relaxed);
            let other = {
                let m = m.clone();
                loom::thread::spawn(move || add(&m, 64))
            };
            add(&m, 128);
            other.join().unwrap();
            mmap_lock::read_lock(&m, mm, 128);
            assert_eq!(m.load::<u64>(cell, Relaxed), before + 2);
            mmap_lock::read_unlock(&m, mm);
        }
    }
    explore(Writers);
}
