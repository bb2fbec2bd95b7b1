//! What a change of a contract means: a table, and properties that hold for every pair of contracts.

#![allow(clippy::unwrap_used, reason = "helpers of tests say what must hold by panicking")]

use aos_core::registry::diff::{Level, compare, next_version};
use aos_core::skill::SkillContract;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    input: Option<[Value; 2]>,
    output: Option<[Value; 2]>,
    contract: Option<[Map<String, Value>; 2]>,
    level: Option<Level>,
    /// The place of a change of that level.
    at: Option<String>,
}

fn contract(version: &str, fields: Map<String, Value>) -> SkillContract {
    let mut value = json!({
        "skill": format!("s@{version}"), "input_schema": true, "output_schema": true,
        "determinism": "recorded", "crash": "pure",
    });
    value.as_object_mut().unwrap().extend(fields);
    serde_json::from_value(value).unwrap()
}

fn field(name: &str, value: &Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.clone())])
}

#[test]
fn the_table_holds() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("fixtures/contract_diff.json")).unwrap();
    assert!(rows.len() >= 40);
    for row in rows {
        let [old, new] = match (&row.input, &row.output, row.contract) {
            (Some(schemas), None, None) => schemas.each_ref().map(|schema| field("input_schema", schema)),
            (None, Some(schemas), None) => schemas.each_ref().map(|schema| field("output_schema", schema)),
            (None, None, Some(contracts)) => contracts,
            _ => panic!("{}: expected one of input, output and contract", row.name),
        };
        let diff = compare(&contract("1.2.3", old), &contract("1.2.4", new));
        assert_eq!(diff.level, row.level, "{}: {diff}", row.name);
        let here: Vec<_> = diff.changes.iter().filter(|c| Some(&c.path) == row.at.as_ref()).collect();
        assert_eq!(here.iter().map(|change| change.level).max(), row.level, "{}: {diff}", row.name);
        assert_eq!(diff.sufficient, row.level <= Some(Level::Cosmetic), "{}: {diff}", row.name);
        let needed = ["1.2.3", "1.2.4", "1.3.0", "2.0.0"][row.level.map_or(0, |level| level as usize + 1)];
        assert_eq!(diff.needed.to_string(), needed, "{}", row.name);
    }
}

#[test]
fn webs_of_definitions_are_compared_in_time() {
    let web = |leaf: &str| {
        let mut definitions = Map::new();
        for n in 0..60 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            definitions.insert(format!("d{n}"), json!({"properties": {"a": next, "b": next}, "anyOf": [next, next]}));
        }
        definitions.insert("d60".into(), json!({"type": leaf}));
        field("input_schema", &json!({"$ref": "#/$defs/d0", "$defs": definitions}))
    };
    let diff = compare(&contract("1.0.0", web("integer")), &contract("2.0.0", web("string")));
    assert_eq!(diff.level, Some(Level::Breaking));
    assert!(diff.sufficient);
}

