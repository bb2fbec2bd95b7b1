//! JSON Schemas of the skill's input and output.

use serde_json::{Value, json};

use super::input::DEFAULT_MAX_TOKENS;

/// One block, as [`Content`] reads it: those types strictly, others as they are.
fn block_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string", "description": "text, image, tool_use, tool_result, thinking, or another type that the provider knows."}}
    })
}

pub(super) fn input_schema() -> Value {
    let content = json!({
        "description": "A text, or a list of blocks.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/block"}}]
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["model"],
        "oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
        "properties": {
            "adapter": {"type": "string", "description": "Which adapter to use; the host's default when it is not given."},
            "model": {"type": "string", "minLength": 1, "description": "The provider's name of the model."},
            "prompt": {"type": "string", "description": "The question, in place of `messages`."},
            "messages": {
                "type": "array",
                "minItems": 1,
                "description": "The conversation so far, oldest first, in place of `prompt`.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["role", "content"],
                    "properties": {"role": {"enum": ["user", "assistant"]}, "content": content}
                }
            },
            "system": content,
            "tools": {
                "type": "array",
                "description": "What the model may ask to be called.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name", "input_schema"],
                    "properties": {
                        "name": {"type": "string", "minLength": 1},
                        "description": {"type": "string"},
                        "input_schema": {"type": ["object", "boolean"], "description": "JSON Schema of the tool's input."}
                    }
                }
            },
            "tool_choice": {
                "type": "object",
                "additionalProperties": false,
                "required": ["type"],
                "description": "Whether the model may (auto), must (any, tool) or must not (none) ask for a tool.",
                "properties": {"type": {"enum": ["auto", "any", "none", "tool"]}, "name": {"type": "string"}}
            },
            "response_schema": {
                "type": ["object", "boolean"],
                "description": "JSON Schema of the answer; the output has it parsed under `json`."
            },
            "max_tokens": {"type": "integer", "minimum": 1, "maximum": u32::MAX, "default": DEFAULT_MAX_TOKENS},
            "temperature": {"type": "number", "minimum": 0},
            "stop_sequences": {"type": "array", "items": {"type": "string"}},
            "options": {"type": "object", "description": "Parameters of one provider, passed on as they are."},
            "fallback": {
                "type": "array",
                "maxItems": 8,
                "description": "Whom to ask instead, one after the other, when a provider or its limits give no answer: another model, another adapter, or the stub. What is not given stays as it was.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "anyOf": [{"required": ["adapter"]}, {"required": ["model"]}],
                    "properties": {
                        "adapter": {"type": "string"},
                        "model": {"type": "string", "minLength": 1},
                        "options": {"type": "object", "description": "In place of the first one's."}
                    }
                }
            },
            "cache": {
                "type": "object",
                "additionalProperties": false,
                "required": ["ttl_s"],
                "description": "Take an answer that the same request got before, if it is not older than this; such an answer costs nothing. Equal requests under way at one time share one answer.",
                "properties": {"ttl_s": {"type": "integer", "minimum": 1, "maximum": 2_592_000}}
            },
            "stream": {"type": "boolean", "default": false, "description": "Show the answer while it is being written to those who watch the run. Once a part was shown, the call is not made again if it fails."},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Facts for the provider's records."}
        },
        "$defs": {"block": block_schema()}
    })
}

pub(super) fn output_schema() -> Value {
    let tokens = json!({"type": "integer", "minimum": 0});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["text", "content", "tool_calls", "stop_reason", "usage", "model", "adapter", "cost"],
        "properties": {
            "text": {"type": "string", "description": "All text of the answer."},
            "json": {"description": "The answer parsed, when a `response_schema` was asked for and no tool is called."},
            "content": {"type": "array", "items": block_schema(), "description": "The answer's blocks, to be sent back as the content of an assistant's message."},
            "tool_calls": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["id", "name", "input"],
                    "properties": {"id": {"type": "string"}, "name": {"type": "string"}, "input": {}}
                }
            },
            "stop_reason": {"type": "string", "description": "end_turn, max_tokens, stop_sequence, tool_use, pause_turn, or the provider's word."},
            "usage": {
                "type": "object",
                "additionalProperties": false,
                "required": ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"],
                "properties": {
                    "input_tokens": tokens, "output_tokens": tokens, "cache_read_tokens": tokens, "cache_write_tokens": tokens,
                    "cache_write_1h_tokens": tokens
                }
            },
            "model": {"type": "string", "description": "The model that answered."},
            "adapter": {"type": "string", "description": "The adapter that carried the answer."},
            "cached": {"const": true, "description": "There, and true, when the answer was kept from an earlier call: then it has cost nothing, and `usage` is that call's."},
            "tried": {
                "type": "array",
                "description": "Who was asked before and gave no answer.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["adapter", "model", "code"],
                    "properties": {
                        "adapter": {"type": ["string", "null"], "description": "Null for the host's default."},
                        "model": {"type": "string"},
                        "code": {"type": "string"},
                        "cost": {"type": "string"}
                    }
                }
            },
            "cost": {"type": ["string", "null"], "description": "US dollars as a decimal string; null when nobody can tell."},
            "price": {
                "type": "object",
                "additionalProperties": false,
                "required": ["book", "from"],
                "description": "The price that the cost was computed by; not there when it was not by a price book.",
                "properties": {
                    "book": {"type": "string", "description": "SHA-256 of the price book."},
                    "from": {"type": "string", "description": "The day from which on the price holds."},
                    "up_to": {"type": "integer", "minimum": 1, "description": "The longest prompt it is for, in tokens; any when it is not there."}
                }
            }
        }
    })
}
