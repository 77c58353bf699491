//! Steps of a case file: from tables to `Step`, for one layout and one role.
//!
//! Here: what one step says, and that locks are given back in the list that took them. Not here:
//! what steps may not do together (`check`).

use super::objects::{Index, most};
use super::source::{Keys, Params, Source, Value, clip};
use crate::case::{
    CaseField, Companion, Count, Element, FieldRef, LockKind, ObjectOf, Objects, Pick, Place, Step,
    Times,
};
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

/// What steps may name.
pub struct Scope<'s> {
    pub source: &'s Source<'s>,
    /// The layout's name.
    pub layout: &'s str,
    /// The role's name.
    pub role: &'s str,
    pub struct_name: &'s str,
    pub objects: &'s Objects,
    /// Alignment of the struct.
    pub align: usize,
    /// Alignments of the layout's parts.
    pub part_aligns: &'s [usize],
    pub fields: &'s Index<'s>,
    pub companions: &'s [Companion],
    pub companion_fields: &'s [Index<'s>],
    pub params: &'s Params,
    /// Names of words that threads have of their own.
    pub percpu: &'s BTreeSet<String>,
    pub least_threads: usize,
    /// Whether writing the field takes a load as well: a bit-field.
    pub bit_field: &'s dyn Fn(&str) -> bool,
}

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
            "rmw" => Ok(Step::Rmw(self.word(&keys, kind)?)),
            "cas" => self.cas(&keys, depth),
            "lock" => self.lock(&keys, held),
            "unlock" => self.unlock(&keys, held),
            "seq_read" => Ok(Step::SeqRead {
                field: self.word(&keys, kind)?,
                body: self.inner(&keys, "body", depth)?,
            }),
            "seq_write" => Ok(Step::SeqWrite {
                field: self.word(&keys, kind)?,
                body: self.inner(&keys, "body", depth)?,
            }),
            "percpu" => self.percpu(&keys, depth),
            "sum" => self.sum(&keys),
            "follow" => self.follow(&keys),
            "pick" => self.pick(&keys),
            "choose" => self.choose(&keys, depth),
            "every" => Ok(Step::Every {
                passes: self.whole(&keys, kind, 1..=1 << 32)? as u64,
                steps: self.inner(&keys, "steps", depth)?,
            }),
            "repeat" => self.repeat(&keys, depth),
            "work" => self.work(&keys),
            _ => Ok(Step::Wait(self.word(&keys, kind)?)),
        }
    }

    fn whole(
        &self,
        keys: &Keys<'_, '_, '_>,
        key: &str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize> {
        let value = keys.required(key)?;
        self.scope
            .source
            .whole(key, value, range, self.scope.params)
    }

    fn probability(&self, keys: &Keys<'_, '_, '_>, key: &str) -> Result<Option<f64>> {
        let read = |value| {
            self.scope
                .source
                .number(key, value, 0.0..=1.0, self.scope.params)
        };
        keys.get(key).map(read).transpose()
    }

    /// The struct that `of` or `to` names.
    fn object(&self, key: &str, value: &Value<'_>) -> Result<ObjectOf> {
        let mut words = vec![(self.scope.struct_name, ObjectOf::Struct)];
        let companions = self.scope.companions.iter().enumerate();
        words.extend(companions.map(|(n, one)| (one.name.as_str(), ObjectOf::Companion(n))));
        self.scope.source.word(key, value, &words)
    }

    fn objects_of(&self, of: ObjectOf) -> &Objects {
        match of {
            ObjectOf::Struct => self.scope.objects,
            ObjectOf::Companion(n) => {
                let companion = self.scope.companions.get(n);
                companion.map_or(self.scope.objects, |companion| &companion.objects)
            }
        }
    }

    /// The field that a step names, and the alignment of the object that it lies in.
    fn find(&self, name: &str, line: usize) -> Result<(ObjectOf, &str, &CaseField, usize)> {
        let scope = self.scope;
        let source = scope.source;
        if let Some((prefix, rest)) = name.split_once('.')
            && let Some(n) = scope.companions.iter().position(|one| one.name == prefix)
            && let (Some(companion), Some(index)) =
                (scope.companions.get(n), scope.companion_fields.get(n))
        {
            return match index.get_key_value(rest) {
                Some((name, (_, field))) => {
                    Ok((ObjectOf::Companion(n), name, field, companion.align))
                }
                None => {
                    let what = format!("role '{}': field of '{prefix}'", scope.role);
                    Err(source.unknown(line, &what, rest, index.keys().copied()))
                }
            };
        }
        match scope.fields.get_key_value(name) {
            Some((name, (None, field))) => Ok((ObjectOf::Struct, name, field, scope.align)),
            Some((name, (Some(part), field))) => {
                let align = scope.part_aligns.get(*part).copied().unwrap_or(1);
                Ok((ObjectOf::Struct, name, field, align))
            }
            None => {
                let (role, layout) = (scope.role, scope.layout);
                let what = format!("role '{role}': layout '{layout}' has no such field:");
                Err(source.unknown(line, &what, name, scope.fields.keys().copied()))
            }
        }
    }

    fn element(&self, keys: &Keys<'_, '_, '_>, field: &CaseField) -> Result<Option<Element>> {
        let Some(value) = keys.get("at") else {
            return Ok(None);
        };
        if field.count == 1 {
            let what = format_args!("'{}' is no array", clip(&field.name));
            return Err(keys.error_at("at", what));
        }
        let words = [("own", Element::Own), ("random", Element::Random)];
        if let Some(text) = value.get_ref().as_str()
            && !self.scope.params.contains_key(text)
        {
            return self.scope.source.word("at", value, &words).map(Some);
        }
        let at = self.whole(keys, "at", 0..=field.count - 1)?;
        Ok(Some(Element::At(at)))
    }

    fn field(&self, keys: &Keys<'_, '_, '_>, key: &str) -> Result<(FieldRef, &CaseField, usize)> {
        let value = keys.required(key)?;
        let name = self.scope.source.text(key, value)?;
        let line = self.scope.source.line(value.span().start);
        let (of, name, field, align) = self.find(name, line)?;
        let field_ref = FieldRef {
            of,
            name: name.to_owned(),
            element: self.element(keys, field)?,
        };
        Ok((field_ref, field, align))
    }

    /// A field, or an element of one, that is accessed in one piece.
    fn word_sized(&self, keys: &Keys<'_, '_, '_>, key: &str) -> Result<(FieldRef, usize)> {
        let (field_ref, field, align) = self.field(keys, key)?;
        let (name, layout) = (clip(&field.name), self.scope.layout);
        if field.count > 1 && field_ref.element.is_none() {
            let what = format_args!(
                "'{name}' has {} elements in layout '{layout}'; say which one with at = K, \
                 \"own\" or \"random\"",
                field.count
            );
            return Err(keys.error_at(key, what));
        }
        if !matches!(field.bytes, 1 | 2 | 4 | 8) {
            let what = format_args!(
                "'{name}' has {} bytes in layout '{layout}'; this step needs a field of 1, 2, 4 \
                 or 8",
                field.bytes
            );
            return Err(keys.error_at(key, what));
        }
        if !field.offset.is_multiple_of(field.bytes) || align < field.bytes {
            let what = format_args!(
                "'{name}' of {} bytes lies at byte {} of a struct aligned to {align} in layout \
                 '{layout}'; this step needs it naturally aligned",
                field.bytes, field.offset
            );
            return Err(keys.error_at(key, what));
        }
        Ok((field_ref, field.bytes))
    }

    fn word(&self, keys: &Keys<'_, '_, '_>, key: &str) -> Result<FieldRef> {
        Ok(self.word_sized(keys, key)?.0)
    }

    fn read(&mut self, keys: &Keys<'_, '_, '_>) -> Result<Step> {
        let source = self.scope.source;
        let mut fields = Vec::new();
        for value in keys.list("read")? {
            let line = source.line(value.span().start);
            let (of, name, field, _) = self.find(source.text("read", value)?, line)?;
            fields.push(FieldRef {
                of,
                name: name.to_owned(),
                element: self.element(keys, field)?,
            });
        }
        if fields.is_empty() {
            return Err(keys.error_at("read", "names no field"));
        }
        self.take_room(keys.line, fields.len() - 1)?;
        let bytes = match keys.has("bytes") {
            true => Some(self.whole(keys, "bytes", 1..=super::objects::STRUCT_BYTES)?),
            false => None,
        };
        Ok(Step::Read { fields, bytes })
    }

    fn write(&self, keys: &Keys<'_, '_, '_>) -> Result<Step> {
        let field = self.word(keys, "write")?;
        // A bit-field is read, changed and stored: a load, then a store that is always made.
        let always =
            (field.of == ObjectOf::Struct && (self.scope.bit_field)(&field.name)).then_some(1.0);
        let if_changed = self.probability(keys, "if_changed")?.or(always);
        Ok(Step::Write { field, if_changed })
    }

    fn cas(&mut self, keys: &Keys<'_, '_, '_>, depth: usize) -> Result<Step> {
        let field = self.word(keys, "cas")?;
        let add = match keys.has("add") {
            true => self.whole(keys, "add", 1..=u32::MAX as usize)? as u64,
            false => 1,
        };
        let tries = match keys.has("tries") {
            true => Some(self.whole(keys, "tries", 1..=1 << 20)? as u32),
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
        let (field, bytes) = self.word_sized(keys, "lock")?;
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
        if bytes != kind.bytes() && !(bytes == 8 && kind.bytes() == 4) {
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
        let field = self.word(keys, "unlock")?;
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
                let batch = self.whole(keys, "batch", 1..=1 << 32)? as u64;
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
            false => Ok(Step::Sum(self.field(keys, "sum")?.0)),
        }
    }

    fn follow(&self, keys: &Keys<'_, '_, '_>) -> Result<Step> {
        let (field, bytes) = self.word_sized(keys, "follow")?;
        if bytes != 8 {
            let what = format_args!("'{}' is no pointer, which has 8 bytes", clip(&field.name));
            return Err(keys.error_at("follow", what));
        }
        let to = match keys.get("to") {
            Some(value) => self.object("to", value)?,
            None => field.of,
        };
        let link = match &self.objects_of(field.of).place {
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
            Some(value) => self.object("of", value)?,
            None => ObjectOf::Struct,
        };
        let objects = self.objects_of(of);
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
                Pick::At(self.whole(keys, "pick", 0..=count - 1)?)
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
            _ => Times::Of(self.whole(keys, "repeat", 1..=1 << 20)?),
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
