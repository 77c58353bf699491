//! The memory that a program runs on: one trait, so that each program is written once.
//!
//! Here: addresses, word sizes, the `Memory` trait. Not here: its implementations, which live with
//! their backends (`backend::native`, `sim`), and the arena that objects are laid out in
//! (`space::arena`).

use std::fmt;
use std::sync::atomic::Ordering;

/// Where a word lies: an address inside an [`Arena`](crate::space::arena::Arena).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Addr(pub u64);

impl Addr {
    /// The address that points nowhere.
    pub const NULL: Addr = Addr(0);

    /// The address `offset` bytes further on.
    #[inline(always)]
    pub const fn at(self, offset: usize) -> Addr {
        Addr(self.0 + offset as u64)
    }

    /// Whether this is [`Addr::NULL`].
    #[inline(always)]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A word that a program can touch: 1, 2, 4 or 8 bytes, naturally aligned.
pub trait Word: sealed::Sealed + Copy + Eq + fmt::Debug + Send + 'static {
    /// Size in bytes.
    const BYTES: usize;
    /// The value, widened.
    fn widen(self) -> u64;
    /// The low bytes of `value`.
    fn narrow(value: u64) -> Self;
}

macro_rules! word {
    ($($ty:ty),*) => {$(
        impl Word for $ty {
            const BYTES: usize = size_of::<$ty>();
            #[inline(always)]
            fn widen(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn narrow(value: u64) -> Self {
                value as $ty
            }
        }
    )*};
}
word!(u8, u16, u32, u64);

/// A kind of node of the tree, searched by code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A node of nodes.
    Inner,
    /// A node of entries.
    Leaf,
}

/// What one thread sees of the memory of a backend.
///
/// Every method is one access of a program. The native backend compiles each to one
/// instruction; the simulator charges each to the coherence model. Addresses come from the arena
/// the backend was made for. A backend either checks that, or can be made only by code that
/// guarantees that every address is valid: see [`Program`](crate::program::Program).
pub trait Memory {
    /// Load a word.
    fn load<W: Word>(&self, at: Addr, order: Ordering) -> W;
    /// Load a word whose value nobody looks at. No backend drops it: the kernel's loads are
    /// volatile.
    #[inline(always)]
    fn touch<W: Word>(&self, at: Addr) {
        self.load::<W>(at, Ordering::Relaxed);
    }
    /// Store a word.
    fn store<W: Word>(&self, at: Addr, value: W, order: Ordering);
    /// Compare and exchange; may not fail spuriously. `Err` carries the value found, by a relaxed
    /// load.
    fn compare_exchange<W: Word>(
        &self,
        at: Addr,
        current: W,
        new: W,
        order: Ordering,
    ) -> Result<W, W>;
    /// Add `delta` (wrapping) and return the value from before.
    fn fetch_add<W: Word>(&self, at: Addr, delta: W, order: Ordering) -> W;
    /// Subtract `delta` (wrapping) and return the value from before.
    fn fetch_sub<W: Word>(&self, at: Addr, delta: W, order: Ordering) -> W;
    /// A fence.
    fn fence(&self, order: Ordering);
    /// Local work that touches no shared memory, of about `nanos` nanoseconds.
    fn compute(&self, nanos: u32);
    /// Clear the 4 KiB page at `page`, as the kernel clears an anonymous page: plain stores.
    fn clear_page(&self, page: Addr);
    /// The program has searched a node of the tree and stops after `steps` steps. It means nothing
    /// to the program; a core has had work beside the loads, and goes wrong where it expected the
    /// search to end elsewhere.
    #[inline(always)]
    fn searched(&self, _node: NodeKind, _steps: usize) {}
    /// One turn of a spin-wait loop that gives the CPU away when it takes long.
    fn relax(&self);
    /// One turn of a spin-wait loop that never does.
    #[inline(always)]
    fn pause(&self) {
        self.relax();
    }
}
