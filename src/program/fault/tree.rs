//! The maple tree: built once, walked by every fault, its leaf slots stored to by map and unmap.
//!
//! Here: nodes of 256 bytes as lib/maple_tree.c (6.12) lays them out, and `mas_walk` access for
//! access. Not here: rebalancing. A map into an exact gap and the unmap of a whole VMA store one
//! slot in place, as the kernel does for an exact fit; no scenario needs more.

use crate::program::fault::vma::mm::MA_ROOT;
use crate::space::arena::Arena;
use crate::space::map::Span;
use crate::space::memory::{Addr, Memory, NodeKind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Bytes of a node, and its alignment.
pub const NODE: usize = 256;
/// `parent`: points to the node itself once it is dead.
const PARENT: usize = 0;
const PIVOTS: usize = 8;
const NODE_MASK: u64 = !(NODE as u64 - 1);

/// Node types, as encoded in bits 3 to 6 of a pointer to a node.
const TYPE_SHIFT: u32 = 3;
const TYPE_MASK: u64 = 0xf;
const LEAF_64: u64 = 1;
const ARANGE_64: u64 = 3;

/// Where a type of node keeps what.
struct NodeShape {
    slots: usize,
    fan_out: usize,
    meta: usize,
}

/// `maple_range_64`: 15 pivots, 16 slots; the last slot's bytes hold `meta` when it is free.
const LEAF: NodeShape = NodeShape {
    slots: 128,
    fan_out: 16,
    meta: 248,
};
/// `maple_arange_64`: 9 pivots, 10 slots, 10 gaps, then `meta`.
const ARANGE: NodeShape = NodeShape {
    slots: 80,
    fan_out: 10,
    meta: 240,
};
/// Of a `maple_arange_64`: the largest gap below each slot.
const GAPS: usize = 160;
const LAST_LEAF_PIVOT: usize = PIVOTS + 8 * (LEAF.fan_out - 2);

/// Ranges put into one leaf and children into one inner node: not full, as a tree is that has
/// seen inserts; a full leaf has no room for `meta`.
const LEAF_FILL: usize = 12;
const INNER_FILL: usize = 8;

#[inline(always)]
fn is_dead<M: Memory>(m: &M, node: Addr) -> bool {
    m.load::<u64>(node.at(PARENT), Relaxed) & NODE_MASK == node.0
}

/// `mas_walk`: the entry that covers `index`, or 0 in a gap.
///
/// Per level: the dead check, the end of the data, the pivots in order, the slot, the dead check
/// again. Loads only.
#[inline(always)]
pub fn walk<M: Memory>(m: &M, mm: Addr, index: u64) -> u64 {
    'restart: loop {
        let mut entry: u64 = m.load(mm.at(MA_ROOT), Acquire);
        loop {
            let node = Addr(entry & NODE_MASK);
            let is_leaf = (entry >> TYPE_SHIFT) & TYPE_MASK == LEAF_64;
            if is_dead(m, node) {
                continue 'restart;
            }
            let (shape, end) = if is_leaf {
                let last: u64 = m.load(node.at(LAST_LEAF_PIVOT), Relaxed);
                if last == 0 {
                    (LEAF, m.load::<u8>(node.at(LEAF.meta), Relaxed) as usize)
                } else {
                    (LEAF, LEAF.fan_out - 1)
                }
            } else {
                (ARANGE, m.load::<u8>(node.at(ARANGE.meta), Relaxed) as usize)
            };
            let mut slot = 0;
            while slot < end && m.load::<u64>(node.at(PIVOTS + 8 * slot), Relaxed) < index {
                slot += 1;
            }
            m.searched(
                if is_leaf {
                    NodeKind::Leaf
                } else {
                    NodeKind::Inner
                },
                slot,
            );
            entry = m.load(node.at(shape.slots + 8 * slot), Acquire);
            if is_dead(m, node) {
                continue 'restart;
            }
            if is_leaf {
                return entry;
            }
        }
    }
}

/// Store `entry` into the leaf slot at `slot`, as an exact-fit map or unmap does.
pub fn store<M: Memory>(m: &M, slot: Addr, entry: u64) {
    m.store(slot, entry, Release);
}

/// One range of a tree to build: its last index and what it maps to.
pub struct Range {
    /// Last index covered, inclusive.
    pub last: u64,
    /// The entry, or 0 for a gap.
    pub entry: u64,
}

