//! The objects a fault touches, laid out in an arena: one address space, before anyone faults.
//!
//! Here: `mm_struct`, tree, VMAs and locks in their slabs, pages, per-thread words, and what each
//! is called. Not here: who uses which VMA (`scenario`).

use super::layouts::with_lock;
use super::lock::Lock;
use super::tree::{self, Range};
use super::vma::{Field, Pointer, Table, mm, rwsem};
use crate::space::PAGE;
use crate::space::PAIR;
use crate::space::arena::Arena;
use crate::space::map::{Map, Object, Span};
use crate::space::memory::Addr;

/// Virtual addresses that one VMA covers: 1 MiB.
pub const VMA_SPAN: u64 = 1 << 20;
/// Virtual address of the first VMA.
const FIRST_ADDRESS: u64 = 0x7f00_0000_0000;
/// Pages a thread clears in turn: 256 KiB, more than fits in the first cache.
const PAGES_PER_THREAD: usize = 64;

/// Slots of the lock slab before the first lock in use. VMA and lock slabs both begin on a page, and
/// a VMA and its lock at the same offset in a page alias in the store buffer of many cores, which
/// compare the low 12 bits of addresses; in the kernel no slot is paired with another like that.
/// 48 slots of 40 or 64 bytes are a multiple of the pair, so that parity is as without them.
const FIRST_LOCK: usize = 48;

/// What a world has to hold.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// VMAs, one a slab slot.
    pub vmas: usize,
    /// Further slab slots without a VMA, free for a scenario that maps.
    pub spare_slots: usize,
    /// Threads that will run.
    pub threads: usize,
    /// Whether pages will be cleared.
    pub pages: bool,
}

impl Size {
    /// Pages to clear, of all threads.
    fn pages(&self) -> usize {
        if self.pages {
            self.threads * PAGES_PER_THREAD
        } else {
            0
        }
    }
}

/// First address of the range that belongs to slab slot `slot` at the start. Ranges are as far
/// apart as they are long.
#[inline(always)]
pub const fn start_of(slot: usize) -> u64 {
    FIRST_ADDRESS + 2 * slot as u64 * VMA_SPAN
}

/// The address space.
pub struct World {
    arena: Arena,
    table: &'static Table,
    size: Size,
    mm: Addr,
    /// The leaf slot of the tree for the range of each slab slot.
    tree_slots: Vec<Addr>,
    nodes: Vec<tree::Node>,
    /// The first VMA. A pointer, so that the code that works out the place of a field of another one
    /// is as long for every field.
    vma_slab: Pointer,
    lock_slab: Addr,
    per_thread: Addr,
    pages: Addr,
}

impl World {
    /// Bytes of arena that a world takes.
    pub fn bytes_for(table: &'static Table, size: Size) -> usize {
        let slots = size.vmas + size.spare_slots;
        let locks = table
            .lock_cache()
            .map_or(0, |cache| cache.pages_for(FIRST_LOCK + slots));
        let pages = table.cache.pages_for(slots) + locks + size.pages();
        // Alignment between the parts costs less than a page each.
        mm::BYTES + tree::bytes_for(2 * slots + 1) + size.threads * PAIR + (pages + 5) * PAGE
    }

    /// Lay out everything for `table` in `arena`, which is empty: VMA `i` in slab slot `i`,
    /// attached and unlocked.
    pub fn new(mut arena: Arena, table: &'static Table, size: Size) -> World {
        let slots = size.vmas + size.spare_slots;
        let mm = arena.alloc(mm::BYTES, PAIR);
        let vma_slab = Pointer::to(arena.alloc(table.cache.pages_for(slots) * PAGE, PAGE));
        let lock_slab = match table.lock_cache() {
            Some(cache) => arena.alloc(cache.pages_for(FIRST_LOCK + slots) * PAGE, PAGE),
            None => Addr::NULL,
        };
        let per_thread = arena.alloc(size.threads * PAIR, PAIR);
        let pages = arena.alloc(size.pages() * PAGE, PAGE);
        let mut world = World {
            arena,
            table,
            size,
            mm,
            tree_slots: Vec::new(),
            nodes: Vec::new(),
            vma_slab,
            lock_slab,
            per_thread,
            pages,
        };
        world.arena.write(mm.at(mm::MM_USERS), 1u32);
        world.arena.write(mm.at(mm::MAP_COUNT), size.vmas as u32);
        world.build_tree();
        for slot in 0..slots {
            world.init_vma(slot);
        }
        world
    }

    /// Gap, region 0, gap, region 1, …: every region, mapped or not, has a leaf slot of its own.
    fn build_tree(&mut self) {
        let count = self.size.vmas + self.size.spare_slots;
        let mut ranges = Vec::with_capacity(2 * count + 1);
        for i in 0..count {
            ranges.push(Range {
                last: start_of(i) - 1,
                entry: 0,
            });
            let mapped = i < self.size.vmas;
            let entry = if mapped {
                self.vma_pointer(i).word()
            } else {
                0
            };
            ranges.push(Range {
                last: start_of(i) + VMA_SPAN - 1,
                entry,
            });
        }
        ranges.push(Range {
            last: u64::MAX,
            entry: 0,
        });
        let tree = tree::build(&mut self.arena, self.mm, &ranges);
        self.nodes = tree.nodes;
        self.tree_slots = (0..count).map(|i| tree.slots[2 * i + 1]).collect();
    }

