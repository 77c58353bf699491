//! How large a struct of the running kernel is, and how its slab cache packs it.
//!
//! Here: which of the two sources speaks, the slab attributes of sysfs or BTF, which needs no
//! privilege. Not here: reading them, and the struct's fields (`layout`).

use crate::layout::{Btf, KernelSlab};
use crate::machine::files::Known;
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
    let slab = KernelSlab::read(root, name)?;
    Ok(KernelStruct {
        bytes: slab.object_bytes as u64,
        slot_bytes: Some(slab.cache.slot as u64),
        objects_per_slab: Some(slab.objects as u64),
        pages_per_slab: Some(slab.cache.pages as u64),
        align_bytes: Some(slab.cache.align as u64),
        source: format!("/sys/kernel/slab/{name}"),
    })
}

fn from_btf(root: &Path, name: &str) -> Known<KernelStruct> {
    let path = "sys/kernel/btf/vmlinux";
    let bytes = std::fs::read(root.join(path)).map_err(|why| format!("/{path}: {why}"))?;
    let btf = Btf::parse(&bytes, None).map_err(|why| format!("/{path}: {why}"))?;
    let size = btf.structs().find(|(other, _)| *other == name);
    let (_, bytes) = size.ok_or_else(|| format!("/{path} has no struct {name}"))?;
    Ok(KernelStruct {
        bytes,
        slot_bytes: None,
        objects_per_slab: None,
        pages_per_slab: None,
        align_bytes: None,
        source: format!("/{path}"),
    })
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
        words.flat_map(u32::to_le_bytes).chain(*strings).collect()
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
