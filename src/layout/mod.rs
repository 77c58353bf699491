//! Layouts of any struct: how objects are packed.
//!
//! Not here: the layouts of `vm_area_struct`, which belong to the fault path
//! (`program::fault::vma`).

mod slab;

pub use slab::SlabCache;
