//! What is refused, and how; and that its neighbour is not.

use serde_json::{Value, json};

use super::super::model::Model;
use super::{NEWEST, messages, version};

/// The answer to a small request with these fields in place of its own; a null takes a field away.
fn answer(version: &str, fields: &Value) -> Result<(), (u16, String)> {
    let models = Model::known();
    let mut body =
        json!({"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]});
    for (field, value) in fields.as_object().unwrap() {
        body[field] = value.clone();
    }
    body.as_object_mut().unwrap().retain(|field, value| !value.is_null() || !fields[field].is_null());
    let found = messages(&body, version, false, |id| models.iter().find(|model| model.id == id));
    found.map(|_| ()).map_err(|error| (error.status, error.message))
}

fn old(fields: &Value) -> Result<(), (u16, String)> {
    answer("2023-06-01", fields)
}

fn user(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

fn assistant(content: Value) -> Value {
    json!({"role": "assistant", "content": content})
}

fn tool_use(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "search", "input": {}})
}

fn tool_result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "found"})
}

fn tool(schema: Value) -> Value {
    json!({"name": "search", "input_schema": schema})
}

fn format(schema: Value) -> Value {
    json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}})
}

#[test]
fn what_is_wrong_is_said_in_the_api_s_words() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let marked = json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}});
    let opus = |fields: Value| {
        let mut fields = fields;
        fields["model"] = "claude-opus-5-5".into();
        fields
    };
    let cases: Vec<(Value, &str)> = vec![
        (json!({"model": null}), "model: Field required"),
        (json!({"max_tokens": null}), "max_tokens: Field required"),
        (json!({"messages": null}), "messages: Field required"),
        (json!({"max_token": 1}), "max_token: Extra inputs are not permitted"),
        (json!({"max_tokens": "1"}), "max_tokens: Input should be a valid integer"),
        (json!({"max_tokens": -1}), "max_tokens: Input should be greater than or equal to 0"),
        (
            json!({"max_tokens": 64_001}),
            "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for claude-sonnet-4-5",
        ),
        (json!({"stream": "yes"}), "stream: Input should be a valid boolean"),
        (json!({"messages": "Hi"}), "messages: Input should be a valid list"),
        (json!({"messages": []}), "messages: at least one message is required"),
        (json!({"messages": [{"role": "user"}]}), "messages.0.content: Field required"),
        (
            json!({"messages": [{"role": "bot", "content": "x"}]}),
            "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        ),
        (json!({"messages": [assistant("Hi".into())]}), "messages: first message must use the \"user\" role"),
        (json!({"messages": [user("".into())]}), "messages.0: user messages must have non-empty content"),
        (
            json!({"messages": [user("a".into()), assistant(json!([])), user("b".into())]}),
            "messages.1: all messages must have non-empty content except for the optional final assistant message",
        ),
        (json!({"messages": [user(json!([text("")]))]}), "messages: text content blocks must be non-empty"),
        (
            json!({"messages": [user(json!([text(" \n")]))]}),
            "messages: text content blocks must contain non-whitespace text",
        ),
        (json!({"messages": [user(json!([{"text": "x"}]))]}), "messages.0.content.0.type: Field required"),
        (json!({"messages": [user(json!([{"type": "text"}]))]}), "messages.0.content.0.text.text: Field required"),
        (
            json!({"messages": [user(json!([{"type": "sound"}]))]}),
            "messages.0.content.0: Input tag 'sound' found using 'type' does not match any of the expected tags: 'text', ",
        ),
        (
            json!({"messages": [user(json!([tool_use("a")]))]}),
            "messages.0: `tool_use` blocks can only be in `assistant` messages",
        ),
        (
            json!({"messages": [user("a".into()), assistant("b ".into())]}),
            "messages: final assistant content cannot end with trailing whitespace",
        ),
        (
            opus(json!({"messages": [user("a".into()), assistant("b".into())]})),
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        ),
        (
            json!({"messages": [user("a".into()), assistant(json!([tool_use("t1"), tool_use("t2")])), user("b".into())]}),
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1, t2. Each `tool_use` \
             block must have a corresponding `tool_result` block in the next message.",
        ),
        (
            json!({"messages": [user("a".into()), assistant(json!([tool_use("t1")]))]}),
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1.",
        ),
        (
            json!({"messages": [user(json!([text("a"), tool_result("t1")]))]}),
            "messages.0.content.1: unexpected `tool_use_id` found in `tool_result` blocks: t1. Each `tool_result` block \
             must have a corresponding `tool_use` block in the previous message.",
        ),
        (
            json!({"messages": [user("a".into()), assistant(json!([tool_use("t1"), tool_use("t1")]))]}),
            "messages: `tool_use` ids must be unique",
        ),
        (json!({"system": 1}), "system: Input should be a valid list"),
        (json!({"system": [{"type": "image"}]}), "system.0.type: Input should be 'text'"),
        (
            json!({"messages": [user(json!([marked, marked, marked, marked, marked]))]}),
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
        (json!({"cache_control": {"type": "lasting"}}), "cache_control.type: Input should be 'ephemeral'"),
        (
            json!({"cache_control": {"type": "ephemeral", "ttl": "1d"}}),
            "cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
        ),
        (json!({"tools": [{"input_schema": {"type": "object"}}]}), "tools.0.custom.name: Field required"),
        (
            json!({"tools": [{"name": "two words", "input_schema": {"type": "object"}}]}),
            "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
        ),
        (json!({"tools": [{"name": "a"}]}), "tools.0.custom.input_schema: Field required"),
        (json!({"tools": [tool(json!({}))]}), "tools.0.custom.input_schema.type: Field required"),
        (
            json!({"tools": [tool(json!({"type": "array"}))]}),
            "tools.0.custom.input_schema.type: Input should be 'object'",
        ),
        (
            json!({"tools": [tool(json!({"type": "object", "properties": {"a": {"type": "text"}}}))]}),
            "tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12",
        ),
        (
            json!({"tools": [tool(json!({"type": "object"})), tool(json!({"type": "object"}))]}),
            "tools: Tool names must be unique.",
        ),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice may only be specified while providing tools."),
        (
            json!({"tools": [tool(json!({"type": "object"}))], "tool_choice": {"type": "tool", "name": "find"}}),
            "Tool 'find' not found in provided tools",
        ),
        (
            opus(json!({"tools": [tool(json!({"type": "object"}))], "tool_choice": {"type": "any"}})),
            r#"tool_choice: type "tool" and "any" are not supported for this model."#,
        ),
        (
            json!({
                "tools": [tool(json!({"type": "object"}))], "tool_choice": {"type": "any"}, "max_tokens": 2_000,
                "thinking": {"type": "enabled", "budget_tokens": 1_024}
            }),
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        (json!({"temperature": 1.5}), "temperature: range: 0..1"),
        (
            json!({"temperature": 0.5, "top_p": 0.5}),
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        ),
        (opus(json!({"temperature": 0.5})), "`temperature` is deprecated for this model."),
        (opus(json!({"top_k": 5})), "`top_k` is deprecated for this model."),
        (json!({"stop_sequences": [" "]}), "stop_sequences: each stop sequence must contain non-whitespace"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1_023}, "max_tokens": 2_000}),
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (json!({"thinking": {"type": "enabled"}}), "thinking.enabled.budget_tokens: Field required"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 1_024}),
            "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at ",
        ),
        (
            json!({
                "thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000, "model": "claude-sonnet-4-6",
                "temperature": 0.3
            }),
            "`temperature` may only be set to 1 when thinking is enabled",
        ),
        (json!({"thinking": {"type": "adaptive"}}), "adaptive thinking is not supported on this model"),
        (
            opus(json!({"thinking": {"type": "disabled"}})),
            r#""thinking.type.disabled" is not supported for this model."#,
        ),
        (
            opus(json!({"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000})),
            r#""thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "#,
        ),
        (
            json!({"output_config": {"effort": "little"}}),
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        ),
        (json!({"output_config": {"effort": "low"}}), "This model does not support the effort parameter."),
        (format(json!({"type": "text"})), "output_config.format.schema: Invalid schema"),
        (
            format(json!({"type": "array", "items": {"type": "object"}})),
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        ),
        (json!({"service_tier": "first"}), "service_tier: Input should be 'auto' or 'standard_only'"),
        (json!({"metadata": {"user_id": 1}}), "metadata.user_id: Input should be a valid string"),
        (json!({"messages": [user("x".repeat(800_000).into())]}), "prompt is too long: 200008 tokens > 200000 maximum"),
    ];
    for (fields, begins) in cases {
        let (status, message) = old(&fields).expect_err(begins);
        assert_eq!(status, 400, "{message}");
        assert!(message.starts_with(begins), "expected: {begins}\nfound:    {message}");
    }
    let (status, message) = old(&json!({"model": "claude-none"})).unwrap_err();
    assert_eq!((status, message.as_str()), (404, "model: claude-none"));
}

#[test]
fn the_newest_version_has_no_sampling_and_stricter_blocks() {
    let document = json!([{"type": "document", "source": {"type": "text"}}]);
    let cited = json!([{"type": "text", "text": "x", "citations": [{}]}]);
    for (fields, begins) in [
        (json!({"temperature": 1}), "temperature: Extra inputs are not permitted"),
        (json!({"top_p": 0.99}), "top_p: Extra inputs are not permitted"),
        (json!({"top_k": 1}), "top_k: Extra inputs are not permitted"),
        (
            json!({"messages": [user("a".into()), assistant(document), user("b".into())]}),
            "messages.1.content.0: `document` blocks are not permitted in `assistant` messages",
        ),
        (json!({"messages": [user(cited)]}), "messages.0.content.0.text.citations: Extra inputs are not permitted"),
    ] {
        assert_eq!(answer(NEWEST, &fields).unwrap_err(), (400, begins.to_owned()));
        assert_eq!(old(&fields), Ok(()), "{begins}");
    }
}

#[test]
fn what_is_right_passes() {
    let tools = json!([tool(json!({"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}))]);
    for fields in [
        json!({}),
        json!({"max_tokens": 0}),
        json!({"messages": [user("a".into()), user("b".into()), assistant("c".into()), user("d".into())]}),
        json!({"messages": [user("a".into()), assistant("b".into())]}),
        json!({"messages": [
            user("a".into()), assistant(json!([tool_use("t1"), tool_use("t2")])),
            user(json!([tool_result("t2"), tool_result("t1")]))
        ]}),
        json!({"messages": [user("a".into()), json!({"role": "system", "content": "be short"}), user("b".into())]}),
        json!({"system": "x", "tools": tools, "tool_choice": {"type": "tool", "name": "search"}}),
        json!({"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}),
        json!({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}),
        json!({"temperature": 0.5, "stop_sequences": ["x"], "metadata": {"user_id": "u"}, "service_tier": "auto"}),
        json!({"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000}),
        json!({"model": "claude-opus-5-5", "thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}),
        json!({"model": "claude-opus-5-5", "temperature": 1.0}),
        format(json!({"type": "object", "properties": {}, "additionalProperties": false})),
    ] {
        assert_eq!(old(&fields), Ok(()), "{fields}");
    }
}

#[test]
fn counting_needs_no_max_tokens() {
    let models = Model::known();
    let body = json!({"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "Hi"}]});
    let find = |id: &str| models.iter().find(|model| model.id == id);
    let (model, tokens) = messages(&body, NEWEST, true, find).unwrap();
    assert_eq!((model.id.as_str(), tokens), ("claude-opus-5-5", 8));
    assert_eq!(messages(&json!([]), NEWEST, true, find).unwrap_err().status, 400);
}

#[test]
fn versions() {
    assert_eq!(version(None).unwrap_err().message, "anthropic-version: header is required");
    assert_eq!(version(Some("2026-10-21")), Ok("2026-10-21"));
    assert_eq!(version(Some("2020-01-01")).unwrap_err().status, 400);
}
