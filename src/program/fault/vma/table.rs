//! One layout as data: offsets and sizes of the fields, the lock, the slab caches.

use super::Field;
use crate::layout::Cache;

/// How a reader enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockProtocol {
    /// The read side of `mm->mmap_lock`; the VMA has no lock of its own.
    MmapLock,
    /// A `rw_semaphore` per VMA: CAS loop on `count`, then a store to `owner`.
    Rwsem,
    /// A reference count per VMA: CAS loop with a limit.
    Refcount,
}

impl LockProtocol {
    /// Its name in the CSV.
    pub fn name(self) -> &'static str {
        match self {
            LockProtocol::MmapLock => "mmap_lock",
            LockProtocol::Rwsem => "rwsem",
            LockProtocol::Refcount => "refcount",
        }
    }
}

/// Where the lock of a VMA is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockPlace {
    /// In `mm_struct`: the VMA has none.
    Mm,
    /// In the VMA: field `rwsem` or `vm_refcnt`.
    Embedded,
    /// An object of its own, packed in this cache; the VMA holds a pointer to it, `vm_lock`.
    Split(Cache),
}

/// Offset and size of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes from the start of the VMA.
    pub offset: usize,
    /// Bytes it takes.
    pub size: usize,
}

/// One layout.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name on the command line and in the CSV; a variant is `NAME@CONFIG`.
    pub name: &'static str,
    /// Which kernel had it, and where that is written.
    pub source: &'static str,
    /// How a reader enters.
    pub protocol: LockProtocol,
    /// Where the lock is.
    pub lock: LockPlace,
    /// `sizeof(struct vm_area_struct)`.
    pub bytes_vma: usize,
    /// How the VMAs are packed.
    pub cache: Cache,
    /// Where each field lies; `None` where this kernel has no such field.
    pub fields: [Option<Extent>; Field::COUNT],
}

impl Table {
    /// Whether this layout has the field.
    #[inline(always)]
    pub const fn has(&self, field: Field) -> bool {
        self.fields[field as usize].is_some()
    }

    /// Offset of the field in bytes.
    ///
    /// # Panics
    /// When the layout has no such field: the fault path asks [`Table::has`] first where a kernel
    /// generation may lack it. Folded away for built-in layouts.
    #[inline(always)]
    pub const fn offset(&self, field: Field) -> usize {
        match self.fields[field as usize] {
            Some(extent) => extent.offset,
            None => panic!("the layout has no such field"),
        }
    }

    /// The field that the byte at `offset` belongs to; `None` in a hole.
    pub fn field_at(&self, offset: usize) -> Option<Field> {
        Field::ALL.into_iter().find(|field| {
            self.fields[*field as usize]
                .is_some_and(|e| (e.offset..e.offset + e.size).contains(&offset))
        })
    }

    /// The fields the layout has, by offset.
    pub fn placed(&self) -> Vec<(Field, Extent)> {
        let mut placed: Vec<(Field, Extent)> = Field::ALL
            .into_iter()
            .filter_map(|field| Some((field, self.fields[field as usize]?)))
            .collect();
        placed.sort_by_key(|(_, extent)| extent.offset);
        placed
    }

    /// The cache of the lock objects, if the lock is split.
    pub const fn lock_cache(&self) -> Option<Cache> {
        match self.lock {
            LockPlace::Split(cache) => Some(cache),
            _ => None,
        }
    }

    /// Bytes of the separate lock object; 0 where the lock lies inside the VMA or in `mm_struct`.
    pub const fn bytes_lock(&self) -> usize {
        match self.lock {
            LockPlace::Split(cache) => cache.slot,
            _ => 0,
        }
    }

    /// Pages that 1000 VMAs and their split locks take.
    pub const fn pages_per_1000(&self) -> usize {
        let locks = match self.lock {
            LockPlace::Split(cache) => cache.pages_for(1000),
            _ => 0,
        };
        self.cache.pages_for(1000) + locks
    }
}

/// Offsets of the words of a `rw_semaphore` (x86-64, 40 bytes; BTF of Debian's 6.12 kernel).
pub mod rwsem {
    /// `count`: writer bit, waiter bits, readers in steps of 256.
    pub const COUNT: usize = 0;
    /// `owner`: the task that took it last, with flags in the low bits.
    pub const OWNER: usize = 8;
    /// `sizeof(struct rw_semaphore)`.
    pub const BYTES: usize = 40;
}

/// Size in bytes of the field that `_field` points to.
pub(crate) const fn size_of_field<S, F>(_field: fn(&S) -> *const F) -> usize {
    size_of::<F>()
}

/// Make the field array of a [`Table`] from a `#[repr(C)]` struct and assert, at compile time,
/// that every field lies where the kernel's does.
macro_rules! fields {
    ($ty:ident, $bytes:literal: $($field:ident @ $offset:literal),* $(,)?) => {{
        $(
            assert!(std::mem::offset_of!($ty, $field) == $offset);
            // A lock may carry padding up to its line or pair.
            let bytes = $crate::program::fault::vma::table::size_of_field(|s: &$ty| &raw const s.$field);
            assert!(bytes >= $crate::program::fault::vma::Field::$field.bytes());
        )*
        assert!(size_of::<$ty>() == $bytes);
        let mut fields = [None; $crate::program::fault::vma::Field::COUNT];
        $(
            fields[$crate::program::fault::vma::Field::$field as usize] = Some($crate::program::fault::vma::table::Extent {
                offset: std::mem::offset_of!($ty, $field),
                size: $crate::program::fault::vma::Field::$field.bytes(),
            });
        )*
        fields
    }};
}
pub(crate) use fields;