    /// Fill slab slot `slot`: a VMA of region `slot` if it is mapped, a free object otherwise.
    fn init_vma(&self, slot: usize) {
        let vma = self.vma(slot);
        let mapped = slot < self.size.vmas;
        let start = start_of(slot);
        let write = |field: Field, value: u64| {
            if self.table.has(field) {
                self.arena.write(vma.at(self.table.offset(field)), value);
            }
        };
        write(Field::vm_start, start);
        write(Field::vm_end, start + VMA_SPAN);
        write(Field::vm_mm, self.mm.0);
        write(Field::vm_pgoff, start >> 12);
        if self.table.has(Field::vm_lock_seq) {
            // VMA_LOCK_SEQ of a VMA that no writer has marked: never equal to an mm's.
            self.arena
                .write(vma.at(self.table.offset(Field::vm_lock_seq)), u32::MAX);
        }
        with_lock!(self.table.protocol, |K| K::init(
            &self.arena,
            self.table,
            self.vma_pointer(slot),
            mapped
        ));
        if let Some(lock) = self.split_lock(slot) {
            write(Field::vm_lock, Pointer::to(lock).word());
        }
    }

    /// The arena, for the next world.
    pub fn into_arena(self) -> Arena {
        self.arena
    }

    /// The memory everything lies in.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The layout it was made for.
    pub fn table(&self) -> &Table {
        self.table
    }

    /// The `mm_struct`.
    pub fn mm(&self) -> Addr {
        self.mm
    }

    /// The VMA object in slab slot `slot`.
    pub fn vma(&self, slot: usize) -> Addr {
        self.vma_pointer(slot).at(0)
    }

    /// The pointer to the VMA in slab slot `slot`.
    pub fn vma_pointer(&self, slot: usize) -> Pointer {
        self.vma_slab.further(self.table.cache.offset(slot))
    }

    /// The lock words of the VMA in slab slot `slot`; those of `mm_struct` where it has none.
    pub fn lock(&self, slot: usize) -> Addr {
        match (self.split_lock(slot), self.table.protocol.field()) {
            (Some(lock), _) => lock,
            (None, Some(field)) => self.vma(slot).at(self.table.offset(field)),
            (None, None) => self.mm.at(mm::MMAP_LOCK),
        }
    }

    /// The split lock object in slab slot `slot`, if the layout has one.
    pub fn split_lock(&self, slot: usize) -> Option<Addr> {
        let cache = self.table.lock_cache()?;
        Some(self.lock_slab.at(cache.offset(FIRST_LOCK + slot)))
    }

    /// The leaf slot of the tree for the range of slab slot `slot`.
    pub fn tree_slot(&self, slot: usize) -> Addr {
        self.tree_slots[slot]
    }

    /// What it was made to hold.
    pub fn size(&self) -> Size {
        self.size
    }

    /// A pair that only `thread` writes.
    pub fn per_thread(&self, thread: usize) -> Addr {
        self.per_thread.at(thread * PAIR)
    }

    /// The page `thread` clears in its fault number `fault`; without pages, an unused address.
    #[inline(always)]
    pub fn page(&self, thread: usize, fault: u64) -> Addr {
        let index = thread * PAGES_PER_THREAD + fault as usize % PAGES_PER_THREAD;
        self.pages.at(index * PAGE)
    }

    /// Every object with its fields.
    pub fn map(&self) -> Map {
        let object = |name: &'static str, index, start, bytes, fields| Object {
            name: name.into(),
            index,
            start,
            bytes,
            fields,
        };
        let mut objects = vec![object("mm", None, self.mm, mm::BYTES, mm::fields())];
        for slot in 0..self.size.vmas + self.size.spare_slots {
            let (vma, bytes) = (self.vma(slot), self.table.bytes);
            objects.push(object(
                "vma",
                Some(slot),
                vma,
                bytes,
                vma_fields(self.table),
            ));
            if let Some(lock) = self.split_lock(slot) {
                let words = rwsem::FIELDS.to_vec();
                objects.push(object("lock", Some(slot), lock, rwsem::BYTES, words));
            }
        }
        for node in &self.nodes {
            objects.push(object(
                node.level.name(),
                node.number,
                node.at,
                tree::NODE,
                node.fields(),
            ));
        }
        for thread in 0..self.size.threads {
            let quiescent = vec![Span::word("quiescent", 0, 8)];
            let own = self.per_thread(thread);
            objects.push(object("thread", Some(thread), own, PAIR, quiescent));
            if self.size.pages {
                let pages = (self.page(thread, 0), PAGES_PER_THREAD * PAGE);
                objects.push(object("page", Some(thread), pages.0, pages.1, Vec::new()));
            }
        }
        Map::new(self.arena.base(), objects)
    }
}

/// The fields of a VMA, the words of an embedded `rw_semaphore` one by one.
pub fn vma_fields(table: &Table) -> Vec<Span> {
    let mut fields = Vec::new();
    for (field, offset) in table.placed() {
        match field {
            Field::rwsem => {
                fields.extend(rwsem::FIELDS.map(|word| word.within(field.name(), offset)));
            }
            _ => fields.push(Span::word(field.name(), offset, field.bytes())),
        }
    }
    fields
}
