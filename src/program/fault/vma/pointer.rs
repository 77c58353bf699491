//! Pointers to VMAs and to split locks, as they stand in memory and in registers.

use crate::space::memory::Addr;
use std::ops::Range;

/// How far beyond the first byte of its object a pointer points.
///
/// x86 encodes a displacement from -128 to 127 in one byte and any other in four. Were a pointer the
/// address of its object, a field below 128 would make shorter instructions than one above, and the
/// code of two layouts would differ in length for no reason that a kernel has. Counted from here,
/// every field of every built-in layout takes four bytes.
const BIAS: usize = 2048;

/// A pointer to a VMA or to a split lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer(Addr);

impl Pointer {
    /// Displacements from a pointer to what lies within 1 KiB of the beginning of its object: no
    /// other number in the fault path is like these.
    pub const DISPLACEMENTS: Range<i64> = -(BIAS as i64)..1024 - BIAS as i64;

    /// The pointer to the object that begins at `object`.
    #[inline(always)]
    pub const fn to(object: Addr) -> Pointer {
        Pointer(object.at(BIAS))
    }

    /// The pointer that a word in memory holds.
    #[inline(always)]
    pub const fn held(word: u64) -> Pointer {
        Pointer(Addr(word))
    }

    /// The word that holds it.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0.0
    }

    /// Whether it points nowhere.
    #[inline(always)]
    pub const fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The pointer to the object that begins `bytes` further on.
    #[inline(always)]
    pub const fn further(self, bytes: usize) -> Pointer {
        Pointer(self.0.at(bytes))
    }

    /// The address `offset` bytes into the object.
    #[inline(always)]
    pub const fn at(self, offset: usize) -> Addr {
        let displacement = (offset as u64).wrapping_sub(BIAS as u64);
        Addr(self.0.0.wrapping_add(displacement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::fault::layouts::VmaLayout;
    use crate::program::fault::vma::rwsem;

    #[test]
    fn a_pointer_leads_back_to_its_object() {
        let object = Addr(0x7000);
        let pointer = Pointer::held(Pointer::to(object).word());
        assert_eq!(pointer.at(0), object);
        assert_eq!(pointer.at(24), object.at(24));
        assert_eq!(pointer.further(192).at(24), object.at(216));
        assert!(!pointer.is_null() && Pointer::held(0).is_null());
    }

    #[test]
    fn no_field_is_within_reach_of_a_short_displacement() {
        let long = |offset: usize| i8::try_from(offset as isize - BIAS as isize).is_err();
        assert!((0..rwsem::BYTES).all(long));
        for layout in VmaLayout::EVERY {
            assert!((0..layout.table().bytes).all(long), "{}", layout.name());
        }
    }
}
