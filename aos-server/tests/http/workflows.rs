//! Workflows: looked at, switched off and on.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::Api;

#[tokio::test]
async fn versions_are_listed_and_described() {
    let api = Api::new().await;
    let list = api.get("/v1/workflows").await.is(200).json();
    assert_eq!(list["workflows"].as_array().unwrap().len(), 8);
    let five = api.get("/v1/workflows/five").await.is(200).json();
    let versions: Vec<_> = five["versions"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(versions, ["1.0.0", "1.1.0"]);
    assert_eq!(five["latest"]["workflow"], "five@1.1.0");
    let one = api.get("/v1/workflows/five@1.0.0").await.is(200).json();
    assert_eq!((&one["kind"], &one["definition"]), (&json!("code"), &Value::Null));
    assert_eq!(one["skills"], json!(["break@1.0.0", "charge@1.0.0", "count@1.0.0", "hang@1.0.0", "shout@1.0.0"]));
    let schema = api.get("/v1/workflows/five/schema").await.is(200);
    assert_eq!(schema.header("content-type"), "application/schema+json");
    assert_eq!(schema.json()["required"], json!(["x"]));
    assert_eq!(api.get("/v1/workflows/five@1.0.0/schema").await.json(), json!(true));
    api.get("/v1/workflows/schema").await.is(200);
}

#[tokio::test]
async fn a_version_out_of_use_is_not_selected() {
    let api = Api::new().await;
    let off = api.post_empty("/v1/workflows/five@1.1.0/disable").await.is(200).json();
    assert_eq!(off["enabled"], false);
    assert_eq!(api.run("five", json!(1)).await["workflow"], "five@1.0.0");
    api.post_empty("/v1/workflows/five@1.1.0/enable").await.is(200);
    assert_eq!(api.run("five", json!({"x": 1})).await["workflow"], "five@1.1.0");
    api.post_empty("/v1/workflows/five@1.1.0/repin").await.problem(409, "ERR_CONFLICT");
}

const DEFINITION: &str = r#"
id: shouting
version: 1.2.0
description: Says it louder.
input:
  type: object
  properties: {names: {type: array, items: {type: string}}}
  required: [names]
steps:
  - id: each
    skill: shout@^1
    for_each: input.names
    params: "{{ item }}"
  - id: counted
    skill: count
    params: {all: "{{ steps.each.output }}"}
output: {loud: "{{ steps.counted.output.all }}"}
"#;

fn yaml(path: &str, text: &str) -> Request<Body> {
    Request::post(path).header("content-type", "application/yaml").body(Body::from(text.to_owned())).unwrap()
}

#[tokio::test]
async fn a_definition_is_registered_once_and_run() {
    let api = Api::new().await;
    let answer = api.send(yaml("/v1/workflows", DEFINITION)).await.is(201);
    assert_eq!(answer.header("location"), "/v1/workflows/shouting@1.2.0");
    let workflow = answer.json();
    assert_eq!(workflow["skills"], json!(["count@1.0.0", "shout@1.0.0"]));
    assert_eq!((&workflow["kind"], &workflow["description"]), (&json!("definition"), &json!("Says it louder.")));
    let again = api.post("/v1/workflows", &workflow["definition"]).await.is(200).json();
    assert_eq!(again, workflow);
    let run = api.run("shouting@^1", json!({"names": ["Ada", "Grace"]})).await;
    assert_eq!(run["output"], json!({"loud": ["ADA", "GRACE"]}), "{run}");
    assert_eq!(run["plan_hash"], workflow["plan_hash"]);
    let mut other = workflow["definition"].clone();
    other["description"] = json!("Something else.");
    api.post("/v1/workflows", &other).await.problem(409, "ERR_CONFLICT");
    assert!(api.get("/v1/workflows/shouting").await.json()["latest"]["definition"]["steps"].is_array());
    let repinned = api.post_empty("/v1/workflows/shouting@1.2.0/repin").await.is(200).json();
    assert_eq!(repinned["plan_hash"], workflow["plan_hash"]);
}

#[tokio::test]
async fn a_definition_in_the_request_is_run_as_it_is() {
    let api = Api::new().await;
    let definition =
        json!({"id": "hello", "steps": [{"id": "greet", "skill": "shout", "params": "Hello, {{ input.name }}!"}]});
    let body = json!({"workflow": definition, "input": {"name": "Ada"}});
    let run = api.post("/v1/runs?wait=30s", &body).await.is(201).json();
    assert_eq!(run["output"], json!({"greet": "HELLO, ADA!"}), "{run}");
    let text = "workflow: {id: hello, steps: [{id: greet, skill: shout, params: hi}]}\n";
    let run = api.send(yaml("/v1/runs?wait=30s", text)).await.is(201).json();
    assert_eq!(run["output"], json!({"greet": "HI"}));
    assert_eq!(api.get("/v1/workflows").await.json()["workflows"].as_array().unwrap().len(), 8, "none was registered");
}

#[tokio::test]
async fn every_mistake_of_a_definition_is_listed() {
    let api = Api::new().await;
    let wrong = json!({"id": "w", "stepz": [], "steps": [
        {"id": "A", "skill": "shout"}, {"id": "b", "skill": "shuot"}, {"id": "b", "sleep": "long"}]});
    let problem = api.post("/v1/workflows", &wrong).await.problem(422, "ERR_INVALID_DEFINITION");
    let paths: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert!(paths.len() >= 3 && paths.contains(&"/stepz"), "{problem}");
    let unknown = json!({"id": "w", "steps": [{"id": "b", "skill": "shuot"}]});
    let problem = api.post("/v1/runs", &json!({"workflow": unknown})).await.problem(422, "ERR_INVALID_DEFINITION");
    assert_eq!(problem["errors"][0]["path"], "/steps/0/skill");
    let simulated = api.post("/v1/simulate", &json!({"workflow": unknown})).await.is(200).json();
    assert_eq!(
        (&simulated["feasible"], &simulated["missing_skills"]),
        (&json!(false), &json!(["shuot"])),
        "{simulated}"
    );
    api.send(yaml("/v1/workflows", "id: [")).await.problem(400, "ERR_INVALID_YAML");
    let schema = api.get("/v1/workflows/schema").await.is(200).json();
    assert!(schema["properties"]["steps"].is_object(), "{schema}");
}

#[tokio::test]
async fn a_definition_is_simulated_step_by_step() {
    let api = Api::new().await;
    api.send(yaml("/v1/workflows", DEFINITION)).await.is(201);
    let body = json!({"workflow": "shouting", "input": {"names": ["a", "b", "c"]}, "budget": "0.03"});
    let simulation = api.post("/v1/simulate", &body).await.is(200).json();
    assert_eq!(simulation["feasible"], true, "{simulation}");
    assert_eq!(simulation["effects"], json!({"min": 4, "max": 4}));
    assert_eq!(simulation["cost_usd"], json!({"min": "0.02", "max": "0.06"}));
    assert_eq!(simulation["within_budget"], false);
    assert_eq!(simulation["steps"][0]["effects"], json!({"min": 3, "max": 3}));
    let dear = json!({"workflow": "shouting", "budget": "0.01"});
    let simulation = api.post("/v1/simulate", &dear).await.is(200).json();
    assert_eq!(simulation["problems"][0]["code"], "ERR_BUDGET_EXCEEDED", "{simulation}");
    assert_eq!(api.calls(), 0);
}
