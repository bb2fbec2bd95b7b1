//! Turns a schema with its references and branches into a flat list of schemas that must all hold.

use serde_json::{Map, Value};

use super::check::{is_type, list, map, resolve, types};
use super::{Choice, Sampler};

/// Schemas that a value must all conform to, without those that only combine others.
pub(super) struct Facets<'s> {
    pub(super) schemas: Vec<&'s Map<String, Value>>,
    /// Whether no choice was made on the way, so that trying again changes nothing.
    pub(super) certain: bool,
    seen: Vec<*const Value>,
}

impl Default for Facets<'_> {
    fn default() -> Self {
        Self { schemas: Vec::new(), certain: true, seen: Vec::new() }
    }
}

impl<'s> Facets<'s> {
    /// The values of `key` in all schemas that have it.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &'s Value> {
        self.schemas.iter().filter_map(move |schema| schema.get(key))
    }

    pub(super) fn largest(&self, key: &str) -> Option<usize> {
        self.schemas.iter().filter_map(|schema| super::check::size(schema, key)).max()
    }

    pub(super) fn smallest(&self, key: &str) -> Option<usize> {
        self.schemas.iter().filter_map(|schema| super::check::size(schema, key)).min()
    }

    /// The types that all schemas allow, or those that their keywords speak of.
    pub(super) fn types(&self) -> Vec<&'static str> {
        const ALL: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "null"];
        let declared: Vec<Vec<&str>> = self.schemas.iter().filter_map(|schema| types(schema)).collect();
        let allows = |names: &Vec<&str>, name: &str| {
            names.iter().any(|allowed| *allowed == name || (name == "integer" && *allowed == "number"))
        };
        if !declared.is_empty() {
            let mut common: Vec<_> =
                ALL.into_iter().filter(|name| declared.iter().all(|names| allows(names, name))).collect();
            // Where fractions are allowed they are made, so that they are met in tests.
            if common.contains(&"number") {
                common.retain(|name| *name != "integer");
            }
            return common;
        }
        let has = |keys: &[&str]| self.schemas.iter().any(|schema| keys.iter().any(|key| schema.contains_key(*key)));
        if has(&[
            "properties",
            "required",
            "additionalProperties",
            "patternProperties",
            "propertyNames",
            "minProperties",
            "dependentRequired",
            "dependentSchemas",
            "unevaluatedProperties",
        ]) {
            vec!["object"]
        } else if has(&["items", "prefixItems", "minItems", "uniqueItems", "contains"]) {
            vec!["array"]
        } else if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
            vec!["number"]
        } else if has(&["minLength", "maxLength", "pattern", "format"]) {
            vec!["string"]
        } else {
            vec!["string", "integer", "boolean", "object"]
        }
    }
}

impl<'s> Sampler<'s, '_> {
    /// Adds `schema` to `facets`, choosing among its branches; `false` when it allows nothing.
    pub(super) fn flatten(&mut self, schema: &'s Value, choice: Choice, facets: &mut Facets<'s>) -> bool {
        let fields = match schema {
            Value::Bool(anything) => return *anything,
            Value::Object(fields) => fields,
            _ => return false,
        };
        // A schema that refers to itself in place adds nothing the second time.
        if facets.seen.contains(&std::ptr::from_ref(schema)) {
            return true;
        }
        facets.seen.push(schema);
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            let root = self.root;
            if !resolve(root, reference).is_some_and(|target| self.flatten(target, choice, facets)) {
                return false;
            }
        }
        if !list(fields, "allOf").iter().all(|s| self.flatten(s, choice, facets)) {
            return false;
        }
        for key in ["anyOf", "oneOf"] {
            if fields.contains_key(key) {
                facets.certain &= list(fields, key).len() < 2;
                if !self.branch(list(fields, key), choice).is_some_and(|s| self.flatten(s, choice, facets)) {
                    return false;
                }
            }
        }
        if let Some(condition) = fields.get("if") {
            facets.certain = false;
            let (then, otherwise) = (fields.get("then"), fields.get("else"));
            let holds = (self.below(2) == 0) != (choice.attempt % 2 == 1);
            let branches = if holds { [Some(condition), then] } else { [None, otherwise] };
            if !branches.into_iter().flatten().all(|s| self.flatten(s, choice, facets)) {
                return false;
            }
        }
        if !choice.only_required() {
            for (key, s) in map(fields, "dependentSchemas").into_iter().flatten() {
                let there = map(fields, "properties").is_some_and(|p| p.contains_key(key))
                    || list(fields, "required").iter().any(|required| required == key);
                if there && !self.flatten(s, choice, facets) {
                    return false;
                }
            }
        }
        facets.schemas.push(fields);
        true
    }

    fn branch(&mut self, branches: &'s [Value], choice: Choice) -> Option<&'s Value> {
        if choice.plain {
            // Branches that lead nowhere else end a recursion soonest; try all, in this order.
            let mut order: Vec<&Value> = branches.iter().collect();
            order.sort_by_key(|branch| refers(branch));
            if let Some(branch) = usize::try_from(choice.attempt).ok().and_then(|attempt| order.get(attempt)) {
                return Some(branch);
            }
        } else if choice.attempt < 2 {
            let telling: Vec<&Value> = branches.iter().filter(|branch| !only_null(branch)).collect();
            if let Some(branch) = self.pick(&telling) {
                return Some(branch);
            }
        }
        self.pick(branches)
    }
}

impl Choice {
    /// Whether properties that need not be there are left out.
    pub(super) fn only_required(self) -> bool {
        self.plain || self.attempt % 3 == 2
    }
}

fn only_null(schema: &Value) -> bool {
    let Value::Object(fields) = schema else { return false };
    types(fields).is_some_and(|names| names == ["null"])
        || fields.get("const").is_some_and(|value| is_type(value, "null"))
}

fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.iter().any(|(key, value)| key == "$ref" || refers(value)),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}
