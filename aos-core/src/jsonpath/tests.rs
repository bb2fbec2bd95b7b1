//! The examples of RFC 9535, by section, and bounds.

use super::*;
use serde_json::json;

/// What a query selects; locations as normalized paths (section 2.7).
fn select(query: &str, root: &Value) -> Result<Vec<(String, Value)>, String> {
    let mut root = root.clone();
    crate::canonical::normalize(&mut root).unwrap();
    let path = JsonPath::parse(query).map_err(|error| error.to_string())?;
    let mut visits = 1_000_000;
    let nodes = path.select(&root, &mut visits).map_err(|error| error.to_string())?;
    Ok(nodes
        .iter()
        .map(|node| {
            let steps = node.location().into_iter().map(|part| match part {
                Part::Index(index) => format!("[{index}]"),
                Part::Key(key) => format!("['{key}']"),
            });
            (format!("${}", steps.collect::<String>()), node.value.clone())
        })
        .collect())
}

fn check(root: &Value, table: &[(&str, Value)]) {
    for (query, expected) in table {
        let values: Vec<Value> = select(query, root).unwrap().into_iter().map(|(_, value)| value).collect();
        assert_eq!(json!(values), *expected, "{query}");
    }
}

#[test]
fn section_1_5_the_bookstore() {
    let book = |category: &str, author: &str, title: &str, price: f64| json!({"category": category, "author": author, "title": title, "price": price});
    let mut books = vec![
        book("reference", "Nigel Rees", "Sayings of the Century", 8.95),
        book("fiction", "Evelyn Waugh", "Sword of Honour", 12.99),
        book("fiction", "Herman Melville", "Moby Dick", 8.99),
        book("fiction", "J. R. R. Tolkien", "The Lord of the Rings", 22.99),
    ];
    books[2]["isbn"] = json!("0-553-21311-3");
    books[3]["isbn"] = json!("0-395-19395-8");
    let bicycle = json!({"color": "red", "price": 399});
    let root = json!({"store": {"book": books, "bicycle": bicycle}});
    check(
        &root,
        &[
            ("$.store.book[*].author", json!(["Nigel Rees", "Evelyn Waugh", "Herman Melville", "J. R. R. Tolkien"])),
            ("$..author", json!(["Nigel Rees", "Evelyn Waugh", "Herman Melville", "J. R. R. Tolkien"])),
            ("$.store.*", json!([bicycle, books])),
            ("$.store..price", json!([399, 8.95, 12.99, 8.99, 22.99])),
            ("$..book[2]", json!([books[2]])),
            ("$..book[2].author", json!(["Herman Melville"])),
            ("$..book[2].publisher", json!([])),
            ("$..book[-1]", json!([books[3]])),
            ("$..book[0,1]", json!([books[0], books[1]])),
            ("$..book[:2]", json!([books[0], books[1]])),
            ("$..book[?@.isbn]", json!([books[2], books[3]])),
            ("$..book[?@.price<10]", json!([books[0], books[2]])),
        ],
    );
    assert_eq!(select("$..*", &root).unwrap().len(), 27);
}

