//! Steps of a case file: from tables to `Step`, for one layout and one role.
//!
//! Here: what one step says, and that locks are given back in the list that took them. Not here:
//! what steps may not do together (`check`).

use super::objects::{STRUCT_BYTES, most};
use super::scope::Scope;
use super::source::{Keys, Value, clip};
use crate::case::{Count, Element, FieldRef, LockKind, ObjectOf, Pick, Place, Step, Times};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use toml::de::DeValue;

/// How deep lists stand in lists.
const NESTING: usize = 8;
/// Most steps of a case, a field of a `read` counting as one.
const STEPS: usize = 4096;

/// Every step, by the key that makes it one, and what else may stand in it.
const STEP_KINDS: [(&str, &[&str]); 17] = [
    ("read", &["bytes", "at"]),
    ("write", &["if_changed", "at"]),
    ("rmw", &["at"]),
    ("cas", &["add", "tries", "then", "at"]),
    ("lock", &["kind", "at"]),
    ("unlock", &["at"]),
    ("seq_read", &["body", "at"]),
    ("seq_write", &["body", "at"]),
    ("percpu", &["batch", "spill"]),
    ("sum", &["at"]),
    ("follow", &["to", "at"]),
    ("pick", &["of"]),
    ("choose", &[]),
    ("every", &["steps"]),
    ("repeat", &["steps"]),
    ("work", &[]),
    ("wait", &["at"]),
];

/// Locks whose waiters sleep.
const SLEEPING: [&str; 16] = [
    "mutex",
    "rwsem",
    "rw_semaphore",
    "rw-semaphore",
    "semaphore",
    "rt_mutex",
    "rt-mutex",
    "ww_mutex",
    "percpu_rwsem",
    "percpu-rwsem",
    "futex",
    "pthread_mutex",
    "pthread-mutex",
    "pthread_rwlock",
    "pthread-rwlock",
    "completion",
];

/// Steps, and the line of each: a step before those in it.
#[derive(Default)]
pub struct Steps {
    pub steps: Vec<Step>,
    pub lines: Vec<usize>,
}

/// A role's steps.
pub fn steps(scope: &Scope<'_>, value: &Value<'_>, room: &mut usize) -> Result<Steps> {
    let mut reader = Reader {
        scope,
        lines: Vec::new(),
        room,
    };
    let steps = reader.list("steps", value, 1)?;
    let lines = reader.lines;
    Ok(Steps { steps, lines })
}

/// Names of all words that threads have of their own, in any role.
pub fn percpu_names(value: &Value<'_>, found: &mut BTreeSet<String>) {
    match value.get_ref() {
        DeValue::Array(list) => list.iter().for_each(|value| percpu_names(value, found)),
        DeValue::Table(table) => {
            for (key, value) in table {
                match (key.get_ref().as_ref(), value.get_ref()) {
                    ("percpu", DeValue::String(name)) => {
                        found.insert(name.as_ref().to_owned());
                    }
                    _ => percpu_names(value, found),
                }
            }
        }
        _ => {}
    }
}

struct Reader<'s, 'r> {
    scope: &'s Scope<'s>,
    lines: Vec<usize>,
    /// How many steps the case may still have.
    room: &'r mut usize,
}

/// Steps that a case may have, all roles together.
pub fn room() -> usize {
    STEPS
}

type Held = Vec<(FieldRef, LockKind, usize)>;

impl Reader<'_, '_> {
    fn wrong(&self, line: usize, what: impl std::fmt::Display) -> Error {
        let what = format!("role '{}': {what}", self.scope.role);
        self.scope.source.wrong(line, what)
    }

    fn take_room(&mut self, line: usize, steps: usize) -> Result<()> {
        match self.room.checked_sub(steps) {
            Some(left) => {
                *self.room = left;
                Ok(())
            }
            None => Err(self.wrong(line, format_args!("more than {STEPS} steps in the file"))),
        }
    }

    fn list(&mut self, key: &str, value: &Value<'_>, depth: usize) -> Result<Vec<Step>> {
        let line = self.scope.source.line(value.span().start);
        if depth > NESTING {
            return Err(self.wrong(line, format_args!("lists nest deeper than {NESTING}")));
        }
        let mut held = Held::new();
        let mut steps = Vec::new();
        for value in self.scope.source.list(key, value)? {
            steps.push(self.step(value, depth, &mut held)?);
        }
        match held.first() {
            None => Ok(steps),
            Some((field, _, line)) => Err(self.wrong(
                *line,
                format_args!(
                    "lock '{}' is still held at the end of its list; unlock it in the same list",
                    clip(&field.name)
                ),
            )),
        }
    }