/// Bytes that [`build`] takes from the arena for `ranges` ranges, alignment included.
pub fn bytes_for(ranges: usize) -> usize {
    let mut level = ranges.div_ceil(LEAF_FILL);
    let mut nodes = level;
    while level > 1 {
        level = level.div_ceil(INNER_FILL);
        nodes += level;
    }
    (nodes + 1) * NODE
}

/// Where a built tree lies.
pub struct Tree {
    /// The leaf slot of each range.
    pub slots: Vec<Addr>,
    /// Every node.
    pub nodes: Vec<Node>,
}

/// Where in the tree a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// At the top, whatever its kind.
    Root,
    /// Between root and leaves.
    Middle,
    /// A node of entries below the root.
    Leaf,
}

impl Level {
    /// From the top.
    pub const ALL: [Level; 3] = [Level::Root, Level::Middle, Level::Leaf];

    /// What objects of this level are called.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Root => "root node",
            Level::Middle => "middle node",
            Level::Leaf => "leaf node",
        }
    }
}

/// A node with its place.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// First byte.
    pub at: Addr,
    /// Which kind.
    pub kind: NodeKind,
    /// Where in the tree.
    pub level: Level,
    /// Which of its level; of a root, none.
    pub number: Option<usize>,
}

impl Node {
    /// Its words.
    pub fn fields(&self) -> Vec<Span> {
        let shape = match self.kind {
            NodeKind::Leaf => LEAF,
            NodeKind::Inner => ARANGE,
        };
        let mut fields = vec![
            Span::word("parent", PARENT, 8),
            Span::array("pivot", PIVOTS, 8, shape.fan_out - 1),
            Span::array("slot", shape.slots, 8, shape.fan_out),
        ];
        match self.kind {
            // `meta` lies in the last slot.
            NodeKind::Leaf => fields[2] = Span::array("slot", shape.slots, 8, shape.fan_out - 1),
            NodeKind::Inner => fields.push(Span::array("gap", GAPS, 8, shape.fan_out)),
        }
        fields.push(Span::word("meta", shape.meta, 8));
        fields
    }
}

/// Build a tree of `ranges`, which follow one another from index 0, under the root word of `mm`.
pub fn build(arena: &mut Arena, mm: Addr, ranges: &[Range]) -> Tree {
    let mut slots = Vec::with_capacity(ranges.len());
    let mut nodes = Vec::new();
    let mut level: Vec<Range> = Vec::new();
    for (number, chunk) in ranges.chunks(LEAF_FILL).enumerate() {
        let node = arena.alloc(NODE, NODE);
        nodes.push(Node {
            at: node,
            kind: NodeKind::Leaf,
            level: Level::Leaf,
            number: Some(number),
        });
        slots.extend((0..chunk.len()).map(|i| node.at(LEAF.slots + 8 * i)));
        level.push(fill(arena, node, &LEAF, LEAF_64, chunk));
    }
    let leaves = nodes.len();
    while level.len() > 1 {
        let mut parents = Vec::new();
        for chunk in level.chunks(INNER_FILL) {
            let node = arena.alloc(NODE, NODE);
            nodes.push(Node {
                at: node,
                kind: NodeKind::Inner,
                level: Level::Middle,
                number: Some(nodes.len() - leaves),
            });
            parents.push(fill(arena, node, &ARANGE, ARANGE_64, chunk));
        }
        level = parents;
    }
    // What was made last is at the top.
    if let Some(root) = nodes.last_mut() {
        (root.level, root.number) = (Level::Root, None);
    }
    let root = level.first().map_or(0, |root| root.entry);
    arena.write(mm.at(MA_ROOT), root);
    Tree { slots, nodes }
}

/// Write one node; returns the range that its parent has to hold.
fn fill(arena: &Arena, node: Addr, shape: &NodeShape, kind: u64, children: &[Range]) -> Range {
    let end = children.len() - 1;
    for (i, child) in children.iter().enumerate() {
        // The last child needs no pivot: the parent's bounds it.
        if i < end {
            arena.write(node.at(PIVOTS + 8 * i), child.last);
        }
        arena.write(node.at(shape.slots + 8 * i), child.entry);
    }
    arena.write(node.at(shape.meta), end as u8);
    Range {
        last: children[end].last,
        entry: node.0 | kind << TYPE_SHIFT,
    }
}
