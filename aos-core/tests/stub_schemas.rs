//! What the stub makes up for a JSON Schema, judged by an independent validator.

#![allow(clippy::expect_used, reason = "helpers of tests say what must hold by panicking")]

use aos_core::llm::{Content, LlmRequest, StubAdapter, Tool};
use aos_core::random::Seed;
use serde_json::Value;

const SEEDS: u64 = 25;

fn schemas() -> Vec<(String, Value)> {
    let rows: Vec<Value> = serde_json::from_str(include_str!("vectors/schemas.json")).expect("the schemas are JSON");
    rows.into_iter().map(|row| (row["name"].as_str().expect("a name").to_owned(), row["schema"].clone())).collect()
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::options().should_validate_formats(true).build(schema).expect("a JSON Schema")
}

#[test]
fn answers_conform() {
    let schemas = schemas();
    assert!(schemas.len() >= 60, "{}", schemas.len());
    for (name, schema) in schemas {
        let validator = validator(&schema);
        let mut request = LlmRequest::new("m", "go");
        request.max_tokens = 100_000;
        request.response_schema = Some(schema);
        for seed in 0..SEEDS {
            let answer =
                StubAdapter::answer(&request, Seed::new(seed)).unwrap_or_else(|failure| panic!("{name}: {failure}"));
            let value: Value = serde_json::from_str(&answer.text()).unwrap();
            if let Err(error) = validator.validate(&value) {
                panic!("{name}, seed {seed}: {error}\n{value}");
            }
        }
    }
}

#[test]
fn tool_inputs_conform() {
    for (name, schema) in schemas() {
        let validator = validator(&schema);
        let mut request = LlmRequest::new("m", "go");
        request.tools = vec![Tool { name: "tool".into(), description: String::new(), input_schema: schema }];
        let answer = StubAdapter::answer(&request, Seed::new(3)).unwrap();
        let [Content::ToolUse { input, .. }] = &answer.content[..] else { panic!("{name}: {answer:?}") };
        assert!(validator.is_valid(input), "{name}: {input}");
    }
}

#[test]
fn answers_differ_with_the_seed() {
    let mut alike = Vec::new();
    for (name, schema) in schemas() {
        let mut request = LlmRequest::new("m", "go");
        request.max_tokens = 100_000;
        request.response_schema = Some(schema);
        let answer = |seed| StubAdapter::answer(&request, Seed::new(seed)).unwrap().text();
        let first = answer(0);
        if (1..SEEDS).all(|seed| answer(seed) == first) {
            alike.push(name);
        }
    }
    // Schemas that allow one value only, or two of which one is preferred.
    let expected = [
        "const",
        "empty text",
        "enum within a type",
        "escaped reference",
        "integer, exclusive",
        "not a value",
        "null",
        "object",
        "pattern: somewhere",
        "tenths",
    ];
    alike.sort_unstable();
    assert_eq!(alike, expected);
}