#[test]
fn sections_2_2_and_2_3_selectors() {
    check(&json!({"k": "v"}), &[("$", json!([{"k": "v"}]))]);
    check(
        &json!({"o": {"j j": {"k.k": 3}}, "'": {"@": 2}}),
        &[
            ("$.o['j j']", json!([{"k.k": 3}])),
            ("$.o['j j']['k.k']", json!([3])),
            ("$.o[\"j j\"][\"k.k\"]", json!([3])),
            ("$[\"'\"][\"@\"]", json!([2])),
            ("$['\\'']['@']", json!([2])),
            ("$['\\u006f']['j\\u0020j'].*", json!([3])),
        ],
    );
    check(
        &json!({"o": {"j": 1, "k": 2}, "a": [5, 3]}),
        &[
            ("$[*]", json!([[5, 3], {"j": 1, "k": 2}])),
            ("$.o[*]", json!([1, 2])),
            ("$.o[*, *]", json!([1, 2, 1, 2])),
            ("$.a[*]", json!([5, 3])),
        ],
    );
    check(
        &json!(["a", "b"]),
        &[("$[1]", json!(["b"])), ("$[-2]", json!(["a"])), ("$[2]", json!([])), ("$[-3]", json!([]))],
    );
    check(
        &json!(["a", "b", "c", "d", "e", "f", "g"]),
        &[
            ("$[1:3]", json!(["b", "c"])),
            ("$[5:]", json!(["f", "g"])),
            ("$[1:5:2]", json!(["b", "d"])),
            ("$[5:1:-2]", json!(["f", "d"])),
            ("$[::-1]", json!(["g", "f", "e", "d", "c", "b", "a"])),
            ("$[::0]", json!([])),
            ("$[-2:]", json!(["f", "g"])),
            ("$[:-5:-1]", json!(["g", "f", "e", "d"])),
            ("$[9007199254740991:]", json!([])),
            ("$[0, 3]", json!(["a", "d"])),
            ("$[0:2, 5]", json!(["a", "b", "f"])),
            ("$[0, 0]", json!(["a", "a"])),
        ],
    );
}

#[test]
fn section_2_3_5_filters() {
    let root = json!({
        "a": [3, 5, 1, 2, 4, 6, {"b": "j"}, {"b": "k"}, {"b": {}}, {"b": "kilo"}],
        "o": {"p": 1, "q": 2, "r": 3, "s": 5, "t": {"u": 6}},
        "e": "f"
    });
    check(
        &root,
        &[
            ("$.a[?@.b == 'kilo']", json!([{"b": "kilo"}])),
            ("$.a[?(@.b == 'kilo')]", json!([{"b": "kilo"}])),
            ("$.a[?@>3.5]", json!([5, 4, 6])),
            ("$.a[?@.b]", json!([{"b": "j"}, {"b": "k"}, {"b": {}}, {"b": "kilo"}])),
            ("$[?@.*]", json!([root["a"], root["o"]])),
            ("$[?@[?@.b]]", json!([root["a"]])),
            ("$.o[?@<3, ?@<3]", json!([1, 2, 1, 2])),
            ("$.a[?@<2 || @.b == \"k\"]", json!([1, {"b": "k"}])),
            ("$.a[?match(@.b, \"[jk]\")]", json!([{"b": "j"}, {"b": "k"}])),
            ("$.a[?search(@.b, \"[jk]\")]", json!([{"b": "j"}, {"b": "k"}, {"b": "kilo"}])),
            ("$.o[?@>1 && @<4]", json!([2, 3])),
            ("$.o[?@.u || @.x]", json!([{"u": 6}])),
            ("$.a[?@.b == $.x]", json!([3, 5, 1, 2, 4, 6])),
            ("$.a[?@ == @]", root["a"].clone()),
            ("$.a[?!@.b]", json!([3, 5, 1, 2, 4, 6])),
            ("$.a[?!(@ < 5) && @ != 6]", json!([5, {"b": "j"}, {"b": "k"}, {"b": {}}, {"b": "kilo"}])),
        ],
    );
}

/// Table 11 of section 2.3.5.3.1: comparisons of `{"obj": {"x": "y"}, "arr": [2, 3]}`.
#[test]
fn section_2_3_5_3_comparisons() {
    let root = json!({"obj": {"x": "y"}, "arr": [2, 3]});
    for (comparison, expected) in [
        ("$.absent1 == $.absent2", true),
        ("$.absent1 <= $.absent2", true),
        ("$.absent == 'g'", false),
        ("$.absent1 != $.absent2", false),
        ("$.absent != 'g'", true),
        ("1 <= 2", true),
        ("1 > 2", false),
        ("13 == '13'", false),
        ("'a' <= 'b'", true),
        ("'a' > 'b'", false),
        ("$.obj == $.arr", false),
        ("$.obj != $.arr", true),
        ("$.obj == $.obj", true),
        ("$.obj != $.obj", false),
        ("$.arr == $.arr", true),
        ("$.arr != $.arr", false),
        ("$.obj == 17", false),
        ("$.obj != 17", true),
        ("$.obj <= $.arr", false),
        ("$.obj < $.arr", false),
        ("$.obj <= $.obj", true),
        ("$.arr <= $.arr", true),
        ("1 <= $.arr", false),
        ("1 >= $.arr", false),
        ("1 > $.arr", false),
        ("1 < $.arr", false),
        ("true <= true", true),
        ("true > true", false),
        ("1 == 1.0", true),
        ("-0 == 0", true),
        ("1e2 == 100", true),
        // Not equal, however near.
        ("1e-17 == 2e-17", false),
        ("null == $.absent", false),
    ] {
        // The filter is true or false for each of the two members alike.
        let count = select(&format!("$[?{comparison}]"), &root).unwrap().len();
        assert_eq!(count, if expected { 2 } else { 0 }, "{comparison}");
    }
}

