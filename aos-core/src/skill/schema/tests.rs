//! Checking payloads by JSON Schema.

use serde_json::{Value, json};

use super::*;
use crate::registry::Registry;
use crate::skill::{SkillOutput, SkillSource, TypedSkill};
use crate::time::Timestamp;

fn mistakes(schema: Value, value: Value) -> Vec<(String, String, String)> {
    let compiled = JsonSchemas::new().compile(&schema).unwrap();
    compiled.check(&value).into_iter().map(|m| (m.path, m.found, m.expected)).collect()
}

#[test]
fn every_mistake_is_reported_with_place_found_and_expected() {
    let schema = json!({
        "type": "object",
        "properties": {
            "url": {"type": "string", "pattern": "^https?://"},
            "retries": {"type": "integer", "minimum": 0, "maximum": 5},
            "mode": {"enum": ["fast", "slow"]},
            "tags": {"type": "array", "items": {"type": ["string", "null"]}, "uniqueItems": true},
            "body": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["text"]}]}
        },
        "required": ["url", "id"],
        "additionalProperties": false
    });
    let value = json!({"url": "ftp://x", "retries": 9, "mode": "quick", "tags": ["a", 1, "a"], "body": {}, "moed": 1});
    let found = mistakes(schema, value);
    let seen: Vec<String> = found.iter().map(|(path, found, wanted)| format!("{path}: {found}: {wanted}")).collect();
    assert_eq!(
        seen,
        [
            "/body: an object with 0 properties: either a string or the property \"text\"",
            "/id: nothing: this property, which is required",
            "/mode: \"quick\": one of \"fast\", \"slow\"",
            "/moed: 1: no property of this name (did you mean \"mode\"?)",
            "/retries: 9: 5 or less",
            "/tags: an array of 3 items: items that all differ",
            "/tags/1: 1: null or a string",
            "/url: \"ftp://x\": a text that matches ^https?://",
        ]
    );
}

#[test]
fn bad_schemas_are_refused_with_their_place() {
    let doubling: Value = (0..60).fold(json!({"$defs": {"d60": {}}}), |mut schema, n| {
        let next = format!("#/$defs/d{}", n + 1);
        schema["$defs"][format!("d{n}")] = json!({"allOf": [{"$ref": next}, {"$ref": next}]});
        schema["$ref"] = json!("#/$defs/d0");
        schema
    });
    for (schema, part) in [
        (json!({"type": "strnig"}), "at /type"),
        (json!({"properties": {"a": {"minimum": "1"}}}), "at /properties/a/minimum: expected a number"),
        (json!({"pattern": "("}), "/pattern"),
        (json!({"pattern": "(?=a)b"}), "/pattern"),
        (json!({"pattern": "(a{1000}){1000}{1000}"}), "/pattern"),
        (json!({"$ref": "https://example.com/s.json"}), "leads out of the document"),
        (json!({"$ref": "file:///etc/passwd"}), "leads out of the document"),
        (json!({"items": {"$ref": "other.json#/a"}}), "at /items/$ref"),
        (json!({"$ref": "#/$defs/missing"}), "leads nowhere"),
        (json!({"$ref": "#"}), "leads back to itself"),
        (json!({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}), "leads back to itself"),
        (json!({"properties": {"a": {"$id": "http://x/"}}}), "/properties/a/$id"),
        (json!({"$dynamicRef": "#a"}), "`$dynamicRef` is not supported"),
        (doubling, "use fewer references"),
        (chain(5_000, |next| json!({"$ref": next})), "more than 200 references"),
        (chain(5_000, |next| json!({"properties": {"a": {"$ref": next}}})), "more than 200 references"),
        (json!(7), "not a usable JSON Schema"),
        (json!({"$schema": "https://example.com/mine"}), "not a usable JSON Schema"),
    ] {
        let failure = JsonSchemas::new().compile(&schema).map(drop).unwrap_err();
        assert_eq!(failure.code, codes::INVALID_DEFINITION, "{schema}");
        assert!(failure.message.contains(part), "{schema}: {}", failure.message);
    }
}

/// Definitions that each refer to the next one.
fn chain(length: usize, link: impl Fn(String) -> Value) -> Value {
    let mut definitions: serde_json::Map<String, Value> =
        (0..length).map(|n| (format!("d{n}"), link(format!("#/$defs/d{}", n + 1)))).collect();
    definitions.insert(format!("d{length}"), json!({"type": "integer"}));
    json!({"$defs": definitions, "$ref": "#/$defs/d0"})
}

