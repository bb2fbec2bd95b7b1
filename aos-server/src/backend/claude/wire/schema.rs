//! JSON Schemas as structured output takes them.

use serde_json::{Map, Value};

/// Keywords beside which closing an object could make the schema unsatisfiable, or wider.
const HANDS_OFF: &[&str] =
    &["allOf", "not", "if", "dependentSchemas", "patternProperties", "propertyNames", "unevaluatedProperties"];

/// The schema with every object that lists its properties closed to others.
///
/// The API refuses objects that are open (2026-11-26), and that is what schemas mostly are that nobody thought about.
/// Closing them only narrows the schema: what fits the result fits the original. Where that is not certain, nothing is
/// changed, and the API says what it thinks of it.
pub(super) fn closed(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if !mentions_any(&schema) {
        close(&mut schema);
    }
    schema
}

fn mentions_any(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| HANDS_OFF.contains(&key.as_str()) || mentions_any(value))
        }
        Value::Array(items) => items.iter().any(mentions_any),
        _ => false,
    }
}

fn close(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    for key in ["$defs", "definitions", "properties"] {
        if let Some(Value::Object(schemas)) = fields.get_mut(key) {
            schemas.values_mut().for_each(close);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(schema) = fields.get_mut(key) {
            close(schema);
        }
    }
    let branches = ["anyOf", "oneOf"];
    if !fields.contains_key("properties") {
        for key in branches.into_iter().chain(["prefixItems"]) {
            if let Some(Value::Array(schemas)) = fields.get_mut(key) {
                schemas.iter_mut().for_each(close);
            }
        }
    } else if !has_any(fields, &branches) && !fields.contains_key("$ref") {
        fields.entry("additionalProperties").or_insert(Value::Bool(false));
    }
}

fn has_any(fields: &Map<String, Value>, keys: &[&str]) -> bool {
    keys.iter().any(|key| fields.contains_key(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_closed_where_that_narrows() {
        let object = json!({"type": "object", "properties": {"a": {}}});
        let shut = json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false});
        for (schema, expected) in [
            (object.clone(), shut.clone()),
            (json!(true), json!(true)),
            (json!({"type": "object"}), json!({"type": "object"})),
            (json!({"items": object}), json!({"items": shut})),
            (json!({"$defs": {"x": object}, "$ref": "#/$defs/x"}), json!({"$defs": {"x": shut}, "$ref": "#/$defs/x"})),
            (json!({"anyOf": [object, {"type": "null"}]}), json!({"anyOf": [shut, {"type": "null"}]})),
            (json!({"additionalProperties": object}), json!({"additionalProperties": shut})),
            (
                json!({"properties": {"a": {}}, "additionalProperties": true}),
                json!({"properties": {"a": {}}, "additionalProperties": true}),
            ),
            (json!({"properties": {}, "anyOf": [object]}), json!({"properties": {}, "anyOf": [object]})),
            (json!({"allOf": [object]}), json!({"allOf": [object]})),
            (json!({"items": object, "not": {"items": object}}), json!({"items": object, "not": {"items": object}})),
        ] {
            assert_eq!(closed(&schema), expected, "{schema}");
        }
    }
}
