//! Tools: skills as a model sees them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::spec::{AgentParts, Prompt, ToolSpec};
use crate::engine::stable;
use crate::error::{Failure, codes};
use crate::llm;
use crate::payload::Payload;
use crate::workflow::SkillPin;

/// What a plan keeps of a skill that agents may offer to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolPin {
    /// What the skill does, for the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// JSON Schema of the skill's input.
    pub input_schema: Value,
}

/// What a tool may be called, for a message.
pub(super) const NAME: &str = "a tool name: 1 to 64 letters, digits, '_' or '-'";

/// Whether a model can be offered a tool of this name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The name of a tool that is given none: the skill's, without what tool names can't have.
pub(crate) fn default_name(skill: &str) -> String {
    skill.replace('.', "_")
}

/// The schema that a model is shown: that of an object, without the properties that the workflow sets itself.
///
/// # Errors
/// What keeps the skill from being a tool with these properties, for a person.
pub(crate) fn offered_schema<'a>(schema: &Value, fixed: impl Iterator<Item = &'a String>) -> Result<Value, String> {
    let mut fields = match schema {
        Value::Bool(true) => Map::new(),
        Value::Object(fields) => fields.clone(),
        _ => return Err("its input schema allows nothing".into()),
    };
    let is_object = match fields.get("type") {
        None => true,
        Some(Value::String(name)) => name == "object",
        Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
        Some(_) => false,
    };
    if !is_object {
        return Err(format!("its input is no object but {}, and models give tools objects", fields["type"]));
    }
    fields.insert("type".into(), json!("object"));
    let closed = fields.get("additionalProperties") == Some(&Value::Bool(false));
    for name in fixed {
        let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
        if properties.and_then(|properties| properties.remove(name)).is_none() && closed {
            return Err(format!("its input has no property {name:?}"));
        }
        if let Some(Value::Array(required)) = fields.get_mut("required") {
            required.retain(|other| other != name);
        }
    }
    Ok(fields.into())
}

/// A tool as the program uses it.
pub(super) struct Tool {
    pub(super) pin: SkillPin,
    pub(super) approve: bool,
    /// What the model is shown.
    pub(super) offered: llm::Tool,
    /// What the workflow sets itself.
    fixed: Map<String, Value>,
}

impl Tool {
    /// The tools of an agent, in its order.
    ///
    /// # Errors
    /// [`codes::INVALID_DEFINITION`] for a skill that can't be a tool with the parameters that are set.
    pub(super) fn all(parts: &AgentParts, prompt: &mut Prompt) -> Result<Vec<Self>, Failure> {
        let mut tools = Vec::with_capacity(parts.tools.len());
        for (spec, (pin, told)) in parts.spec.tools.iter().zip(&parts.tools) {
            let ToolSpec { skill, name, description, approve } = spec.clone();
            let fixed = prompt.tools.remove(&name).unwrap_or_default();
            let input_schema = offered_schema(&told.input_schema, fixed.keys()).map_err(|why| {
                Failure::new(codes::INVALID_DEFINITION, format!("{skill} can't be the tool {name:?}: {why}"))
            })?;
            let description = description.unwrap_or_else(|| told.description.clone());
            let offered = llm::Tool { name, description, input_schema };
            tools.push(Self { pin: pin.clone(), approve, offered, fixed });
        }
        match prompt.tools.keys().next() {
            None => Ok(tools),
            Some(name) => Err(Failure::new(
                codes::INVALID_DEFINITION,
                format!("the agent has no tool {name:?} to set parameters of"),
            )),
        }
    }

    /// What the model reads of an output: all but what differs from call to call without meaning, so that turns don't
    /// differ by it either.
    pub(super) fn output(&self, output: &Payload) -> Value {
        stable(output, &self.pin.volatile)
    }

    /// The skill's input, from what the model gives.
    ///
    /// # Errors
    /// [`codes::INVALID_INPUT`] for what is no object, or sets what is the workflow's to set.
    pub(super) fn input(&self, given: &Value) -> Result<Map<String, Value>, Failure> {
        let refused = |why: String| Err(Failure::new(codes::INVALID_INPUT, why));
        let Value::Object(given) = given else {
            return refused(format!("the input of {} must be a JSON object", self.offered.name));
        };
        if let Some(name) = self.fixed.keys().find(|name| given.contains_key(*name)) {
            return refused(format!("the input of {} has no property {name:?}", self.offered.name));
        }
        Ok(given.clone().into_iter().chain(self.fixed.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(schema: &Value, fixed: &[&str]) -> Result<Value, String> {
        let fixed: Vec<String> = fixed.iter().map(ToString::to_string).collect();
        offered_schema(schema, fixed.iter())
    }

    #[test]
    fn a_model_sees_an_object_without_what_is_set() {
        let url = json!({"type": "string"});
        let schema = json!({"type": "object", "properties": {"url": url, "key": {}}, "required": ["url", "key"]});
        for (schema, fixed, expected) in [
            (json!(true), &[][..], json!({"type": "object"})),
            (json!({"properties": {"a": true}}), &[], json!({"type": "object", "properties": {"a": true}})),
            (json!({"type": ["null", "object"]}), &["x"], json!({"type": "object"})),
            (schema.clone(), &[], schema.clone()),
            (schema, &["key"], json!({"type": "object", "properties": {"url": url}, "required": ["url"]})),
        ] {
            assert_eq!(offered(&schema, fixed), Ok(expected), "{schema}");
        }
        for (schema, fixed, why) in [
            (json!(false), &[][..], "allows nothing"),
            (json!({"type": "string"}), &[], "no object but \"string\""),
            (json!({"type": ["string", "null"]}), &[], "no object but"),
            (json!({"properties": {"a": {}}, "additionalProperties": false}), &["b"], "no property \"b\""),
        ] {
            assert!(offered(&schema, fixed).unwrap_err().contains(why), "{schema}");
        }
    }

    #[test]
    fn names_are_what_models_take() {
        assert_eq!(default_name("mail.send-1"), "mail_send-1");
        for (name, valid) in [("a", true), ("A_b-9", true), ("", false), ("a.b", false), ("ä", false), ("a b", false)]
        {
            assert_eq!(is_name(name), valid, "{name:?}");
        }
        assert!(is_name(&"x".repeat(64)) && !is_name(&"x".repeat(65)));
    }
}
