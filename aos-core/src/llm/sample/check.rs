//! Checks a made value against its schema, so that a sample that does not conform is never given out.
//!
//! It knows the keywords of JSON Schema 2020-12 that the sampler works with (and `definitions` and `items` as a list
//! of draft 7); a schema with another assertion is refused by [`unsupported`] before anything is made.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::decimal::{is_multiple, less};
use super::format;
use super::pattern::Pattern;

/// Assertions that are not implemented: to ignore them could give out a value that does not conform.
const UNSUPPORTED: [&str; 6] =
    ["$dynamicRef", "$recursiveRef", "unevaluatedItems", "dependencies", "contentSchema", "disallow"];

/// Where values of a schema's keyword are schemas themselves.
const SCHEMA: [&str; 11] = [
    "additionalProperties",
    "items",
    "additionalItems",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
];
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const MAP: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// Says what in `schema` the sampler can't work with, by JSON pointer.
pub(super) fn unsupported(schema: &Value) -> Option<String> {
    let mut open = vec![(schema, String::new())];
    while let Some((schema, path)) = open.pop() {
        let fields = match schema {
            Value::Bool(_) => continue,
            Value::Object(fields) => fields,
            _ => return Some(format!("{path:?} is not a schema: expected an object or a boolean")),
        };
        for (key, value) in fields {
            let at = |part: &dyn std::fmt::Display| format!("{path}/{key}/{part}");
            match (key.as_str(), value) {
                (key, _) if UNSUPPORTED.contains(&key) && *value != Value::Bool(true) => {
                    return Some(format!("{path}/{key} is not supported"));
                }
                ("$ref", Value::String(target)) if !target.starts_with('#') => {
                    return Some(format!(
                        "{path}/$ref leads to {target:?}: only references within the schema (#…) are supported"
                    ));
                }
                ("pattern", Value::String(pattern)) => {
                    if let Err(why) = Pattern::parse(pattern) {
                        return Some(format!("{path}/pattern {pattern:?} is not supported: {why}"));
                    }
                }
                ("items", Value::Array(items)) => open.extend(items.iter().enumerate().map(|(i, s)| (s, at(&i)))),
                (key, Value::Array(items)) if LIST.contains(&key) => {
                    open.extend(items.iter().enumerate().map(|(i, s)| (s, at(&i))));
                }
                (key, Value::Object(schemas)) if MAP.contains(&key) => {
                    if let Some(pattern) =
                        schemas.keys().find(|p| key == "patternProperties" && Pattern::parse(p).is_err())
                    {
                        return Some(format!("{path}/{key}: the pattern {pattern:?} is not supported"));
                    }
                    open.extend(schemas.iter().map(|(name, s)| (s, at(name))));
                }
                (key, _) if SCHEMA.contains(&key) => open.push((value, format!("{path}/{key}"))),
                _ => {}
            }
        }
    }
    None
}

/// The schema that `reference` (`#`, `#/$defs/node`, `#name`) leads to.
pub(super) fn resolve<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    let fragment = percent_decoded(reference.strip_prefix('#')?)?;
    if fragment.is_empty() || fragment.starts_with('/') {
        return root.pointer(&fragment);
    }
    let mut open = vec![root];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) if fields.get("$anchor").and_then(Value::as_str) == Some(&fragment) => {
                return Some(value);
            }
            Value::Object(fields) => open.extend(fields.values()),
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    None
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (high, low) = (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// A check in progress: what it may still cost, so that no schema makes it endless.
pub(super) struct Checker<'s> {
    pub(super) root: &'s Value,
    pub(super) fuel: u64,
}

impl<'s> Checker<'s> {
    /// Whether `value` is an instance of `schema`; `false` too when the fuel has run out.
    pub(super) fn valid(&mut self, schema: &'s Value, value: &Value, depth: usize) -> bool {
        if self.fuel == 0 || depth > super::MAX_DEPTH * 4 {
            return false;
        }
        self.fuel -= 1;
        match schema {
            Value::Bool(anything) => *anything,
            Value::Object(schema) => self.valid_object_schema(schema, value, depth + 1),
            _ => false,
        }
    }

    fn valid_object_schema(&mut self, schema: &'s Map<String, Value>, value: &Value, depth: usize) -> bool {
        self.valid_combined(schema, value, depth)
            && fits(schema, value)
            && match value {
                Value::Array(items) => self.array(schema, items, depth),
                Value::Object(fields) => self.object(schema, fields, value, depth),
                _ => true,
            }
    }