#[test]
fn long_chains_of_references_are_followed_up_to_the_bound() {
    let schema = chain(199, |next| json!({"$ref": next}));
    assert_eq!(mistakes(schema, json!("x"))[0].2, "an integer");
    let schema = chain(199, |next| json!({"properties": {"a": {"$ref": next}}}));
    let value = (0..100).fold(json!(1), |value, _| json!({"a": value}));
    assert!(mistakes(schema, value).is_empty());
}

#[test]
fn recursive_schemas_and_names_like_keywords_are_fine() {
    let tree = json!({"$id": "https://example.com/tree", "$defs": {"node": {"type": "object", "properties": {
        "$ref": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}},
        "$ref": "#/$defs/node"});
    assert!(mistakes(tree.clone(), json!({"$ref": 1, "children": [{"children": []}]})).is_empty());
    assert_eq!(
        mistakes(tree, json!({"children": [{"children": [{"$ref": "x"}]}]}))[0].0,
        "/children/0/children/0/$ref"
    );
}

#[test]
fn checks_of_large_and_hostile_values_stay_small() {
    let items = json!({"items": {"type": "string"}});
    assert_eq!(mistakes(items.clone(), json!(vec![1; 1_000])).len(), MAX_MISTAKES);
    assert_eq!(mistakes(items, json!(vec![1; 100_000])).len(), 1);
    // A pattern that takes exponential time to match with backtracking.
    assert_eq!(mistakes(json!({"pattern": "^(a+)+$"}), json!(format!("{}!", "a".repeat(50_000)))).len(), 1);
    let long = mistakes(json!({"const": 1}), json!("ä".repeat(10_000)));
    assert!(long[0].1.chars().count() < 70);
}

#[test]
fn a_skill_in_a_registry_is_checked_on_both_sides() {
    let registry = Registry::build(Default::default(), Arc::new(JsonSchemas::new()));
    let contract = SkillContract::pure("half", "1.0.0")
        .unwrap()
        .schemas(json!({"type": "integer"}), json!({"type": "integer", "maximum": 10}));
    let skill = TypedSkill::untyped(contract, |call| async move {
        let output = Payload::new(json!(call.input.value().as_i64().unwrap() / 2)).unwrap();
        Ok(SkillOutput { output, cost: crate::money::Money::from_cents(3) })
    });
    registry.register(Arc::new(skill), Timestamp::EPOCH).unwrap();
    let skill = SkillSource::skill(&registry, &"half@1.0.0".parse().unwrap()).unwrap();
    let run = |input: Value| pollster::block_on(skill.call(crate::registry::test_call(input)));
    assert_eq!(*run(json!(8)).unwrap().output.value(), json!(4));

    let failure = run(json!("8")).unwrap_err();
    assert_eq!(failure.code, codes::INVALID_INPUT);
    assert_eq!(
        failure.message,
        "the input of half@1.0.0 does not fit its schema: the value: expected an integer, found \"8\""
    );
    assert_eq!(failure.details["errors"][0]["schema_path"], "/type");

    let failure = run(json!(100)).unwrap_err();
    assert_eq!((failure.code, failure.cost), (codes::INVALID_OUTPUT, crate::money::Money::from_cents(3)));
}

#[test]
fn bad_schemas_are_refused_at_registration_and_run_inputs_are_checked() {
    let registry = Registry::build(Default::default(), Arc::new(JsonSchemas::new()));
    let contract = SkillContract::pure("a", "1.0.0").unwrap().schemas(json!(true), json!({"type": 1}));
    let failure = registry.register_remote(contract, Timestamp::EPOCH).unwrap_err();
    assert!(failure.message.starts_with("the output schema of a@1.0.0: "), "{failure}");
    assert!(registry.list().is_empty());

    let mut plan = Plan::clone(&crate::workflow::PlanBuilder::code("w", "1.0.0").unwrap().build());
    assert!(registry.check_run_input(&plan, &Payload::null()).is_ok());
    plan.input_schema = Some(json!({"type": "object", "required": ["url"]}));
    let failure = registry.check_run_input(&plan, &Payload::new(json!({})).unwrap()).unwrap_err();
    assert_eq!(failure.code, codes::INVALID_INPUT);
    assert!(failure.message.contains("input of w@1.0.0 does not fit its schema: /url"), "{failure}");
    plan.input_schema = Some(json!({"type": "objekt"}));
    let failure = registry.register_plan(Value::Null, Arc::new(plan), Timestamp::EPOCH).unwrap_err();
    assert!(failure.message.contains("the input schema of w@1.0.0"), "{failure}");
}
