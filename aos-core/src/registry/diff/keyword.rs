//! What a change of one keyword does to the set of values that a schema accepts.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What a change does to the set of accepted values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Fewer values fit.
    Narrower,
    /// More values fit.
    Wider,
    /// The same values fit: it is only written differently.
    Same,
    /// Both may be, or it is not known.
    Unknown,
}

/// Of more branches than this nobody finds out whether they exclude each other.
const MAX_DISJOINT: usize = 300;

/// Whether a keyword only describes.
pub(super) fn is_annotation(name: &str) -> bool {
    const ANNOTATIONS: [&str; 11] = [
        "$comment",
        "$id",
        "$schema",
        "$anchor",
        "contentEncoding",
        "contentMediaType",
        "deprecated",
        "description",
        "examples",
        "readOnly",
        "title",
    ];
    ANNOTATIONS.contains(&name) || name == "writeOnly" || name.starts_with("x-")
}

/// Whether a keyword's value holds no schema.
pub(super) fn is_plain(name: &str) -> bool {
    const WITH_SCHEMAS: [&str; 8] =
        ["not", "if", "then", "else", "contains", "dependentSchemas", "oneOf", "contentSchema"];
    !WITH_SCHEMAS.contains(&name)
}

/// The effect of a changed keyword whose value is no schema, and a phrase that says so.
pub(super) fn effect(name: &str, before: Option<&Value>, after: Option<&Value>) -> (Effect, String) {
    match name {
        "type" => types(before, after),
        "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" | "minContains" => {
            bound(before, after, "lower", false)
        }
        "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" | "maxContains" => {
            bound(before, after, "upper", true)
        }
        "multipleOf" => multiple(before, after),
        "uniqueItems" => match (before, after) {
            (None | Some(Value::Bool(false)), Some(Value::Bool(true))) => narrower("items must now be unique"),
            (Some(Value::Bool(true)), None | Some(Value::Bool(false))) => wider("items need not be unique any more"),
            (None | Some(Value::Bool(false)), None | Some(Value::Bool(false))) => same("items need not be unique"),
            _ => unknown("`uniqueItems` is not a boolean"),
        },
        "pattern" | "format" | "not" | "contains" | "dependentRequired" => match (before, after) {
            (None, _) => narrower(&format!("`{name}` was added")),
            (_, None) => wider(&format!("`{name}` was removed")),
            _ => unknown(&format!("`{name}` has changed")),
        },
        _ => unknown(&format!("`{name}` has changed")),
    }
}

/// How one list of allowed things relates to another.
pub(super) fn sets(before: &BTreeSet<String>, after: &BTreeSet<String>, what: &str) -> (Effect, String) {
    match (before.difference(after).next(), after.difference(before).next()) {
        (Some(gone), None) => narrower(&format!("the {what} {gone} is gone")),
        (None, Some(added)) => wider(&format!("the {what} {added} is new")),
        (Some(gone), Some(added)) => unknown(&format!("the {what} {gone} is gone and {added} is new")),
        (None, None) => same(&format!("the same {what}s, written differently")),
    }
}

/// The values that `enum` and `const` leave, as JSON texts; `None` when neither is there.
pub(super) fn values(schema: &Map<String, Value>) -> Option<BTreeSet<String>> {
    let listed: Option<BTreeSet<String>> =
        schema.get("enum").and_then(Value::as_array).map(|values| values.iter().map(text).collect());
    let constant = schema.get("const").map(|value| BTreeSet::from([text(value)]));
    match (listed, constant) {
        (Some(listed), Some(constant)) => Some(listed.intersection(&constant).cloned().collect()),
        (listed, constant) => listed.or(constant),
    }
}

/// A value as text, the same for `1` and `1.0`, which JSON Schema calls equal.
fn text(value: &Value) -> String {
    crate::canonical::to_string(value.clone()).unwrap_or_else(|_| value.to_string())
}

/// Whether no value fits two of these schemas, so that `oneOf` means the same as `anyOf`.
pub(super) fn disjoint(branches: Option<&Value>) -> bool {
    let Some(branches) = branches else { return true };
    let Some(branches) = branches.as_array().filter(|branches| branches.len() <= MAX_DISJOINT) else { return false };
    branches.iter().enumerate().all(|(index, a)| branches.iter().skip(index + 1).all(|b| excludes(a, b)))
}

