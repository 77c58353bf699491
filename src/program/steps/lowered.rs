//! What a thread of a case does, with every address known: the form that both backends execute.
//!
//! Here: instructions, and the private words they need. Not here: how steps become instructions
//! (`lower`), and who executes them: the interpreter (`interpret`) on any memory, and machine code
//! made of them for the native backend (`machine_code`).

use crate::case::LockKind;

/// One pass of a thread: one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// What is done, in order.
    pub instrs: Vec<Instr>,
    /// The slots it uses: 0 up to here.
    pub slots: u8,
    /// The private counters it uses, with the value that each begins with.
    pub counters: Vec<u64>,
}

impl Pass {
    /// What its machine code is, apart from displacements and from the private time of
    /// [`Instr::Work`], which differs from block to block where it is a guess.
    pub fn but_for_displacements(&self) -> String {
        let mut text = format!("{:?}", self.instrs);
        for key in ["offset: ", "root: ", "nanos: "] {
            let mut parts = text.split(key);
            let first = parts.next().unwrap_or_default().to_owned();
            text = parts.fold(first, |text, part| {
                let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
                text + key + rest
            });
        }
        text
    }
}

/// Slots that a pass may use: registers of the machine code.
pub const MOST_SLOTS: u8 = 6;
/// Private counters that a pass may use.
pub const MOST_COUNTERS: usize = 64;
/// Roles that share threads.
pub const MOST_SHARED: usize = 8;
/// Numbers that a thread draws before they come round: 16 KiB, half of the smallest first cache.
pub const DRAWS: usize = 4096;

/// A private word that holds an address, or the value of a sequence counter.
pub type Slot = u8;

/// Where an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// From where.
    pub base: Base,
    /// So many bytes further on; below 2^28.
    pub offset: u32,
}

/// What an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The first byte of the arena.
    Arena,
    /// The address in that slot.
    Slot(Slot),
}

/// Bytes of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 1 byte.
    B1,
    /// 2 bytes.
    B2,
    /// 4 bytes.
    B4,
    /// 8 bytes.
    B8,
}

impl Width {
    /// The width of so many bytes.
    pub fn of(bytes: usize) -> Option<Width> {
        match bytes {
            1 => Some(Width::B1),
            2 => Some(Width::B2),
            4 => Some(Width::B4),
            8 => Some(Width::B8),
            _ => None,
        }
    }

    /// How many bytes.
    pub fn bytes(self) -> usize {
        match self {
            Width::B1 => 1,
            Width::B2 => 2,
            Width::B4 => 4,
            Width::B8 => 8,
        }
    }
}

