//! How large a struct of the running kernel is, and how its slab cache packs it.
//!
//! Here: the slab attributes of sysfs, and the size alone from BTF, which needs no privilege.
//! Not here: its fields (`layout`).

use crate::machine::files::{Known, read};
use serde::Serialize;
use std::path::Path;

/// A struct of the running kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelStruct {
    /// Its size.
    pub bytes: u64,
    /// From one object of its slab cache to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot_bytes: Option<u64>,
    /// Objects in one slab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects_per_slab: Option<u64>,
    /// Pages in one slab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_per_slab: Option<u64>,
    /// Alignment of its objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align_bytes: Option<u64>,
    /// Where this was read.
    pub source: String,
}

/// The struct `name`, from its slab cache (readable by root only) or from BTF.
pub(super) fn find(root: &Path, name: &str) -> Known<KernelStruct> {
    from_slab(root, name)
        .or_else(|slab| from_btf(root, name).map_err(|btf| format!("{slab}; {btf}")))
}

fn from_slab(root: &Path, name: &str) -> Known<KernelStruct> {
    let folder = format!("sys/kernel/slab/{name}");
    let number = |attribute: &str| {
        let text = read(root, &format!("{folder}/{attribute}"))?;
        text.parse::<u64>()
            .map_err(|why| format!("/{folder}/{attribute}: {why}"))
    };
    Ok(KernelStruct {
        bytes: number("object_size")?,
        slot_bytes: Some(number("slab_size")?),
        objects_per_slab: Some(number("objs_per_slab")?),
        pages_per_slab: Some(1 << number("order")?.min(63)),
        align_bytes: Some(number("align")?),
        source: format!("/{folder}"),
    })
}

fn from_btf(root: &Path, name: &str) -> Known<KernelStruct> {
    let path = "sys/kernel/btf/vmlinux";
    let btf = std::fs::read(root.join(path)).map_err(|why| format!("/{path}: {why}"))?;
    let bytes = btf_size(&btf, name).ok_or_else(|| format!("/{path} has no struct {name}"))?;
    Ok(KernelStruct {
        bytes,
        slot_bytes: None,
        objects_per_slab: None,
        pages_per_slab: None,
        align_bytes: None,
        source: format!("/{path}"),
    })
}

/// Size of the struct `name` in BTF of this machine's byte order; format and kinds as in the
/// kernel's `Documentation/bpf/btf.rst`. `None` if there is none, or the data are malformed.
fn btf_size(btf: &[u8], name: &str) -> Option<u64> {
    const MAGIC: u32 = 0xeb9f;
    const STRUCT: u32 = 4;
    let word = |bytes: &[u8], at: usize| -> Option<u32> {
        let word = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(word.try_into().ok()?))
    };
    if word(btf, 0)? & 0xffff != MAGIC {
        return None;
    }
    let section = |offset_at: usize| -> Option<&[u8]> {
        let body = btf.get(word(btf, 4)? as usize..)?;
        let (offset, length) = (word(btf, offset_at)?, word(btf, offset_at + 4)?);
        body.get(offset as usize..)?.get(..length as usize)
    };
    let (types, strings) = (section(8)?, section(16)?);
    let mut at = 0;
    while at < types.len() {
        let (name_at, info, size) = (word(types, at)?, word(types, at + 4)?, word(types, at + 8)?);
        let (kind, members) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        if kind == STRUCT {
            let named = strings
                .get(name_at as usize..)?
                .strip_prefix(name.as_bytes());
            if named.is_some_and(|rest| rest.first() == Some(&0)) {
                return Some(size.into());
            }
        }
        at += 12
            + match kind {
                1 | 14 | 17 => 4,                // int, var, decl_tag
                3 => 12,                         // array
                4 | 5 | 15 | 19 => 12 * members, // struct, union, datasec, enum64
                6 | 13 => 8 * members,           // enum, func_proto
                2 | 7..=12 | 16 | 18 => 0,       // ptr, fwd, typedef, cv, func, float, type_tag
                _ => return None,
            };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF with an int, a struct with one member, and the struct that is sought.
    fn btf() -> Vec<u8> {
        let strings = b"\0int\0vm_area\0vm_area_struct\0";
        let types: Vec<u32> = [
            vec![1, 1 << 24, 4, 32],          // int of 4 bytes, and its encoding
            vec![5, 4 << 24 | 1, 4, 0, 1, 0], // struct vm_area with a member
            vec![13, 4 << 24, 192],           // struct vm_area_struct
        ]
        .concat();
        let header = [
            0x0001_eb9f,
            24,
            0,
            4 * types.len() as u32,
            4 * types.len() as u32,
        ];
        let words = header
            .into_iter()
            .chain([strings.len() as u32])
            .chain(types);
        words.flat_map(u32::to_ne_bytes).chain(*strings).collect()
    }

    #[test]
    fn a_struct_is_found_in_btf_by_its_whole_name() {
        assert_eq!(btf_size(&btf(), "vm_area_struct"), Some(192));
        assert_eq!(btf_size(&btf(), "vm_area"), Some(4));
        assert_eq!(btf_size(&btf(), "vm_ar"), None);
        assert_eq!(btf_size(&btf(), "int"), None);
    }

    #[test]
    fn malformed_btf_is_no_struct_and_no_panic() {
        let whole = btf();
        for length in 0..whole.len() - 1 {
            let cut = &whole[..length];
            assert_eq!(btf_size(cut, "vm_area_struct"), None, "{length} bytes");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] = 0xff;
            let _ = btf_size(&damaged, "vm_area_struct");
        }
    }

    #[test]
    fn without_a_readable_slab_cache_the_size_comes_from_btf() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/kernel/btf")).unwrap();
        std::fs::write(root.path().join("sys/kernel/btf/vmlinux"), btf()).unwrap();
        let found = find(root.path(), "vm_area_struct").unwrap();
        assert_eq!((found.bytes, found.slot_bytes), (192, None));
        let why = find(root.path(), "no_such_struct").unwrap_err();
        assert!(why.contains("slab") && why.contains("btf"), "{why}");
    }
}
