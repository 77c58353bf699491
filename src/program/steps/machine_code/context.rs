//! What machine code works on besides the arena, and what it calls.

use super::super::lock::Waiter;
use super::super::lowered::{DRAWS, Frame};
use crate::space::memory::Addr;
use std::mem::offset_of;
use std::time::Instant;

/// The private memory of a thread; its code has the address in a register.
#[repr(C, align(128))]
pub struct Context {
    /// Its private words.
    pub frame: Frame,
    /// See [`Waiter`].
    pub(super) nodes: u64,
    pub(super) thread: u64,
    /// Passes that a call was to do and has not done, because its time was over.
    pub(super) left: u64,
    /// Whether the time is over, as seen by a thread that waits; the time itself.
    pub(super) over: u64,
    deadline: Option<Instant>,
    /// The numbers that the thread draws, over and over.
    pub(super) draws: [u32; DRAWS],
}

impl Context {
    /// Where in it the numbers lie that the thread draws: for those who lay one out elsewhere.
    pub const DRAWS_AT: usize = offset_of!(Context, draws);

    /// A context whose thread draws these numbers.
    ///
    /// # Panics
    /// When there are not [`DRAWS`] of them.
    pub fn new(frame: Frame, waiter: Waiter, draws: &[u32]) -> Box<Context> {
        Box::new(Context {
            frame,
            nodes: waiter.nodes.0,
            thread: waiter.thread as u64,
            left: 0,
            over: 0,
            deadline: None,
            draws: draws.try_into().expect("a thread has DRAWS numbers"),
        })
    }

    /// From now on waiting for a value ends at `deadline`.
    pub fn until(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
        self.over = 0;
    }

    /// Passes that calls were to do and have not done since this was asked last: those after one in
    /// which waiting ended early.
    pub fn take_left(&mut self) -> u64 {
        std::mem::take(&mut self.left)
    }
}

/// Whether the time of the thread that waits is over; it has polled for a while.
pub(super) extern "C" fn expired(context: &mut Context) -> u64 {
    let over = context.deadline.is_some_and(|end| Instant::now() >= end);
    context.over = u64::from(over);
    context.over
}

/// What code calls where a thread has to wait for a lock: `*_slow` of
/// [`lock`](super::super::lock) over the memory of the backend. They may not panic.
#[derive(Clone, Copy)]
pub struct SlowPaths {
    /// [`tas_slow`](super::super::lock::tas_slow).
    pub tas: extern "C" fn(Addr),
    /// [`ticket_slow`](super::super::lock::ticket_slow).
    pub ticket: extern "C" fn(Addr, u32),
    /// [`queued_slow`](super::super::lock::queued_slow), with the parts of a [`Waiter`].
    pub queued: extern "C" fn(Addr, Addr, usize),
    /// [`read_slow`](super::super::lock::read_slow).
    pub read: extern "C" fn(Addr),
    /// [`write_slow`](super::super::lock::write_slow).
    pub write: extern "C" fn(Addr),
}