fn excludes(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return false };
    if let (Some(a), Some(b)) = (values(a), values(b))
        && a.is_disjoint(&b)
    {
        return true;
    }
    if let (Some(a), Some(b)) = (type_set(a.get("type")), type_set(b.get("type")))
        && a.is_disjoint(&b)
    {
        return true;
    }
    // Tagged objects: one required property whose allowed values differ.
    let tagged = |object: &Map<String, Value>, name: &str| {
        let required = object.get("required")?.as_array()?.iter().any(|required| required == name);
        required.then(|| values(object.get("properties")?.get(name)?.as_object()?)).flatten()
    };
    let Some(properties) = a.get("properties").and_then(Value::as_object) else { return false };
    properties.keys().any(|name| match (tagged(a, name), tagged(b, name)) {
        (Some(a), Some(b)) => a.is_disjoint(&b),
        _ => false,
    }) || (required_exclude(a, b) && required_exclude(b, a))
}

/// Externally tagged variants: `a` requires a property that a closed `b` does not have.
fn required_exclude(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    let known = b.get("properties").and_then(Value::as_object);
    b.get("additionalProperties") == Some(&Value::Bool(false))
        && a.get("type") == Some(&Value::from("object"))
        && a.get("required").and_then(Value::as_array).is_some_and(|required| {
            required.iter().filter_map(Value::as_str).any(|name| known.is_none_or(|known| !known.contains_key(name)))
        })
}

fn types(before: Option<&Value>, after: Option<&Value>) -> (Effect, String) {
    match (before, after) {
        (None, Some(_)) => narrower("only some types are left"),
        (Some(_), None) => wider("every type is allowed"),
        _ => match (type_set(before), type_set(after)) {
            (Some(before), Some(after)) => sets(&before, &after, "type"),
            _ => unknown("`type` is not a type or a list of types"),
        },
    }
}

/// The types of a `type` keyword, with `number` counted as integers and fractions.
fn type_set(value: Option<&Value>) -> Option<BTreeSet<String>> {
    let names: Vec<&str> = match value? {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    let mut set: BTreeSet<String> = names.iter().map(|name| format!("{name:?}")).collect();
    if set.contains("\"number\"") {
        set.insert("\"integer\"".into());
    }
    Some(set)
}

fn bound(before: Option<&Value>, after: Option<&Value>, which: &str, upper: bool) -> (Effect, String) {
    let (before, after) = match (before, after) {
        (None, Some(_)) => return narrower(&format!("now there is a bound ({which})")),
        (Some(_), None) => return wider(&format!("the {which} bound is gone")),
        (before, after) => (before.and_then(Value::as_f64), after.and_then(Value::as_f64)),
    };
    match (before, after) {
        (Some(before), Some(after)) if before == after => same(&format!("the {which} bound is written differently")),
        (Some(before), Some(after)) if (after < before) == upper => narrower(&format!("the {which} bound is tighter")),
        (Some(_), Some(_)) => wider(&format!("the {which} bound is looser")),
        _ => unknown(&format!("the {which} bound is not a number")),
    }
}

fn multiple(before: Option<&Value>, after: Option<&Value>) -> (Effect, String) {
    match (before, after) {
        (None, Some(_)) => return narrower("values must now be multiples"),
        (Some(_), None) => return wider("values need not be multiples any more"),
        _ => {}
    }
    let divides = |a: u64, b: u64| a != 0 && b.is_multiple_of(a);
    match (before.and_then(Value::as_u64), after.and_then(Value::as_u64)) {
        (Some(before), Some(after)) if divides(before, after) => narrower("values must be multiples of more"),
        (Some(before), Some(after)) if divides(after, before) => wider("values must be multiples of less"),
        _ => unknown("values must be multiples of something else"),
    }
}

fn narrower(why: &str) -> (Effect, String) {
    (Effect::Narrower, why.into())
}

fn wider(why: &str) -> (Effect, String) {
    (Effect::Wider, why.into())
}

fn same(why: &str) -> (Effect, String) {
    (Effect::Same, why.into())
}

fn unknown(why: &str) -> (Effect, String) {
    (Effect::Unknown, why.into())
}
