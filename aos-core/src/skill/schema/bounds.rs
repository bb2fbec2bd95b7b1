//! Which schemas are accepted: those that refer only to themselves, and whose checks end soon.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How many schemas may apply to one and the same value, references followed.
const MAX_IN_PLACE: u64 = 10_000;

/// How many definitions may be referred to: each may lead to the next, and following them takes stack.
const MAX_REFERRED: usize = 200;

/// Why a schema is not accepted: where, and what is wrong there.
pub(super) struct Refused {
    /// JSON pointer into the schema.
    pub path: String,
    pub why: String,
}

/// Refuses references that lead out of the document or nowhere, those that lead back to the same value without end,
/// and webs of references that take exponential time to follow.
pub(super) fn check(root: &Value) -> Result<(), Refused> {
    let mut bounds = Bounds { root, known: BTreeMap::new() };
    bounds.everywhere("", root, true)
}

struct Bounds<'a> {
    root: &'a Value,
    /// How many schemas a referenced one applies to a value; `None` while that is being found out.
    known: BTreeMap<&'a str, Option<u64>>,
}

impl<'a> Bounds<'a> {
    /// Checks a schema and all schemas within it.
    fn everywhere(&mut self, path: &str, schema: &'a Value, is_root: bool) -> Result<(), Refused> {
        let Some(fields) = schema.as_object() else { return Ok(()) };
        refuse_keywords(path, fields, is_root)?;
        self.in_place(path, schema)?;
        for (at, inner) in inner_schemas(fields) {
            self.everywhere(&format!("{path}{at}"), inner, false)?;
        }
        Ok(())
    }

    /// How many schemas this one applies to a value itself, besides those it applies to the value's parts.
    fn in_place(&mut self, path: &str, schema: &'a Value) -> Result<u64, Refused> {
        let Some(fields) = schema.as_object() else { return Ok(1) };
        let mut count = 1_u64;
        if let Some(reference) = fields.get("$ref") {
            count = count.saturating_add(self.referenced(path, reference)?);
        }
        for (at, inner) in inner_schemas(fields) {
            let keyword = at.split('/').nth(1).unwrap_or_default();
            if matches!(keyword, "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas") {
                count = count.saturating_add(self.in_place(&format!("{path}{at}"), inner)?);
            }
        }
        if count > MAX_IN_PLACE {
            let why = format!("more than {MAX_IN_PLACE} schemas apply to one value here: use fewer references");
            return Err(Refused { path: path.into(), why });
        }
        Ok(count)
    }

    fn referenced(&mut self, path: &str, reference: &'a Value) -> Result<u64, Refused> {
        let refused = |why: String| Refused { path: format!("{path}/$ref"), why };
        let Some(text) = reference.as_str() else { return Err(refused("a reference is a string".into())) };
        let Some(pointer) = text.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return Err(refused(format!(
                "the reference {text:?} leads out of the document, and nothing is fetched: expected \"#/$defs/…\""
            )));
        };
        match self.known.get(text) {
            Some(Some(count)) => return Ok(*count),
            Some(None) => return Err(refused(format!("the reference {text:?} leads back to itself"))),
            None => {}
        }
        if self.known.len() >= MAX_REFERRED {
            return Err(refused(format!("there are more than {MAX_REFERRED} references to different places")));
        }
        let Some(target) = self.root.pointer(pointer) else {
            return Err(refused(format!("the reference {text:?} leads nowhere")));
        };
        self.known.insert(text, None);
        let count = self.in_place(pointer, target)?;
        self.known.insert(text, Some(count));
        Ok(count)
    }
}

/// Keywords that change what a reference means, so that it can't be followed here.
fn refuse_keywords(path: &str, fields: &Map<String, Value>, is_root: bool) -> Result<(), Refused> {
    for keyword in ["$dynamicRef", "$recursiveRef", "$id"] {
        if fields.contains_key(keyword) && !(keyword == "$id" && is_root) {
            let why = format!("`{keyword}` is not supported here: refer to definitions by \"#/$defs/…\"");
            return Err(Refused { path: format!("{path}/{keyword}"), why });
        }
    }
    Ok(())
}

/// The schemas directly within a schema, with their places below it.
fn inner_schemas(fields: &Map<String, Value>) -> impl Iterator<Item = (String, &Value)> {
    fields.iter().flat_map(|(keyword, value)| {
        let nested: Vec<(String, &Value)> = match (keyword.as_str(), value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(schemas),
            ) => schemas.iter().map(|(name, schema)| (format!("/{keyword}/{}", escape(name)), schema)).collect(),
            ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                schemas.iter().enumerate().map(|(index, schema)| (format!("/{keyword}/{index}"), schema)).collect()
            }
            (
                "items"
                | "additionalItems"
                | "additionalProperties"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "propertyNames"
                | "contains"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contentSchema",
                Value::Object(_),
            ) => vec![(format!("/{keyword}"), value)],
            _ => Vec::new(),
        };
        nested
    })
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
