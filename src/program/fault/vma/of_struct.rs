//! From the members of a `vm_area_struct`, wherever they were read, to an imported layout.
//!
//! Here: which member is which field, which lock the kernel has, how its slab caches are made. Not
//! here: reading the members (`layout`).

use super::imported::wrong;
use super::{Field, ImportedLayout, rwsem};
use crate::error::Result;
use crate::layout::{Member, SLAB_CPUS, SlabCache, StructLayout};
use crate::space::LINE;
use std::collections::BTreeMap;

/// The struct that is imported.
const VMA: &str = "vm_area_struct";
/// The struct around a split or embedded `rw_semaphore`.
const LOCK: &str = "vma_lock";

impl ImportedLayout {
    /// The layout `name` of the kernel whose structs `read` gives by their names. Its slabs are
    /// those that SLUB would choose.
    pub fn of_kernel(
        name: &str,
        read: impl Fn(&str) -> Result<StructLayout>,
    ) -> Result<ImportedLayout> {
        let vma = read(VMA)?;
        let wrong = |why: &str| wrong(name, &vma.source, why);
        let mut fields = BTreeMap::new();
        for &field in Field::ALL {
            // The lock is looked at below: of one name, kernels had a pointer or the lock itself.
            if matches!(field, Field::rwsem | Field::vm_lock) {
                continue;
            }
            let placed = place(&vma, field).map_err(|why| wrong(&why))?;
            // Before 6.3 a name of anonymous memory lay over `shared`.
            let idle = Field::IDLE.contains(&field);
            if let Some(offset) = placed
                && !(idle && overlaps(&fields, field, offset))
            {
                fields.insert(field, offset);
            }
        }
        let (mut lock_cache, mut on_lines) = (None, false);
        if fields.contains_key(&Field::vm_refcnt) {
            // Since there is a count (6.15), the cache is made with SLAB_HWCACHE_ALIGN.
            on_lines = true;
        } else if let Some(pointer) = vma.member("vm_lock").filter(|lock| is_pointer(lock)) {
            let lock = read(LOCK)?;
            let members = lock.members.iter();
            check_semaphore(members, "lock", 0, lock.bytes).map_err(|why| wrong(&why))?;
            let cache = SlabCache::chosen(lock.bytes, lock.align, SLAB_CPUS);
            lock_cache = Some(cache.ok_or_else(|| wrong("struct vma_lock has no size"))?);
            let offset = offset(pointer).map_err(|why| wrong(&why))?;
            fields.insert(Field::vm_lock, offset);
        } else if let Some(lock) = embedded(&vma) {
            let members = vma.members.iter();
            check_semaphore(members, &lock.name, lock.offset, lock.bytes)
                .map_err(|why| wrong(&why))?;
            let offset = offset(lock).map_err(|why| wrong(&why))?;
            fields.insert(Field::rwsem, offset);
            // ____cacheline_aligned_in_smp, which BTF does not record: the struct ends on a line,
            // too.
            on_lines = lock.offset.is_multiple_of(LINE) && vma.bytes.is_multiple_of(LINE);
        }
        let align = SlabCache::alignment(vma.bytes, vma.align, on_lines);
        let cache = SlabCache::chosen(vma.bytes, align, SLAB_CPUS);
        let layout = ImportedLayout {
            name: name.to_owned(),
            source: vma.source.clone(),
            bytes: vma.bytes,
            cache: cache.ok_or_else(|| wrong("it has no size that a slab holds"))?,
            lock_cache,
            fields,
        };
        layout.check()?;
        Ok(layout)
    }
}

/// The member that is called as the field, or stands for it.
fn member(vma: &StructLayout, field: Field) -> Option<&Member> {
    vma.member(match field {
        // The field is the whole: `rb`, and `rb_subtree_last` behind it.
        Field::shared => "shared",
        field => field.name(),
    })
}

/// Where a field is, if the kernel has it. Of one that nobody accesses no more is said than where
/// it is.
fn place(vma: &StructLayout, field: Field) -> std::result::Result<Option<u16>, String> {
    // Without its configuration option, `vm_userfaultfd_ctx` is an empty struct.
    let Some(member) = member(vma, field).filter(|member| member.bytes > 0) else {
        return Ok(None);
    };
    if member.bytes == field.bytes() && member.bits.is_none() {
        return offset(member).map(Some);
    }
    match Field::IDLE.contains(&field) {
        true => Ok(None),
        false => Err(format!(
            "{} has {} bytes{}, and the fault path accesses {}; give the struct of a 64-bit kernel \
             without debugging options",
            member.name,
            member.bytes,
            if member.bits.is_some() {
                " and is a bit-field"
            } else {
                ""
            },
            field.bytes()
        )),
    }
}

fn offset(member: &Member) -> std::result::Result<u16, String> {
    u16::try_from(member.offset)
        .map_err(|_| format!("{} lies at {}, too far", member.name, member.offset))
}

/// Whether the field would lie over one of `fields`.
fn overlaps(fields: &BTreeMap<Field, u16>, field: Field, offset: u16) -> bool {
    let (start, end) = (usize::from(offset), usize::from(offset) + field.bytes());
    fields.iter().any(|(other, at)| {
        let at = usize::from(*at);
        start < at + other.bytes() && at < end
    })
}

fn is_pointer(member: &Member) -> bool {
    member.type_name.trim_end().ends_with('*')
}

/// The `rw_semaphore` in a VMA: `lock` of the series for 6.4, `vm_lock` of those that moved it back.
fn embedded(vma: &StructLayout) -> Option<&Member> {
    let semaphore = |name: &str| {
        let member = vma.member(name)?;
        let is = |of: &str| member.type_name == of || member.type_name == format!("struct {of}");
        (is("rw_semaphore") || is(LOCK)).then_some(member)
    };
    ["vm_lock.lock", "vm_lock", "lock"]
        .into_iter()
        .find_map(semaphore)
}

/// Whether the lock called `name` at `at` is a `rw_semaphore` as the path accesses it.
fn check_semaphore<'m>(
    members: impl Iterator<Item = &'m Member>,
    name: &str,
    at: usize,
    bytes: usize,
) -> std::result::Result<(), String> {
    if bytes != rwsem::BYTES {
        return Err(format!(
            "its rw_semaphore has {bytes} bytes, not {}; give the struct of a kernel without \
             debugging options",
            rwsem::BYTES
        ));
    }
    // The text of pahole may end above them.
    let inside = |member: &&Member| {
        let rest = member.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('.')) && member.depth > 0
    };
    let words: Vec<(&str, usize)> = members
        .filter(inside)
        .filter_map(|member| {
            let word = member.name.rsplit('.').next()?;
            Some((word, member.offset.checked_sub(at)?))
        })
        .collect();
    let has = |word: (&str, usize)| words.contains(&word);
    match words.is_empty() || has(("count", rwsem::COUNT)) && has(("owner", rwsem::OWNER)) {
        true => Ok(()),
        false => Err(format!(
            "its rw_semaphore does not begin with count and owner, as those of PREEMPT_RT; the \
             fault path knows only those that do: leave '{name}' out"
        )),
    }
}
