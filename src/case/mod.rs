//! Cases: one question about one struct.
//!
//! Here: what a case is, with every name resolved and every number checked. Not here: the file it
//! is read from (`file`), and how its steps are executed (`program::steps`).

pub mod check;
mod file;
mod uses;

use crate::error::{Error, Result};
use crate::layout::StructLayout;

/// One question about one struct: its layouts, who accesses what, and what others have published.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The stem of its file.
    pub name: String,
    /// The struct under question.
    pub struct_name: String,
    /// What the question is.
    pub about: String,
    /// Where roles and layouts come from.
    pub source: String,
    /// The whole file, as it was read.
    pub text: String,
    /// The objects of the struct under question.
    pub objects: Objects,
    /// Other structs that roles touch and no layout changes.
    pub companions: Vec<Companion>,
    /// Who does something, in the order of the file; what they do stands with each layout.
    pub roles: Vec<RoleOf>,
    /// The layouts; the first is the baseline. At least one.
    pub layouts: Vec<CaseLayout>,
    /// What others have measured.
    pub published: Vec<Published>,
    /// What `layout check` holds.
    pub rules: Vec<Rule>,
}

impl Case {
    /// Threads that it takes at least: those that roles have of their own, and one more if there is
    /// a role with the rest, or with a share of the passes.
    pub fn least_threads(&self) -> usize {
        let of_their_own = self.roles.iter().map(|role| match role.threads {
            Threads::Of(threads) => threads,
            Threads::Rest | Threads::Share(_) => 0,
        });
        let others = |role: &RoleOf| !matches!(role.threads, Threads::Of(_));
        of_their_own.sum::<usize>() + usize::from(self.roles.iter().any(others))
    }
}

/// How many objects there are, and how they lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// How many.
    pub count: Count,
    /// How they lie.
    pub place: Place,
    /// Offset of the object in an enclosing one.
    pub at: usize,
    /// Bytes of the enclosing object, where there is one: slots are of this size.
    pub enclosing_bytes: Option<usize>,
    /// Slab: whether starting slots cover every phase of the slot size modulo a pair.
    pub sweep: bool,
}

/// How many objects there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Of(usize),
    /// One for each thread.
    Threads,
}

/// How objects lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the slots of a slab.
    Slab,
    /// One behind the other.
    Array,
    /// Linked by the pointer field `link`, from the leaf (the last object) to the root (object 0),
    /// whose link points to the leaf.
    Chain {
        /// The pointer field.
        link: String,
        /// In the slots of a slab instead of on pages of their own.
        packed: bool,
    },
}

/// A struct beside the one under question; its first object starts on a page of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Companion {
    /// Its name, which steps write before a dot.
    pub name: String,
    /// Its objects.
    pub objects: Objects,
    /// Bytes of one.
    pub bytes: usize,
    /// Alignment in bytes.
    pub align: usize,
    /// Its fields.
    pub fields: Vec<CaseField>,
}

/// A field as a case names it: a word, a run of bytes, or an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseField {
    /// Its name; may have dots.
    pub name: String,
    /// Bytes from the start of the object.
    pub offset: usize,
    /// Bytes of one element.
    pub bytes: usize,
    /// Elements: 1 unless it is an array.
    pub count: usize,
}

impl CaseField {
    /// The first byte behind it.
    pub fn end(&self) -> usize {
        self.offset + self.bytes * self.count
    }
}

/// One layout of the struct under question.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseLayout {
    /// Its name.
    pub name: String,
    /// Bytes of the struct.
    pub bytes: usize,
    /// Alignment in bytes: a power of two.
    pub align: usize,
    /// Its fields by offset, those of the parts not among them.
    pub fields: Vec<CaseField>,
    /// Fields that it keeps in objects of their own.
    pub parts: Vec<Part>,
    /// All members, where it was read from BTF or DWARF.
    pub imported: Option<StructLayout>,
    /// What each role does, in the order of [`Case::roles`]: parameters are put in.
    pub steps: Vec<Vec<Step>>,
}

/// Fields that a layout keeps in an object of their own, one for each object of the struct, in a
/// slab of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Bytes of one.
    pub bytes: usize,
    /// Alignment in bytes.
    pub align: usize,
    /// Its fields.
    pub fields: Vec<CaseField>,
    /// The pointer field of the struct through which it is reached.
    pub via: String,
}

/// Who does something.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleOf {
    /// Its name.
    pub name: String,
    /// Which threads do it.
    pub threads: Threads,
}

/// Which threads have a role.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threads {
    /// So many of their own.
    Of(usize),
    /// All that no other role has.
    Rest,
    /// So much (0 to 1) of the passes of the threads that no role with threads of its own has.
    Share(f64),
}

