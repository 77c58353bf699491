//! How the kernel's slab allocator packs objects into pages.

use crate::space::LINE;
use crate::space::PAGE;

/// A slab cache: slots of one size, side by side in slabs of a few pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabCache {
    /// Bytes from one object to the next.
    pub slot: usize,
    /// Alignment of every object: 8, or a multiple of the line with `SLAB_HWCACHE_ALIGN`.
    pub align: usize,
    /// Pages in one slab. SLUB picks the order by object size and CPU count; 2 pages for the VMA
    /// caches and 1 for the locks are what slabinfo showed in the cover letters of the series
    /// (lore.kernel.org 20241111205506.3404479: `vma_lock` 102 x 1 page, `vm_area_struct` 160:
    /// 51 x 2, 192: 42 x 2, 256: 32 x 2).
    pub pages: usize,
}

impl SlabCache {
    /// A cache of objects of `size` bytes at multiples of `align`.
    pub const fn new(size: usize, align: usize, pages: usize) -> SlabCache {
        SlabCache {
            slot: size.next_multiple_of(align),
            align,
            pages,
        }
    }

    /// Objects in one slab.
    pub const fn objects(&self) -> usize {
        self.pages * PAGE / self.slot
    }

    /// Pages that `count` objects take.
    pub const fn pages_for(&self, count: usize) -> usize {
        count.div_ceil(self.objects()) * self.pages
    }

    /// Byte offset of object `index` from the start of the first slab.
    pub const fn offset(&self, index: usize) -> usize {
        let slab = index / self.objects();
        slab * self.pages * PAGE + (index % self.objects()) * self.slot
    }

    /// Whether every object starts on a line of its own.
    pub const fn is_line_aligned(&self) -> bool {
        self.align.is_multiple_of(LINE)
    }
}