    fn inner(&mut self, keys: &Keys<'_, '_, '_>, key: &str, depth: usize) -> Result<Vec<Step>> {
        self.list(key, keys.required(key)?, depth + 1)
    }

    fn step(&mut self, value: &Value<'_>, depth: usize, held: &mut Held) -> Result<Step> {
        let source = self.scope.source;
        let line = source.line(value.span().start);
        let table = source.table("a step", value)?;
        let kinds = || STEP_KINDS.iter().map(|(kind, _)| *kind);
        let mut given = kinds().filter(|kind| table.contains_key(*kind));
        let Some(kind) = given.next() else {
            return Err(match table.keys().next() {
                Some(key) => {
                    let line = source.line(key.span().start);
                    source.unknown(line, "step", key.get_ref(), kinds())
                }
                None => self.wrong(line, "a step is empty; write { read = [\"FIELD\"] }"),
            });
        };
        if let Some(second) = given.next() {
            let what = format_args!("'{kind}' and '{second}' are two steps; a table holds one");
            return Err(self.wrong(line, what));
        }
        let options = STEP_KINDS.iter().find(|(one, _)| *one == kind);
        let options = options.map_or(&[][..], |(_, options)| options);
        let known: Vec<&str> = [kind].into_iter().chain(options.iter().copied()).collect();
        let what = format!("step '{kind}'");
        let keys = Keys::new(source, &what, value, &known)?;
        self.take_room(line, 1)?;
        self.lines.push(line);
        match kind {
            "read" => self.read(&keys),
            "write" => self.write(&keys),
            "rmw" => Ok(Step::Rmw(self.scope.word(&keys, kind)?)),
            "cas" => self.cas(&keys, depth),
            "lock" => self.lock(&keys, held),
            "unlock" => self.unlock(&keys, held),
            "seq_read" => Ok(Step::SeqRead {
                field: self.scope.word(&keys, kind)?,
                body: self.inner(&keys, "body", depth)?,
            }),
            "seq_write" => Ok(Step::SeqWrite {
                field: self.scope.word(&keys, kind)?,
                body: self.inner(&keys, "body", depth)?,
            }),
            "percpu" => self.percpu(&keys, depth),
            "sum" => self.sum(&keys),
            "follow" => self.follow(&keys),
            "pick" => self.pick(&keys),
            "choose" => self.choose(&keys, depth),
            "every" => Ok(Step::Every {
                passes: self.scope.whole(&keys, kind, 1..=1 << 32)? as u64,
                steps: self.inner(&keys, "steps", depth)?,
            }),
            "repeat" => self.repeat(&keys, depth),
            "work" => self.work(&keys),
            _ => Ok(Step::Wait(self.scope.word(&keys, kind)?)),
        }
    }

    fn read(&mut self, keys: &Keys<'_, '_, '_>) -> Result<Step> {
        let source = self.scope.source;
        let mut fields = Vec::new();
        for value in keys.list("read")? {
            let line = source.line(value.span().start);
            let (of, name, field, _) = self.scope.find(source.text("read", value)?, line)?;
            fields.push(FieldRef {
                of,
                name: name.to_owned(),
                element: self.scope.element(keys, field)?,
            });
        }
        if fields.is_empty() {
            return Err(keys.error_at("read", "names no field"));
        }
        self.take_room(keys.line, fields.len() - 1)?;
        let bytes = match keys.has("bytes") {
            true => Some(self.scope.whole(keys, "bytes", 1..=STRUCT_BYTES)?),
            false => None,
        };
        Ok(Step::Read { fields, bytes })
    }

    fn write(&self, keys: &Keys<'_, '_, '_>) -> Result<Step> {
        let field = self.scope.word(keys, "write")?;
        // A bit-field is read, changed and stored: a load, then a store that is always made.
        let always =
            (field.of == ObjectOf::Struct && (self.scope.bit_field)(&field.name)).then_some(1.0);
        let if_changed = self.scope.probability(keys, "if_changed")?.or(always);
        Ok(Step::Write { field, if_changed })
    }

    fn cas(&mut self, keys: &Keys<'_, '_, '_>, depth: usize) -> Result<Step> {
        let field = self.scope.word(keys, "cas")?;
        let add = match keys.has("add") {
            true => self.scope.whole(keys, "add", 1..=u32::MAX as usize)? as u64,
            false => 1,
        };
        let tries = match keys.has("tries") {
            true => Some(self.scope.whole(keys, "tries", 1..=1 << 20)? as u32),
            false => None,
        };
        let then = match (keys.has("then"), tries) {
            (false, _) => Vec::new(),
            (true, Some(_)) => self.inner(keys, "then", depth)?,
            (true, None) => return Err(keys.error_at("then", "needs tries: without, none is last")),
        };
        Ok(Step::Cas {
            field,
            add,
            tries,
            then,
        })
    }

