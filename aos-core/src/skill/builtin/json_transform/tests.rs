//! What each operation does, and what is refused.

use super::*;

fn run(input: Value, ops: Value) -> Result<Value, Failure> {
    let payload = Payload::new(json!({"input": input, "ops": ops})).unwrap();
    transform(&payload).map(|payload| payload.value().clone())
}

#[test]
fn operations_do_what_they_say() {
    let items = json!([{"n": "b", "p": 2}, {"n": "a", "p": 1}, {"n": "c"}]);
    let nested = json!({"a": {"x": 1, "y": [1, 2, 3]}, "b": 2});
    for (input, ops, expected) in [
        (json!({"a": 1}), json!([]), json!({"a": 1})),
        // extract
        (items.clone(), json!([{"op": "extract", "path": "$[*].n"}]), json!(["b", "a", "c"])),
        (items.clone(), json!([{"op": "extract", "path": "$[?@.n=='a'].p", "one": true}]), json!(1)),
        (items.clone(), json!([{"op": "extract", "path": "$.x", "one": true, "default": null}]), json!(null)),
        (
            nested.clone(),
            json!([{"op": "extract", "path": "$.y[0]", "one": true, "at": "$.a"}]),
            json!({"a": 1, "b": 2}),
        ),
        // map
        (items.clone(), json!([{"op": "map", "path": "$.p"}]), json!([2, 1, null])),
        (
            items.clone(),
            json!([{"op": "map", "fields": {"name": "$.n", "all": "$"}}]),
            json!([{"name": "b", "all": items[0]}, {"name": "a", "all": items[1]}, {"name": "c", "all": items[2]}]),
        ),
        (
            nested.clone(),
            json!([{"op": "map", "path": "$.z", "at": "$.a.y"}]),
            json!({"a": {"x": 1, "y": [null, null, null]}, "b": 2}),
        ),
        // filter
        (items.clone(), json!([{"op": "filter", "where": "@.p >= 1 || @.n == 'c'"}]), items.clone()),
        (items.clone(), json!([{"op": "filter", "where": "!@.p"}]), json!([{"n": "c"}])),
        (items.clone(), json!([{"op": "filter", "where": "@.n == $[0].n"}]), json!([items[0]])),
        (items.clone(), json!([{"op": "filter", "where": "false == true"}]), json!([])),
        // pick and omit
        (
            nested.clone(),
            json!([{"op": "pick", "paths": ["$.a.y[0,2]", "$.b", "$.none"]}]),
            json!({"a": {"y": [1, 3]}, "b": 2}),
        ),
        (nested.clone(), json!([{"op": "pick", "paths": []}]), json!({})),
        (nested.clone(), json!([{"op": "pick", "paths": ["$.a", "$.a.x"]}]), json!({"a": nested["a"]})),
        (nested.clone(), json!([{"op": "pick", "paths": ["$"]}]), nested.clone()),
        (
            nested.clone(),
            json!([{"op": "omit", "paths": ["$.a.y[0,2]", "$.b", "$.none"]}]),
            json!({"a": {"x": 1, "y": [2]}}),
        ),
        (nested.clone(), json!([{"op": "omit", "paths": ["$.a", "$.a.x"]}]), json!({"b": 2})),
        (nested.clone(), json!([{"op": "omit", "paths": ["$..[?@ == 2]"]}]), json!({"a": {"x": 1, "y": [1, 3]}})),
        // merge
        (
            nested.clone(),
            json!([{"op": "merge", "with": {"a": {"y": null, "z": {"k": 1}}, "b": {"c": 1}}}]),
            json!({"a": {"x": 1, "y": null, "z": {"k": 1}}, "b": {"c": 1}}),
        ),
        (
            items.clone(),
            json!([{"op": "merge", "at": "$[?@.p]", "with": {"ok": true}}, {"op": "extract", "path": "$[*].ok"}]),
            json!([true, true]),
        ),
        // flatten
        (json!([1, [2, [3, [4]]], []]), json!([{"op": "flatten"}]), json!([1, 2, [3, [4]]])),
        (json!([1, [2, [3, [4]]], []]), json!([{"op": "flatten", "depth": 2}]), json!([1, 2, 3, [4]])),
        (json!([[1]]), json!([{"op": "flatten", "depth": 0}]), json!([[1]])),
        (json!([[[1], [2]], [[3]]]), json!([{"op": "flatten", "at": "$[*]"}]), json!([[1, 2], [3]])),
        // Places within places: the inner ones first.
        (json!([[2, [3, 1]], [0]]), json!([{"op": "sort", "at": "$..[?length(@) > 0]"}]), json!([[2, [1, 3]], [0]])),
        // sort
        (items.clone(), json!([{"op": "sort", "by": [{"path": "$.p"}]}]), json!([items[1], items[0], items[2]])),
        (items.clone(), json!([{"op": "sort", "by": [{"path": "$.p", "order": "desc"}]}]), items.clone()),
        (json!([3, 1, 2]), json!([{"op": "sort", "order": "desc"}]), json!([3, 2, 1])),
        (
            json!([{"a": 1}, [2], [1, 9], "b", "B", 1.5, -1, true, false, null, {"a": 0}]),
            json!([{"op": "sort"}]),
            json!([null, false, true, -1, 1.5, "B", "b", [1, 9], [2], {"a": 0}, {"a": 1}]),
        ),
        (
            json!([{"g": 2, "i": 0}, {"g": 1, "i": 1}, {"g": 2, "i": 2}, {"g": 1, "i": 3}]),
            json!([{"op": "sort", "by": [{"path": "$.g", "order": "desc"}]}, {"op": "map", "path": "$.i"}]),
            json!([0, 2, 1, 3]),
        ),
    ] {
        assert_eq!(run(input.clone(), ops.clone()).unwrap(), expected, "{input} {ops}");
    }
}

