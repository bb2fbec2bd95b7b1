//! The JSON Schema of definitions, for editors and for whoever generates definitions.

use serde_json::{Value, json};

/// The JSON Schema (2020-12) of workflow definitions. It says what shape a definition has; [`Definition`] checks more
/// (expressions, references, circles).
///
/// [`Definition`]: crate::workflow::Definition
pub fn definition_schema() -> Value {
    let duration = json!({
        "description": "Milliseconds, or a number with ms, s, m, h or d.",
        "oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}],
    });
    let requirement = json!({
        "type": "string",
        "description": "A name with a version requirement: http_call, http_call@^1, http_call@1.2.0.",
    });
    let expression = json!({"type": "string", "description": "A Jinja expression, with or without {{ }} around it."});
    let count = json!({"type": "integer", "minimum": 1, "maximum": 100_000});
    let money = json!({
        "description": "US dollars.",
        "oneOf": [{"type": "string", "pattern": r"^\d+(\.\d{1,12})?$"}, {"type": "integer", "minimum": 0}],
    });
    let retry = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "max_attempts": {"type": "integer", "minimum": 1, "maximum": 1_000},
            "initial_ms": {"type": "integer", "minimum": 0},
            "factor": {"type": "integer", "minimum": 0},
            "max_ms": {"type": "integer", "minimum": 0},
            "jitter_percent": {"type": "integer", "minimum": 0, "maximum": 100},
            "on": {"type": "array", "items": {"type": "string"}},
        },
    });
    let step = json!({
        "type": "object",
        "required": ["id"],
        "additionalProperties": false,
        "oneOf": [
            {"required": ["skill"]}, {"required": ["workflow"]}, {"required": ["signal"]}, {"required": ["sleep"]},
            {"required": ["agent"]}, {"required": ["set"]},
        ],
        "properties": {
            "id": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$"},
            "description": {"type": "string"},
            "skill": requirement,
            "workflow": requirement,
            "signal": {"type": "string", "minLength": 1, "maxLength": 64},
            "sleep": duration,
            "agent": agent_schema(&requirement, &duration, &count, &money),
            "set": {"description": "A template: its value is the step's output."},
            "params": {"description": "A template: the input of the skill or workflow."},
            "needs": {"type": "array", "items": {"type": "string"}},
            "if": {"oneOf": [expression, {"type": "boolean"}]},
            "for_each": {"oneOf": [expression, {"type": "array"}]},
            "concurrency": count,
            "repeat": {
                "type": "object",
                "required": ["until", "max"],
                "additionalProperties": false,
                "properties": {"until": expression, "max": count, "pause": duration},
            },
            "retry": retry,
            "timeout": duration,
            "on_error": {
                "oneOf": [
                    {"enum": ["fail", "continue"]},
                    {"type": "object", "required": ["fallback"], "additionalProperties": false, "properties": {"fallback": true}},
                ],
            },
        },
    });
    let limit = json!({"type": "integer", "minimum": 0});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "AOS workflow definition",
        "type": "object",
        "required": ["id", "steps"],
        "additionalProperties": false,
        "properties": {
            "id": {"type": "string", "pattern": "^[a-z][a-z0-9_.-]{0,63}$"},
            "version": {"type": "string", "description": "A semantic version; 1.0.0 when absent."},
            "description": {"type": "string"},
            "input": {"type": ["object", "boolean"], "description": "JSON Schema of the input."},
            "budget": money,
            "limits": {
                "type": "object",
                "additionalProperties": false,
                "properties": {"entries": limit, "in_flight": limit, "payload_bytes": limit, "child_depth": limit},
            },
            "steps": {"type": "array", "minItems": 1, "maxItems": 1_000, "items": step},
            "output": {"description": "A template: the run's output; an object of all steps' outputs when absent."},
        },
    })
}

/// The schema of a step's `agent`.
fn agent_schema(requirement: &Value, duration: &Value, count: &Value, money: &Value) -> Value {
    let template = json!({"type": "string", "description": "A template of a text."});
    let tool = json!({
        "type": "object",
        "required": ["skill"],
        "additionalProperties": false,
        "properties": {
            "skill": requirement,
            "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$", "description": "What the model calls it; the skill's id when absent."},
            "description": {"type": "string", "description": "What the model is told of it; the skill's description when absent."},
            "params": {"type": "object", "description": "Templates of properties that the model neither sees nor gives."},
            "approve": {"type": "boolean", "description": "Ask a person before each call."},
        },
    });
    json!({
        "type": "object",
        "description": "A model that calls tools until it has an answer.",
        "required": ["goal", "model"],
        "additionalProperties": false,
        "properties": {
            "goal": template,
            "system": template,
            "model": template,
            "adapter": template,
            "max_tokens": {"type": ["integer", "string"], "minimum": 1, "description": "Of one turn."},
            "temperature": {"type": ["number", "string"], "minimum": 0},
            "options": {"type": ["object", "string"], "description": "Parameters of the provider, passed on as they are."},
            "tools": {"type": "array", "items": {"oneOf": [requirement, tool]}},
            "max_turns": count,
            "max_tool_calls": count,
            "budget": money,
            "parallel": {"type": "boolean"},
            "answer_schema": {"type": ["object", "boolean"], "description": "JSON Schema of the final answer."},
            "approval_timeout": duration,
        },
    })
}
