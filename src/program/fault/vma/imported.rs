//! A layout of the VMA that was read elsewhere, as data that can be written down.
//!
//! Here: what a run keeps of it, whether it can be laid out, and its table. Not here: how it is
//! found in the members of a struct (`of_struct`).

use super::{Field, LockPlace, LockProtocol, Table, rwsem};
use crate::error::{Error, Result};
use crate::layout::{KernelSlab, SlabCache};
use crate::space::PAGE;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Larger objects have offsets that a table does not hold.
const MOST_BYTES: usize = 1 << 16;
/// Pages of the largest slab (`MAX_PAGE_ORDER`).
const MOST_PAGES: usize = 1 << 10;

/// A layout of the VMA that was read elsewhere. How a reader enters follows from which fields there
/// are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedLayout {
    /// The name of its arm.
    pub name: String,
    /// Where it was read.
    pub source: String,
    /// `sizeof(struct vm_area_struct)`.
    pub bytes: usize,
    /// How the VMAs are packed.
    pub cache: SlabCache,
    /// How the locks are packed, if they are objects of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_cache: Option<SlabCache>,
    /// The offset of each field.
    pub fields: BTreeMap<Field, u16>,
}

impl ImportedLayout {
    /// Its table, for as long as the process lives.
    ///
    /// The fault path reads it at every access and so has it by reference, not counted. The memory
    /// is never given back: a few hundred bytes for each layout of each run that a process makes.
    pub fn table(&self) -> Result<&'static Table> {
        let table = self.checked()?;
        Ok(Box::leak(Box::new(Table {
            name: Box::leak(self.name.clone().into_boxed_str()),
            source: Box::leak(self.source.clone().into_boxed_str()),
            ..table
        })))
    }

    /// Whether a fault can be laid out by it.
    pub fn check(&self) -> Result<()> {
        self.checked().map(|_| ())
    }

    /// With the slabs of the kernel that runs below `root`, the root of the file system, where its
    /// sysfs may be read; and a word on where they are from.
    pub fn packed_as_below(mut self, root: &Path) -> ImportedLayout {
        let slab = |name: &str, bytes: usize| {
            let slab = KernelSlab::read(root, name).ok()?;
            // Merged with others, its objects may be larger.
            (slab.object_bytes >= bytes).then_some(slab.cache)
        };
        let mut read = Vec::new();
        if let Some(cache) = slab("vm_area_struct", self.bytes) {
            self.cache = cache;
            read.push("vm_area_struct");
        }
        if let Some(own) = &mut self.lock_cache
            && let Some(cache) = slab("vma_lock", rwsem::BYTES)
        {
            *own = cache;
            read.push("vma_lock");
        }
        if !read.is_empty() {
            self.source += &format!("; packed as /sys/kernel/slab says of {}", read.join(", "));
        }
        self
    }

    /// How a reader enters, and where the lock is.
    fn lock(&self) -> Result<(LockProtocol, LockPlace)> {
        let locks = [Field::vm_refcnt, Field::rwsem, Field::vm_lock];
        let mut locks = locks.iter().filter(|field| self.fields.contains_key(field));
        let lock = locks.next();
        if let (Some(one), Some(other)) = (lock, locks.next()) {
            return Err(self.wrong(format!("{one} and {other} are both locks")));
        }
        if self.lock_cache.is_some() != (lock == Some(&Field::vm_lock)) {
            return Err(self.wrong("a cache of locks goes with the field vm_lock".to_owned()));
        }
        Ok(match (lock, self.lock_cache) {
            (Some(Field::vm_refcnt), _) => (LockProtocol::Refcount, LockPlace::Embedded),
            (Some(Field::rwsem), _) => (LockProtocol::Rwsem, LockPlace::Embedded),
            (_, Some(cache)) => (LockProtocol::Rwsem, LockPlace::Split(cache)),
            (_, None) => (LockProtocol::MmapLock, LockPlace::Mm),
        })
    }

    /// The table without its texts.
    fn checked(&self) -> Result<Table> {
        let (protocol, lock) = self.lock()?;
        self.check_cache(&self.cache, self.bytes)?;
        if let Some(cache) = &self.lock_cache {
            self.check_cache(cache, rwsem::BYTES)?;
        }
        let mut fields = [None; Field::COUNT];
        for (field, offset) in &self.fields {
            fields[*field as usize] = Some(*offset);
        }
        let table = Table {
            name: "",
            source: "",
            protocol,
            lock,
            bytes: self.bytes,
            cache: self.cache,
            fields,
        };
        let missing = table.missing();
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|field| field.name()).collect();
            return Err(self.wrong(format!(
                "it has no {}, which the fault path of a kernel with {} accesses",
                names.join(", "),
                protocol.name()
            )));
        }
        match table.flaw() {
            None => Ok(table),
            Some((None, why)) => Err(self.wrong(why.to_owned())),
            Some((Some(field), why)) => Err(self.wrong(format!("{field} {why}"))),
        }
    }

    /// Whether objects of `bytes` bytes may be packed so.
    fn check_cache(&self, cache: &SlabCache, bytes: usize) -> Result<()> {
        let SlabCache { slot, align, pages } = *cache;
        let why = if bytes == 0 || slot < bytes || slot > MOST_BYTES {
            format!("objects of {bytes} bytes do not lie in slots of {slot}")
        } else if !align.is_power_of_two() || !(8..=PAGE).contains(&align) {
            format!("{align} is no alignment of a slab; powers of two from 8 to {PAGE} are")
        } else if !slot.is_multiple_of(align) {
            format!("slots of {slot} bytes are not aligned to {align}")
        } else if !pages.is_power_of_two() || pages > MOST_PAGES || pages * PAGE < slot {
            format!("{pages} pages are no slab of slots of {slot} bytes")
        } else {
            return Ok(());
        };
        Err(self.wrong(why))
    }

    /// An error in it.
    pub(super) fn wrong(&self, why: String) -> Error {
        wrong(&self.name, &self.source, &why)
    }
}

/// An error in the layout `name`.
pub(super) fn wrong(name: &str, source: &str, why: &str) -> Error {
    Error::Input(format!(
        "imported layout '{}' ({}): {why}",
        name.escape_debug(),
        source.escape_debug()
    ))
}
