//! A struct as a compiler laid it out, wherever it was read.

use crate::space::{LINE, PAIR};

/// A struct as a compiler laid it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructLayout {
    /// Its name: `dentry`.
    pub name: String,
    /// Where this was read: a file, or what else a person would look at.
    pub source: String,
    /// Its size in bytes.
    pub bytes: usize,
    /// Alignment of its objects in bytes, as far as it is known: 1 at least.
    pub align: usize,
    /// Its members, aggregates before what is in them; by offset, then as declared.
    pub members: Vec<Member>,
}

/// A member of a struct, or of a struct in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, dotted where it is in another: `d_name.len`. What is in an anonymous struct or
    /// union has the name that C gives it, without the anonymous one.
    pub name: String,
    /// Its type, as C writes it; empty where the source does not say.
    pub type_name: String,
    /// Bytes from the start of the outermost struct. Of a bit-field: of its storage unit.
    pub offset: usize,
    /// Bytes it takes, all elements together; 0 for group markers and flexible arrays.
    pub bytes: usize,
    /// Bytes of one element; the same as `bytes` unless it is an array.
    pub element: usize,
    /// Where in its storage unit a bit-field lies.
    pub bits: Option<Bits>,
    /// Whether it may share bytes with other members because it is in a union.
    pub in_union: bool,
    /// Whether it is a struct, a union or an array of them, whose members follow.
    pub aggregate: bool,
    /// How many members it is in: 0 for a member of the struct itself.
    pub depth: usize,
}

/// Bits of a storage unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// First bit, from the least significant.
    pub first: usize,
    /// How many.
    pub count: usize,
}

impl StructLayout {
    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Bytes that no member lies in, as `(offset, bytes)`: padding at the end included.
    pub fn holes(&self) -> Vec<(usize, usize)> {
        let mut ends: Vec<(usize, usize)> = self
            .members
            .iter()
            .filter(|member| member.depth == 0)
            .map(Member::occupied)
            .collect();
        ends.sort_unstable();
        let mut holes = Vec::new();
        let mut end = 0;
        for (from, to) in ends {
            if from > end {
                holes.push((end, from - end));
            }
            end = end.max(to);
        }
        if self.bytes > end {
            holes.push((end, self.bytes - end));
        }
        holes
    }
}

impl Member {
    /// Elements it has: 1 unless it is an array.
    pub fn count(&self) -> usize {
        self.bytes.checked_div(self.element).unwrap_or(1)
    }

    /// From its first byte to the one after its last; of a bit-field, those that its bits lie in,
    /// which may be less than its storage unit.
    fn occupied(&self) -> (usize, usize) {
        match self.bits {
            Some(Bits { first, count }) => (
                self.offset + first / 8,
                self.offset + (first + count).div_ceil(8),
            ),
            None => (self.offset, self.offset + self.bytes),
        }
    }

    /// The line of the struct that its first byte lies in.
    pub fn line(&self) -> usize {
        self.offset / LINE
    }

    /// The pair of the struct that its first byte lies in.
    pub fn pair(&self) -> usize {
        self.offset / PAIR
    }
}
