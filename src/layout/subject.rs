//! A layout as the interference map looks at it: kinds of objects, side by side, and who touches
//! which of their bytes.
//!
//! A case, an imported struct and the built-in layouts of the fault path all become a [`Subject`].
//! Not here: what follows from it (`interference`).

use super::slab::SlabCache;
use super::struct_layout::{Member, StructLayout};
use crate::space::{LINE, PAIR};
use std::borrow::Cow;

/// What is mapped: one layout, and those who access it.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The layout's name.
    pub layout: String,
    /// Threads of all actors together.
    pub threads: usize,
    /// Who accesses it; none where nothing is known of that.
    pub actors: Vec<Actor>,
    /// Its kinds of objects: the struct first.
    pub regions: Vec<Region>,
}

/// Threads that do the same: a role of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    /// Its name.
    pub name: String,
    /// How many threads do it at a time, on average.
    pub threads: f64,
    /// Which threads it is dealt among; actors of one group are the same threads in turn.
    pub group: usize,
    /// How many threads there are in that group.
    pub group_threads: f64,
}

/// Objects of one kind, and who touches which of their bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// The struct's name, or that of a part or a companion.
    pub name: String,
    /// Whether its fields are the struct's: it is the struct, or a part of it that the layout keeps
    /// elsewhere.
    pub of_struct: bool,
    /// Bytes of one object.
    pub bytes: usize,
    /// Objects there are; none where nothing is known of that.
    pub objects: Option<usize>,
    /// How they lie.
    pub packing: Packing,
    /// Offset of an object in its slot.
    pub at: usize,
    /// Its fields, by offset.
    pub fields: Vec<Spot>,
    /// Who touches what.
    pub touches: Vec<Touch>,
}

/// How objects of a kind lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// In the slots of a slab; an object may be in any of them.
    Slab(SlabCache),
    /// One behind the other, the first on a page of its own.
    Array {
        /// Bytes from one to the next.
        slot: usize,
        /// How many.
        objects: usize,
    },
    /// Each on pages of its own.
    Pages,
}

/// A field: a name and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its name.
    pub name: String,
    /// Bytes from the start of the object.
    pub offset: usize,
    /// Bytes it takes, all elements together.
    pub bytes: usize,
}

/// What an actor does with a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Touch {
    /// Who, by number.
    pub actor: usize,
    /// What, by number.
    pub field: usize,
    /// First byte touched, from the start of the object.
    pub start: usize,
    /// First byte behind those touched.
    pub end: usize,
    /// Which of these bytes an access goes to.
    pub elements: Elements,
    /// In which object.
    pub whose: Whose,
    /// Loads a pass, in each object.
    pub loads: f64,
    /// Stores, locked operations and takings of a lock a pass, in each object.
    pub stores: f64,
}

/// Which bytes of a touch an access goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Elements {
    /// All.
    All,
    /// One of so many elements: that of the thread's number.
    Own(usize),
    /// One of so many elements, drawn each time.
    Random(usize),
}

/// Which object a touch goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// That one.
    At(usize),
    /// That of the thread's number, and so many further on.
    Own(usize),
    /// Drawn each time.
    Random,
    /// One after the other.
    Each,
    /// Nothing is known of that: any two threads may meet on one, and on neighbours.
    Any,
}

/// CPUs of the machine whose slabs are mapped. Slabs of fewer objects are made for fewer CPUs; who
/// meets whom in a line does not depend on it.
const CPUS: usize = 64;

impl Packing {
    /// In slabs as the kernel would make them; on pages of their own, if objects are too large.
    pub fn in_slab(bytes: usize, align: usize) -> Packing {
        match SlabCache::chosen(bytes, align, CPUS) {
            Some(cache) => Packing::Slab(cache),
            None => Packing::Pages,
        }
    }

    /// Bytes from one object to the next; none where they have no neighbours.
    pub fn slot(self) -> Option<usize> {
        match self {
            Packing::Slab(cache) => Some(cache.slot),
            Packing::Array { slot, .. } => Some(slot),
            Packing::Pages => None,
        }
    }

    /// Objects that lie side by side.
    pub fn run(self) -> usize {
        match self {
            Packing::Slab(cache) => cache.objects().max(1),
            Packing::Array { objects, .. } => objects.max(1),
            Packing::Pages => 1,
        }
    }
}

