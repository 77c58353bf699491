//! The page-fault fast path and what it runs on.
//!
//! Here: the path, the lock protocols, the tree walk, the layouts of the VMA, the objects in
//! memory, and who faults where (`scenario`). Not here: what executes it (`backend`, `sim`).

pub mod lock;
pub mod path;
pub mod scenario;
pub mod tree;
pub mod uses;
pub mod vma;
pub mod world;