    fn lock(&self, keys: &Keys<'_, '_, '_>, held: &mut Held) -> Result<Step> {
        let (field, bytes) = self.scope.word_sized(keys, "lock")?;
        let value = keys.required("kind")?;
        let word = self.scope.source.text("kind", value)?;
        if SLEEPING.contains(&word) {
            let what = format_args!(
                "'{word}' is a sleeping lock: threads that wait for it give the CPU away, and \
                 what is measured then is the scheduler, not the line; of a short critical \
                 section, a spinning kind shows the traffic"
            );
            return Err(keys.error_at("kind", what));
        }
        let words: Vec<(&str, LockKind)> =
            LockKind::ALL.iter().map(|one| (one.name(), *one)).collect();
        let kind = self.scope.source.word("kind", value, &words)?;
        // The low half of a lockref; that it is one is seen when all roles are known.
        if bytes == 8 && kind == LockKind::Ticket {
            let what = format_args!(
                "a ticket lock has 4 bytes, and '{}' has 8 in layout '{}'; the lock in the low \
                 half of a field that is swapped has to be 0 when it is free, which queued is",
                clip(&field.name),
                self.scope.layout
            );
            return Err(keys.error_at("kind", what));
        }
        if bytes != kind.bytes() && !(bytes == 8 && kind == LockKind::Queued) {
            let what = format_args!(
                "a {kind} lock has {} bytes, and '{}' has {bytes} in layout '{}'",
                kind.bytes(),
                clip(&field.name),
                self.scope.layout
            );
            return Err(keys.error_at("kind", what));
        }
        if field.element == Some(Element::Random) {
            let what = "a lock and its unlock would draw two elements; pick the object instead";
            return Err(keys.error_at("at", what));
        }
        held.push((field.clone(), kind, keys.line));
        Ok(Step::Lock { field, kind })
    }

    fn unlock(&self, keys: &Keys<'_, '_, '_>, held: &mut Held) -> Result<Step> {
        let field = self.scope.word(keys, "unlock")?;
        match held.iter().rposition(|(one, ..)| *one == field) {
            Some(at) => {
                let (field, kind, _) = held.remove(at);
                Ok(Step::Unlock { field, kind })
            }
            None => Err(keys.error_at(
                "unlock",
                format_args!("'{}' was not locked in this list", clip(&field.name)),
            )),
        }
    }

    fn percpu(&mut self, keys: &Keys<'_, '_, '_>, depth: usize) -> Result<Step> {
        let name = keys.name("percpu", "_-.")?;
        if self.scope.fields.contains_key(name.as_str()) {
            let what = format_args!("'{name}' is a field as well; call the words something else");
            return Err(keys.error_at("percpu", what));
        }
        let (batch, spill) = match (keys.has("batch"), keys.has("spill")) {
            (false, false) => (1, Vec::new()),
            (false, true) => return Err(keys.error_at("spill", "needs a batch")),
            (true, spilled) => {
                let batch = self.scope.whole(keys, "batch", 1..=1 << 32)? as u64;
                let spill = match spilled {
                    true => self.inner(keys, "spill", depth)?,
                    false => Vec::new(),
                };
                (batch, spill)
            }
        };
        Ok(Step::Percpu { name, batch, spill })
    }

    fn sum(&self, keys: &Keys<'_, '_, '_>) -> Result<Step> {
        let name = keys.text("sum")?;
        match self.scope.percpu.contains(&name) {
            true if keys.has("at") => {
                Err(keys.error_at("at", "words of threads are no array of a struct"))
            }
            true => Ok(Step::SumPercpu(name)),
            false => Ok(Step::Sum(self.scope.field(keys, "sum")?.0)),
        }
    }

    fn follow(&self, keys: &Keys<'_, '_, '_>) -> Result<Step> {
        let (field, bytes) = self.scope.word_sized(keys, "follow")?;
        if bytes != 8 {
            let what = format_args!("'{}' is no pointer, which has 8 bytes", clip(&field.name));
            return Err(keys.error_at("follow", what));
        }
        let to = match keys.get("to") {
            Some(value) => self.scope.object("to", value)?,
            None => field.of,
        };
        let link = match &self.scope.objects_of(field.of).place {
            Place::Chain { link, .. } => Some(link),
            _ => None,
        };
        if to == field.of && link != Some(&field.name) {
            let what = format_args!(
                "'{}' leads to no next object: that takes place = \"chain\" with link = \
                 \"{}\", or say to = \"COMPANION\"",
                clip(&field.name),
                clip(&field.name)
            );
            return Err(keys.error_at("follow", what));
        }
        Ok(Step::Follow { field, to })
    }

