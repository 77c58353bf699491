//! How the kernel's slab allocator packs objects into pages: as it says itself, or as it would.

use crate::space::{LINE, PAGE};
use std::path::Path;

/// The largest order that SLUB tries before it takes whatever holds one object:
/// `PAGE_ALLOC_COSTLY_ORDER`.
const MAX_ORDER: u32 = 3;
/// Objects that a slab may have: its counter has 15 bits (`MAX_OBJS_PER_PAGE`).
const MAX_OBJECTS: usize = 32767;
/// Larger objects are not made by slab caches.
const LARGEST: usize = PAGE << 10;

/// CPUs that SLUB is taken to choose a slab for: the same on every machine and model, so that a
/// case is the same question everywhere. With 32, slabs of 160 to 256 bytes have the 2 pages that
/// cover letters of the per-VMA lock series show.
pub const SLAB_CPUS: usize = 32;

/// A slab cache: slots of one size, side by side in slabs of a few pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
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

    /// The cache that SLUB would make of objects of `size` bytes at multiples of `align` on a
    /// machine of `cpus` CPUs, with no option of the kernel's command line set: the smallest slab
    /// that holds `4 * (fls(cpus) + 1)` objects and wastes no more than a sixteenth; else an eighth,
    /// a quarter, a half (`calculate_order` of `mm/slub.c`, Linux 6.12). `None` if `size` is 0, or
    /// larger than the largest slab.
    ///
    /// Debugging, and caches with a constructor or `SLAB_TYPESAFE_BY_RCU` that have not said where
    /// their free pointer goes, make the object larger than its struct.
    pub fn chosen(size: usize, align: usize, cpus: usize) -> Option<SlabCache> {
        let align = align.max(8).checked_next_power_of_two()?;
        let slot = size.checked_next_multiple_of(align)?;
        if slot == 0 || slot > LARGEST {
            return None;
        }
        let order = order(slot, cpus);
        Some(SlabCache {
            slot,
            align,
            pages: 1 << order,
        })
    }

    /// The alignment of objects of `size` bytes for whose cache `align` was asked, with
    /// `SLAB_HWCACHE_ALIGN` or without: with it a line, or for small objects the part of one that
    /// holds them (`calculate_alignment` of `mm/slab_common.c`).
    pub const fn alignment(size: usize, align: usize, hwcache_align: bool) -> usize {
        let mut line = LINE;
        while size <= line / 2 && line > 8 {
            line /= 2;
        }
        let asked = if hwcache_align && line > align {
            line
        } else {
            align
        };
        if asked > 8 { asked } else { 8 }
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

/// The order of the slabs of objects that are `slot` bytes apart.
fn order(slot: usize, cpus: usize) -> u32 {
    let fls = usize::BITS - cpus.leading_zeros();
    let most = ((PAGE << MAX_ORDER) / slot).max(1);
    let wanted = (4 * (fls as usize + 1)).min(most);
    let least = order_of(wanted * slot);
    if (PAGE << least) / slot > MAX_OBJECTS {
        return order_of(slot * MAX_OBJECTS).saturating_sub(1);
    }
    for part in [16, 8, 4, 2] {
        let wastes_little = |order: &u32| {
            let slab = PAGE << order;
            slab % slot <= slab / part
        };
        if let Some(order) = (least..=MAX_ORDER).find(wastes_little) {
            return order;
        }
    }
    order_of(slot)
}

/// The order of the fewest pages that hold `bytes` (`get_order`).
fn order_of(bytes: usize) -> u32 {
    bytes.div_ceil(PAGE).next_power_of_two().trailing_zeros()
}

/// A slab cache of the running kernel, as `/sys/kernel/slab` shows it to root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSlab {
    /// Bytes of an object, without what the allocator adds.
    pub object_bytes: usize,
    /// How objects are packed.
    pub cache: SlabCache,
    /// Objects in one slab; fewer than fit where the kernel keeps data of its own there.
    pub objects: usize,
}

impl KernelSlab {
    /// The cache `name` below `root`, the root of the file system; else one line that says why not.
    pub fn read(root: &Path, name: &str) -> Result<KernelSlab, String> {
        let folder = format!("sys/kernel/slab/{name}");
        if name.contains('/') {
            return Err(format!("/{folder}: not a name"));
        }
        let number = |attribute: &str| -> Result<usize, String> {
            let path = format!("{folder}/{attribute}");
            let text = std::fs::read_to_string(root.join(&path)).map_err(|why| {
                let why = why.to_string();
                format!(
                    "/{path}: {}",
                    why.split(" (os error").next().unwrap_or(&why)
                )
            })?;
            let number = text.trim().parse::<usize>();
            number.map_err(|why| format!("/{path}: {why}"))
        };
        let at_least_one = |attribute: &str| match number(attribute)? {
            0 => Err(format!("/{folder}/{attribute}: 0")),
            number => Ok(number),
        };
        Ok(KernelSlab {
            object_bytes: number("object_size")?,
            cache: SlabCache {
                slot: at_least_one("slab_size")?,
                align: at_least_one("align")?,
                pages: 1 << number("order")?.min(20),
            },
            objects: number("objs_per_slab")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/proc/slabinfo` of the cover letters that `SlabCache::pages` names, and of a guest with two
    /// CPUs: size, alignment, CPUs, objects in a slab, pages of it.
    #[test]
    fn slub_chooses_the_slabs_that_slabinfo_shows() {
        for (size, align, cpus, objects, pages) in [
            (160, 8, 112, 51, 2),
            (192, 64, 112, 42, 2),
            (256, 64, 112, 32, 2),
            (40, 8, 112, 102, 1),
            (192, 64, 2, 21, 1),
            (192, 8, 2, 21, 1),
            (64, 64, 2, 64, 1),
            (4096, 4096, 2, 8, 8),
            (8192, 8192, 2, 4, 8),
        ] {
            let cache = SlabCache::chosen(size, align, cpus).unwrap();
            assert_eq!(
                (cache.objects(), cache.pages),
                (objects, pages),
                "{size} bytes at {align}, {cpus} CPUs"
            );
        }
    }

    #[test]
    fn no_size_makes_a_slab_that_holds_nothing() {
        for size in (0..20_000).chain([usize::MAX, 1 << 22, (1 << 22) + 1]) {
            for cpus in [0, 1, 2, 64, usize::MAX] {
                let chosen = SlabCache::chosen(size, 8, cpus);
                assert!(chosen.is_none_or(|cache| cache.objects() >= 1), "{size}");
            }
        }
        assert_eq!(SlabCache::chosen(0, 8, 2), None);
        assert_eq!(SlabCache::chosen(8, usize::MAX, 2), None);
    }

    #[test]
    fn hwcache_align_gives_small_objects_a_part_of_a_line() {
        let align = |size| SlabCache::alignment(size, 8, true);
        assert_eq!([8, 16, 24, 32, 33, 192].map(align), [8, 16, 32, 32, 64, 64]);
        assert_eq!(SlabCache::alignment(192, 0, false), 8);
        assert_eq!(SlabCache::alignment(8, 128, true), 128);
    }
}
