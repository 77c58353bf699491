//! Backends: what executes a sample. `native`: real atomics on slab memory, pinned threads of this
//! machine. `sim`: a machine model.

pub mod native;
pub mod sim;
