//! Reads the `agent` of a step.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Parser;
use crate::agent::{DEFAULT_MAX_TOOL_CALLS, DEFAULT_MAX_TURNS, default_name, is_name};
use crate::money::Money;

/// Fields that are computed when the agent begins.
const PROMPT: [&str; 7] = ["goal", "system", "model", "adapter", "max_tokens", "temperature", "options"];

/// All fields of an agent.
const FIELDS: [&str; 14] = [
    "goal",
    "system",
    "model",
    "adapter",
    "max_tokens",
    "temperature",
    "options",
    "tools",
    "max_turns",
    "max_tool_calls",
    "budget",
    "parallel",
    "answer_schema",
    "approval_timeout",
];

const TOOL_FIELDS: [&str; 5] = ["skill", "name", "description", "params", "approve"];

/// An agent whose skills are not resolved yet.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::workflow) struct DraftAgent {
    /// Templates by field.
    prompt: BTreeMap<&'static str, Value>,
    pub(in crate::workflow) tools: Vec<DraftTool>,
    pub(in crate::workflow) max_turns: u32,
    pub(in crate::workflow) max_tool_calls: u32,
    pub(in crate::workflow) budget: Option<Money>,
    pub(in crate::workflow) parallel: bool,
    pub(in crate::workflow) answer_schema: Option<Value>,
    pub(in crate::workflow) approval_timeout_ms: Option<u64>,
}

/// A tool whose skill is not resolved yet.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::workflow) struct DraftTool {
    /// Where its requirement stands, from `agent` on.
    pub(in crate::workflow) place: String,
    pub(in crate::workflow) requirement: String,
    pub(in crate::workflow) name: String,
    pub(in crate::workflow) description: Option<String>,
    pub(in crate::workflow) approve: bool,
    /// Templates of the properties that the workflow sets, with the place of the object.
    pub(in crate::workflow) params: Option<(String, Map<String, Value>)>,
}

impl DraftAgent {
    /// Its templates, each with its place from `agent` on.
    pub(super) fn templates(&self) -> Vec<(String, &Value)> {
        let prompt = self.prompt.iter().map(|(field, template)| ((*field).to_owned(), template));
        let params = self.tools.iter().filter_map(|tool| tool.params.as_ref());
        let params = params.flat_map(|(place, params)| {
            params.iter().map(move |(name, template)| (format!("{place}/{}", super::escape(name)), template))
        });
        prompt.chain(params).collect()
    }

    /// The template of everything that is computed when the agent begins.
    pub(super) fn prompt(&self) -> Value {
        let mut prompt: Map<_, _> =
            self.prompt.iter().map(|(field, template)| ((*field).to_owned(), template.clone())).collect();
        let with_params = self.tools.iter().filter_map(|tool| Some((tool.name.clone(), tool.params.clone()?.1.into())));
        let tools: Map<String, Value> = with_params.collect();
        if !tools.is_empty() {
            prompt.insert("tools".into(), tools.into());
        }
        prompt.into()
    }
}

impl Parser {
    pub(super) fn agent(&mut self, path: &str, value: &Value) -> Option<DraftAgent> {
        let Value::Object(fields) = value else {
            self.wrong_value(path, value, "an agent: an object with `goal` and `model`");
            return None;
        };
        self.known_fields(path, fields, &FIELDS);
        for field in ["goal", "model"] {
            self.required_text(path, fields, field);
        }
        let prompt = PROMPT.into_iter().filter_map(|field| {
            let template = fields.get(field)?;
            self.prompt_field(&format!("{path}/{field}"), field, template);
            Some((field, template.clone()))
        });
        let prompt = prompt.collect();
        let at = |field: &str| format!("{path}/{field}");
        let answer_schema = fields.get("answer_schema").cloned();
        if let Some(schema) = answer_schema.as_ref().filter(|schema| !schema.is_object() && !schema.is_boolean()) {
            self.wrong_value(&at("answer_schema"), schema, "a JSON Schema: an object");
        }
        let max_turns = fields.get("max_turns").and_then(|value| self.count(&at("max_turns"), value));
        let max_tool_calls = fields.get("max_tool_calls").and_then(|value| self.count(&at("max_tool_calls"), value));
        Some(DraftAgent {
            prompt,
            tools: self.tools(&at("tools"), fields.get("tools")),
            max_turns: max_turns.unwrap_or(DEFAULT_MAX_TURNS),
            max_tool_calls: max_tool_calls.unwrap_or(DEFAULT_MAX_TOOL_CALLS),
            budget: fields.get("budget").and_then(|value| self.budget(&at("budget"), value)),
            parallel: self.flag(&at("parallel"), fields.get("parallel"), true),
            answer_schema,
            approval_timeout_ms: fields
                .get("approval_timeout")
                .and_then(|value| self.duration(&at("approval_timeout"), value)),
        })
    }

