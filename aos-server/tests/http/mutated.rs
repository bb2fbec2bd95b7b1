//! Ten thousand mutated bodies: each is answered, and never with our own fault.

use axum::body::Body;
use axum::http::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::Api;

/// Bodies that are almost right, and where they go.
const SEEDS: &[(&str, &str)] = &[
    ("/v1/runs", r#"{"workflow":"five@1.0.0","input":{"x":[1,2.5,null,"é"]},"seed":7,"budget":"0.50"}"#),
    (
        "/v1/runs",
        r#"{"workflow":{"id":"w","version":"1.0.0","steps":[{"id":"a","skill":"count","params":{"x":"{{ input.x }}"}}]}}"#,
    ),
    (
        "/v1/workflows",
        r#"{"id":"w","steps":[{"id":"a","skill":"count@^1","params":"{{ input }}","retry":{"max_attempts":3}}]}"#,
    ),
    ("/v1/runs/none/signals/go", r#"{"approved":true}"#),
    ("/v1/runs/none/fork", r#"{"effect":"a[1]","output":null}"#),
    ("/v1/registry/import", r#"{"hash":"00","skills":[],"v":1,"workflows":[]}"#),
    ("/v1/simulate", r#"{"workflow":"five","input":{"x":1},"budget":"1"}"#),
    ("/v1/skills/count@1.0.0/enable", r#"{"reason":"x"}"#),
];

/// One change of a body: where, and which bytes instead of how many.
type Mutation = (prop::sample::Index, usize, Vec<u8>);

fn mutations() -> impl Strategy<Value = (usize, Vec<Mutation>, bool)> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..4),
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            "\"",
            ",",
            ":",
            "null",
            "1e999",
            "-0",
            "9007199254740993",
            "\\u0000",
            "\\ud800"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        (1_usize..300).prop_map(|n| b"[".repeat(n)),
    ];
    (0..SEEDS.len(), vec((any::<prop::sample::Index>(), 0_usize..6, piece), 1..5), prop::bool::weighted(0.2))
}

fn mutate(seed: &str, mutations: &[Mutation]) -> Vec<u8> {
    let mut body = seed.as_bytes().to_vec();
    for (at, cut, piece) in mutations {
        let at = at.index(body.len() + 1);
        let end = (at + cut).min(body.len());
        body.splice(at..end, piece.iter().copied());
    }
    body
}

#[test]
fn no_body_is_our_fault() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let api = runtime.block_on(Api::new());
    let config = Config { cases: 10_000, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&mutations(), |(seed, mutations, yaml)| {
        let (path, body) = SEEDS[seed];
        let request = Request::post(path)
            .header("content-type", if yaml { "application/yaml" } else { "application/json" })
            .body(Body::from(mutate(body, &mutations)))
            .unwrap();
        let answer = runtime.block_on(api.send(request));
        prop_assert!(answer.status.as_u16() < 500, "{}: {}", answer.status, answer.text);
        if answer.status.is_client_error() {
            let problem = answer.json();
            prop_assert!(problem["code"].as_str().is_some_and(|code| code.starts_with("ERR_")), "{problem}");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