    fn valid_combined(&mut self, schema: &'s Map<String, Value>, value: &Value, depth: usize) -> bool {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let root = self.root;
            if !resolve(root, reference).is_some_and(|target| self.valid(target, value, depth)) {
                return false;
            }
        }
        if !list(schema, "allOf").iter().all(|s| self.valid(s, value, depth)) {
            return false;
        }
        let any = list(schema, "anyOf");
        if schema.contains_key("anyOf") && !any.iter().any(|s| self.valid(s, value, depth)) {
            return false;
        }
        let one = list(schema, "oneOf");
        if schema.contains_key("oneOf") && one.iter().filter(|s| self.valid(s, value, depth)).count() != 1 {
            return false;
        }
        if schema.get("not").is_some_and(|s| self.valid(s, value, depth)) {
            return false;
        }
        match schema.get("if") {
            None => true,
            Some(condition) => {
                let branch = if self.valid(condition, value, depth) { "then" } else { "else" };
                schema.get(branch).is_none_or(|s| self.valid(s, value, depth))
            }
        }
    }

    fn array(&mut self, schema: &'s Map<String, Value>, items: &[Value], depth: usize) -> bool {
        if !count(schema, "minItems", "maxItems", items.len()) {
            return false;
        }
        let (prefix, rest) = tuple(schema);
        for (index, item) in items.iter().enumerate() {
            if let Some(s) = prefix.get(index).or(rest)
                && !self.valid(s, item, depth)
            {
                return false;
            }
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true))
            && items.iter().enumerate().any(|(index, item)| items[..index].contains(item))
        {
            return false;
        }
        schema.get("contains").is_none_or(|s| {
            let found = items.iter().filter(|item| self.valid(s, item, depth)).count();
            found >= size(schema, "minContains").unwrap_or(1)
                && size(schema, "maxContains").is_none_or(|max| found <= max)
        })
    }

    fn object(
        &mut self,
        schema: &'s Map<String, Value>,
        fields: &Map<String, Value>,
        value: &Value,
        depth: usize,
    ) -> bool {
        if !count(schema, "minProperties", "maxProperties", fields.len())
            || !list(schema, "required").iter().filter_map(Value::as_str).all(|key| fields.contains_key(key))
        {
            return false;
        }
        for (key, item) in fields {
            let mut declared = false;
            if let Some(s) = map(schema, "properties").and_then(|p| p.get(key)) {
                declared = true;
                if !self.valid(s, item, depth) {
                    return false;
                }
            }
            for (pattern, s) in map(schema, "patternProperties").into_iter().flatten() {
                if Pattern::parse(pattern).is_ok_and(|p| p.matches(key)) {
                    declared = true;
                    if !self.valid(s, item, depth) {
                        return false;
                    }
                }
            }
            if !declared && schema.get("additionalProperties").is_some_and(|s| !self.valid(s, item, depth)) {
                return false;
            }
            if schema.get("propertyNames").is_some_and(|s| !self.valid(s, &Value::String(key.clone()), depth)) {
                return false;
            }
        }
        for (key, needed) in map(schema, "dependentRequired").into_iter().flatten() {
            let needed = needed.as_array().map(Vec::as_slice).unwrap_or_default();
            if fields.contains_key(key) && !needed.iter().filter_map(Value::as_str).all(|key| fields.contains_key(key))
            {
                return false;
            }
        }
        for (key, s) in map(schema, "dependentSchemas").into_iter().flatten() {
            if fields.contains_key(key) && !self.valid(s, value, depth) {
                return false;
            }
        }
        schema.get("unevaluatedProperties").is_none_or(|s| {
            let mut seen = BTreeSet::new();
            self.evaluated(schema, fields, value, depth, &mut seen);
            fields.iter().all(|(key, item)| seen.contains(key) || self.valid(s, item, depth))
        })
    }

    /// Collects the properties that `schema` has a say about, `unevaluatedProperties` itself apart.
    fn evaluated(
        &mut self,
        schema: &'s Map<String, Value>,
        fields: &Map<String, Value>,
        value: &Value,
        depth: usize,
        seen: &mut BTreeSet<String>,
    ) {
        if self.fuel == 0 || depth > super::MAX_DEPTH * 4 {
            return;
        }
        self.fuel -= 1;
        for key in fields.keys() {
            let named = map(schema, "properties").is_some_and(|p| p.contains_key(key));
            let matched = map(schema, "patternProperties")
                .is_some_and(|p| p.keys().any(|p| Pattern::parse(p).is_ok_and(|p| p.matches(key))));
            if named || matched || schema.contains_key("additionalProperties") {
                seen.insert(key.clone());
            }
        }
        let mut inner: Vec<&'s Value> =
            ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|key| list(schema, key)).collect();
        inner.extend(schema.get("$ref").and_then(Value::as_str).and_then(|r| resolve(self.root, r)));
        if let Some(condition) = schema.get("if") {
            inner.push(condition);
            let branch = if self.valid(condition, value, depth) { "then" } else { "else" };
            inner.extend(schema.get(branch));
        }
        let dependent = map(schema, "dependentSchemas").into_iter().flatten();
        inner.extend(dependent.filter(|(key, _)| fields.contains_key(*key)).map(|(_, s)| s));
        for s in inner {
            if self.valid(s, value, depth)
                && let Value::Object(s) = s
            {
                self.evaluated(s, fields, value, depth + 1, seen);
                if s.contains_key("unevaluatedProperties") {
                    seen.extend(fields.keys().cloned());
                }
            }
        }
    }
}

