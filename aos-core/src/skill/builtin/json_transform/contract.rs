//! The input schema of `json_transform`, one branch for each operation.

use serde_json::{Value, json};

use super::MAX_OPERATIONS;

pub(super) fn input_schema() -> Value {
    let path = json!({"type": "string", "pattern": "^\\$", "description": "JSONPath (RFC 9535)."});
    let paths = json!({"type": "array", "items": path});
    let order = json!({"enum": ["asc", "desc"], "default": "asc"});
    let operation = |name: &str, says: &str, fields: Value, required: &[&str], takes_at: bool| {
        let mut properties = json!({"op": {"const": name}});
        if takes_at {
            properties["at"] = json!({"type": "string", "pattern": "^\\$", "description": "The values to work on; the whole value when it is not given."});
        }
        for (key, schema) in fields.as_object().into_iter().flatten() {
            properties[key] = schema.clone();
        }
        let required: Vec<&str> = ["op"].iter().chain(required).copied().collect();
        json!({
            "type": "object", "title": name, "description": says, "additionalProperties": false,
            "required": required, "properties": properties
        })
    };
    let operations = [
        operation(
            "extract",
            "The list of the nodes that `path` selects; with `one` the only node.",
            json!({
                "path": path,
                "one": {"type": "boolean", "default": false},
                "default": {"description": "With `one`: what to give when there is no node."}
            }),
            &["path"],
            true,
        ),
        operation(
            "map",
            "Each item of an array becomes the first node that `path` selects in it, or an object with `fields`; null where there is none.",
            json!({"path": path, "fields": {"type": "object", "additionalProperties": path}}),
            &[],
            true,
        ),
        operation(
            "filter",
            "Keeps the items of an array for which a JSONPath filter expression holds.",
            json!({"where": {"type": "string", "examples": ["@.price < 10 && @.in_stock == true"]}}),
            &["where"],
            true,
        ),
        operation("pick", "Keeps only the nodes that `paths` select.", json!({"paths": paths}), &["paths"], false),
        operation("omit", "Removes the nodes that `paths` select.", json!({"paths": paths}), &["paths"], false),
        operation(
            "merge",
            "Merges an object into an object, member by member at every depth; other values are replaced.",
            json!({"with": {"type": "object"}}),
            &["with"],
            true,
        ),
        operation(
            "flatten",
            "Puts the items of inner arrays in their place.",
            json!({"depth": {"type": "integer", "minimum": 0, "default": 1}}),
            &[],
            true,
        ),
        operation(
            "sort",
            "Sorts an array: null, false, true, numbers, texts, arrays, objects; items without a value to sort by come last. Equal items keep their order.",
            json!({
                "by": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": false,
                        "required": ["path"],
                        "properties": {"path": path, "order": order}
                    }
                },
                "order": order
            }),
            &[],
            true,
        ),
    ];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["input", "ops"],
        "properties": {
            "input": {"description": "Any JSON."},
            "ops": {
                "type": "array",
                "maxItems": MAX_OPERATIONS,
                "items": {"type": "object", "required": ["op"], "oneOf": operations}
            }
        }
    })
}
