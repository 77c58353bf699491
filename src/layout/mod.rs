//! Layouts of any struct: which member lies where, and how objects are packed.
//!
//! Read from BTF, DWARF or the text of pahole. BTF and DWARF are both seen as `types::Types`, from
//! which `expand` lists the members and `notation` writes the names of types.
//! `subject` is a layout with those who access it, `interference` what follows from the two.
//! Not here: the built-in layouts of `vm_area_struct`, which belong to the fault path
//! (`program::fault::vma`), and who accesses what (`case`).

mod btf;
pub mod diff;
mod dwarf;
mod expand;
pub mod interference;
pub mod meet;
mod notation;
mod object_file;
mod slab;
mod source;
mod struct_layout;
pub mod subject;
mod types;

pub use btf::Btf;
pub use dwarf::{Dwarf, Sections};
pub use slab::{KernelSlab, SlabCache};
pub use source::{KERNEL_BTF, LayoutFile};
pub use struct_layout::{Bits, Member, StructLayout};