    /// A value of the right type, or a template that may give one.
    fn prompt_field(&mut self, path: &str, field: &str, value: &Value) {
        let fits = match field {
            // Both have been looked at as what has to be there.
            "goal" | "model" => true,
            "max_tokens" => value.as_u64().is_some_and(|tokens| (1..=u64::from(u32::MAX)).contains(&tokens)),
            "temperature" => value.as_f64().is_some_and(|temperature| temperature >= 0.0),
            "options" => value.is_object(),
            _ => value.is_string(),
        };
        let expected = match field {
            "max_tokens" => "a number of tokens from 1",
            "temperature" => "a number from 0",
            "options" => "an object",
            _ => "a string",
        };
        if !fits && !value.as_str().is_some_and(|text| text.contains("{{")) {
            self.wrong_value(path, value, expected);
        }
    }

    fn tools(&mut self, path: &str, value: Option<&Value>) -> Vec<DraftTool> {
        let items = match value {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong_value(path, other, "an array of tools");
                return Vec::new();
            }
        };
        let mut tools: Vec<DraftTool> = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let Some(tool) = self.tool(&format!("{path}/{place}"), place, item) else { continue };
            if tools.iter().any(|other| other.name == tool.name) {
                let expected = "a name that no other tool of the agent has: say it in `name`";
                self.wrong(&format!("{path}/{place}"), &format!("the tool name {:?} again", tool.name), expected);
            }
            tools.push(tool);
        }
        tools
    }

    fn tool(&mut self, path: &str, place: usize, value: &Value) -> Option<DraftTool> {
        let draft = |requirement: &str, place: String| DraftTool {
            place,
            requirement: requirement.to_owned(),
            name: default_name(requirement.split('@').next().unwrap_or_default()),
            description: None,
            approve: false,
            params: None,
        };
        let fields = match value {
            Value::String(requirement) => return Some(draft(requirement, format!("tools/{place}"))),
            Value::Object(fields) => fields,
            other => {
                self.wrong_value(path, other, "a tool: a skill such as \"http_call@^1\", or an object with `skill`");
                return None;
            }
        };
        self.known_fields(path, fields, &TOOL_FIELDS);
        let mut tool = draft(self.required_text(path, fields, "skill")?, format!("tools/{place}/skill"));
        if let Some(name) = self.optional_text(path, fields, "name") {
            name.clone_into(&mut tool.name);
            if !is_name(name) {
                self.wrong(&format!("{path}/name"), &format!("{name:?}"), "1 to 64 letters, digits, '_' or '-'");
            }
        }
        tool.description = self.optional_text(path, fields, "description").map(str::to_owned);
        tool.approve = self.flag(&format!("{path}/approve"), fields.get("approve"), false);
        match fields.get("params") {
            None => {}
            Some(Value::Object(params)) => tool.params = Some((format!("tools/{place}/params"), params.clone())),
            Some(other) => {
                let expected = "an object: which properties are set has to be known beforehand";
                self.wrong_value(&format!("{path}/params"), other, expected);
            }
        }
        Some(tool)
    }

    fn flag(&mut self, path: &str, value: Option<&Value>, default: bool) -> bool {
        match value {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.wrong_value(path, other, "true or false");
                default
            }
        }
    }
}
