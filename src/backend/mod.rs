//! Backends: what executes a fault. Here: the native one, real atomics on slab memory. The
//! simulator has a room of its own (`sim`).

pub mod native;
