//! Definitions of tools, and the choice among them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Subject, Wrong, list, one_of};

const CHOICES: [&str; 4] = ["any", "auto", "none", "tool"];

/// The types that JSON Schema knows.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// The most characters of a tool's name.
const NAME_CHARS: usize = 128;

pub(super) fn definitions(subject: &Subject<'_>) -> Wrong {
    let mut names = BTreeSet::new();
    for (index, tool) in list(subject.body, "tools").iter().enumerate() {
        if !tool.is_object() {
            return Err(format!("tools.{index}: Input should be a valid dictionary"));
        }
        // Tools of the provider have a type of their own and no schema.
        let custom = tool.get("type").is_none_or(|kind| kind.is_null() || kind == "custom");
        match tool.get("name").and_then(Value::as_str) {
            None if custom => return Err(format!("tools.{index}.custom.name: Field required")),
            Some(name) if custom && !is_name(name) => {
                return Err(format!(
                    "tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,{NAME_CHARS}}}$'"
                ));
            }
            Some(name) if !names.insert(name) => return Err("tools: Tool names must be unique.".into()),
            _ => {}
        }
        if custom {
            input_schema(&format!("tools.{index}.custom.input_schema"), tool.get("input_schema"))?;
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=NAME_CHARS).contains(&name.len()) && name.chars().all(fits)
}

fn input_schema(at: &str, schema: Option<&Value>) -> Wrong {
    let Some(schema) = schema else { return Err(format!("{at}: Field required")) };
    if !schema.is_object() {
        return Err(format!("{at}: Input should be a valid dictionary"));
    }
    match schema.get("type") {
        None => return Err(format!("{at}.type: Field required")),
        Some(kind) if kind != "object" => return Err(format!("{at}.type: Input should be 'object'")),
        Some(_) => {}
    }
    if !is_schema(schema) {
        return Err(format!(
            "{at}: JSON schema is invalid. It must match JSON Schema draft 2020-12 \
             (https://json-schema.org/draft/2020-12). Learn more about tool use at \
             https://docs.claude.com/en/docs/tool-use."
        ));
    }
    Ok(())
}

/// Whether the keywords that everybody uses have the values that they must have.
pub(super) fn is_schema(schema: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema.is_boolean() };
    schema.iter().all(|(keyword, value)| match keyword.as_str() {
        "type" => match value {
            Value::String(kind) => TYPES.contains(&kind.as_str()),
            Value::Array(kinds) => kinds.iter().all(|kind| kind.as_str().is_some_and(|kind| TYPES.contains(&kind))),
            _ => false,
        },
        "properties" | "$defs" | "definitions" | "patternProperties" => {
            value.as_object().is_some_and(|parts| parts.values().all(is_schema))
        }
        "items" | "not" | "additionalProperties" | "contains" | "propertyNames" => is_schema(value),
        "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
            value.as_array().is_some_and(|parts| !parts.is_empty() && parts.iter().all(is_schema))
        }
        "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        "enum" => value.is_array(),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => value.is_number(),
        "minLength" | "maxLength" | "minItems" | "maxItems" => value.is_u64(),
        "description" | "title" | "pattern" | "format" | "$ref" => value.is_string(),
        _ => true,
    })
}

pub(super) fn choice(subject: &Subject<'_>) -> Wrong {
    let Some(choice) = subject.body.get("tool_choice") else { return Ok(()) };
    let tools = list(subject.body, "tools");
    let Some(kind) = choice.get("type").and_then(Value::as_str) else {
        return Err("tool_choice.type: Field required".into());
    };
    if !CHOICES.contains(&kind) {
        return Err(format!(
            "tool_choice: Input tag '{kind}' found using 'type' does not match any of the expected tags: {}",
            one_of(&CHOICES)
        ));
    }
    if tools.is_empty() {
        return Err("tool_choice may only be specified while providing tools.".into());
    }
    if kind == "tool" {
        let Some(name) = choice.get("name").and_then(Value::as_str) else {
            return Err("tool_choice.tool.name: Field required".into());
        };
        if !tools.iter().any(|tool| tool["name"] == name) {
            return Err(format!("Tool '{name}' not found in provided tools"));
        }
    }
    if !matches!(kind, "any" | "tool") {
        return Ok(());
    }
    if !subject.model.forced_tools {
        return Err(r#"tool_choice: type "tool" and "any" are not supported for this model."#.into());
    }
    match subject.body.get("thinking").map(|thinking| &thinking["type"]) {
        Some(kind) if kind == "enabled" || kind == "adaptive" => {
            Err("Thinking may not be enabled when tool_choice forces tool use.".into())
        }
        _ => Ok(()),
    }
}
