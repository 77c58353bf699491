//! The engine: one coroutine a thread, the earliest of which runs next.
//!
//! Here: running programs, and the `Memory` they run on. Not here: what an access does (`state`).

use super::machine::{Machine, Picos};
use super::state::{Attempt, HasArena, State};
use super::value::{Kind, Op};
use crate::space::memory::{Addr, Memory, NodeKind, Word};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// Bytes of a coroutine's stack. A fault nests about ten calls deep; unoptimised builds need the
/// most.
const STACK: usize = 128 * 1024;

/// What one simulated thread sees of the memory.
pub struct SimMemory<'y> {
    state: Rc<RefCell<State>>,
    yielder: &'y Yielder<(), ()>,
    thread: usize,
    accesses: Cell<u64>,
}

impl SimMemory<'_> {
    /// The thread's own time.
    pub fn now(&self) -> Picos {
        self.state.borrow().clock(self.thread)
    }

    /// Accesses so far.
    pub fn accesses(&self) -> u64 {
        self.accesses.get()
    }

    /// The thread has ended a pass that it began at `began`.
    pub fn passed(&self, began: Picos) {
        self.state.borrow_mut().passed(self.thread, began);
    }

    /// Let others go on until it is this thread's turn again: what a thread without accesses has to
    /// do, as an access does it by itself.
    pub fn give_way(&self) {
        self.state.borrow_mut().give_way(self.thread);
        self.yielder.suspend(());
    }

    #[inline]
    fn access(&self, at: Addr, bytes: usize, kind: Kind) -> u64 {
        self.accesses.set(self.accesses.get() + 1);
        let op: Op = {
            let mut state = self.state.borrow_mut();
            let op = state.op(at.0, bytes, kind);
            state.before_access(self.thread, op);
            op
        };
        let value = self.until_done(|state| state.attempt(self.thread, op));
        if kind == Kind::Load {
            self.state.borrow_mut().loaded(self.thread, value);
        }
        value
    }

    #[inline]
    fn until_done(&self, attempt: impl Fn(&mut State) -> Attempt) -> u64 {
        loop {
            let attempt = attempt(&mut self.state.borrow_mut());
            match attempt {
                Attempt::Done(value) => return value,
                Attempt::Again => self.yielder.suspend(()),
                Attempt::Wait => {
                    self.yielder.suspend(());
                    return self.state.borrow().result(self.thread);
                }
            }
        }
    }
}

impl Memory for SimMemory<'_> {
    #[inline]
    fn load<W: Word>(&self, at: Addr, _order: Ordering) -> W {
        W::narrow(self.access(at, W::BYTES, Kind::Load))
    }

    #[inline]
    fn store<W: Word>(&self, at: Addr, value: W, order: Ordering) {
        let kind = match order {
            Ordering::SeqCst => Kind::Swap(value.widen()),
            _ => Kind::Store(value.widen()),
        };
        self.access(at, W::BYTES, kind);
    }

    #[inline]
    fn compare_exchange<W: Word>(
        &self,
        at: Addr,
        current: W,
        new: W,
        _order: Ordering,
    ) -> Result<W, W> {
        let (current, new) = (current.widen(), new.widen());
        let found = self.access(at, W::BYTES, Kind::CompareExchange { current, new });
        if found == current {
            Ok(W::narrow(found))
        } else {
            Err(W::narrow(found))
        }
    }

    #[inline]
    fn fetch_add<W: Word>(&self, at: Addr, delta: W, _order: Ordering) -> W {
        W::narrow(self.access(at, W::BYTES, Kind::Add(delta.widen())))
    }

    #[inline]
    fn fetch_sub<W: Word>(&self, at: Addr, delta: W, _order: Ordering) -> W {
        let delta = delta.widen().wrapping_neg();
        W::narrow(self.access(at, W::BYTES, Kind::Add(delta)))
    }

    fn fence(&self, order: Ordering) {
        // Weaker fences cost nothing on the machines modelled here: order is total already.
        if order == Ordering::SeqCst {
            self.until_done(|state| state.fence(self.thread));
        }
    }

    fn compute(&self, nanos: u32) {
        self.state.borrow_mut().compute(self.thread, nanos);
    }

    fn clear_page(&self, page: Addr) {
        self.until_done(|state| state.clear_page(self.thread, page.0));
    }

    fn searched(&self, node: NodeKind, steps: usize) {
        self.state.borrow_mut().searched(self.thread, node, steps);
    }

    fn relax(&self) {
        self.state.borrow_mut().relax(self.thread);
    }

    fn pause(&self) {
        self.until_done(|state| state.pause(self.thread));
    }
}

/// Threads on a machine.
pub struct Simulation {
    state: Rc<RefCell<State>>,
    threads: Vec<Coroutine<(), (), ()>>,
    cpus: usize,
}

impl Simulation {
    /// A machine whose threads run on `cpus` (see [`Shape::place`](super::machine::Shape::place)),
    /// over the arena of `memory`. `check` turns the debug mode on: every access is checked
    /// against the invariants of the protocol.
    ///
    /// # Panics
    /// When a CPU is given twice.
    pub fn new(
        machine: Rc<Machine>,
        memory: Rc<dyn HasArena>,
        cpus: &[usize],
        seed: u64,
        check: bool,
    ) -> Simulation {
        Simulation {
            state: Rc::new(RefCell::new(State::new(machine, memory, cpus, seed, check))),
            threads: Vec::new(),
            cpus: cpus.len(),
        }
    }

    /// Give the next thread its program.
    ///
    /// # Panics
    /// When every CPU has one already, or the host has no memory for a stack.
    pub fn spawn(&mut self, program: impl FnOnce(SimMemory<'_>) + 'static) {
        let thread = self.threads.len();
        assert!(thread < self.cpus, "more programs than CPUs");
        let stack = DefaultStack::new(STACK).expect("no memory for a coroutine's stack");
        let state = self.state.clone();
        self.threads
            .push(Coroutine::with_stack(stack, move |yielder, ()| {
                program(SimMemory {
                    state,
                    yielder,
                    thread,
                    accesses: Cell::new(0),
                });
            }));
    }

    /// Let everything happen that happens before `until`.
    ///
    /// # Panics
    /// When a thread has no program; when a program panics.
    pub fn run(&mut self, until: Picos) {
        assert_eq!(self.threads.len(), self.cpus, "a thread without a program");
        loop {
            let next = self.state.borrow_mut().next(until);
            let Some(thread) = next else { return };
            match self.threads[thread].resume(()) {
                CoroutineResult::Yield(()) => {}
                CoroutineResult::Return(()) => self.state.borrow_mut().ended(thread),
            }
        }
    }

    /// Let every program end.
    pub fn run_to_end(&mut self) {
        self.run(Picos::MAX);
    }

    /// The state, for counts and records. The borrow must not outlive the call of [`run`](Self::run).
    pub fn state(&self) -> std::cell::RefMut<'_, State> {
        self.state.borrow_mut()
    }
}