#[test]
fn mistakes_name_the_operation() {
    for (input, op, message) in [
        (json!(1), json!({"op": "srot"}), "ops[1] (srot): there is no operation \"srot\" (did you mean \"sort\"?)"),
        (json!(1), json!({"path": "$"}), "ops[1]: `op` is missing: expected one of extract, filter"),
        (json!(1), json!("sort"), "ops[1]: expected an object"),
        (json!(1), json!({"op": "sort"}), "ops[1] (sort): expected an array, found a number"),
        (json!("x"), json!({"op": "flatten"}), "expected an array, found a text"),
        (json!([]), json!({"op": "merge", "with": {}}), "expected an object, found an array"),
        (json!({}), json!({"op": "filter", "where": "@.a"}), "expected an array, found an object"),
        (json!([]), json!({"op": "extract", "path": "a"}), "`path`: \"a\" is not a JSONPath query: it must begin with"),
        (json!([]), json!({"op": "extract", "path": "$", "pth": 1}), "unknown field `pth`"),
        (json!([]), json!({"op": "extract", "path": "$.x", "one": true}), "the path selects 0"),
        (json!([1, 2]), json!({"op": "extract", "path": "$[*]", "one": true, "default": 1}), "the path selects 2"),
        (json!([]), json!({"op": "extract", "path": "$", "default": 1}), "`default` goes with `one`"),
        (json!([]), json!({"op": "map"}), "either `path` or `fields`"),
        (json!([]), json!({"op": "map", "path": "$", "fields": {}}), "either `path` or `fields`"),
        (json!([]), json!({"op": "filter", "where": "@.a], [?@.b"}), "is not a filter expression"),
        (json!([]), json!({"op": "filter", "where": "@.a, 1"}), "is not a filter expression"),
        (json!([]), json!({"op": "filter", "where": "@.a), 1, ?(@.b"}), "is not a filter expression"),
        (json!([]), json!({"op": "pick", "paths": ["$"], "at": "$"}), "`at` is not taken"),
        (json!([]), json!({"op": "omit", "paths": ["$"]}), "the whole value can't be removed"),
        (json!([]), json!({"op": "sort", "by": []}), "`by` is empty"),
        (json!([]), json!({"op": "sort", "by": [{"path": "$"}], "order": "asc"}), "`order` goes into"),
        (json!([]), json!({"op": "sort", "order": "up"}), "unknown variant `up`"),
        (
            json!({"a": [1]}),
            json!({"op": "merge", "with": {}, "at": "$.a[0]"}),
            "at /a/0: expected an object, found a number",
        ),
        (json!([]), json!({"op": "flatten", "depth": -1}), "invalid value"),
    ] {
        let failure = run(input, json!([{"op": "merge", "with": {}, "at": "$.none"}, op])).unwrap_err();
        assert_eq!(failure.code, codes::TRANSFORM_FAILED);
        assert!(failure.message.contains("ops[1]") && failure.message.contains(message), "{failure}");
    }
    let failure = transform(&Payload::new(json!({"input": 1})).unwrap()).unwrap_err();
    assert_eq!(failure.code, codes::INVALID_INPUT);
}

