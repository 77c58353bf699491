//! The words of a `rw_semaphore` (x86-64, no debug options; BTF of Debian's 6.12 kernel).

use crate::space::map::Span;

/// `count`: writer bit, waiter bits, readers in steps of 256.
pub const COUNT: usize = 0;
/// `owner`: the task that took it last, with flags in the low bits.
pub const OWNER: usize = 8;
/// `sizeof(struct rw_semaphore)`.
pub const BYTES: usize = 40;
/// Every word with its place.
pub const FIELDS: [Span; 5] = [
    Span::word("count", COUNT, 8),
    Span::word("owner", OWNER, 8),
    Span::word("osq", 16, 4),
    Span::word("wait_lock", 20, 4),
    Span::word("wait_list", 24, 16),
];