    fn pick(&self, keys: &Keys<'_, '_, '_>) -> Result<Step> {
        let of = match keys.get("of") {
            Some(value) => self.scope.object("of", value)?,
            None => ObjectOf::Struct,
        };
        let objects = self.scope.objects_of(of);
        let words = [
            ("own", Pick::Own),
            ("neighbour", Pick::Neighbour),
            ("random", Pick::Random),
            ("leaf", Pick::Leaf),
        ];
        let value = keys.required("pick")?;
        let which = match value.get_ref().as_str() {
            Some(text) if !self.scope.params.contains_key(text) => {
                self.scope.source.word("pick", value, &words)?
            }
            _ => {
                let count = match objects.count {
                    Count::Of(count) => count,
                    Count::Threads => self.scope.least_threads,
                };
                Pick::At(self.scope.whole(keys, "pick", 0..=count - 1)?)
            }
        };
        let fault = match which {
            Pick::Leaf if !matches!(objects.place, Place::Chain { .. }) => {
                Some("only a chain has a leaf; give place = \"chain\"")
            }
            Pick::Neighbour if most(objects.count) == 1 => {
                Some("there is one object, which has no neighbour; give a count")
            }
            _ => None,
        };
        match fault {
            Some(fault) => Err(keys.error_at("pick", fault)),
            None => Ok(Step::Pick { which, of }),
        }
    }

    fn choose(&mut self, keys: &Keys<'_, '_, '_>, depth: usize) -> Result<Step> {
        let source = self.scope.source;
        let mut branches = Vec::new();
        for value in keys.list("choose")? {
            let branch = Keys::new(source, "a branch of 'choose'", value, &["weight", "steps"])?;
            self.take_room(branch.line, 1)?;
            let weight = branch.required("weight")?;
            let weight = source.number("weight", weight, 0.0..=1e9, self.scope.params)?;
            branches.push((weight, self.inner(&branch, "steps", depth)?));
        }
        let total: f64 = branches.iter().map(|(weight, _)| weight).sum();
        if total <= 0.0 {
            return Err(keys.error_at("choose", "no branch has a weight above 0"));
        }
        for (weight, _) in &mut branches {
            *weight /= total;
        }
        Ok(Step::Choose(branches))
    }

    fn repeat(&mut self, keys: &Keys<'_, '_, '_>, depth: usize) -> Result<Step> {
        let value = keys.required("repeat")?;
        let times = match value.get_ref().as_str() {
            Some(text) if !self.scope.params.contains_key(text) => {
                let words = [("to-root", Times::ToRoot)];
                self.scope.source.word("repeat", value, &words)?
            }
            _ => Times::Of(self.scope.whole(keys, "repeat", 1..=1 << 20)?),
        };
        let steps = self.inner(keys, "steps", depth)?;
        if times == Times::ToRoot {
            if !matches!(self.scope.objects.place, Place::Chain { .. }) {
                let what = "only a chain has a root; give place = \"chain\" in [objects]";
                return Err(keys.error_at("repeat", what));
            }
            let moves = |step: &&Step| match step {
                Step::Follow { to, .. } => *to == ObjectOf::Struct,
                Step::Pick { of, .. } => *of == ObjectOf::Struct,
                _ => false,
            };
            let moves: Vec<&Step> = steps.iter().filter(moves).collect();
            if !matches!(moves[..], [Step::Follow { field, .. }] if field.of == ObjectOf::Struct) {
                let what = "the steps of \"to-root\" go on to the next object once, by a follow \
                            of the chain's link in their own list";
                return Err(keys.error_at("repeat", what));
            }
        }
        Ok(Step::Repeat { times, steps })
    }

    fn work(&self, keys: &Keys<'_, '_, '_>) -> Result<Step> {
        let (source, params) = (self.scope.source, self.scope.params);
        let value = keys.required("work")?;
        let time = |value| source.time("work", value, params);
        let (from_ns, to_ns) = match value.get_ref().as_array().map(|list| &list[..]) {
            None => {
                let ns = time(value)?;
                (ns, ns)
            }
            Some([from, to]) => (time(from)?, time(to)?),
            Some(_) => return Err(keys.error_at("work", "a range has two times")),
        };
        match from_ns <= to_ns {
            true => Ok(Step::Work { from_ns, to_ns }),
            false => Err(keys.error_at("work", "the range ends before it begins")),
        }
    }
}