/// One instruction. Every access is one of the machine's. On x86 a plain load acquires and a plain
/// store releases; machine code of aarch64 orders locks and sequence counters only, as the kernel
/// does.
#[derive(Clone, Debug, PartialEq)]
pub enum Instr {
    /// Load a word whose value nobody looks at, but [`Instr::Work`].
    Load {
        /// The word.
        at: At,
        /// Its size.
        width: Width,
    },
    /// Count [`Frame::fresh`] up by one and store it.
    Store {
        /// The word.
        at: At,
        /// Its size.
        width: Width,
    },
    /// A locked add of 1.
    Add {
        /// The word.
        at: At,
        /// Its size.
        width: Width,
    },
    /// Add 1 without a lock: a load and a store, which x86 has as one instruction.
    Bump {
        /// The word.
        at: At,
        /// Its size.
        width: Width,
    },
    /// [`Instr::Bump`] the 8-byte word; where that makes it 0, store `-batch` and spill.
    Percpu {
        /// The thread's own word.
        at: At,
        /// Passes from spill to spill: above 0.
        batch: u64,
        /// What is done then.
        spill: Vec<Instr>,
    },
    /// Load the word; then compare-and-swap it for itself plus `add`, on failure with the value
    /// found. A value that has a bit of `held` set is not swapped: the try is lost, the core pauses
    /// and the word is loaded again. Where all tries are lost, [`Frame::lost`] is counted up if
    /// `then` is empty, else `then` is done.
    Cas {
        /// The word.
        at: At,
        /// Its size.
        width: Width,
        /// What is added.
        add: u64,
        /// See above.
        held: u64,
        /// Tries; without end if none.
        tries: Option<u32>,
        /// See above.
        then: Vec<Instr>,
    },
    /// Take a lock: [`lock::lock`](super::lock::lock).
    Lock {
        /// The lock word.
        at: At,
        /// Its kind.
        kind: LockKind,
    },
    /// Give it back: [`lock::unlock`](super::lock::unlock).
    Unlock {
        /// The lock word.
        at: At,
        /// Its kind.
        kind: LockKind,
    },
    /// Load the counter until it is even, do the body, load the counter again; all over again
    /// where it has changed, counted in [`Frame::retries`]. While it is odd the core pauses.
    SeqRead {
        /// The counter.
        at: At,
        /// Its size.
        width: Width,
        /// Where its value is kept meanwhile.
        saved: Slot,
        /// What is read.
        body: Vec<Instr>,
    },
    /// Bump the counter, do the body, bump it again.
    SeqWrite {
        /// The counter.
        at: At,
        /// Its size.
        width: Width,
        /// What is written.
        body: Vec<Instr>,
    },
    /// Load an address into a slot.
    LoadPointer {
        /// The 8-byte word.
        at: At,
        /// The slot.
        to: Slot,
    },
    /// Put the address of that byte of the arena into a slot.
    SetPointer {
        /// From the first byte of the arena.
        offset: u32,
        /// The slot.
        to: Slot,
    },
    /// Copy a slot.
    CopyPointer {
        /// From.
        from: Slot,
        /// To.
        to: Slot,
    },
    /// Draw one of the objects of a table into a slot.
    PickRandom {
        /// Number of the table.
        table: usize,
        /// The slot.
        to: Slot,
    },
    /// Draw an element: its address into a slot.
    RandomElement {
        /// The first element.
        at: At,
        /// How many.
        count: u32,
        /// Bytes from one to the next.
        stride: u32,
        /// The slot.
        to: Slot,
    },
    /// Draw, and do the first list whose limit is above the number drawn; the last limit is 2^32.
    Choose(Vec<(u64, Vec<Instr>)>),
    /// Count the private counter down; where it comes to 0, set it to `passes` and do the body.
    Every {
        /// The counter.
        counter: usize,
        /// Above 0.
        passes: u64,
        /// What is done.
        body: Vec<Instr>,
    },
    /// Do the body so often: above 0.
    Repeat {
        /// How often.
        times: u64,
        /// The private counter that counts down.
        counter: usize,
        /// What is done.
        body: Vec<Instr>,
    },
    /// Do the body for the object in `walker`, which moves it on, until that object was the root.
    ToRoot {
        /// The object.
        walker: Slot,
        /// Keeps the object while the body moves `walker` on.
        before: Slot,
        /// The root, from the first byte of the arena.
        root: u32,
        /// What is done.
        body: Vec<Instr>,
    },
    /// Private time, from the last value loaded on.
    Work {
        /// Nanoseconds.
        nanos: u32,
    },
    /// Load until the value differs from the private counter, which then takes it; the core pauses
    /// in between. Ends early when the window does.
    Wait {
        /// The word.
        at: At,
        /// Its size.
        width: Width,
        /// The counter: the value last seen.
        seen: usize,
    },
    /// A pass of that role is done: [`Frame::passes`]. Only where roles share threads.
    Passed(usize),
}

/// The private words of a thread, where machine code finds them.
#[repr(C, align(128))]
#[derive(Clone, Debug)]
pub struct Frame {
    /// The last value stored.
    pub fresh: u64,
    /// Numbers drawn so far.
    pub drawn: u64,
    /// Compare-and-swap steps that lost all tries and had nothing to fall back to.
    pub lost: u64,
    /// Reads under a sequence counter that were done over again.
    pub retries: u64,
    /// Passes of each role, where roles share threads.
    pub passes: [u64; MOST_SHARED],
    /// Counters of [`Instr::Every`], [`Instr::Repeat`] and [`Instr::Wait`].
    pub counters: [u64; MOST_COUNTERS],
}

impl Default for Frame {
    fn default() -> Frame {
        Frame {
            fresh: 0,
            drawn: 0,
            lost: 0,
            retries: 0,
            passes: [0; MOST_SHARED],
            counters: [0; MOST_COUNTERS],
        }
    }
}

/// A number drawn (32 bits), scaled to 0 up to `count`.
pub fn scaled(drawn: u32, count: u32) -> u32 {
    ((u64::from(drawn) * u64::from(count)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_that_differ_in_displacements_alone_have_one_content() {
        let pass = |offset, nanos, width| Pass {
            instrs: vec![
                Instr::SetPointer { offset, to: 1 },
                Instr::Load {
                    at: At {
                        base: Base::Slot(1),
                        offset: 8 + offset,
                    },
                    width,
                },
                Instr::Work { nanos },
            ],
            slots: 2,
            counters: Vec::new(),
        };
        let content = |offset, nanos, width| pass(offset, nanos, width).but_for_displacements();
        assert_eq!(content(0, 5, Width::B8), content(4096, 70, Width::B8));
        assert_ne!(content(0, 5, Width::B8), content(0, 5, Width::B4));
    }
}