#[test]
fn section_2_4_functions() {
    let root = json!([{"t": "äöü", "l": [1, 2], "o": {"a": 1}}, {"t": "ab\ncd", "l": []}, 7]);
    let at = |index: usize| root[index].clone();
    check(
        &root,
        &[
            ("$[?length(@.t) == 3]", json!([at(0)])),
            ("$[?length(@.l) < 1]", json!([at(1)])),
            ("$[?length(@.o) == 1]", json!([at(0)])),
            ("$[?length(@.absent) == length(@.l[0])]", root.clone()),
            ("$[?count(@.l.*) == 2]", json!([at(0)])),
            ("$[?count(@.absent) == 0]", root.clone()),
            ("$[?count(@.*) > 2]", json!([at(0)])),
            ("$[?value(@.l[?@ == 2]) == 2]", json!([at(0)])),
            ("$[?value(@..a) == 1]", json!([at(0)])),
            ("$[?match(@.t, 'a.*d')]", json!([])),
            ("$[?match(@.t, 'ab\\ncd')]", json!([at(1)])),
            ("$[?search(@.t, 'b|x')]", json!([at(1)])),
            ("$[?match(@.t, 'a|ab')]", json!([])),
            ("$[?match(@.t, '\\\\p{L}{3}')]", json!([at(0)])),
            ("$[?match(@.t, '[')]", json!([])),
            ("$[?match(@, '7')]", json!([])),
            ("$[?search(@.t, 'a^')]", json!([])),
        ],
    );
}

#[test]
fn section_2_5_segments() {
    check(
        &json!({"o": {"j": 1, "k": 2}, "a": [5, 3, [{"j": 4}, {"k": 6}]]}),
        &[
            ("$..j", json!([4, 1])),
            ("$..[0]", json!([5, {"j": 4}])),
            ("$..o", json!([{"j": 1, "k": 2}])),
            ("$.o..[*, *]", json!([1, 2, 1, 2])),
            ("$.a..[0, 1]", json!([5, 3, {"j": 4}, {"k": 6}])),
            (
                "$..[*]",
                json!([[5, 3, [{"j": 4}, {"k": 6}]], {"j": 1, "k": 2}, 5, 3, [{"j": 4}, {"k": 6}], {"j": 4}, {"k": 6}, 4, 6, 1, 2]),
            ),
        ],
    );
    check(
        &json!({"a": null, "b": [null], "c": [{}], "null": 1}),
        &[
            ("$.a", json!([null])),
            ("$.a[0]", json!([])),
            ("$.a.d", json!([])),
            ("$.b[0]", json!([null])),
            ("$.b[*]", json!([null])),
            ("$.b[?@]", json!([null])),
            ("$.b[?@==null]", json!([null])),
            ("$.c[?@.d==null]", json!([])),
            ("$.null", json!([1])),
        ],
    );
}

#[test]
fn locations_are_those_of_the_values() {
    let found = select("$..b[0,'c']", &json!({"a": [{"b": [1]}, {"b": {"c": 2}}]})).unwrap();
    assert_eq!(found, [("$['a'][0]['b'][0]".to_owned(), json!(1)), ("$['a'][1]['b']['c']".to_owned(), json!(2))]);
}

