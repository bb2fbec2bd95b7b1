//! The built-in skills keep the schemas of their contracts.

#![cfg(all(feature = "jsonpath", feature = "jsonschema"))]
#![allow(clippy::expect_used, reason = "helpers of tests say what must hold by panicking")]

use std::sync::Arc;

use aos_core::id::{EffectId, RunId, TenantId};
use aos_core::llm::{Adapters, StubAdapter};
use aos_core::random::Seed;
use aos_core::skill::schema::{ContractSchemas, JsonSchemas};
use aos_core::skill::{Skill, SkillCall, builtin};
use aos_core::{Payload, codes};
use serde_json::{Value, json};

fn skill(name: &str) -> Arc<dyn Skill> {
    let adapters = Adapters::new(Arc::default()).with(Arc::new(StubAdapter));
    let all = builtin::all(Arc::new(adapters));
    assert_eq!(all.len(), 3);
    all.into_iter().find(|skill| skill.contract().version.to_string() == name).expect("a built-in skill")
}

fn call(input: Payload) -> SkillCall {
    SkillCall {
        run: RunId::new("r").expect("a run id"),
        tenant: TenantId::default(),
        workflow: None,
        api_key: None,
        trace: None,
        effect: EffectId::new("e").expect("an effect id"),
        attempt: 1,
        idempotency_key: "k".into(),
        input,
        seed: Seed::new(1),
        deadline: None,
    }
}

#[test]
fn inputs_and_outputs_fit() {
    let tools = json!([{"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}]);
    let table: [(&str, Value); 9] = [
        ("echo@1.0.0", json!([1, {"a": null}])),
        ("json_transform@1.0.0", json!({"input": [[1]], "ops": [{"op": "flatten"}, {"op": "sort", "order": "desc"}]})),
        (
            "json_transform@1.0.0",
            json!({"input": {"a": 1}, "ops": [{"op": "omit", "paths": ["$.a"]}, {"op": "merge", "with": {"b": 1}}]}),
        ),
        (
            "json_transform@1.0.0",
            json!({"input": {"a": [{"b": 1}]}, "ops": [
                {"op": "filter", "at": "$.a", "where": "@.b"}, {"op": "map", "at": "$.a", "path": "$.b"},
                {"op": "map", "at": "$.a", "fields": {"x": "$"}}, {"op": "pick", "paths": ["$.a"]},
                {"op": "sort", "at": "$.a", "by": [{"path": "$.x"}]}, {"op": "extract", "path": "$.z", "one": true, "default": null}
            ]}),
        ),
        ("llm_invoke@1.0.0", json!({"model": "m", "prompt": "hi"})),
        (
            "llm_invoke@1.0.0",
            json!({"model": "m", "prompt": "hi", "response_schema": {"type": "integer"}, "adapter": "stub"}),
        ),
        (
            "llm_invoke@1.0.0",
            json!({"model": "m", "prompt": "hi", "tools": tools, "tool_choice": {"type": "tool", "name": "add"}}),
        ),
        (
            "llm_invoke@1.0.0",
            json!({"model": "m", "system": "be brief", "max_tokens": 3, "messages": [{"role": "user", "content": "hi"}]}),
        ),
        (
            "llm_invoke@1.0.0",
            json!({"model": "m", "temperature": 0.5, "stop_sequences": ["x"], "metadata": {"u": "1"}, "options": {"effort": "low"},
            "system": [{"type": "text", "text": "s", "cache": "5m"}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "document", "any": 1}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "add", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "2"}]}
            ]}),
        ),
    ];
    for (name, input) in table {
        let skill = skill(name);
        let schemas = ContractSchemas::new(&JsonSchemas::new(), skill.contract()).expect("the schemas compile");
        let input = Payload::new(input).expect("canonical");
        schemas.check_input(&input).unwrap_or_else(|failure| panic!("{name} {input}: {failure}"));
        let output = pollster::block_on(skill.call(call(input))).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        schemas.check_output(&output.output).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}

#[test]
fn bad_inputs_are_named_by_the_schemas() {
    for (name, input) in [
        ("llm_invoke@1.0.0", json!({"prompt": "hi"})),
        ("llm_invoke@1.0.0", json!({"model": "m"})),
        ("llm_invoke@1.0.0", json!({"model": "m", "prompt": "hi", "messages": [{"role": "user", "content": ""}]})),
        ("llm_invoke@1.0.0", json!({"model": "m", "prompt": "hi", "max_tokens": 0})),
        ("llm_invoke@1.0.0", json!({"model": "m", "prompt": "hi", "schema": {}})),
        ("json_transform@1.0.0", json!({"input": 1})),
        ("json_transform@1.0.0", json!({"input": 1, "ops": [{"op": "nope"}]})),
        ("json_transform@1.0.0", json!({"input": 1, "ops": [{"op": "omit", "paths": ["a"]}]})),
    ] {
        let schemas = ContractSchemas::new(&JsonSchemas::new(), skill(name).contract()).expect("the schemas compile");
        let failure = schemas.check_input(&Payload::new(input.clone()).expect("canonical")).expect_err("a bad input");
        assert_eq!(failure.code, codes::INVALID_INPUT, "{input}");
    }
}
