//! Layouts as types and as values: the registry that names, lists and dispatches the built-in ones,
//! and imported ones, whose table is read while the path runs.
//!
//! Not here: the tables (`fault::vma::kernels`) and the lock protocols (`fault::lock`).

use super::lock::{self, Layout, Lock};
use super::vma::{Table, kernels};
use crate::error::{Error, Result};
use std::marker::PhantomData;

/// A layout with the lock protocol `K` whose table is read while the path runs.
pub struct AtRunTime<K>(&'static Table, PhantomData<K>);

impl<K> AtRunTime<K> {
    /// The layout of `table`, whose protocol is `K`.
    pub const fn new(table: &'static Table) -> AtRunTime<K> {
        AtRunTime(table, PhantomData)
    }
}

impl<K> Clone for AtRunTime<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for AtRunTime<K> {}

impl<K: Lock> Layout for AtRunTime<K> {
    type Lock = K;

    #[inline(always)]
    fn table(&self) -> &'static Table {
        self.0
    }
}

/// Evaluate an expression with a name bound to the type of a lock protocol.
macro_rules! with_lock {
    ($protocol:expr, |$name:ident| $body:expr) => {
        match $protocol {
            $crate::program::fault::vma::LockProtocol::MmapLock => {
                type $name = $crate::program::fault::lock::mmap_lock::MmapLock;
                $body
            }
            $crate::program::fault::vma::LockProtocol::Rwsem => {
                type $name = $crate::program::fault::lock::rwsem::Rwsem;
                $body
            }
            $crate::program::fault::vma::LockProtocol::Refcount => {
                type $name = $crate::program::fault::lock::refcount::Refcount;
                $body
            }
        }
    };
}
pub(super) use with_lock;

macro_rules! built_in {
    (($d:tt) $($lock:path: $variant:ident = $module:ident $(, $config:ident = $table:ident)*;)*) => {
        /// A type for every built-in layout.
        pub mod literal {
            use super::{Layout, Lock, Table, kernels, lock};

            $(
                literal!($lock, $variant $module TABLE);
                $(literal!($lock, $config $module $table);)*
            )*
        }

        /// A layout of the VMA: one that comes with `hitm`, see the file of its name in
        /// `vma/kernels`, or an imported one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum VmaLayout {
            $($variant $(, $config)*,)*
            /// Read elsewhere.
            Imported(&'static Table),
        }

        impl VmaLayout {
            /// The built-in layouts under a default configuration, oldest kernel first.
            pub const ALL: &[VmaLayout] = &[$(VmaLayout::$variant),*];

            /// All built-in layouts; each is followed by itself under larger configurations.
            pub const EVERY: &[VmaLayout] = &[$(VmaLayout::$variant $(, VmaLayout::$config)*),*];

            /// Its table.
            pub fn table(self) -> &'static Table {
                with_layout!(self, |layout| layout.table(), |table| table)
            }
        }

        /// Evaluate an expression with a name bound to the layout as a value of a type of its own,
        /// so that its offsets are constants there; of an imported one, another expression with a
        /// name bound to its table.
        macro_rules! with_layout {
            (
                $d layout:expr,
                |$d name:ident| $d body:expr,
                |$d table:ident| $d imported:expr $d(,)?
            ) => {
                match $d layout {
                    $(
                        $crate::program::fault::layouts::VmaLayout::$variant => {
                            let $d name = $crate::program::fault::layouts::literal::$variant;
                            $d body
                        }
                        $($crate::program::fault::layouts::VmaLayout::$config => {
                            let $d name = $crate::program::fault::layouts::literal::$config;
                            $d body
                        })*
                    )*
                    $crate::program::fault::layouts::VmaLayout::Imported($d table) => $d imported,
                }
            };
        }
        pub(super) use with_layout;
    };
}

macro_rules! literal {
    ($lock:path, $layout:ident $module:ident $table:ident) => {
        #[doc = concat!("`", stringify!($table), "` of `kernels::", stringify!($module), "`.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $layout;

        impl Layout for $layout {
            type Lock = $lock;

            #[inline(always)]
            fn table(&self) -> &'static Table {
                const {
                    // Its protocol has to be the one it is registered with.
                    assert!(kernels::$module::$table.protocol as u8 == <$lock>::PROTOCOL as u8);
                    &kernels::$module::$table.checked()
                }
            }
        }
    };
}

// One line a layout: its lock, its name here, its file in `kernels`; then its larger
// configurations, each a table in that file.
built_in! {
    ($)
    lock::mmap_lock::MmapLock: MmapLock = mmap_lock, MmapLockAll = ALL;
    lock::rwsem::Rwsem: EmbeddedUnaligned = embedded_unaligned, EmbeddedUnalignedAll = ALL;
    lock::rwsem::Rwsem: SplitPacked = split_packed, SplitPackedDebian612 = DEBIAN_6_12, SplitPackedAll = ALL;
    lock::rwsem::Rwsem: SplitAligned = split_aligned;
    lock::rwsem::Rwsem: EmbeddedRwsem256 = embedded_rwsem_256, EmbeddedRwsem256All = ALL;
    lock::refcount::Refcount: EmbeddedRefcount256 = embedded_refcount_256;
    lock::refcount::Refcount: EmbeddedRefcount192 = embedded_refcount_192, EmbeddedRefcount192All = ALL, EmbeddedRefcount192V618 = V6_18;
    lock::refcount::Refcount: EmbeddedRefcountPair = embedded_refcount_pair;
}

impl VmaLayout {
    /// Its name on the command line and in the CSV.
    pub fn name(self) -> &'static str {
        self.table().name
    }

    /// The built-in layout of that name, `NAME` or `NAME@CONFIG`.
    pub fn parse(name: &str) -> Result<VmaLayout> {
        let found = VmaLayout::EVERY.iter().find(|layout| layout.name() == name);
        let names = VmaLayout::EVERY.iter().map(|layout| layout.name());
        found
            .copied()
            .ok_or_else(|| Error::unknown("layout", name, names))
    }
}