/// The schemas of an array's first items, and of the others.
pub(super) fn tuple(schema: &Map<String, Value>) -> (&[Value], Option<&Value>) {
    match schema.get("items") {
        Some(Value::Array(first)) => (first, schema.get("additionalItems")),
        rest => (list(schema, "prefixItems"), rest),
    }
}

pub(super) fn list<'s>(schema: &'s Map<String, Value>, key: &str) -> &'s [Value] {
    schema.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn map<'s>(schema: &'s Map<String, Value>, key: &str) -> Option<&'s Map<String, Value>> {
    schema.get(key).and_then(Value::as_object)
}

pub(super) fn size(schema: &Map<String, Value>, key: &str) -> Option<usize> {
    let bound = schema.get(key)?.as_f64()?;
    // A bound beyond the range of usize is cut, which changes nothing: nothing is ever that large.
    Some(bound.max(0.0) as usize)
}

/// The types that a `type` keyword allows.
pub(super) fn types(schema: &Map<String, Value>) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Value::String(name) => Some(vec![name]),
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).collect()),
        _ => Some(Vec::new()),
    }
}

pub(super) fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// Whether `value` fits what `schema` says without the help of other schemas.
pub(super) fn fits(schema: &Map<String, Value>, value: &Value) -> bool {
    basic(schema, value)
        && match value {
            Value::String(text) => string(schema, text),
            Value::Number(_) => number(schema, value),
            _ => true,
        }
}

fn basic(schema: &Map<String, Value>, value: &Value) -> bool {
    types(schema).is_none_or(|names| names.iter().any(|name| is_type(value, name)))
        && schema.get("const").is_none_or(|expected| same(expected, value))
        && (!schema.contains_key("enum") || list(schema, "enum").iter().any(|expected| same(expected, value)))
}

/// Equality by meaning: `1` and `1.0` are one number.
fn same(a: &Value, b: &Value) -> bool {
    a == b
        || (a.is_number() && b.is_number() && !less(a, b) && !less(b, a))
        || crate::canonical::to_string(a.clone())
            .is_ok_and(|a| crate::canonical::to_string(b.clone()).is_ok_and(|b| a == b))
}

fn count(schema: &Map<String, Value>, min: &str, max: &str, actual: usize) -> bool {
    size(schema, min).is_none_or(|min| actual >= min) && size(schema, max).is_none_or(|max| actual <= max)
}

fn string(schema: &Map<String, Value>, text: &str) -> bool {
    count(schema, "minLength", "maxLength", text.chars().count())
        && schema
            .get("pattern")
            .and_then(Value::as_str)
            .is_none_or(|pattern| Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(text)))
        && schema.get("format").and_then(Value::as_str).is_none_or(|name| format::valid(name, text))
}

fn number(schema: &Map<String, Value>, value: &Value) -> bool {
    let bound = |key: &str| schema.get(key).filter(|bound| bound.is_number());
    bound("minimum").is_none_or(|min| !less(value, min))
        && bound("maximum").is_none_or(|max| !less(max, value))
        && bound("exclusiveMinimum").is_none_or(|min| less(min, value))
        && bound("exclusiveMaximum").is_none_or(|max| less(value, max))
        && bound("multipleOf").is_none_or(|step| is_multiple(value, step))
}
