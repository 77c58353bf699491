//! What the steps of a role may name in a layout: fields, objects, parameters.
//!
//! Not here: the steps (`steps`).

use super::objects::Index;
use super::source::{Keys, Params, Source, Value, clip};
use crate::case::{CaseField, Companion, Element, FieldRef, ObjectOf, Objects};
use crate::error::Result;
use std::collections::BTreeSet;

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

impl Scope<'_> {
    pub fn whole(
        &self,
        keys: &Keys<'_, '_, '_>,
        key: &str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize> {
        let value = keys.required(key)?;
        self.source.whole(key, value, range, self.params)
    }

    pub fn probability(&self, keys: &Keys<'_, '_, '_>, key: &str) -> Result<Option<f64>> {
        let read = |value| self.source.number(key, value, 0.0..=1.0, self.params);
        keys.get(key).map(read).transpose()
    }

    /// The struct that `of` or `to` names.
    pub fn object(&self, key: &str, value: &Value<'_>) -> Result<ObjectOf> {
        let mut words = vec![(self.struct_name, ObjectOf::Struct)];
        let companions = self.companions.iter().enumerate();
        words.extend(companions.map(|(n, one)| (one.name.as_str(), ObjectOf::Companion(n))));
        self.source.word(key, value, &words)
    }

    pub fn objects_of(&self, of: ObjectOf) -> &Objects {
        match of {
            ObjectOf::Struct => self.objects,
            ObjectOf::Companion(n) => {
                let companion = self.companions.get(n);
                companion.map_or(self.objects, |companion| &companion.objects)
            }
        }
    }

    /// The field that a step names, and the alignment of the object that it lies in.
    pub fn find(&self, name: &str, line: usize) -> Result<(ObjectOf, &str, &CaseField, usize)> {
        let scope = self;
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
                    let place = format!("role '{}'", scope.role);
                    let what = format!("field of '{prefix}'");
                    Err(source.unknown_in(line, &place, &what, rest, index.keys().copied()))
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
                let place = format!("role '{role}', layout '{layout}'");
                let names = scope.fields.keys().copied();
                Err(source.unknown_in(line, &place, "field", name, names))
            }
        }
    }

    pub fn element(&self, keys: &Keys<'_, '_, '_>, field: &CaseField) -> Result<Option<Element>> {
        let Some(value) = keys.get("at") else {
            return Ok(None);
        };
        if field.count == 1 {
            let what = format_args!("'{}' is no array", clip(&field.name));
            return Err(keys.error_at("at", what));
        }
        let words = [("own", Element::Own), ("random", Element::Random)];
        if let Some(text) = value.get_ref().as_str()
            && !self.params.contains_key(text)
        {
            return self.source.word("at", value, &words).map(Some);
        }
        let at = self.whole(keys, "at", 0..=field.count - 1)?;
        Ok(Some(Element::At(at)))
    }

    pub fn field(
        &self,
        keys: &Keys<'_, '_, '_>,
        key: &str,
    ) -> Result<(FieldRef, &CaseField, usize)> {
        let value = keys.required(key)?;
        let name = self.source.text(key, value)?;
        let line = self.source.line(value.span().start);
        let (of, name, field, align) = self.find(name, line)?;
        let field_ref = FieldRef {
            of,
            name: name.to_owned(),
            element: self.element(keys, field)?,
        };
        Ok((field_ref, field, align))
    }

    /// A field, or an element of one, that is accessed in one piece.
    pub fn word_sized(&self, keys: &Keys<'_, '_, '_>, key: &str) -> Result<(FieldRef, usize)> {
        let (field_ref, field, align) = self.field(keys, key)?;
        let (name, layout) = (clip(&field.name), self.layout);
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

    pub fn word(&self, keys: &Keys<'_, '_, '_>, key: &str) -> Result<FieldRef> {
        Ok(self.word_sized(keys, key)?.0)
    }
}