impl Region {
    /// Where the objects of a run start in their pair, each with how many do: by phase.
    pub fn phases(&self) -> Vec<(usize, usize)> {
        let slot = self.packing.slot().unwrap_or(0);
        let mut counts = [0; PAIR];
        // Phases come round after PAIR slots at the latest.
        let run = self.packing.run();
        for first in 0..run.min(PAIR) {
            let phase = (first % PAIR * (slot % PAIR) + self.at % PAIR) % PAIR;
            counts[phase] += (run - first).div_ceil(PAIR);
        }
        let counts = counts.into_iter().enumerate();
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// The farthest slot that may have bytes in one pair with those of an object.
    pub fn farthest(&self) -> usize {
        let run = self.packing.run();
        let run = self.objects.map_or(run, |objects| objects.min(run));
        match self.packing.slot() {
            Some(slot) => ((PAIR + self.bytes) / slot.max(1) + 1).min(run.saturating_sub(1)),
            None => 0,
        }
    }

    /// Phase of the first slot.
    pub fn first_phase(&self) -> usize {
        self.at % PAIR
    }

    /// Whether every object starts on a line of its own.
    pub fn is_line_aligned(&self) -> bool {
        self.phases().iter().all(|(phase, _)| phase % LINE == 0)
    }

    /// Pages that `count` objects take.
    pub fn pages_for(&self, count: usize) -> usize {
        let page = crate::space::PAGE;
        match self.packing {
            Packing::Slab(cache) if cache.objects() > 0 => cache.pages_for(count),
            Packing::Slab(_) | Packing::Pages => {
                count.saturating_mul(self.bytes.div_ceil(page).max(1))
            }
            Packing::Array { slot, .. } => count.saturating_mul(slot).div_ceil(page),
        }
    }

    /// The name of a field.
    pub fn field_name(&self, field: usize) -> &str {
        self.fields.get(field).map_or("", |spot| &spot.name)
    }
}

impl Touch {
    /// Accesses a pass that may miss; a load right before its store misses once.
    pub fn accesses(&self) -> f64 {
        self.loads.max(self.stores)
    }

    /// Elements among which an access chooses, and bytes of each.
    pub fn spread(&self) -> Option<(usize, usize)> {
        match self.elements {
            Elements::All => None,
            Elements::Own(count) | Elements::Random(count) => {
                let count = count.max(1);
                Some((count, (self.end.saturating_sub(self.start)) / count))
            }
        }
    }
}

impl Subject {
    /// An imported struct of which nobody says who accesses it, in slots of a slab.
    pub fn of_struct(layout: &StructLayout) -> Subject {
        let (bytes, align) = (layout.bytes.max(1), layout.align.max(1));
        let region = Region {
            name: layout.name.clone(),
            of_struct: true,
            bytes,
            objects: None,
            packing: Packing::in_slab(bytes, align),
            at: 0,
            fields: Spot::all_of(layout),
            touches: Vec::new(),
        };
        Subject {
            layout: layout.name.clone(),
            threads: 2,
            actors: Vec::new(),
            regions: vec![region],
        }
    }

    /// Threads that do what `by` does, besides one that does what `of` does.
    pub fn others(&self, of: usize, by: usize) -> f64 {
        let (Some(of), Some(by)) = (self.actors.get(of), self.actors.get(by)) else {
            return 0.0;
        };
        if of.group == by.group && by.group_threads > 0.0 {
            by.threads * (by.group_threads - 1.0).max(0.0) / by.group_threads
        } else {
            by.threads
        }
    }

    /// A field as a person writes it: those of other structs after the struct's name.
    pub fn field_name(&self, region: usize, field: usize) -> String {
        match self.regions.get(region) {
            Some(found) if found.of_struct => found.field_name(field).to_owned(),
            Some(found) => format!("{}.{}", found.name, found.field_name(field)),
            None => String::new(),
        }
    }

    /// Pages that 1000 objects of the struct take, with their parts.
    pub fn pages_per_1000(&self) -> usize {
        let own = self.regions.iter().filter(|region| region.of_struct);
        own.map(|region| region.pages_for(1000))
            .fold(0, usize::saturating_add)
    }

    /// The name of an actor.
    pub fn actor_name(&self, actor: usize) -> &str {
        self.actors.get(actor).map_or("", |actor| &actor.name)
    }
}

impl Spot {
    /// The members that have bytes, those of structs in the struct one by one; an array of structs
    /// is one.
    pub fn all_of(layout: &StructLayout) -> Vec<Spot> {
        let mut spots = Vec::new();
        // Members deeper than this are in an array.
        let mut array = usize::MAX;
        for member in &layout.members {
            if member.depth > array {
                continue;
            }
            let is_array = member.count() > 1;
            array = if is_array { member.depth } else { usize::MAX };
            if member.bytes > 0 && (is_array || !member.aggregate) {
                spots.push(Spot::of(member));
            }
        }
        spots
    }

    /// Of a member, by the name that C gives it, and its bits.
    pub fn of(member: &Member) -> Spot {
        let name: Cow<str> = match member.bits {
            Some(bits) => format!("{}:{}", member.name, bits.count).into(),
            None => (&member.name).into(),
        };
        Spot {
            name: name.into_owned(),
            offset: member.offset,
            bytes: member.bytes,
        }
    }

    /// The first byte behind it.
    pub fn end(&self) -> usize {
        self.offset.saturating_add(self.bytes)
    }

    /// Whether it lies in more lines than it has to, in an object that starts at `phase`.
    pub fn straddles(&self, phase: usize) -> bool {
        let lines = (phase + self.end()).div_ceil(LINE) - (phase + self.offset) / LINE;
        self.bytes > 0 && lines > self.bytes.div_ceil(LINE)
    }
}
