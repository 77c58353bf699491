//! The spinning locks of cases, written once for every memory.
//!
//! Each has a way in that is a handful of accesses while nobody is there, which machine code has
//! in line, and a slow way. Waiting never yields the CPU. Not here: when a lock is taken.

use crate::case::LockKind;
use crate::space::PAIR;
use crate::space::memory::{Addr, Memory};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The thread that takes locks, and where the nodes of all threads lie: a pair each.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    /// The node of thread 0.
    pub nodes: Addr,
    /// Number of the thread.
    pub thread: usize,
}

/// Take the lock at `at`.
#[inline(always)]
pub fn lock<M: Memory>(m: &M, at: Addr, kind: LockKind, waiter: Waiter) {
    match kind {
        LockKind::Tas => {
            if m.compare_exchange(at, 0u8, 1, Acquire).is_err() {
                tas_slow(m, at);
            }
        }
        LockKind::Ticket => {
            let before: u32 = m.fetch_add(at, NEXT, Acquire);
            if before >> 16 != before & SERVED {
                ticket_slow(m, at, before >> 16);
            }
        }
        LockKind::Queued => {
            if m.compare_exchange(at, 0u32, LOCKED, Acquire).is_err() {
                queued_slow(m, at, waiter);
            }
        }
        LockKind::RwRead => {
            let count: u64 = m.load(at, Relaxed);
            let free = count & (WRITER | WRITER_WAITS) == 0;
            if !free
                || m.compare_exchange(at, count, count + READER, Acquire)
                    .is_err()
            {
                read_slow(m, at);
            }
        }
        LockKind::RwWrite => {
            if m.compare_exchange(at, 0u64, WRITER, Acquire).is_err() {
                write_slow(m, at);
            }
        }
    }
}

/// Give the lock at `at` back.
#[inline(always)]
pub fn unlock<M: Memory>(m: &M, at: Addr, kind: LockKind) {
    match kind {
        // The low byte holds the owner of all three.
        LockKind::Tas | LockKind::Queued | LockKind::RwWrite => m.store(at, 0u8, Release),
        // Nobody else writes the ticket that is served.
        LockKind::Ticket => {
            let served: u16 = m.load(at, Relaxed);
            m.store(at, served.wrapping_add(1), Release);
        }
        LockKind::RwRead => {
            m.fetch_sub(at, READER, Release);
        }
    }
}

/// Wait for a test-and-set lock: look until it is free, then try.
pub fn tas_slow<M: Memory>(m: &M, at: Addr) {
    loop {
        while m.load::<u8>(at, Relaxed) != 0 {
            m.pause();
        }
        if m.compare_exchange(at, 0u8, 1, Acquire).is_ok() {
            return;
        }
    }
}

/// Ticket lock: the low half is the ticket served, the high half the next one.
const NEXT: u32 = 1 << 16;
const SERVED: u32 = NEXT - 1;

/// Wait until `ticket` is served.
pub fn ticket_slow<M: Memory>(m: &M, at: Addr, ticket: u32) {
    while m.load::<u32>(at, Acquire) & SERVED != ticket {
        m.pause();
    }
}

/// Queued lock, as `include/asm-generic/qspinlock_types.h` (6.12) divides the word: the byte of
/// the owner, the byte of the one who waits next to it, and the tail of the queue.
const LOCKED: u32 = 1;
const LOCKED_MASK: u32 = 0xff;
const PENDING: u32 = 1 << 8;
const TAIL_SHIFT: u32 = 16;
const TAIL_MASK: u32 = !0 << TAIL_SHIFT;
/// A node: whether it is its thread's turn, and the node behind it.
const NODE_TURN: usize = 0;
const NODE_NEXT: usize = 8;
/// Looks at a lock that is being handed over from the one who waits next, before one queues:
/// `_Q_PENDING_LOOPS` of x86.
const HANDOVER_LOOKS: u32 = 1 << 9;

