//! What BTF and DWARF have in common: types that refer to each other.

use crate::error::{Error, Result};

/// Types within types, and aliases of aliases, that are followed before the data are taken for a
/// circle. The kernel's own structs nest to a depth of about a dozen.
pub const DEEPEST: usize = 32;

/// Bytes that the names of a struct's members take together.
pub const MOST_TEXT: usize = 1 << 23;

/// A set of types; each is decoded when it is asked for.
pub trait Types {
    /// What names a type.
    type Id: Copy + Eq + std::hash::Hash;

    /// The type, without what is in it: cheap, however large it is.
    fn get(&self, id: Self::Id) -> Result<Type<Self::Id>>;

    /// The members of a struct or union, in the order of their declaration.
    fn parts(&self, id: Self::Id) -> Result<Vec<Part<Self::Id>>>;

    /// Whether bits are counted from the most significant one.
    fn big_endian(&self) -> bool;
}

/// A type.
#[derive(Clone, Debug)]
pub enum Type<Id> {
    /// A number or an enum.
    Scalar {
        /// As C names it.
        name: String,
        /// Its size.
        bytes: u64,
        /// Its alignment.
        align: u64,
    },
    /// A pointer or a reference.
    Pointer {
        /// To what; `None` is void.
        to: Option<Id>,
        /// Its size.
        bytes: u64,
        /// `*`, `&` or `&&`.
        mark: &'static str,
    },
    /// An array; of several dimensions, an array of arrays.
    Array {
        /// What it is an array of.
        element: Id,
        /// How many; 0 also where there is no bound, as in a flexible array.
        count: u64,
    },
    /// A struct or union, or a class of C++.
    Composite(Composite),
    /// A typedef (with a name) or a qualifier: `const`, or nothing for what C does not see.
    Alias {
        /// The typedef's name, or the qualifier.
        name: Name,
        /// Of what; `None` is void.
        to: Option<Id>,
    },
    /// A function.
    Function {
        /// What it returns; `None` is void.
        returns: Option<Id>,
        /// What it takes, the first of them.
        parameters: Vec<Option<Id>>,
        /// Whether it takes more.
        more: bool,
    },
    /// A type that is only declared, or of no known size.
    Incomplete {
        /// As C names it.
        name: String,
    },
}

/// How an alias is written.
#[derive(Clone, Debug)]
pub enum Name {
    /// It stands for the whole type.
    Typedef(String),
    /// It stands beside the type; may be empty.
    Qualifier(&'static str),
}

/// A struct or union, without its members.
#[derive(Clone, Debug)]
pub struct Composite {
    /// As its language names it, `struct dentry`; empty where it has no name.
    pub name: String,
    /// Whether its members lie over each other.
    pub union: bool,
    /// Its size.
    pub bytes: u64,
    /// The alignment that its declaration asks for, where that is recorded.
    pub align: Option<u64>,
}

/// A member.
#[derive(Clone, Debug)]
pub struct Part<Id> {
    /// Its name; empty where what is in it is named as if it were in the struct around it.
    pub name: String,
    /// Its type.
    pub of: Id,
    /// Where its first bit lies, from the start of the struct: in memory order.
    pub bit: u64,
    /// How many bits it has, if it is a bit-field.
    pub bits: Option<u64>,
    /// The alignment that its declaration asks for, where that is recorded.
    pub align: Option<u64>,
    /// Whether it may share bytes with other members although this is no union.
    pub shares: bool,
}

/// What a type is behind typedefs, qualifiers and arrays.
#[derive(Clone, Debug)]
pub struct Shape<Id> {
    /// The type itself, of an array of any number of dimensions that of its elements; `None` is
    /// void.
    pub element: Option<(Id, Type<Id>)>,
    /// How many elements there are: 1 unless it is an array.
    pub count: u64,
    /// How many dimensions the array has.
    pub dimensions: usize,
}

impl<Id: Copy> Shape<Id> {
    /// The shape of a type.
    pub fn of<T: Types<Id = Id>>(types: &T, id: Id) -> Result<Shape<Id>> {
        let mut shape = Shape {
            element: None,
            count: 1,
            dimensions: 0,
        };
        let mut next = Some(id);
        for _ in 0..DEEPEST {
            let Some(id) = next else { return Ok(shape) };
            match types.get(id)? {
                Type::Alias { to, .. } => next = to,
                Type::Array { element, count } => {
                    next = Some(element);
                    shape.dimensions += 1;
                    shape.count = shape.count.checked_mul(count).ok_or_else(|| {
                        Error::Input("an array has more elements than memory can hold".to_owned())
                    })?;
                }
                other => {
                    shape.element = Some((id, other));
                    return Ok(shape);
                }
            }
        }
        Err(too_deep())
    }

    /// Bytes of one element: 0 for what has no size, as void and functions.
    pub fn one(&self) -> u64 {
        match &self.element {
            Some((_, Type::Scalar { bytes, .. } | Type::Pointer { bytes, .. })) => *bytes,
            Some((_, Type::Composite(Composite { bytes, .. }))) => *bytes,
            _ => 0,
        }
    }

    /// Bytes of all elements.
    pub fn bytes(&self) -> Result<u64> {
        let bytes = self.one().checked_mul(self.count);
        bytes.ok_or_else(|| Error::Input("an array is larger than memory can be".to_owned()))
    }
}

/// The alignment of a number of that size: the largest power of two that divides it, 16 at most.
pub fn natural(bytes: u64) -> u64 {
    match bytes {
        0 => 1,
        bytes => 1 << bytes.trailing_zeros().min(4),
    }
}

/// What is said of types that never end.
pub fn too_deep() -> Error {
    Error::Input(format!(
        "types that are nested deeper than {DEEPEST}, perhaps in a circle: the type data are damaged"
    ))
}
