//! What the sampler makes, and what it refuses to make.

use super::*;
use crate::random::Seed;
use serde_json::json;

fn made(schema: &Value, seed: u64) -> Result<Value, SampleError> {
    sample(schema, &mut Rng::new(Seed::new(seed), "test"))
}

#[test]
fn says_what_it_can_not_work_with() {
    for (schema, why) in [
        (json!({"items": {"$ref": "other.json"}}), "/items/$ref"),
        (json!({"anyOf": [{"$dynamicRef": "#x"}]}), "/anyOf/0/$dynamicRef"),
        (json!({"patternProperties": {"(?!x)": true}}), "/patternProperties"),
        (json!({"properties": {"a": 1}}), "\"/properties/a\" is not a schema"),
    ] {
        match made(&schema, 1) {
            Err(SampleError::Unsupported(text)) => assert!(text.contains(why), "{text}"),
            other => panic!("{schema}: {other:?}"),
        }
    }
}

#[test]
fn gives_up_where_nothing_conforms() {
    for schema in [
        json!(false),
        json!({"not": {}}),
        json!({"enum": []}),
        json!({"type": "integer", "minimum": 5, "maximum": 4}),
        json!({"type": "integer", "minimum": 0.1, "maximum": 0.9}),
        json!({"type": "string", "minLength": 5, "maxLength": 4}),
        json!({"type": "string", "pattern": "^a$", "minLength": 2}),
        json!({"allOf": [{"type": "string"}, {"type": "integer"}]}),
        json!({"const": 1, "type": "string"}),
        json!({"type": "array", "items": {"type": "boolean"}, "minItems": 3, "uniqueItems": true}),
        json!({"type": "array", "minItems": 2_000_000_000}),
        json!({"type": "object", "required": ["a"], "properties": {"a": false}}),
        json!({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}),
        json!({"$ref": "#/$defs/nowhere"}),
        json!({"type": "integer", "minimum": 9_007_199_254_740_993_u64}),
        json!({"type": "array", "minItems": 2, "items": {"$ref": "#"}}),
    ] {
        assert_eq!(made(&schema, 1), Err(SampleError::NotFound), "{schema}");
    }
}

#[test]
fn answers_look_as_one_expects() {
    let person = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "nick": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "age": {"type": ["integer", "null"]},
            "children": {"type": "array", "items": {"type": "string"}}
        }
    });
    for seed in 0..50 {
        let value = made(&person, seed).unwrap();
        // Everything that is declared is there, and says something, so that templates over it find something.
        assert!(value["name"].as_str().unwrap().starts_with("stub name "), "{value}");
        assert!(value["nick"].is_string() && value["age"].is_i64(), "{value}");
        assert!(!value["children"].as_array().unwrap().is_empty(), "{value}");
    }
}

#[test]
fn recursion_ends() {
    let tree = json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {
            "type": "object",
            "required": ["value", "children", "parent"],
            "properties": {
                "value": {"type": "integer"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}
            }
        }}
    });
    for seed in 0..20 {
        let text = made(&tree, seed).unwrap().to_string();
        assert!(text.len() < 100_000, "{}", text.len());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]
    /// Whatever comes out conforms by the sampler's own check; whatever goes in does not panic or hang.
    #[test]
    fn what_is_given_out_conforms(schema in any_schema(), seed in 0_u64..1_000) {
        if let Ok(value) = made(&schema, seed) {
            let mut checker = Checker { root: &schema, fuel: CHECK_FUEL };
            proptest::prop_assert!(checker.valid(&schema, &value, 0), "{schema} {value}");
            proptest::prop_assert_eq!(made(&schema, seed), Ok(value));
        }
    }
}

fn any_schema() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let small = || 0_u64..4;
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        Just(json!({"type": "string"})),
        Just(json!({"type": ["integer", "null"]})),
        Just(json!({"$ref": "#"})),
        (small(), small()).prop_map(|(a, b)| json!({"type": "string", "minLength": a, "maxLength": b})),
        (small(), small(), 1_u64..4)
            .prop_map(|(a, b, c)| json!({"type": "number", "minimum": a, "exclusiveMaximum": b, "multipleOf": c})),
        "[a-c|*+?()^$]{0,6}".prop_map(|pattern| json!({"pattern": pattern})),
        proptest::collection::vec(prop_oneof![Just(json!(1)), Just(json!("a")), Just(json!(null))], 0..3)
            .prop_map(|values| json!({"enum": values})),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let list = proptest::collection::vec(inner.clone(), 1..3);
        let map = proptest::collection::btree_map("[ab]", inner.clone(), 0..3);
        prop_oneof![
            ("(allOf|anyOf|oneOf|prefixItems)", list).prop_map(|(key, schemas)| json!({key: schemas})),
            ("(not|items|contains|additionalProperties|propertyNames|unevaluatedProperties)", inner.clone())
                .prop_map(|(key, schema)| json!({key: schema})),
            (map.clone(), proptest::collection::vec("[ab]", 0..2), inner.clone())
                .prop_map(|(p, r, a)| json!({"properties": p, "required": r, "additionalProperties": a})),
            (map, small()).prop_map(|(p, n)| json!({"patternProperties": p, "minProperties": n})),
            (inner.clone(), inner.clone(), inner).prop_map(|(i, t, e)| json!({"if": i, "then": t, "else": e})),
        ]
    })
}
