//! Random programs for the properties: what their steps are, and what must be true after them.
//!
//! Here: the memory they share, one thread's steps, an account of what they did. Not here: the
//! machines they run on, and the properties (`protocol`).

use hitm::sim::SimMemory;
use hitm::space::PAGE;
use hitm::space::arena::Arena;
use hitm::space::memory::{Addr, Memory, NodeKind, Word};
use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::{self, Relaxed};

const LINE: usize = 64;
/// Counters that everyone adds to, and words that everyone stores to beside them: two pairs.
const COUNTERS: usize = 16;
/// Objects of one line each: a pointer to another one, and a counter.
const OBJECTS: usize = 8;
/// Where an object's counter lies.
const COUNT: usize = 24;
/// More accesses than all threads together need, however long they spin.
const FOR_EVER: u64 = 300_000;

/// One step of a program.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Load(usize),
    Store(usize),
    Add(usize),
    Increment(usize),
    /// Follow pointers from an object, so many of them, and add to where they lead.
    Follow(usize, usize),
    /// Let an object point to another one, by a plain store.
    Point(usize, usize),
    /// The same, by compare-and-exchange.
    Swing(usize, usize),
    /// Store to a word of this thread's own in a line that all have one in, and load it.
    Own(u64),
    /// Take a lock, add one by a load and a store, drop the lock.
    Locked,
    /// One thread announces what it has written, the others look.
    Message,
    Searched(usize),
    Fence,
    Compute(u32),
}

pub fn step() -> impl Strategy<Value = Step> {
    // Counters lie in even words, stores go to odd ones.
    let even = (0..COUNTERS).prop_map(|w| 16 * w);
    let odd = (0..COUNTERS).prop_map(|w| 16 * w + 8);
    let object = 0..OBJECTS;
    prop_oneof![
        even.clone().prop_map(Step::Load),
        odd.clone().prop_map(Step::Load),
        odd.prop_map(Step::Store),
        even.clone().prop_map(Step::Add),
        even.prop_map(Step::Increment),
        (object.clone(), 0..4usize).prop_map(|(from, hops)| Step::Follow(from, hops)),
        (object.clone(), object.clone()).prop_map(|(from, to)| Step::Point(from, to)),
        (object.clone(), object).prop_map(|(from, to)| Step::Swing(from, to)),
        any::<u64>().prop_map(Step::Own),
        Just(Step::Locked),
        Just(Step::Message),
        (0..12usize).prop_map(Step::Searched),
        Just(Step::Fence),
        (0..200u32).prop_map(Step::Compute),
    ]
}

/// What the programs have done to the memory, and how often they have touched it.
#[derive(Default)]
pub struct Account {
    counters: [Cell<u64>; COUNTERS],
    objects: [Cell<u64>; OBJECTS],
    locked: Cell<u64>,
    pub accesses: Cell<u64>,
}