/// One access, or a small group of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Independent loads of all pieces of these fields, or of their first bytes.
    Read {
        /// The fields.
        fields: Vec<FieldRef>,
        /// So many bytes of each at most.
        bytes: Option<usize>,
    },
    /// A store of a new value; with `if_changed`, a load, then the store with that probability.
    Write {
        /// The field.
        field: FieldRef,
        /// See above.
        if_changed: Option<f64>,
    },
    /// A locked add.
    Rmw(FieldRef),
    /// Load and compare-and-swap, on failure again with the value found.
    Cas {
        /// The field.
        field: FieldRef,
        /// What is added.
        add: u64,
        /// Tries before `then`; without end if none.
        tries: Option<u32>,
        /// What is done when all tries are lost.
        then: Vec<Step>,
    },
    /// Take a lock.
    Lock {
        /// The lock word.
        field: FieldRef,
        /// Its kind.
        kind: LockKind,
    },
    /// Give a lock back.
    Unlock {
        /// The lock word.
        field: FieldRef,
        /// How it was taken.
        kind: LockKind,
    },
    /// Read the counter, do the body, read the counter again; over again while odd or changed.
    SeqRead {
        /// The counter.
        field: FieldRef,
        /// What is read meanwhile.
        body: Vec<Step>,
    },
    /// Make the counter odd, do the body, make it even.
    SeqWrite {
        /// The counter.
        field: FieldRef,
        /// What is written meanwhile.
        body: Vec<Step>,
    },
    /// Add to a word of the thread's own; each time that `batch` has come together, `spill`.
    Percpu {
        /// Which words.
        name: String,
        /// How much comes together.
        batch: u64,
        /// What is done then.
        spill: Vec<Step>,
    },
    /// Read a field of every object.
    Sum(FieldRef),
    /// Read every thread's word of that name.
    SumPercpu(String),
    /// Load a pointer; the next steps wait for it and go on in the object it points to.
    Follow {
        /// The pointer field.
        field: FieldRef,
        /// Where it leads.
        to: ObjectOf,
    },
    /// Go on with another object.
    Pick {
        /// Which one.
        which: Pick,
        /// Of which struct.
        of: ObjectOf,
    },
    /// One of these lists, each with its probability; they sum to 1.
    Choose(Vec<(f64, Vec<Step>)>),
    /// Each so many passes.
    Every {
        /// So many.
        passes: u64,
        /// What is done then.
        steps: Vec<Step>,
    },
    /// Again.
    Repeat {
        /// How often.
        times: Times,
        /// What.
        steps: Vec<Step>,
    },
    /// Private time, in nanoseconds from and to: a range is drawn once a block.
    Work {
        /// At least.
        from_ns: u32,
        /// At most.
        to_ns: u32,
    },
    /// Poll until the value differs from the last one seen.
    Wait(FieldRef),
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRef {
    /// Of which struct.
    pub of: ObjectOf,
    /// Its name, without that of the companion.
    pub name: String,
    /// Which element of an array; the whole field if none.
    pub element: Option<Element>,
}

/// A struct that steps touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectOf {
    /// The struct under question, its parts included.
    Struct,
    /// The companion of that number.
    Companion(usize),
}

/// An element of an array field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// That one.
    At(usize),
    /// That of the thread's number modulo the number of elements.
    Own,
    /// Drawn each time.
    Random,
}

/// An object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// That of the thread's number modulo the number of objects.
    Own,
    /// The one after its own.
    Neighbour,
    /// Drawn each time.
    Random,
    /// The end of the chain that is farthest from the root.
    Leaf,
    /// That one.
    At(usize),
}

/// How often steps are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So often.
    Of(usize),
    /// Until the root of the chain has had its turn.
    ToRoot,
}

crate::text::words! {
    /// A kind of spinning lock.
    pub enum LockKind as "kind of lock" {
        /// One byte, taken by test and set.
        Tas = "tas",
        /// Four bytes: the ticket to be served and the next one.
        Ticket = "ticket",
        /// Four bytes, as the kernel's qspinlock: a queue of nodes, one for each thread.
        Queued = "queued",
        /// Eight bytes, taken by a reader.
        RwRead = "rw-read",
        /// Eight bytes, taken by a writer.
        RwWrite = "rw-write",
    }
}

impl LockKind {
    /// Bytes of the lock word.
    pub fn bytes(self) -> usize {
        match self {
            LockKind::Tas => 1,
            LockKind::Ticket | LockKind::Queued => 4,
            LockKind::RwRead | LockKind::RwWrite => 8,
        }
    }
}

/// A figure that others have measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The layout before.
    pub from: String,
    /// The layout after.
    pub to: String,
    /// Threads that it was measured with.
    pub threads: usize,
    /// Where.
    pub machine: PublishedMachine,
    /// What changed.
    pub quantity: Quantity,
    /// By how much: 0.09 is 9 % more.
    pub change: f64,
    /// Whether nothing changed, says who measured it.
    pub null: bool,
    /// Whose figure it is; that of all roles if none.
    pub role: Option<String>,
    /// Whether the model is only the nearest one.
    pub stands_in: bool,
    /// Where it was published.
    pub source: String,
}

/// The machine of a published figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedMachine {
    /// A model.
    Model(String),
    /// One like that model, of another size.
    Like {
        /// The model.
        model: String,
        /// Sockets.
        sockets: usize,
        /// Cores of each.
        cores: usize,
    },
}

crate::text::words! {
    /// What a published figure is of.
    pub enum Quantity as "quantity" {
        /// Operations in a time.
        Throughput = "throughput",
        /// Loads that hit a line modified elsewhere.
        Hitm = "hitm",
        /// Time for the same work.
        Time = "time",
    }
}

/// What a layout has to keep.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// No field that one role accesses so lies within reach of one that another accesses so.
    Apart {
        /// The two.
        uses: [RoleUse; 2],
        /// Bytes of an aligned block: 64 or 128.
        within: usize,
    },
    /// These fields lie in one line.
    Together(Vec<String>),
    /// The struct is no larger, in bytes.
    MaxSize(usize),
}

/// What a role does with fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleUse {
    /// The role.
    pub role: String,
    /// What it does.
    pub does: Does,
}

crate::text::words! {
    /// How a field is used.
    pub enum Does as "use of a field" {
        /// Loaded, and never written by that role.
        Read = "read",
        /// Stored to, locked, or changed in place.
        Write = "write",
    }
}

impl Case {
    /// The number of the layout of that name.
    pub fn layout_number(&self, name: &str) -> Result<usize> {
        let found = self.layouts.iter().position(|layout| layout.name == name);
        found.ok_or_else(|| {
            let names = self.layouts.iter().map(|layout| layout.name.as_str());
            Error::unknown("layout", name, names)
        })
    }
}
