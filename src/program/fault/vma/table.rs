//! One layout as data: offsets of the fields, the lock, the slab caches.

use super::Field;
use crate::layout::SlabCache;

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
    /// The field of the VMA that holds an embedded lock; none where a VMA has no lock.
    #[inline(always)]
    pub const fn field(self) -> Option<Field> {
        match self {
            LockProtocol::MmapLock => None,
            LockProtocol::Rwsem => Some(Field::rwsem),
            LockProtocol::Refcount => Some(Field::vm_refcnt),
        }
    }

    /// The fields that it accesses, apart from the lock itself.
    pub const fn needs(self) -> &'static [Field] {
        match self {
            LockProtocol::MmapLock => &[],
            LockProtocol::Rwsem => &[Field::vm_lock_seq, Field::detached],
            LockProtocol::Refcount => &[Field::vm_lock_seq],
        }
    }

    /// Its name in `layout list`.
    pub fn name(self) -> &'static str {
        match self {
            LockProtocol::MmapLock => "mmap_lock",
            LockProtocol::Rwsem => "rwsem",
            LockProtocol::Refcount => "refcount",
        }
    }
}

/// Where the lock of a VMA is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockPlace {
    /// In `mm_struct`: the VMA has none.
    Mm,
    /// In the VMA: field `rwsem` or `vm_refcnt`.
    Embedded,
    /// An object of its own, packed in this cache; the VMA holds a pointer to it, `vm_lock`.
    Split(SlabCache),
}

/// The offset of each field in bytes, by `Field as usize`; `None` where a kernel has no such field.
pub type Offsets = [Option<u16>; Field::COUNT];

/// One layout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// Its name on the command line and in the CSV; under a larger kernel configuration
    /// `NAME@CONFIG`.
    pub name: &'static str,
    /// Which kernel had it, and where that is written.
    pub source: &'static str,
    /// How a reader enters.
    pub protocol: LockProtocol,
    /// Where the lock is.
    pub lock: LockPlace,
    /// `sizeof(struct vm_area_struct)`.
    pub bytes: usize,
    /// How the VMAs are packed.
    pub cache: SlabCache,
    /// Where each field lies.
    pub fields: Offsets,
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
    /// When the layout has no such field. Folded away for built-in layouts.
    #[inline(always)]
    pub const fn offset(&self, field: Field) -> usize {
        match self.fields[field as usize] {
            Some(offset) => offset as usize,
            None => panic!("the layout has no such field"),
        }
    }

    /// The fields the layout has with their offsets, in order of these.
    pub fn placed(&self) -> Vec<(Field, usize)> {
        let fields = Field::ALL.iter().filter(|field| self.has(**field));
        let mut placed: Vec<(Field, usize)> = fields.map(|f| (*f, self.offset(*f))).collect();
        placed.sort_by_key(|(_, offset)| *offset);
        placed
    }

    /// The cache of the lock objects, if the lock is split.
    pub const fn lock_cache(&self) -> Option<SlabCache> {
        match self.lock {
            LockPlace::Split(cache) => Some(cache),
            _ => None,
        }
    }

    /// Bytes of the separate lock object; 0 where the lock lies inside the VMA or in `mm_struct`.
    pub fn bytes_lock(&self) -> usize {
        self.lock_cache().map_or(0, |cache| cache.slot)
    }

    /// Pages that 1000 VMAs and their split locks take.
    pub fn pages_per_1000(&self) -> usize {
        let locks = self.lock_cache().map_or(0, |cache| cache.pages_for(1000));
        self.cache.pages_for(1000) + locks
    }

    /// The fields that a fault, its lock protocol or the interval tree needs and that are missing.
    pub fn missing(&self) -> Vec<Field> {
        let needed = Field::NEEDED.iter().chain(self.protocol.needs());
        needed.copied().filter(|field| !self.has(*field)).collect()
    }

    /// What is wrong with it, and with which field: two overlap, one is not aligned to its size or
    /// lies outside the struct, or the lock is not where the table says.
    pub const fn flaw(&self) -> Option<(Option<Field>, &'static str)> {
        let mut i = 0;
        while i < Field::COUNT {
            if let Some(offset) = self.fields[i] {
                let field = Some(Field::ALL[i]);
                let (start, bytes) = (offset as usize, Field::ALL[i].bytes());
                let align = if bytes > 8 { 8 } else { bytes };
                if !start.is_multiple_of(align) {
                    return Some((field, "is not aligned to its size"));
                }
                if start + bytes > self.bytes {
                    return Some((field, "lies outside the struct"));
                }
                let mut j = 0;
                while j < i {
                    if let Some(other) = self.fields[j] {
                        let (other, bytes_other) = (other as usize, Field::ALL[j].bytes());
                        if start + bytes > other && other + bytes_other > start {
                            return Some((field, "overlaps another field"));
                        }
                    }
                    j += 1;
                }
            }
            i += 1;
        }
        let lock_is_there = match (self.lock, self.protocol.field()) {
            (LockPlace::Mm, field) => field.is_none(),
            (LockPlace::Split(_), Some(_)) => self.has(Field::vm_lock),
            (LockPlace::Embedded, Some(field)) => self.has(field),
            (LockPlace::Split(_) | LockPlace::Embedded, None) => false,
        };
        if !lock_is_there {
            return Some((None, "the lock is not where the table says"));
        }
        // Every lock of a VMA has the sequence check around it.
        if self.protocol.field().is_some() && !self.has(Field::vm_lock_seq) {
            return Some((Some(Field::vm_lock_seq), "is missing beside a lock"));
        }
        if self.bytes > self.cache.slot {
            return Some((None, "an object does not fit its slot"));
        }
        None
    }

    /// The table itself, if it has no [`flaw`](Table::flaw).
    ///
    /// # Panics
    /// Otherwise: at compile time, as every built-in table is registered through it.
    pub const fn checked(self) -> Table {
        match self.flaw() {
            Some((_, why)) => panic!("{}", why),
            None => self,
        }
    }
}

/// The offsets of some fields; each is named once.
pub(super) const fn offsets(fields: &[(Field, u16)]) -> Offsets {
    let mut offsets = [None; Field::COUNT];
    let mut i = 0;
    while i < fields.len() {
        let (field, offset) = fields[i];
        assert!(offsets[field as usize].is_none(), "a field is named twice");
        offsets[field as usize] = Some(offset);
        i += 1;
    }
    offsets
}

/// [`Offsets`] as pahole would list them: `fields! { vm_start@0, vm_end@8 }`.
macro_rules! fields {
    ($($field:ident@$offset:literal),* $(,)?) => {
        $crate::program::fault::vma::table::offsets(&[
            $(($crate::program::fault::vma::Field::$field, $offset)),*
        ])
    };
}
pub(super) use fields;