/// A schema before and after a change: mostly the same, with differences anywhere.
fn change() -> impl Strategy<Value = (Value, Value)> {
    let one = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!({})),
        prop_oneof!["string", "integer", "number", "null", "object", "array"].prop_map(|name| json!({"type": name})),
        (0..5_i64).prop_map(|bound| json!({"minimum": bound})),
        (0..5_i64, 0..3_i64).prop_map(|(bound, more)| json!({"minimum": bound, "maximum": bound + more})),
        (1..5_i64).prop_map(|divisor| json!({"multipleOf": divisor})),
        proptest::collection::vec(0..3_i64, 1..3).prop_map(|values| json!({"enum": values})),
        (0..3_i64).prop_map(|value| json!({"const": value})),
        Just(json!({"$ref": "#/$defs/a"})),
        Just(json!(3)),
    ];
    let leaf = prop_oneof![
        one.clone().prop_map(|schema| (schema.clone(), schema)),
        (one.clone(), one),
        // Differences that mean little, so that compatible changes are not rare.
        (0..5_i64, 0..3_i64).prop_map(|(bound, less)| (json!({"minimum": bound}), json!({"minimum": bound - less}))),
        Just((json!({"type": "integer"}), json!({"type": "number"}))),
        Just((json!({"const": 1}), json!({"enum": [1, 2]}))),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        let both = |pairs: Vec<(Value, Value)>| -> (Vec<Value>, Vec<Value>) { pairs.into_iter().unzip() };
        let branches = (proptest::collection::vec(inner.clone(), 0..4), any::<bool>());
        prop_oneof![
            (proptest::collection::btree_map("[ab]", inner.clone(), 0..3), 0..3_usize, 0..3_usize).prop_map(
                |(fields, first, second)| {
                    let names: Vec<_> = fields.keys().cloned().collect();
                    let old: Map<_, _> = fields.iter().map(|(name, pair)| (name.clone(), pair.0.clone())).collect();
                    let new: Map<_, _> = fields.into_iter().map(|(name, pair)| (name, pair.1)).collect();
                    let required = |count: usize| names.iter().take(count).collect::<Vec<_>>();
                    (
                        json!({"properties": old, "required": required(first)}),
                        json!({"properties": new, "required": required(second)}),
                    )
                }
            ),
            inner.clone().prop_map(|(old, new)| (json!({"items": old}), json!({"items": new}))),
            inner.clone().prop_map(|(old, new)| (json!({"not": old}), json!({"not": new}))),
            (branches, prop_oneof!["anyOf", "oneOf", "allOf"]).prop_map(move |((pairs, reversed), keyword)| {
                let (old, mut new) = both(pairs);
                if reversed {
                    new.reverse();
                }
                (json!({keyword.clone(): old}), json!({keyword: new}))
            }),
            (inner.clone(), inner).prop_map(|(a, b)| {
                let with = |a: Value, b: Value| json!({"$defs": {"a": a}, "allOf": [b], "$ref": "#/$defs/a"});
                (with(a.0, b.0), with(a.1, b.1))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_contract_does_not_differ_from_itself((schema, _) in change()) {
        // What is no schema, or refers to nothing, can't be vouched for: it is breaking even when equal.
        let text = schema.to_string();
        if text.contains('3') || text.contains("$ref") {
            return Ok(());
        }
        let one = contract("1.0.0", field("input_schema", &schema));
        prop_assert_eq!(compare(&one, &one).changes, vec![]);
    }

    #[test]
    fn what_widens_one_side_narrows_the_other((old, new) in change()) {
        let with = |name: &str, schema: &Value| contract("1.0.0", field(name, schema));
        let input = compare(&with("input_schema", &old), &with("input_schema", &new));
        let output = compare(&with("output_schema", &old), &with("output_schema", &new));
        // A difference that can be seen is seen on both sides, and the verdict follows from the gravest one.
        prop_assert_eq!(input.level.is_none(), output.level.is_none(), "{} / {}", input, output);
        for diff in [&input, &output] {
            prop_assert_eq!(diff.level, diff.changes.iter().map(|change| change.level).max());
            prop_assert_eq!(diff.sufficient, diff.level.is_none());
            if let Some(level) = diff.level {
                prop_assert_eq!(&diff.needed, &next_version(&diff.from, level));
            }
        }
    }
}

#[cfg(feature = "jsonschema")]
mod against_an_engine {
    use super::*;
    use aos_core::skill::schema::{JsonSchemas, SchemaCompiler};

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(json!(null)), (-1..9_i64).prop_map(|n| json!(n)), Just(json!("x")), Just(json!(1.5))];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|items| json!(items)),
                proptest::collection::btree_map("[ab]", inner, 0..3).prop_map(|fields| json!(fields)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        /// The promise that counts: where no change is breaking, every value that fitted the old input schema fits the
        /// new one. Properties that only one of the two schemas names are left out: see the module's conventions.
        #[test]
        fn a_compatible_input_schema_takes_what_the_old_one_took((old, new) in change(), value in value()) {
            let engine = JsonSchemas::new();
            let (Ok(before), Ok(after)) = (engine.compile(&old), engine.compile(&new)) else { return Ok(()) };
            let with = |schema: &Value| contract("1.0.0", field("input_schema", schema));
            let diff = compare(&with(&old), &with(&new));
            let adds_property = diff.changes.iter().any(|change| change.why.contains("new property"));
            if diff.level < Some(Level::Breaking) && !adds_property && before.check(&value).is_empty() {
                prop_assert!(after.check(&value).is_empty(), "{value} fitted {old} and does not fit {new}: {diff}");
            }
        }
    }
}
