//! The OpenAPI document tells the truth.

use aos_core::codes;
use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::support::Api;

pub fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (method.clone(), path.clone(), operation.clone()))
        })
        .collect()
}

#[tokio::test]
async fn every_documented_route_is_there() {
    let api = Api::new().await;
    let document = api.get("/openapi.json").await.is(200).json();
    let operations = operations(&document);
    assert!(operations.len() >= 60, "{}", operations.len());
    for (method, path, _) in operations {
        if path == "/v1/runs/{id}/events" {
            continue;
        }
        let uri = path.replace(['{', '}'], "");
        let request = Request::builder().method(method.to_uppercase().as_str()).uri(&uri).body(Body::empty()).unwrap();
        let answer = api.send(request).await;
        assert_ne!(answer.status, 405, "{method} {path}");
        assert!(!answer.text.contains("there is no route"), "{method} {path}");
    }
}

/// Routes are registered by `routes!` only, which takes the documentation along.
#[test]
fn no_route_is_undocumented() {
    let source = include_str!("../../src/http/mod.rs");
    for other in [".route(", ".route_service(", ".nest(", ".nest_service("] {
        assert!(!source.contains(other), "{other} makes a route without documentation");
    }
}

#[tokio::test]
async fn every_operation_is_described_and_may_answer_with_a_problem() {
    let api = Api::new().await;
    let document = api.get("/openapi.json").await.json();
    let mut ids = std::collections::BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let about = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{about}: {operation}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{about}");
        let problem = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"];
        assert_eq!(problem, "#/components/schemas/Problem", "{about}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let content = response["content"].as_object();
            if status.starts_with(['4', '5']) && path != "/health/ready" {
                assert!(content.unwrap().contains_key("application/problem+json"), "{about} {status}");
            }
        }
        for parameter in path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
            let named = operation["parameters"].as_array().unwrap().iter().any(|p| p["name"] == parameter);
            assert!(named, "{about}: {parameter}");
        }
    }
}

#[tokio::test]
async fn references_lead_somewhere_and_codes_are_listed() {
    let api = Api::new().await;
    let text = api.get("/openapi.json").await.text;
    let document: Value = serde_json::from_str(&text).unwrap();
    for reference in text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document["components"]["schemas"][reference].is_object(), "{reference}");
    }
    let listed = document["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap();
    assert_eq!(listed.len(), codes::ALL.len());
}
