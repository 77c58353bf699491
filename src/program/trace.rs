//! What one thread of a program does, access by access: found out by running it alone on a memory
//! that writes everything down.

use super::Program;
use crate::space::arena::Arena;
use crate::space::memory::{Addr, Memory, NodeKind, Word};
use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

crate::text::words! {
    /// What an access does.
    pub enum Access as "access" {
        /// A plain load.
        Load = "load",
        /// A plain store.
        Store = "store",
        /// A locked read-modify-write.
        Rmw = "locked RMW",
    }
}

/// One access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Where.
    pub at: Addr,
    /// Bytes: 1, 2, 4 or 8.
    pub bytes: usize,
    /// What it does.
    pub access: Access,
}

/// What `thread` does in `steps` steps from its beginning, in order. Where it waits for others,
/// they are taken to have written at once.
pub fn trace<P: Program>(program: &P, thread: usize, steps: u32) -> Vec<Traced> {
    let tracer = Tracer::new(program.arena());
    let (mut thread, mut counts) = (program.thread(thread, 1), P::Counts::default());
    program.run(&tracer, &mut thread, &mut counts, steps);
    tracer.into_log()
}

/// A memory that executes on the arena and writes down every access.
pub struct Tracer<'a> {
    arena: &'a Arena,
    log: RefCell<Vec<Traced>>,
    /// Nodes of a tree searched, and steps in all of them.
    searched: Cell<(u32, u32)>,
    /// Whether the thread has just waited for a change.
    waited: Cell<bool>,
}

impl<'a> Tracer<'a> {
    /// On `arena`.
    pub fn new(arena: &Arena) -> Tracer<'_> {
        Tracer {
            arena,
            log: RefCell::default(),
            searched: Cell::default(),
            waited: Cell::default(),
        }
    }

    /// Nodes of a tree that were searched, and steps in all of them.
    pub fn searched(&self) -> (u32, u32) {
        self.searched.get()
    }

    /// Every access so far.
    pub fn into_log(self) -> Vec<Traced> {
        self.log.into_inner()
    }

    fn note<W: Word>(&self, at: Addr, access: Access) {
        let bytes = W::BYTES;
        self.log.borrow_mut().push(Traced { at, bytes, access });
    }

    fn update<W: Word>(&self, at: Addr, new: impl FnOnce(u64) -> u64) -> W {
        self.note::<W>(at, Access::Rmw);
        let old: W = self.arena.read(at);
        self.arena.write(at, W::narrow(new(old.widen())));
        old
    }
}

impl Memory for Tracer<'_> {
    fn load<W: Word>(&self, at: Addr, _order: Ordering) -> W {
        self.note::<W>(at, Access::Load);
        let value: W = self.arena.read(at);
        match self.waited.take() {
            true => W::narrow(value.widen().wrapping_add(1)),
            false => value,
        }
    }
    fn store<W: Word>(&self, at: Addr, value: W, _order: Ordering) {
        self.note::<W>(at, Access::Store);
        self.arena.write(at, value);
    }
    fn compare_exchange<W: Word>(
        &self,
        at: Addr,
        current: W,
        new: W,
        _order: Ordering,
    ) -> Result<W, W> {
        let found: W = self.update(at, |old| match old == current.widen() {
            true => new.widen(),
            false => old,
        });
        match found == current {
            true => Ok(found),
            false => Err(found),
        }
    }
    fn fetch_add<W: Word>(&self, at: Addr, delta: W, _order: Ordering) -> W {
        self.update(at, |old| old.wrapping_add(delta.widen()))
    }
    fn fetch_sub<W: Word>(&self, at: Addr, delta: W, _order: Ordering) -> W {
        self.update(at, |old| old.wrapping_sub(delta.widen()))
    }
    fn fence(&self, _order: Ordering) {}
    fn compute(&self, _nanos: u32) {}
    fn clear_page(&self, _page: Addr) {}
    fn relax(&self) {
        self.waited.set(true);
    }
    fn searched(&self, _node: NodeKind, steps: usize) {
        let (nodes, all) = self.searched.get();
        self.searched.set((nodes + 1, all + steps as u32));
    }
}
