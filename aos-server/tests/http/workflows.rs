//! Workflows: looked at, switched off and on.

use serde_json::{Value, json};

use crate::support::Api;

#[tokio::test]
async fn versions_are_listed_and_described() {
    let api = Api::new().await;
    let list = api.get("/v1/workflows").await.is(200).json();
    assert_eq!(list["workflows"].as_array().unwrap().len(), 7);
    let five = api.get("/v1/workflows/five").await.is(200).json();
    let versions: Vec<_> = five["versions"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(versions, ["1.0.0", "1.1.0"]);
    assert_eq!(five["latest"]["workflow"], "five@1.1.0");
    let one = api.get("/v1/workflows/five@1.0.0").await.is(200).json();
    assert_eq!((&one["kind"], &one["definition"]), (&json!("code"), &Value::Null));
    assert_eq!(one["skills"], json!(["break@1.0.0", "count@1.0.0", "hang@1.0.0", "shout@1.0.0"]));
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
