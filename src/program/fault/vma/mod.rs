//! Layouts: where every field of the struct and its lock lie.
//!
//! Here: fields, tables of offsets, slab caches, the registry of built-in layouts. Not here: what
//! the fault path does with them (`fault`), and the kernel generations themselves, one file each
//! in `layout::kernels`.

mod field;
mod kernels;
pub mod mm;
mod table;

pub use field::Field;
pub use table::{LockPlace, LockProtocol, Table, rwsem};

use crate::error::{Error, Result};

/// A layout as the fault path sees it.
///
/// A built-in layout answers with a constant, so that every offset is folded into the
/// instruction that uses it; an imported one answers with a table made at run time.
pub trait Layout: Copy + Send + Sync {
    /// Offsets, lock protocol and slab caches.
    fn table(&self) -> &Table;
}

impl Layout for &Table {
    #[inline(always)]
    fn table(&self) -> &Table {
        self
    }
}

/// What [`BuiltIn::with`] calls with the layout as a type of its own.
pub trait WithLayout {
    /// What the call returns.
    type Out;
    /// Called with the layout.
    fn call<L: Layout + 'static>(self, layout: L) -> Self::Out;
}

macro_rules! built_in {
    ($($variant:ident = $module:ident),* $(,)?) => {
        $(
            #[doc = concat!("`", stringify!($module), "`: see the file of that name in `layout/kernels`.")]
            #[derive(Clone, Copy, Debug)]
            pub struct $variant;

            impl Layout for $variant {
                #[inline(always)]
                fn table(&self) -> &Table {
                    const { &kernels::$module::TABLE }
                }
            }
        )*

        /// A layout that comes with `hitm`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BuiltIn {
            $(
                #[doc = concat!("[`struct@", stringify!($variant), "`]")]
                $variant
            ),*
        }

        impl BuiltIn {
            /// All built-in layouts, oldest kernel first.
            pub const ALL: &[BuiltIn] = &[$(BuiltIn::$variant),*];

            /// Its table.
            pub fn table(self) -> &'static Table {
                match self {
                    $(BuiltIn::$variant => const { &kernels::$module::TABLE }),*
                }
            }

            /// Call `f` with the layout as a type, so that its offsets are constants there.
            pub fn with<F: WithLayout>(self, f: F) -> F::Out {
                match self {
                    $(BuiltIn::$variant => f.call($variant)),*
                }
            }

            /// The same layout under larger kernel configurations; for `layout list --all` and
            /// `layout show NAME@CONFIG`.
            pub fn variants(self) -> &'static [Table] {
                match self {
                    $(BuiltIn::$variant => kernels::$module::VARIANTS),*
                }
            }
        }
    };
}

// One line a layout: the type, and its file in `layout/kernels`.
built_in! {
    MmapLock = mmap_lock,
    EmbeddedUnaligned = embedded_unaligned,
    SplitPacked = split_packed,
    SplitAligned = split_aligned,
    EmbeddedRwsem256 = embedded_rwsem_256,
    EmbeddedRefcount256 = embedded_refcount_256,
    EmbeddedRefcount192 = embedded_refcount_192,
    EmbeddedRefcountPair = embedded_refcount_pair,
}

impl BuiltIn {
    /// Its name on the command line and in the CSV.
    pub fn name(self) -> &'static str {
        self.table().name
    }

    /// The layout of that name.
    pub fn parse(name: &str) -> Result<BuiltIn> {
        BuiltIn::ALL
            .iter()
            .copied()
            .find(|layout| layout.name() == name)
            .ok_or_else(|| Error::unknown("layout", name, BuiltIn::ALL.iter().map(|l| l.name())))
    }
}

/// The table of that name, variants included.
pub fn find(name: &str) -> Result<&'static Table> {
    let all = || {
        BuiltIn::ALL
            .iter()
            .flat_map(|l| std::iter::once(l.table()).chain(l.variants()))
    };
    all()
        .find(|table| table.name == name)
        .ok_or_else(|| Error::unknown("layout", name, all().map(|table| table.name)))
}
