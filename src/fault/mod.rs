//! The page-fault fast path and what it runs on.
//!
//! Here: the path, the lock protocols, the tree walk, the `Memory` trait, the objects in memory.
//! Not here: who faults where (`scenario`) and what executes it (`backend`, `sim`).

pub mod arena;
pub mod memory;
pub mod mmap_lock;
pub mod path;
pub mod refcount;
pub mod rwsem;
pub mod tree;
pub mod uses;
pub mod vma_lock;
pub mod world;