#[test]
fn what_is_no_query_is_refused() {
    for (query, why) in [
        ("", "must begin with"),
        ("store.book", "must begin with"),
        (" $", "must begin with"),
        ("$ ", ""),
        ("$.", ""),
        ("$..", ""),
        ("$[", ""),
        ("$[]", ""),
        ("$.a[01]", ""),
        ("$[-0]", ""),
        ("$[9007199254740993]", ""),
        ("$[1:2:3:4]", ""),
        ("$['a]", ""),
        ("$['\\x']", ""),
        ("$['\\ud800']", ""),
        ("$[?@.a = 1]", ""),
        ("$[?@.*==1]", ""),
        ("$[?1]", ""),
        ("$[?true]", ""),
        ("$[?length(@.a)]", "must be compared"),
        ("$[?count(1) == 1]", ""),
        ("$[?length(@.*) < 3]", "at most one node"),
        ("$[?match(@.a, 'x') == true]", ""),
        ("$[?length(match(@.a, 'x')) == 1]", "gives true or false"),
        ("$[?in(@.a, $.b)]", "there is no function in()"),
        ("$[?nope(@.a)]", ""),
        ("$[?length (@.a) == 1]", ""),
    ] {
        let error = JsonPath::parse(query).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("is not a JSONPath query: ") && error.contains(why), "{query}: {error}");
    }
}

#[test]
fn long_and_deep_queries_are_refused_at_once() {
    let nested = format!("$[?{}@.a{}==1]", "length(".repeat(40), ")".repeat(40));
    for query in [format!("$.{}", "a".repeat(5_000)), "$[?(".repeat(2_000), "(".repeat(4_000), nested] {
        assert!(JsonPath::parse(&query).is_err());
    }
    // The deepest that is read is read soon enough, although the parser tries much.
    let deepest = format!("$[?{}@.a{}==1]", "length(".repeat(MAX_NESTING - 1), ")".repeat(MAX_NESTING - 1));
    assert!(JsonPath::parse(&deepest).is_ok());
    let groups = format!("$[?{}@.a{}]", "(".repeat(MAX_NESTING - 1), ")".repeat(MAX_NESTING - 1));
    assert!(JsonPath::parse(&groups).is_ok());
}

#[test]
fn no_query_runs_for_ever() {
    let deep = (0..60).fold(json!({"a": 1}), |inner, _| json!({"a": inner, "b": [1, 2, 3]}));
    let wide = json!((0..3_000).collect::<Vec<_>>());
    for (query, root) in [
        ("$..*..*..*..*..*..*..*..*", &deep),
        ("$[*,*,*,*][*,*,*,*]..[*,*,*,*]..[*,*,*,*]..[*,*,*,*]", &deep),
        ("$[?count($..*) > 1]", &wide),
        ("$[?count($[?count($[?@ > 1]) > 1]) > 1]", &wide),
        ("$[?$ == $]", &wide),
    ] {
        let mut visits = 1_000_000;
        let error = JsonPath::parse(query).unwrap().select(root, &mut visits).map(|nodes| nodes.len());
        assert_eq!(error, Err(PathError::TooExpensive(query.to_owned())));
        assert_eq!(visits, 0);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]
    #[test]
    fn mutated_queries_never_panic(
        base in proptest::sample::select(&[
            "$.store.book[*].author", "$..book[?@.price<10 && match(@.b, \"[jk]\")]", "$[1:5:-2, 'a', *]..[?!(@.a || $.b[0] != 'x')]",
            "$[?count(@.*) == length(value($..a))]['\\u00e4']",
        ]),
        edits in proptest::collection::vec((0_usize..60, "[$@.\\[\\]()?*:,'\"a0\\-\\\\!=<>&| ]|count|\\PC"), 0..5),
    ) {
        let mut chars: Vec<char> = base.chars().collect();
        for (at, text) in edits {
            let at = at.min(chars.len());
            chars.splice(at..(at + 1).min(chars.len()), text.chars());
        }
        let query: String = chars.into_iter().collect();
        let root = json!({"store": {"book": [{"price": 8, "b": "j", "author": "x"}, [1, [2]]]}, "a": [null, true, "ä"], "ä": -1.5});
        let _ = select(&query, &root);
    }
}
