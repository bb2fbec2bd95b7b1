//! Canonical JSON and its hashes against the published vectors of RFC 8785, and properties over any JSON.

#![allow(clippy::expect_used, reason = "helpers of tests say what must hold by panicking")]

use aos_core::canonical::{CanonicalError, Hash, MAX_DEPTH, MAX_SAFE_INTEGER, to_string};
use aos_core::{Payload, codes};
use proptest::prelude::*;
use serde_json::{Value, json};

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn rfc8785() -> Value {
    vectors(include_str!("vectors/rfc8785.json"))
}

fn rows<'v>(vectors: &'v Value, key: &str) -> &'v [Value] {
    vectors[key].as_array().expect("a list of vectors")
}

fn text<'v>(row: &'v Value, key: &str) -> &'v str {
    row[key].as_str().expect("a text")
}

#[test]
fn texts_of_the_rfc_and_its_reference_repository() {
    let vectors = rfc8785();
    assert_eq!(rows(&vectors, "texts").len(), 8);
    for row in rows(&vectors, "texts") {
        let canonical = to_string(serde_json::from_str(text(row, "input")).unwrap()).unwrap();
        assert_eq!(canonical, text(row, "canonical"), "{}", row["name"]);
        if let Some(hex) = row["utf8_hex"].as_str() {
            assert_eq!(canonical.bytes().map(|byte| format!("{byte:02x}")).collect::<String>(), hex, "{}", row["name"]);
        }
        assert_eq!(to_string(serde_json::from_str(&canonical).unwrap()).unwrap(), canonical, "{}", row["name"]);
    }
}

#[test]
fn numbers_of_appendix_b() {
    let vectors = rfc8785();
    let (mut taken, mut refused) = (0, 0);
    for row in rows(&vectors, "numbers") {
        let number = f64::from_bits(u64::from_str_radix(text(row, "ieee"), 16).unwrap());
        let es6 = text(row, "es6");
        // Both as a value that a program made and as a text that came in.
        for value in [json!(number), serde_json::from_str(es6).unwrap()] {
            match to_string(value) {
                Ok(canonical) => {
                    assert_eq!((canonical.as_str(), &row["refused"]), (es6, &json!(false)));
                    taken += 1;
                }
                Err(error) => {
                    assert!(matches!(error, CanonicalError::NumberOutOfRange { .. }), "{es6}");
                    assert_eq!(row["refused"], true, "{es6}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((taken, refused), (38, 14));
}

#[test]
fn numbers_without_a_double_are_no_json_here() {
    // NaN and the infinities of Appendix B: serde_json turns them into null when a value is made, and refuses 1e400.
    assert_eq!(json!(f64::NAN), Value::Null);
    assert_eq!(json!(f64::INFINITY), Value::Null);
    assert!(serde_json::from_str::<Value>("1e400").is_err());
}

#[test]
fn hashes_are_fixed() {
    let vectors = vectors(include_str!("vectors/hash-vectors.json"));
    for row in rows(&vectors, "vectors") {
        let payload = Payload::parse(text(row, "input")).unwrap();
        assert_eq!(payload.as_str(), text(row, "canonical"), "{}", row["name"]);
        assert_eq!(payload.hash().to_string(), text(row, "sha256"), "{}", row["name"]);
    }
}

#[test]
fn integers_beyond_2_53_are_refused_with_their_path() {
    let most = i64::try_from(MAX_SAFE_INTEGER).unwrap();
    for (value, path) in [
        (json!(most + 1), ""),
        (json!(-most - 1), ""),
        (json!({"a": [1, {"b/c~d": u64::MAX}]}), "/a/1/b~1c~0d"),
        (json!([0, [[i64::MIN]]]), "/1/0/0"),
        (json!({"x": 9_007_199_254_740_992.0}), "/x"),
        (json!([1e20]), "/0"),
    ] {
        match to_string(value.clone()) {
            Err(CanonicalError::NumberOutOfRange { path: found, .. }) => assert_eq!(found, path, "{value}"),
            other => panic!("{value}: {other:?}"),
        }
        assert_eq!(Payload::new(value).map_err(aos_core::Failure::from).unwrap_err().code, codes::NUMBER_OUT_OF_RANGE);
    }
    assert_eq!(to_string(json!([most, -most])).unwrap(), "[9007199254740991,-9007199254740991]");
}

#[test]
fn deep_values_are_refused() {
    let nest = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert!(to_string(nest(MAX_DEPTH)).is_ok());
    assert!(matches!(to_string(nest(MAX_DEPTH + 1)), Err(CanonicalError::TooDeep { .. })));
}

/// Any JSON, numbers of every size among it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1_000_000_i64..1_000_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(|bits| Value::from(f64::from_bits(bits))),
        (any::<i32>(), -30_i32..30).prop_map(|(m, e)| Value::from(f64::from(m) * 10_f64.powi(e))),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A canonical text is its own canonical text, and its value is the one that was written.
    #[test]
    fn canonical_texts_are_stable(value in any_json()) {
        if let Ok(canonical) = to_string(value.clone()) {
            let again: Value = serde_json::from_str(&canonical).unwrap();
            prop_assert_eq!(to_string(again.clone()).unwrap(), canonical.clone());
            let mut normal = value;
            aos_core::canonical::normalize(&mut normal).unwrap();
            prop_assert_eq!(again, normal);
            prop_assert_eq!(Payload::parse(&canonical).unwrap().hash(), Hash::of(&canonical));
        }
    }

    /// The order in which members were put does not show.
    #[test]
    fn order_does_not_show(mut members in proptest::collection::vec((any::<String>(), any::<i32>()), 0..8)) {
        members.sort();
        members.dedup_by(|a, b| a.0 == b.0);
        let object = |members: &[(String, i32)]| {
            Value::Object(members.iter().map(|(key, value)| (key.clone(), Value::from(*value))).collect())
        };
        let canonical = to_string(object(&members)).unwrap();
        members.reverse();
        prop_assert_eq!(to_string(object(&members)).unwrap(), canonical);
    }

    /// Every text is a payload or a failure with a code; nothing panics.
    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}:,\"0-9eE.+\\-\\\\u tn]{0,40}") {
        match Payload::parse(&text) {
            Ok(payload) => prop_assert_eq!(Payload::parse(payload.as_str()).unwrap(), payload),
            Err(failure) => prop_assert!(failure.code == codes::INVALID_JSON || failure.code == codes::NUMBER_OUT_OF_RANGE),
        }
    }
}