fn one_more(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

/// Where the programs work.
#[derive(Clone)]
pub struct Shared {
    pub arena: Rc<Arena>,
    pub account: Rc<Account>,
    base: Addr,
}

impl Shared {
    /// Every object points to the next one.
    pub fn new() -> Shared {
        let mut arena = Arena::new(PAGE).unwrap();
        let base = arena.alloc(PAGE, PAGE);
        let shared = Shared {
            arena: Rc::new(arena),
            account: Rc::default(),
            base,
        };
        for object in 0..OBJECTS {
            let next = shared.object((object + 1) % OBJECTS);
            shared.arena.write(shared.object(object), next.0);
        }
        shared
    }

    fn object(&self, object: usize) -> Addr {
        self.base.at(4 * LINE + object * LINE)
    }

    /// The lock and what it guards, in lines of their own.
    fn guarded(&self) -> [Addr; 2] {
        [16, 17].map(|line| self.base.at(line * LINE))
    }

    /// What is announced, and the announcement.
    fn message(&self) -> [Addr; 2] {
        [18, 20].map(|line| self.base.at(line * LINE))
    }

    fn own(&self, thread: usize) -> Addr {
        self.base.at(22 * LINE + 8 * thread)
    }

    /// The steps of one thread.
    pub fn run(&self, thread: usize, memory: &SimMemory<'_>, steps: &[Step]) {
        let m = Counted(memory, &self.account.accesses);
        steps.iter().for_each(|step| self.take(thread, &m, *step));
    }

    fn take(&self, thread: usize, m: &Counted<'_, '_>, step: Step) {
        match step {
            Step::Load(at) => {
                m.load::<u64>(self.base.at(at), Relaxed);
            }
            Step::Store(at) => m.store(self.base.at(at), 7u64, Relaxed),
            Step::Add(at) => {
                m.fetch_add(self.base.at(at), 1u64, Relaxed);
                one_more(&self.account.counters[at / 16]);
            }
            Step::Increment(at) => {
                let at = self.base.at(at);
                let mut found: u64 = m.load(at, Relaxed);
                while let Err(now) = m.compare_exchange(at, found, found + 1, Relaxed) {
                    found = now;
                }
                one_more(&self.account.counters[(at.0 - self.base.0) as usize / 16]);
            }
            Step::Follow(from, hops) => {
                let mut at = self.object(from);
                for _ in 0..hops {
                    at = Addr(m.load(at, Relaxed));
                }
                m.fetch_add(at.at(COUNT), 1u64, Relaxed);
                let object = (at.0 - self.object(0).0) as usize / LINE;
                one_more(&self.account.objects[object]);
            }
            Step::Point(from, to) => m.store(self.object(from), self.object(to).0, Relaxed),
            Step::Swing(from, to) => {
                let at = self.object(from);
                let mut found: u64 = m.load(at, Relaxed);
                let to = self.object(to).0;
                while let Err(now) = m.compare_exchange(at, found, to, Relaxed) {
                    found = now;
                }
            }
            Step::Own(value) => {
                m.store(self.own(thread), value, Relaxed);
                assert_eq!(m.load::<u64>(self.own(thread), Relaxed), value);
            }
            Step::Locked => {
                let [lock, guarded] = self.guarded();
                let (acquire, relaxed) = (Ordering::Acquire, Relaxed);
                while m.load::<u32>(lock, relaxed) != 0
                    || m.compare_exchange(lock, 0u32, 1, acquire).is_err()
                {
                    m.relax();
                }
                let found: u64 = m.load(guarded, Relaxed);
                m.store(guarded, found + 1, Relaxed);
                m.store(lock, 0u32, Ordering::Release);
                one_more(&self.account.locked);
            }
            Step::Message => {
                let [data, flag] = self.message();
                if thread == 0 {
                    let next = m.load::<u64>(data, Relaxed) + 1;
                    m.store(data, next, Relaxed);
                    m.store(flag, next, Ordering::Release);
                } else {
                    let announced: u64 = m.load(flag, Ordering::Acquire);
                    assert!(m.load::<u64>(data, Relaxed) >= announced);
                }
            }
            Step::Searched(steps) => m.searched(NodeKind::Leaf, steps),
            Step::Fence => m.fence(Ordering::SeqCst),
            Step::Compute(nanos) => m.compute(nanos),
        }
    }

    /// # Panics
    /// When the memory holds less, or more, than the programs added.
    pub fn check(&self) {
        for (word, added) in self.account.counters.iter().enumerate() {
            let found: u64 = self.arena.read(self.base.at(16 * word));
            assert_eq!(found, added.get(), "counter {word}");
        }
        for (object, added) in self.account.objects.iter().enumerate() {
            let found: u64 = self.arena.read(self.object(object).at(COUNT));
            assert_eq!(found, added.get(), "counter of object {object}");
        }
        let [_, guarded] = self.guarded();
        assert_eq!(
            self.arena.read::<u64>(guarded),
            self.account.locked.get(),
            "behind the lock"
        );
    }
}

/// The memory, and how many accesses of it the program has made.
pub struct Counted<'a, 'y>(pub &'a SimMemory<'y>, pub &'a Cell<u64>);

impl Counted<'_, '_> {
    fn count(&self) {
        one_more(self.1);
        assert!(self.1.get() < FOR_EVER, "somebody spins for ever");
    }
}

impl Memory for Counted<'_, '_> {
    fn load<W: Word>(&self, at: Addr, order: Ordering) -> W {
        self.count();
        self.0.load(at, order)
    }

    fn store<W: Word>(&self, at: Addr, value: W, order: Ordering) {
        self.count();
        self.0.store(at, value, order);
    }

    fn compare_exchange<W: Word>(
        &self,
        at: Addr,
        current: W,
        new: W,
        order: Ordering,
    ) -> Result<W, W> {
        self.count();
        self.0.compare_exchange(at, current, new, order)
    }

    fn fetch_add<W: Word>(&self, at: Addr, delta: W, order: Ordering) -> W {
        self.count();
        self.0.fetch_add(at, delta, order)
    }

    fn fetch_sub<W: Word>(&self, at: Addr, delta: W, order: Ordering) -> W {
        self.count();
        self.0.fetch_sub(at, delta, order)
    }

    fn fence(&self, order: Ordering) {
        self.0.fence(order);
    }

    fn compute(&self, nanos: u32) {
        self.0.compute(nanos);
    }

    fn clear_page(&self, page: Addr) {
        self.0.clear_page(page);
    }

    fn searched(&self, node: NodeKind, steps: usize) {
        self.0.searched(node, steps);
    }

    fn relax(&self) {
        self.0.relax();
    }
}