/// `queued_spin_lock_slowpath` of kernel/locking/qspinlock.c (6.12): the first who waits spins on
/// the lock word, the others each on a node of their own.
pub fn queued_slow<M: Memory>(m: &M, at: Addr, waiter: Waiter) {
    let mut value: u32 = m.load(at, Relaxed);
    for _ in 0..HANDOVER_LOOKS {
        if value != PENDING {
            break;
        }
        m.pause();
        value = m.load(at, Relaxed);
    }
    // Next to the owner, if nobody is.
    while value & !LOCKED_MASK == 0 {
        let wanted = match value {
            0 => LOCKED,
            held => held | PENDING,
        };
        match m.compare_exchange(at, value, wanted, Acquire) {
            Ok(0) => return,
            Ok(_) => {
                while m.load::<u8>(at, Acquire) != 0 {
                    m.pause();
                }
                // clear_pending_set_locked
                m.store(at, LOCKED as u16, Relaxed);
                return;
            }
            Err(found) => value = found,
        }
    }
    let node = waiter.nodes.at(waiter.thread * PAIR);
    m.store(node.at(NODE_TURN), 0u32, Relaxed);
    m.store(node.at(NODE_NEXT), 0u64, Relaxed);
    // xchg_tail
    let tail = (waiter.thread as u32 + 1) << TAIL_SHIFT;
    value = m.load(at, Relaxed);
    while let Err(found) = m.compare_exchange(at, value, value & !TAIL_MASK | tail, Release) {
        value = found;
    }
    let before = value >> TAIL_SHIFT;
    if before != 0 {
        let before = waiter.nodes.at((before as usize - 1) * PAIR);
        m.store(before.at(NODE_NEXT), node.0, Release);
        while m.load::<u32>(node.at(NODE_TURN), Acquire) == 0 {
            m.pause();
        }
    }
    // Head of the queue: wait for the owner and for the one next to it.
    value = m.load(at, Acquire);
    while value & !TAIL_MASK != 0 {
        m.pause();
        value = m.load(at, Acquire);
    }
    if value & TAIL_MASK == tail && m.compare_exchange(at, value, LOCKED, Relaxed).is_ok() {
        return;
    }
    m.store(at, LOCKED as u8, Relaxed);
    let mut next: u64 = m.load(node.at(NODE_NEXT), Acquire);
    while next == 0 {
        m.pause();
        next = m.load(node.at(NODE_NEXT), Acquire);
    }
    m.store(Addr(next).at(NODE_TURN), 1u32, Release);
}

/// Reader-writer lock: the byte of the writer, the flag of a writer who waits, and the readers.
const WRITER: u64 = 1;
const WRITER_WAITS: u64 = 1 << 8;
const READER: u64 = 1 << 16;

/// Wait until no writer is in or waits, and enter as a reader.
pub fn read_slow<M: Memory>(m: &M, at: Addr) {
    let mut count: u64 = m.load(at, Relaxed);
    loop {
        if count & (WRITER | WRITER_WAITS) != 0 {
            m.pause();
            count = m.load(at, Relaxed);
            continue;
        }
        match m.compare_exchange(at, count, count + READER, Acquire) {
            Ok(_) => return,
            Err(found) => count = found,
        }
    }
}

/// Raise the flag that turns readers away, wait until nobody is in, and enter as the writer.
pub fn write_slow<M: Memory>(m: &M, at: Addr) {
    let mut count: u64 = m.load(at, Relaxed);
    loop {
        let wanted = match count & !WRITER_WAITS {
            0 => WRITER,
            _ => count | WRITER_WAITS,
        };
        if wanted != count {
            match m.compare_exchange(at, count, wanted, Acquire) {
                Ok(_) if wanted == WRITER => return,
                Ok(_) => {}
                Err(found) => {
                    count = found;
                    continue;
                }
            }
        }
        m.pause();
        count = m.load(at, Relaxed);
    }
}