#[test]
fn everything_is_bounded() {
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let many = json!((0..1_000).collect::<Vec<_>>());
    let long = json!("x".repeat(1_000_000));
    for (input, ops, message) in [
        (deep(65), json!([]), "`input` nests deeper than 64"),
        (json!("x".repeat(10_000_001)), json!([]), "the input has 100000"),
        (json!(vec![0; 1_000_001]), json!([]), "an array of 1000001 items"),
        (json!(1), json!(vec![json!({"op": "sort"}); 101]), "at most 100"),
        (deep(64), json!([{"op": "map", "fields": {"a": "$"}}]), "the result nests deeper"),
        (
            json!([long]),
            json!([{"op": "extract", "path": format!("$[{}0]", "0,".repeat(20))}]),
            "larger than 10000000 bytes",
        ),
        (
            many.clone(),
            json!([{"op": "map", "fields": {"a": "$"}}, {"op": "merge", "at": "$[*]", "with": {"x": "y".repeat(20_000)}}]),
            "ops[1] (merge): at ",
        ),
        (
            many.clone(),
            json!([{"op": "extract", "path": "$.x", "at": "$[*]", "one": true, "default": "z".repeat(20_000)}]),
            "larger than",
        ),
        (json!(vec![json!(0); 6_000]), json!([{"op": "filter", "where": "count($[*]) > 0"}]), "visits more than"),
    ] {
        let failure = run(input, ops).unwrap_err();
        assert_eq!(failure.code, codes::TRANSFORM_FAILED);
        assert!(failure.message.contains(message), "{message}: {failure}");
    }
    assert_eq!(run(deep(64), json!([])).unwrap(), deep(64));
}

#[test]
fn the_schema_knows_every_operation() {
    let schema = contract::input_schema();
    let listed: Vec<&str> = schema["properties"]["ops"]["items"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| operation["properties"]["op"]["const"].as_str().unwrap())
        .collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, operation::NAMES);
}

proptest::proptest! {
    #[test]
    fn odd_operations_never_panic(
        name in proptest::sample::select(operation::NAMES.as_slice()),
        path in "\\$(\\.[ab]|\\[[0-2*]\\]|\\.\\.[ab*]){0,3}",
        at in proptest::option::of("\\$(\\.[ab]|\\[[0-2*]\\]|\\.\\.\\*){0,2}"),
        input in "[\\[\\]{},:\"ab01]{0,20}",
    ) {
        let input: Value = serde_json::from_str(&input).unwrap_or_else(|_| json!({"a": [1, {"b": [[2], 0]}], "b": {"a": null}}));
        let mut op = match name {
            "extract" | "map" => json!({"path": path}),
            "filter" => json!({"where": path.replacen('$', "@", 1)}),
            "pick" | "omit" => json!({"paths": [path]}),
            "merge" => json!({"with": {"a": {"b": 1}}}),
            "sort" => json!({"by": [{"path": path}]}),
            _ => json!({}),
        };
        op["op"] = json!(name);
        if let Some(at) = at.filter(|_| name != "pick" && name != "omit") {
            op["at"] = json!(at);
        }
        let first = run(input.clone(), json!([op]));
        if let Err(failure) = &first {
            proptest::prop_assert_eq!(&failure.code, &codes::TRANSFORM_FAILED);
        }
        proptest::prop_assert_eq!(run(input, json!([op])), first);
    }
}
